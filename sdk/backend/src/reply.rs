//! What a handler comes to.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use protocol::Refusal;
use protocol::hidden::Hidden;
use protocol::wire::stream::StreamResponse;

/// The status of a reply that was longer than the gateway takes: the handler ran, its payload is lost. It is this
/// SDK's own choice among the statuses, which otherwise belong to the routes.
pub const STATUS_REPLY_TOO_LARGE: u32 = u32::MAX;

/// The answer of a handler that took its time.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Reply {
    pub(crate) head: Head,
    pub(crate) payload: Bytes,
}

/// The answer of a handler that answers at once, written in place: its payload's buffer is used again and again.
#[derive(Default)]
pub struct Answer {
    pub(crate) head: Head,
    payload: Vec<u8>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("head", &self.head).field("payload", &Hidden(&self.payload)).finish()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("head", &self.head).field("payload", &Hidden(&self.payload)).finish()
    }
}

/// An answer without its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    status: u32,
    refused: bool,
    retry_after_ms: u32,
}

impl Head {
    pub(crate) const fn status(status: u32) -> Self {
        Self { status, refused: false, retry_after_ms: 0 }
    }

    pub(crate) fn refused(refusal: Refusal, retry_after: Duration) -> Self {
        let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
        Self { status: refusal.number(), refused: true, retry_after_ms }
    }

    pub(crate) fn frame(self, call: u64, trace: u64, payload: &[u8]) -> StreamResponse<'_> {
        let Self { status, refused, retry_after_ms } = self;
        StreamResponse { call, status, payload, refused, retry_after_ms, trace }
    }
}

impl Reply {
    /// Success.
    #[must_use]
    pub fn ok(payload: impl Into<Bytes>) -> Self {
        Self { head: Head::status(0), payload: payload.into() }
    }

    /// A status of the route's own; 0 is success.
    #[must_use]
    pub fn status(status: u32, payload: impl Into<Bytes>) -> Self {
        Self { head: Head::status(status), payload: payload.into() }
    }

    /// Nothing has happened; the client may send the same request again.
    #[must_use]
    pub fn refused(refusal: Refusal, retry_after: Duration) -> Self {
        Self { head: Head::refused(refusal, retry_after), payload: Bytes::new() }
    }
}

/// Why a request was not done. Nothing has happened; the client may send the same one again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Refusal,
    /// When to try again; zero leaves it to the client.
    pub retry_after: Duration,
}

impl From<Refusal> for Refused {
    fn from(reason: Refusal) -> Self {
        Self { reason, retry_after: Duration::ZERO }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {}", self.reason.name())
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for Reply {
    fn from(refused: Refused) -> Self {
        Self::refused(refused.reason, refused.retry_after)
    }
}

impl From<Refusal> for Reply {
    fn from(reason: Refusal) -> Self {
        Refused::from(reason).into()
    }
}

/// What a handler may come to: a [`Reply`], or a [`Result`] whose error says how it is answered, such as [`Refused`],
/// [`Refusal`], or an error of the service's own with a `From` for [`Reply`].
pub trait IntoReply {
    /// The answer.
    fn into_reply(self) -> Reply;
}

impl IntoReply for Reply {
    fn into_reply(self) -> Reply {
        self
    }
}

impl<E: Into<Reply>> IntoReply for Result<Reply, E> {
    fn into_reply(self) -> Reply {
        self.unwrap_or_else(Into::into)
    }
}

impl Answer {
    /// The payload to send, empty at first.
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.payload
    }

    /// A status of the route's own; 0, which is success, unless set.
    pub fn set_status(&mut self, status: u32) {
        self.head = Head::status(status);
    }

    /// Nothing has happened; the client may send the same request again. The payload is dropped.
    pub fn refuse(&mut self, refusal: Refusal, retry_after: Duration) {
        self.head = Head::refused(refusal, retry_after);
        self.payload.clear();
    }

    pub(crate) fn reset(&mut self) {
        self.head = Head::default();
        self.payload.clear();
        // One long answer must not hold memory for ever.
        self.payload.shrink_to(ANSWER_KEPT_MAX);
    }

    pub(crate) fn written(&self) -> &[u8] {
        &self.payload
    }
}

/// How much of an answer's buffer is kept for the next one.
const ANSWER_KEPT_MAX: usize = 64 * 1024;
