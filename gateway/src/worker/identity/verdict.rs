//! Authentication by a backend: the token goes out, a verdict comes back, or the link is told to try later.
//!
//! It fails closed: without a verdict in time nobody gets in. Verdicts find their link by token, so one that comes
//! too late meets nobody.

use std::time::Duration;

use driver::Token;
use protocol::wire::frame::Auth;
use protocol::wire::stream::AuthResult;
use protocol::{CloseCode, DeviceClass, Time, UnixMillis};

use super::asked::Judging;
use super::{Judge, limit_class};
use crate::session::{Proof, TicketRule};
use crate::upstream::StreamIndex;
use crate::worker::settings::Farewell;
use crate::worker::turn::Turn;

/// What a backend has said of a token.
#[derive(Debug)]
pub(in crate::worker) struct Verdict {
    /// Whose token it was.
    pub(in crate::worker) link: Token,
    /// Who the client is, or what it is to be told.
    pub(in crate::worker) outcome: Result<Proved, Farewell>,
}

/// Somebody of whom a backend has said who it is; the user's id stands in the verdict.
#[derive(Debug)]
pub(in crate::worker) struct Proved {
    /// The device named in the `Auth`.
    pub(in crate::worker) device: Vec<u8>,
    /// The interval wished for there.
    pub(in crate::worker) heartbeat_ms: u32,
    /// How the user was proved.
    pub(in crate::worker) proof: Proof,
}

impl Judge {
    /// Notes that a token is at a backend, and by when it has to answer; the number of the call. `None` when too many are.
    pub(in crate::worker) fn ask(
        &mut self,
        link: Token,
        stream: StreamIndex,
        auth: &Auth<'_>,
        deadline: Time,
    ) -> Option<u64> {
        let (device, heartbeat_ms) = (auth.device.to_vec(), auth.heartbeat_ms);
        let (login, class) = (self.name_of_login(auth.token), DeviceClass::of(auth.class));
        let judging = Judging { link, stream, device, login, heartbeat_ms, class };
        self.asked.insert(judging, deadline)
    }

    /// A backend's verdict, if this was asked of it and not yet given up.
    pub(in crate::worker) fn verdict(
        &mut self,
        turn: &Turn,
        stream: StreamIndex,
        result: &AuthResult<'_>,
    ) -> Option<Verdict> {
        let judging = self.asked.take(stream, result.call)?;
        Some(Verdict { link: judging.link, outcome: self.weigh(turn, judging, result) })
    }

    fn weigh(&self, turn: &Turn, judging: Judging, result: &AuthResult<'_>) -> Result<Proved, Farewell> {
        if !result.accepted {
            let code = if result.code == 0 { CloseCode::AuthFailed.number() } else { result.code };
            let retry_after = Duration::from_millis(result.retry_after_ms.into());
            return Err(Farewell { code, retry_after, do_not_reconnect: result.do_not_reconnect });
        }
        let moment = |millis| (millis != 0).then_some(UnixMillis(millis));
        let expiry = moment(result.expires_ms);
        if expiry.is_some_and(|end| turn.wall >= end) {
            return Err(CloseCode::TokenExpired.into());
        }
        let login = if result.login.is_empty() { judging.login } else { self.name_of_login(result.login) };
        let end = moment(result.ticket_ms.into()).map(|time| UnixMillis(turn.wall.0.saturating_add(time.0)));
        let bound_key = result.bound_key.first_chunk().copied();
        let tickets = (!result.no_tickets).then_some(TicketRule { end, bound_key });
        let proof = Proof {
            login,
            time: turn.wall,
            issued: turn.wall,
            expiry,
            tickets,
            class: DeviceClass::of(result.class).or(judging.class),
            limit_class: limit_class(turn, result.limit_class.as_bytes()),
        };
        Ok(Proved { device: judging.device, heartbeat_ms: judging.heartbeat_ms, proof })
    }

    /// A verdict that can be read and says nothing sensible: its link is let in as little as without one.
    pub(in crate::worker) fn misjudged(&mut self, stream: StreamIndex, call: u64) -> Option<Token> {
        self.asked.take(stream, call).map(|judging| judging.link)
    }

    /// Whose verdict did not come in time, and who was asked; called until `None`.
    pub(in crate::worker) fn overdue(&mut self, now: Time) -> Option<(Token, StreamIndex)> {
        self.asked.take_overdue(now).map(|judging| (judging.link, judging.stream))
    }

    /// When [`Judge::overdue`] is next worth calling.
    pub(in crate::worker) fn next_deadline(&self) -> Option<Time> {
        self.asked.next_deadline()
    }

    /// A stream has ended, and its verdicts will not come: whose those were.
    pub(in crate::worker) fn abandon(&mut self, stream: StreamIndex) -> Vec<Token> {
        self.asked.take_of_stream(stream)
    }

    /// A link has ended: nobody waits for its verdict.
    pub(in crate::worker) fn forget(&mut self, link: Token) {
        self.asked.forget(link);
        self.waiting.take(link);
    }

    /// Whether a backend is judging a token of this link.
    pub(in crate::worker) fn is_asked(&self, link: Token) -> bool {
        self.asked.has(link)
    }

    /// How many tokens are judged by backends, or wait to be verified.
    pub(in crate::worker) fn asked_len(&self) -> usize {
        self.asked.len() + self.waiting.len()
    }
}
