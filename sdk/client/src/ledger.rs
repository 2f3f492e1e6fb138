//! The requests of a client: those that wait for the gateway's grant, and those that are open.
//!
//! ```text
//! orders ──► waiting ──grant──► open ──Response──► outcome
//!               ▲                 │ └─ link lost ─► unknown
//!               ├─ sent before Welcome and over the grant
//!               └─ link lost, and it persists
//! ```
//!
//! What comes back stands before what was never sent, in the order it was sent first.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use protocol::Refusal;
use protocol::limits::{CREDIT_OVERHEAD, HELD_BYTES_MAX, HELD_FRAMES_MAX};
use protocol::wire::frame::{self, Frame, RequestId};

use crate::ask::Ask;
use crate::clock::Moment;
use crate::request::{Outcome, Reason, Request};

/// What a gateway lets a link have open (SPEC.md, section 8.5), and the longest frame it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) requests: usize,
    pub(crate) cost: u64,
    pub(crate) frame_len_max: usize,
}

/// The least a gateway can be configured to (SPEC.md, section 14.2): what may be assumed before the first `Welcome`.
const GRANT_LEAST: Grant = Grant { requests: 1, cost: 1024, frame_len_max: 1024 };
/// No request is sent again later than this after it was sent first (SPEC.md, section 8.4).
const REPEAT_MAX: Duration = Duration::from_hours(12);

#[derive(Debug)]
pub(crate) struct Ledger {
    /// Besides what the last link had open, one at most.
    waiting: VecDeque<Ask>,
    open: HashMap<RequestId, Open>,
    cost: u64,
    grant: Grant,
    phase: Phase,
    /// The last number of a request in this session.
    counter: u64,
    /// The last one that may be used; requests beyond go without.
    counter_max: u64,
    /// Which of this client's sessions it is, from 1.
    session: u64,
    /// Requests that were sent so far, in all sessions.
    sent: u64,
}

/// Until the `Welcome` only as much is sent as every gateway holds without ceasing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// `resumes`: the session is to go on, or another one begins; which of both is not known yet.
    Early {
        frames: usize,
        bytes: usize,
        resumes: bool,
    },
    Welcomed,
}

#[derive(Debug)]
struct Open {
    cost: u64,
    /// Whether it was sent before the `Welcome`, when the grant was a guess.
    early: bool,
    ask: Ask,
}

