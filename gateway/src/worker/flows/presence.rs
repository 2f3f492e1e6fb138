//! Backends that asked for it learn of links that open and close: one endpoint of each such route, by hash of the
//! user. A backend that comes back is told of the links it missed, a few per turn.

use driver::Token;
use protocol::wire::stream::{LinkClosed, LinkOpened};

use crate::session::Session;
use crate::upstream::StreamIndex;
use crate::worker::parts::Parts;

impl Parts {
    /// The link is authenticated.
    pub(super) fn announce_opened(&mut self, token: Token) {
        let Some(session) = self.links.session(token).and_then(|key| self.sessions.get(key)) else { return };
        let mut told = std::mem::take(&mut self.turn.told);
        told.extend(self.streams.presence(session.user()));
        for stream in told.drain(..) {
            self.announce_to(stream, token);
        }
        self.turn.told = told;
    }

    /// The session of a link has ended. `code` is what was said at the end, `None` if the link just broke.
    pub(super) fn announce_closed(&mut self, token: Token, session: &Session, code: Option<u32>) {
        let closed = LinkClosed {
            link: self.link_id(token).number(),
            user: session.user(),
            device: session.device(),
            session: session.id(),
            code: code.unwrap_or(0),
            link_epoch: session.link_epoch(),
        };
        self.streams.link_closed(token.slot, &closed);
    }

    /// Tells streams that have just become ready of the links that were there before.
    pub(in crate::worker) fn announce_missed(&mut self) {
        for stream in self.streams.all() {
            let budget = self.turn.settings.budgets.announcements;
            let Some(slots) = self.streams.missed_by(stream, self.links.slots_used(), budget) else {
                continue;
            };
            for slot in slots {
                if let Some(token) = self.links.in_slot(slot) {
                    self.announce_missed_link(stream, token);
                }
            }
            self.streams.end_announcing(stream);
        }
    }

    fn announce_missed_link(&mut self, stream: StreamIndex, token: Token) {
        if !self.links.is_live(token) {
            return;
        }
        let Some(session) = self.links.session(token).and_then(|key| self.sessions.get(key)) else { return };
        if self.streams.presence(session.user()).any(|told| told == stream) {
            self.announce_to(stream, token);
        }
    }

    fn announce_to(&mut self, stream: StreamIndex, token: Token) {
        let link = self.link_id(token).number();
        let Some(session) = self.links.session(token).and_then(|key| self.sessions.get(key)) else { return };
        let (Some(peer), Some(machine)) = (self.links.peer(token), self.links.machine(token)) else { return };
        let Some(((_, suite, key), origin)) = machine.binding().zip(machine.origin()) else { return };
        let opened = LinkOpened {
            link,
            user: session.user(),
            device: session.device(),
            session: session.id(),
            address: peer.octets(),
            port: peer.port().into(),
            suite: suite.byte().into(),
            login_ms: session.login().0,
            origin_suite: origin.byte().into(),
            peer_key: key.map_or(&[], |key| &key.0),
            class: session.class().number(),
            link_epoch: session.link_epoch(),
            ..LinkOpened::default()
        };
        self.streams.link_opened(stream, token.slot, &opened);
    }
}
