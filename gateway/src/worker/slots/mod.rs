//! Who is the tenant of a slot, and the accepts that wait for new ones.
//!
//! A token says which socket is meant and not what it is: whether a completion is about a link or about a stream is
//! looked up here, once. `accept` has the accepts, `tenants` who came of them.
//!
//! A worker that has no place left parks nothing, and its neighbours take the connection. When none has one, one of them,
//! the *doorman* of the listener, lets newcomers into a slot of its reserve, one at a time, and out again.

mod accept;
mod tenants;

use std::sync::Arc;

use driver::{Errno, Listener, Op, Token};
use protocol::Time;

pub(super) use tenants::Tenant;

use self::accept::Parked;
use self::tenants::Tenants;
use super::settings::Settings;
use super::turn::Turn;
use super::vacancy::Vacancy;
use crate::admission::ladder::Level;
use crate::counters::Counters;
use crate::counters::guard::Guard;
use crate::upstream::StreamIndex;

/// The sockets of one worker: how many there are, whose they are, and how many more may come.
#[derive(Debug)]
pub(super) struct Slots {
    tenants: Tenants,
    parked: Parked,
    /// Sockets there are.
    taken: u32,
    vacancy: Arc<Vacancy>,
    /// Whether the worker counts as one with a place left.
    has_room: bool,
    stopping: bool,
}

impl Slots {
    /// No sockets yet.
    pub(super) fn new(settings: &Settings, vacancy: Arc<Vacancy>) -> Self {
        Self {
            tenants: Tenants::new(settings.slots),
            parked: Parked::new(settings.listeners.len()),
            taken: 0,
            vacancy,
            has_room: false,
            stopping: false,
        }
    }

    /// Whose socket this is.
    pub(super) fn tenant(&self, token: Token) -> Tenant {
        self.tenants.of(token.slot)
    }

    /// A parked accept took a connection: its slot is a link's. Whether there was a place for it, or it is one of the
    /// reserve.
    pub(super) fn accepted(&mut self, turn: &Turn, listener: Listener) -> bool {
        let has_place = self.free(&turn.settings) > 0;
        self.parked.ended(listener);
        self.taken += 1;
        if !has_place {
            turn.kept_out(listener).refused.of(Guard::Places).add(1);
        }
        has_place
    }

    /// A parked accept is over: there are too many files, or there is too little memory, and a while later more are
    /// parked; or it was taken back.
    pub(super) fn accept_failed(&mut self, turn: &mut Turn, listener: Listener, errno: Errno) {
        if self.parked.failed(listener, errno, turn.now) {
            turn.counters.accept_failures.add(1);
        }
    }

    /// A dial led to a socket: its slot is a stream's.
    pub(super) fn connected(&mut self, token: Token, stream: StreamIndex) {
        self.tenants.let_to_stream(token.slot, stream);
        self.taken += 1;
    }

    /// A socket is closed: its slot is free for the next tenant. Whose it was.
    pub(super) fn closed(&mut self, token: Token) -> Tenant {
        self.taken -= 1;
        self.tenants.leave(token.slot)
    }

    /// Parks accepts while there are slots for them, in proportion, and takes them back when there are not. With a full
    /// table the kernel would accept a connection only to close it, so some slots always stay free. Nor is anybody accepted where
    /// there is a crowd already: the kernel keeps who comes in the order in which they come, at no cost, and better than a worker
    /// that would have to turn one away for each that it lets in.
    pub(super) fn park(&mut self, turn: &mut Turn, is_crowded: impl Fn(usize) -> bool) {
        self.tell_room(turn);
        let Self { parked, vacancy, has_room, stopping, .. } = self;
        let settings = &turn.settings;
        let free = settings.slots.saturating_sub(self.taken + settings.slots_reserved);
        let places = settings.slots.saturating_sub(settings.slots_reserved).max(1);
        let listeners = u32::try_from(settings.listeners.len()).unwrap_or(u32::MAX).max(1);
        let in_proportion = (u64::from(settings.parked) * u64::from(free)).div_ceil(places.into()) as u32;
        // What comes in one turn must not push all strangers out.
        let strangers = u32::try_from(settings.strangers_max / 2).unwrap_or(u32::MAX) / listeners;
        let wanted = |at: usize, parked: u32| {
            let listener = &settings.listeners[at];
            if *stopping || turn.level >= Level::Closed {
                0
            } else if *has_room {
                // With few slots left the first listeners have one each.
                let share = free / listeners + u32::from((at as u32) < free % listeners);
                let wanted = in_proportion.min(strangers.max(1)).min(share);
                // Those that wait already may go on: to take them back costs as much as to let them take somebody.
                if is_crowded(at) { wanted.min(parked) } else { wanted }
            } else {
                u32::from(listener.doorman == settings.worker && !vacancy.is_open(listener.place))
            }
        };
        parked.adjust(wanted, turn.now, &mut turn.ops);
    }

