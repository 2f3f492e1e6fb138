//! The network itself: who listens, who dials, and the steps in which bytes move.

use std::collections::VecDeque;

use super::links::{EndId, Links, Owner, Phase, Readable};
use super::pipe::Buffers;
use super::slots::{Slots, Tenant};
use super::{Faults, Rng};
use crate::ops::{Endpoint, Errno, Mode, Peer};

/// What one worker has going on, for invariants of a simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Open sockets.
    pub sockets: u32,
    /// Connects under way.
    pub dialing: u32,
    /// Parked accepts.
    pub parked: u32,
    /// Open sockets with a send in flight.
    pub sending: u32,
    /// Open sockets with a receive that stays armed.
    pub multishot: u32,
    /// Open sockets on which neither a poll nor a receive is in flight.
    pub unarmed: u32,
    /// Those of them with something to read or an end to learn: forgotten, unless held back on purpose.
    pub deaf: u32,
    /// Chunks handed out and not recycled; 0 between turns.
    pub chunks_out: u32,
    /// Operations and completions on their way between worker and net.
    pub pending: u32,
}

/// Everything behind a [`Net`](super::Net) and the sockets made with it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    pub(super) step: u64,
    pub(super) links: Links,
    places: Vec<Place>,
    doors: Vec<Option<Door>>,
    dials: Vec<Dial>,
    pub(super) desks: Vec<Desk>,
    fingerprint: u64,
}

/// An address somebody has listened at or dialled.
#[derive(Debug)]
struct Place {
    at: Endpoint,
    cut: bool,
}

/// A listening socket: links that nobody has accepted yet, and from which step on they may be. Workers share it.
#[derive(Debug)]
struct Door {
    place: u32,
    /// Workers that have it; none where it belongs to the simulation itself.
    workers: Vec<u32>,
    buffers: Buffers,
    waiting: VecDeque<(u32, u64)>,
    /// Parked accepts of workers, and as which of its listeners each knows it. The one that waits longest is the next.
    parked: VecDeque<(u32, usize)>,
}

impl Door {
    /// How many accepts of a worker wait here.
    fn parked_by(&self, worker: u32) -> u32 {
        self.parked.iter().filter(|&&(its, _)| its == worker).count() as u32
    }
}

#[derive(Debug)]
struct Dial {
    link: u32,
    /// The step in which it gives up.
    until: u64,
}

