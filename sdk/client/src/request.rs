//! A request, its name, and the one outcome it has.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::hidden::Hidden;
use protocol::limits::{KEY_LEN_MAX, ROUTE_LEN_MAX};
use protocol::wire::frame::{self, RequestId};
use protocol::{Cause, Refusal, Time, UnixMillis};
use ring::digest::{SHA256, digest};

/// What an empty request weighs: about the memory that it takes.
const WEIGHT_LEAST: usize = 256;

/// Something for a backend. Made by [`Client::prepare`](crate::Client::prepare), which gives it an id of its own; keep
/// it, and the same request can be sent again after a refused or unknown outcome.
#[derive(Clone)]
pub struct Request {
    pub(crate) id: RequestId,
    pub(crate) route: String,
    pub(crate) key: Bytes,
    pub(crate) payload: Bytes,
    pub(crate) again: bool,
    /// Shared by all clones, as they are the same request.
    pub(crate) number: Arc<Number>,
}

/// The number a request got in a session, which it keeps as long as the session lasts, and when it was sent first. Written by
/// the link's task alone.
#[derive(Debug, Default)]
pub(crate) struct Number {
    session: AtomicU64,
    counter: AtomicU64,
    /// In nanoseconds, and one more; 0: it was not sent.
    first_time: AtomicU64,
    /// In Unix milliseconds; that of an earlier process, too.
    first_wall: AtomicU64,
}

impl Number {
    /// The number in this session, if it has one.
    pub(crate) fn of(&self, session: u64) -> Option<u64> {
        (self.session.load(Ordering::Relaxed) == session).then(|| self.counter.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, session: u64, counter: u64) {
        self.session.store(session, Ordering::Relaxed);
        self.counter.store(counter, Ordering::Relaxed);
    }

    /// It is sent now.
    pub(crate) fn sent(&self, time: Time, wall: UnixMillis) {
        if self.first_time.load(Ordering::Relaxed) == 0 {
            // What an earlier process sent is no younger for it.
            _ = self.first_wall.compare_exchange(0, wall.0, Ordering::Relaxed, Ordering::Relaxed);
            self.first_time.store(time.as_nanos().saturating_add(1), Ordering::Relaxed);
        }
    }

    /// How long ago it was sent first, on the clock that says more; zero if it was not.
    pub(crate) fn age(&self, time: Time, wall: UnixMillis) -> Duration {
        let since = |first: u64| time.since(Time::from_nanos(first));
        let by_time = self.first_time.load(Ordering::Relaxed).checked_sub(1).map_or(Duration::ZERO, since);
        let by_wall = match self.first_wall.load(Ordering::Relaxed) {
            0 => 0,
            first => wall.0.saturating_sub(first),
        };
        by_time.max(Duration::from_millis(by_wall))
    }
}

impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        let same_id = (self.id, self.again) == (other.id, other.again);
        same_id && self.route == other.route && self.key == other.key && self.payload == other.payload
    }
}

impl Eq for Request {}

/// The payload is its user's own, and stays out of logs.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("route", &self.route)
            .field("key", &self.key)
            .field("payload", &Hidden(&self.payload))
            .field("again", &self.again)
            .finish_non_exhaustive()
    }
}

impl Request {
    /// Its id: backends do a thing once per user, device and id.
    #[must_use]
    pub const fn id(&self) -> &RequestId {
        &self.id
    }

    /// A request that the application has kept over a start of its process, under the id that
    /// [`Client::prepare`](crate::Client::prepare) gave it: for an outbox that is on disk.
    ///
    /// `first_sent` is when it may have been sent first; `None`: surely not yet. Write that down before you send it, so that the request
    /// is marked as sent before, and refused as [`Reason::TooLate`] 12 h later: backends may have forgotten it by then.
    #[must_use]
    pub fn restore(
        id: RequestId,
        route: impl Into<String>,
        key: impl Into<Bytes>,
        payload: impl Into<Bytes>,
        first_sent: Option<UnixMillis>,
    ) -> Self {
        let first_wall = AtomicU64::new(first_sent.map_or(0, |first| first.0));
        Self {
            id,
            route: route.into(),
            key: key.into(),
            payload: payload.into(),
            again: first_sent.is_some(),
            number: Arc::new(Number { first_wall, ..Number::default() }),
        }
    }

    /// The same request, marked as sent before.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Bytes it takes of a queue: its own, and as many again as keep an empty one from being free.
    pub(crate) fn weight(&self) -> usize {
        self.route.len() + self.key.len() + self.payload.len() + WEIGHT_LEAST
    }

    /// What no gateway would take.
    pub(crate) fn check(&self) -> Result<(), Reason> {
        if !(1..=ROUTE_LEN_MAX).contains(&self.route.len()) {
            return Err(Reason::Invalid("a route has 1 to 32 bytes"));
        }
        if self.key.len() > KEY_LEN_MAX {
            return Err(Reason::Invalid("a key has at most 64 bytes"));
        }
        Ok(())
    }
}

