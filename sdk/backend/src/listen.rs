//! Where gateways are awaited, and who may come.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use protocol::noise::{PublicKey, StaticKey};
use protocol::stream::Access;
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// A place to listen: `unix:/path` or `tcp:address:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A Unix socket by path. A socket that nobody answers on is replaced; the server's own is removed when it ends.
    Unix(PathBuf),
    /// TCP; port 0 takes a free one.
    Tcp(SocketAddr),
}

/// Who may open a stream, and whether it is sealed.
#[derive(Clone, Debug)]
pub enum Security {
    /// No encryption, on a Unix socket only. Peers must run under this process's user or as root.
    Clear,
    /// No encryption, on a loopback address: whoever can log in to this machine can be the gateway.
    ClearLoopback,
    /// Noise KK: this service's key, and the keys of the gateways it listens to.
    Kk {
        /// This service's key.
        key: StaticKey,
        /// The gateways' keys.
        gateways: Vec<PublicKey>,
    },
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err("unix: without a path".into())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let address = text.strip_prefix("tcp:").ok_or("wanted unix:/path or tcp:address:port")?;
        address.parse().map(Self::Tcp).map_err(|error| format!("{address}: {error}"))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl Security {
    /// What the protocol needs to know of it.
    pub(crate) fn access(self) -> Access {
        match self {
            Self::Clear | Self::ClearLoopback => Access::clear(),
            Self::Kk { key, gateways } => Access::kk(key, gateways),
        }
    }

    fn check(&self, listen: &Listen) -> io::Result<()> {
        let refused = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, text.to_owned()));
        match (self, listen) {
            (Self::Clear, Listen::Tcp(_)) => {
                refused("clear streams need a Unix socket, or loopback by opt-in")
            }
            (Self::ClearLoopback, Listen::Tcp(address)) if !address.ip().is_loopback() => {
                refused("clear streams over TCP are for loopback only")
            }
            (Self::Kk { gateways, .. }, _) if gateways.is_empty() => refused("no gateway's key is known"),
            _ => Ok(()),
        }
    }
}

/// A bound listener.
#[derive(Debug)]
pub(crate) enum Listener {
    /// Dropped in this order: were the listener closed before its file is gone, a new process could find the file
    /// dead, replace it and bind, and then lose its own.
    Unix(SocketFile, UnixListener, Allowed),
    Tcp(TcpListener),
}

impl Listener {
    pub(crate) fn bind(listen: &Listen, security: &Security) -> io::Result<Self> {
        security.check(listen)?;
        match listen {
            Listen::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                let allowed = match security {
                    Security::Clear | Security::ClearLoopback => Allowed::OwnUser(own_user()?),
                    Security::Kk { .. } => Allowed::Anybody,
                };
                Ok(Self::Unix(SocketFile::of(path)?, listener, allowed))
            }
            Listen::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Self::Tcp)
            }
        }
    }

    /// Where it listens, with the port that was taken.
    pub(crate) fn place(&self) -> io::Result<Listen> {
        match self {
            Self::Unix(file, ..) => Ok(Listen::Unix(file.path.clone())),
            Self::Tcp(listener) => listener.local_addr().map(Listen::Tcp),
        }
    }
}

/// Whose connections a Unix socket takes. File permissions may already have said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// The handshake decides.
    Anybody,
    /// This user, and root.
    OwnUser(u32),
}

impl Allowed {
    pub(crate) fn allows(self, peer: &UnixStream) -> bool {
        match self {
            Self::Anybody => true,
            Self::OwnUser(own) => peer.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0),
        }
    }
}

fn own_user() -> io::Result<u32> {
    // The kernel gives the files of a process its effective user.
    fs::metadata("/proc/self").map(|own| own.uid())
}

/// Removes the socket's file in the end, unless a successor has put its own in that place: with a rename over it, or
/// by taking it away first.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode. Nobody else gets the same ones as long as the socket is open, which is closed after this.
    inode: (u64, u64),
}

impl SocketFile {
    /// Of a socket that was bound just now.
    fn of(path: &Path) -> io::Result<Self> {
        let file = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), inode: (file.dev(), file.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_own =
            fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.inode);
        if is_own {
            // Nobody is left to be told.
            _ = fs::remove_file(&self.path);
        }
    }
}

/// A socket file outlives its process. One that nobody answers on is in the way of nobody else.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Some(found) = socket_at(path) else { return Ok(()) };
    match BlockingUnixStream::connect(path) {
        // Another new process may have removed it since, and have its own socket there.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && socket_at(path) == Some(found) => {
            match fs::remove_file(path) {
                // Its process was just about to.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                result => result,
            }
        }
        _ => Ok(()), // Binding says what is wrong.
    }
}

/// Which socket lies there, if one does. An inode that was freed may be given out again at once, so the time of its
/// making belongs to it.
fn socket_at(path: &Path) -> Option<(u64, u64, i64, i64)> {
    let file = fs::symlink_metadata(path).ok().filter(|file| file.file_type().is_socket())?;
    Some((file.dev(), file.ino(), file.mtime(), file.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written() {
        for text in ["unix:/run/x.sock", "tcp:127.0.0.1:80", "tcp:[::1]:0"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        for text in ["", "unix:", "tcp:localhost:1", "127.0.0.1:80"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn clear_streams_stay_on_this_machine() {
        let refused = |listen: &str, security: Security| security.check(&listen.parse().unwrap()).is_err();
        assert!(refused("tcp:127.0.0.1:0", Security::Clear));
        assert!(refused("tcp:10.0.0.1:0", Security::ClearLoopback));
        assert!(!refused("tcp:127.0.0.1:0", Security::ClearLoopback));
        assert!(!refused("unix:/x", Security::Clear));
        let key = StaticKey::from_secret([1; 32]);
        assert!(refused("tcp:10.0.0.1:0", Security::Kk { key: key.clone(), gateways: Vec::new() }));
        assert!(!refused("tcp:10.0.0.1:0", Security::Kk { gateways: vec![key.public()], key }));
    }
}
