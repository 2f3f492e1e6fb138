//! The queues letters lie in: bounded, and never a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam::queue::ArrayQueue;

use super::letter::Letter;

/// A worker's own queue.
#[derive(Debug)]
pub struct Mailbox {
    shared: Arc<Shared>,
}

/// The way to another worker's queue. Cheap to clone, usable from any thread.
#[derive(Clone, Debug)]
pub struct Post {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    letters: ArrayQueue<Letter>,
    /// Bytes of the buffers of the pushes in it, and how many there may be.
    bytes: AtomicUsize,
    bytes_max: usize,
    /// Empty buffers for the next pushes, by their size. They go round: whoever writes to this queue takes one from here, so
    /// that one worker does not allocate for ever what another one frees.
    spares: [ArrayQueue<Vec<u8>>; SPARE_SIZES],
    /// The owner sleeps, or is about to: ring after posting.
    asleep: AtomicBool,
    /// The owner has ended, and nobody reads any more.
    closed: AtomicBool,
}

impl Mailbox {
    /// A queue of at most `letters_max` letters, and `bytes_max` bytes of buffers of pushes among them.
    #[must_use]
    pub fn new(letters_max: usize, bytes_max: usize) -> Self {
        let spares = |size: usize| ArrayQueue::new(((letters_max / LETTERS_PER_SPARE) >> size).max(1));
        let spares = std::array::from_fn(spares);
        while spares[0].push(Vec::with_capacity(SPARE_LEN)).is_ok() {}
        let letters = ArrayQueue::new(letters_max);
        let bytes = AtomicUsize::new(0);
        Self {
            shared: Arc::new(Shared {
                letters,
                bytes,
                bytes_max,
                spares,
                asleep: AtomicBool::new(false),
                closed: AtomicBool::new(false),
            }),
        }
    }

    /// The way to this queue.
    #[must_use]
    pub fn post(&self) -> Post {
        Post { shared: Arc::clone(&self.shared) }
    }

    /// Takes the oldest letter.
    pub fn take(&mut self) -> Option<Letter> {
        let letter = self.shared.letters.pop()?;
        self.shared.bytes.fetch_sub(letter.bytes(), Ordering::Relaxed);
        Some(letter)
    }

    /// Leaves the buffer of a push that was delivered for those who write to this queue.
    ///
    /// # Errors
    /// The buffer, when there are enough or it is of no size that is kept.
    pub fn spare(&mut self, mut buffer: Vec<u8>) -> Result<(), Vec<u8>> {
        buffer.clear();
        match spare_size(buffer.capacity()) {
            Some(size) if buffer.capacity() == SPARE_LEN << size => self.shared.spares[size].push(buffer),
            _ => Err(buffer),
        }
    }

    /// Bytes of buffers of pushes that it can hold.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.shared.bytes_max
    }

    /// How many letters it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.letters.capacity()
    }

    /// Number of letters in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.letters.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.letters.is_empty()
    }

    /// Announces that the owner is about to sleep; whether it may, because no letter is waiting.
    pub fn may_sleep(&mut self) -> bool {
        self.shared.asleep.store(true, Ordering::SeqCst);
        self.shared.letters.is_empty()
    }

    /// The owner is awake and will look by itself.
    pub fn wake(&mut self) {
        self.shared.asleep.store(false, Ordering::SeqCst);
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
    }
}

impl Post {
    /// Puts a letter into the queue; whether the owner has to be rung. To an owner that has ended it goes nowhere.
    ///
    /// # Errors
    /// The letter, when the queue is full.
    pub fn send(&self, letter: Letter) -> Result<bool, Letter> {
        let Shared { letters, bytes, bytes_max, closed, .. } = &*self.shared;
        if closed.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let len = letter.bytes();
        // Counted before it can be taken out again.
        let taken = bytes.fetch_add(len, Ordering::Relaxed) + len;
        // One finds room in any case, or it would never be sent.
        let is_full = len > 0 && taken > *bytes_max && taken != len;
        let sent = if is_full { Err(letter) } else { letters.push(letter) };
        if let Err(letter) = sent {
            bytes.fetch_sub(len, Ordering::Relaxed);
            return Err(letter);
        }
        Ok(self.shared.asleep.swap(false, Ordering::SeqCst))
    }

    /// An empty buffer for a push to this queue that takes so many bytes, of at most twice as many or of the smallest size.
    #[must_use]
    pub fn spare(&self, len: usize) -> Option<Vec<u8>> {
        let size = spare_size(len)?;
        Some(self.shared.spares[size].pop().unwrap_or_else(|| Vec::with_capacity(SPARE_LEN << size)))
    }
}