enum Fit {
    Now { counter: u64 },
    Later,
    Never(Reason),
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let phase = Phase::Early { frames: 0, bytes: 0, resumes: false };
        Self {
            waiting: VecDeque::new(),
            open: HashMap::new(),
            cost: 0,
            grant: GRANT_LEAST,
            phase,
            counter: 0,
            counter_max: u64::MAX,
            session: 0,
            sent: 0,
        }
    }

    /// An earlier run of the client has left its session, in which it may have used so many numbers.
    pub(crate) const fn restore(&mut self, counter: u64) {
        (self.counter, self.counter_max, self.session) = (counter, counter, 1);
    }

    /// A link has its keys. Its session is a new one, or perhaps the last one, if the client wishes that.
    pub(crate) fn begin(&mut self, resumes: bool) {
        debug_assert!(self.open.is_empty(), "the requests of the link before are resolved");
        self.phase = Phase::Early { frames: 0, bytes: 0, resumes };
        if !resumes {
            self.renumber();
        }
    }

    /// The gateway has said what it grants, and whether it goes on with the session.
    pub(crate) fn welcome(&mut self, grant: Grant, resumed: bool) {
        if matches!(self.phase, Phase::Early { resumes: true, .. }) && !resumed {
            self.renumber();
        }
        self.grant = grant;
        self.phase = Phase::Welcomed;
    }

    /// In another session requests are numbered anew, in their order.
    const fn renumber(&mut self) {
        (self.counter, self.counter_max) = (0, u64::MAX);
        self.session += 1;
    }

    /// The last number that was used in this session.
    pub(crate) const fn counter(&self) -> u64 {
        self.counter
    }

    /// Numbers up to this one may be used.
    pub(crate) const fn allow(&mut self, counter_max: u64) {
        self.counter_max = counter_max;
    }

    /// Whether another request may be taken from the queue of orders.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn take(&mut self, ask: Ask) {
        self.waiting.push_back(ask);
    }

    /// Appends the frames of the waiting requests that fit the grant, in their order: a large one that has to wait
    /// holds up those behind it, or it would wait for ever.
    pub(crate) fn send(&mut self, out: &mut Vec<u8>, now: Moment) {
        while let Some(ask) = self.waiting.pop_front() {
            if ask.is_given_up() {
                continue;
            }
            let Some(mut ask) = self.join(ask) else { continue };
            let start = out.len();
            let fit = self.fit(&ask, out, now);
            match fit {
                Fit::Now { counter } if ask.leave() => self.sent(ask, counter, out.len() - start, now),
                Fit::Now { .. } => out.truncate(start),
                Fit::Later => {
                    out.truncate(start);
                    self.waiting.push_front(ask);
                    return;
                }
                Fit::Never(reason) => {
                    out.truncate(start);
                    ask.end(Outcome::refused(reason));
                }
            }
        }
    }

    /// Waits until the first of the waiting requests is given up, as it may have held up those behind it. Without one,
    /// for ever.
    pub(crate) async fn given_up(&mut self) {
        match self.waiting.front_mut() {
            Some(ask) => ask.given_up().await,
            None => std::future::pending().await,
        }
    }

    /// Gives the request back unless it is open already. Then its outcome is the open one's, if nobody waits for that
    /// any more; of two who wait the second one is refused.
    fn join(&mut self, ask: Ask) -> Option<Ask> {
        let Some(open) = self.open.get_mut(&ask.request.id) else { return Some(ask) };
        if open.ask.is_given_up() {
            ask.follow(&mut open.ask);
        } else {
            ask.end(Outcome::refused(Reason::UnderWay));
        }
        None
    }

    /// Encodes the request, and says whether it may go out.
    fn fit(&self, ask: &Ask, out: &mut Vec<u8>, now: Moment) -> Fit {
        let request = &ask.request;
        let too_large = match self.phase {
            Phase::Early { .. } => Fit::Later,
            Phase::Welcomed => Fit::Never(Reason::Refusal(Refusal::TooLarge)),
        };
        let cost = cost(request);
        let frame_len_max = self.frame_len_max();
        if request.number.age(now.time, now.wall) > REPEAT_MAX {
            return Fit::Never(Reason::TooLate);
        }
        if request.payload.len() > frame_len_max || cost > self.grant.cost {
            return too_large;
        }
        if self.open.len() >= self.grant.requests || self.cost + cost > self.grant.cost {
            return Fit::Later;
        }
        let Some(counter) = self.number(request) else { return Fit::Later };
        let start = out.len();
        let frame = Frame::Request(frame::Request {
            id: request.id,
            route: &request.route,
            key: &request.key,
            payload: &request.payload,
            counter,
            again: request.again,
        });
        frame.encode(out);
        let len = out.len() - start;
        match self.phase {
            // The frame's own length of up to 3 bytes is counted too; that errs on the safe side.
            _ if len > frame_len_max => too_large,
            Phase::Early { frames, bytes, .. }
                if frames + 1 >= HELD_FRAMES_MAX || bytes + len > HELD_BYTES_MAX =>
            {
                Fit::Later
            }
            _ => Fit::Now { counter },
        }
    }

    /// The number of a request in this session; 0 for none. One that has a number in a session that may be over waits until
    /// that is known. Others do not, and go without: that is right in either (SPEC.md, section 9).
    fn number(&self, request: &Request) -> Option<u64> {
        match (self.phase, request.number.of(self.session)) {
            (Phase::Early { resumes: true, .. }, Some(_)) => None,
            (Phase::Early { resumes: true, .. }, None) => Some(0),
            (_, Some(counter)) => Some(counter),
            (_, None) if self.counter < self.counter_max => Some(self.counter + 1),
            (_, None) => Some(0),
        }
    }

    /// The longest frame that may go out now. The next gateway need not take what the last one took, and a frame that
    /// is too long would end the link; what is over the rest of the grant is only refused.
    fn frame_len_max(&self) -> usize {
        match self.phase {
            Phase::Early { .. } => self.grant.frame_len_max.min(GRANT_LEAST.frame_len_max),
            Phase::Welcomed => self.grant.frame_len_max,
        }
    }

    fn sent(&mut self, mut ask: Ask, counter: u64, len: usize, now: Moment) {
        let cost = cost(&ask.request);
        let early = match &mut self.phase {
            Phase::Early { frames, bytes, .. } => {
                *frames += 1;
                *bytes += len;
                true
            }
            Phase::Welcomed => false,
        };
        self.cost += cost;
        if counter != 0 {
            self.counter = self.counter.max(counter);
            ask.request.number.set(self.session, counter);
        }
        ask.request.number.sent(now.time, now.wall);
        if ask.order == 0 {
            self.sent += 1;
            ask.order = self.sent;
        }
        if !early && !ask.persists {
            // It does not come back, whatever happens.
            ask.request.payload.clear();
        }
        self.open.insert(ask.request.id, Open { cost, early, ask });
    }

    /// An answer came; one to an id that is not open is skipped.
    pub(crate) fn resolve(&mut self, response: &frame::Response<'_>) {
        let Some(Open { cost, early, mut ask }) = self.open.remove(&response.id) else { return };
        self.cost -= cost;
        let over_grant = response.outcome == frame::Outcome::Refused
            && Refusal::from_number(response.code) == Some(Refusal::InFlight);
        if early && over_grant {
            ask.request.again = true;
            self.put_back(ask);
        } else {
            ask.end(Outcome::of(response));
        }
    }

    /// Behind others that came back and were sent before it, and before everything that was not sent yet.
    fn put_back(&mut self, ask: Ask) {
        let before = |other: &Ask| other.order != 0 && other.order < ask.order;
        self.waiting.insert(self.waiting.partition_point(before), ask);
    }

    /// The link is over: nobody knows what became of the open requests. Those that persist wait for the next one.
    pub(crate) fn lose(&mut self) {
        self.cost = 0;
        let lost: Vec<_> = self.open.drain().filter_map(|(_, open)| open.ask.lose()).collect();
        lost.into_iter().for_each(|ask| self.put_back(ask));
    }

    /// The authentication was refused: none of the open requests has left the gateway on this link.
    pub(crate) fn refuse_auth(&mut self) {
        self.cost = 0;
        let (persist, others): (Vec<_>, Vec<_>) =
            self.open.drain().map(|(_, open)| open.ask).partition(|ask| ask.persists);
        persist.into_iter().for_each(|ask| self.put_back(ask));
        others.into_iter().for_each(|ask| ask.end(Outcome::refused(Reason::Refusal(Refusal::Auth))));
    }

    /// The client is over: what was never sent is refused.
    pub(crate) fn end(&mut self) {
        self.cost = 0;
        self.open.drain().for_each(|(_, open)| open.ask.end(Outcome::lost()));
        self.waiting.drain(..).for_each(Ask::end_unsent);
    }
}

