//! Why a link ended or could not be opened, and what that means for the next attempt.

use std::fmt;
use std::io;
use std::time::Duration;

use protocol::CloseCode;
use protocol::noise::preamble::{ClearReply, Rejection};

/// Why a link ended or could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The gateway closed the link and said why.
    Closed(Closed),
    /// The address could not be resolved or reached.
    Network(io::ErrorKind, String),
    /// The gateway hung up during the handshake without a word.
    Silence,
    /// The gateway answered the hello with its clear reply. Anybody on the path could have written it.
    Rejected(ClearReply),
    /// The connection broke, or ended without a `Close`.
    Cut,
    /// Connecting, handshake and authentication together took longer than [`Config::attempt_timeout`].
    ///
    /// [`Config::attempt_timeout`]: crate::Config::attempt_timeout
    Timeout,
    /// The gateway broke a rule of the protocol, or was not heard for too long.
    Protocol(protocol::Error),
    /// The credentials could not be had: what the callback said.
    Credentials(String),
    /// The token does not name this client's device key, so that whoever took the link could use it elsewhere. It was not sent.
    Unbound,
    /// The configuration cannot work: which part, and why.
    Config(&'static str),
    /// The application wanted a new link: [`Client::reconnect`](crate::Client::reconnect).
    Abandoned,
    /// The application put the client to sleep: [`Client::sleep`](crate::Client::sleep).
    Asleep,
    /// The application closed the client or dropped its last handle.
    Stopped,
}

/// A gateway's `Close`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Why; `None` for a number this version does not know.
    pub code: Option<CloseCode>,
    /// The number on the wire.
    pub number: u32,
    /// The time the gateway asked to stay away; zero if it named none.
    pub retry_after: Duration,
    /// The gateway forbade reconnecting.
    pub do_not_reconnect: bool,
    /// Whether it came on a link whose handshake proved the gateway's pinned key. On one with a ticket, whoever has stolen
    /// the ticket's secret may have said it: `do_not_reconnect` ends this client then, but must not be stored for the next.
    pub proved: bool,
    /// For a developer's eye.
    pub text: String,
}

/// What a client heeds of a `retry_after_ms`, so that nobody's mistake takes it away for weeks.
const STAY_AWAY_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The same of one that the thief of a ticket's secret could have sent.
const STAY_AWAY_MAX_UNPROVED: Duration = Duration::from_secs(5 * 60);

impl Error {
    pub(crate) fn network(error: &io::Error) -> Self {
        Self::Network(error.kind(), error.to_string())
    }

    /// Whether the client has to stay away until the application decides otherwise (SPEC.md, sections 8.8 and 13.1).
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Closed(closed) => {
                closed.do_not_reconnect
                    || closed.code == Some(CloseCode::Replaced)
                    || (closed.code == Some(CloseCode::Banned) && closed.retry_after.is_zero())
            }
            Self::Stopped | Self::Config(_) => true,
            _ => false,
        }
    }

    /// How long the client stays away because the gateway asked it to: a day at most, and five minutes where the link did
    /// not prove the gateway's pinned key (SPEC.md, section 8.8).
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Closed(closed) => {
                let most = if closed.proved { STAY_AWAY_MAX } else { STAY_AWAY_MAX_UNPROVED };
                closed.retry_after.min(most)
            }
            Self::Rejected(reply) => reply.busy_for(),
            _ => Duration::ZERO,
        }
    }

    /// Whether the gateway has no time for anybody just now.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::Rejected(reply) if reply.reason == Rejection::Busy as u8)
    }

    /// Whether the gateway has said that it will not go on with the session, whatever is shown to it (SPEC.md, sections 8.2 and 8.8).
    pub(crate) fn ends_session(&self) -> bool {
        let Self::Closed(Closed { code: Some(code), .. }) = self else { return false };
        use CloseCode::{AuthFailed, Banned, DeviceRefused, Kicked, Replaced, SessionEnded};
        matches!(code, AuthFailed | Replaced | Kicked | Banned | SessionEnded | DeviceRefused)
    }

    /// The code of a `Close` that says that the credentials are worth nothing any more.
    pub(crate) fn refused_credentials(&self) -> Option<CloseCode> {
        let Self::Closed(Closed { code: Some(code), .. }) = self else { return None };
        matches!(code, CloseCode::AuthFailed | CloseCode::TokenExpired | CloseCode::SessionEnded)
            .then_some(*code)
    }
}

impl Closed {
    pub(crate) fn new(close: &protocol::wire::frame::Close<'_>, proved: bool) -> Self {
        Self {
            code: CloseCode::from_number(close.code),
            number: close.code,
            retry_after: Duration::from_millis(close.retry_after_ms.into()),
            do_not_reconnect: close.do_not_reconnect,
            proved,
            text: close.text.to_owned(),
        }
    }
}

