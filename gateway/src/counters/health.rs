//! How a worker fares with each endpoint: written by the worker, read by the control thread, which tells operators.

use std::fmt;

use driver::Errno;
use protocol::Error;

use super::cell::{Cell, Label};

/// One worker's dealings with one endpoint.
#[derive(Debug, Default)]
pub struct Health {
    /// 1 while the stream is open, 0 otherwise.
    pub open: Cell,
    /// 1 while it is open but left out, because it answered too late too often.
    pub left_out: Cell,
    /// Dials that led to no open stream.
    pub dials_failed: Cell,
    /// Open streams that ended.
    pub lost: Cell,
    reason: Cell,
}

/// Why there is no stream, or was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The operating system's.
    Errno(Errno),
    /// The backend ended the stream.
    Ended,
    /// It did so before the stream was open.
    Shut,
    /// Not the gateway's own user listens on the Unix socket of a clear stream.
    OtherUser,
    /// The backend broke this rule.
    Broke(&'static str),
}

impl Health {
    /// A dial led to nothing.
    pub fn failed(&self, reason: Reason) {
        self.dials_failed.add(1);
        self.open.set(0);
        self.reason.set(reason.to_number());
    }

    /// The stream is open.
    pub fn opened(&self) {
        self.open.set(1);
        self.left_out.set(0);
    }

    /// The stream ended, or the one that was being opened.
    pub fn ended(&self, reason: Reason) {
        if self.open.get() == 0 {
            return self.failed(if reason == Reason::Ended { Reason::Shut } else { reason });
        }
        self.lost.add(1);
        self.open.set(0);
        self.left_out.set(0);
        self.reason.set(reason.to_number());
    }

    /// Why the last dial failed or the last stream ended, if there was one.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        Reason::from_number(self.reason.get())
    }
}

/// Numbers from here on stand for [`Reason::Broke`]; below them, but for three, for error numbers of the system.
const BROKE: u64 = 1 << 32;
const ENDED: u64 = BROKE - 1;
const SHUT: u64 = BROKE - 2;
const OTHER_USER: u64 = BROKE - 3;

impl Reason {
    /// The broken rule of an error.
    #[must_use]
    pub fn broke(error: Error) -> Self {
        Self::Broke(error.name())
    }

    fn to_number(self) -> u64 {
        match self {
            Self::Errno(Errno(errno)) => u64::from(errno.unsigned_abs()),
            Self::Ended => ENDED,
            Self::Shut => SHUT,
            Self::OtherUser => OTHER_USER,
            Self::Broke(name) => {
                let at = Error::names().iter().position(|known| *known == name);
                BROKE + at.unwrap_or(Error::names().len() - 1) as u64
            }
        }
    }

    fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => None,
            ENDED => Some(Self::Ended),
            SHUT => Some(Self::Shut),
            OTHER_USER => Some(Self::OtherUser),
            BROKE.. => {
                let names = Error::names();
                let at = usize::try_from(number - BROKE).unwrap_or(usize::MAX);
                Some(Self::Broke(names.get(at).copied().unwrap_or("other")))
            }
            errno => i32::try_from(errno).ok().map(|errno| Self::Errno(Errno(errno))),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(Errno(errno)) => write!(f, "{}", std::io::Error::from_raw_os_error(*errno)),
            Self::Ended => f.write_str("the backend ended the stream"),
            Self::Shut => f.write_str(
                "the backend ended the stream before it was open; does it know this gateway's public key?",
            ),
            Self::OtherUser => f.write_str(
                "another user listens on this Unix socket; run gateway and backend as one user, or give the backend a `key`",
            ),
            Self::Broke("handshake") => {
                f.write_str("the handshake failed; do both sides have each other's public key?")
            }
            Self::Broke("handshake_timeout") => f.write_str("no answer to the handshake in time"),
            Self::Broke(name) => write!(
                f,
                "the other end broke the rule {name} of the stream protocol; is it a backend for this version of the gateway?"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_read_as_it_was_written() {
        let health = Health::default();
        assert_eq!(health.reason(), None);
        let broken =
            [Error::Handshake, Error::HeartbeatTimeout, Error::RecordLength(70_000)].map(Reason::broke);
        let others =
            [Reason::Errno(Errno(libc::ECONNREFUSED)), Reason::Ended, Reason::Shut, Reason::OtherUser];
        for reason in others.into_iter().chain(broken) {
            health.failed(reason);
            assert_eq!(health.reason(), Some(reason));
        }
        assert_eq!(health.dials_failed.get(), 7);
        assert!(Reason::Errno(Errno(libc::ECONNREFUSED)).to_string().starts_with("Connection refused"));
    }
}
