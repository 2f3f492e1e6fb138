//! How much memory holds what waits for all links together, and which links have something to say.
//!
//! What counts are the capacities of buffers. What waits for a link counts while it lives and while it lingers, what is on
//! its way to it only while it lives: a link that was marked leaves the sums at once, or others would be cut for it.

use driver::Token;

use super::link::{Ending, Link};

/// The hole in front of a batch, for its first record's length.
pub(super) const HOLE: [u8; 2] = [0; 2];

/// The sums over all links.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Links to flush.
    dirty: Vec<Token>,
    /// Of what waits for the flush.
    waiting: usize,
    /// Of sends in flight.
    sending: usize,
}

impl Outgoing {
    /// Bytes of memory of what waits or is on its way.
    pub(super) const fn bytes(&self) -> usize {
        self.waiting + self.sending
    }

    /// Something was added to what waits for a link, whose buffer had this capacity before; it is to be flushed.
    pub(super) fn queued(&mut self, link: &mut Link, before: usize) {
        self.waiting = self.waiting - before + link.outgoing.capacity();
        self.dirty(link);
    }

    /// A link is to be flushed.
    pub(super) fn dirty(&mut self, link: &mut Link) {
        if !link.dirty {
            link.dirty = true;
            self.dirty.push(link.token);
        }
    }

    /// The links to flush; the list comes back with [`Outgoing::flushed`].
    pub(super) fn take_dirty(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.dirty)
    }

    /// The memory of the list of links to flush.
    pub(super) fn flushed(&mut self, mut dirty: Vec<Token>) {
        dirty.clear();
        self.dirty = dirty;
    }

    /// What waited for a link in a buffer of this capacity is on its way, in one of another.
    pub(super) fn sent(&mut self, link: &mut Link, waited: usize, sending: usize) {
        self.waiting -= waited;
        if link.ending == Ending::No {
            link.sending_len = u32::try_from(sending).unwrap_or(u32::MAX);
            self.sending += link.sending_len as usize;
        }
    }

    /// A link's send is over.
    pub(super) fn arrived(&mut self, link: &mut Link) {
        self.sending -= std::mem::take(&mut link.sending_len) as usize;
    }

    /// Nothing of a link counts any more.
    pub(super) fn forget(&mut self, link: &mut Link) {
        self.waiting -= link.outgoing.capacity();
        self.arrived(link);
    }

    /// What is left in a link's queue counts again: its last words.
    pub(super) fn remember(&mut self, link: &mut Link) {
        self.waiting += link.outgoing.capacity();
        self.dirty(link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use driver::{Listener, Peer};
    use protocol::Time;
    use protocol::link::ServerLink;

    fn link() -> Link {
        let token = Token { slot: 0, generation: 1 };
        Link::new(token, Listener(0), Peer::Unix.into(), ServerLink::new(Time::ZERO))
    }

    /// A buffer of this capacity is queued, or takes the place of a smaller one.
    fn queue(outgoing: &mut Outgoing, link: &mut Link, capacity: usize) {
        let before = std::mem::replace(&mut link.outgoing, Vec::with_capacity(capacity)).capacity();
        link.outgoing.push(0);
        outgoing.queued(link, before);
    }

    /// The flush takes what is queued, and needs a larger buffer for it.
    fn flush(outgoing: &mut Outgoing, link: &mut Link, sealed: usize) {
        let waited = std::mem::take(&mut link.outgoing).capacity();
        outgoing.sent(link, waited, sealed);
    }

    #[test]
    fn memory_counts_from_the_queue_until_its_bytes_have_arrived() {
        let (mut outgoing, mut link) = (Outgoing::default(), link());
        queue(&mut outgoing, &mut link, 512);
        queue(&mut outgoing, &mut link, 1024);
        let dirty = outgoing.take_dirty();
        assert_eq!((outgoing.bytes(), dirty.len()), (1024, 1), "a link stands in the list once");
        outgoing.flushed(dirty);
        assert!(outgoing.take_dirty().is_empty(), "what was flushed is in the list no more");
        flush(&mut outgoing, &mut link, 2048);
        assert_eq!(outgoing.bytes(), 2048);
        queue(&mut outgoing, &mut link, 512);
        outgoing.arrived(&mut link);
        assert_eq!(outgoing.bytes(), 512);
    }

    #[test]
    fn a_marked_link_counts_no_more_and_its_last_words_do() {
        let (mut outgoing, mut link) = (Outgoing::default(), link());
        queue(&mut outgoing, &mut link, 1024);
        flush(&mut outgoing, &mut link, 1024);
        queue(&mut outgoing, &mut link, 512);
        outgoing.forget(&mut link);
        link.ending = Ending::Marked;
        assert_eq!(outgoing.bytes(), 0);
        outgoing.arrived(&mut link);
        link.ending = Ending::Lingering;
        outgoing.remember(&mut link);
        assert_eq!(outgoing.bytes(), 512);
        flush(&mut outgoing, &mut link, 512);
        assert_eq!(outgoing.bytes(), 0, "its memory comes back with the send, or with the close");
    }
}
