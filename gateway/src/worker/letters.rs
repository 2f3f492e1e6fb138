//! Letters: claims and pushes that concern another worker.
//!
//! Letters never block. One that must arrive (a claim and its answer, a release, an end) waits in `unsent` for
//! room; there are only a few of them per link. A push that finds no room is reported undelivered. What backends can
//! ask for without bound, kicks and reports, waits too, up to as many letters as a queue holds, and is dropped then; only
//! a revocation, which nobody would say again, waits for longer.

use driver::{Op, Token};
use protocol::{CloseCode, Undelivered};

use super::Core;
use super::mailbox::{Letter, Parcel, Post, Recipient, SPARE_LEN_MAX, Sender};
use super::settings::Farewell;
use crate::collections::Identity;
use crate::directory::claims::{self, Claim, Claimed};
use crate::directory::owner_of;
use crate::id::LinkId;

/// Letters read per turn; what is left keeps the worker from sleeping.
const LETTERS_PER_TURN: usize = 4096;

impl Core {
    /// Reads this worker's letters.
    pub(super) fn read_letters(&mut self) {
        for _ in 0..LETTERS_PER_TURN {
            let Some(letter) = self.mailbox.take() else { break };
            self.read_letter(letter);
        }
        self.send_unsent();
        self.ring();
    }

