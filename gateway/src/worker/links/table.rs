//! All links of a worker, by the slot of their socket.

use driver::Token;

use super::link::{Ending, Link, Stranger};

/// The links. Grows with the highest slot in use, up to the size it was built for, and never moves: its address space
/// is reserved at once, its memory is touched only as slots are used, and core dumps leave it out.
#[derive(Debug)]
pub(super) struct Table {
    entries: Vec<Option<Link>>,
    slots_max: usize,
    len: usize,
}

impl Table {
    /// A table of at most `slots_max` slots.
    pub(super) fn new(slots_max: u32) -> Self {
        let slots_max = slots_max as usize;
        let mut entries = Vec::with_capacity(slots_max);
        // The keys of links lie here. Where the system refuses, dumps are as they would be without.
        let _refused = driver::memory::hide_from_dumps(&mut entries);
        Self { entries, slots_max, len: 0 }
    }

    /// Number of links.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Puts a link into its slot.
    ///
    /// # Panics
    /// If the driver hands out a slot beyond the table or one that is taken: two owners of one socket.
    pub(super) fn insert(&mut self, link: Link) {
        let slot = link.token.slot as usize;
        assert!(slot < self.slots_max, "the driver was built with the table's size");
        while self.entries.len() <= slot {
            self.entries.push(None);
        }
        assert!(self.entries[slot].is_none(), "a slot is closed before it is handed out again");
        self.entries[slot] = Some(link);
        self.len += 1;
    }

    /// Frees a slot and gives its link back.
    pub(super) fn remove(&mut self, token: Token) -> Option<Link> {
        let removed = self.entries.get_mut(token.slot as usize)?.take_if(|link| link.token == token);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The link with this token, however far it is on its way out.
    pub(super) fn get(&mut self, token: Token) -> Option<&mut Link> {
        self.entries.get_mut(token.slot as usize)?.as_mut().filter(|link| link.token == token)
    }

    /// The link with this token, if it is not on its way out: the rest of the worker knows no other.
    pub(super) fn living(&mut self, token: Token) -> Option<&mut Link> {
        self.get(token).filter(|link| link.ending == Ending::No)
    }

    /// The same, to look at.
    pub(super) fn see(&self, token: Token) -> Option<&Link> {
        let link = self.entries.get(token.slot as usize)?.as_ref()?;
        (link.token == token && link.ending == Ending::No).then_some(link)
    }

    /// What the link with this token counts as among the strangers, while it is not on its way out.
    pub(super) fn standing(&self, token: Token) -> Stranger {
        self.see(token).map_or(Stranger::No, |link| link.stranger)
    }

    /// The link in this slot, however far it is on its way out.
    pub(super) fn at(&mut self, slot: u32) -> Option<&mut Link> {
        self.entries.get_mut(slot as usize)?.as_mut()
    }

    /// The token of the link in this slot, if it is not on its way out.
    pub(super) fn token_at(&self, slot: u32) -> Option<Token> {
        let link = self.entries.get(slot as usize)?.as_ref()?;
        (link.ending == Ending::No).then_some(link.token)
    }

    /// One more than the highest slot ever used.
    pub(super) const fn slots_used(&self) -> u32 {
        self.entries.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use driver::{Listener, Peer};
    use protocol::Time;
    use protocol::link::ServerLink;

    fn link(slot: u32, generation: u32) -> Link {
        let token = Token { slot, generation };
        Link::new(token, Listener(0), Peer::Unix.into(), ServerLink::new(Time::ZERO))
    }

    #[test]
    fn a_link_is_found_by_its_own_token_only() {
        let mut table = Table::new(8);
        table.insert(link(5, 2));
        let [former, own] = [1, 2].map(|generation| Token { slot: 5, generation });
        assert!(table.get(own).is_some() && table.get(former).is_none());
        assert!(table.see(own).is_some() && table.see(former).is_none());
        assert!(table.remove(former).is_none());
        assert_eq!((table.len(), table.slots_used()), (1, 6));
        assert!(table.remove(own).is_some() && table.remove(own).is_none());
        assert_eq!((table.len(), table.slots_used()), (0, 6));
    }

    #[test]
    fn a_link_on_its_way_out_is_known_to_its_own_part_only() {
        let mut table = Table::new(8);
        table.insert(link(0, 1));
        let token = Token { slot: 0, generation: 1 };
        table.get(token).expect("it is there").ending = Ending::Marked;
        assert!(table.living(token).is_none() && table.see(token).is_none() && table.token_at(0).is_none());
        assert!(table.get(token).is_some() && table.at(0).is_some());
    }

    #[test]
    #[should_panic(expected = "a slot is closed before it is handed out again")]
    fn a_slot_has_one_tenant() {
        let mut table = Table::new(8);
        table.insert(link(0, 1));
        table.insert(link(0, 2));
    }
}