    /// Says whether the worker has a place left, if that has changed. Whoever has to turn newcomers away now, or need not
    /// any more, is woken.
    fn tell_room(&mut self, turn: &mut Turn) {
        let has_room = !self.stopping && self.free(&turn.settings) > 0;
        if std::mem::replace(&mut self.has_room, has_room) == has_room {
            return;
        }
        for at in 0..turn.settings.listeners.len() {
            let listener = &turn.settings.listeners[at];
            let worker = listener.doorman;
            if self.vacancy.change(listener.place, has_room) && worker != turn.settings.worker {
                turn.submit(Op::Ring { worker });
            }
        }
    }

    /// Slots for links that are left.
    fn free(&self, settings: &Settings) -> u32 {
        settings.slots.saturating_sub(self.taken + settings.slots_reserved)
    }

    /// When accepts may be parked again, after a failure.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.parked.pause_end().filter(|_| !self.stopping)
    }

    /// The process ends: nothing new is let in.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether the worker was told to stop.
    pub(super) const fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether the worker was told to stop, and has no socket and no accept any more.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopping && self.taken == 0 && self.parked.len() == 0
    }

    /// Copies what is not counted where it happens.
    pub(super) fn publish(&self, settings: &Settings, counters: &Counters) {
        counters.accepts_parked.set(self.parked.len().into());
        let streams = u32::try_from(settings.endpoints.len()).unwrap_or(u32::MAX);
        let links_max = settings.slots.saturating_sub(settings.slots_reserved.saturating_add(streams));
        counters.links_max.set(links_max.into());
        counters.link_places_left.set(self.free(settings).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::settings::{Listener as ListenerSettings, Settings};

    const FIRST: Listener = Listener(0);
    const ENFILE: Errno = Errno(libc::ENFILE);

    fn at(slot: u32) -> Token {
        Token { slot, generation: 1 }
    }

    /// A worker of eight slots, two of them reserved, that parks up to four accepts, and is the doorman of its listener.
    fn worker() -> (Slots, Turn) {
        built(Settings::small(), Arc::new(Vacancy::new(1)))
    }

    fn built(settings: Settings, vacancy: Arc<Vacancy>) -> (Slots, Turn) {
        let settings = Settings { slots: 8, slots_reserved: 2, parked: 4, strangers_max: 99, ..settings };
        (Slots::new(&settings, vacancy), Turn::of(settings))
    }

    /// What a turn asks for at its end.
    fn asked(slots: &mut Slots, turn: &mut Turn) -> Vec<String> {
        asked_beside(slots, turn, |_| false)
    }

    /// The same where there may be a crowd.
    fn asked_beside(slots: &mut Slots, turn: &mut Turn, is_crowded: impl Fn(usize) -> bool) -> Vec<String> {
        slots.park(turn, is_crowded);
        let ops = turn.ops.drain(..);
        ops.map(|op| match op {
            Op::Park { listener } => format!("park {}", listener.0),
            Op::Unpark { listener } => format!("unpark {}", listener.0),
            Op::Ring { worker } => format!("ring {worker}"),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    fn accept(slots: &mut Slots, turn: &Turn, times: u32) -> bool {
        (0..times).all(|_| slots.accepted(turn, FIRST))
    }

    #[test]
    fn accepts_are_parked_in_proportion_to_the_slots_beside_the_reserved_ones() {
        let (mut slots, mut turn) = worker();
        assert_eq!(asked(&mut slots, &mut turn), ["park 0"; 4]);
        assert!(accept(&mut slots, &turn, 3));
        assert_eq!(asked(&mut slots, &mut turn), ["park 0"], "half of six are free, and half of four wait");
        assert!(accept(&mut slots, &turn, 2));
        assert_eq!(asked(&mut slots, &mut turn), ["park 0"], "one is free");
        assert_eq!(slots.closed(at(5)), Tenant::Link);
        assert_eq!(asked(&mut slots, &mut turn), ["park 0"], "two of six: a third of four, rounded up");
    }

    #[test]
    fn where_there_is_a_crowd_nobody_is_accepted_until_it_is_smaller() {
        let listeners = [0; 2].iter().flat_map(|_| Settings::small().listeners).collect();
        let settings = Settings { listeners, ..Settings::small() };
        let (mut slots, mut turn) = built(settings, Arc::new(Vacancy::new(2)));
        let first = |listener| listener == 0;
        assert_eq!(
            asked_beside(&mut slots, &mut turn, first),
            ["park 1"; 3],
            "nobody waits behind another one's crowd"
        );
        assert_eq!(asked(&mut slots, &mut turn), ["park 0"; 3]);
        assert!(asked_beside(&mut slots, &mut turn, first).is_empty(), "those that wait already go on");
        assert!(accept(&mut slots, &turn, 2));
        assert_eq!(asked_beside(&mut slots, &mut turn, first), ["unpark 1"], "four are free, two for each");
        assert_eq!(asked(&mut slots, &mut turn), ["park 0"]);
    }

    #[test]
    fn a_stream_that_takes_a_slot_takes_back_the_accept_that_waits_for_it() {
        let (mut slots, mut turn) = worker();
        asked(&mut slots, &mut turn);
        accept(&mut slots, &turn, 4);
        assert_eq!(asked(&mut slots, &mut turn), ["park 0"; 2]);
        slots.connected(at(4), StreamIndex(0));
        assert_eq!(asked(&mut slots, &mut turn), ["unpark 0"]);
        slots.accept_failed(&mut turn, FIRST, Errno::CANCELLED);
        assert_eq!((asked(&mut slots, &mut turn), slots.next_deadline()), (vec![], None));
        assert_eq!(turn.counters.accept_failures.get(), 0);
    }

    #[test]
    fn few_slots_are_shared_among_the_listeners_and_few_strangers_let_few_in() {
        let listener = |place| ListenerSettings { place, ..Settings::small().listeners.remove(0) };
        let settings = Settings { listeners: vec![listener(0), listener(1)], ..Settings::small() };
        let (mut slots, mut turn) = built(settings, Arc::new(Vacancy::new(2)));
        asked(&mut slots, &mut turn);
        assert_eq!(slots.parked.len(), 6, "three each");
        accept(&mut slots, &turn, 3);
        let of_three = ["park 0", "park 0", "unpark 1", "unpark 1"];
        assert_eq!(asked(&mut slots, &mut turn), of_three, "two and one of the three that are left");
        let (mut slots, mut turn) = worker();
        turn.settings.strangers_max = 5;
        assert_eq!(asked(&mut slots, &mut turn), ["park 0"; 2]);
    }

    #[test]
    fn after_a_failure_nothing_is_parked_for_a_while() {
        let (mut slots, mut turn) = worker();
        asked(&mut slots, &mut turn);
        slots.accept_failed(&mut turn, FIRST, ENFILE);
        assert!(asked(&mut slots, &mut turn).is_empty());
        turn.now = slots.next_deadline().expect("a pause has an end");
        assert_eq!((asked(&mut slots, &mut turn), slots.next_deadline()), (vec!["park 0".to_owned()], None));
        assert_eq!(turn.counters.accept_failures.get(), 1);
    }

    #[test]
    fn when_nobody_has_a_place_the_doorman_lets_newcomers_in_and_out_one_at_a_time() {
        let vacancy = Arc::new(Vacancy::new(1));
        let (mut slots, mut turn) = built(Settings::small(), Arc::clone(&vacancy));
        let (mut other, mut others_turn) = built(Settings { worker: 1, ..Settings::small() }, vacancy);
        asked(&mut other, &mut others_turn);
        asked(&mut slots, &mut turn);
        for _ in 0..6 {
            accept(&mut slots, &turn, 1);
            asked(&mut slots, &mut turn);
        }
        assert_eq!((slots.parked.len(), slots.taken), (0, 6), "the other one still has places");
        for round in 0..6 {
            accept(&mut other, &others_turn, 1);
            let ring = asked(&mut other, &mut others_turn).contains(&"ring 0".to_owned());
            assert_eq!(ring, round == 5, "the last place is taken");
        }
        assert_eq!(asked(&mut slots, &mut turn), ["park 0"]);
        assert!(!slots.accepted(&turn, FIRST), "it is one of the reserve");
        assert_eq!(
            (asked(&mut slots, &mut turn), turn.kept_out(FIRST).refused.of(Guard::Places).get()),
            (vec!["park 0".to_owned()], 1)
        );
        // Somebody leaves.
        other.closed(at(3));
        assert_eq!(asked(&mut other, &mut others_turn), ["ring 0", "park 0"]);
        assert_eq!(asked(&mut slots, &mut turn), ["unpark 0"]);
    }

    #[test]
    fn a_worker_has_stopped_when_its_last_socket_is_closed_and_its_last_accept_taken_back() {
        let (mut slots, mut turn) = worker();
        slots.connected(at(3), StreamIndex(7));
        asked(&mut slots, &mut turn);
        slots.accept_failed(&mut turn, FIRST, ENFILE);
        slots.stop();
        assert_eq!(asked(&mut slots, &mut turn), ["unpark 0"; 3], "nothing new is let in");
        assert_eq!(slots.next_deadline(), None);
        assert_eq!(slots.tenant(at(3)), Tenant::Stream(StreamIndex(7)));
        assert_eq!(slots.closed(at(3)), Tenant::Stream(StreamIndex(7)));
        for _ in 0..3 {
            assert!(!slots.is_stopped());
            slots.accept_failed(&mut turn, FIRST, Errno::CANCELLED);
        }
        assert!(slots.is_stopped());
    }
}
