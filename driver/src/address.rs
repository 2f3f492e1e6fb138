//! Socket addresses in the bytes the kernel reads and writes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::ops::{Endpoint, Peer};

/// A `sockaddr` of any family this crate speaks, for passing in.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct Address {
    bytes: [u8; ADDRESS_LEN],
    len: u32,
}

impl Address {
    /// # Errors
    /// `InvalidInput` when a Unix path is empty, too long for a `sockaddr_un` or holds a zero byte.
    pub(crate) fn of(endpoint: &Endpoint) -> io::Result<Address> {
        match endpoint {
            Endpoint::Tcp(address) => Ok(Address::tcp(address)),
            Endpoint::Unix(path) => Address::unix(path),
        }
    }

    fn tcp(address: &SocketAddr) -> Address {
        let mut bytes = [0; ADDRESS_LEN];
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, len) = match address {
            SocketAddr::V4(v4) => {
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                (libc::AF_INET, size_of::<libc::sockaddr_in>())
            }
            SocketAddr::V6(v6) => {
                bytes[4..8].copy_from_slice(&v6.flowinfo().to_ne_bytes());
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                (libc::AF_INET6, size_of::<libc::sockaddr_in6>())
            }
        };
        bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        Address { bytes, len: len as u32 }
    }

    fn unix(path: &Path) -> io::Result<Address> {
        let path = path.as_os_str().as_bytes();
        if path.is_empty() || path.len() > UNIX_PATH_MAX || path.contains(&0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a Unix socket path has 1 to 107 bytes and no zero byte",
            ));
        }
        let mut bytes = [0; ADDRESS_LEN];
        bytes[..2].copy_from_slice(&(libc::AF_UNIX as u16).to_ne_bytes());
        bytes[2..2 + path.len()].copy_from_slice(path);
        Ok(Address { bytes, len: (2 + path.len() + 1) as u32 })
    }

    /// `AF_INET`, `AF_INET6` or `AF_UNIX`.
    pub(crate) fn family(&self) -> i32 {
        i32::from(u16::from_ne_bytes([self.bytes[0], self.bytes[1]]))
    }

    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        self.bytes.as_ptr().cast()
    }

    pub(crate) fn len(&self) -> libc::socklen_t {
        self.len
    }
}

/// Room for the peer's address of one parked accept; the kernel fills it in.
///
/// 28 bytes hold an IPv6 address; a Unix peer's address would be longer, but the kernel cuts it and only the
/// family is of interest.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
pub(crate) struct PeerRoom {
    pub(crate) bytes: [u8; PEER_LEN],
    pub(crate) len: libc::socklen_t,
}

impl PeerRoom {
    pub(crate) const EMPTY: PeerRoom = PeerRoom { bytes: [0; PEER_LEN], len: PEER_LEN as libc::socklen_t };

    /// Who it is. An IPv4 peer of an IPv6 listener comes out as IPv4, so that address lists have one form to match.
    pub(crate) fn peer(&self) -> Peer {
        let word = |at: usize| [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]];
        let port = u16::from_be_bytes([self.bytes[2], self.bytes[3]]);
        match i32::from(u16::from_ne_bytes([self.bytes[0], self.bytes[1]])) {
            libc::AF_INET => Peer::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(word(4))), port)),
            libc::AF_INET6 => {
                let mut octets = [0; 16];
                octets.copy_from_slice(&self.bytes[8..24]);
                let ip = Ipv6Addr::from(octets);
                match ip.to_canonical() {
                    IpAddr::V4(v4) => Peer::Tcp(SocketAddr::new(IpAddr::V4(v4), port)),
                    IpAddr::V6(_) => {
                        let (flow, scope) = (u32::from_ne_bytes(word(4)), u32::from_ne_bytes(word(24)));
                        Peer::Tcp(SocketAddr::V6(SocketAddrV6::new(ip, port, flow, scope)))
                    }
                }
            }
            _ => Peer::Unix,
        }
    }
}

/// `sockaddr_un` is the longest: 2 bytes of family and 108 of path, rounded up.
const ADDRESS_LEN: usize = 112;
/// unix(7): 108 bytes with the terminating zero.
const UNIX_PATH_MAX: usize = 107;
const PEER_LEN: usize = size_of::<libc::sockaddr_in6>();

#[cfg(test)]
mod tests {
    use super::*;

    fn as_peer(address: &Address) -> Peer {
        let mut room = PeerRoom::EMPTY;
        room.bytes.copy_from_slice(&address.bytes[..PEER_LEN]);
        room.peer()
    }

    #[test]
    fn tcp_addresses_survive_the_way_out_and_back() {
        for text in ["127.0.0.1:1", "255.1.2.3:65535", "[::1]:443", "[fe80::1%7]:9", "[2001:db8::5]:80"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(as_peer(&Address::tcp(&address)), Peer::Tcp(address));
        }
    }

    #[test]
    fn a_mapped_peer_is_an_ipv4_peer() {
        let mapped: SocketAddr = "[::ffff:10.1.2.3]:99".parse().unwrap();
        assert_eq!(as_peer(&Address::tcp(&mapped)), Peer::Tcp("10.1.2.3:99".parse().unwrap()));
    }

    #[test]
    fn unix_paths_are_checked() {
        let path = |len: usize| Endpoint::Unix("p".repeat(len).into());
        assert!(Address::of(&path(0)).is_err());
        assert!(Address::of(&path(108)).is_err());
        let longest = Address::of(&path(107)).unwrap();
        assert_eq!((longest.family(), longest.len()), (libc::AF_UNIX, 110));
        assert_eq!(as_peer(&longest), Peer::Unix);
    }
}
