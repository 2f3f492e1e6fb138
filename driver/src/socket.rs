//! Listening sockets. What is set on a listener is inherited by the sockets it accepts, so that accepting costs
//! no system call per option. All workers accept from the same one: a connection goes to a worker that has room, where
//! sockets of their own (`SO_REUSEPORT`) would queue it for one that may be full or stand still.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::address::{Address, PeerRoom};
use crate::ops::{Endpoint, Peer};

/// What a listener and the sockets it accepts are set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenOptions {
    /// Connections the kernel completes before anybody accepts them; cut to `net.core.somaxconn`.
    pub backlog: u32,
    /// Bytes the kernel may buffer per socket on the way out (it doubles the figure for its own book-keeping).
    /// `None` lets it grow to `tcp_wmem`'s maximum, megabytes for one slow reader.
    pub send_buffer: Option<u32>,
    /// The same for the way in.
    pub receive_buffer: Option<u32>,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions { backlog: 65_535, send_buffer: Some(64 * 1024), receive_buffer: Some(32 * 1024) }
    }
}

/// Opens a listening socket.
///
/// TCP sockets get `SO_REUSEADDR` and `TCP_NODELAY`; an IPv6 wildcard address accepts IPv4 as well. A Unix socket
/// that nobody answers any more is replaced; a live one, and any other file at the path, is not.
///
/// # Errors
/// What the system calls say; `AddrInUse` for a Unix path where somebody still listens.
pub fn listen(address: &Endpoint, options: &ListenOptions) -> io::Result<OwnedFd> {
    if let Endpoint::Unix(path) = address {
        remove_abandoned(path)?;
    }
    let target = Address::of(address)?;
    let socket = open(target.family(), 0)?;
    if let Endpoint::Tcp(tcp) = address {
        set_tcp_options(&socket, tcp)?;
    }
    if let Some(bytes) = options.send_buffer {
        set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUF, clamp(bytes.into()))?;
    }
    if let Some(bytes) = options.receive_buffer {
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, clamp(bytes.into()))?;
    }
    // SAFETY: `target` is a valid address of the length it states, read during the call only.
    check(unsafe { libc::bind(socket.as_raw_fd(), target.as_ptr(), target.len()) })?;
    // SAFETY: listen takes no memory.
    check(unsafe { libc::listen(socket.as_raw_fd(), clamp(options.backlog.into())) })?;
    Ok(socket)
}

/// The TCP address a socket is bound to: with port 0 in [`listen`], the port the kernel chose. `None` for a Unix
/// socket.
///
/// # Errors
/// What `getsockname` says.
pub fn local_address(socket: &impl AsFd) -> io::Result<Option<SocketAddr>> {
    let mut room = PeerRoom::EMPTY;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the room is as long as its length says, and both are valid for writing during the call.
    check(unsafe { libc::getsockname(fd, room.bytes.as_mut_ptr().cast(), &raw mut room.len) })?;
    Ok(match room.peer() {
        Peer::Tcp(address) => Some(address),
        Peer::Unix => None,
    })
}

/// Stops a listener for good, even while accepts are parked on it: each ends in
/// [`AcceptFailed`](crate::Completion::AcceptFailed), and new connections are refused.
///
/// # Errors
/// What `shutdown` says.
pub fn stop_listening(socket: &impl AsFd) -> io::Result<()> {
    // SAFETY: shutdown takes no memory.
    check(unsafe { libc::shutdown(socket.as_fd().as_raw_fd(), libc::SHUT_RDWR) })
}

fn set_tcp_options(socket: &OwnedFd, address: &SocketAddr) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if address.is_ipv6() {
        // Whatever net.ipv6.bindv6only says: one wildcard listener serves both families.
        let v6_only = i32::from(!address.ip().is_unspecified());
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, v6_only)?;
    }
    set(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    Ok(())
}

/// Removes a Unix socket left behind by a process that is gone. A connect tells the difference: only a socket with
/// a listener behind it accepts one (or is too busy to).
fn remove_abandoned(path: &Path) -> io::Result<()> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the path is taken by another kind of file",
        ));
    }
    let target = Address::of(&Endpoint::Unix(path.to_owned()))?;
    // Not blocking: a full backlog is an answer too.
    let caller = open(libc::AF_UNIX, libc::SOCK_NONBLOCK)?;
    // SAFETY: `target` is a valid address of the length it states, read during the call only.
    match check(unsafe { libc::connect(caller.as_raw_fd(), target.as_ptr(), target.len()) }) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            // Somebody else may have found the same, and listen there by now.
            let is_same = |now: std::fs::Metadata| (now.dev(), now.ino()) == (found.dev(), found.ino());
            match std::fs::symlink_metadata(path).map(is_same) {
                Ok(true) => std::fs::remove_file(path),
                Ok(false) => Err(io::Error::from(io::ErrorKind::AddrInUse)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            }
        }
        _ => Err(io::Error::from(io::ErrorKind::AddrInUse)),
    }
}

