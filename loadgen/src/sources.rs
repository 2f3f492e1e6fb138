//! Where links of an abuse run come from: attackers from 127.1.0.0/16, honest links from 127.2.x.1. All of 127.0.0.0/8 is
//! this machine, so each of them is another address to the gateway and none has to be set up.

use std::net::{IpAddr, Ipv4Addr};

/// Attackers' addresses per /24: as many as by default reach the bound of an address each before that of their /24.
const ATTACKERS_PER_PREFIX: u32 = 16;
/// The most addresses attackers may come from: all /24 of 127.1.0.0/16.
pub const ATTACKERS_MAX: u32 = 256 * ATTACKERS_PER_PREFIX;
/// Honest links per address, and so per /24: fewer than may come at once by default.
const HONEST_PER_ADDRESS: u32 = 16;
/// The most honest links.
pub const HONEST_MAX: u32 = 256 * HONEST_PER_ADDRESS;

/// The address of attacker `number`, which is below [`ATTACKERS_MAX`].
#[must_use]
pub fn attacker(number: u32) -> IpAddr {
    let (prefix, host) = (number / ATTACKERS_PER_PREFIX, number % ATTACKERS_PER_PREFIX);
    IpAddr::V4(Ipv4Addr::new(127, 1, prefix as u8, host as u8 + 1))
}

/// The addresses of `links` honest links of which `before` come elsewhere, `before` and `links` being below [`HONEST_MAX`]
/// together. Links are dealt out over them in turn, so that none has more than its part.
#[must_use]
pub fn honest(before: u32, links: u32) -> Vec<IpAddr> {
    let first = before.div_ceil(HONEST_PER_ADDRESS);
    let address = |prefix: u32| IpAddr::V4(Ipv4Addr::new(127, 2, prefix as u8, 1));
    (first..first + links.div_ceil(HONEST_PER_ADDRESS)).map(address).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn prefix(address: IpAddr) -> [u8; 3] {
        let IpAddr::V4(v4) = address else { panic!("{address} is IPv6") };
        [v4.octets()[0], v4.octets()[1], v4.octets()[2]]
    }

    #[test]
    fn every_attacker_has_an_address_and_a_prefix_has_sixteen() {
        let all: BTreeSet<IpAddr> = (0..ATTACKERS_MAX).map(attacker).collect();
        assert_eq!(all.len(), ATTACKERS_MAX as usize);
        let mut prefixes = BTreeMap::<[u8; 3], u32>::new();
        for &address in &all {
            *prefixes.entry(prefix(address)).or_default() += 1;
        }
        assert!(prefixes.values().all(|&count| count == 16));
        assert!(prefixes.keys().all(|prefix| prefix[..2] == [127, 1]));
        assert_eq!(attacker(17).to_string(), "127.1.1.2");
    }

    #[test]
    fn honest_links_share_no_address_with_others_and_at_most_sixteen_one() {
        let (steady, further) = (honest(0, 200), honest(200, 100));
        assert_eq!((steady.len(), further.len()), (13, 7));
        assert_eq!(
            (steady[0].to_string(), further[6].to_string()),
            ("127.2.0.1".into(), "127.2.19.1".into())
        );
        assert!(steady.iter().all(|address| !further.contains(address)));
        assert!(200_usize.div_ceil(steady.len()) <= 16);
    }
}