    fn read_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Claim(claim) => self.judge_claim(&claim),
            Letter::Release(claim) => drop(self.claims.release(&claim)),
            Letter::Claimed(claimed) => self.claimed(&claimed),
            Letter::EndUser { user, device, farewell, revoked } => {
                if let Some(before) = revoked {
                    self.claims.revoke(user, before, self.now);
                }
                self.end_user(user, device, farewell);
            }
            Letter::End { link, farewell } => {
                if let Some(token) = self.own(link) {
                    self.close(token, farewell);
                }
            }
            Letter::Push(parcel) => self.deliver(parcel),
            Letter::Undelivered { sender, reason } => self.report_undelivered(sender, reason),
            Letter::TicketKey(key) => self.rotate_tickets(&key),
            Letter::Stop => self.stop(),
        }
    }

    /// Sends a letter that must arrive.
    pub(super) fn post(&mut self, worker: u32, letter: Letter) {
        if worker == self.settings.worker {
            return self.read_letter(letter);
        }
        if !self.unsent.is_empty() {
            return self.unsent.push_back((worker, letter)); // behind the others, in the next turn
        }
        if let Err(letter) = self.try_post(worker, letter) {
            self.counters.letters_full.add(1);
            self.unsent.push_back((worker, letter));
        }
    }

    /// Sends a letter that a backend asked for, unless too many wait already.
    pub(super) fn post_if_room(&mut self, worker: u32, letter: Letter) {
        if worker != self.settings.worker && self.unsent.len() >= self.mailbox.capacity() {
            return self.counters.letters_dropped.add(1);
        }
        self.post(worker, letter);
    }

    /// Sends word that a user's tickets are revoked. Nobody would say it again, and it comes in the very storms that fill the
    /// queues, so it waits as long as there could be room to remember it.
    pub(super) fn post_revocation(&mut self, worker: u32, letter: Letter) {
        let most = self.mailbox.capacity() + self.settings.revocations_max;
        if worker != self.settings.worker && self.unsent.len() >= most {
            return self.counters.letters_dropped.add(1);
        }
        self.post(worker, letter);
    }

    /// Sends a push on to another worker, or reports it undelivered.
    pub(super) fn post_push(&mut self, worker: u32, parcel: Parcel) {
        if worker == self.settings.worker {
            return self.deliver(parcel);
        }
        let sender = parcel.sender;
        if worker >= self.settings.workers {
            self.buffers.give(parcel.frame);
            return self.report_undelivered(sender, Undelivered::NoLink);
        }
        if let Err(letter) = self.try_post(worker, Letter::Push(parcel)) {
            if let Letter::Push(parcel) = letter {
                self.buffers.give(parcel.frame);
            }
            self.counters.letters_full.add(1);
            self.report_undelivered(sender, Undelivered::Busy);
        }
    }

    /// A buffer for a push to a worker. Small ones go round between the two; one from the pool would drain it, as it
    /// comes back elsewhere.
    pub(super) fn spare(&mut self, worker: u32, len: usize) -> Vec<u8> {
        if len > SPARE_LEN_MAX {
            return self.buffers.take(len);
        }
        let left = self.posts.get(worker as usize).and_then(Post::spare);
        left.unwrap_or_else(|| Vec::with_capacity(len.next_power_of_two()))
    }

    /// Leaves the buffer of a push for the next one.
    fn give_spare(&mut self, buffer: Vec<u8>) {
        if let Err(buffer) = self.mailbox.spare(buffer) {
            self.buffers.give(buffer);
        }
    }

    fn send_unsent(&mut self) {
        self.full.clear();
        // Once around: a worker whose queue is full holds up only what is for itself, and that keeps its order.
        for _ in 0..self.unsent.len() {
            let Some((worker, letter)) = self.unsent.pop_front() else { return };
            if self.full.contains(&worker) {
                self.unsent.push_back((worker, letter));
            } else if let Err(letter) = self.try_post(worker, letter) {
                self.counters.letters_full.add(1);
                self.full.push(worker);
                self.unsent.push_back((worker, letter));
            }
        }
    }

    fn try_post(&mut self, worker: u32, letter: Letter) -> Result<(), Letter> {
        let Some(post) = self.posts.get(worker as usize) else { return Ok(()) };
        if post.send(letter)? && !self.to_ring.contains(&worker) {
            self.to_ring.push(worker);
        }
        self.counters.letters_out.add(1);
        Ok(())
    }

    /// Rings the workers that were asleep, once each.
    pub(super) fn ring(&mut self) {
        for worker in self.to_ring.drain(..) {
            self.ops.push_back(Op::Ring { worker });
        }
    }

    /// The token of a link of this worker.
    pub(super) fn own(&self, link: LinkId) -> Option<Token> {
        (link.worker() == self.settings.worker)
            .then(|| Token { slot: link.slot(), generation: link.generation() })
    }

    /// Claims a link's device for it at the user's owner.
    pub(super) fn claim(&mut self, token: Token) {
        if let Some(claim) = self.claim_of(token) {
            let owner = owner_of(claim.user, self.settings.workers);
            self.post(owner, Letter::Claim(claim));
        }
    }

    /// The link is gone: its claim goes, unless a newer link has taken it over.
    pub(super) fn release(&mut self, token: Token) {
        if let Some(claim) = self.claim_of(token) {
            let owner = owner_of(claim.user, self.settings.workers);
            self.post(owner, Letter::Release(claim));
        }
    }

    fn claim_of(&mut self, token: Token) -> Option<Claim> {
        let link = self.link_id(token);
        let hash = self.hash;
        let session = self.session_of(token)?;
        let (user, device) = (hash.identity(session.user()), hash.identity(session.device()));
        Some(Claim { user, device, link, login: session.proof(), login_time: session.login() })
    }

    /// Owner's side: the claim that comes last has the device.
    fn judge_claim(&mut self, claim: &Claim) {
        let claimed = self.claims.claim(claim, self.now);
        if let claims::Outcome::Replaced { loser, same_login, .. } = claimed.outcome {
            // The link of a client that has come back is dead, or the client's first try was the slower one and has just
            // taken over from its second: then nobody else is there, and it must not stay away.
            let is_itself = same_login && self.settings.auth.names_logins();
            let farewell = if is_itself { self.try_later() } else { CloseCode::Replaced.into() };
            self.post(loser.worker(), Letter::End { link: loser, farewell });
        }
        self.post(claim.link.worker(), Letter::Claimed(claimed));
    }

    /// The owner has answered.
    fn claimed(&mut self, claimed: &Claimed) {
        let Some(token) = self.own(claimed.link) else { return };
        match claimed.outcome {
            claims::Outcome::Granted { epoch } | claims::Outcome::Replaced { epoch, .. } => {
                if let Some(session) = self.session_of(token) {
                    session.set_link_epoch(epoch);
                }
                self.welcome(token);
            }
            claims::Outcome::Superseded => self.close(token, CloseCode::Replaced.into()),
            claims::Outcome::Revoked => self.refuse_auth(token, CloseCode::AuthFailed.into()),
        }
    }

    /// Owner's side: a service ends all links of a user.
    fn end_user(&mut self, user: Identity, device: Option<Identity>, farewell: Farewell) {
        let mut found = std::mem::take(&mut self.found);
        found.extend(self.claims.lookup(user, device));
        for link in found.drain(..) {
            self.post_if_room(link.worker(), Letter::End { link, farewell });
        }
        self.found = found;
    }

    /// A push for a link of this worker, or for a user this worker owns.
    pub(super) fn deliver(&mut self, parcel: Parcel) {
        match parcel.to {
            Recipient::Link(link) => match self.own(link) {
                Some(token) => self.deliver_here(token, parcel),
                None => self.post_push(link.worker(), parcel),
            },
            Recipient::User { user, device } => self.deliver_to_user(user, device, parcel),
        }
    }

    /// Whether a link was welcomed. Before that nothing is pushed to it: a backend knows it from its authentication.
    pub(super) fn is_live(&mut self, token: Token) -> bool {
        self.links.get(token).is_some_and(|link| link.machine.is_live())
    }

    fn deliver_here(&mut self, token: Token, parcel: Parcel) {
        if self.is_live(token) && self.send_with(token, |out| out.extend_from_slice(&parcel.frame)) {
            self.counters.pushes.add(1);
        } else {
            self.report_undelivered(parcel.sender, Undelivered::NoLink);
        }
        self.give_spare(parcel.frame);
    }

    /// Owner's side of a push: one copy for each link of the user. Only the first is reported, should its link be gone
    /// meanwhile: there is one report for a push at most.
    fn deliver_to_user(&mut self, user: Identity, device: Option<Identity>, parcel: Parcel) {
        let mut found = std::mem::take(&mut self.found);
        found.extend(self.claims.lookup(user, device));
        if found.is_empty() {
            self.report_undelivered(parcel.sender, Undelivered::NoUser);
        }
        let mut sender = parcel.sender;
        for link in found.drain(..) {
            let mut frame = self.spare(link.worker(), parcel.frame.len());
            frame.extend_from_slice(&parcel.frame);
            self.deliver(Parcel { to: Recipient::Link(link), sender, frame });
            sender.number = 0;
        }
        self.give_spare(parcel.frame);
        self.found = found;
    }

    /// Tells the backend, if it asked, by the stream the push came by.
    pub(super) fn report_undelivered(&mut self, sender: Sender, reason: Undelivered) {
        if sender.worker != self.settings.worker {
            return self.post_if_room(sender.worker, Letter::Undelivered { sender, reason });
        }
        self.counters.undelivered.of(reason).add(1);
        self.stream_report(sender, reason);
    }
}
