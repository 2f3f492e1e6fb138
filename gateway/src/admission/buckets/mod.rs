//! What addresses may cost: connections and strangers, counted for each address, for the block of addresses around it, for
//! each listener, and for all together.
//!
//! An address pays for strangers and not for users: the links behind a carrier's NAT are an honest crowd. So whatever a
//! connection has cost comes back with its `Welcome`. One address is an IPv4 address or an IPv6 /64, which is what one
//! customer has; the blocks around them are a /24 and a /48.
//!
//! All workers of a process share one of these, and it is the one place where their data meet: its cells are atomic, and
//! nobody waits for anybody.

mod cells;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::Time;

use self::cells::{Cells, Over, Spot, USERS_MAX};
use crate::collections::HashKey;
use crate::counters::guard::{Guard, Guards};
use crate::rate::Rate;

pub use self::cells::{Census, Most};

/// What those who come by one listener may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressLimits {
    /// One address.
    pub address: Most,
    /// The connections and strangers of the block around it, as a multiple of one address's.
    pub prefix_factor: u32,
    /// Links of users from one address from which on it is a crowd that somebody may want to know of.
    pub crowd: u32,
    /// Connections by this listener, from wherever.
    pub listener: Option<Rate>,
    /// Connections by all listeners.
    pub all: Rate,
    /// Those that are on trial: they are asked, and whoever they refuse comes in all the same.
    pub on_trial: Guards,
}

impl AddressLimits {
    /// What an address has that is slowed down to so many hundredths.
    fn own(&self, percent: u8) -> Most {
        Most { accepts: self.address.accepts.percent(percent), ..self.address }
    }

    fn prefix(&self) -> Most {
        let Most { accepts, strangers, .. } = self.address;
        let factor = self.prefix_factor;
        Most {
            accepts: accepts.times(factor),
            strangers: strangers.saturating_mul(factor),
            users: USERS_MAX + 1,
        }
    }
}

#[cfg(test)]
impl AddressLimits {
    /// More than a test of something else needs.
    pub(crate) fn ample() -> Self {
        let second = std::time::Duration::from_secs(1);
        Self {
            address: Most { accepts: Rate::new(1, second, 1000), strangers: 1000, users: 1000 },
            prefix_factor: 4,
            crowd: 100,
            listener: None,
            all: Rate::new(1, second, 10_000),
            on_trial: Guards::NONE,
        }
    }
}

/// Where a stranger who came in is counted, until it is welcome or gone.
#[derive(Debug, PartialEq, Eq)]
pub struct Pass {
    address: Option<Spot>,
    prefix: Option<Spot>,
    /// Hundredths of its rate that its address had when it came: what it has cost is put back as it was taken.
    percent: u8,
}

/// Where a user is counted, until it is gone; by default nowhere.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stay(Option<Spot>);

/// What came of an attempt to come in.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is counted if it is let in, or who refuses it.
    pub pass: Result<Pass, Guard>,
    /// Those that would have refused it, were they not on trial.
    pub on_trial: Guards,
}

/// All buckets of a process.
#[derive(Debug)]
pub struct Buckets {
    addresses: Cells,
    prefixes: Cells,
    listeners: Box<[AtomicU64]>,
    all: AtomicU64,
    hash: HashKey,
}

impl Buckets {
    /// Of a process with so many listeners: `cells` for addresses and a quarter as many for blocks of them, at 16 bytes each.
    /// `hash` is the key of hashes that attackers must not predict.
    #[must_use]
    pub fn new(cells: usize, listeners: usize, hash: HashKey) -> Self {
        Self {
            addresses: Cells::new(cells),
            prefixes: Cells::new(cells / 4),
            listeners: (0..listeners).map(|_| AtomicU64::new(0)).collect(),
            all: AtomicU64::new(0),
            hash,
        }
    }

    /// Somebody comes from an address by a listener, by its place among those of the process: it is counted and let in, or
    /// refused, and then nothing is counted. Of its own rate of connections the address has so many hundredths; what it shares
    /// with others is as it is.
    #[must_use]
    pub fn enter(
        &self,
        address: IpAddr,
        percent: u8,
        listener: usize,
        limits: &AddressLimits,
        now: Time,
    ) -> Entry {
        let mut asked = Asked { limits, on_trial: Guards::NONE };
        let pass = self.pass(address, percent, listener, &mut asked, now);
        Entry { pass, on_trial: asked.on_trial }
    }

