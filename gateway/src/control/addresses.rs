//! Whether the addresses and paths of a config can be had, and what to do when not.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::remedy;
use crate::config::Config;

/// Why an address or a path cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Whether somebody else has it.
    pub(super) in_use: bool,
    /// What, and what the system says.
    pub(super) cause: String,
    /// The same, and what to do.
    pub(super) reason: String,
}

impl Refused {
    /// Of an address; `what` names it.
    pub(super) fn of_address(what: &str, address: SocketAddr, error: &io::Error) -> Self {
        let fix = match error.kind() {
            ErrorKind::AddrInUse => format!(
                "is another gateway running there? `ss -ltnp sport = :{}` names the process; end it, or choose \
                 another address",
                address.port()
            ),
            ErrorKind::AddrNotAvailable => {
                format!("{} is no address of this machine: `ip address` lists those it has", address.ip())
            }
            ErrorKind::PermissionDenied => format!(
                "choose a port from 1024 on, or allow port {} with AmbientCapabilities=CAP_NET_BIND_SERVICE in \
                 the unit",
                address.port()
            ),
            _ => "choose another address".to_owned(),
        };
        Self::of(error.kind() == ErrorKind::AddrInUse, format!("{what}: {error}"), &fix)
    }

    /// Of the admin socket's path.
    pub(super) fn of_path(path: &Path, error: &io::Error) -> Self {
        let fix = match error.kind() {
            ErrorKind::AddrInUse => {
                "is another gateway running there? End it, or choose another path".to_owned()
            }
            _ => remedy::for_making(path, error),
        };
        let cause = format!("admin.socket {}: {error}", path.display());
        Self::of(error.kind() == ErrorKind::AddrInUse, cause, &fix)
    }

    fn of(in_use: bool, cause: String, fix: &str) -> Self {
        Self { in_use, reason: format!("{cause}; {fix}"), cause }
    }
}

/// Tries whether every address for clients can be listened on, and leaves it again; those that cannot.
pub(super) fn refused(config: &Config) -> impl Iterator<Item = (SocketAddr, Refused)> {
    // With port 0 the system chooses one that is free.
    config.listeners.iter().filter(|listener| listener.address.port() != 0).filter_map(|listener| {
        let address = listener.address;
        let what = format!("listening on {address} for listener \"{}\"", listener.name);
        let error = TcpListener::bind(address).err()?;
        Some((address, Refused::of_address(&what, address, &error)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_keeps_an_address_from_being_had_has_a_remedy() {
        let address = "10.9.8.7:443".parse().unwrap();
        for (kind, in_use, remedy) in [
            (ErrorKind::AddrInUse, true, "`ss -ltnp sport = :443`"),
            (ErrorKind::AddrNotAvailable, false, "10.9.8.7 is no address of this machine"),
            (ErrorKind::PermissionDenied, false, "CAP_NET_BIND_SERVICE"),
            (ErrorKind::OutOfMemory, false, "choose another address"),
        ] {
            let refused = Refused::of_address("admin.http", address, &kind.into());
            assert_eq!(refused.in_use, in_use);
            assert!(refused.reason.contains(remedy) && !refused.cause.contains(remedy), "{refused:?}");
        }
        let refused = Refused::of_path(Path::new("/run/g/admin.sock"), &ErrorKind::NotFound.into());
        assert!(refused.reason.ends_with("mkdir -p /run/g"), "{refused:?}");
    }
}
