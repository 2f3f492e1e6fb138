//! Both ends of a link and of a stream, at the points where something can be said to them.

use std::sync::Arc;
use std::time::Duration;

use protocol::buffer::{Input, Rest};
use protocol::link::{Acceptor, ClientLink, Dial, ServerLink};
use protocol::noise::{Gate, Suite, Suites};
use protocol::stream::gateway::Introduction;
use protocol::stream::{Access, BackendStream, GatewayStream, Mode, Params, ToBackend, ToGateway};
use protocol::wire::frame::{Auth, Frame, encode_welcome};
use protocol::wire::proto::link::Welcome;
use protocol::wire::stream::Flawed;
use protocol::{Error, Time};

use crate::keys::*;

const SUITE: Suite = Suite::NkChaChaPoly;

/// How far a link has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Behind message 2.
    Unauthenticated,
    /// `Auth` has been read and not been decided.
    Deciding,
    /// `Welcome` has been read.
    Open,
}

/// Both ends of a link behind the golden hello, and the records that brought them there.
pub(crate) struct Link {
    pub(crate) client: ClientLink,
    pub(crate) server: ServerLink,
    /// The client's first record: `Auth`.
    pub(crate) auth: Vec<u8>,
    /// The gateway's first record: `Welcome`.
    pub(crate) welcome: Vec<u8>,
}

impl Link {
    pub(crate) fn at(state: State) -> Self {
        let (client, server) = greeted();
        let mut link = Self { client, server, auth: Vec::new(), welcome: Vec::new() };
        if state != State::Unauthenticated {
            link.authenticate();
        }
        if state == State::Open {
            link.open();
        }
        link
    }

    fn authenticate(&mut self) {
        let mut plain = Vec::new();
        Frame::Auth(Auth { token: b"a token", user: b"alice", device: b"phone", ..Auth::default() })
            .encode(&mut plain);
        self.auth = self.sealed_up(&plain);
        assert_eq!(self.tell_gateway(&self.auth.clone()), Ok(1));
    }

    fn open(&mut self) {
        let mut plain = Vec::new();
        encode_welcome(&Welcome { user: b"alice".to_vec().into(), ..Welcome::default() }, &mut plain);
        self.server.welcome(Duration::from_secs(120), Time::ZERO);
        self.welcome = self.sealed_down(&plain);
        assert_eq!(self.tell_client(&self.welcome.clone()), Ok(1));
    }

    /// Frames in the client's next record.
    pub(crate) fn sealed_up(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut record = [&[0, 0], plaintext].concat();
        self.client.seal(&mut record, 0, RULES.record_len_max);
        record
    }

    /// Frames in the gateway's next record.
    pub(crate) fn sealed_down(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut record = [&[0, 0], plaintext].concat();
        self.server.seal(&mut record, 0, RULES.record_len_max);
        record
    }

    /// How many frames the gateway heard.
    pub(crate) fn tell_gateway(&mut self, records: &[u8]) -> Result<usize, Error> {
        let (mut chunk, mut heard) = (records.to_vec(), 0);
        let mut input = Input::new(&mut chunk, Rest::default());
        while self.server.receive(&mut input, &RULES, Time::ZERO)?.is_some() {
            heard += 1;
        }
        Ok(heard)
    }

    /// How many frames the client heard.
    pub(crate) fn tell_client(&mut self, records: &[u8]) -> Result<usize, Error> {
        let (mut chunk, mut heard) = (records.to_vec(), 0);
        let mut input = Input::new(&mut chunk, Rest::default());
        while self.client.receive(&mut input, Time::ZERO)?.is_some() {
            heard += 1;
        }
        Ok(heard)
    }
}

fn greeted() -> (ClientLink, ServerLink) {
    let acceptor = Acceptor::new(server_key(), Suites::of(&[SUITE]), &[], None);
    let (public, mut hello, mut answer) = (acceptor.public(), Vec::new(), Vec::new());
    let dial = Dial {
        server: &public,
        gate: &Gate::new(&public),
        suite: SUITE,
        better: Suites::NONE,
        served: Suites::NONE,
        device_key: None,
        ticket: None,
    };
    let mut client = ClientLink::dial(&dial, INITIATOR_EPHEMERAL, Time::ZERO, &mut hello).expect("good keys");
    let (mut server, mut chunk) = (ServerLink::new(Time::ZERO), hello.clone());
    let mut input = Input::new(&mut chunk, Rest::default());
    assert_eq!(server.hail(&mut input, &acceptor, &mut answer), Ok(true));
    server
        .handshake(&hello, &acceptor, RESPONDER_EPHEMERAL, Time::ZERO, NOW, &mut answer)
        .expect("a good hello");
    let mut input = Input::new(&mut answer, Rest::default());
    assert_eq!(client.receive(&mut input, Time::ZERO), Ok(None));
    (client, server)
}

