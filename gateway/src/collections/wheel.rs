//! Timers without a kernel: a hierarchical timer wheel over entries that are named by a small index.
//!
//! ```text
//! level 0   64 slots of 1 tick       ┐ a deadline lies on the lowest level whose current turn contains it;
//! level 1   64 slots of 64 ticks     │ when a slot of a higher level begins, its entries move down,
//! …                                  │ one by one, each against the caller's budget
//! level 5    4 slots of 2³⁰ ticks    ┘
//! ```
//!
//! An entry costs 12 bytes, whether armed or not, and lies in an array by index: the caller's slot number is the
//! timer. Arming, moving and cancelling touch a constant number of entries.
//!
//! **Moving a deadline back is one store.** Every frame of a link moves its heartbeat deadline. The entry then
//! stays in its slot and keeps the new deadline; when the slot begins it moves on instead of expiring. A link's
//! timer is therefore refiled once per interval however much the link talks.
//!
//! **Never early, at most one tick late** (and as late as the caller's turn). Each user chooses its tick: finer ones
//! only wake an idle worker more often.

use std::time::Duration;

use protocol::Time;

/// The shortest tick a wheel takes: ticks are counted in 32 bits, which is 2.1 years of 16 ms, or 13 years of 100 ms. A
/// deadline beyond that is taken as the end of that time.
pub const TICK_MIN: Duration = Duration::from_millis(16);

/// Deadlines of entries that are named by index. See the [module documentation](self).
#[derive(Debug)]
pub struct Wheel {
    /// Nanoseconds.
    tick: u64,
    origin: Time,
    /// Every deadline before or at this tick has been seen, except for what is left in slots that have begun.
    current: u32,
    armed: u32,
    entries: Vec<Entry>,
    /// The ends of the circular list of each slot.
    slots: Box<[Ends; SLOTS]>,
    /// Which slots of a level are not empty.
    occupied: [u64; LEVELS],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    before: Place,
    after: Place,
    /// In ticks; of no meaning when not armed.
    deadline: u32,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    first: Place,
    last: Place,
}

/// A neighbour in a list: an entry's index, or, with the top bit set, the slot itself.
type Place = u32;

impl Wheel {
    /// A wheel whose memory for entries `0..entries` is taken and touched now; it grows when a greater index is
    /// armed. `tick` is raised to [`TICK_MIN`]. Time is counted from `now`.
    #[must_use]
    pub fn new(tick: Duration, entries: usize, now: Time) -> Self {
        Self {
            tick: u64::try_from(tick.max(TICK_MIN).as_nanos()).unwrap_or(u64::MAX),
            origin: now,
            current: 0,
            armed: 0,
            entries: vec![Entry::IDLE; entries],
            slots: Box::new(std::array::from_fn(|slot| {
                let itself = SLOT_BIT | slot as u32;
                Ends { first: itself, last: itself }
            })),
            occupied: [0; LEVELS],
        }
    }

    /// Sets the deadline of `index`, whether it has one or not. A deadline that has passed expires with the next
    /// [`Wheel::expire`].
    ///
    /// # Panics
    /// When `index` is 2³¹ or more.
    pub fn arm(&mut self, index: u32, deadline: Time) {
        assert!(index < SLOT_BIT, "an index has 31 bits");
        let deadline = self.tick_at_or_after(deadline);
        if index as usize >= self.entries.len() {
            self.entries.resize(index as usize + 1, Entry::IDLE);
        }
        let entry = &mut self.entries[index as usize];
        if entry.is_armed() {
            let later = deadline >= entry.deadline;
            entry.deadline = deadline;
            if later {
                return;
            }
            self.unlink(index);
        } else {
            entry.deadline = deadline;
            self.armed += 1;
        }
        self.link(index);
    }

    /// Takes the deadline of `index` away. Returns whether it had one.
    pub fn cancel(&mut self, index: u32) -> bool {
        let armed = self.is_armed(index);
        if armed {
            self.unlink(index);
            self.armed -= 1;
        }
        armed
    }

    /// Whether `index` has a deadline.
    #[must_use]
    pub fn is_armed(&self, index: u32) -> bool {
        self.entries.get(index as usize).is_some_and(Entry::is_armed)
    }

    /// The deadline of `index`, rounded up to a whole tick.
    #[must_use]
    pub fn deadline(&self, index: u32) -> Option<Time> {
        let entry = self.entries.get(index as usize).filter(|entry| entry.is_armed())?;
        Some(self.time_of(u64::from(entry.deadline)))
    }

    /// How many entries have a deadline.
    #[must_use]
    pub fn len(&self) -> usize {
        self.armed as usize
    }