/// The net's side of one worker.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) slots: Slots,
    /// Connections its parked accepts have taken, each by its listener, whether the worker looks or not.
    pub(super) taken: VecDeque<(usize, EndId)>,
    pub(super) rung: bool,
    /// The driver was dropped: rings reach nobody.
    pub(super) is_gone: bool,
    pub(super) chunks_out: u32,
    /// Operations not yet executed.
    pub(super) operations: usize,
    /// Completions not yet taken.
    pub(super) completions: usize,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        World {
            rng: Rng::new(seed),
            faults: Faults::none(),
            step: 0,
            links: Links::default(),
            places: Vec::new(),
            doors: Vec::new(),
            dials: Vec::new(),
            desks: Vec::new(),
            fingerprint: seed,
        }
    }

    pub(super) fn step(&mut self) -> usize {
        self.step += 1;
        self.links.begin(self.step);
        self.place_dials(true);
        self.let_in();
        self.trouble();
        let mut busy = self.links.take_busy();
        self.rng.shuffle(&mut busy);
        // Some steps move nearly everything, some hardly anything: links drift apart and catch up again.
        let share = 1 + self.rng.below(4);
        let mut moved = 0;
        for &end in &busy {
            let skipped = self.rng.below(4) >= share;
            if skipped || self.links.get(end.link).is_none() || self.links.is_clogged(end, self.step) {
                continue;
            }
            let most = match self.rng.below(5) {
                0 => 1,
                1 => 1 + self.rng.below(16),
                2 => 1 + self.rng.below(256),
                3 => 1 + self.rng.below(4096),
                _ => usize::MAX,
            };
            moved += self.carry(end, most);
        }
        self.links.put_busy(busy);
        moved
    }

    /// Carries everything as far as it goes, without chance. Returns how many bytes arrived.
    pub(super) fn carry_all(&mut self) -> usize {
        self.unclog();
        let mut moved = 0;
        loop {
            self.place_dials(false);
            self.links.unclog_all();
            let busy = self.links.take_busy();
            moved += busy.iter().map(|&end| self.carry(end, usize::MAX)).sum::<usize>();
            self.links.put_busy(busy);
            if !self.is_moving() {
                return moved;
            }
        }
    }

    fn carry(&mut self, from: EndId, most: usize) -> usize {
        let cut = self.links.get(from.link).is_none_or(|link| self.places[link.place as usize].cut);
        if cut {
            return 0;
        }
        let moved = self.links.carry(from, most);
        self.note(u64::from(from.link) << 32 | u64::from(from.side) << 31 | moved as u64);
        moved
    }

    /// Draws the faults that come once per step.
    fn trouble(&mut self) {
        if self.rng.one_in(self.faults.reset)
            && let Some(link) = self.links.any_open(&mut self.rng)
        {
            let reasons = [libc::ECONNRESET, libc::ETIMEDOUT, libc::EHOSTUNREACH];
            let errno = Errno(reasons[self.rng.below(reasons.len())]);
            self.links.cut_through(link, errno);
        }
        if self.rng.one_in(self.faults.clog)
            && let Some(link) = self.links.any_open(&mut self.rng)
        {
            let until = self.step + 1 + self.rng.below(self.faults.clog_steps_max as usize) as u64;
            let side = self.rng.below(2) as u8;
            self.links.clog(EndId { link, side }, until);
        }
    }

    pub(super) fn unclog(&mut self) {
        for door in self.doors.iter_mut().flatten() {
            for waiting in &mut door.waiting {
                waiting.1 = 0;
            }
        }
        self.links.unclog_all();
        self.let_in();
    }

    pub(super) fn dial(&mut self, to: &Endpoint, from: Peer, owner: Owner, buffers: Buffers) -> EndId {
        let place = self.place(to);
        let distance = self.rng.below(self.faults.distance_max as usize + 1) as u64;
        let end = self.links.dial(owner, from, place, buffers, distance);
        self.dials.push(Dial { link: end.link, until: self.step + DIAL_STEPS_MAX });
        end
    }

    /// Lets dials meet listeners. With `chance` some of them take longer, and faults happen.
    fn place_dials(&mut self, chance: bool) {
        for dial in std::mem::take(&mut self.dials) {
            // The dialler may have given up, and the number may belong to a newer dial, which has its own entry.
            let Some(link) = self.links.get(dial.link).filter(|link| link.phase == Phase::Dialing) else {
                continue;
            };
            let place = link.place;
            if chance && self.rng.one_in(2) {
                self.dials.push(dial);
                continue;
            }
            self.place_dial(dial, place);
        }
    }

    fn place_dial(&mut self, dial: Dial, place: u32) {
        let cut = self.places[place as usize].cut;
        let at_place = |door: &Option<Door>| door.as_ref().is_some_and(|door| door.place == place);
        let doors: Vec<usize> = (0..self.doors.len()).filter(|&door| at_place(&self.doors[door])).collect();
        let refused = self.rng.one_in(self.faults.connect_failed);
        if refused || !cut && doors.is_empty() {
            self.links.refused(dial.link, Errno(libc::ECONNREFUSED));
            return;
        }
        let door = doors.get(self.rng.below(doors.len())).copied();
        let door = door.filter(|_| !cut).and_then(|door| self.doors[door].as_mut());
        let Some(door) = door.filter(|door| door.waiting.len() < BACKLOG_MAX) else {
            if self.step >= dial.until {
                self.links.refused(dial.link, Errno(libc::ETIMEDOUT));
            } else {
                self.dials.push(dial);
            }
            return;
        };
        let mut not_before = 0;
        if self.rng.one_in(self.faults.accept_late) {
            not_before = self.step + 1 + self.rng.below(self.faults.clog_steps_max as usize) as u64;
        }
        door.waiting.push_back((dial.link, not_before));
        self.links.answered(dial.link, door.buffers);
        self.let_in();
    }

    /// Opens a door; workers that listen at the same place have the same one.
    pub(super) fn listen(&mut self, at: &Endpoint, worker: Option<u32>, buffers: Buffers) -> usize {
        let place = self.place(at);
        let shared = |door: &Option<Door>| {
            door.as_ref().is_some_and(|door| door.place == place && !door.workers.is_empty())
        };
        if let Some(worker) = worker
            && let Some(at) = self.doors.iter().position(shared)
        {
            self.doors[at].as_mut().expect("seen just now").workers.push(worker);
            return at;
        }
        let workers = worker.into_iter().collect();
        let (waiting, parked) = Default::default();
        self.doors.push(Some(Door { place, workers, buffers, waiting, parked }));
        self.doors.len() - 1
    }

    /// A worker parks an accept.
    pub(super) fn park(&mut self, door: usize, worker: u32, listener: usize) {
        let door = self.doors[door].as_mut().expect("a door is open while a worker has it");
        door.parked.push_back((worker, listener));
        self.let_in();
    }

    /// A worker takes back the accept it parked last; whether there was one.
    pub(super) fn unpark(&mut self, door: usize, worker: u32) -> bool {
        let door = self.doors[door].as_mut().expect("a door is open while a worker has it");
        let last = door.parked.iter().rposition(|&(its, _)| its == worker);
        last.and_then(|last| door.parked.remove(last)).is_some()
    }

    /// Waiting connections go to parked accepts: each to the one that waits longest, awake or not.
    fn let_in(&mut self) {
        let step = self.step;
        for door in self.doors.iter_mut().flatten() {
            while !door.parked.is_empty()
                && let Some(first) = door.waiting.iter().position(|&(_, not_before)| not_before <= step)
                && let Some((link, _)) = door.waiting.remove(first)
                && let Some((worker, listener)) = door.parked.pop_front()
            {
                self.desks[worker as usize].taken.push_back((listener, EndId { link, side: 1 }));
            }
        }
    }

    /// Takes a connection off a backlog.
    pub(super) fn accept(&mut self, door: usize) -> Option<EndId> {
        let step = self.step;
        let door = self.doors[door].as_mut().expect("a door is open while its owner is there");
        let first = door.waiting.iter().position(|&(_, not_before)| not_before <= step)?;
        let (link, _) = door.waiting.remove(first).expect("the position was found just now");
        Some(EndId { link, side: 1 })
    }

    /// A worker, or the simulation itself, stops listening. With the last one whoever waits is reset.
    pub(super) fn shut(&mut self, at: usize, worker: Option<u32>) {
        let Some(door) = &mut self.doors[at] else { return };
        door.workers.retain(|&its| Some(its) != worker);
        door.parked.retain(|&(its, _)| Some(its) != worker);
        if !door.workers.is_empty() {
            return;
        }
        let Some(door) = self.doors[at].take() else { return };
        for (link, _) in door.waiting {
            self.drop_link(EndId { link, side: 1 });
        }
    }

    /// Resets a connection that nobody looks at.
    pub(super) fn drop_link(&mut self, end: EndId) {
        self.links.reset(end);
        self.links.close(end);
    }

    pub(super) fn endpoint(&self, door: usize) -> Endpoint {
        let door = self.doors[door].as_ref().expect("a door is open while its owner is there");
        self.places[door.place as usize].at.clone()
    }

    pub(super) fn ring(&mut self, worker: u32) {
        let desk = self.desks.get_mut(worker as usize);
        let desk = desk
            .unwrap_or_else(|| panic!("contract broken: a ring for worker {worker}, which does not exist"));
        desk.rung = !desk.is_gone;
    }

    /// Mixes an event into the fingerprint.
    pub(super) fn note(&mut self, event: u64) {
        self.fingerprint =
            (self.fingerprint.rotate_left(5) ^ event ^ self.step).wrapping_mul(0x517C_C1B7_2722_0A95);
    }

    /// A number over everything that has happened.
    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Separates a place from everybody, or ends that.
    pub(super) fn cut(&mut self, place: &Endpoint, cut: bool) {
        let place = self.place(place);
        self.places[place as usize].cut = cut;
    }

    fn place(&mut self, at: &Endpoint) -> u32 {
        let known = self.places.iter().position(|place| place.at == *at);
        known.unwrap_or_else(|| {
            self.places.push(Place { at: at.clone(), cut: false });
            self.places.len() - 1
        }) as u32
    }

    /// Whether a step can carry anything, now or when a clog is gone.
    fn is_moving(&self) -> bool {
        let is_cut = |place: u32| self.places[place as usize].cut;
        self.links.busy().iter().any(|&end| {
            self.links.get(end.link).is_some_and(|link| !is_cut(link.place)) && self.links.can_move(end)
        })
    }

    pub(super) fn is_quiet(&self) -> bool {
        let desk_busy =
            |desk: &Desk| desk.rung || desk.operations > 0 || desk.completions > 0 || !desk.taken.is_empty();
        let entering =
            |door: &Door| !door.waiting.is_empty() && (door.workers.is_empty() || !door.parked.is_empty());
        !self.is_moving()
            && self.dials.is_empty()
            && !self.links.has_news()
            && !self.desks.iter().any(desk_busy)
            && !self.doors.iter().flatten().any(entering)
    }

    pub(super) fn audit(&self, worker: u32) -> Audit {
        let desk = &self.desks[worker as usize];
        let mut audit = Audit {
            parked: self.doors.iter().flatten().map(|door| door.parked_by(worker)).sum(),
            chunks_out: desk.chunks_out,
            pending: (desk.operations + desk.completions) as u32,
            ..Audit::default()
        };
        for slot in desk.slots.iter() {
            match slot.tenant {
                Tenant::Dialing { .. } => audit.dialing += 1,
                Tenant::Open(end) => {
                    audit.sockets += 1;
                    audit.sending += u32::from(slot.sends());
                    audit.unarmed += u32::from(!slot.listens());
                    let multishot = matches!(slot.receive, Some((_, Mode::Multishot)));
                    audit.multishot += u32::from(multishot);
                    let news = self.links.readable(end) != Readable::Nothing;
                    audit.deaf += u32::from(!slot.listens() && news);
                }
                Tenant::Free | Tenant::Closing(_) => {}
            }
        }
        audit
    }
}

/// Connections that wait at one listener; later ones have to try again.
const BACKLOG_MAX: usize = 256;
/// Steps after which a dial that nobody answers fails.
const DIAL_STEPS_MAX: u64 = 200;
