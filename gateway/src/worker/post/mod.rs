//! Letters between workers, and from control to workers.
//!
//! Letters never block. One that must arrive (a claim and its answer, a release, an end) waits for room in `unsent`;
//! there are only a few of them per link. A push that finds no room is reported undelivered. What backends can
//! ask for without bound, kicks, throttles and reports, waits too, up to as many letters as a queue holds, and is dropped then; only
//! a revocation, which nobody would say again, waits for longer.
//!
//! A letter to oneself is not read while it is written: it waits, like all others, until the turn comes to letters.

mod letter;
mod mailbox;

use std::collections::VecDeque;

use driver::Op;

pub use self::letter::Letter;
pub(super) use self::letter::{HandedOver, Lost, Parcel, Recipient, Reported, Resolved, Sender, ToKeep};
pub use self::mailbox::{Mailbox, Post};

use super::settings::Settings;
use super::turn::Turn;
use crate::counters::Counters;

/// The letters of one worker, to it and from it.
#[derive(Debug)]
pub(super) struct Letters {
    worker: u32,
    mailbox: Mailbox,
    posts: Vec<Post>,
    /// To oneself.
    own: VecDeque<Letter>,
    /// Bytes of the buffers of the pushes among them.
    own_bytes: usize,
    /// Letters that wait for room in another worker's queue.
    unsent: VecDeque<(u32, Letter)>,
    /// Workers whose queues were found full.
    full: Vec<u32>,
    /// Workers that were asleep when they were written to.
    to_ring: Vec<u32>,
}

impl Letters {
    /// The letters of a worker with this queue, which finds the others' by `posts`, itself included.
    pub(super) fn new(settings: &Settings, mailbox: Mailbox, posts: Vec<Post>) -> Self {
        Self {
            worker: settings.worker,
            mailbox,
            posts,
            own: VecDeque::new(),
            own_bytes: 0,
            unsent: VecDeque::new(),
            full: Vec::new(),
            to_ring: Vec::new(),
        }
    }

    /// How many letters of others may wait.
    pub(super) fn most(&self) -> usize {
        self.mailbox.capacity()
    }

    /// The oldest letter of another worker, or of control.
    pub(super) fn take(&mut self) -> Option<Letter> {
        self.mailbox.take()
    }

    /// The oldest letter to oneself.
    pub(super) fn take_own(&mut self) -> Option<Letter> {
        let letter = self.own.pop_front()?;
        self.own_bytes -= letter.bytes();
        Some(letter)
    }

    /// Whether letters to oneself wait.
    pub(super) fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    /// Sends a letter that must arrive.
    pub(super) fn send(&mut self, turn: &Turn, worker: u32, letter: Letter) {
        if worker == self.worker {
            self.own_bytes += letter.bytes();
            return self.own.push_back(letter);
        }
        if !self.unsent.is_empty() {
            return self.unsent.push_back((worker, letter)); // behind the others, in the next turn
        }
        if let Err(letter) = self.try_send(turn, worker, letter) {
            turn.counters.letters_full.add(1);
            self.unsent.push_back((worker, letter));
        }
    }

    /// Sends a letter that a backend asked for, unless too many wait already.
    ///
    /// # Errors
    /// A letter to oneself for which there is no room: it can be heeded at once, if not in its order.
    pub(super) fn send_if_room(&mut self, turn: &Turn, worker: u32, letter: Letter) -> Result<(), Letter> {
        self.send_up_to(turn, worker, letter, self.mailbox.capacity())
    }

    /// Whether as many letters wait as a queue holds. Whoever may put off what needs some that must arrive does so.
    pub(super) fn is_crowded(&self) -> bool {
        self.unsent.len().max(self.own.len()) >= self.mailbox.capacity()
    }

    /// Sends word that logins of a user are revoked, or that a link has to end for that. Nobody would say it again, and it comes in the very storms that fill the
    /// queues, so it waits as long as there could be room to remember it.
    ///
    /// # Errors
    /// As [`Letters::send_if_room`].
    pub(super) fn send_revocation(&mut self, turn: &Turn, worker: u32, letter: Letter) -> Result<(), Letter> {
        let remembered = turn.settings.revocations_max + turn.settings.revoked_logins_max;
        self.send_up_to(turn, worker, letter, self.mailbox.capacity() + remembered)
    }