/// How a request ended. There is exactly one for each.
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The backend answered.
    Answered {
        /// 0 is success; others belong to the route.
        status: u32,
        /// The answer.
        payload: Bytes,
    },
    /// Nothing has happened; the same request may be sent again. [`Reason::UnderWay`] says so only of this sending.
    Refused {
        /// Why.
        reason: Reason,
        /// Not earlier than after this time; zero leaves it to the application.
        retry_after: Duration,
    },
    /// It was sent, and nobody knows what became of it. Sent again under the same id ([`Request::again`]) it does no
    /// harm, as backends are idempotent.
    Unknown {
        /// Why nobody knows.
        doubt: Doubt,
    },
}

/// Why nobody knows what became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Doubt {
    /// The link ended before an answer came.
    LinkEnded,
    /// No answer came in time, or the backend's stream broke.
    NotAnswered,
    /// It was answered before, and the answer is no longer kept: something has happened. Sent again it would come to the same.
    AnsweredBefore,
}

/// The answer stays out of logs.
impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status, payload } => {
                f.debug_struct("Answered").field("status", status).field("payload", &Hidden(payload)).finish()
            }
            Self::Refused { reason, retry_after } => {
                f.debug_struct("Refused").field("reason", reason).field("retry_after", retry_after).finish()
            }
            Self::Unknown { doubt } => f.debug_struct("Unknown").field("doubt", doubt).finish(),
        }
    }
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// By the gateway or the backend. [`Refusal::TooLarge`] also comes from here, when a request could never fit the
    /// gateway's bounds.
    Refusal(Refusal),
    /// A number this version does not know; to be treated like busy.
    Other(u32),
    /// A part of the request has a length that is not allowed.
    Invalid(&'static str),
    /// The same request was sent before and is still waited for. Only this sending is refused: whoever waits gets the
    /// outcome of the first one, which may well have been done.
    UnderWay,
    /// It was given up before it was sent: the time was over.
    NotSent,
    /// No link is up, and as much waits for one as [`Config::requests_max`](crate::Config::requests_max) or
    /// [`Config::request_bytes_max`](crate::Config::request_bytes_max) allow.
    QueueFull,
    /// It was sent first more than 12 h ago. Backends may have forgotten it by now, and would do it a second time.
    TooLate,
    /// The client has ended.
    Ended,
}

impl Reason {
    /// Whether the same request would be refused again whenever it is sent (SPEC.md, section 13.2).
    #[must_use]
    pub const fn is_final(self) -> bool {
        match self {
            Self::Refusal(refusal) => matches!(
                refusal,
                Refusal::NoRoute | Refusal::TooLarge | Refusal::NotAllowed | Refusal::Malformed
            ),
            Self::Other(_) | Self::NotSent | Self::QueueFull => false,
            // Whoever waits for the first sending gets its outcome.
            Self::Invalid(_) | Self::UnderWay | Self::TooLate | Self::Ended => true,
        }
    }
}

impl Outcome {
    pub(crate) const fn refused(reason: Reason) -> Self {
        Self::Refused { reason, retry_after: Duration::ZERO }
    }

    /// Nobody knows, as the link has ended.
    pub(crate) const fn lost() -> Self {
        Self::Unknown { doubt: Doubt::LinkEnded }
    }

    pub(crate) fn of(response: &frame::Response<'_>) -> Self {
        match response.outcome {
            frame::Outcome::Answered => {
                Self::Answered { status: response.code, payload: Bytes::copy_from_slice(response.payload) }
            }
            frame::Outcome::Refused => Self::Refused {
                reason: Refusal::from_number(response.code)
                    .map_or(Reason::Other(response.code), Reason::Refusal),
                retry_after: Duration::from_millis(response.retry_after_ms.into()),
            },
            frame::Outcome::Unknown => Self::Unknown {
                doubt: match Cause::from_number(response.code) {
                    Some(Cause::AnsweredBefore) => Doubt::AnsweredBefore,
                    None => Doubt::NotAnswered,
                },
            },
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refusal(refusal) => f.write_str(refusal.name()),
            Self::Other(number) => write!(f, "reason {number}"),
            Self::Invalid(text) => f.write_str(text),
            Self::UnderWay => f.write_str("the same request is under way"),
            Self::NotSent => f.write_str("it was given up before it was sent"),
            Self::QueueFull => f.write_str("there is no link, and no more room to wait for one"),
            Self::TooLate => f.write_str("it was sent first more than 12 h ago"),
            Self::Ended => f.write_str("the client has ended"),
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LinkEnded => "the link ended before an answer came",
            Self::NotAnswered => "no answer came",
            Self::AnsweredBefore => "it was answered before, and the answer is no longer kept",
        })
    }
}

