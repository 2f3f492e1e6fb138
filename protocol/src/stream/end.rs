//! What both ends of a stream have in common once there are records: frames in and out, credit, signs of life.

use std::mem;
use std::time::Duration;

use crate::CloseCode;
use crate::buffer::{Bounds, Input, Rest};
use crate::error::Error;
use crate::limits::{CLOSE_TEXT_LEN_MAX, RECORD_LEN_MAX, STREAM_GLITCHES_MAX};
use crate::stream::credit::{Credit, Window};
use crate::stream::records::{Outgoing, Records};
use crate::stream::{Blocked, Params};
use crate::time::Time;
use crate::wire::stream::{Close, StreamFrame, credit_cost};

/// One end of a stream.
#[derive(Debug)]
pub(super) struct End {
    pub(super) params: Params,
    pub(super) records: Option<Records>,
    pub(super) outgoing: Outgoing,
    pub(super) phase: Phase,
    rest: Rest,
    credit: Credit,
    window: Window,
    /// Longest frame body the peer takes.
    peer_frame_len_max: usize,
    /// When the stream began; once live, when the peer last showed that it lives.
    heard: Time,
    /// When the last ping was said; before, when the stream was live.
    pub(super) pinged: Time,
    /// When the first ping was said after which nothing has been heard; else the one before.
    asked: Time,
    /// Bytes have come whose time is not known yet.
    has_news: bool,
    /// How often in a row this end was late itself, and nothing has come since.
    excuses: u8,
    /// Unknown frames within the minute that began then.
    glitches: (u32, Time),
    /// Of the last ping.
    nonce: u32,
    /// Unknown frames since the stream began.
    pub(super) glitches_ever: u64,
    /// Whether anything was said since it was last taken back.
    pub(super) spoke: bool,
    /// Zero until both ends know it.
    pub(super) heartbeat: Duration,
}

/// ```text
/// Greeting ── first frame of the peer ──► Live ── close frame, either way ──► Closed
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Greeting,
    Live,
    Closed,
}

impl End {
    pub(super) fn new(params: Params, now: Time) -> Self {
        debug_assert_eq!(params.check(), Ok(()));
        Self {
            params,
            records: None,
            outgoing: Outgoing::default(),
            phase: Phase::Greeting,
            rest: Rest::default(),
            credit: Credit::default(),
            window: Window::new(params.window),
            peer_frame_len_max: 0,
            heard: now,
            pinged: now,
            asked: now,
            has_news: false,
            excuses: 0,
            glitches: (0, now),
            nonce: 0,
            glitches_ever: 0,
            spoke: false,
            heartbeat: Duration::ZERO,
        }
    }