    /// Whether no entry has a deadline.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// When [`Wheel::expire`] is next worth calling: never later than the earliest deadline (rounded up to a
    /// tick), but maybe earlier, because entries have to move down or because a deadline was moved back.
    /// In the past while work is left over from a spent budget.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let (start, _) = self.next_slot()?;
        Some(self.time_of(start))
    }

    /// Takes an entry whose deadline has passed; it is no longer armed. Call until `None`, which means that
    /// nothing more is due or that `budget` is spent. Each entry looked at costs one of `budget`, taken or not.
    /// Entries of one tick come in the order in which they were filed; over several ticks no order is promised.
    pub fn expire(&mut self, now: Time, budget: &mut u32) -> Option<u32> {
        let now = self.tick_at_or_before(now);
        loop {
            let due = self.next_slot().filter(|&(start, _)| start <= u64::from(now));
            let Some((start, slot)) = due else {
                self.current = self.current.max(now);
                return None;
            };
            // No slot that is not empty begins in between, so nothing is skipped.
            self.current = self.current.max(start as u32);
            while self.slots[slot].first & SLOT_BIT == 0 {
                let left = budget.checked_sub(1)?;
                *budget = left;
                let index = self.slots[slot].first;
                self.unlink(index);
                if self.entries[index as usize].deadline <= now {
                    self.armed -= 1;
                    return Some(index);
                }
                self.link(index);
            }
        }
    }

    /// Sets the time back: all deadlines stay as they are and are counted from `now` on. Looks at every entry.
    pub fn rewind(&mut self, now: Time) {
        let armed = (0..self.entries.len() as u32).filter(|&index| self.is_armed(index));
        let armed: Vec<u32> = armed.collect();
        armed.iter().for_each(|&index| self.unlink(index));
        self.current = self.tick_at_or_before(now);
        armed.iter().for_each(|&index| self.link(index));
    }

    /// The slot that begins first among those that are not empty, and the tick at which it begins. Slots that
    /// have begun already come first.
    fn next_slot(&self) -> Option<(u64, usize)> {
        let mut first: Option<(u64, usize)> = None;
        for (level, &occupied) in self.occupied.iter().enumerate() {
            if occupied == 0 {
                continue;
            }
            // Nothing lies in a slot before the current one of its level, so no turn of a level has to be
            // searched beyond its end.
            let digit = occupied.trailing_zeros() as usize;
            let shift = level as u32 * BITS;
            let turn = u64::from(self.current) >> shift >> BITS << BITS << shift;
            let start = turn + ((digit as u64) << shift);
            if first.is_none_or(|(earliest, _)| start < earliest) {
                first = Some((start, level << BITS | digit));
            }
        }
        first
    }

    /// Files an entry by its deadline, behind the others of its slot.
    fn link(&mut self, index: u32) {
        let deadline = self.entries[index as usize].deadline.max(self.current);
        let level = (31 - ((deadline ^ self.current) | 1).leading_zeros()) / BITS;
        let digit = deadline >> (level * BITS) & DIGIT_MASK;
        let slot = level << BITS | digit;
        self.occupied[level as usize] |= 1 << digit;
        let last = self.slots[slot as usize].last;
        let entry = &mut self.entries[index as usize];
        entry.before = last;
        entry.after = SLOT_BIT | slot;
        self.set_after(last, index);
        self.slots[slot as usize].last = index;
    }

    fn unlink(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        let (before, after) = (entry.before, entry.after);
        entry.before = IDLE;
        self.set_after(before, after);
        self.set_before(after, before);
        if before & SLOT_BIT != 0 && before == after {
            let slot = before & !SLOT_BIT;
            self.occupied[(slot >> BITS) as usize] &= !(1 << (slot & DIGIT_MASK));
        }
    }

    fn set_after(&mut self, place: Place, after: Place) {
        if place & SLOT_BIT == 0 {
            self.entries[place as usize].after = after;
        } else {
            self.slots[(place & !SLOT_BIT) as usize].first = after;
        }
    }

    fn set_before(&mut self, place: Place, before: Place) {
        if place & SLOT_BIT == 0 {
            self.entries[place as usize].before = before;
        } else {
            self.slots[(place & !SLOT_BIT) as usize].last = before;
        }
    }

    fn tick_at_or_before(&self, time: Time) -> u32 {
        let nanos = time.as_nanos().saturating_sub(self.origin.as_nanos());
        u32::try_from(nanos / self.tick).unwrap_or(u32::MAX)
    }

    fn tick_at_or_after(&self, time: Time) -> u32 {
        let nanos = time.as_nanos().saturating_sub(self.origin.as_nanos());
        u32::try_from(nanos.div_ceil(self.tick)).unwrap_or(u32::MAX)
    }

    fn time_of(&self, tick: u64) -> Time {
        self.origin + Duration::from_nanos(self.tick.saturating_mul(tick))
    }
}

impl Entry {
    const IDLE: Self = Self { before: IDLE, after: IDLE, deadline: 0 };

    fn is_armed(&self) -> bool {
        self.before != IDLE
    }
}

/// Bits of a deadline that one level resolves.
const BITS: u32 = 6;
const DIGIT_MASK: u32 = (1 << BITS) - 1;
/// Enough for 32 bits.
const LEVELS: usize = 6;
const SLOTS: usize = LEVELS << BITS;
/// Marks a [`Place`] as a slot.
const SLOT_BIT: u32 = 1 << 31;
/// The neighbour of an entry that is in no list.
const IDLE: Place = u32::MAX;

const _: () = assert!(size_of::<Entry>() == 12, "a million timers take 12 MB");
const _: () = assert!(LEVELS as u32 * BITS >= 32);

#[cfg(test)]
mod tests;
