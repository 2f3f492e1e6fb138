//! Backends that asked for it learn of links that open and close: one endpoint of each such route, by hash of the
//! user. A backend that comes back is told of the links it missed, a few per turn.
//!
//! Which endpoint that is changes while a link lives: one dies, one is left out for a while, one comes back. So each
//! stream remembers whom it was told of, and hears of the end of exactly these links.

use driver::Token;
use protocol::wire::stream::{LinkClosed, LinkOpened};

use super::Core;
use crate::link::Link;
use crate::session::Session;
use crate::upstream::StreamIndex;

/// Links looked at per turn for a stream that has come back.
const ANNOUNCED_PER_TURN: u32 = 1024;

/// The links a stream was told of, one bit per slot.
#[derive(Debug)]
pub(super) struct Told(Box<[u64]>);

impl Told {
    /// Nobody yet, of this many slots.
    pub(super) fn nobody(slots: u32) -> Self {
        Self(vec![0; slots.div_ceil(64) as usize].into())
    }

    /// Notes a link; whether it is news.
    fn insert(&mut self, slot: u32) -> bool {
        let (word, bit) = (&mut self.0[slot as usize / 64], 1 << (slot % 64));
        let news = *word & bit == 0;
        *word |= bit;
        news
    }

    /// Forgets a link; whether it was there.
    fn remove(&mut self, slot: u32) -> bool {
        let (word, bit) = (&mut self.0[slot as usize / 64], 1 << (slot % 64));
        let known = *word & bit != 0;
        *word &= !bit;
        known
    }

    /// The stream has ended, and its backend forgets all links.
    pub(super) fn clear(&mut self) {
        self.0.fill(0);
    }
}

impl Core {
    /// The link is authenticated.
    pub(super) fn announce_opened(&mut self, token: Token) {
        let Some(user) = self.user_hash(token) else { return };
        self.presence.clear();
        self.presence.extend(self.routes.presence(user));
        for index in 0..self.presence.len() {
            self.announce_to(self.presence[index], token);
        }
    }

    /// The link's session has ended.
    pub(super) fn announce_closed(&mut self, token: Token, session: &Session, code: Option<u32>) {
        let link = self.link_id(token).number();
        let closed = LinkClosed {
            link,
            user: session.user(),
            device: session.device(),
            session: session.id(),
            code: code.unwrap_or(0),
            link_epoch: 0,
        };
        for index in 0..self.streams.len() {
            if self.streams[index].told.remove(token.slot) {
                self.streams[index].control(|machine| machine.link_closed(&closed));
                self.mark_stream(StreamIndex(index as u16));
            }
        }
    }

    /// Tells streams that have just become ready of the links that were there before.
    pub(super) fn announce_missed(&mut self) {
        for index in 0..self.streams.len() {
            let stream = StreamIndex(index as u16);
            let Some(from) = self.streams[index].announced_to.filter(|_| self.streams[index].has_leisure())
            else {
                continue;
            };
            let to = (from + ANNOUNCED_PER_TURN).min(self.links.slots_used());
            for slot in from..to {
                self.announce_missed_link(stream, slot);
            }
            self.streams[index].announced_to = (to < self.links.slots_used()).then_some(to);
        }
    }

    /// Whether a stream still has to be told of links, and can be: one with much to send is waited for.
    pub(super) fn has_missed(&self) -> bool {
        self.streams.iter().any(|stream| stream.announced_to.is_some() && stream.has_leisure())
    }

    fn announce_missed_link(&mut self, stream: StreamIndex, slot: u32) {
        let Some(link) = self.links.at(slot) else { return };
        if !link.machine.is_live() {
            return;
        }
        let token = link.token;
        let Some(user) = self.user_hash(token) else { return };
        if self.routes.presence(user).any(|told| told == stream) {
            self.announce_to(stream, token);
        }
    }

    fn announce_to(&mut self, stream: StreamIndex, token: Token) {
        let id = self.link_id(token).number();
        let Some(Link { session: Some(at), peer, machine, .. }) = self.links.get(token) else { return };
        let Some((_, session)) = self.sessions.at(at.get()) else { return };
        let Some(((_, suite, key), origin)) = machine.binding().zip(machine.origin()) else { return };
        let opened = LinkOpened {
            link: id,
            user: session.user(),
            device: session.device(),
            session: session.id(),
            address: peer.octets(),
            port: peer.port().into(),
            suite: suite.byte().into(),
            login_ms: session.login().0,
            origin_suite: origin.byte().into(),
            peer_key: key.map_or(&[], |key| &key.0),
            ..LinkOpened::default()
        };
        let stream_told = &mut self.streams[usize::from(stream.0)];
        if stream_told.told.insert(token.slot) {
            stream_told.control(|machine| machine.link_opened(&opened));
            self.mark_stream(stream);
        }
    }
}
