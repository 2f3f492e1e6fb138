//! The two sockets of the control thread. They are bound before anything else starts, so that a taken address is
//! the first thing to be told.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::addresses::Refused;
use crate::config::Admin;

/// Bound, but not served yet.
pub struct Sockets {
    pub(super) http: Option<TcpListener>,
    pub(super) admin: Option<AdminSocket>,
}

/// The admin socket and its file.
pub(super) struct AdminSocket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
    /// The user this process runs as.
    pub(super) uid: u32,
}

/// A socket's file; removed when dropped.
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Sockets {
    /// Binds what the config names.
    ///
    /// # Errors
    /// What could not be had, why, and what to do.
    pub(super) fn bind(admin: &Admin) -> Result<Self, Refused> {
        let http = match admin.http {
            None => None,
            Some(address) => {
                let what = format!("admin.http {address}");
                Some(bind_http(address).map_err(|error| Refused::of_address(&what, address, &error))?)
            }
        };
        let admin = match &admin.socket {
            None => None,
            Some(path) => Some(bind_admin(path).map_err(|error| Refused::of_path(path, &error))?),
        };
        Ok(Self { http, admin })
    }

    /// Where HTTP is served; the port is the real one.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|listener| listener.local_addr().ok())
    }
}

fn bind_http(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Binds beside the path and renames, so that the socket is never there with other rights than its owner's.
fn bind_admin(path: &Path) -> io::Result<AdminSocket> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there"));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let _ = fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside)?;
    let guard = SocketFile(beside.clone());
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
    let uid = fs::metadata(&beside)?.uid();
    listener.set_nonblocking(true)?;
    // Replaces the file of a process that died without removing it, but nothing that is not a socket.
    if let Ok(metadata) = fs::symlink_metadata(path)
        && !std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type())
    {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    fs::rename(&beside, path)?;
    drop(guard);
    Ok(AdminSocket { listener, file: SocketFile(path.to_owned()), uid })
}

#[cfg(test)]
mod tests {
    use super::super::tests::folder;
    use super::*;

    #[test]
    fn the_admin_socket_is_its_owners_alone_and_goes_with_its_guard() {
        let folder = folder("socket");
        let path = folder.join("admin.sock");
        let bound = bind_admin(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        assert!(bind_admin(&path).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse));
        drop(bound);
        assert!(!path.exists());
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn the_socket_of_a_dead_process_is_replaced_and_a_file_is_not() {
        let folder = folder("stale");
        let path = folder.join("admin.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let bound = bind_admin(&path).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
        drop(bound);
        fs::write(&path, "precious").unwrap();
        assert!(bind_admin(&path).is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_dir_all(&folder).unwrap();
    }
}
