//! Pushes: asked for, received, checked against the books, acknowledged.

use std::time::Duration;

use protocol::Time;
use protocol::wire::frame::{Frame, Push, Response};

use super::Load;
use super::book::Book;
use super::desk::Desk;
use super::hear::Heard;
use super::ledger::Verdict;
use super::link::{Link, Owes};
use super::settings::{Kind, Pushes};
use crate::plan::mix;
use crate::pushes::{Ask, Class, Pushed, RunId};
use crate::tally::REFUSED;

/// From the first push that is not acknowledged until that is said: SPEC 8.6 wants at most 100 ms, and 50 ms between two.
pub(super) const ACK_DELAY: Duration = Duration::from_millis(50);
/// So long the last pushes of slow links are awaited after the one before.
const SLOW_REST: Duration = Duration::from_secs(1);

impl Desk {
    /// Whether this message of a link asks for pushes. Whoever is first differs, so that a short run has them, too.
    pub(super) fn asks_for_pushes(&self, index: u32, sequence: u32) -> bool {
        let part = self.settings.pushes.as_ref().map_or(0, |pushes| u64::from(pushes.in_1000));
        let number = mix(self.settings.seed, u64::from(index)) % 1000 + u64::from(sequence);
        (number + 1) * part / 1000 > number * part / 1000
    }

    /// The route of what links ask, and a payload for it.
    pub(super) fn compose_ask(&mut self, index: u32, link: &Link, base: Time, out: &mut Vec<u8>) {
        let (Some(pushes), Some(inbox)) = (&self.settings.pushes, self.inboxes.get_mut(index as usize))
        else {
            return;
        };
        let (kind, class) = (pushes.kind(self.settings.first + index), pushes.class_of(link.packets));
        let first = inbox.books[class as usize].ask(pushes.count).into();
        let stamp = base.as_nanos();
        Ask { run: pushes.run(kind), class, first, count: pushes.count, size: pushes.size, stamp }.fill(out);
        let count = u64::from(pushes.count);
        self.tally.pushes[kind as usize].asked += count;
        *self.awaited_of(kind) += count;
    }

    /// A push came. Whether the link has something to say.
    pub(super) fn pushed(&mut self, link: &mut Link, index: u32, push: &Push<'_>, now: Time) -> Heard {
        let (Some(pushes), Some(inbox)) = (&self.settings.pushes, self.inboxes.get_mut(index as usize))
        else {
            return Heard::Nothing;
        };
        let kind = pushes.kind(self.settings.first + index);
        let tally = &mut self.tally.pushes[kind as usize];
        // Any push with sequence 0, and any class that is not known, is delivered at most once.
        let class = if push.class == AT_LEAST_ONCE && push.sequence != 0 {
            match push.sequence.checked_sub(inbox.received + 1) {
                Some(0) => inbox.received = push.sequence,
                Some(_) => {
                    // Without those before it, it is not received.
                    tally.misordered += 1;
                    return Heard::Nothing;
                }
                None => {
                    tally.repeated += 1;
                    return Heard::Nothing;
                }
            }
            Class::AtLeastOnce
        } else {
            Class::AtMostOnce
        };
        let known = Pushed::parse(push.payload, pushes.size).filter(|pushed| pushed.run == pushes.run(kind));
        let Some(pushed) = known else {
            self.tally.counts.corrupted += 1;
            return Heard::Nothing;
        };
        let book = &mut inbox.books[class as usize];
        let open = book.open();
        match book.receive(pushed.number) {
            Verdict::InOrder => {}
            Verdict::Misordered => tally.misordered += 1,
            Verdict::Duplicated => {
                tally.duplicated += 1;
                return Heard::Nothing;
            }
            Verdict::Foreign => {
                self.tally.counts.corrupted += 1;
                return Heard::Nothing;
            }
        }
        tally.received[class as usize] += 1;
        let closed = u64::from(open - book.open());
        if class == Class::AtMostOnce {
            inbox.freed = book.top();
        }
        *self.awaited_of(kind) -= closed;
        if kind == Kind::Slow {
            self.slow_heard = now;
        }
        self.tally.counts.pushed += 1;
        let base = Time::from_nanos(pushed.stamp);
        if kind == Kind::Quick
            && let Some(leg) = self.measured(base)
        {
            leg.record_latency(now.since(base));
        }
        self.plan_more(link, index, now);
        if link.packets < link.planned { Heard::Flush } else { Heard::Nothing }
    }

    /// Closed loop: what has come, and was acknowledged where it is to be, allows as much more.
    pub(super) fn plan_more(&self, link: &mut Link, index: u32, now: Time) {
        if let (Some(pushes), Some(inbox)) = (&self.settings.pushes, self.inboxes.get(index as usize))
            && let Load::Window { packets } = self.settings.load
            && self.running().is_some_and(|leg| now < leg.to)
        {
            link.planned = packets + link.ledger.answered().min(inbox.freed / pushes.count);
        }
    }

    /// The gateway wants to know now what has come.
    pub(super) fn asked_now(&mut self, link: &mut Link, index: u32) -> Heard {
        if self.inboxes.get(index as usize).is_none() {
            return Heard::Nothing;
        }
        link.owes.add(Owes::ACK);
        Heard::Flush
    }

