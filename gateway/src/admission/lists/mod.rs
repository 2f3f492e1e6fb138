//! Which addresses are let in without being counted, and which not at all; and which users may log in.
//!
//! | live block that holds the address | what it is |
//! |---|---|
//! | none | unlisted: buckets and limits apply |
//! | of `allow` | allowed: buckets do not apply |
//! | of `deny`, `bans` or `automatic` | denied |
//! | of both sides | what the longer prefix says; denied where both are equally long |
//!
//! Users are denied by a list or a ban; where a list allows some, nobody else may log in. Some addresses are let in and have less of
//! their rates.
//!
//! `block` is one block of addresses, `prefixes` a set of them. A set never changes: another one takes its place, so a
//! lookup takes no lock, and a worker's view is of one moment. `bans` is the book of those that are set at run time, from
//! which control makes the sets, and `throttles` that of blocks that are slowed down.

mod bans;
mod block;
mod prefixes;
mod throttles;
mod users;

use std::net::IpAddr;
use std::sync::Arc;

use protocol::Time;

pub use self::bans::{Author, Ban, Bans, Full, REASON_LEN_MAX, Subject};
pub use self::block::{Block, NoBlock};
pub use self::prefixes::{Cover, NEVER, Prefixes};
pub use self::throttles::{NoRoom, Slowed, Throttle, Throttles};
pub use self::users::{Ends, NoUser, Spelled, UserId, Users, spelled};

/// What the lists say of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Unlisted,
    /// It skips the buckets.
    Allowed,
    /// It is not let in, before this moment at the earliest.
    Denied(Time),
}

/// All lists, as they are at a moment.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    /// The operator's files of those who are let in.
    pub allow: Arc<Prefixes>,
    /// The operator's files of those who are not.
    pub deny: Arc<Prefixes>,
    /// Bans that an operator or a backend has set while the gateway runs.
    pub bans: Arc<Prefixes>,
    /// Bans that the gateway has set by itself. They let nobody in and end no link that stands.
    pub automatic: Arc<Prefixes>,
    /// The same of users.
    pub users: Users,
    /// Addresses that backends have slowed down.
    pub slowed: Arc<Slowed>,
    /// Of these very lists and their copies alone, so that it can be told whether somebody still holds one.
    pub edition: Arc<()>,
}

impl Lists {
    /// How an address stands that wants to come in.
    #[must_use]
    pub fn at_the_door(&self, address: IpAddr, now: Time) -> Standing {
        let automatic = self.automatic.cover(address, now);
        self.judge(address, now, automatic)
    }

    /// How the address of a link stands that is in: bans that the gateway has set by itself do not count.
    #[must_use]
    pub fn inside(&self, address: IpAddr, now: Time) -> Standing {
        self.judge(address, now, None)
    }

    fn judge(&self, address: IpAddr, now: Time, automatic: Option<Cover>) -> Standing {
        // `None` is less than any.
        let denied = automatic.max(self.bans.cover(address, now)).max(self.deny.cover(address, now));
        let allowed = self.allow.cover(address, now).map(|cover| cover.len);
        match denied {
            Some(cover) if Some(cover.len) >= allowed => Standing::Denied(cover.end),
            _ if allowed.is_some() => Standing::Allowed,
            _ => Standing::Unlisted,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Time = Time::from_nanos(1);

    fn list(blocks: &[&str]) -> Arc<Prefixes> {
        Arc::new(blocks.iter().map(|block| (block.parse().unwrap(), NEVER)).collect())
    }

    #[test]
    fn the_longer_prefix_decides_and_of_equal_ones_the_one_that_denies() {
        use Standing::{Allowed, Unlisted};
        let denied = Standing::Denied(NEVER);
        let address = "192.0.2.7".parse().unwrap();
        let (short, long, other) = ("192.0.2.0/24", "192.0.2.7", "192.0.2.8");
        for (allow, deny, expected) in [
            (&[][..], &[][..], Unlisted),
            (&[other], &[other], Unlisted),
            (&[short], &[], Allowed),
            (&[], &[short], denied),
            (&[long], &[short], Allowed),
            (&[short], &[long], denied),
            (&[short], &[short], denied),
            (&[long], &[long, short], denied),
            (&[short, long], &[short], Allowed),
            (&["0.0.0.0/0"], &[], Allowed),
            (&[], &["0.0.0.0/0"], denied),
            (&[], &["::/0"], Unlisted),
        ] {
            let (allowed, denying) = (list(allow), list(deny));
            let base = Lists { allow: allowed, ..Lists::default() };
            for lists in [
                Lists { deny: Arc::clone(&denying), ..base.clone() },
                Lists { bans: Arc::clone(&denying), ..base.clone() },
                Lists { automatic: denying, ..base },
            ] {
                assert_eq!(lists.at_the_door(address, NOW), expected, "allow {allow:?}, deny {deny:?}");
            }
        }
    }

    #[test]
    fn what_the_gateway_has_banned_by_itself_stays_where_it_is() {
        let lists = Lists { automatic: list(&["192.0.2.0/24"]), ..Lists::default() };
        let address = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(lists.at_the_door(address, NOW), Standing::Denied(NEVER));
        assert_eq!(lists.inside(address, NOW), Standing::Unlisted);
        let lists = Lists { bans: list(&["192.0.2.0/24"]), ..lists };
        assert_eq!(lists.inside(address, NOW), Standing::Denied(NEVER));
    }

    #[test]
    fn a_ban_that_has_ended_lets_the_allow_list_speak() {
        let end = NOW + Duration::from_secs(1);
        let bans: Prefixes = [("192.0.2.7".parse().unwrap(), end)].into_iter().collect();
        let lists = Lists { allow: list(&["192.0.2.0/24"]), bans: Arc::new(bans), ..Lists::default() };
        let address = "192.0.2.7".parse().unwrap();
        assert_eq!(
            [NOW, end].map(|now| lists.at_the_door(address, now)),
            [Standing::Denied(end), Standing::Allowed]
        );
    }
}
