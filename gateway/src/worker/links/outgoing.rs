//! How many bytes wait for all links together, and which links have something to say.
//!
//! What waits for a link counts while it lives and while it lingers, what is on its way to it only while it lives:
//! a link that was marked leaves the sums at once, or others would be cut for it.

use driver::Token;

use super::link::{Ending, Link};

/// The hole in front of a batch, for its first record's length.
pub(super) const HOLE: [u8; 2] = [0; 2];

/// The sums over all links.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Links to flush.
    dirty: Vec<Token>,
    /// Bytes that wait for the flush.
    waiting: usize,
    /// Bytes of sends in flight.
    sending: usize,
}

impl Outgoing {
    /// Bytes that wait or are on their way.
    pub(super) const fn bytes(&self) -> usize {
        self.waiting + self.sending
    }

    /// So many bytes were added to what waits for a link, which is to be flushed.
    pub(super) fn queued(&mut self, link: &mut Link, len: usize) {
        self.waiting += len;
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

    /// What waited for a link, `plain` bytes, is on its way, in `sealed` bytes.
    pub(super) fn sent(&mut self, link: &mut Link, plain: usize, sealed: usize) {
        self.waiting -= plain;
        if link.ending == Ending::No {
            link.sending_len = u32::try_from(sealed).unwrap_or(u32::MAX);
            self.sending += link.sending_len as usize;
        }
    }

    /// A link's send is over.
    pub(super) fn arrived(&mut self, link: &mut Link) {
        self.sending -= std::mem::take(&mut link.sending_len) as usize;
    }

    /// Nothing of a link counts any more.
    pub(super) fn forget(&mut self, link: &mut Link) {
        self.waiting -= link.outgoing.len();
        self.arrived(link);
    }

    /// What is left in a link's queue counts again: its last words.
    pub(super) fn remember(&mut self, link: &mut Link) {
        self.waiting += link.outgoing.len();
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

    fn queue(outgoing: &mut Outgoing, link: &mut Link, len: usize) {
        link.outgoing.resize(link.outgoing.len() + len, 0);
        outgoing.queued(link, len);
    }

    #[test]
    fn bytes_count_from_the_queue_until_they_have_arrived() {
        let (mut outgoing, mut link) = (Outgoing::default(), link());
        queue(&mut outgoing, &mut link, 10);
        queue(&mut outgoing, &mut link, 20);
        let dirty = outgoing.take_dirty();
        assert_eq!((outgoing.bytes(), dirty.len()), (30, 1), "a link stands in the list once");
        outgoing.flushed(dirty);
        assert!(outgoing.take_dirty().is_empty(), "what was flushed is in the list no more");
        link.outgoing.clear();
        outgoing.sent(&mut link, 30, 48);
        assert_eq!(outgoing.bytes(), 48);
        queue(&mut outgoing, &mut link, 5);
        outgoing.arrived(&mut link);
        assert_eq!(outgoing.bytes(), 5);
    }

    #[test]
    fn a_marked_link_counts_no_more_and_its_last_words_do() {
        let (mut outgoing, mut link) = (Outgoing::default(), link());
        queue(&mut outgoing, &mut link, 30);
        link.outgoing.clear();
        outgoing.sent(&mut link, 30, 48);
        queue(&mut outgoing, &mut link, 7);
        outgoing.forget(&mut link);
        link.ending = Ending::Marked;
        assert_eq!(outgoing.bytes(), 0);
        outgoing.arrived(&mut link);
        link.outgoing.resize(9, 0);
        link.ending = Ending::Lingering;
        outgoing.remember(&mut link);
        assert_eq!(outgoing.bytes(), 9);
        outgoing.sent(&mut link, 9, 27);
        assert_eq!(outgoing.bytes(), 0, "its memory comes back with the send, or with the close");
    }
}
