//! Whether an endpoint takes requests: it has said `Ready`, is not about to leave, and answers in time.

use protocol::{Error, Time};

use super::Streams;
use crate::counters::health::Reason;
use crate::upstream::StreamIndex;
use crate::upstream::redial::Due;
use crate::worker::turn::Turn;

impl Streams {
    /// Lets time pass for a stream whose deadline has come: dials, gives a dial up, pings, or ends it. Called until
    /// `None`, within `budget`; whether the endpoint of that stream takes requests again.
    pub(in crate::worker) fn expire(
        &mut self,
        turn: &mut Turn,
        budget: &mut u32,
    ) -> Option<(StreamIndex, bool)> {
        let stream = StreamIndex(self.timers.expire(turn.now, budget)? as u16);
        let (now, random, rules) = (turn.now, turn.random_number(), turn.settings.redial);
        let mut is_back = false;
        match self.at(stream).redial.expire(now, random, &rules) {
            Some(Due::Dial) => self.dial(turn, stream),
            Some(Due::GiveUp) => self.mark(stream, Reason::broke(Error::HandshakeTimeout)),
            Some(Due::Readmit) => is_back = self.readmit(turn, stream),
            None => {}
        }
        match self.at(stream).machine().map(|machine| machine.expire(now)) {
            Some(Ok(())) => self.dirty(stream),
            Some(Err(error)) => self.fail(turn, stream, error),
            None => {}
        }
        self.schedule(stream);
        Some((stream, is_back))
    }

    /// When [`Streams::expire`] is next worth calling.
    pub(in crate::worker) fn next_deadline(&self) -> Option<Time> {
        self.timers.next_deadline()
    }

    /// The backend has said `Ready`; whether its endpoint takes requests from now on.
    pub(in crate::worker) fn ready(&mut self, turn: &mut Turn, stream: StreamIndex) -> bool {
        let own = self.at(stream);
        if !own.redial.ready(turn.now) {
            // The dial was given up before it succeeded; the next one is set.
            self.mark(stream, Reason::broke(Error::HandshakeTimeout));
            return false;
        }
        (own.leaving, own.announced_to) = (false, Some(0));
        turn.counters.endpoints[usize::from(stream.0)].opened();
        turn.counters.streams_opened.add(1);
        self.begin_reports(stream);
        self.schedule(stream);
        self.readmit(turn, stream)
    }

    /// The endpoint takes requests from now on, if its stream stands; whether it does.
    fn readmit(&mut self, turn: &Turn, stream: StreamIndex) -> bool {
        let own = self.see(stream);
        let is_back = own.is_ready() && !own.leaving;
        if is_back {
            turn.counters.endpoints[usize::from(stream.0)].left_out.set(0);
            self.routes.set_ready(stream, true);
        }
        is_back
    }

    /// The backend is about to end its stream: what is under way there goes on, and everything new goes elsewhere.
    pub(in crate::worker) fn draining(&mut self, turn: &Turn, stream: StreamIndex) {
        self.at(stream).leaving = true;
        self.leave_out(turn, stream);
    }

    /// The endpoint answered a request, with whatever status.
    pub(in crate::worker) fn answered(&mut self, stream: StreamIndex) {
        self.at(stream).redial.answered();
    }

    /// The endpoint let a request run into its deadline; whether it is left out for that from now on.
    pub(in crate::worker) fn missed(&mut self, turn: &Turn, stream: StreamIndex) -> bool {
        let rules = turn.settings.redial;
        let only = self.routes.is_last_ready(stream);
        let own = self.at(stream);
        // The account of one that is on its way out is closed: the next stream is a new chance.
        let is_left_out = own.living().is_some() && own.redial.missed(&rules) && !only;
        if is_left_out {
            own.redial.eject(turn.now, &rules);
            self.leave_out(turn, stream);
            self.schedule(stream);
        }
        is_left_out
    }

    fn leave_out(&mut self, turn: &Turn, stream: StreamIndex) {
        turn.counters.endpoints[usize::from(stream.0)].left_out.set(1);
        self.routes.set_ready(stream, false);
    }
}
