//! Links: two ends, a pipe each way, and how they open and end.

use super::Rng;
use super::pipe::{Buffers, Fin, Pipe};
use crate::ops::{Errno, Peer};

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EndId {
    pub(super) link: u32,
    /// 0 dialled, 1 was dialled.
    pub(super) side: u8,
}

impl EndId {
    pub(super) fn other(self) -> EndId {
        EndId { link: self.link, side: 1 - self.side }
    }
}

/// How far a link's opening is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Dialing,
    Refused(Errno),
    Open,
}

/// Who hears about news of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The simulation, which looks by itself; or nobody yet.
    Outside,
    Worker {
        worker: u32,
        slot: u32,
    },
}

/// What a reader would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readable {
    Nothing,
    Bytes,
    Eof,
    Broken(Errno),
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) phase: Phase,
    pub(super) from: Peer,
    /// The place dialled; an index into the places of the net.
    pub(super) place: u32,
    sides: [Side; 2],
}

#[derive(Debug)]
struct Side {
    owner: Owner,
    /// What this side sends.
    out: Pipe,
    closed: bool,
    broken: Option<Errno>,
    /// The reason of the break was reported once; the kernel says it only once.
    told: bool,
    /// Already in the owner's list of news.
    touched: bool,
}

/// All links of a net. Numbers of ended links are used again, but not within the step in which they ended.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: Vec<Option<Link>>,
    free: Vec<u32>,
    ended: Vec<u32>,
    /// Pipes with something to carry, by the end that sends.
    busy: Vec<EndId>,
    /// The present step, for what sets out.
    step: u64,
    /// Ends of workers with news since they last looked: (worker, slot).
    news: Vec<(u32, u32)>,
}