impl From<protocol::Error> for Error {
    fn from(error: protocol::Error) -> Self {
        Self::Protocol(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(closed) => closed.fmt(f),
            Self::Network(_, text) => f.write_str(text),
            Self::Silence => f.write_str(
                "the gateway hung up without a word: another server key, no gateway at this address, or a busy one",
            ),
            Self::Rejected(reply) => f.write_str(match reply.reason {
                reason if reason == Rejection::Version as u8 => "the gateway does not speak this version",
                reason if reason == Rejection::Suite as u8 => "the gateway allows none of our suites",
                reason if reason == Rejection::RetiredKey as u8 => "the gateway has retired the key we know",
                reason if reason == Rejection::Busy as u8 => "the gateway is busy",
                reason if reason == Rejection::TicketRefused as u8 => "the gateway refuses the ticket",
                _ => "the gateway cannot serve this hello",
            }),
            Self::Cut => f.write_str("the connection broke"),
            Self::Timeout => f.write_str("the gateway took too long to open the link"),
            Self::Protocol(protocol::Error::HeartbeatTimeout) => f.write_str("nothing was heard of the gateway"),
            Self::Protocol(error) => write!(f, "the gateway broke the protocol: {error}"),
            Self::Credentials(text) => write!(f, "no credentials: {text}"),
            Self::Unbound => f.write_str(
                "the token is not bound to this client's device key: without a server key only one is sent whose cnf.jwk names it",
            ),
            Self::Config(text) => write!(f, "configuration: {text}"),
            Self::Abandoned => f.write_str("the application wanted a new link"),
            Self::Asleep => f.write_str("the application put the client to sleep"),
            Self::Stopped => f.write_str("the client was closed"),
        }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "closed by the gateway: {}", code.name())?,
            None => write!(f, "closed by the gateway: code {}", self.number)?,
        }
        // Some gateways repeat the name.
        if !self.text.is_empty() && self.code.is_none_or(|code| code.name() != self.text) {
            write!(f, " ({})", self.text.escape_debug())?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: CloseCode) -> Closed {
        Closed {
            code: Some(code),
            number: code.number(),
            retry_after: Duration::ZERO,
            do_not_reconnect: false,
            proved: true,
            text: String::new(),
        }
    }

    #[test]
    fn without_the_flag_only_replaced_and_banned_for_good_forbid_coming_back() {
        for &code in CloseCode::ALL {
            let expected = matches!(code, CloseCode::Replaced | CloseCode::Banned);
            assert_eq!(Error::Closed(closed(code)).is_final(), expected, "{}", code.name());
            let flagged = Closed { do_not_reconnect: true, ..closed(code) };
            assert!(Error::Closed(flagged).is_final(), "{}", code.name());
        }
        let for_a_while = Closed { retry_after: Duration::from_secs(9), ..closed(CloseCode::Banned) };
        assert!(!Error::Closed(for_a_while).is_final());
        assert!(!Error::Cut.is_final() && !Error::Silence.is_final() && Error::Stopped.is_final());
    }

    #[test]
    fn a_session_outlives_every_end_that_was_not_meant_for_it() {
        use CloseCode::{AuthFailed, Banned, DeviceRefused, Kicked, Replaced, SessionEnded};
        for &code in CloseCode::ALL {
            let ends = [AuthFailed, Replaced, Kicked, Banned, SessionEnded, DeviceRefused].contains(&code);
            assert_eq!(Error::Closed(closed(code)).ends_session(), ends, "{}", code.name());
        }
        let others =
            [Error::Cut, Error::Silence, Error::Timeout, Error::Abandoned, Error::Asleep, Error::Stopped];
        assert!(others.iter().all(|error| !error.ends_session()));
    }

    #[test]
    fn nobody_sends_a_client_away_for_weeks_and_a_thief_not_for_hours() {
        let away = |secs, proved| {
            let closed =
                Closed { retry_after: Duration::from_secs(secs), proved, ..closed(CloseCode::GoingAway) };
            Error::Closed(closed).retry_after().as_secs()
        };
        assert_eq!((away(60, true), away(u32::MAX.into(), true)), (60, 86_400));
        assert_eq!((away(60, false), away(86_400, false)), (60, 300));
    }

    #[test]
    fn every_close_code_has_its_words() {
        for &code in CloseCode::ALL {
            let text = Error::Closed(closed(code)).to_string();
            assert!(text.ends_with(code.name()), "{text}");
        }
        let unknown = Closed { code: None, number: 99, text: "x\ny".to_owned(), ..closed(CloseCode::Normal) };
        assert_eq!(unknown.to_string(), "closed by the gateway: code 99 (x\\ny)");
    }
}
