//! At the end: the service is asked what became of the pushes, until it knows that of all of them.

use protocol::Time;
use protocol::wire::frame::{Frame, Outcome, Request, Response};

use super::desk::Desk;
use super::link::{Link, Owes, Phase};
use super::{Fleet, Order};
use crate::pushes::{NO_RUN, Outcomes};

impl Fleet {
    /// Has a link ask what is to be asked next.
    pub(super) fn inquire(&mut self, now: Time) {
        if self.desk.stage != Some(Order::Inquire) || self.knows_outcomes() {
            return;
        }
        let is_live = |link: &Link| link.phase == Phase::Live;
        // Whoever was to ask has gone.
        self.desk.inquiry.asking.take_if(|(index, _)| !is_live(&self.links[*index as usize]));
        if self.desk.inquiry.next().is_none_or(|next| next > now) {
            return;
        }
        let is_able = |&(_, link): &(u32, &Link)| is_live(link) && link.ledger.room(link.grant) > 0;
        let Some((index, _)) = (0..).zip(&self.links).find(is_able) else {
            self.desk.inquiry.deserted = true;
            return;
        };
        self.desk.inquiry.asking = Some((index, None));
        self.links[index as usize].owes.add(Owes::QUESTION);
        self.mark(index);
    }

    /// Whether the service has told what became of all pushes, or never will.
    pub(super) fn knows_outcomes(&self) -> bool {
        let runs = self.desk.settings.pushes.as_ref().map_or(0, |pushes| pushes.kinds().len());
        let is_settled = |told: &Option<Outcomes>| told.as_ref().is_some_and(|told| told.open == 0);
        self.desk.inquiry.deserted || self.desk.tally.outcomes[..runs].iter().all(is_settled)
    }

    /// When the next question is due.
    pub(super) fn next_question(&self) -> Option<Time> {
        self.desk.inquiry.next().filter(|_| self.desk.stage == Some(Order::Inquire) && !self.knows_outcomes())
    }
}

impl Desk {
    /// Appends the question.
    pub(super) fn compose_question(&mut self, link: &mut Link, index: u32, out: &mut Vec<u8>) {
        let Some(pushes) = &self.settings.pushes else { return };
        let payload = pushes.runs[self.inquiry.run];
        let sequence = link.ledger.send();
        let stamp = self.stamp(index, link, sequence);
        let counter = self.counter(index, sequence);
        let request = Request {
            id: stamp.to_id(),
            route: "outcomes",
            payload: &payload,
            counter,
            ..Request::default()
        };
        Frame::Request(request).encode(out);
        self.inquiry.asking = Some((index, Some(sequence)));
        self.awaited += 1;
    }

    /// The link is over: a question that it has asked is nobody's message.
    pub(super) fn forget_question(&mut self, link: &mut Link, index: u32) {
        if let Some((_, sequence)) = self.inquiry.asking.take_if(|(asking, _)| *asking == index)
            && let Some(sequence) = sequence
        {
            link.ledger.receive(sequence, false);
            self.awaited -= 1;
        }
    }

    /// Whether this is the answer to the question that was asked last; it is none of an ask for pushes then.
    pub(super) fn told(&mut self, index: u32, sequence: u32, response: &Response<'_>, now: Time) -> bool {
        if self.inquiry.asking != Some((index, Some(sequence))) {
            return false;
        }
        let run = self.inquiry.run;
        let told = match (response.outcome, response.code) {
            (Outcome::Answered, 0) => Outcomes::parse(response.payload),
            (Outcome::Answered, NO_RUN) => Some(Outcomes::default()),
            _ => None,
        };
        self.tally.counts.sent += 1;
        match response.outcome {
            Outcome::Answered if told.is_some() => self.tally.counts.received += 1,
            Outcome::Answered => self.tally.counts.corrupted += 1,
            Outcome::Refused => self.tally.counts.refused += 1,
            Outcome::Unknown => self.tally.counts.unknown += 1,
        }
        let is_settled = told.as_ref().is_some_and(|told| told.open == 0);
        if told.is_some() {
            self.tally.outcomes[run] = told;
        }
        let kinds = self.settings.pushes.as_ref().map_or(1, |pushes| pushes.kinds().len());
        self.inquiry.answered(kinds, is_settled, now);
        true
    }
}