impl Links {
    /// A new link that waits for an answer.
    pub(super) fn dial(
        &mut self,
        owner: Owner,
        from: Peer,
        place: u32,
        buffers: Buffers,
        distance: u64,
    ) -> EndId {
        let side = |out, owner| Side { owner, out, closed: false, broken: None, told: false, touched: false };
        // The dialled side's buffers are put right when a listener takes the link.
        let out = || Pipe { distance, ..Pipe::new(buffers, buffers) };
        let sides = [side(out(), owner), side(out(), Owner::Outside)];
        let link = Link { phase: Phase::Dialing, from, place, sides };
        let number = self.free.pop().unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() as u32 - 1
        });
        self.links[number as usize] = Some(link);
        EndId { link: number, side: 0 }
    }

    /// A listener with sockets of this size has taken the link.
    pub(super) fn answered(&mut self, link: u32, buffers: Buffers) {
        let entry = self.at(link);
        entry.phase = Phase::Open;
        entry.sides[1].out.send_max = buffers.send;
        entry.sides[0].out.receive_max = buffers.receive;
        self.touch(EndId { link, side: 0 });
    }

    pub(super) fn refused(&mut self, link: u32, errno: Errno) {
        let entry = self.at(link);
        entry.phase = Phase::Refused(errno);
        entry.sides[1].closed = true;
        self.touch(EndId { link, side: 0 });
    }

    pub(super) fn own(&mut self, end: EndId, owner: Owner) {
        self.side(end).owner = owner;
    }

    pub(super) fn get(&self, link: u32) -> Option<&Link> {
        self.links.get(link as usize)?.as_ref()
    }

    pub(super) fn readable(&self, end: EndId) -> Readable {
        let inward = &self.side_ref(end.other()).out;
        let side = self.side_ref(end);
        match (inward.fin, side.broken) {
            _ if !inward.arrived.is_empty() => Readable::Bytes,
            (Fin::Arrived, _) => Readable::Eof,
            (_, Some(errno)) => Readable::Broken(errno),
            _ => Readable::Nothing,
        }
    }

    /// Says what broke the link, the first time; a kernel forgets it then.
    pub(super) fn take_break(&mut self, end: EndId) -> Option<Errno> {
        let side = self.side(end);
        let errno = side.broken?;
        (!std::mem::replace(&mut side.told, true)).then_some(errno)
    }

    pub(super) fn is_broken(&self, end: EndId) -> bool {
        self.side_ref(end).broken.is_some()
    }

    /// Bytes that can be read now.
    pub(super) fn arrived(&self, end: EndId) -> usize {
        self.side_ref(end.other()).out.arrived.len()
    }

    /// Bytes that can be written now; 0 on a broken link.
    pub(super) fn send_room(&self, end: EndId) -> usize {
        let side = self.side_ref(end);
        let open = self.get(end.link).is_some_and(|link| link.phase == Phase::Open);
        if open && side.broken.is_none() && side.out.fin == Fin::Open { side.out.send_room() } else { 0 }
    }

    pub(super) fn unsent(&self, end: EndId) -> usize {
        self.side_ref(end).out.waiting.len()
    }

    pub(super) fn read(&mut self, end: EndId, into: &mut [u8]) -> usize {
        self.side(end.other()).out.read(into)
    }

    /// Takes as much as there is room for and returns how much that was.
    pub(super) fn write(&mut self, end: EndId, bytes: &[u8]) -> usize {
        let taken = self.send_room(end).min(bytes.len());
        if taken > 0 {
            let step = self.step;
            let pipe = &mut self.side(end).out;
            pipe.set_out(step);
            pipe.push(&bytes[..taken]);
            self.list(end);
        }
        taken
    }

    pub(super) fn shutdown(&mut self, end: EndId) {
        let open = self.at(end.link).phase == Phase::Open;
        let step = self.step;
        let side = self.side(end);
        if open && side.broken.is_none() && side.out.fin == Fin::Open {
            side.out.set_out(step);
            side.out.fin = Fin::Sent;
            self.list(end);
        }
    }

    /// Breaks the link from this end; the other end learns it later.
    pub(super) fn reset(&mut self, end: EndId) {
        if self.at(end.link).phase != Phase::Open || self.is_broken(end) {
            return;
        }
        self.side(end.other()).out.arrived.clear();
        self.broke(end, ECONNRESET);
        self.side(end).out.reset = Some(ECONNRESET);
        self.list(end);
    }

    /// Breaks the link in the middle; both ends learn it later.
    pub(super) fn cut_through(&mut self, link: u32, errno: Errno) {
        for side in 0..2 {
            let end = EndId { link, side };
            self.side(end).out.reset = Some(errno);
            self.list(end);
        }
    }

    /// Closes an end as a kernel does: unread input turns it into a reset, in which unsent output is lost.
    pub(super) fn close(&mut self, end: EndId) {
        if self.arrived(end) > 0 {
            self.reset(end);
        } else {
            self.shutdown(end);
        }
        let side = self.side(end);
        side.closed = true;
        side.owner = Owner::Outside;
        if self.side_ref(end.other()).closed || self.at(end.link).phase == Phase::Dialing {
            self.links[end.link as usize] = None;
            self.ended.push(end.link);
        } else if self.side_ref(end.other()).out.has_work() {
            // What is on its way here meets a closed socket.
            self.list(end.other());
        }
    }

    /// Carries what one end sends, up to `most` bytes. Returns how many bytes moved.
    pub(super) fn carry(&mut self, from: EndId, most: usize) -> usize {
        let to = from.other();
        if self.side_ref(to).closed {
            self.carry_to_closed(from);
            return 0;
        }
        let deaf = self.is_broken(to);
        let pipe = &mut self.side(from).out;
        if deaf && pipe.reset.is_none() {
            // What is written after a break must not follow what the break has swallowed.
            pipe.waiting.clear();
            return 0;
        }
        if let Some(errno) = pipe.reset.take() {
            pipe.fin = if pipe.fin == Fin::Arrived { Fin::Arrived } else { Fin::Open };
            self.broke(to, errno);
            return 0;
        }
        let moved = pipe.carry(most);
        let ended = pipe.fin == Fin::Sent && pipe.waiting.is_empty() && most > moved;
        if ended {
            pipe.fin = Fin::Arrived;
        }
        if moved > 0 {
            self.touch(from);
        }
        if moved > 0 || ended {
            self.touch(to);
        }
        moved
    }

    /// Data for a closed socket is answered by a reset.
    fn carry_to_closed(&mut self, from: EndId) {
        let pipe = &mut self.side(from).out;
        pipe.reset = None;
        if pipe.waiting.is_empty() {
            pipe.fin = Fin::Arrived;
            return;
        }
        pipe.waiting.clear();
        let back = &mut self.side(from.other()).out;
        back.waiting.clear();
        if back.fin != Fin::Arrived {
            back.fin = Fin::Open;
        }
        back.reset = Some(ECONNRESET);
        self.list(from.other());
    }

    /// This end's link is broken from now on: nothing is sent any more, and nothing more arrives.
    fn broke(&mut self, end: EndId, errno: Errno) {
        let inward = &mut self.side(end.other()).out;
        inward.waiting.clear();
        if inward.fin == Fin::Sent {
            inward.fin = Fin::Open;
        }
        let side = self.side(end);
        side.out.waiting.clear();
        if side.out.fin == Fin::Sent {
            side.out.fin = Fin::Open;
        }
        side.broken.get_or_insert(errno);
        self.touch(end);
    }

    /// A step begins.
    pub(super) fn begin(&mut self, step: u64) {
        self.step = step;
    }

    /// The pipes with something to carry, to be given back with [`Links::put_busy`].
    pub(super) fn take_busy(&mut self) -> Vec<EndId> {
        std::mem::take(&mut self.busy)
    }

    /// Lists what of these still has something to carry, and lets numbers of ended links be used again.
    pub(super) fn put_busy(&mut self, ends: Vec<EndId>) {
        for end in ends {
            if self.get(end.link).is_none() {
                continue;
            }
            let pipe = &mut self.side(end).out;
            if pipe.has_work() {
                self.busy.push(end);
            } else {
                pipe.listed = false;
            }
        }
        self.busy.retain(|end| self.links[end.link as usize].is_some());
        self.free.append(&mut self.ended);
    }

    /// Whether a busy pipe could carry anything now if it were not clogged.
    pub(super) fn can_move(&self, from: EndId) -> bool {
        let pipe = &self.side_ref(from).out;
        let room = self.side_ref(from.other()).closed || pipe.arrived.len() < pipe.receive_max;
        pipe.reset.is_some() || if pipe.waiting.is_empty() { pipe.fin == Fin::Sent } else { room }
    }

    pub(super) fn busy(&self) -> &[EndId] {
        &self.busy
    }

    pub(super) fn is_clogged(&self, from: EndId, step: u64) -> bool {
        self.side_ref(from).out.clogged_until > step
    }

    pub(super) fn clog(&mut self, from: EndId, until: u64) {
        self.side(from).out.clogged_until = until;
    }

    pub(super) fn unclog_all(&mut self) {
        for link in self.links.iter_mut().flatten() {
            for side in &mut link.sides {
                side.out.clogged_until = 0;
            }
        }
    }

    /// An open link, drawn by lot.
    pub(super) fn any_open(&self, rng: &mut Rng) -> Option<u32> {
        let number = rng.below(self.links.len()) as u32;
        self.get(number).filter(|link| link.phase == Phase::Open).map(|_| number)
    }

    /// Slots of a worker with news since the last call, each once.
    pub(super) fn take_news(&mut self, worker: u32) -> Vec<u32> {
        let (mine, others) = std::mem::take(&mut self.news).into_iter().partition(|news| news.0 == worker);
        self.news = others;
        let mine: Vec<(u32, u32)> = mine;
        mine.into_iter().map(|(_, slot)| slot).collect()
    }

    /// The owner has looked at this end: news from now on are news again.
    pub(super) fn looked(&mut self, end: EndId) {
        self.side(end).touched = false;
    }

    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().flatten()
    }

    fn touch(&mut self, end: EndId) {
        let side = self.side(end);
        if let Owner::Worker { worker, slot } = side.owner
            && !std::mem::replace(&mut side.touched, true)
        {
            self.news.push((worker, slot));
        }
    }

    fn list(&mut self, end: EndId) {
        if !std::mem::replace(&mut self.side(end).out.listed, true) {
            self.busy.push(end);
        }
    }

    fn at(&mut self, link: u32) -> &mut Link {
        self.links[link as usize].as_mut().expect("an end keeps its link alive")
    }

    fn side(&mut self, end: EndId) -> &mut Side {
        &mut self.at(end.link).sides[usize::from(end.side)]
    }

    fn side_ref(&self, end: EndId) -> &Side {
        let link = self.links[end.link as usize].as_ref().expect("an end keeps its link alive");
        &link.sides[usize::from(end.side)]
    }
}

impl Link {
    /// Bytes in all buffers of the link.
    pub(super) fn bytes_held(&self) -> usize {
        self.sides.iter().map(|side| side.out.waiting.len() + side.out.arrived.len()).sum()
    }
}

pub(super) const ECONNRESET: Errno = Errno(libc::ECONNRESET);
