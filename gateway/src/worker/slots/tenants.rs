//! Links have nearly all slots, and streams the few others: a bit per slot tells them apart.

use crate::upstream::StreamIndex;

/// Whose a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Tenant {
    /// A client link's.
    Link,
    /// That of the stream to this endpoint: the present one, or one that it does not need.
    Stream(StreamIndex),
}

/// Whose the slots are.
#[derive(Debug)]
pub(super) struct Tenants {
    /// One bit per slot: whether it is a stream's. So few bytes that they stay in the cache.
    is_stream: Box<[u64]>,
    /// Slots of streams, in order.
    streams: Vec<(u32, StreamIndex)>,
}

impl Tenants {
    /// All slots are links'.
    pub(super) fn new(slots: u32) -> Self {
        Self { is_stream: vec![0; slots.div_ceil(64) as usize].into(), streams: Vec::new() }
    }

    pub(super) fn of(&self, slot: u32) -> Tenant {
        if self.is_stream[slot as usize / 64] & bit(slot) == 0 {
            return Tenant::Link;
        }
        let at = self.streams.binary_search_by_key(&slot, |&(slot, _)| slot);
        Tenant::Stream(self.streams[at.expect("its bit is set")].1)
    }

    /// The slot is a stream's until it is left.
    pub(super) fn let_to_stream(&mut self, slot: u32, stream: StreamIndex) {
        let at = self.streams.binary_search_by_key(&slot, |&(slot, _)| slot);
        self.streams.insert(at.expect_err("a slot is closed before it is handed out again"), (slot, stream));
        self.is_stream[slot as usize / 64] |= bit(slot);
    }

    /// Its tenant leaves the slot.
    pub(super) fn leave(&mut self, slot: u32) -> Tenant {
        let tenant = self.of(slot);
        if let Ok(at) = self.streams.binary_search_by_key(&slot, |&(slot, _)| slot) {
            self.streams.remove(at);
            self.is_stream[slot as usize / 64] &= !bit(slot);
        }
        tenant
    }
}

const fn bit(slot: u32) -> u64 {
    1 << (slot % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_a_links_but_while_a_stream_has_it() {
        let mut tenants = Tenants::new(130);
        for (slot, stream) in [(64, 3), (129, 1), (0, 2)] {
            tenants.let_to_stream(slot, StreamIndex(stream));
        }
        let of = |tenants: &Tenants, slots: [u32; 5]| slots.map(|slot| tenants.of(slot));
        let stream = |index| Tenant::Stream(StreamIndex(index));
        assert_eq!(
            of(&tenants, [0, 1, 64, 128, 129]),
            [stream(2), Tenant::Link, stream(3), Tenant::Link, stream(1)]
        );
        assert_eq!((tenants.leave(64), tenants.leave(64)), (stream(3), Tenant::Link));
        assert_eq!(of(&tenants, [0, 63, 64, 65, 129])[2], Tenant::Link);
    }
}
