//! The part of the responder that pushes: the reference service's routes `push` and `outcomes` and the gateway's
//! acknowledgements in one, as docs/PUSHES.md and SPEC 8.6 have them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use protocol::Undelivered;
use protocol::wire::frame::{Frame, Outcome, Push, RequestId, Response};

use super::Fault;

type RunId = [u8; 16];

/// What all peers know of pushes.
#[derive(Default)]
pub struct Books {
    runs: Mutex<BTreeMap<RunId, Run>>,
    /// Milliseconds, where the test has a clock.
    pub now_ms: AtomicU64,
    /// Acknowledgements: the link, when it came, and since when the oldest push of it had waited.
    pub acks: Mutex<Vec<(u64, u64, u64)>>,
}

#[derive(Clone, Copy, Default)]
struct Run {
    sent: [u64; 2],
    delivered: u64,
    undelivered: u64,
}

impl Books {
    fn change(&self, run: RunId, change: impl FnOnce(&mut Run)) {
        change(self.runs.lock().unwrap().entry(run).or_default());
    }

    /// Answers `outcomes`.
    pub fn tell(&self, id: RequestId, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let run: RunId = payload.try_into().unwrap();
        let Some(&Run { sent, delivered, undelivered }) = self.runs.lock().unwrap().get(&run) else {
            return respond(id, 1, &[], out);
        };
        let open = sent[1] - delivered - undelivered;
        let mut told = [sent[0], sent[1], delivered, 0, open].map(u64::to_be_bytes).concat();
        if undelivered > 0 {
            told.extend_from_slice(&Undelivered::QueueFull.number().to_be_bytes());
            told.extend_from_slice(&undelivered.to_be_bytes());
        }
        respond(id, 0, &told, out)
    }
}

/// What one session is pushed.
#[derive(Debug)]
pub struct Pusher {
    link: u64,
    fault: Fault,
    pushes: u64,
    sequence: u64,
    taken: u64,
    /// Sent and not acknowledged: when, whose outcome that is, and what.
    owed: VecDeque<(u64, Option<RunId>, Vec<u8>)>,
    late: Option<Body>,
}

#[derive(Clone, Debug)]
struct Body {
    run: RunId,
    class: u32,
    payload: Vec<u8>,
}

impl Pusher {
    pub fn new(link: u64, fault: Fault) -> Self {
        Self { link, fault, pushes: 0, sequence: 0, taken: 0, owed: VecDeque::new(), late: None }
    }

    /// Another link goes on with the session, and has all up to this one.
    pub fn go_on(&mut self, link: u64, taken: u64, books: &Books) {
        self.link = link;
        self.settle(taken, books);
    }

    /// What is owed comes again, on the next link.
    pub fn push_again(&self, out: &mut Vec<u8>) {
        for (sequence, (_, _, payload)) in (self.taken + 1..).zip(&self.owed) {
            Frame::Push(Push { sequence, payload, class: 1, again: true, ..Push::default() }).encode(out);
        }
    }

    /// What is owed is forgotten, sequences and all.
    pub fn lose_all(&mut self, books: &Books) {
        for (_, run, _) in self.owed.drain(..) {
            run.into_iter().for_each(|run| books.change(run, |run| run.undelivered += 1));
        }
        self.sequence = self.taken;
    }

    /// Answers `push`, behind the pushes.
    pub fn push(&mut self, id: RequestId, ask: &[u8], books: &Books, out: &mut Vec<u8>) -> bool {
        assert_eq!(ask.len(), 41);
        if self.fault == Fault::NoPushes {
            let response = Response { id, outcome: Outcome::Refused, code: 2, ..Response::default() };
            Frame::Response(response).encode(out);
            return true;
        }
        let number = |at: usize| u64::from(u32::from_be_bytes(*ask[at..].first_chunk().unwrap()));
        let (first, count, size) = (number(17) << 32 | number(21), number(25), number(29));
        let (run, class) = (*ask.first_chunk().unwrap(), u32::from(ask[16]));
        for number in first..first + count {
            let mut payload = [&ask[..16], &number.to_be_bytes(), &ask[33..41], &[1; 8]].concat();
            payload.resize(size as usize, number as u8);
            self.push_one(Body { run, class, payload }, books, out);
        }
        respond(id, 0, &(count as u32).to_be_bytes(), out)
    }

    fn push_one(&mut self, mut body: Body, books: &Books, out: &mut Vec<u8>) {
        self.pushes += 1;
        let (at, run) = (self.pushes, body.run);
        books.change(run, |run| run.sent[body.class as usize] += 1);
        match self.fault {
            Fault::LosePushes => return books.change(run, |run| run.undelivered += u64::from(body.class)),
            Fault::LosePush(lost) if lost == at => {
                return books.change(run, |run| run.undelivered += u64::from(body.class));
            }
            Fault::SwapPush(swapped) if swapped == at => return self.late = Some(body),
            Fault::CorruptPush(corrupted) if corrupted == at => *body.payload.last_mut().unwrap() ^= 1,
            _ => {}
        }
        self.send(&body, Some(run), books, out);
        match self.fault {
            Fault::DoublePush(doubled) if doubled == at => self.send(&body, None, books, out),
            Fault::RepeatPush(repeated) if repeated == at => {
                let (sequence, payload, class) = (self.sequence, &body.payload[..], body.class);
                Frame::Push(Push { sequence, payload, class, again: true, ..Push::default() }).encode(out);
            }
            Fault::AskNow(asked) if asked == at => Frame::AckNow { sequence: self.sequence }.encode(out),
            _ => {}
        }
        if let Some(late) = self.late.take_if(|late| late.payload != body.payload) {
            self.send(&late, Some(late.run), books, out);
        }
    }

    fn send(&mut self, body: &Body, run: Option<RunId>, books: &Books, out: &mut Vec<u8>) {
        if body.class == 1 {
            self.sequence += 1;
            self.owed.push_back((books.now_ms.load(Ordering::Relaxed), run, body.payload.clone()));
        }
        let sequence = if body.class == 1 { self.sequence } else { 0 };
        Frame::Push(Push { sequence, payload: &body.payload, class: body.class, ..Push::default() })
            .encode(out);
    }

    /// The client has taken all up to this one.
    pub fn taken(&mut self, taken: u64, books: &Books) -> bool {
        if let Some(&(since, ..)) = self.owed.front() {
            let now = books.now_ms.load(Ordering::Relaxed);
            books.acks.lock().unwrap().push((self.link, now, since));
        }
        self.settle(taken, books);
        true
    }

    fn settle(&mut self, taken: u64, books: &Books) {
        assert!(taken <= self.sequence, "never what was not sent");
        while self.taken < taken {
            self.taken += 1;
            if let Some((_, Some(run), _)) = self.owed.pop_front() {
                books.change(run, |run| run.delivered += 1);
            }
        }
    }
}

fn respond(id: RequestId, code: u32, payload: &[u8], out: &mut Vec<u8>) -> bool {
    Frame::Response(Response { id, code, payload, ..Response::default() }).encode(out);
    true
}
