//! Blocks of addresses that backends have slowed down, each until its end.
//!
//! `Throttles` is the book of them, which is bounded: one more is refused, and those that are there keep what they have.
//! `Slowed` is what is looked up in, made of it, and never changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};
use prefix_trie::{Prefix, PrefixMap};
use protocol::{Time, UnixMillis};

use super::block::Block;
use super::prefixes::NEVER;
use crate::rate::ALL;

/// What holds for a block of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Hundredths of their rates that its links have, one at least; [`ALL`] ends what held before.
    pub percent: u8,
    /// When it ends, on the monotonic clock.
    pub end: Time,
    /// The same in the time of day when it was set, for people; `None` for never.
    pub until: Option<UnixMillis>,
    /// When it was set.
    pub since: UnixMillis,
    /// By which backend, by the name of its endpoint.
    pub by: String,
}

/// As many blocks are slowed down as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// How many that is.
    pub max: usize,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} blocks are slowed down, which is as many as there may be; let backends name larger blocks or end some, or \
             raise throttled_blocks of [lists]",
            self.max
        )
    }
}

/// All blocks that are slowed down, bounded in number.
#[derive(Debug)]
pub struct Throttles {
    blocks: BTreeMap<Block, Throttle>,
    /// The same blocks, in the order of their ends.
    ends: BTreeSet<(Time, Block)>,
    max: usize,
    refused: u64,
}

impl Throttles {
    /// None yet, and at most so many.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { blocks: BTreeMap::new(), ends: BTreeSet::new(), max, refused: 0 }
    }

    /// From now on this holds for a block, in the place of what held before. All hundredths, and an end that has passed, end
    /// that. Whether anything has changed.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing has changed then.
    pub fn set(&mut self, block: Block, throttle: Throttle, now: Time) -> Result<bool, NoRoom> {
        self.forget_ended(now);
        let is_over = throttle.percent >= ALL || throttle.end <= now;
        let known = self.blocks.get(&block);
        if !is_over && known.is_none() && self.blocks.len() >= self.max {
            self.refused += 1;
            return Err(NoRoom { max: self.max });
        }
        if let Some(known) = known {
            self.ends.remove(&(known.end, block));
        }
        if is_over {
            return Ok(self.blocks.remove(&block).is_some());
        }
        self.ends.insert((throttle.end, block));
        self.blocks.insert(block, throttle);
        Ok(true)
    }

    /// Forgets those that have ended.
    pub fn forget_ended(&mut self, now: Time) {
        while let Some(&(end, block)) = self.ends.first().filter(|(end, _)| *end <= now) {
            self.ends.remove(&(end, block));
            self.blocks.remove(&block);
        }
    }

    /// All of them, in the order of their blocks.
    pub fn iter(&self) -> impl Iterator<Item = (&Block, &Throttle)> {
        self.blocks.iter()
    }

    /// What is looked up in.
    #[must_use]
    pub fn slowed(&self) -> Slowed {
        let mut slowed =
            Slowed { ends: self.ends.iter().map(|(end, _)| *end).collect(), ..Slowed::default() };
        for (block, Throttle { percent, end, .. }) in &self.blocks {
            let share = Share { percent: (*percent).max(1), end: *end };
            match block {
                Block::V4(net) => _ = slowed.v4.insert(*net, share),
                Block::V6(net) => _ = slowed.v6.insert(*net, share),
            }
        }
        slowed
    }

    /// How many there are, those included that have ended and were not forgotten.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// How many found no room.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[derive(Clone, Copy, Debug)]
struct Share {
    percent: u8,
    end: Time,
}

/// How many hundredths of their rates addresses have. It never changes: another one takes its place.
#[derive(Clone, Debug, Default)]
pub struct Slowed {
    v4: PrefixMap<Ipv4Net, Share>,
    v6: PrefixMap<Ipv6Net, Share>,
    /// When each block ends, in their order.
    ends: Vec<Time>,
}

impl Slowed {
    /// Hundredths of their rates that links of this address, mapped or not, have: the fewest of all blocks that hold it.
    #[must_use]
    pub fn percent(&self, address: IpAddr, now: Time) -> u8 {
        if self.ends.is_empty() {
            return ALL;
        }
        match address.to_canonical() {
            IpAddr::V4(address) => fewest(&self.v4, &address.into(), now),
            IpAddr::V6(address) => fewest(&self.v6, &address.into(), now),
        }
    }

    /// When the next block ends after this moment, if one does.
    #[must_use]
    pub fn next_end(&self, now: Time) -> Option<Time> {
        let next = self.ends.partition_point(|end| *end <= now);
        self.ends.get(next).copied().filter(|end| *end < NEVER)
    }
}

