//! Blocks of addresses, each until its end, and how closely one of them covers an address.

use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};
use prefix_trie::{Prefix, PrefixMap, PrefixSet};
use protocol::Time;

use super::block::Block;

/// An end that never comes.
pub const NEVER: Time = Time::from_nanos(u64::MAX);

/// How a set covers an address. The longer prefix is more; of equally long ones, the later end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cover {
    /// Length of the prefix, in bits of the address's own family.
    pub len: u8,
    /// When its block ends.
    pub end: Time,
}

/// A set of blocks that never changes: whoever wants another one builds it and lets it take this one's place.
#[derive(Clone, Debug, Default)]
pub struct Prefixes {
    v4: Family<Ipv4Net>,
    v6: Family<Ipv6Net>,
}

impl Prefixes {
    /// The longest block that holds the address and has not ended. A longer one that has ended does not hide it.
    #[must_use]
    pub fn cover(&self, address: IpAddr, now: Time) -> Option<Cover> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.cover(&address.into(), now),
            IpAddr::V6(address) => self.v6.cover(&address.into(), now),
        }
    }

    /// How many blocks it has, those included that have ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes()
    }
}

impl FromIterator<(Block, Time)> for Prefixes {
    /// Each block with its end; of one that comes twice, the later end counts.
    fn from_iter<I: IntoIterator<Item = (Block, Time)>>(blocks: I) -> Self {
        let mut prefixes = Self::default();
        for (block, end) in blocks {
            match block {
                Block::V4(net) => prefixes.v4.insert(net, end),
                Block::V6(net) => prefixes.v6.insert(net, end),
            }
        }
        prefixes
    }
}

/// The blocks of one family of addresses. Most of a long list never end, and what has no end costs no memory for one and
/// no look at it.
#[derive(Clone, Debug)]
struct Family<P: Prefix> {
    lasting: PrefixSet<P>,
    ending: PrefixMap<P, Time>,
}

impl<P: Prefix> Default for Family<P> {
    fn default() -> Self {
        Self { lasting: PrefixSet::new(), ending: PrefixMap::new() }
    }
}

impl<P: Prefix> Family<P> {
    fn insert(&mut self, net: P, end: Time) {
        if end == NEVER {
            self.lasting.insert(net);
        } else {
            let known = self.ending.entry(net).or_insert(end);
            *known = end.max(*known);
        }
    }

    fn cover(&self, address: &P, now: Time) -> Option<Cover> {
        self.lasting(address).max(self.ending(address, now))
    }

    fn lasting(&self, address: &P) -> Option<Cover> {
        if self.lasting.is_empty() {
            return None;
        }
        self.lasting.get_lpm(address).map(|block| Cover { len: block.prefix_len(), end: NEVER })
    }

    fn ending(&self, address: &P, now: Time) -> Option<Cover> {
        if self.ending.is_empty() {
            return None;
        }
        // To visit all that hold it takes longer than to find the longest, and that one has seldom ended.
        let (longest, &end) = self.ending.get_lpm(address)?;
        if now < end {
            return Some(Cover { len: longest.prefix_len(), end });
        }
        let live = self.ending.cover(address).filter(|&(_, &end)| now < end);
        live.last().map(|(block, &end)| Cover { len: block.prefix_len(), end })
    }

    fn len(&self) -> usize {
        self.lasting.len() + self.ending.len()
    }

    fn bytes(&self) -> usize {
        self.lasting.mem_size() + self.ending.mem_size()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn prefixes(blocks: &[(&str, Time)]) -> Prefixes {
        blocks.iter().map(|&(block, end)| (block.parse().unwrap(), end)).collect()
    }

    #[test]
    fn a_short_block_that_lasts_is_found_behind_a_long_one_that_has_ended() {
        let list = prefixes(&[("192.0.2.7", at(5)), ("192.0.2.0/24", at(10)), ("0.0.0.0/0", NEVER)]);
        let cover = |seconds| list.cover("192.0.2.7".parse().unwrap(), at(seconds)).map(|cover| cover.len);
        assert_eq!([4, 5, 9, 10, 1 << 30].map(cover), [Some(32), Some(24), Some(24), Some(0), Some(0)]);
        assert_eq!(list.cover("2001:db8::1".parse().unwrap(), at(0)), None);
        assert_eq!((list.len(), list.is_empty(), Prefixes::default().is_empty()), (3, false, true));
    }

    #[test]
    fn of_a_block_that_comes_twice_the_later_end_counts() {
        for ends in [[at(5), at(9)], [at(9), at(5)]] {
            let list = prefixes(&ends.map(|end| ("::ffff:192.0.2.0/120", end)));
            let cover = |seconds| list.cover("192.0.2.1".parse().unwrap(), at(seconds));
            assert_eq!((cover(8), cover(9), list.len()), (Some(Cover { len: 24, end: at(9) }), None, 1));
        }
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        // Few different bits, so that blocks and addresses meet.
        prop_oneof![
            any::<[bool; 8]>().prop_map(|bits| {
                let bit = |at: usize| u32::from(bits[at]);
                let high = bit(0) << 31 | bit(1) << 30 | bit(2) << 23 | bit(3) << 16;
                std::net::Ipv4Addr::from(high | bit(4) << 8 | bit(5) << 2 | bit(6) << 1 | bit(7)).into()
            }),
            any::<[bool; 8]>().prop_map(|bits| {
                let bit = |at: usize| u128::from(bits[at]);
                let high = bit(0) << 127 | bit(1) << 100 | bit(2) << 80 | bit(3) << 64;
                let low = bit(4) << 47 | bit(5) << 33 | bit(6) << 1 | bit(7);
                std::net::Ipv6Addr::from(high | low).into()
            }),
        ]
    }

    fn block() -> impl Strategy<Value = Block> {
        (address(), 0..=128u8).prop_map(|(address, len)| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            ipnet::IpNet::new(address, len.min(most)).unwrap().into()
        })
    }

    proptest! {
        #[test]
        fn covers_like_a_list_that_is_searched(
            blocks in prop::collection::vec((block(), 0..4u64), 0..20), addresses in prop::collection::vec(address(), 1..20),
        ) {
            let list: Prefixes = blocks.iter().map(|&(block, end)| (block, at(end))).collect();
            for address in addresses {
                let live = blocks.iter().filter(|(block, end)| 1 < *end && block.contains(address));
                let longest = live.map(|(block, _)| match block {
                    Block::V4(net) => net.prefix_len(),
                    Block::V6(net) => net.prefix_len(),
                });
                prop_assert_eq!(list.cover(address, at(1)).map(|cover| cover.len), longest.max());
            }
        }
    }
}
