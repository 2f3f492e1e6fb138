//! The two sockets of the control thread. They are bound before anything else starts, so that a taken address is
//! the first thing to be told.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::addresses::Refused;
use crate::config::{Admin, beside};

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
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and number of the file.
    made: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A successor may have put its own there meanwhile.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.made) {
            let _ = fs::remove_file(&self.path);
        }
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
    let (listener, mut file, uid) = bind_beside(path)?;
    fs::rename(&file.path, path)?;
    file.path = path.to_owned();
    Ok(AdminSocket { listener, file, uid })
}

/// Tries whether [`Sockets::bind`] would succeed, and leaves everything as it was: why the HTTP address and the socket cannot
/// be had.
pub(super) fn try_out(admin: &Admin) -> (Option<Refused>, Option<Refused>) {
    let http = admin.http.filter(|address| address.port() != 0).and_then(|address| {
        let error = bind_http(address).err()?;
        Some(Refused::of_address(&format!("admin.http {address}"), address, &error))
    });
    let socket = admin.socket.as_deref().and_then(|path| {
        let error = bind_beside(path).err()?;
        Some(Refused::of_path(path, &error))
    });
    (http, socket)
}

fn bind_beside(path: &Path) -> io::Result<(UnixListener, SocketFile, u32)> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process answers there"));
    }
    // The file of a process that died without removing it is replaced, but nothing that is not a socket.
    if let Ok(metadata) = fs::symlink_metadata(path)
        && !std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type())
    {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
    }
    let beside = beside(path, std::process::id());
    let _ = fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside)?;
    let metadata = fs::symlink_metadata(&beside)?;
    let file = SocketFile { path: beside, made: (metadata.dev(), metadata.ino()) };
    fs::set_permissions(&file.path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok((listener, file, metadata.uid()))
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
    fn a_successors_socket_stays_when_the_former_one_goes() {
        let folder = folder("successor");
        let path = folder.join("admin.sock");
        let former = bind_admin(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let successor = bind_admin(&path).unwrap();
        drop(former);
        assert!(UnixStream::connect(&path).is_ok());
        drop(successor);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn trying_out_leaves_everything_as_it_was() {
        let folder = folder("tried");
        let path = folder.join("admin.sock");
        let admin = |path: &Path| Admin {
            socket: Some(path.to_owned()),
            http: None,
            connections: 1,
            deadline: std::time::Duration::from_secs(1),
        };
        assert_eq!(try_out(&admin(&path)), (None, None));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        let refused = try_out(&admin(&folder.join("none/admin.sock"))).1.unwrap();
        assert!(refused.reason.contains("mkdir -p"), "{refused:?}");
        let bound = bind_admin(&path).unwrap();
        assert!(try_out(&admin(&path)).1.unwrap().in_use);
        assert!(UnixStream::connect(&path).is_ok(), "the one that runs is not harmed");
        drop(bound);
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
