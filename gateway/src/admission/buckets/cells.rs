//! A table of cells that all workers share: for each address or prefix that was seen lately, how fast it may go on and how
//! many links it has.
//!
//! It has a fixed size, whoever comes. A cell lies in one of a few places that the keyed hash of its address names; when all
//! of them are taken, the one that holds least against its address makes room. Each cell is two words that are changed
//! atomically and apart: the first says whose it is and counts, so that nothing is counted for a former holder; the second is
//! the moment at which its bucket will be full. A change of hands in between costs one or the other a token at most.

use std::sync::atomic::{AtomicU64, Ordering};

use protocol::Time;

use crate::rate::Rate;

/// Places that one hash names: as many as fit into a cache line.
const WAYS: usize = 4;

/// How often a change is tried that others get ahead of.
const TRIES: usize = 16;

/// Strangers that a cell can count.
pub(super) const STRANGERS_MAX: u32 = (1 << 12) - 1;
/// Links of users that a cell can count.
pub(super) const USERS_MAX: u32 = (1 << 20) - 1;

/// What one address or prefix may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Connections it may open, those that came to a user put back.
    pub accepts: Rate,
    /// Links that are not authenticated, at a time; 4,095 at most.
    pub strangers: u32,
    /// Links that are, at a time.
    pub users: u32,
}

/// What a table holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Addresses or prefixes that are known.
    pub held: u64,
    /// Links that are not authenticated.
    pub strangers: u64,
    /// Links that are.
    pub users: u64,
}

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Accepts,
    Strangers,
    Users,
}

/// Where an address is counted, and by what it is known that it still is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    cell: u32,
    stamp: Stamp,
}

/// 24 bits of the hash of an address, never zero, and the number of the cell's holder, modulo 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(std::num::NonZero<u32>);

/// The first word of a cell, unpacked; `None` in an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    stamp: Stamp,
    strangers: u32,
    users: u32,
}

impl Holder {
    fn unpack(word: u64) -> Option<Self> {
        let stamp = Stamp(std::num::NonZero::new((word >> 32) as u32)?);
        Some(Self { stamp, strangers: (word >> 20) as u32 & STRANGERS_MAX, users: word as u32 & USERS_MAX })
    }

    fn pack(self) -> u64 {
        u64::from(self.stamp.0.get()) << 32 | u64::from(self.strangers) << 20 | u64::from(self.users)
    }

    /// How many links it counts.
    const fn links(self) -> u32 {
        self.strangers + self.users
    }
}

impl Stamp {
    /// Of an address, behind a former holder of its cell.
    fn after(tag: u32, former: Option<Holder>) -> Self {
        let number = former.map_or(0, |holder| holder.stamp.0.get() as u8).wrapping_add(1);
        Self(std::num::NonZero::new(tag << 8 | u32::from(number)).expect("a tag is not zero"))
    }

    const fn tag(self) -> u32 {
        self.0.get() >> 8
    }
}

#[derive(Debug, Default)]
struct Cell {
    holder: AtomicU64,
    full_at: AtomicU64,
}

#[derive(Debug, Default)]
#[repr(align(64))] // a set is one cache line
struct Set([Cell; WAYS]);

/// All cells of one kind.
#[derive(Debug)]
pub(super) struct Cells(Box<[Set]>);

impl Cells {
    /// At least so many, all empty: a power of two of sets.
    pub(super) fn new(cells: usize) -> Self {
        let sets = cells.div_ceil(WAYS).next_power_of_two();
        Self((0..sets).map(|_| Set::default()).collect())
    }