    /// Says what has come. The application of a generator takes everything at once.
    pub(super) fn compose_ack(&mut self, link: &mut Link, index: u32, now: Time, out: &mut Vec<u8>) {
        let Some(inbox) = self.inboxes.get_mut(index as usize) else { return };
        Frame::Ack { taken: inbox.received, received: inbox.received }.encode(out);
        inbox.told = inbox.received;
        inbox.freed = inbox.freed.max(inbox.books[Class::AtLeastOnce as usize].top());
        self.plan_more(link, index, now);
    }

    /// When a link that has just been read is to acknowledge, if that is not set yet.
    pub(super) fn ack_at(&mut self, index: u32, now: Time) -> Option<Time> {
        let inbox = self.inboxes.get_mut(index as usize)?;
        if inbox.scheduled || inbox.received == inbox.told {
            return None;
        }
        inbox.scheduled = true;
        Some(now + ACK_DELAY)
    }

    /// The time that was set has come; whether there is still something to say.
    pub(super) fn ack_due(&mut self, index: u32) -> bool {
        let inbox = &mut self.inboxes[index as usize];
        inbox.scheduled = false;
        inbox.received != inbox.told
    }

    /// The service answered request number `sequence` for pushes; whether it has handed out all of them. Of those it has not,
    /// none will come.
    pub(super) fn handed(&mut self, index: u32, sequence: u32, response: &Response<'_>) -> bool {
        let Some(pushes) = &self.settings.pushes else { return false };
        let handed = response.payload.try_into().map_or(0, u32::from_be_bytes).min(pushes.count);
        let is_whole = response.code == 0 && handed == pushes.count;
        if !is_whole {
            self.tally.blame(format!("{REFUSED}status {} of the service", response.code));
        }
        self.settle(index, sequence, handed);
        is_whole
    }

    /// The pushes that message number `sequence` has asked for, if it has, will not come.
    pub(super) fn void_ask(&mut self, index: u32, sequence: u32) {
        if self.asks_for_pushes(index, sequence) {
            self.settle(index, sequence, 0);
        }
    }

    fn settle(&mut self, index: u32, sequence: u32, handed: u32) {
        let (Some(pushes), Some(inbox)) = (&self.settings.pushes, self.inboxes.get_mut(index as usize))
        else {
            return;
        };
        let kind = pushes.kind(self.settings.first + index);
        let book = &mut inbox.books[pushes.class_of(sequence) as usize];
        let open = book.open();
        book.settle(pushes.count, handed);
        let closed = u64::from(open - book.open());
        self.tally.pushes[kind as usize].refused += u64::from(pushes.count - handed);
        *self.awaited_of(kind) -= closed;
    }

    /// A link is welcome: with the session it had, or with a new one, whose sequence begins anew and which does not know what
    /// the old one was owed.
    pub(super) fn welcome_pushes(&mut self, index: u32, resumed: bool) {
        let Some(inbox) = self.inboxes.get_mut(index as usize) else { return };
        // The gateway may not have heard of all that came.
        inbox.told = 0;
        if !resumed {
            inbox.received = 0;
            self.write_off_pushes(index);
        }
    }

    /// The last sequence that came, for the next link of the session.
    pub(super) fn last_sequence(&self, index: u32) -> u64 {
        self.inboxes.get(index as usize).map_or(0, |inbox| inbox.received)
    }

    /// The link is cut: of what was asked for and not answered nobody knows whether it comes.
    pub(super) fn doubt_pushes(&mut self, index: u32) {
        self.close_some(index, Book::doubt);
    }

    /// The link is over, and with it what it was to be pushed.
    pub(super) fn write_off_pushes(&mut self, index: u32) {
        self.close_some(index, Book::void_all);
    }

    /// The end: what the answers say beside what came.
    pub(super) fn close_books(&mut self) {
        let Some(pushes) = &self.settings.pushes else { return };
        for (index, inbox) in (self.settings.first..).zip(&self.inboxes) {
            let tally = &mut self.tally.pushes[pushes.kind(index) as usize];
            for book in &inbox.books {
                tally.lost += u64::from(book.lost());
                tally.unanswered += u64::from(book.unanswered());
            }
        }
    }

    /// Some of what a link awaits is awaited no more.
    fn close_some(&mut self, index: u32, close: fn(&mut Book)) {
        let (Some(pushes), Some(inbox)) = (&self.settings.pushes, self.inboxes.get_mut(index as usize))
        else {
            return;
        };
        let kind = pushes.kind(self.settings.first + index);
        let open = |books: &[Book]| u64::from(books.iter().map(Book::open).sum::<u32>());
        let before = open(&inbox.books);
        inbox.books.iter_mut().for_each(close);
        let closed = before - open(&inbox.books);
        *self.awaited_of(kind) -= closed;
    }

    /// Pushes that may still come to links of a kind; what quick ones are asked for counts with everything else.
    fn awaited_of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Quick => &mut self.awaited,
            Kind::Slow => &mut self.awaited_slow,
        }
    }

    /// Whether no push is awaited of slow links, or none has come for so long at `now` that those will not: much of what they
    /// did not read is thrown away for good.
    pub(super) fn is_slow_over(&self, now: Time) -> bool {
        self.awaited_slow == 0 || now.since(self.slow_heard) >= SLOW_REST
    }
}

impl Pushes {
    /// The class of what request number `sequence` of a link asks for.
    pub(super) fn class_of(&self, sequence: u32) -> Class {
        self.classes[sequence as usize % self.classes.len()]
    }

    /// The run of the links of a kind.
    fn run(&self, kind: Kind) -> RunId {
        self.runs[kind as usize]
    }
}

/// Class of the pushes that are acknowledged.
const AT_LEAST_ONCE: u32 = 1;
