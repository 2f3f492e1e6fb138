//! Links by the stream that told of them, and what follows from each event.
//!
//! ```text
//!   LinkOpened ──► held ──────── LinkClosed, a later link of its device ──► gone
//!                   │ ▲
//!      LinkDetached │ │ LinkResumed: under the new link, at the stream that says so
//!                   ▼ │
//!                waiting ─────── LinkClosed ──► gone
//!
//!   the stream ends ──► lost: nobody sees it, until the worker's next stream has told of it again, or another one says that its
//!                       session goes on there; or the worker's next stream has told of all and not of it ──► gone
//! ```
//!
//! Streams of several workers are read side by side, so what one says may be read before what another one said earlier.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use protocol::UnixMillis;
use protocol::wire::stream::{LinkClosed, LinkDetached, LinkOpened, Resumed};

use crate::gateway::Gateway;
use crate::service::Event;

/// All of them.
pub(super) struct Links {
    most: usize,
    /// By the stream: one that ends takes its links with it, and neither its end nor the growth of a table takes long enough to
    /// let the others wait.
    streams: HashMap<u64, Stream>,
    len: usize,
    left_out: u64,
}

/// What is kept of a link.
pub(super) struct Held {
    user: Bytes,
    pub(super) device: Bytes,
    pub(super) epoch: u64,
    pub(super) detached_until: Option<UnixMillis>,
}

/// The links that one stream has told of.
pub(super) struct Stream {
    gateway: Gateway,
    links: HashMap<u64, Held>,
    /// Links of each user.
    users: HashMap<Bytes, Vec<u64>>,
    /// Those whose session waits for another one.
    detached: HashSet<u64>,
    /// As what links go on here of which nobody has told yet.
    early: HashMap<u64, Next>,
    is_complete: bool,
    /// It has ended, and its links are lost.
    is_over: bool,
}

/// The link a session has by now.
struct Next {
    /// 0 if it is closed.
    link: u64,
    epoch: u64,
    detached_until: Option<UnixMillis>,
}

/// Sessions of one stream that may go on before their old links have been told.
const EARLY_MAX: usize = 1024;