    fn pass(
        &self,
        address: IpAddr,
        percent: u8,
        listener: usize,
        asked: &mut Asked<'_>,
        now: Time,
    ) -> Result<Pass, Guard> {
        let limits = asked.limits;
        let key = Key::new(address);
        let own = self.addresses.enter(self.hash.hash(&key.address), &limits.own(percent), now);
        let address = asked.spot(own, |over| match over {
            Over::Accepts => Guard::AcceptsPerAddress,
            Over::Strangers => Guard::StrangersPerAddress,
            Over::Users => Guard::LinksPerAddress,
        })?;
        let around = self.prefixes.enter(self.hash.hash(&key.prefix), &limits.prefix(), now);
        let prefix = asked.spot(around, |over| match over {
            Over::Accepts => Guard::AcceptsPerPrefix,
            Over::Strangers | Over::Users => Guard::StrangersPerPrefix,
        });
        let pass = Pass { address, prefix: prefix.ok().flatten(), percent };
        let refused = prefix.err().or_else(|| self.refuse_more(listener, asked, now));
        match refused {
            None => Ok(pass),
            Some(guard) => {
                self.undo(&pass, limits);
                Err(guard)
            }
        }
    }

    /// Whether so many have come that nobody more is let in, wherever from.
    fn refuse_more(&self, listener: usize, asked: &mut Asked<'_>, now: Time) -> Option<Guard> {
        let AddressLimits { listener: of_listener, all, .. } = *asked.limits;
        let own = self.listeners.get(listener).zip(of_listener);
        if let Some((bucket, rate)) = own
            && !take(bucket, rate, now)
            && asked.refuses(Guard::AcceptsPerListener)
        {
            return Some(Guard::AcceptsPerListener);
        }
        if take(&self.all, all, now) || !asked.refuses(Guard::Accepts) {
            return None;
        }
        if let Some((bucket, rate)) = own {
            put_back(bucket, rate);
        }
        Some(Guard::Accepts)
    }

    fn undo(&self, pass: &Pass, limits: &AddressLimits) {
        if let Some(spot) = pass.address {
            self.addresses.undo(spot, limits.own(pass.percent).accepts);
        }
        if let Some(spot) = pass.prefix {
            self.prefixes.undo(spot, limits.prefix().accepts);
        }
    }

    /// Somebody who came in by this listener is a user: what it has cost comes back, and from now on it counts as a user.
    /// Whether its address has just become a crowd.
    #[must_use]
    pub fn welcome(&self, pass: Pass, listener: usize, limits: &AddressLimits) -> (Stay, bool) {
        if let Some(spot) = pass.prefix {
            self.prefixes.welcome(spot, limits.prefix().accepts, false);
        }
        let own = self.listeners.get(listener).zip(limits.listener);
        if let Some((bucket, rate)) = own {
            put_back(bucket, rate);
        }
        put_back(&self.all, limits.all);
        let own = limits.own(pass.percent).accepts;
        let users = pass.address.and_then(|spot| self.addresses.welcome(spot, own, true));
        (Stay(pass.address), users == Some(limits.crowd))
    }

    /// A stranger has gone without having been welcome.
    pub fn stranger_left(&self, pass: Pass) {
        if let Some(spot) = pass.address {
            self.addresses.stranger_left(spot);
        }
        if let Some(spot) = pass.prefix {
            self.prefixes.stranger_left(spot);
        }
    }

    /// What is counted of addresses, and of the blocks around them. Looks at every cell.
    #[must_use]
    pub fn census(&self) -> [Census; 2] {
        [self.addresses.census(), self.prefixes.census()]
    }

    /// A user has gone.
    pub fn user_left(&self, stay: Stay) {
        if let Stay(Some(spot)) = stay {
            self.addresses.user_left(spot);
        }
    }
}

fn take(bucket: &AtomicU64, rate: Rate, now: Time) -> bool {
    let taken = |full_at| rate.take(Time::from_nanos(full_at), 1, now).map(Time::as_nanos);
    bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
}