    /// Counts one more stranger for the address with this hash and takes one out of its bucket, if it may have both.
    /// `Ok(None)`: others were faster all the time, and nothing is known here.
    pub(super) fn enter(&self, hash: u64, most: &Most, now: Time) -> Result<Option<Spot>, Over> {
        let Some((spot, before)) = self.count_stranger(hash, most, now)? else { return Ok(None) };
        debug_assert!(before < STRANGERS_MAX);
        let cell = self.cell(spot);
        let took = cell.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            most.accepts.take(Time::from_nanos(full_at), 1, now).map(Time::as_nanos)
        });
        if took.is_err() {
            self.uncount(spot, |holder| holder.strangers = holder.strangers.saturating_sub(1));
            return Err(Over::Accepts);
        }
        Ok(Some(spot))
    }

    /// The same again in the other direction, as if it had not come: what follows has refused it.
    pub(super) fn undo(&self, spot: Spot, accepts: Rate) {
        if self.uncount(spot, |holder| holder.strangers = holder.strangers.saturating_sub(1)) {
            self.put_back(spot, accepts);
        }
    }

    /// A stranger is a user now: it is counted as one, if `stays`, and no more as the other, and what it has cost is put
    /// back. How many users there are then, if the cell is still the same one's.
    pub(super) fn welcome(&self, spot: Spot, accepts: Rate, stays: bool) -> Option<u32> {
        let mut users = 0;
        let is_the_same = self.uncount(spot, |holder| {
            holder.strangers = holder.strangers.saturating_sub(1);
            holder.users = (holder.users + u32::from(stays)).min(USERS_MAX);
            users = holder.users;
        });
        is_the_same.then(|| {
            self.put_back(spot, accepts);
            users
        })
    }

    /// A stranger has gone, and was none of ours.
    pub(super) fn stranger_left(&self, spot: Spot) {
        self.uncount(spot, |holder| holder.strangers = holder.strangers.saturating_sub(1));
    }

    /// A user has gone.
    pub(super) fn user_left(&self, spot: Spot) {
        self.uncount(spot, |holder| holder.users = holder.users.saturating_sub(1));
    }

    /// How many cells are held, and how many strangers and users are counted in them.
    pub(super) fn census(&self) -> Census {
        let cells = self.0.iter().flat_map(|set| &set.0);
        let holders = cells.filter_map(|cell| Holder::unpack(cell.holder.load(Ordering::Relaxed)));
        holders.fold(Census::default(), |sum, holder| Census {
            held: sum.held + 1,
            strangers: sum.strangers + u64::from(holder.strangers),
            users: sum.users + u64::from(holder.users),
        })
    }

    /// How many strangers and users the address with this hash is counted for.
    #[cfg(test)]
    pub(super) fn count(&self, hash: u64) -> (u32, u32) {
        let set = &self.0[self.set_of(hash)];
        let holders = set.0.iter().filter_map(|cell| Holder::unpack(cell.holder.load(Ordering::Relaxed)));
        holders
            .into_iter()
            .find(|holder| holder.stamp.tag() == tag(hash))
            .map_or((0, 0), |h| (h.strangers, h.users))
    }

    fn count_stranger(&self, hash: u64, most: &Most, now: Time) -> Result<Option<(Spot, u32)>, Over> {
        let (set, tag) = (self.set_of(hash), tag(hash));
        for _ in 0..TRIES {
            let (way, word) = self.choose(set, tag, most.accepts, now);
            let former = Holder::unpack(word);
            let own = former.filter(|holder| holder.stamp.tag() == tag);
            let mut holder =
                own.unwrap_or_else(|| Holder { stamp: Stamp::after(tag, former), strangers: 0, users: 0 });
            if holder.users >= most.users {
                return Err(Over::Users);
            }
            let before = holder.strangers;
            if before >= most.strangers.min(STRANGERS_MAX) {
                return Err(Over::Strangers);
            }
            holder.strangers += 1;
            let cell = &self.0[set].0[way];
            let swapped =
                cell.holder.compare_exchange(word, holder.pack(), Ordering::Relaxed, Ordering::Relaxed);
            if swapped.is_err() {
                continue;
            }
            if own.is_none() {
                // What the former one owes is not the newcomer's debt.
                cell.full_at.store(0, Ordering::Relaxed);
            }
            let cell = u32::try_from(set * WAYS + way).unwrap_or(u32::MAX);
            return Ok(Some((Spot { cell, stamp: holder.stamp }, before)));
        }
        Ok(None)
    }

    /// The place of an address in its set, or the one it gets, with the first word that is there.
    fn choose(&self, set: usize, tag: u32, accepts: Rate, now: Time) -> (usize, u64) {
        let words: [u64; WAYS] = std::array::from_fn(|way| self.0[set].0[way].holder.load(Ordering::Relaxed));
        let is_own = |word: &u64| Holder::unpack(*word).is_some_and(|holder| holder.stamp.tag() == tag);
        let way = words.iter().position(is_own).unwrap_or_else(|| {
            let held = |way: &usize| {
                let full_at = self.0[set].0[*way].full_at.load(Ordering::Relaxed);
                held_against(Holder::unpack(words[*way]), full_at, accepts, now)
            };
            (0..WAYS).min_by_key(held).unwrap_or(0)
        });
        (way, words[way])
    }

    /// Changes what is counted, if the cell is still the same one's; whether it is.
    fn uncount(&self, spot: Spot, mut change: impl FnMut(&mut Holder)) -> bool {
        let changed = self.cell(spot).holder.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let mut holder = Holder::unpack(word).filter(|holder| holder.stamp == spot.stamp)?;
            change(&mut holder);
            Some(holder.pack())
        });
        changed.is_ok()
    }

    fn put_back(&self, spot: Spot, accepts: Rate) {
        let full_at = &self.cell(spot).full_at;
        let put = |full_at| Some(accepts.put_back(Time::from_nanos(full_at)).as_nanos());
        let _always = full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, put);
    }

    fn cell(&self, spot: Spot) -> &Cell {
        let at = spot.cell as usize;
        &self.0[at / WAYS].0[at % WAYS]
    }

    const fn set_of(&self, hash: u64) -> usize {
        hash as usize & (self.0.len() - 1)
    }
}