    fn send_up_to(&mut self, turn: &Turn, worker: u32, letter: Letter, most: usize) -> Result<(), Letter> {
        if worker == self.worker && self.own.len() >= most {
            return Err(letter);
        }
        if worker != self.worker && self.unsent.len() >= most {
            turn.counters.letters_dropped.add(1);
            return Ok(());
        }
        self.send(turn, worker, letter);
        Ok(())
    }

    /// Sends a push to another worker.
    ///
    /// # Errors
    /// The push, when there is no room.
    pub(super) fn send_push(&mut self, turn: &Turn, worker: u32, parcel: Parcel) -> Result<(), Parcel> {
        match self.try_send(turn, worker, Letter::Push(parcel)) {
            Err(Letter::Push(parcel)) => {
                turn.counters.letters_full.add(1);
                Err(parcel)
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Lets a push wait behind the letters to oneself.
    ///
    /// # Errors
    /// The push, when there is no room.
    pub(super) fn send_own_push(&mut self, parcel: Parcel) -> Result<(), Parcel> {
        let letter = Letter::Push(parcel);
        let (bytes, before) = (letter.bytes(), self.own_bytes);
        let is_full = before > 0 && before + bytes > self.mailbox.bytes_max();
        match letter {
            Letter::Push(parcel) if is_full || self.own.len() >= self.mailbox.capacity() => Err(parcel),
            letter => {
                self.own_bytes += bytes;
                self.own.push_back(letter);
                Ok(())
            }
        }
    }

    /// A buffer for a push to a worker. Small ones go round between the two; one from the pool would drain it, as it
    /// comes back elsewhere.
    pub(super) fn spare(&mut self, turn: &mut Turn, worker: u32, len: usize) -> Vec<u8> {
        let left = self.posts.get(worker as usize).and_then(|post| post.spare(len));
        left.unwrap_or_else(|| turn.buffers.take(len))
    }

    /// Leaves the buffer of a push for the next one.
    pub(super) fn give_spare(&mut self, turn: &mut Turn, buffer: Vec<u8>) {
        if let Err(buffer) = self.mailbox.spare(buffer) {
            turn.buffers.give(buffer);
        }
    }

    /// Tries again what found no room.
    pub(super) fn send_unsent(&mut self, turn: &Turn) {
        self.full.clear();
        // Once around: a worker whose queue is full holds up only what is for itself, and that keeps its order.
        for _ in 0..self.unsent.len() {
            let Some((worker, letter)) = self.unsent.pop_front() else { return };
            if self.full.contains(&worker) {
                self.unsent.push_back((worker, letter));
            } else if let Err(letter) = self.try_send(turn, worker, letter) {
                turn.counters.letters_full.add(1);
                self.full.push(worker);
                self.unsent.push_back((worker, letter));
            }
        }
    }

    fn try_send(&mut self, turn: &Turn, worker: u32, letter: Letter) -> Result<(), Letter> {
        let Some(post) = self.posts.get(worker as usize) else { return Ok(()) };
        if post.send(letter)? && !self.to_ring.contains(&worker) {
            self.to_ring.push(worker);
        }
        turn.counters.letters_out.add(1);
        Ok(())
    }

    /// Rings the workers that were asleep, once each.
    pub(super) fn ring(&mut self, turn: &mut Turn) {
        for worker in self.to_ring.drain(..) {
            turn.submit(Op::Ring { worker });
        }
    }

    /// The worker is awake and will look by itself.
    pub(super) fn wake(&mut self) {
        self.mailbox.wake();
    }

    /// Announces that the worker is about to sleep; whether it may.
    pub(super) fn may_sleep(&mut self) -> bool {
        self.own.is_empty() && self.unsent.is_empty() && self.mailbox.may_sleep()
    }

    /// Letters in the worker's queue and to oneself, letters that wait for room elsewhere, and workers still to be rung.
    pub(super) fn census(&self) -> (usize, usize, usize) {
        (self.mailbox.len() + self.own.len(), self.unsent.len(), self.to_ring.len())
    }

    /// Copies what is not counted where it happens.
    pub(super) fn publish(&self, counters: &Counters) {
        counters.letters_waiting.set((self.mailbox.len() + self.own.len()) as u64);
        counters.letters_unsent.set(self.unsent.len() as u64);
    }
}

#[cfg(test)]
mod tests;