/// What both ends of the streams ask of each other: as little as they may.
pub(crate) const PARAMS: Params = Params {
    frame_len_max: 4096,
    window: 2 * (4096 + 64),
    heartbeat: Duration::from_secs(5),
    handshake_deadline: Duration::from_secs(5),
    pending_bytes_max: 1024 * 1024,
};

/// Both ends of a clear stream, which shows frames as they are.
pub(crate) struct Stream {
    pub(crate) gateway: GatewayStream,
    pub(crate) backend: BackendStream,
    /// The gateway's preamble.
    pub(crate) hello: Vec<u8>,
    /// The record of `Hello`, and that of `Ready`.
    pub(crate) introductions: [Vec<u8>; 2],
}

/// What an end of a stream was told.
pub(crate) enum Told {
    /// A frame it takes.
    Heard,
    /// A frame with a field out of its bounds, which leaves the stream to the others.
    Flawed(Flawed),
    /// A kind that it skips.
    Skipped,
}

impl Stream {
    /// With the preamble read and nothing else.
    pub(crate) fn opening() -> Self {
        let introduction =
            Introduction { boot_id: [0x12; 16], gateway: "gate-1".into(), worker: 2, report_slots: 0 };
        let gateway = GatewayStream::new(&Mode::Clear, PARAMS, introduction, INITIATOR_EPHEMERAL, Time::ZERO);
        let (access, routes) = (Arc::new(Access::clear()), vec!["echo".into()]);
        let mut this = Self {
            gateway: gateway.expect("no keys are needed"),
            backend: BackendStream::new(access, PARAMS, b"b-1", routes, RESPONDER_EPHEMERAL, Time::ZERO),
            hello: Vec::new(),
            introductions: [Vec::new(), Vec::new()],
        };
        this.gateway.seal(&mut this.hello);
        this.introductions[0] = this.hello.split_off(32);
        assert!(this.tell_backend(&this.hello.clone()).is_ok_and(|told| told.is_empty()));
        this
    }

    /// With `Hello` and `Ready` read.
    pub(crate) fn open() -> Self {
        let mut this = Self::opening();
        assert!(this.tell_backend(&this.introductions[0].clone()).is_ok());
        let [_, ready] = &mut this.introductions;
        this.backend.seal(ready);
        assert!(this.tell_gateway(&this.introductions[1].clone()).is_ok());
        assert!(this.gateway.is_ready() && this.backend.is_live());
        this
    }

    pub(crate) fn tell_backend(&mut self, records: &[u8]) -> Result<Vec<Told>, Error> {
        let (mut chunk, mut told) = (records.to_vec(), Vec::new());
        let mut input = self.backend.input(&mut chunk);
        while let Some(event) = self.backend.receive(&mut input, Time::ZERO)? {
            told.push(match event {
                ToBackend::Flawed(flawed) => Told::Flawed(flawed),
                ToBackend::Skipped => Told::Skipped,
                _ => Told::Heard,
            });
        }
        self.backend.keep(input);
        Ok(told)
    }

    pub(crate) fn tell_gateway(&mut self, records: &[u8]) -> Result<Vec<Told>, Error> {
        let (mut chunk, mut told) = (records.to_vec(), Vec::new());
        let mut input = self.gateway.input(&mut chunk);
        while let Some(event) = self.gateway.receive(&mut input, Time::ZERO)? {
            told.push(match event {
                ToGateway::Flawed(flawed) => Told::Flawed(flawed),
                ToGateway::Skipped => Told::Skipped,
                _ => Told::Heard,
            });
        }
        self.gateway.keep(input);
        Ok(told)
    }
}

/// A clear record that holds these frames.
pub(crate) fn clear_record(plaintext: &[u8]) -> Vec<u8> {
    let length = u16::try_from(plaintext.len()).expect("a short record").to_be_bytes();
    [&length[..], plaintext].concat()
}