fn fewest<P: Prefix>(blocks: &PrefixMap<P, Share>, address: &P, now: Time) -> u8 {
    let live = blocks.cover(address).filter(|(_, share)| now < share.end);
    live.map(|(_, share)| share.percent).min().unwrap_or(ALL)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn throttle(percent: u8, end: Time) -> Throttle {
        Throttle { percent, end, until: None, since: UnixMillis(0), by: "chat".to_owned() }
    }

    fn set(book: &mut Throttles, block: &str, percent: u8, end: Time, now: u64) -> Result<bool, NoRoom> {
        book.set(block.parse().unwrap(), throttle(percent, end), at(now))
    }

    fn percents(book: &Throttles, now: u64, addresses: &[&str]) -> Vec<u8> {
        let slowed = book.slowed();
        addresses.iter().map(|address| slowed.percent(address.parse().unwrap(), at(now))).collect()
    }

    #[test]
    fn of_all_blocks_that_hold_an_address_the_fewest_hundredths_count_until_their_end() {
        let mut book = Throttles::new(9);
        for (block, percent, end) in [
            ("192.0.2.0/24", 30, at(10)),
            ("192.0.2.7", 60, NEVER),
            ("192.0.0.0/16", 5, at(5)),
            ("2001:db8::/48", 20, NEVER),
        ] {
            assert_eq!(set(&mut book, block, percent, end, 0), Ok(true));
        }
        let who = ["192.0.2.7", "::ffff:192.0.2.8", "192.0.3.1", "198.51.100.1", "2001:db8::7", "2001:db9::"];
        assert_eq!(percents(&book, 4, &who), [5, 5, 5, ALL, 20, ALL]);
        assert_eq!(percents(&book, 5, &who), [30, 30, ALL, ALL, 20, ALL], "not a moment longer");
        assert_eq!(percents(&book, 10, &who), [60, ALL, ALL, ALL, 20, ALL]);
        let slowed = book.slowed();
        assert_eq!(
            [0, 5, 9, 10].map(|now| slowed.next_end(at(now))),
            [Some(at(5)), Some(at(10)), Some(at(10)), None]
        );
        assert_eq!(Slowed::default().percent([192, 0, 2, 7].into(), at(0)), ALL);
    }

    #[test]
    fn a_block_has_one_form_and_the_last_word_about_it_counts() {
        let mut book = Throttles::new(9);
        assert_eq!(set(&mut book, "192.0.2.7/24", 30, at(10), 0), Ok(true));
        assert_eq!(set(&mut book, "::ffff:192.0.2.0/120", 70, at(20), 0), Ok(true));
        assert_eq!((book.len(), percents(&book, 10, &["192.0.2.9"])), (1, vec![70]));
        assert_eq!(
            set(&mut book, "192.0.2.0/25", ALL, NEVER, 0),
            Ok(false),
            "a block within it is none of its own"
        );
        assert_eq!(set(&mut book, "192.0.2.0/24", ALL, NEVER, 0), Ok(true));
        assert!(book.is_empty() && book.slowed().next_end(at(0)).is_none());
        assert_eq!(set(&mut book, "192.0.2.0/24", 30, at(10), 10), Ok(false), "its end has passed");
        assert_eq!(set(&mut book, "192.0.2.0/24", 0, at(12), 10), Ok(true));
        assert_eq!(percents(&book, 11, &["192.0.2.9"]), [1], "one at least");
        book.forget_ended(at(12));
        assert_eq!((book.len(), book.ends.len()), (0, 0));
    }

    #[test]
    fn one_more_than_there_may_be_is_refused_and_takes_nobodys_place() {
        let mut book = Throttles::new(2);
        assert_eq!(set(&mut book, "192.0.2.1", 10, at(5), 0), Ok(true));
        assert_eq!(set(&mut book, "192.0.2.2", 10, NEVER, 0), Ok(true));
        assert_eq!(set(&mut book, "192.0.2.3", 10, NEVER, 4), Err(NoRoom { max: 2 }));
        assert_eq!(set(&mut book, "192.0.2.2", 20, NEVER, 4), Ok(true), "it takes the place of its own");
        assert_eq!(
            set(&mut book, "192.0.2.3", ALL, NEVER, 4),
            Ok(false),
            "who wants no place is refused none"
        );
        assert_eq!((book.refused(), book.iter().count()), (1, 2));
        assert_eq!(set(&mut book, "192.0.2.3", 10, NEVER, 5), Ok(true), "one has ended");
        assert!(
            NoRoom { max: 2 }
                .to_string()
                .contains("2 blocks are slowed down, which is as many as there may be")
        );
    }

    /// `config/ceiling.rs` counts 1400 bytes for each: trees are half full at worst, and what is looked up in is there twice for
    /// a moment.
    #[test]
    fn a_block_takes_no_more_memory_than_the_ceiling_says() {
        const BLOCKS: usize = 4096;
        let mut book = Throttles::new(BLOCKS);
        for number in 0..BLOCKS as u32 {
            // No two are neighbours: each has branches of its own.
            let [a, b, c, d] = number.wrapping_mul(0x9e37_79b1).to_be_bytes();
            let block = Block::of(
                std::net::Ipv6Addr::from([
                    0x2001,
                    u16::from_be_bytes([a, b]),
                    0,
                    0,
                    0,
                    0,
                    0,
                    u16::from_be_bytes([c, d]),
                ])
                .into(),
            );
            book.set(block, throttle(10, at(60 + u64::from(number))), at(0)).unwrap();
        }
        let slowed = book.slowed();
        let looked_up =
            slowed.v4.mem_size() + slowed.v6.mem_size() + slowed.ends.capacity() * size_of::<Time>();
        let kept = size_of::<(Block, Throttle)>() + size_of::<(Time, Block)>();
        let (name, of_each) = (64, looked_up / BLOCKS);
        assert!(2 * of_each + 2 * kept + name <= 1400, "{of_each} and {kept}");
    }
}
