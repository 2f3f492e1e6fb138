//! A block of addresses, in its one normal form.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// A CIDR block. Bits behind the prefix are zero, and what lies within `::ffff:0:0/96` is IPv4, as a peer's address is: a
/// v6 socket shows an IPv4 peer as mapped, and whoever wrote one form meant the other as well. A longer block of v6, even
/// `::/0`, holds no IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Block {
    /// Of IPv4.
    V4(Ipv4Net),
    /// Of IPv6.
    V6(Ipv6Net),
}

impl Block {
    /// The block of this address alone.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        IpNet::from(address).into()
    }

    /// Of the addresses that begin with so many bits of these 4 or 16 bytes; `None` if that is no prefix.
    #[must_use]
    pub fn of_prefix(octets: &[u8], len: u32) -> Option<Self> {
        let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
        let address = v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()?;
        IpNet::new(address, u8::try_from(len).ok()?).ok().map(Self::from)
    }

    /// How many bits of its addresses are the same.
    #[must_use]
    pub const fn prefix_len(&self) -> u8 {
        match self {
            Self::V4(net) => net.prefix_len(),
            Self::V6(net) => net.prefix_len(),
        }
    }

    /// Whether the address, mapped or not, is in the block.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::V4(net), IpAddr::V4(address)) => net.contains(&address),
            (Self::V6(net), IpAddr::V6(address)) => net.contains(&address),
            _ => false,
        }
    }
}

impl From<IpNet> for Block {
    fn from(net: IpNet) -> Self {
        match net {
            IpNet::V4(net) => Self::V4(net.trunc()),
            IpNet::V6(net) => match (net.trunc().network().to_ipv4_mapped(), net.prefix_len()) {
                (Some(address), MAPPED_LEN..) => Self::V4(
                    Ipv4Net::new(address, net.prefix_len() - MAPPED_LEN).expect("128 less 96 is 32 at most"),
                ),
                _ => Self::V6(net.trunc()),
            },
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(net) => write!(f, "{net}"),
            Self::V6(net) => write!(f, "{net}"),
        }
    }
}

/// What was read is no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoBlock;

impl fmt::Display for NoBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no address and no block; write 192.0.2.7, 192.0.2.0/24, 2001:db8::7 or 2001:db8::/48")
    }
}

impl FromStr for Block {
    type Err = NoBlock;

    /// An address, or a block as `address/length`; bits behind the prefix may be set.
    fn from_str(text: &str) -> Result<Self, NoBlock> {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Self::from).map_err(|_| NoBlock)
    }
}

/// Length of the prefix of all mapped addresses.
const MAPPED_LEN: u8 = 96;

const _: () = assert!(Ipv6Addr::from_segments([0, 0, 0, 0, 0, 0xffff, 0, 0]).to_ipv4_mapped().is_some());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_block_where_its_length_allows_it() {
        let block = |octets: &[u8], len| Block::of_prefix(octets, len).map(|block| block.to_string());
        assert_eq!(block(&[192, 0, 2, 7], 24).as_deref(), Some("192.0.2.0/24"));
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 7];
        assert_eq!(block(&mapped, 120).as_deref(), Some("192.0.2.0/24"));
        assert_eq!([block(&[1; 4], 33), block(&[1; 16], 129), block(&[1; 5], 8)], [None, None, None]);
    }

    #[test]
    fn a_block_has_one_form() {
        for (text, form) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8::7", "2001:db8::7/128"),
            ("2001:db8::7/48", "2001:db8::/48"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:0:0/95", "::fffe:0:0/95"),
            ("::/0", "::/0"),
        ] {
            let block: Block = text.parse().unwrap();
            assert_eq!(block.to_string(), form, "{text}");
            assert_eq!(form.parse(), Ok(block));
        }
    }

    #[test]
    fn what_is_no_block_is_told_with_what_would_be_one() {
        for text in
            ["", "192.0.2", "192.0.2.0/33", "2001:db8::/129", "192.0.2.0/", "a.example", "192.0.2.0/24 "]
        {
            assert_eq!(text.parse::<Block>(), Err(NoBlock), "{text}");
        }
        assert!(NoBlock.to_string().contains("192.0.2.0/24"));
    }

    #[test]
    fn the_two_families_do_not_meet() {
        let block = |text: &str| text.parse::<Block>().unwrap();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(block("192.0.2.0/24").contains(address("::ffff:192.0.2.9")));
        assert!(block("::ffff:192.0.2.0/120").contains(address("192.0.2.9")));
        assert!(
            !block("::/0").contains(address("192.0.2.9")) && !block("0.0.0.0/0").contains(address("::1"))
        );
        assert_eq!(Block::of(address("::ffff:192.0.2.9")), block("192.0.2.9"));
    }
}