/// What a request takes of the grant until its response.
fn cost(request: &Request) -> u64 {
    request.payload.len() as u64 + CREDIT_OVERHEAD
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::{Time, UnixMillis};
    use tokio::sync::oneshot;

    use super::*;
    use crate::ask::Settled;

    const NOW: Moment = Moment { time: Time::ZERO, wall: UnixMillis(1_000) };

    fn request(id: u8, len: usize) -> Request {
        Request {
            id: [id; 16],
            route: "echo".to_owned(),
            key: bytes::Bytes::new(),
            payload: vec![id; len].into(),
            again: false,
            number: Arc::default(),
        }
    }

    struct Asked(oneshot::Receiver<Settled>);

    impl Asked {
        /// The outcome, once there is one.
        fn outcome(&mut self) -> Option<Outcome> {
            self.0.try_recv().ok().map(|settled| settled.outcome)
        }
    }

    fn ask(ledger: &mut Ledger, id: u8, len: usize) -> Asked {
        give(ledger, request(id, len), false)
    }

    fn give(ledger: &mut Ledger, request: Request, persists: bool) -> Asked {
        let (ask, settled) = Ask::new(request, persists, Arc::default(), None);
        ledger.take(ask);
        Asked(settled)
    }

    /// The requests sent: first byte of the id, counter, again.
    fn sent(ledger: &mut Ledger) -> Vec<(u8, u64, bool)> {
        sent_at(ledger, NOW)
    }

    fn sent_at(ledger: &mut Ledger, now: Moment) -> Vec<(u8, u64, bool)> {
        let mut out = Vec::new();
        ledger.send(&mut out, now);
        let (mut rest, mut sent) = (&out[..], Vec::new());
        while !rest.is_empty() {
            let (len, prefix) = protocol::wire::varint::decode(rest).unwrap().unwrap();
            let end = prefix + usize::try_from(len).unwrap();
            match Frame::decode(&rest[prefix..end]).unwrap() {
                Frame::Request(request) => sent.push((request.id[0], request.counter, request.again)),
                other => panic!("{}", other.name()),
            }
            rest = &rest[end..];
        }
        sent
    }

    fn answer(ledger: &mut Ledger, id: u8) {
        ledger.resolve(&frame::Response { id: [id; 16], ..frame::Response::default() });
    }

    fn refuse(ledger: &mut Ledger, id: u8, refusal: Refusal) {
        let (outcome, code) = (frame::Outcome::Refused, refusal.number());
        ledger.resolve(&frame::Response { id: [id; 16], outcome, code, ..frame::Response::default() });
    }

    fn welcomed(requests: usize, cost: u64) -> Ledger {
        let mut ledger = Ledger::new();
        ledger.begin(false);
        ledger.welcome(Grant { requests, cost, frame_len_max: 65_536 }, false);
        ledger
    }

    #[test]
    fn requests_over_the_grant_wait_and_keep_their_order() {
        let mut ledger = welcomed(2, 1_000);
        let asked = [(1, 10), (2, 10), (3, 890), (4, 10)];
        let _outcomes = asked.map(|(id, len)| ask(&mut ledger, id, len));
        assert_eq!(sent(&mut ledger), [(1, 1, false), (2, 2, false)], "two at a time");
        answer(&mut ledger, 2);
        assert_eq!(
            sent(&mut ledger),
            [],
            "954 beside 74 are too many bytes, and the small one may not overtake"
        );
        answer(&mut ledger, 1);
        assert_eq!(sent(&mut ledger), [(3, 3, false)]);
        answer(&mut ledger, 3);
        assert_eq!(sent(&mut ledger), [(4, 4, false)]);
    }

    #[test]
    fn what_could_never_fit_is_refused_and_what_nobody_waits_for_is_dropped() {
        let mut ledger = welcomed(4, 1_000);
        let mut large = ask(&mut ledger, 1, 937);
        drop(ask(&mut ledger, 2, 1));
        let _open = ask(&mut ledger, 3, 1);
        assert_eq!(sent(&mut ledger), [(3, 1, false)]);
        assert_eq!(large.outcome(), Some(Outcome::refused(Reason::Refusal(Refusal::TooLarge))));
    }

    #[test]
    fn a_retry_takes_the_place_of_a_request_nobody_waits_for_and_not_of_another() {
        let mut ledger = welcomed(1, 1_000);
        let first = ask(&mut ledger, 3, 1);
        assert_eq!(sent(&mut ledger), [(3, 1, false)]);
        let mut twice = ask(&mut ledger, 3, 1);
        assert_eq!(sent(&mut ledger), []);
        assert_eq!(twice.outcome(), Some(Outcome::refused(Reason::UnderWay)));
        drop(first);
        let mut again = ask(&mut ledger, 3, 1);
        assert_eq!(sent(&mut ledger), [], "once is enough");
        assert!(again.outcome().is_none(), "it waits");
        answer(&mut ledger, 3);
        assert!(matches!(again.outcome(), Some(Outcome::Answered { .. })));
        let _next = ask(&mut ledger, 4, 1);
        assert_eq!(sent(&mut ledger), [(4, 2, false)], "the grant was used once");
    }

    #[test]
    fn a_retry_keeps_its_number_in_a_session_and_gets_the_next_one_in_another() {
        let mut ledger = welcomed(4, 10_000);
        let refused = request(1, 10);
        let send = |ledger: &mut Ledger, request: &Request| {
            let outcome = give(ledger, request.clone().again(), false);
            (sent(ledger), outcome)
        };
        let (first, _outcome) = send(&mut ledger, &refused);
        assert_eq!(first, [(1, 1, true)]);
        let _second = ask(&mut ledger, 2, 10);
        assert_eq!(sent(&mut ledger), [(2, 2, false)]);
        refuse(&mut ledger, 1, Refusal::Busy);
        let (again, _outcome) = send(&mut ledger, &refused);
        assert_eq!(again, [(1, 1, true)]);
        ledger.lose();
        ledger.begin(false);
        ledger.welcome(Grant { requests: 4, cost: 10_000, frame_len_max: 65_536 }, false);
        let _third = ask(&mut ledger, 3, 10);
        assert_eq!(sent(&mut ledger), [(3, 1, false)]);
        let (again, _outcome) = send(&mut ledger, &refused);
        assert_eq!(again, [(1, 2, true)]);
    }

    #[test]
    fn before_the_first_welcome_one_small_request_goes_out() {
        let mut ledger = Ledger::new();
        ledger.begin(false);
        let _outcomes = [(1, 10), (2, 10)].map(|(id, len)| ask(&mut ledger, id, len));
        assert_eq!(sent(&mut ledger), [(1, 1, false)]);
        ledger.welcome(Grant { requests: 8, cost: 10_000, frame_len_max: 65_536 }, false);
        assert_eq!(sent(&mut ledger), [(2, 2, false)]);
    }

    #[test]
    fn on_later_links_the_early_flight_stays_within_what_is_held() {
        let mut ledger = welcomed(100, 100_000);
        ledger.begin(false);
        let _outcomes: Vec<_> = (1..=9).map(|id| ask(&mut ledger, id, 10)).collect();
        assert_eq!(sent(&mut ledger).len(), HELD_FRAMES_MAX - 1);
        ledger.lose();
        ledger.begin(false);
        let _large = ask(&mut ledger, 20, 5_000);
        assert_eq!(sent(&mut ledger).len(), 2, "the rest of the nine, and not the large one");
    }

    #[test]
    fn an_early_frame_is_no_longer_than_every_gateway_takes_and_a_longer_one_waits_for_the_welcome() {
        let least = Grant { requests: 1, cost: 1_024, frame_len_max: 1_024 };
        for mut ledger in [Ledger::new(), welcomed(8, 100_000)] {
            ledger.begin(false);
            let longer = Request { key: vec![0; 64].into(), ..request(1, 950) };
            let _outcome = give(&mut ledger, longer, false);
            assert_eq!(sent(&mut ledger), [], "1,024 bytes with its payload's cost, but not with its key");
            let mut never = ask(&mut ledger, 2, 2_000);
            ledger.welcome(Grant { frame_len_max: 2_000, cost: 100_000, ..least }, false);
            assert_eq!(sent(&mut ledger), [(1, 1, false)]);
            answer(&mut ledger, 1);
            assert_eq!(sent(&mut ledger), []);
            assert_eq!(never.outcome(), Some(Outcome::refused(Reason::Refusal(Refusal::TooLarge))));
        }
    }

    #[test]
    fn an_early_request_over_the_grant_goes_out_again_before_later_ones() {
        let mut ledger = welcomed(3, 100_000);
        ledger.begin(false);
        let mut outcomes = [1, 2, 3].map(|id| ask(&mut ledger, id, 10));
        assert_eq!(sent(&mut ledger).len(), 3);
        let _last = ask(&mut ledger, 4, 10);
        ledger.welcome(Grant { requests: 1, cost: 100_000, frame_len_max: 65_536 }, false);
        refuse(&mut ledger, 2, Refusal::InFlight);
        refuse(&mut ledger, 3, Refusal::InFlight);
        assert_eq!(sent(&mut ledger), []);
        for (id, next) in [(1, (2, 2, true)), (2, (3, 3, true)), (3, (4, 4, false))] {
            answer(&mut ledger, id);
            assert_eq!(sent(&mut ledger), [next]);
            assert!(matches!(outcomes[usize::from(id) - 1].outcome(), Some(Outcome::Answered { .. })));
        }
    }

    #[test]
    fn a_lost_link_makes_open_requests_unknown_and_leaves_the_others_waiting() {
        let mut ledger = welcomed(1, 1_000);
        let [mut open, mut waiting] = [1, 2].map(|id| ask(&mut ledger, id, 10));
        assert_eq!(sent(&mut ledger).len(), 1);
        ledger.lose();
        assert_eq!(open.outcome(), Some(Outcome::lost()));
        assert!(waiting.outcome().is_none());
        ledger.begin(false);
        assert_eq!(sent(&mut ledger), [(2, 1, false)], "a new session counts from one");
        ledger.refuse_auth();
        assert_eq!(waiting.outcome(), Some(Outcome::refused(Reason::Refusal(Refusal::Auth))));
        let mut never = ask(&mut ledger, 3, 10);
        ledger.end();
        assert_eq!(never.outcome(), Some(Outcome::refused(Reason::Ended)));
    }

    fn begin_again(ledger: &mut Ledger) {
        ledger.lose();
        ledger.begin(false);
        ledger.welcome(Grant { requests: 8, cost: 10_000, frame_len_max: 65_536 }, false);
    }

    #[test]
    fn what_persists_goes_out_again_before_everything_else_and_in_the_order_it_was_sent_first() {
        let mut ledger = welcomed(3, 10_000);
        let asked = [1, 2, 3, 4].map(|id| give(&mut ledger, request(id, 10), true));
        assert_eq!(sent(&mut ledger), [(1, 1, false), (2, 2, false), (3, 3, false)]);
        answer(&mut ledger, 2);
        assert_eq!(sent(&mut ledger), [(4, 4, false)]);
        let _new = ask(&mut ledger, 5, 10);
        for _ in 0..2 {
            begin_again(&mut ledger);
            let again = [(1, 1, true), (3, 2, true), (4, 3, true)];
            assert_eq!(sent(&mut ledger)[..3], again);
        }
        drop(asked);
        begin_again(&mut ledger);
        assert_eq!(sent(&mut ledger), [], "nobody waits for them any more, and the new one was lost");
    }

    #[test]
    fn what_was_sent_on_a_link_that_ended_stays_in_doubt_whatever_is_said_of_it_later() {
        let mut ledger = welcomed(3, 10_000);
        let mut asked = [1, 2].map(|id| give(&mut ledger, request(id, 10), true));
        assert_eq!(sent(&mut ledger).len(), 2);
        begin_again(&mut ledger);
        assert_eq!(sent(&mut ledger).len(), 2);
        let mut new = give(&mut ledger, request(3, 10), true);
        assert_eq!(sent(&mut ledger), [(3, 3, false)]);
        [1, 3].iter().for_each(|&id| refuse(&mut ledger, id, Refusal::NoRoute));
        let outcome = Outcome::refused(Reason::Refusal(Refusal::NoRoute));
        let settled = |in_doubt| Ok(Settled { outcome: outcome.clone(), in_doubt });
        assert_eq!(asked[0].0.try_recv(), settled(true));
        assert_eq!(new.0.try_recv(), settled(false));
        ledger.lose();
        ledger.end();
        assert_eq!(asked[1].outcome(), Some(Outcome::lost()), "it waited, and was sent before");
    }

    #[test]
    fn a_refused_login_is_no_doubt_and_what_persists_waits_for_the_next() {
        let mut ledger = Ledger::new();
        ledger.begin(false);
        let mut asked = give(&mut ledger, request(1, 10), true);
        assert_eq!(sent(&mut ledger), [(1, 1, false)]);
        ledger.refuse_auth();
        begin_again(&mut ledger);
        assert_eq!(sent(&mut ledger), [(1, 1, false)]);
        refuse(&mut ledger, 1, Refusal::NoRoute);
        assert_eq!(asked.0.try_recv().map(|settled| settled.in_doubt), Ok(false));
    }

    #[test]
    fn nothing_is_sent_again_more_than_half_a_day_after_it_was_sent_first_on_either_clock() {
        let half = REPEAT_MAX + Duration::from_secs(1);
        let slept = Moment { wall: UnixMillis(1_000 + half.as_millis() as u64), ..NOW };
        for late in [slept, Moment { time: NOW.time + half, ..NOW }] {
            let mut ledger = welcomed(3, 10_000);
            let request = request(1, 10);
            let _first = give(&mut ledger, request.clone(), false);
            assert_eq!(sent(&mut ledger).len(), 1);
            begin_again(&mut ledger);
            let mut again = give(&mut ledger, request.again(), false);
            assert_eq!(sent_at(&mut ledger, late), []);
            assert_eq!(again.outcome(), Some(Outcome::refused(Reason::TooLate)));
            let _new = ask(&mut ledger, 2, 10);
            assert_eq!(sent_at(&mut ledger, late), [(2, 1, false)]);
        }
    }

    /// Three requests of which the second is answered, a lost link, and a new one that wishes to go on with the session.
    fn lost_and_begun_again() -> (Ledger, [Asked; 3]) {
        let mut ledger = welcomed(4, 10_000);
        let asked = [1, 2, 3].map(|id| give(&mut ledger, request(id, 10), true));
        assert_eq!(sent(&mut ledger), [(1, 1, false), (2, 2, false), (3, 3, false)]);
        answer(&mut ledger, 2);
        ledger.lose();
        ledger.begin(true);
        (ledger, asked)
    }

    const GRANT: Grant = Grant { requests: 8, cost: 10_000, frame_len_max: 65_536 };

    #[test]
    fn in_a_session_that_goes_on_repeats_keep_their_numbers_and_the_next_ones_follow() {
        let (mut ledger, _asked) = lost_and_begun_again();
        assert_eq!(sent(&mut ledger), [], "whose session it is is not known yet");
        ledger.welcome(GRANT, true);
        let _new = ask(&mut ledger, 4, 10);
        assert_eq!(sent(&mut ledger), [(1, 1, true), (3, 3, true), (4, 4, false)]);
    }

    #[test]
    fn in_another_session_repeats_are_numbered_anew_in_their_order() {
        let (mut ledger, _asked) = lost_and_begun_again();
        ledger.welcome(GRANT, false);
        let _new = ask(&mut ledger, 4, 10);
        assert_eq!(sent(&mut ledger), [(1, 1, true), (3, 2, true), (4, 3, false)]);
    }

    #[test]
    fn a_new_request_does_not_wait_for_the_session_and_goes_without_a_number() {
        for (resumed, next) in [(true, 4), (false, 1)] {
            let mut ledger = welcomed(4, 10_000);
            let _asked = [1, 2, 3].map(|id| ask(&mut ledger, id, 10));
            assert_eq!(sent(&mut ledger).len(), 3);
            ledger.lose();
            ledger.begin(true);
            let _early = ask(&mut ledger, 4, 10);
            assert_eq!(sent(&mut ledger), [(4, 0, false)]);
            ledger.welcome(GRANT, resumed);
            refuse(&mut ledger, 4, Refusal::InFlight);
            let _later = ask(&mut ledger, 5, 10);
            assert_eq!(sent(&mut ledger), [(4, next, true), (5, next + 1, false)]);
        }
    }

    #[test]
    fn a_later_run_uses_no_number_that_may_have_been_used() {
        let mut ledger = Ledger::new();
        ledger.restore(1_024);
        ledger.begin(true);
        ledger.welcome(GRANT, true);
        let _first = ask(&mut ledger, 1, 10);
        assert_eq!(sent(&mut ledger), [(1, 0, false)], "the next ones are not written down as used");
        ledger.allow(1_025);
        let _others = [2, 3].map(|id| ask(&mut ledger, id, 10));
        assert_eq!(sent(&mut ledger), [(2, 1_025, false), (3, 0, false)]);
        assert_eq!(ledger.counter(), 1_025);
        ledger.lose();
        ledger.begin(true);
        ledger.welcome(GRANT, false);
        let _new = ask(&mut ledger, 4, 10);
        assert_eq!(sent(&mut ledger), [(4, 1, false)]);
    }
}