/// Gives requests their ids: version, sender, device, time, random. SPEC.md, section 8.4.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Namer {
    user: [u8; 2],
    device: [u8; 2],
}

const ID_VERSION: u8 = 1;

impl Namer {
    pub(crate) fn new(user: &[u8], device: &[u8]) -> Self {
        let short =
            |bytes: &[u8]| *digest(&SHA256, bytes).as_ref().first_chunk().expect("a hash has 32 bytes");
        Self { user: short(user), device: short(device) }
    }

    pub(crate) fn name(self, now: UnixMillis, random: [u8; 5]) -> RequestId {
        let mut id = [0; 16];
        id[0] = ID_VERSION;
        id[1..3].copy_from_slice(&self.user);
        id[3..5].copy_from_slice(&self.device);
        id[5..11].copy_from_slice(&now.0.to_be_bytes()[2..]);
        id[11..].copy_from_slice(&random);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::push::Push;

    #[test]
    fn an_id_says_version_sender_device_and_time() {
        let id = Namer::new(b"alice", b"phone").name(UnixMillis(0x0102_0304_0506), [9; 5]);
        // SHA-256 of "alice" begins with 2bd8, of "phone" with 4556.
        assert_eq!(id, [1, 0x2b, 0xd8, 0x45, 0x56, 1, 2, 3, 4, 5, 6, 9, 9, 9, 9, 9]);
        let other = Namer::new(b"alice", b"tablet").name(UnixMillis(0x0102_0304_0506), [9; 5]);
        assert_ne!(id, other);
    }

    #[test]
    fn what_an_earlier_process_has_sent_is_as_old_as_that_says_on_the_wall_clock_alone() {
        let hour = Duration::from_hours(1);
        let (time, wall) = (Time::from_nanos(0) + 20 * hour, UnixMillis(1_000_000_000_000));
        let earlier = UnixMillis(wall.0 - hour.as_millis() as u64);
        let restore = |first| Request::restore([1; 16], "chat", "bob", "hello", first);
        let (sent, unsent) = (restore(Some(earlier)), restore(None));
        assert_eq!((sent.again, sent.number.age(time, wall)), (true, hour), "this process runs for longer");
        assert_eq!((unsent.again, unsent.number.age(time, wall)), (false, Duration::ZERO));
        [&sent, &unsent].into_iter().for_each(|request| request.number.sent(time, wall));
        let later = UnixMillis(wall.0 + 1);
        assert_eq!(
            sent.number.age(time, later),
            hour + Duration::from_millis(1),
            "it is no younger for that"
        );
        assert_eq!(unsent.number.age(time + hour, later), hour);
    }

    #[test]
    fn what_is_said_is_not_shown() {
        let said = || Bytes::from_static(b"CANARY");
        let request = Request {
            id: [7; 16],
            route: "echo".to_owned(),
            key: Bytes::new(),
            payload: said(),
            again: false,
            number: Arc::default(),
        };
        let push = Push { id: Bytes::new(), payload: said(), room: Bytes::new(), sequence: 0, gap: 0 };
        let outcome = Outcome::Answered { status: 0, payload: said() };
        let shown = format!("{request:?} {push:?} {outcome:?}");
        assert!(!shown.contains("CANARY") && !shown.contains(&format!("{:?}", &said()[..])), "{shown}");
        assert_eq!(shown.matches("*** 6 B").count(), 3, "{shown}");
    }

    #[test]
    fn a_refusal_keeps_its_number_even_if_it_is_unknown() {
        let refused = |code| {
            Outcome::of(&frame::Response {
                outcome: frame::Outcome::Refused,
                code,
                retry_after_ms: 7,
                ..frame::Response::default()
            })
        };
        let retry_after = Duration::from_millis(7);
        let busy = Outcome::Refused { reason: Reason::Refusal(Refusal::Busy), retry_after };
        assert_eq!(refused(1), busy);
        assert_eq!(refused(77), Outcome::Refused { reason: Reason::Other(77), retry_after });
        assert_eq!(refused(7), Outcome::Refused { reason: Reason::Refusal(Refusal::Behind), retry_after });
    }

    #[test]
    fn what_was_answered_before_is_told_from_what_was_not_and_an_unknown_cause_says_nothing() {
        let unknown = |code| {
            let outcome = frame::Outcome::Unknown;
            Outcome::of(&frame::Response { outcome, code, ..frame::Response::default() })
        };
        assert_eq!(unknown(1), Outcome::Unknown { doubt: Doubt::AnsweredBefore });
        for code in [0, 2, 77] {
            assert_eq!(unknown(code), Outcome::Unknown { doubt: Doubt::NotAnswered });
        }
    }
}