/// Letters for which one buffer of the smallest size is kept; most of them lie in the queue for less than a turn.
const LETTERS_PER_SPARE: usize = 16;
/// Bytes of the smallest one.
const SPARE_LEN: usize = 256;
/// Sizes that are kept, each twice the one before, and half as many of them.
const SPARE_SIZES: usize = 5;

/// The size of the buffers that hold so many bytes; `None` if none does.
fn spare_size(len: usize) -> Option<usize> {
    let size = len.div_ceil(SPARE_LEN).next_power_of_two().ilog2() as usize;
    (size < SPARE_SIZES).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::super::letter::{Parcel, Recipient, Sender};
    use super::*;
    use crate::id::LinkId;

    #[test]
    fn a_full_queue_gives_the_letter_back_and_a_sleeper_is_rung_once() {
        let mut mailbox = Mailbox::new(2, 0);
        let post = mailbox.post();
        assert!(mailbox.may_sleep());
        assert!(matches!(post.send(Letter::Stop), Ok(true)));
        assert!(matches!(post.send(Letter::Stop), Ok(false)));
        assert!(matches!(post.send(Letter::Stop), Err(Letter::Stop)));
        assert!(!mailbox.may_sleep(), "a letter is waiting");
        assert!(mailbox.take().is_some() && mailbox.take().is_some() && mailbox.take().is_none());
    }

    #[test]
    fn letters_to_a_worker_that_has_ended_hold_nobody_up() {
        let mailbox = Mailbox::new(1, 0);
        let post = mailbox.post();
        assert!(post.send(Letter::Stop).is_ok() && post.send(Letter::Stop).is_err());
        drop(mailbox);
        assert!(matches!(post.send(Letter::Stop), Ok(false)));
    }

    #[test]
    fn pushes_are_bounded_by_their_bytes_and_other_letters_are_not() {
        let mut mailbox = Mailbox::new(10, 100);
        let post = mailbox.post();
        let push = |len| {
            let link = LinkId::new(0, 1, 1);
            let sender = Sender { worker: 0, stream: 0, epoch: 0, number: 0 };
            Letter::Push(Parcel::new(Recipient::Link(link), sender, vec![0; len], None))
        };
        assert!(post.send(push(60)).is_ok());
        assert!(matches!(post.send(push(41)), Err(Letter::Push(parcel)) if parcel.frame.len() == 41));
        assert!(post.send(push(40)).is_ok() && post.send(push(1)).is_err());
        assert!(post.send(Letter::Stop).is_ok());
        while mailbox.take().is_some() {}
        assert!(post.send(push(100)).is_ok(), "what was taken out counts no more");
    }

    #[test]
    fn buffers_go_round_up_to_a_bound() {
        let mut mailbox = Mailbox::new(2 * LETTERS_PER_SPARE, 0);
        let post = mailbox.post();
        let spare = |capacity| Vec::with_capacity(capacity);
        assert!(mailbox.spare(spare(256)).is_err(), "enough");
        assert_eq!(
            [post.spare(1), post.spare(256)].map(|lent| lent.map(|lent| lent.capacity())),
            [Some(256); 2]
        );
        assert_eq!(mailbox.spare(spare(256)), Ok(()));
        assert_eq!((mailbox.spare(spare(512)), mailbox.spare(spare(4096))), (Ok(()), Ok(())));
        assert!(mailbox.spare(spare(512)).is_err() && mailbox.spare(spare(4096)).is_err(), "enough");
        assert!(mailbox.spare(spare(8192)).is_err() && mailbox.spare(spare(300)).is_err(), "no such size");
        for len in [257, 600, 2048, 2049, 4096] {
            let lent = post.spare(len).expect("there is such a size");
            assert!(lent.is_empty() && (len..2 * len).contains(&lent.capacity()), "{len}");
        }
        assert_eq!(post.spare(4097), None);
    }

    #[test]
    fn one_push_finds_room_however_long_it_is() {
        let mut mailbox = Mailbox::new(10, 100);
        let post = mailbox.post();
        let link = LinkId::new(0, 1, 1);
        let sender = Sender { worker: 0, stream: 0, epoch: 0, number: 0 };
        let push = |len| Letter::Push(Parcel::new(Recipient::Link(link), sender, vec![0; len], None));
        assert!(post.send(push(128)).is_ok(), "or it would never be sent");
        assert!(post.send(push(1)).is_err());
        mailbox.take().expect("it is there");
        assert!(post.send(push(1)).is_ok());
    }
}
