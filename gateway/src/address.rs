//! A peer's address in 18 bytes: `SocketAddr` takes 32.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use driver::Peer;

/// IP address (IPv4 as IPv4-mapped IPv6) and port; all zero for a peer without one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    ip: [u8; 16],
    port: [u8; 2],
}

impl Address {
    /// The IP address of a peer that has one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        (self.ip != [0; 16]).then(|| Ipv6Addr::from(self.ip).to_canonical())
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        u16::from_be_bytes(self.port)
    }

    /// Whether the peer is on this machine: on a loopback address, or on none.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.ip().is_none_or(|ip| ip.is_loopback())
    }

    /// The address's bytes as the stream protocol carries them: 4, 16, or none for a peer without an address.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        match self.ip() {
            None => &[],
            Some(IpAddr::V4(_)) => &self.ip[12..],
            Some(IpAddr::V6(_)) => &self.ip,
        }
    }
}

impl From<Peer> for Address {
    fn from(peer: Peer) -> Self {
        let (ip, port) = match peer {
            Peer::Tcp(SocketAddr::V4(at)) => (at.ip().to_ipv6_mapped().octets(), at.port()),
            Peer::Tcp(SocketAddr::V6(at)) => (at.ip().octets(), at.port()),
            Peer::Unix => ([0; 16], 0),
        };
        Self { ip, port: port.to_be_bytes() }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip() {
            Some(ip) => write!(f, "{}", SocketAddr::new(ip, self.port())),
            None => f.write_str("no address"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_address_family_and_port() {
        for text in ["127.0.0.1:80", "[2001:db8::1]:65535"] {
            let at: SocketAddr = text.parse().expect("a literal");
            let address = Address::from(Peer::Tcp(at));
            assert_eq!((address.ip(), address.port()), (Some(at.ip()), at.port()));
            assert_eq!(address.octets().len(), if at.is_ipv4() { 4 } else { 16 });
        }
        assert!(Address::from(Peer::Unix).octets().is_empty());
    }
}