    pub(super) fn input<'c>(&mut self, chunk: &'c mut [u8]) -> Input<'c> {
        self.has_news |= !chunk.is_empty();
        Input::new(chunk, mem::take(&mut self.rest))
    }

    pub(super) fn keep(&mut self, input: Input<'_>) {
        if self.phase != Phase::Closed {
            self.rest = input.into_rest();
        }
    }

    /// The body of the next frame. Credit and pings are seen to by [`End::digest`].
    pub(super) fn next<'i>(
        &mut self,
        input: &'i mut Input<'_>,
        record_len_max: usize,
    ) -> Result<Option<StreamFrame<'i>>, Error> {
        let Some(records) = self.records.as_mut().filter(|_| self.phase != Phase::Closed) else {
            return Ok(None);
        };
        if self.outgoing.len() > self.params.overrun() {
            return Err(Error::Stalled);
        }
        let bounds = Bounds {
            record_len_max: record_len_max.min(RECORD_LEN_MAX),
            frame_len_max: self.params.frame_len_max,
            tag_len: records.tag_len(),
        };
        let Some(span) = input.next_frame(bounds, &mut |record| records.open(record))? else {
            return Ok(None);
        };
        StreamFrame::decode(input.body(span)).map(Some)
    }

    /// The peer has introduced itself.
    pub(super) fn live(&mut self, credit: u64, frame_len_max: usize, heartbeat: Duration, now: Time) {
        self.credit = Credit::new(credit);
        self.peer_frame_len_max = frame_len_max;
        self.heartbeat = heartbeat;
        (self.heard, self.pinged, self.asked, self.excuses) = (now, now, now, 0);
        self.phase = Phase::Live;
    }

    /// Does what a frame of a live stream asks of this end itself.
    pub(super) fn digest(&mut self, frame: &StreamFrame<'_>, now: Time) -> Result<(), Error> {
        match *frame {
            StreamFrame::Request(ref request) => self.window.receive(credit_cost(request.payload.len())),
            StreamFrame::Response(ref response) => self.window.receive(credit_cost(response.payload.len())),
            StreamFrame::Push(ref push) => self.window.receive(credit_cost(push.payload.len())),
            StreamFrame::Credit { bytes } => self.credit.grant(bytes),
            StreamFrame::Ping { nonce } => {
                self.control(&StreamFrame::Pong { nonce });
                Ok(())
            }
            StreamFrame::Close(_) => {
                self.phase = Phase::Closed;
                Ok(())
            }
            StreamFrame::Flawed(ref flawed) => match flawed.payload_len {
                Some(len) => self.window.receive(credit_cost(len)),
                None => Ok(()),
            },
            StreamFrame::Unknown => self.glitch(now),
            _ => Ok(()),
        }
    }

    /// The time of what came last: it shows that the peer lives, be it a whole frame or a part of one.
    pub(super) fn look(&mut self, now: Time) {
        if mem::take(&mut self.has_news) {
            self.lives(now);
        }
    }

    /// The peer shows that it lives: it has said something, or has taken bytes that there had been no room for. Whoever reads is
    /// not dead, though its answer may have to wait until it has come to the question.
    pub(super) fn lives(&mut self, now: Time) {
        if self.phase == Phase::Live {
            (self.heard, self.excuses) = (now, 0);
        }
    }

    /// A stream lives for months, so what is bounded is how many there are at a time.
    fn glitch(&mut self, now: Time) -> Result<(), Error> {
        let (count, since) = self.glitches;
        let (count, since) = if now.since(since) >= GLITCH_TIME { (0, now) } else { (count, since) };
        self.glitches = (count + 1, since);
        self.glitches_ever += 1;
        if count < STREAM_GLITCHES_MAX { Ok(()) } else { Err(Error::Glitches) }
    }

    /// Takes a frame that costs credit.
    pub(super) fn payload(&mut self, frame: &StreamFrame<'_>, payload_len: usize) -> Result<(), Blocked> {
        let is_too_large = self.is_too_large(frame, payload_len);
        let Some(records) = self.records.as_mut().filter(|_| self.phase == Phase::Live) else {
            return Err(Blocked::NotLive);
        };
        if is_too_large {
            return Err(Blocked::TooLarge);
        }
        if self.outgoing.len() >= self.params.pending_bytes_max {
            return Err(Blocked::Pending);
        }
        if !self.credit.take(credit_cost(payload_len)) {
            return Err(Blocked::Credit);
        }
        self.outgoing.frame(records, frame);
        self.spoke = true;
        Ok(())
    }

    /// Whether a frame with such a payload is longer than the peer takes, and will be for ever.
    pub(super) fn is_too_large(&self, frame: &StreamFrame<'_>, payload_len: usize) -> bool {
        payload_len + FIELDS_LEN_MAX > self.peer_frame_len_max
            && frame.payload_body_len().is_some_and(|len| len > self.peer_frame_len_max)
    }

    /// Takes a frame that never waits. On a stream that is not live it is dropped: the peer has been told nothing
    /// yet, or nothing will reach it any more.
    pub(super) fn control(&mut self, frame: &StreamFrame<'_>) {
        if let Some(records) = self.records.as_mut().filter(|_| self.phase == Phase::Live) {
            self.outgoing.frame(records, frame);
            self.spoke = true;
        }
    }

    pub(super) fn consumed(&mut self, payload_len: usize) {
        if let Some(bytes) = self.window.consumed(credit_cost(payload_len)) {
            self.control(&StreamFrame::Credit { bytes });
        }
    }

    pub(super) fn close(&mut self, code: CloseCode, retry_after: Duration, text: &str) {
        let Some(records) = self.records.as_mut().filter(|_| self.phase != Phase::Closed) else {
            self.phase = Phase::Closed;
            return;
        };
        let text = &text[..text.floor_char_boundary(CLOSE_TEXT_LEN_MAX)];
        let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
        let close = Close { code: code.number(), retry_after_ms, text };
        self.outgoing.frame(records, &StreamFrame::Close(close));
        self.phase = Phase::Closed;
    }

    pub(super) fn seal(&mut self, batch: &mut Vec<u8>) -> bool {
        self.outgoing.take(self.records.as_mut(), batch)
    }

    pub(super) fn credit_available(&self) -> u64 {
        self.credit.available()
    }

    pub(super) fn held(&self) -> u64 {
        self.window.held()
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self.phase {
            _ if self.outgoing.len() > self.params.overrun() => Some(Time::ZERO),
            Phase::Greeting => Some(self.heard + self.params.handshake_deadline),
            // A ping that left late has its interval all the same.
            Phase::Live => Some((self.heard + 2 * self.heartbeat).max(self.asked + self.heartbeat)),
            Phase::Closed => None,
        }
    }

    pub(super) fn expire(&mut self, now: Time) -> Result<(), Error> {
        if self.outgoing.len() > self.params.overrun() {
            return Err(Error::Stalled);
        }
        let Some(deadline) = self.deadline().filter(|deadline| now >= *deadline) else { return Ok(()) };
        // This end itself was late: it stood still, or has more to do than time. What the peer has said may wait in the
        // kernel, and it gets another interval to be heard. Should that happen again and again, it is dead all the same.
        let is_late = |interval: Duration| now.since(deadline) > (interval / LATE_PART).max(LATE_MIN);
        match self.phase {
            Phase::Greeting if is_late(self.params.handshake_deadline) && self.excuses < EXCUSES_MAX => {
                self.excuses += 1;
                self.heard = now;
                Ok(())
            }
            Phase::Greeting => Err(Error::HandshakeTimeout),
            Phase::Live if is_late(self.heartbeat) && self.excuses < EXCUSES_MAX => {
                self.excuses += 1;
                self.ping(now);
                self.asked = now;
                Ok(())
            }
            Phase::Live => Err(Error::HeartbeatTimeout),
            Phase::Closed => Ok(()),
        }
    }

    /// Asks the peer to show that it lives.
    pub(super) fn ping(&mut self, now: Time) {
        self.pinged = now;
        if self.heard >= self.asked {
            self.asked = now;
        }
        self.nonce = self.nonce.wrapping_add(1);
        self.control(&StreamFrame::Ping { nonce: self.nonce });
    }
}

/// How often in a row a peer of which nothing is heard lives on, as this end was late itself.
const EXCUSES_MAX: u8 = 8;
/// An end that comes later than by this part of an interval was late itself.
const LATE_PART: u32 = 8;
/// Timers are this coarse: nobody is late by less.
const LATE_MIN: Duration = Duration::from_millis(125);
/// The time in which unknown frames are counted.
const GLITCH_TIME: Duration = Duration::from_mins(1);
/// More than all fields of a payload frame but the payload ever take.
const FIELDS_LEN_MAX: usize = 512;
