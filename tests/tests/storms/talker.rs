//! Somebody who is in and says whatever a test wants to hear, as fast as the network takes it.

use std::collections::VecDeque;

use driver::Peer;
use driver::sim::{Buffers, Socket, State};
use protocol::buffer::{Input, Rest};
use protocol::link::ClientLink;
use protocol::wire::frame::{Auth, Frame, Outcome, Ping, Request};
use protocol::{CloseCode, DeviceClass, Refusal, Time};

use crate::carried::named;
use crate::settings::{PORT, dialled, token};
use crate::shape::ROUTES;
use crate::world::World;

/// Bytes that it has ready for the network at most.
const READY_MAX: usize = 600;

pub(crate) struct Talker {
    socket: Socket,
    machine: ClientLink,
    rest: Rest,
    unsent: VecDeque<u8>,
    /// A hole for a record's length, and frames.
    batch: Vec<u8>,
    said: u64,
    pings: u64,
    user: String,
    device: String,
    heartbeat_ms: u32,
    class: DeviceClass,
    pub(crate) heard: Heard,
}

/// What one may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Request,
    Ping,
    Join,
    Ack,
    Leave,
}

/// What it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) welcome: bool,
    /// Also requests that were refused for another reason than that they were too many.
    pub(crate) answered: u64,
    /// Requests and joins that were too many.
    pub(crate) refused: u64,
    pub(crate) pongs: u64,
    pub(crate) left: u64,
    /// The longest time after which one was to come back, in milliseconds.
    pub(crate) retry_after_ms: u32,
    /// Codes that it was warned of, with how near they are.
    pub(crate) warned: Vec<(CloseCode, u32)>,
    pub(crate) closed: Option<CloseCode>,
    /// Whether it was told to stay away.
    pub(crate) stays_away: bool,
}

impl Talker {
    /// A user on a device, from an address; it wants this interval between heartbeats.
    pub(crate) fn dial(world: &World, user: &str, device: &str, from: [u8; 4], heartbeat_ms: u32) -> Self {
        let mut ephemeral = [3; 32];
        ephemeral[..8].copy_from_slice(&world.net.steps().to_le_bytes());
        ephemeral[8..8 + device.len()].copy_from_slice(device.as_bytes());
        let (machine, hello) = dialled(ephemeral);
        let from = Peer::Tcp((from, PORT).into());
        Self {
            socket: world.net.connect(&world.front, from, Buffers { send: 512, receive: 512 }),
            machine,
            rest: Rest::default(),
            unsent: hello.into(),
            batch: vec![0; 2],
            said: 0,
            pings: 0,
            user: user.to_owned(),
            device: device.to_owned(),
            heartbeat_ms,
            class: DeviceClass::Unknown,
            heard: Heard::default(),
        }
    }

    /// The same, of a class of devices.
    pub(crate) fn of_class(self, class: DeviceClass) -> Self {
        Self { class, ..self }
    }

    /// Whether its link stands.
    pub(crate) fn is_there(&self) -> bool {
        self.heard.closed.is_none() && matches!(self.socket.state(), State::Open | State::Connecting)
    }

    /// Whether there is room for more to say.
    pub(crate) fn has_room(&self) -> bool {
        self.heard.welcome && self.unsent.len() < READY_MAX
    }

    /// Answers to pings that it waits for.
    pub(crate) fn owed(&self) -> u64 {
        self.pings - self.heard.pongs
    }

    /// Says this so many times, in one record.
    pub(crate) fn say(&mut self, what: What, times: usize) {
        let payload = named(self.user.as_bytes(), ROUTES[0], b"");
        self.pings += if what == What::Ping { times as u64 } else { 0 };
        for _ in 0..times {
            self.said += 1;
            let mut id = [7; 16];
            id[..8].copy_from_slice(&self.said.to_le_bytes());
            let names = self.user.bytes().chain(self.device.bytes());
            names.zip(&mut id[8..]).for_each(|(name, id)| *id = name);
            let frame = match what {
                What::Request => {
                    Frame::Request(Request { id, route: ROUTES[0], payload: &payload, ..Request::default() })
                }
                What::Ping => Frame::Ping(Ping::default()),
                What::Join => Frame::Join { room: b"room" },
                What::Ack => Frame::Ack { taken: 0, received: 0 },
                What::Leave => Frame::Leave { room: b"room" },
            };
            frame.encode(&mut self.batch);
        }
        self.send();
    }

    fn send(&mut self) {
        let mut out = std::mem::replace(&mut self.batch, vec![0; 2]);
        self.machine.seal(&mut out, 0, 1000);
        self.unsent.extend(out);
    }

    /// Writes what the network takes, and reads nothing.
    pub(crate) fn write(&mut self) {
        let written = self.socket.write(self.unsent.make_contiguous());
        self.unsent.drain(..written);
    }

    /// Writes and reads what the network takes and has.
    pub(crate) fn step(&mut self, now: Time) {
        self.write();
        let mut bytes = Vec::new();
        if self.socket.read(&mut bytes, 2048) == 0 {
            return;
        }
        let was_open = self.machine.is_open();
        let mut input = Input::new(&mut bytes, std::mem::take(&mut self.rest));
        while let Some(frame) = self.machine.receive(&mut input, now).expect("the gateway speaks well") {
            self.heard.note(&frame);
        }
        self.rest = input.into_rest();
        if self.machine.is_open() && !was_open {
            self.authenticate();
        }
    }

    fn authenticate(&mut self) {
        let (text, user, device) = (token().text(), self.user.clone(), self.device.clone());
        let (token, user, device) = (text.as_bytes(), user.as_bytes(), device.as_bytes());
        let heartbeat_ms = self.heartbeat_ms;
        let class = self.class.number();
        let auth = Auth { token, user, device, heartbeat_ms, class, ..Auth::default() };
        Frame::Auth(auth).encode(&mut self.batch);
        self.send();
    }
}

impl Heard {
    fn note(&mut self, frame: &Frame<'_>) {
        let code = |number| CloseCode::from_number(number).expect("a known code");
        match frame {
            Frame::Welcome(_) => self.welcome = true,
            Frame::Response(response) if response.outcome == Outcome::Refused => {
                match Refusal::from_number(response.code) {
                    Some(Refusal::Rate) => self.refused += 1,
                    Some(Refusal::InFlight) => self.answered += 1,
                    other => panic!("refused for {other:?}"),
                }
                self.retry_after_ms = self.retry_after_ms.max(response.retry_after_ms);
            }
            Frame::Response(_) => self.answered += 1,
            Frame::Joined { code, retry_after_ms, .. } => {
                self.retry_after_ms = self.retry_after_ms.max(*retry_after_ms);
                let refused = *code == Refusal::Rate.number();
                self.refused += u64::from(refused);
                self.answered += u64::from(!refused);
            }
            Frame::Left { .. } => self.left += 1,
            Frame::Pong { .. } => self.pongs += 1,
            Frame::Warning { code: number, score } => self.warned.push((code(*number), *score)),
            Frame::Close(close) => {
                (self.closed, self.stays_away) = (Some(code(close.code)), close.do_not_reconnect);
            }
            _ => {}
        }
    }
}
