//! A backend ends links: one, or all of a user, whose logins it may revoke as well, or those of one login, which it revokes.

use std::time::Duration;

use protocol::wire::stream::Kick;
use protocol::{CloseCode, Undelivered};

use crate::collections::Identity;
use crate::directory::revocations::Revoked;
use crate::id::LinkId;
use crate::worker::links::Cause;
use crate::worker::parts::Parts;
use crate::worker::post::Letter;
use crate::worker::sessions::Gone;
use crate::worker::settings::Farewell;

impl Parts {
    /// A backend's word. It goes by letter even to this very worker, so that it stands behind what came before it.
    pub(super) fn kick(&mut self, kick: &Kick<'_>) {
        if !self.is_of_our_realm(kick.realm) {
            return;
        }
        let code = if kick.code == 0 { CloseCode::Kicked.number() } else { kick.code };
        let farewell =
            Farewell { code, retry_after: Duration::ZERO, do_not_reconnect: kick.do_not_reconnect };
        let sent = if kick.link != 0 {
            let link = LinkId::from_number(kick.link);
            self.letters.send_if_room(&self.turn, link.worker(), Letter::End { link, farewell })
        } else {
            let user = self.sessions.name_of(kick.user);
            let device = (!kick.device.is_empty()).then(|| self.sessions.name_of(kick.device));
            let owner = self.sessions.owner_of(user);
            let revoked = match kick.login {
                [] => kick.revoke.then_some(Revoked::UpTo(self.turn.wall)),
                login => Some(Revoked::Login(self.identity.name_of_login(login))),
            };
            let letter = Letter::EndUser { user, device, farewell, revoked };
            match revoked {
                Some(_) => self.letters.send_revocation(&self.turn, owner, letter),
                None => self.letters.send_if_room(&self.turn, owner, letter),
            }
        };
        match sent {
            Ok(()) => {}
            Err(Letter::End { link, farewell }) => self.end_own(link, farewell),
            Err(Letter::EndUser { user, device, farewell, revoked }) => {
                self.end_user(user, device, farewell, revoked);
            }
            Err(_) => unreachable!("what comes back is what was sent"),
        }
    }

    /// Ends a link of this worker, or the session that waits since it is gone, or the link by which that went on.
    pub(super) fn end_own(&mut self, mut link: LinkId, farewell: Farewell) {
        while let Some(token) = self.own(link) {
            if let Some(detached) = self.sessions.take_detached(link) {
                return self.end_session(&detached, Some(farewell.code), Undelivered::LinkClosed);
            }
            if let Some(awaiting) = self.sessions.awaiting(link)
                && awaiting.is_gone()
            {
                awaiting.end(Gone::Over(Some(farewell.code)));
                return;
            }
            let Some(next) = self.sessions.moved_to(link) else {
                return self.links.mark(token, Cause::Kick(farewell));
            };
            link = next;
        }
        let letter = Letter::End { link, farewell };
        let sent = self.letters.send_if_room(&self.turn, link.worker(), letter);
        debug_assert!(sent.is_ok(), "only letters to oneself come back");
    }

    /// Owner's side: all links of a user end, or the one of a device, or those of the one login that is revoked. What is revoked
    /// has no claim from now on; of claims that came before, the links are found here.
    pub(super) fn end_user(
        &mut self,
        user: Identity,
        device: Option<Identity>,
        farewell: Farewell,
        revoked: Option<Revoked>,
    ) {
        if let Some(revoked) = revoked {
            self.sessions.revoke(user, revoked, self.turn.now);
        }
        let mut found = std::mem::take(&mut self.turn.receivers);
        match revoked {
            Some(Revoked::Login(login)) => found.extend(self.sessions.lookup_login(user, login)),
            _ => found.extend(self.sessions.lookup(user, device)),
        }
        for link in found.drain(..) {
            if self.own(link).is_some() {
                self.end_own(link, farewell);
                continue;
            }
            let letter = Letter::End { link, farewell };
            // One that is in by what is revoked would stay for as long as its token is good.
            let sent = match revoked {
                Some(_) => self.letters.send_revocation(&self.turn, link.worker(), letter),
                None => self.letters.send_if_room(&self.turn, link.worker(), letter),
            };
            debug_assert!(sent.is_ok(), "only letters to oneself come back");
        }
        self.turn.receivers = found;
    }
}
