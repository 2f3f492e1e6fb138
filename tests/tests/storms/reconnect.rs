//! All clients come back at once, a round trip away, and more of them than hands can be shaken with.

use std::collections::VecDeque;
use std::time::Duration;

use driver::Peer;
use driver::sim::{Buffers, Socket, State};
use protocol::Time;
use protocol::buffer::{Input, Rest};
use protocol::limits::RECORD_LEN_MAX_UNAUTHENTICATED;
use protocol::link::ClientLink;
use protocol::wire::frame::{Auth, Frame};

use crate::settings::{HANDSHAKES_PER_TURN, address_of, dialled, token};
use crate::shape::Shape;
use crate::world::World;

/// Steps until a client has message 2.
const ROUND_TRIP: u64 = 12;

/// A client that hears everything late.
pub(crate) struct Distant {
    socket: Socket,
    machine: ClientLink,
    rest: Rest,
    unsent: VecDeque<u8>,
    /// What has come, and when it may be read.
    come: VecDeque<(When, Vec<u8>)>,
    /// How late it hears, if that is not counted in steps.
    delay: Option<Duration>,
    /// Whether it begins a long record instead of saying who it is, and never ends it.
    pub(crate) dawdles: bool,
    /// Whether it was let in.
    pub(crate) is_in: bool,
    /// Who it says it is, if that is not a user of its own.
    who: Option<(String, String)>,
}

/// When something may be read.
enum When {
    Step(u64),
    Time(Time),
}

impl When {
    fn has_come(&self, world: &World) -> bool {
        match *self {
            Self::Step(step) => step <= world.net.steps(),
            Self::Time(time) => time <= world.now,
        }
    }
}

impl Distant {
    pub(crate) fn dial(world: &World, number: u64) -> Self {
        let user = format!("user{number}");
        Self::dial_from(world, number, address_of(user.as_bytes()))
    }

    pub(crate) fn dial_from(world: &World, number: u64, address: [u8; 4]) -> Self {
        let mut ephemeral = [8; 32];
        ephemeral[..8].copy_from_slice(&number.to_le_bytes());
        let (machine, hello) = dialled(ephemeral);
        let (from, unsent) = world.way.carry(number, address, hello);
        let socket = world.net.connect(&world.front, from, Buffers { send: 512, receive: 512 });
        Self {
            socket,
            machine,
            rest: Rest::default(),
            unsent: unsent.into(),
            come: VecDeque::new(),
            delay: None,
            dawdles: false,
            is_in: false,
            who: None,
        }
    }

    /// Whether it is still there. It leaves when it is let in, so that there are places.
    pub(crate) fn step(&mut self, world: &World, number: u64) -> bool {
        let written = self.socket.write(self.unsent.make_contiguous());
        self.unsent.drain(..written);
        let mut bytes = Vec::new();
        if self.socket.read(&mut bytes, 512) > 0 {
            let when = self
                .delay
                .map_or(When::Step(world.net.steps() + ROUND_TRIP), |delay| When::Time(world.now + delay));
            self.come.push_back((when, bytes));
        }
        while self.come.front().is_some_and(|(when, _)| when.has_come(world)) {
            let (_, mut bytes) = self.come.pop_front().expect("seen just now");
            let was_open = self.machine.is_open();
            let mut input = Input::new(&mut bytes, std::mem::take(&mut self.rest));
            match self.machine.receive(&mut input, Time::ZERO) {
                Ok(None) => self.rest = input.into_rest(),
                Ok(Some(frame)) => {
                    self.is_in = matches!(frame, Frame::Welcome(_));
                    return false;
                }
                Err(_) => return false,
            }
            if self.machine.is_open() && !was_open {
                if self.dawdles {
                    let len = RECORD_LEN_MAX_UNAUTHENTICATED as u16;
                    self.unsent.extend(len.to_be_bytes());
                    self.unsent.extend(vec![0; usize::from(len) - 1]);
                } else {
                    self.authenticate(number);
                }
            }
        }
        matches!(self.socket.state(), State::Open | State::Connecting)
    }