/// The part of a hash that a cell remembers.
fn tag(hash: u64) -> u32 {
    ((hash >> 40) as u32).max(1)
}

/// What a cell holds against its address: the time until its bucket is full and as much for each link as one connection is
/// worth; of cells with nothing, the one that was full first has the least. An empty one has least of all.
fn held_against(holder: Option<Holder>, full_at: u64, accepts: Rate, now: Time) -> (u64, u64) {
    let Some(holder) = holder else { return (0, 0) };
    let owed = full_at.saturating_sub(now.as_nanos());
    let links = u64::try_from(accepts.interval().as_nanos()).unwrap_or(u64::MAX);
    (owed.saturating_add(links.saturating_mul(holder.links().into())), full_at.max(1))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn most() -> Most {
        Most { accepts: Rate::new(20, Duration::from_secs(1), 40), strangers: 8, users: 100 }
    }

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    /// The hash of an address of the first set of any table.
    fn address(number: u64) -> u64 {
        (number + 1) << 40
    }

    fn enter(cells: &Cells, number: u64, now: Time) -> Result<Spot, Over> {
        cells.enter(address(number), &most(), now).map(|spot| spot.expect("nobody is in the way"))
    }

    #[test]
    fn strangers_are_counted_until_they_are_welcome_or_gone() {
        let cells = Cells::new(4);
        let spots: Vec<_> = (0..8).map(|_| enter(&cells, 7, at(1_000)).unwrap()).collect();
        assert_eq!(enter(&cells, 7, at(1_000)), Err(Over::Strangers));
        assert_eq!(cells.welcome(spots[0], most().accepts, true), Some(1));
        cells.stranger_left(spots[1]);
        assert_eq!(cells.count(address(7)), (6, 1));
        cells.user_left(spots[0]);
        assert!(enter(&cells, 7, at(1_000)).is_ok() && enter(&cells, 7, at(1_000)).is_ok());
        assert_eq!(cells.count(address(7)), (8, 0));
    }

    #[test]
    fn what_was_spent_comes_back_with_the_welcome_and_not_with_the_end() {
        let cells = Cells::new(4);
        for _ in 0..40 {
            let spot = enter(&cells, 7, at(1_000)).unwrap();
            cells.stranger_left(spot);
        }
        assert_eq!(enter(&cells, 7, at(1_000)), Err(Over::Accepts));
        assert_eq!(cells.count(address(7)), (0, 0), "who is refused is not counted");
        let cells = Cells::new(4);
        for _ in 0..1000 {
            let spot = enter(&cells, 7, at(1_000)).unwrap();
            cells.welcome(spot, most().accepts, true).expect("nobody has pushed it out");
            cells.user_left(spot);
        }
    }

    #[test]
    fn an_address_with_enough_users_gets_no_more_links() {
        let cells = Cells::new(4);
        for _ in 0..100 {
            let spot = enter(&cells, 7, at(1_000)).unwrap();
            cells.welcome(spot, most().accepts, true);
        }
        assert_eq!(enter(&cells, 7, at(1_000)), Err(Over::Users));
    }

    #[test]
    fn in_a_full_set_the_most_idle_one_goes() {
        let cells = Cells::new(4);
        let spots: Vec<_> = (0..4).map(|number| enter(&cells, number, at(1_000 + number)).unwrap()).collect();
        // 0 and 2 have nothing left to hold against them once their buckets are full again; 2 has been idle for longer.
        cells.stranger_left(spots[2]);
        cells.stranger_left(spots[0]);
        let again = enter(&cells, 0, at(1_500)).unwrap();
        cells.stranger_left(again);
        enter(&cells, 4, at(9_000)).unwrap();
        let there = |number| cells.count(address(number)).0;
        assert_eq!([0, 1, 3, 4].map(there), [0, 1, 1, 1]);
        assert!(enter(&cells, 0, at(9_000)).unwrap() == again, "it kept its cell");
        assert_eq!(cells.count(address(2)), (0, 0));
    }

    #[test]
    fn who_owes_stays_and_its_debt_is_not_the_newcomers() {
        let cells = Cells::new(4);
        for number in 0..4 {
            for _ in 0..40 {
                let spot = enter(&cells, number, at(1_000)).unwrap();
                cells.stranger_left(spot);
            }
        }
        // 3 is the one that owes least.
        let spot = enter(&cells, 3, at(1_050)).unwrap();
        cells.undo(spot, most().accepts);
        cells.put_back(spot, most().accepts);
        for _ in 0..8 {
            enter(&cells, 4, at(1_050)).unwrap();
        }
        assert_eq!([0, 1, 2].map(|number| enter(&cells, number, at(1_049))), [Err(Over::Accepts); 3]);
    }

    #[test]
    fn nothing_is_given_back_to_the_next_holder() {
        let cells = Cells::new(4);
        let former = enter(&cells, 0, at(1_000)).unwrap();
        let others: Vec<_> = (1..4).map(|number| enter(&cells, number, at(2_000)).unwrap()).collect();
        // All are pushed out, the oldest first, by others and then by themselves.
        for number in 10..14 {
            enter(&cells, number, at(3_000)).unwrap();
            enter(&cells, number, at(3_000)).unwrap();
        }
        for _ in 0..2 {
            assert_eq!(cells.welcome(former, most().accepts, true), None);
            others.iter().for_each(|spot| cells.stranger_left(*spot));
        }
        assert_eq!([10, 11, 12, 13].map(|number| cells.count(address(number))), [(2, 0); 4]);
        let back = enter(&cells, 0, at(60_000)).unwrap();
        assert_ne!(back, former);
        assert_eq!(
            cells.welcome(former, most().accepts, true),
            None,
            "the same address, and not the same cell"
        );
        assert_eq!(cells.count(address(0)), (1, 0));
    }

    #[test]
    fn what_is_refused_later_on_leaves_no_trace() {
        let cells = Cells::new(4);
        for _ in 0..1000 {
            let spot = enter(&cells, 7, at(1_000)).unwrap();
            cells.undo(spot, most().accepts);
        }
        assert_eq!(cells.count(address(7)), (0, 0));
    }

    #[test]
    fn threads_together_get_no_more_than_there_is_and_nothing_stays_behind() {
        let cells = Arc::new(Cells::new(64));
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let cells = Arc::clone(&cells);
                std::thread::spawn(move || {
                    let most =
                        Most { accepts: Rate::new(1_000_000, Duration::from_secs(1), 1 << 20), ..most() };
                    let mut let_in = 0;
                    for round in 0..20_000_u64 {
                        let Ok(Some(spot)) = cells.enter(address(round % 3), &most, at(1_000)) else {
                            continue;
                        };
                        let_in += 1;
                        if (round + thread) % 2 == 0 {
                            cells.welcome(spot, most.accepts, true).expect("there is room for three");
                            cells.user_left(spot);
                        } else {
                            cells.stranger_left(spot);
                        }
                    }
                    let_in
                })
            })
            .collect();
        let let_in: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(let_in >= 20_000, "{let_in}");
        assert_eq!([0, 1, 2].map(|number| cells.count(address(number))), [(0, 0); 3]);
    }
}