fn put_back(bucket: &AtomicU64, rate: Rate) {
    let put = |full_at| Some(rate.put_back(Time::from_nanos(full_at)).as_nanos());
    let _always = bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, put);
}

/// What the guards have said so far.
struct Asked<'a> {
    limits: &'a AddressLimits,
    on_trial: Guards,
}

impl Asked<'_> {
    /// Whether a guard that wants to refuse may.
    fn refuses(&mut self, guard: Guard) -> bool {
        let is_trial = self.limits.on_trial.contains(guard);
        if is_trial {
            self.on_trial = self.on_trial.with(guard);
        }
        !is_trial
    }

    fn spot(
        &mut self,
        entered: Result<Option<Spot>, Over>,
        guard: impl Fn(Over) -> Guard,
    ) -> Result<Option<Spot>, Guard> {
        match entered {
            Ok(spot) => Ok(spot),
            Err(over) if self.refuses(guard(over)) => Err(guard(over)),
            Err(_) => Ok(None),
        }
    }
}

/// What is hashed of an address: a byte that tells the four kinds apart, and as much of it as counts.
struct Key {
    address: [u8; 9],
    prefix: [u8; 7],
}

impl Key {
    fn new(address: IpAddr) -> Self {
        let (mut own, mut around) = ([0; 9], [0; 7]);
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                own[1..5].copy_from_slice(&v4.octets());
                around[1..4].copy_from_slice(&v4.octets()[..3]);
            }
            IpAddr::V6(v6) => {
                (own[0], around[0]) = (1, 1);
                own[1..].copy_from_slice(&v6.octets()[..8]);
                around[1..].copy_from_slice(&v6.octets()[..6]);
            }
        }
        Self { address: own, prefix: around }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rate::ALL;

    fn limits() -> AddressLimits {
        let second = Duration::from_secs(1);
        AddressLimits {
            address: Most { accepts: Rate::new(20, second, 40), strangers: 8, users: 16_384 },
            prefix_factor: 4,
            crowd: 3,
            listener: None,
            all: Rate::new(1000, second, 1000),
            on_trial: Guards::NONE,
        }
    }

    fn buckets() -> Buckets {
        Buckets::new(1 << 10, 2, HashKey::new([7; 16]))
    }

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn enter(buckets: &Buckets, address: &str, limits: &AddressLimits) -> Result<Pass, Guard> {
        buckets.enter(address.parse().unwrap(), ALL, 0, limits, at(1_000)).pass
    }

    /// How many get in until one is refused, and by whom.
    fn fill(
        buckets: &Buckets,
        addresses: impl Iterator<Item = String>,
        limits: &AddressLimits,
    ) -> (usize, Guard) {
        for (count, address) in addresses.enumerate() {
            if let Err(guard) = enter(buckets, &address, limits) {
                return (count, guard);
            }
        }
        panic!("all got in");
    }

    #[test]
    fn an_address_is_a_v4_address_or_a_v6_64_and_mapped_ones_are_v4() {
        let same = |address: String| std::iter::repeat_n(address, 100);
        let guard = Guard::StrangersPerAddress;
        assert_eq!(fill(&buckets(), same("192.0.2.7".to_owned()), &limits()), (8, guard));
        let mixed = (0..100).map(|i| if i % 2 == 0 { "192.0.2.7" } else { "::ffff:192.0.2.7" }.to_owned());
        assert_eq!(fill(&buckets(), mixed, &limits()), (8, guard));
        let of_one_64 = (0..100).map(|i| format!("2001:db8:0:1::{i:x}"));
        assert_eq!(fill(&buckets(), of_one_64, &limits()), (8, guard));
    }

    #[test]
    fn the_block_around_an_address_has_a_multiple_and_its_neighbours_have_their_own() {
        let buckets = buckets();
        let guard = Guard::StrangersPerPrefix;
        let of_one_24 = (0..256).map(|i| format!("192.0.2.{i}"));
        assert_eq!(fill(&buckets, of_one_24, &limits()), (32, guard));
        assert!(enter(&buckets, "192.0.3.1", &limits()).is_ok());
        let of_one_48 = (0..256).map(|i| format!("2001:db8:0:{i:x}::1"));
        assert_eq!(fill(&buckets, of_one_48, &limits()), (32, guard));
        assert!(enter(&buckets, "2001:db8:1::1", &limits()).is_ok());
        // Who was refused for the block's sake has not been counted for itself.
        assert_eq!(
            buckets.addresses.count(buckets.hash.hash(&Key::new([192, 0, 2, 32].into()).address)),
            (0, 0)
        );
    }

    #[test]
    fn ten_thousand_users_behind_one_address_all_get_in() {
        let (buckets, limits) = (buckets(), limits());
        let mut crowds = 0;
        for _ in 0..10_000 {
            let pass = enter(&buckets, "192.0.2.7", &limits).expect("nobody else is a stranger");
            crowds += u32::from(buckets.welcome(pass, 0, &limits).1);
        }
        assert_eq!(crowds, 1, "once");
        let few = AddressLimits { address: Most { users: 10_000, ..limits.address }, ..limits };
        assert_eq!(enter(&buckets, "192.0.2.7", &few), Err(Guard::LinksPerAddress));
    }

    #[test]
    fn a_listener_and_all_of_them_together_let_in_so_many_and_give_back_what_users_cost() {
        let second = Duration::from_secs(1);
        let spread = || (0..200).map(|i| format!("198.51.{i}.1"));
        let of_listener = AddressLimits { listener: Some(Rate::new(1, second, 5)), ..limits() };
        let one = buckets();
        assert_eq!(fill(&one, spread(), &of_listener), (5, Guard::AcceptsPerListener));
        assert!(one.enter("203.0.113.1".parse().unwrap(), ALL, 1, &of_listener, at(1_000)).pass.is_ok());
        let of_all = AddressLimits {
            all: Rate::new(1, second, 5),
            listener: Some(Rate::new(1, second, 8)),
            ..limits()
        };
        let two = buckets();
        assert_eq!(fill(&two, spread(), &of_all), (5, Guard::Accepts));
        let plenty = AddressLimits { all: Rate::new(1, second, 100), ..of_all };
        assert_eq!(fill(&two, spread().skip(100), &plenty), (3, Guard::AcceptsPerListener), "one is undone");
        let three = buckets();
        for address in spread() {
            let pass = enter(&three, &address, &of_all).expect("the last one has given back");
            let (_stays, _) = three.welcome(pass, 0, &of_all);
        }
    }

    #[test]
    fn a_guard_on_trial_counts_whom_it_would_refuse_and_the_others_still_refuse() {
        let (buckets, mut limits) = (buckets(), limits());
        limits.on_trial = Guards::NONE.with(Guard::StrangersPerAddress);
        let address = "192.0.2.7".parse().unwrap();
        let entries: Vec<_> = (0..50).map(|_| buckets.enter(address, ALL, 0, &limits, at(1_000))).collect();
        assert!(entries[..8].iter().all(|entry| entry.pass.is_ok() && entry.on_trial == Guards::NONE));
        assert!(entries[8..32].iter().all(|entry| entry.pass.is_ok() && entry.on_trial == limits.on_trial));
        // In the block's cell they are counted all the same, until it is full or its rate is used up.
        assert_eq!(entries[32].pass, Err(Guard::StrangersPerPrefix));
    }

    #[test]
    fn what_goes_is_taken_off_once_wherever_it_was_counted() {
        let (buckets, limits) = (buckets(), limits());
        let key = Key::new("192.0.2.7".parse().unwrap());
        let counted = || {
            let hash = |key: &[u8]| buckets.hash.hash(key);
            (buckets.addresses.count(hash(&key.address)), buckets.prefixes.count(hash(&key.prefix)))
        };
        let user = enter(&buckets, "192.0.2.7", &limits).unwrap();
        let stranger = enter(&buckets, "192.0.2.7", &limits).unwrap();
        assert_eq!(counted(), ((2, 0), (2, 0)));
        let (user, _) = buckets.welcome(user, 0, &limits);
        assert_eq!(counted(), ((1, 1), (1, 0)));
        buckets.stranger_left(stranger);
        buckets.user_left(user);
        assert_eq!(counted(), ((0, 0), (0, 0)));
        buckets.user_left(Stay::default());
    }
}
