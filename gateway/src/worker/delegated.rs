//! Authentication by a backend: the token goes out, a verdict comes back, or the link is told to try later.
//!
//! It fails closed: without a verdict in time nobody gets in. Verdicts find their link by token, so one that comes
//! too late meets nobody.

use std::time::Duration;

use driver::Token;
use protocol::wire::frame::Auth;
use protocol::wire::stream::{AuthResult, Authenticate};
use protocol::{CloseCode, Time, UnixMillis};

use super::Core;
use super::auth::{Proof, Wanted};
use super::settings::{self, Farewell};
use crate::collections::Key;
use crate::session::TicketRule;
use crate::upstream::StreamIndex;
use crate::upstream::route::Affinity;

/// A token that is being judged.
#[derive(Debug)]
pub(super) struct Judging {
    link: Token,
    stream: StreamIndex,
    device: Vec<u8>,
    /// Names the login.
    login: u64,
    heartbeat_ms: u32,
}

impl Core {
    /// Asks the route's backend for a verdict.
    pub(super) fn delegate_auth(&mut self, token: Token, auth: &Auth<'_>) {
        let settings::Auth::Delegated { route, deadline, .. } = &self.settings.auth else { return };
        let deadline = *deadline;
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let affinity = Affinity { user: self.hash.hash(auth.token), key: None, held_by: None };
        let pending = &self.pending;
        let chosen = self
            .routes
            .find(route.as_bytes())
            .and_then(|route| self.routes.choose(route, affinity, |stream| pending.len_of_stream(stream)));
        let Ok(stream) = chosen else {
            let farewell = self.try_later();
            return self.close(token, farewell);
        };
        let id = self.link_id(token).number();
        let login = self.login(auth.token);
        let Some(link) = self.links.get(token) else { return };
        let Some((h, suite, peer)) = link.machine.binding() else { return };
        let judging = Judging {
            link: token,
            stream,
            device: auth.device.to_vec(),
            login,
            heartbeat_ms: auth.heartbeat_ms,
        };
        let Ok(key) = self.judging.insert(judging) else {
            let farewell = self.try_later();
            return self.close(token, farewell);
        };
        let ask = Authenticate {
            call: number(key),
            link: id,
            token: auth.token,
            device: auth.device,
            user: auth.user,
            handshake: h,
            peer_key: peer.map_or(&[], |peer| &peer.0),
            suite: suite.byte().into(),
            address: link.peer.octets(),
            deadline_ms,
            signature: auth.signature,
            class: auth.class,
            realm: "",
        };
        self.streams[usize::from(stream.0)].control(|machine| machine.authenticate(&ask));
        self.mark_stream(stream);
        self.note_verdict(self.now + deadline, key);
    }

    /// Notes when a verdict is due. Those that came leave their times here: they go when there are as many as there may
    /// be verdicts under way.
    fn note_verdict(&mut self, deadline: Time, key: Key) {
        if self.verdicts_due.len() >= 2 * self.settings.auth.in_flight_max() as usize {
            self.verdicts_due.retain(|&(_, key)| self.judging.get(key).is_some());
        }
        self.verdicts_due.push_back((deadline, key));
    }

    /// Verdicts that did not come in time: nobody gets in without one.
    pub(super) fn expire_auths(&mut self) {
        while let Some(&(deadline, key)) = self.verdicts_due.front()
            && deadline <= self.now
        {
            self.verdicts_due.pop_front();
            if let Some(judging) = self.judging.remove(key) {
                let farewell = self.try_later();
                self.close(judging.link, farewell);
            }
        }
    }

    /// A backend's verdict.
    pub(super) fn judged(&mut self, stream: StreamIndex, result: &AuthResult<'_>) {
        let key = key(result.call);
        if self.judging.get(key).is_none_or(|judging| judging.stream != stream) {
            return;
        }
        let Some(judging) = self.judging.remove(key) else { return };
        if !self.links.get(judging.link).is_some_and(|link| link.machine.is_authenticating()) {
            return;
        }
        if !result.accepted {
            let code = if result.code == 0 { CloseCode::AuthFailed.number() } else { result.code };
            let retry_after = Duration::from_millis(result.retry_after_ms.into());
            let do_not_reconnect = result.do_not_reconnect;
            return self.refuse_auth(judging.link, Farewell { code, retry_after, do_not_reconnect });
        }
        let moment = |millis| (millis != 0).then_some(UnixMillis(millis));
        let expiry = moment(result.expires_ms);
        if expiry.is_some_and(|end| self.wall >= end) {
            return self.refuse_auth(judging.link, CloseCode::TokenExpired.into());
        }
        let wanted = Wanted { device: &judging.device, heartbeat_ms: judging.heartbeat_ms };
        let login = if result.login.is_empty() { judging.login } else { self.login(result.login) };
        let end = moment(result.ticket_ms.into()).map(|time| UnixMillis(self.wall.0.saturating_add(time.0)));
        let bound_key = result.bound_key.first_chunk().copied();
        let tickets = (!result.no_tickets).then_some(TicketRule { end, bound_key });
        let proof = Proof { login, time: self.wall, expiry, tickets };
        self.identified(judging.link, result.user, &wanted, proof);
    }

    /// A verdict that can be read and says nothing sensible: its link is let in as little as without one.
    pub(super) fn misjudged(&mut self, stream: StreamIndex, call: u64) {
        let key = key(call);
        if self.judging.get(key).is_some_and(|judging| judging.stream == stream)
            && let Some(judging) = self.judging.remove(key)
        {
            let farewell = self.try_later();
            self.close(judging.link, farewell);
        }
    }

    /// The stream has ended: its verdicts will not come.
    pub(super) fn abandon_auths(&mut self, stream: StreamIndex) {
        let waiting: Vec<_> =
            self.judging.iter().filter(|(_, judging)| judging.stream == stream).map(|(key, _)| key).collect();
        for key in waiting {
            if let Some(judging) = self.judging.remove(key) {
                let farewell = self.try_later();
                self.close(judging.link, farewell);
            }
        }
    }

    /// The link has ended: nobody waits for its verdict.
    pub(super) fn forget_auth(&mut self, token: Token) {
        // Links that were let in, of which many may end at once, have no verdict to come.
        if !self.links.get(token).is_some_and(|link| link.machine.is_authenticating()) {
            return;
        }
        let waiting = self.judging.iter().find(|(_, judging)| judging.link == token).map(|(key, _)| key);
        if let Some(key) = waiting {
            self.judging.remove(key);
        }
    }
}

fn number(key: Key) -> u64 {
    u64::from(key.generation) << 32 | u64::from(key.index)
}

fn key(call: u64) -> Key {
    Key { index: call as u32, generation: (call >> 32) as u32 }
}
