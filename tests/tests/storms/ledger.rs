//! What was asked and what reached a backend, written down by both ends.

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use protocol::Undelivered;
use protocol::wire::frame::RequestId;

/// One book for all ends of a storm.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Rc<RefCell<Book>>);

#[derive(Default)]
struct Book {
    /// Requests that reached a backend, in the order in which they did.
    arrived: BTreeMap<RequestId, u64>,
    /// Those of them that came to a backend that had said that it was leaving.
    on_their_way: BTreeSet<RequestId>,
    /// Those of them that a backend turned away itself.
    declined: BTreeSet<RequestId>,
    /// Requests of which a client was told that nothing has happened.
    refused: BTreeSet<RequestId>,
    /// Requests that their clients have sent again.
    again: BTreeSet<RequestId>,
    /// How often one of them has reached a backend once more.
    doubled: u64,
    /// Pushes that were reported, by stream and number.
    undelivered: BTreeMap<(u64, u64), Undelivered>,
    /// Pushes to one link that reached it.
    delivered: BTreeSet<(u64, u64)>,
    /// Pushes that applications have acknowledged, by stream, number and device.
    taken: BTreeSet<(u64, u64, Vec<u8>)>,
}

impl Ledger {
    /// A request has reached a backend: once, and not after its client was told that it never would; unless that has sent it
    /// again, and it says so.
    pub(crate) fn arrived(&self, id: RequestId, says_again: bool) {
        let Book { arrived, refused, again, doubled, .. } = &mut *self.0.borrow_mut();
        assert!(!refused.contains(&id), "a refused request reaches nobody: {id:?}");
        let (place, is_again) = (arrived.len() as u64, again.contains(&id));
        assert!(is_again || !says_again, "it was sent once: {id:?}");
        if let Entry::Vacant(first) = arrived.entry(id) {
            first.insert(place);
        } else {
            assert!(is_again && says_again, "a request reaches one backend, once: {id:?}");
            *doubled += 1;
        }
    }

    /// A client sends a request again that was refused, or whose link was lost.
    pub(crate) fn sent_again(&self, id: RequestId) {
        let Book { refused, again, .. } = &mut *self.0.borrow_mut();
        refused.remove(&id);
        again.insert(id);
    }

    /// How often requests have reached a backend that had reached one before.
    pub(crate) fn doubled(&self) -> u64 {
        self.0.borrow().doubled
    }

    /// A request has reached a backend behind its word that it was leaving. Later ones of its key go elsewhere and do not
    /// wait for it.
    pub(crate) fn was_on_its_way(&self, id: RequestId) {
        self.0.borrow_mut().on_their_way.insert(id);
    }

    /// A backend turns a request away that has reached it.
    pub(crate) fn declined(&self, id: RequestId) {
        self.0.borrow_mut().declined.insert(id);
    }

    /// A client is told that nothing has happened.
    pub(crate) fn refused(&self, id: RequestId) {
        let Book { arrived, declined, refused, again, .. } = &mut *self.0.borrow_mut();
        // Of one that was sent before only this sending has done nothing.
        let untouched = !arrived.contains_key(&id) || declined.contains(&id) || again.contains(&id);
        assert!(untouched, "a request that reached a handler is not refused: {id:?}");
        refused.insert(id);
    }

    /// A backend is told, once, that a push was not delivered. When there was no link for it that is only a guess: the
    /// frame a link was closed for may be the last one to leave.
    pub(crate) fn undelivered(&self, stream: u64, number: u64, reason: Undelivered) {
        let Book { undelivered, delivered, .. } = &mut *self.0.borrow_mut();
        let lost = reason == Undelivered::NoLink || !delivered.contains(&(stream, number));
        assert!(lost, "push {number} of {stream} reached its link: {reason:?}");
        let before = undelivered.insert((stream, number), reason);
        assert_eq!(before, None, "push {number} of {stream} is reported once");
    }

    /// A push to one link has reached it, once. Whether its backend was told that it had not.
    pub(crate) fn delivered(&self, stream: u64, number: u64) -> bool {
        let Book { undelivered, delivered, .. } = &mut *self.0.borrow_mut();
        let reason = undelivered.get(&(stream, number));
        assert!(reason.is_none_or(|&reason| reason == Undelivered::NoLink), "push {number} of {stream}");
        assert!(delivered.insert((stream, number)), "push {number} of {stream} comes once");
        reason.is_some()
    }

    /// An application takes a push that must be acknowledged: once, unless its client has forgotten that it had.
    pub(crate) fn taken(&self, stream: u64, number: u64, device: &[u8]) {
        self.0.borrow_mut().taken.insert((stream, number, device.to_vec()));
    }

    /// A backend is told that a device has it.
    pub(crate) fn was_taken(&self, stream: u64, number: u64, device: &[u8]) {
        let is_taken = self.0.borrow().taken.contains(&(stream, number, device.to_vec()));
        assert!(is_taken, "push {number} of {stream} is delivered when it was taken, and not before");
    }

    /// Where in the order of all arrivals an answered request stands; `None` where it need not stand in any.
    pub(crate) fn place(&self, id: RequestId) -> Option<u64> {
        let book = self.0.borrow();
        (!book.on_their_way.contains(&id)).then(|| book.arrived[&id])
    }
}
