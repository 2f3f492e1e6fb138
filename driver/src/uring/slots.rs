//! What user space remembers per socket: 8 bytes per slot, and a batch for each send in flight.

use crate::ops::{Armed, Batch, Token};

/// The socket table's shadow. The kernel chooses the slots; this remembers whose they are and what is armed.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Box<[Slot]>,
    batches: Batches,
}

/// One place in the table. `generation` is the tenant's; `state` packs the flags below (8 bits) and the place of
/// the batch in flight (24 bits).
#[derive(Clone, Copy, Debug)]
struct Slot {
    generation: u32,
    state: u32,
}

const _: () = assert!(size_of::<Slot>() == 8);

/// Facts about a slot.
pub(super) mod flag {
    pub(in super::super) const POLL: u8 = 1;
    pub(in super::super) const RECEIVE: u8 = 1 << 1;
    pub(in super::super) const SEND: u8 = 1 << 2;
    /// The receive that is armed draws on the pool of streams.
    pub(in super::super) const STREAMS: u8 = 1 << 3;
    /// A close is wanted; it goes out as soon as nothing is armed.
    pub(in super::super) const CLOSING: u8 = 1 << 4;
    /// The kernel said that there is more to read, so the next receive should try at once instead of polling first.
    pub(in super::super) const NONEMPTY: u8 = 1 << 5;
    /// The slot has a tenant.
    pub(in super::super) const OPEN: u8 = 1 << 6;
    /// The close is on its way to the kernel.
    pub(in super::super) const CLOSE_SENT: u8 = 1 << 7;
    pub(in super::super) const ARMED: u8 = POLL | RECEIVE | SEND;
}

impl Slots {
    /// `count` empty slots, at most 2²⁴, whose first tenants have this generation. Written in full, so that the memory is
    /// there before the first link is.
    pub(super) fn new(count: u32, generation: u32) -> Slots {
        let slots = vec![Slot { generation, state: 0 }; count as usize].into_boxed_slice();
        Slots { slots, batches: Batches::default() }
    }

    pub(super) fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Gives a slot a tenant and returns its token.
    pub(super) fn open(&mut self, slot: u32) -> Token {
        let entry = &mut self.slots[slot as usize];
        entry.state = u32::from(flag::OPEN);
        Token { slot, generation: entry.generation }
    }

    /// Ends the tenancy: from now on its token is dead.
    pub(super) fn close(&mut self, token: Token) {
        let entry = &mut self.slots[token.slot as usize];
        debug_assert_eq!(entry.generation, token.generation, "only the tenant leaves");
        *entry = Slot { generation: entry.generation.wrapping_add(1), state: 0 };
    }

    /// The token of the slot's tenant, if it has one.
    pub(super) fn tenant(&self, slot: u32) -> Option<Token> {
        let entry = self.slots.get(slot as usize)?;
        (entry.state as u8 & flag::OPEN != 0).then_some(Token { slot, generation: entry.generation })
    }

    /// Whether the token is the slot's tenant.
    pub(super) fn is_current(&self, token: Token) -> bool {
        self.slots
            .get(token.slot as usize)
            .is_some_and(|entry| entry.generation == token.generation && entry.state as u8 & flag::OPEN != 0)
    }

    /// Whether any of the facts holds.
    pub(super) fn any(&self, token: Token, flags: u8) -> bool {
        self.slots[token.slot as usize].state as u8 & flags != 0
    }

    /// Which of the facts hold.
    pub(super) fn which(&self, token: Token, flags: u8) -> u8 {
        self.slots[token.slot as usize].state as u8 & flags
    }

    pub(super) fn set(&mut self, token: Token, flags: u8) {
        self.slots[token.slot as usize].state |= u32::from(flags);
    }

    pub(super) fn clear(&mut self, token: Token, flags: u8) {
        self.slots[token.slot as usize].state &= !u32::from(flags);
    }

    /// Keeps a batch while the kernel reads from it and returns where its rest lies. The bytes do not move before
    /// [`Slots::take_batch`]: they are on the heap, whatever becomes of the table around them.
    pub(super) fn keep_batch(&mut self, token: Token, batch: Batch) -> &[u8] {
        let place = self.batches.put(batch);
        let entry = &mut self.slots[token.slot as usize];
        entry.state = entry.state & 0xFF | place << 8 | u32::from(flag::SEND);
        self.batches.places[place as usize].rest()
    }

    /// Takes the batch back when the send is over.
    pub(super) fn take_batch(&mut self, token: Token) -> Batch {
        self.clear(token, flag::SEND);
        self.batches.take(self.slots[token.slot as usize].state >> 8)
    }
}

impl Armed {
    pub(super) fn flag(self) -> u8 {
        match self {
            Armed::Poll => flag::POLL,
            Armed::Receive => flag::RECEIVE,
            Armed::Send => flag::SEND,
        }
    }
}

/// The batches in flight; grows to the largest number of sends ever in flight at once, 36 bytes each.
#[derive(Debug, Default)]
struct Batches {
    places: Vec<Batch>,
    free: Vec<u32>,
}

impl Batches {
    fn put(&mut self, batch: Batch) -> u32 {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = batch;
            return place;
        }
        self.places.push(batch);
        self.places.len() as u32 - 1
    }

    fn take(&mut self, place: u32) -> Batch {
        self.free.push(place);
        std::mem::take(&mut self.places[place as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_dies_with_its_tenancy_and_generations_wrap() {
        let mut slots = Slots::new(2, 1);
        assert_eq!(slots.tenant(1), None);
        let first = slots.open(1);
        assert!(slots.is_current(first));
        assert_eq!(slots.tenant(1), Some(first));
        slots.close(first);
        assert!(!slots.is_current(first));
        slots.slots[1].generation = u32::MAX;
        let last = slots.open(1);
        slots.close(last);
        assert_eq!(slots.open(1), Token { slot: 1, generation: 0 });
        assert!(!slots.is_current(Token { slot: 7, generation: 1 }));
    }

    #[test]
    fn batches_find_their_way_back_and_leave_the_flags_alone() {
        let mut slots = Slots::new(2, 1);
        let (a, b) = (slots.open(0), slots.open(1));
        slots.set(a, flag::RECEIVE);
        let batch = |text: &str, sent| Batch { bytes: text.into(), sent };
        assert_eq!(slots.keep_batch(a, batch("first", 2)), b"rst");
        assert_eq!(slots.keep_batch(b, batch("second", 0)), b"second");
        assert_eq!(slots.which(a, flag::ARMED), flag::RECEIVE | flag::SEND);
        assert_eq!(slots.take_batch(a), batch("first", 2));
        assert_eq!(slots.which(a, flag::ARMED), flag::RECEIVE);
        assert_eq!(slots.keep_batch(a, batch("third", 0)), b"third");
        assert_eq!(slots.take_batch(b), batch("second", 0));
        assert_eq!(slots.take_batch(a), batch("third", 0));
        assert_eq!(slots.batches.places.len(), 2, "places are used again");
    }
}