impl Links {
    pub(super) fn new(most: usize) -> Self {
        Self { most, streams: HashMap::new(), len: 0, left_out: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(super) fn is_complete(&self) -> bool {
        self.live().all(|stream| stream.is_complete)
    }

    /// Shows every link of a user, with its stream.
    pub(super) fn of_user(&self, user: &[u8], mut show: impl FnMut(u64, &Held, &Gateway)) {
        for stream in self.live() {
            stream.held_of(user).for_each(|(link, held)| show(link, held, &stream.gateway));
        }
    }

    /// How many links are lost.
    #[cfg(test)]
    pub(super) fn lost(&self) -> usize {
        self.streams.values().filter(|stream| stream.is_over).map(|stream| stream.links.len()).sum()
    }

    fn live(&self) -> impl Iterator<Item = &Stream> {
        self.streams.values().filter(|stream| !stream.is_over)
    }

    /// Notes an event. What it makes superfluous is handed back, as dropping it may take a while.
    pub(super) fn hear(&mut self, event: &Event<'_>, gateway: &Gateway) -> Vec<Stream> {
        let is_live = self.streams.get(&gateway.id()).is_some_and(|stream| !stream.is_over);
        match event {
            Event::Opened => return self.opened(gateway),
            _ if !is_live => {}
            Event::LinkOpened(opened) => self.link_opened(opened, gateway),
            Event::LinkDetached(detached) => self.link_detached(detached, gateway),
            Event::LinkResumed(resumed) => self.link_resumed(*resumed, gateway),
            Event::LinkClosed(closed) => self.link_closed(closed, gateway),
            Event::Announced => return self.announced(gateway),
            Event::Closed(_) => return self.closed(gateway),
            Event::Report(_) | Event::KickUnknown(_) | Event::SanctionUnknown(_) => {}
        }
        Vec::new()
    }

    /// What an earlier start of the gateway's worker has lost does not come back.
    fn opened(&mut self, gateway: &Gateway) -> Vec<Stream> {
        let place = gateway.place();
        let is_past = |stream: &Stream| {
            stream.is_over && stream.gateway.boot_id() != gateway.boot_id() && stream.gateway.place() == place
        };
        let past = self.streams.extract_if(|_, stream| is_past(stream)).map(|(_, stream)| stream).collect();
        self.streams.insert(gateway.id(), Stream::new(gateway));
        past
    }

    fn link_opened(&mut self, opened: &LinkOpened<'_>, gateway: &Gateway) {
        if self.streams.get(&gateway.id()).is_none_or(|stream| stream.links.contains_key(&opened.link)) {
            return;
        }
        let (user, device) = (Bytes::copy_from_slice(opened.user), Bytes::copy_from_slice(opened.device));
        let held = Held { user, device, epoch: opened.link_epoch, detached_until: None };
        self.put_latest(opened.link, held, gateway);
    }

    fn link_detached(&mut self, detached: &LinkDetached<'_>, gateway: &Gateway) {
        let until = Some(UnixMillis(detached.until_ms));
        let Some(at) = self.find(detached.link, gateway) else {
            return self.next_under(detached.link, gateway).for_each(|next| next.detached_until = until);
        };
        if let Some(stream) = self.streams.get_mut(&at)
            && let Some(held) = stream.links.get_mut(&detached.link)
            && !is_older(detached.link_epoch, held.epoch)
        {
            held.detached_until = until;
            stream.detached.insert(detached.link);
        }
    }

    fn link_resumed(&mut self, resumed: Resumed, gateway: &Gateway) {
        let Resumed { old_link, link, link_epoch: epoch } = resumed;
        let Some(at) = self.find(old_link, gateway) else {
            // Of its old link nobody has told yet, or it was left out.
            if let Some(stream) = self.streams.get_mut(&gateway.id())
                && stream.early.len() < EARLY_MAX
            {
                stream.early.insert(old_link, Next { link, epoch, detached_until: None });
            }
            return;
        };
        let is_past =
            |stream: &Stream| stream.links.get(&old_link).is_some_and(|old| is_older(epoch, old.epoch));
        if self.streams.get(&at).is_some_and(is_past) {
            return;
        }
        if let Some(held) = self.take(at, old_link)
            && self.find(link, gateway).is_none()
        {
            self.put_latest(link, Held { epoch, detached_until: None, ..held }, gateway);
        }
    }

    fn link_closed(&mut self, closed: &LinkClosed<'_>, gateway: &Gateway) {
        match self.find(closed.link, gateway) {
            Some(at) => _ = self.take(at, closed.link),
            None => self.next_under(closed.link, gateway).for_each(|next| next.link = 0),
        }
    }

    /// Whatever the worker's former streams have told of and this one has not is gone, except sessions that wait: they have no
    /// link that could be told of.
    fn announced(&mut self, gateway: &Gateway) -> Vec<Stream> {
        if let Some(stream) = self.streams.get_mut(&gateway.id()) {
            stream.is_complete = true;
        }
        let mut left = Vec::new();
        for stream in self.streams.values_mut() {
            if stream.is_over && stream.gateway.worker_id() == gateway.worker_id() {
                let waiting = stream.take_detached();
                left.push(std::mem::replace(stream, waiting));
            }
        }
        self.streams.retain(|_, stream| !stream.is_over || !stream.links.is_empty());
        left
    }

    /// The links of a stream that has ended are lost. Of a worker's former streams the last one that had told of all is kept.
    fn closed(&mut self, gateway: &Gateway) -> Vec<Stream> {
        let Some(mut ended) = self.streams.remove(&gateway.id()) else { return Vec::new() };
        self.len -= ended.links.len();
        let worker = gateway.worker_id();
        let former = |stream: &Stream| stream.is_over && stream.gateway.worker_id() == worker;
        if !ended.is_complete && self.streams.values().any(former) {
            return vec![ended];
        }
        let mut left: Vec<Stream> =
            self.streams.extract_if(|_, stream| former(stream)).map(|(_, stream)| stream).collect();
        (ended.is_over, ended.early) = (true, HashMap::new());
        self.streams.insert(gateway.id(), ended);
        left.extend(self.make_room());
        left
    }

    /// No more may be lost than held: those that were lost first go.
    fn make_room(&mut self) -> Vec<Stream> {
        let over = self.streams.iter().filter(|(_, stream)| stream.is_over);
        let mut lost: Vec<(u64, usize)> = over.map(|(id, stream)| (*id, stream.links.len())).collect();
        lost.sort_unstable();
        let mut sum: usize = lost.iter().map(|(_, len)| len).sum();
        let mut left = Vec::new();
        for (id, len) in lost {
            if sum > self.most || len == 0 {
                sum -= len;
                left.extend(self.streams.remove(&id));
            }
        }
        left
    }

    /// Which stream has told of a link, the event's own first. The others of its gateway may have lost it.
    fn find(&self, link: u64, gateway: &Gateway) -> Option<u64> {
        let own = self.streams.get(&gateway.id()).filter(|own| own.links.contains_key(&link));
        if own.is_some() {
            return Some(gateway.id());
        }
        let has = |stream: &Stream| stream.is_of(gateway) && stream.links.contains_key(&link);
        self.streams.iter().find(|(_, stream)| has(stream)).map(|(id, _)| *id)
    }

    fn take(&mut self, at: u64, link: u64) -> Option<Held> {
        let stream = self.streams.get_mut(&at)?;
        let held = stream.remove(link)?;
        self.len -= usize::from(!stream.is_over);
        Some(held)
    }

    /// One more link of a live stream. Of a device the latest counts; a link whose number is not said is like no other.
    fn put(&mut self, at: u64, link: u64, held: Held) {
        let Some(stream) = self.streams.get(&at) else { return };
        let (gateway, mut earlier) = (stream.gateway.clone(), Vec::new());
        for (id, stream) in self.streams.iter().filter(|(_, stream)| stream.is_of(&gateway)) {
            for (other, its) in stream.held_of(&held.user).filter(|(_, its)| its.device == held.device) {
                if is_older(held.epoch, its.epoch) {
                    return;
                }
                if is_older(its.epoch, held.epoch) || other == link {
                    earlier.push((*id, other));
                }
            }
        }
        for (id, other) in earlier {
            self.take(id, other);
        }
        if self.len >= self.most {
            self.left_out += 1;
        } else if let Some(stream) = self.streams.get_mut(&at) {
            stream.insert(link, held);
            self.len += 1;
        }
    }

    /// One more link, which may have gone on as another one already, or be closed, at a stream that was read earlier.
    fn put_latest(&mut self, mut link: u64, mut held: Held, gateway: &Gateway) {
        let mut at = gateway.id();
        while let Some((stream, next)) = self.take_next(link, gateway) {
            if next.link == 0 {
                return;
            }
            (at, link) = (stream, next.link);
            (held.epoch, held.detached_until) = (next.epoch, next.detached_until);
        }
        self.put(at, link, held);
    }

    /// As what a link has gone on, and which stream says so.
    fn take_next(&mut self, link: u64, gateway: &Gateway) -> Option<(u64, Next)> {
        let mut streams = self.streams.iter_mut().filter(|(_, stream)| stream.is_of(gateway));
        streams.find_map(|(id, stream)| Some((*id, stream.early.remove(&link)?)))
    }

    /// Links of which it is only known that others go on as this one.
    fn next_under(&mut self, link: u64, gateway: &Gateway) -> impl Iterator<Item = &mut Next> {
        let streams = self.streams.values_mut().filter(|stream| stream.is_of(gateway));
        streams.flat_map(|stream| stream.early.values_mut()).filter(move |next| next.link == link)
    }
}

impl Stream {
    fn new(gateway: &Gateway) -> Self {
        Self {
            gateway: gateway.clone(),
            links: HashMap::new(),
            users: HashMap::new(),
            detached: HashSet::new(),
            early: HashMap::new(),
            is_complete: false,
            is_over: false,
        }
    }

    /// Whether it is one of this start of a gateway.
    fn is_of(&self, gateway: &Gateway) -> bool {
        self.gateway.boot_id() == gateway.boot_id()
    }

    fn insert(&mut self, link: u64, held: Held) {
        self.users.entry(held.user.clone()).or_default().push(link);
        if held.detached_until.is_some() {
            self.detached.insert(link);
        }
        self.links.insert(link, held);
    }

    fn remove(&mut self, link: u64) -> Option<Held> {
        let held = self.links.remove(&link)?;
        self.detached.remove(&link);
        if let Some(links) = self.users.get_mut(&held.user) {
            links.retain(|other| *other != link);
            if links.is_empty() {
                self.users.remove(&held.user);
            }
        }
        Some(held)
    }

    /// A stream like this one with nothing but the sessions that wait, which are taken out of it.
    fn take_detached(&mut self) -> Self {
        let mut waiting =
            Self { is_over: self.is_over, is_complete: self.is_complete, ..Self::new(&self.gateway) };
        for link in std::mem::take(&mut self.detached) {
            if let Some(held) = self.remove(link) {
                waiting.insert(link, held);
            }
        }
        waiting
    }

    fn held_of(&self, user: &[u8]) -> impl Iterator<Item = (u64, &Held)> {
        let links = self.users.get(user).map_or(&[][..], Vec::as_slice);
        links.iter().filter_map(|link| Some((*link, self.links.get(link)?)))
    }
}

/// Whether a number of a link says that it is earlier than another one; 0 says nothing (SPEC 11.7).
const fn is_older(epoch: u64, than: u64) -> bool {
    epoch != 0 && epoch < than
}