    /// The same, but it hears everything so much later.
    pub(crate) fn hears_after(self, delay: Duration) -> Self {
        Self { delay: Some(delay), ..self }
    }

    /// The same, but it is this user on this device.
    pub(crate) fn on_device(self, user: &str, device: &str) -> Self {
        Self { who: Some((user.to_owned(), device.to_owned())), ..self }
    }

    /// The same, but it hears everything at once.
    pub(crate) fn promptly(self) -> Self {
        Self { delay: Some(Duration::ZERO), ..self }
    }

    /// Whether hands are shaken.
    pub(crate) const fn has_keys(&self) -> bool {
        self.machine.is_open()
    }

    fn authenticate(&mut self, number: u64) {
        let own = || (format!("user{number}"), "device".to_owned());
        let (user, device) = self.who.clone().unwrap_or_else(own);
        let token = token().text();
        let (token, user, device) = (token.as_bytes(), user.as_bytes(), device.as_bytes());
        let auth = Auth { token, user, device, ..Auth::default() };
        let mut out = vec![0; 2];
        Frame::Auth(auth).encode(&mut out);
        self.machine.seal(&mut out, 0, 1000);
        self.unsent.extend(out);
    }
}

#[test]
fn in_a_storm_of_reconnects_whoever_has_shaken_hands_gets_in() {
    let mut world = World::quiet(Shape { slots: 400, strangers: 130, ..Shape::plain(1, 0, 1) });
    let mut crowd: Vec<(u64, Distant)> = Vec::new();
    let mut number = 0;
    for _ in 0..300 {
        for _ in 0..2 * HANDSHAKES_PER_TURN {
            number += 1;
            crowd.push((number, Distant::dial(&world, number)));
        }
        world.step();
        crowd.retain_mut(|(number, client)| client.step(&world, *number));
    }
    let counters = &world.counters[0];
    let (shaken, welcome) = (counters.handshakes.get(), counters.authentications.get());
    assert!(shaken >= 200, "{shaken} handshakes");
    assert!(welcome * 10 >= shaken * 6, "{welcome} of {shaken} who had shaken hands got in");
}

#[test]
fn where_silent_strangers_push_each_other_out_whoever_has_shaken_hands_gets_in() {
    let strangers = LIFE * SILENT_PER_STEP;
    let mut world = World::quiet(Shape { slots: 400, strangers, ..Shape::plain(1, 0, 1) });
    let (mut silent, mut crowd, mut number) = (Vec::new(), Vec::new(), 0);
    for step in 0..600_usize {
        for _ in 0..SILENT_PER_STEP {
            number += 1;
            let from = Peer::Tcp((address_of(format!("silent{number}").as_bytes()), 1000).into());
            silent.push(world.net.connect(&world.front, from, Buffers { send: 256, receive: 256 }));
        }
        if step % 10 == 0 {
            crowd.push((number, step, Distant::dial(&world, number)));
        }
        world.step();
        silent.retain(|socket| matches!(socket.state(), State::Open | State::Connecting));
        // What a client has lived before its hello counts, unless it begins anew with its handshake.
        crowd
            .retain_mut(|(number, since, client)| step < *since + HESITATION || client.step(&world, *number));
    }
    let counters = &world.counters[0];
    let (shaken, welcome) = (counters.handshakes.get(), counters.authentications.get());
    let evicted = counters.strangers_evicted.get();
    assert!(evicted > 500 && shaken >= 40, "{shaken} handshakes, {evicted} pushed out");
    assert!(welcome * 20 >= shaken * 17, "{welcome} of {shaken} who had shaken hands got in");
}

/// Silent strangers that come in a step, as many as are accepted in one.
const SILENT_PER_STEP: usize = 4;
/// Of so many steps' worth of them there may be.
const LIFE: usize = 20;
/// Steps before a client says its hello: its handshake is done before it would have to make room, and its login is not.
const HESITATION: usize = 22;
