//! Who says whose a connection is: balancers in front of a listener, as a rule; and how it is known of one connection.
//!
//! ```text
//! Required ─┬─ header names a client ──► Forwarded
//! Optional ─┼─ header names nobody ────► Direct: the address is the balancer's, and pays
//!       │   └─ header says it is a check ► Balancer
//!       └───── no header ──────────────► Direct
//! ```

use std::net::IpAddr;

use ipnet::IpNet;

use super::lists::Block;
use crate::address::Address;
use crate::config::ProxyProtocol;

/// The balancers in front of a listener; by default none.
#[derive(Clone, Debug)]
pub struct Balancers {
    mode: ProxyProtocol,
    /// As few as [`BALANCERS_MAX`](crate::config::BALANCERS_MAX).
    blocks: Box<[Block]>,
}

impl Default for Balancers {
    fn default() -> Self {
        Self::new(ProxyProtocol::Off, &[])
    }
}

impl Balancers {
    /// Those of these blocks.
    #[must_use]
    pub fn new(mode: ProxyProtocol, blocks: &[IpNet]) -> Self {
        Self { mode, blocks: blocks.iter().copied().map(Block::from).collect() }
    }

    /// How it is known who comes from this address, which is none for a peer without one; `None` if it may not come, as it
    /// is no balancer.
    #[must_use]
    pub fn introduction(&self, address: Option<IpAddr>) -> Option<Introduction> {
        let is_balancer =
            || address.is_some_and(|address| self.blocks.iter().any(|block| block.contains(address)));
        match self.mode {
            ProxyProtocol::Off => Some(Introduction::Direct),
            ProxyProtocol::Required => is_balancer().then_some(Introduction::Required),
            ProxyProtocol::Optional if is_balancer() => Some(Introduction::Optional),
            ProxyProtocol::Optional => Some(Introduction::Direct),
        }
    }
}

/// How it is known whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Introduction {
    /// It is that of the address it comes from.
    Direct,
    /// The header that says so has still to come.
    Required,
    /// The same, or a client's first byte.
    Optional,
    /// A header has named the client.
    Forwarded,
    /// A header has said that it is the balancer's own.
    Balancer,
}

impl Introduction {
    /// Whether it is not known yet.
    #[must_use]
    pub const fn is_awaited(self) -> bool {
        matches!(self, Self::Required | Self::Optional)
    }

    /// Whether no address pays for it: it is a balancer's, as far as is known.
    #[must_use]
    pub const fn is_free(self) -> bool {
        matches!(self, Self::Required | Self::Optional | Self::Balancer)
    }

    /// Whether somebody with this address is on this machine. One of whom a balancer says so is on the balancer's.
    #[must_use]
    pub fn is_local(self, address: Address) -> bool {
        self != Self::Forwarded && address.is_local()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listed_ones_are_asked_for_a_header() {
        use Introduction::{Direct, Optional, Required};
        let blocks = ["10.0.0.9/8", "2001:db8::/32"].map(|block| block.parse().unwrap());
        let introduced =
            |mode, address: &str| Balancers::new(mode, &blocks).introduction(address.parse().ok());
        for (address, required, optional) in [
            ("10.255.0.1", Some(Required), Some(Optional)),
            ("::ffff:10.1.1.1", Some(Required), Some(Optional)),
            ("2001:db8:1::1", Some(Required), Some(Optional)),
            ("192.0.2.7", None, Some(Direct)),
            ("::1", None, Some(Direct)),
            ("no address", None, Some(Direct)),
        ] {
            assert_eq!(introduced(ProxyProtocol::Required, address), required, "{address}");
            assert_eq!(introduced(ProxyProtocol::Optional, address), optional, "{address}");
            assert_eq!(introduced(ProxyProtocol::Off, address), Some(Direct), "{address}");
        }
        assert_eq!(Balancers::default().introduction("10.0.0.1".parse().ok()), Some(Direct));
    }

    #[test]
    fn whoever_is_on_a_balancers_machine_is_not_on_this_one() {
        let here = Address::from(driver::Peer::Tcp(([127, 0, 0, 1], 80).into()));
        let local = |introduction: Introduction| introduction.is_local(here);
        assert!(
            local(Introduction::Direct) && local(Introduction::Balancer) && !local(Introduction::Forwarded)
        );
    }
}
