//! Which addresses and users keep a worker busy, roughly: a few of each are known, whoever comes.

use std::net::IpAddr;
use std::time::Duration;

use protocol::Time;

use super::turn::Turn;
use crate::admission::ladder::Level;
use crate::collections::Frequent;
use crate::collections::Name;

/// Addresses, and users, that are known for each measure.
const KNOWN: usize = 32;

/// After this time everything counts half, so that whoever was busy yesterday makes room.
const HALF_LIFE: Duration = Duration::from_mins(1);

/// By what somebody can keep a worker busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Connections of an address, logins of a user.
    Accepts,
    /// Frames.
    Frames,
    /// Bytes, as they arrive.
    Bytes,
    /// Connections and frames that were refused.
    Refusals,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Accepts, Self::Frames, Self::Bytes, Self::Refusals];

    /// How it is called in verbs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepts => "accepts",
            Self::Frames => "frames",
            Self::Bytes => "bytes",
            Self::Refusals => "refusals",
        }
    }
}

/// What one worker says of whom it knows.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Addresses by measure, with what they weigh.
    pub addresses: Vec<(Measure, IpAddr, u64)>,
    /// Users by measure, by their ids.
    pub users: Vec<(Measure, Vec<u8>, u64)>,
}

/// Whom one worker knows.
#[derive(Debug)]
pub(super) struct Busiest {
    addresses: [Frequent<IpAddr, KNOWN>; 4],
    users: [Frequent<Name, KNOWN>; 4],
    faded: Time,
}

impl Busiest {
    /// Nobody yet.
    pub(super) fn new(now: Time) -> Self {
        Self { addresses: Default::default(), users: Default::default(), faded: now }
    }

    /// An address has done so much.
    pub(super) fn address(&mut self, turn: &Turn, measure: Measure, address: Option<IpAddr>, weight: u64) {
        self.fade(turn.now);
        if let Some(address) = address.filter(|_| turn.level < Level::NoExtras) {
            self.addresses[measure as usize].add(address, weight);
        }
    }

    /// A user has done so much.
    pub(super) fn user(&mut self, turn: &Turn, measure: Measure, user: &[u8], weight: u64) {
        self.fade(turn.now);
        if turn.level < Level::NoExtras {
            let is_known = |name: &Name| name.bytes() == user;
            self.users[measure as usize].add_with(is_known, || Name::new(user), weight);
        }
    }

    fn fade(&mut self, now: Time) {
        if now.since(self.faded) < HALF_LIFE {
            return;
        }
        self.faded = now;
        self.addresses.iter_mut().for_each(Frequent::fade);
        self.users.iter_mut().for_each(Frequent::fade);
    }

    /// Who is known.
    pub(super) fn list(&self) -> Listing {
        let mut listing = Listing::default();
        for measure in Measure::ALL {
            let addresses = self.addresses[measure as usize].entries();
            listing.addresses.extend(addresses.map(|(address, weight)| (measure, *address, weight)));
            let users = self.users[measure as usize].entries();
            listing.users.extend(users.map(|(name, weight)| (measure, name.bytes().to_vec(), weight)));
        }
        listing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::settings::Settings;

    #[test]
    fn the_busiest_are_known_until_they_have_been_idle_for_a_while() {
        let mut turn = Turn::of(Settings::small());
        let mut busiest = Busiest::new(turn.now);
        let heavy: IpAddr = [192, 0, 2, 1].into();
        for number in 0..1000_u16 {
            let [high, low] = number.to_be_bytes();
            busiest.address(&turn, Measure::Accepts, Some(heavy), 1);
            busiest.address(&turn, Measure::Accepts, Some([10, 0, high, low].into()), 1);
            busiest.user(&turn, Measure::Bytes, b"eve", 100);
        }
        busiest.address(&turn, Measure::Accepts, None, 1);
        let weight = |listing: &Listing, measure| {
            let mut of =
                listing.addresses.iter().filter(|(its, address, _)| (*its, *address) == (measure, heavy));
            of.next().map(|(_, _, weight)| *weight)
        };
        let listing = busiest.list();
        assert!(weight(&listing, Measure::Accepts).is_some_and(|weight| weight >= 1000));
        assert_eq!(weight(&listing, Measure::Frames), None);
        assert_eq!(listing.users, [(Measure::Bytes, b"eve".to_vec(), 100_000)]);
        assert!(listing.addresses.len() <= KNOWN);
        for minute in 1..20 {
            turn.now = Time::ZERO + minute * HALF_LIFE;
            busiest.user(&turn, Measure::Frames, b"bob", 1);
        }
        assert!(busiest.list().users.iter().all(|(_, user, _)| user == b"bob"), "eve is idle");
    }

    #[test]
    fn while_there_is_too_much_to_do_nobody_is_counted() {
        let mut turn = Turn::of(Settings::small());
        turn.level = Level::NoExtras;
        let mut busiest = Busiest::new(turn.now);
        busiest.user(&turn, Measure::Frames, b"eve", 1);
        busiest.address(&turn, Measure::Frames, Some([192, 0, 2, 1].into()), 1);
        assert!(busiest.list().users.is_empty() && busiest.list().addresses.is_empty());
    }
}