/// Connects to a Unix socket, without waiting, and makes sure that whoever opened it is this process's own user, or root.
///
/// # Errors
/// What the system calls say; `EAGAIN` when the listener's backlog is full; `EPERM` when somebody else listens there.
pub(crate) fn connect_to_own_user(target: &Address) -> io::Result<OwnedFd> {
    let socket = open(libc::AF_UNIX, libc::SOCK_NONBLOCK)?;
    // SAFETY: `target` is a valid address of the length it states, read during the call only.
    check(unsafe { libc::connect(socket.as_raw_fd(), target.as_ptr(), target.len()) })?;
    let owner = owner_of(&socket)?;
    // SAFETY: geteuid takes no memory and cannot fail.
    let own = unsafe { libc::geteuid() };
    if owner != own && owner != 0 {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    // SAFETY: fcntl with F_SETFL takes no memory. No other flag is set on a new socket.
    check(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, 0) })?;
    Ok(socket)
}

/// A TCP socket that will connect from an address of this machine. The port is chosen when it connects, when the kernel knows
/// where to: see `IP_BIND_ADDRESS_NO_PORT` in ip(7).
///
/// # Errors
/// What the system calls say; `EADDRNOTAVAIL` when the address is none of this machine's.
pub(crate) fn bound_to(from: IpAddr) -> io::Result<OwnedFd> {
    let source = Address::of(&Endpoint::Tcp(SocketAddr::new(from, 0)))?;
    let socket = open(source.family(), 0)?;
    set(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
    // SAFETY: `source` is a valid address of the length it states, read during the call only.
    check(unsafe { libc::bind(socket.as_raw_fd(), source.as_ptr(), source.len()) })?;
    Ok(socket)
}

/// The user who listens at the other end of a connected Unix socket: whoever called `listen`, see unix(7).
fn owner_of(socket: &OwnedFd) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let (value, option) = ((&raw mut peer).cast(), libc::SO_PEERCRED);
    // SAFETY: `peer` is as long as `len` says, and both are valid for writing during the call.
    check(unsafe { libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, &raw mut len) })?;
    Ok(peer.uid)
}

fn open(family: i32, flags: i32) -> io::Result<OwnedFd> {
    // SAFETY: socket takes no memory.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags, 0) };
    check(fd.min(0))?;
    // SAFETY: the descriptor was opened just now and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set(socket: &OwnedFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` is an integer of the length stated, read during the call only.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) })
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn clamp(value: u64) -> i32 {
    value.try_into().unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn get(socket: &impl AsRawFd, level: i32, name: i32) -> i32 {
        let (mut value, mut len) = (0_i32, size_of::<i32>() as libc::socklen_t);
        // SAFETY: value and len are valid for writing during the call.
        let done = unsafe {
            libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len)
        };
        assert_eq!(done, 0);
        value
    }

    fn loopback() -> Endpoint {
        Endpoint::Tcp("127.0.0.1:0".parse().unwrap())
    }

    #[test]
    fn accepted_sockets_inherit_the_listeners_options() {
        let options = ListenOptions {
            send_buffer: Some(20_000),
            receive_buffer: Some(10_000),
            ..ListenOptions::default()
        };
        let listener = TcpListener::from(listen(&loopback(), &options).unwrap());
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(get(&accepted, libc::IPPROTO_TCP, libc::TCP_NODELAY), 1);
        assert_eq!(get(&accepted, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT), 0, "it may stop reading");
        assert_eq!(get(&accepted, libc::SOL_SOCKET, libc::SO_SNDBUF), 40_000);
        assert_eq!(get(&accepted, libc::SOL_SOCKET, libc::SO_RCVBUF), 20_000);
    }

    #[test]
    fn an_address_has_one_listener() {
        let first = listen(&loopback(), &ListenOptions::default()).unwrap();
        let address = Endpoint::Tcp(local_address(&first).unwrap().unwrap());
        let second = listen(&address, &ListenOptions::default());
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_stopped_listener_refuses() {
        let listener = listen(&loopback(), &ListenOptions::default()).unwrap();
        let address = local_address(&listener).unwrap().unwrap();
        stop_listening(&listener).unwrap();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn an_abandoned_unix_socket_is_replaced_and_a_live_one_or_a_file_is_not() {
        let place = std::env::temp_dir().join(format!("driver-listen-{}", std::process::id()));
        let endpoint = Endpoint::Unix(place.clone());
        let first = listen(&endpoint, &ListenOptions::default()).unwrap();
        let taken = listen(&endpoint, &ListenOptions::default()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let second = listen(&endpoint, &ListenOptions::default()).unwrap();
        assert_eq!(local_address(&second).unwrap(), None);
        std::fs::remove_file(&place).unwrap();
        std::fs::write(&place, "not a socket").unwrap();
        assert_eq!(
            listen(&endpoint, &ListenOptions::default()).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        std::fs::remove_file(&place).unwrap();
    }
}
