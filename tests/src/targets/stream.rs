//! Streams to backends: their frames by both decoders, either end against anything, both ends against each other.
//!
//! ```text
//! mode 0  body                     a frame
//! mode 1  cuts, bytes              what a backend says, without encryption, to a gateway
//! mode 2  cuts, bytes              what a gateway says, without encryption, to a backend
//! mode 3  suite, steps             two honest ends
//! ```
//!
//! Without encryption whatever the fuzzer writes is read. The same bytes must mean the same however they are cut.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use protocol::noise::Suite;
use protocol::stream::gateway::Introduction;
use protocol::stream::{Access, BackendStream, Blocked, GatewayStream, Mode, Params, ToBackend, ToGateway};
use protocol::wire::proto::stream::{self as proto, frame::Kind};
use protocol::wire::stream::{
    AuthResult, Authenticate, Close, Kick, LinkClosed, LinkOpened, PushOutcome, Rare, Report, StreamFrame,
    StreamPush, StreamRequest, StreamResponse, credit_cost,
};
use protocol::{CloseCode, Error, Time};

use super::Seed;
use super::frames::{Read, agree, unframed};
use super::parties::{ANSWERING, ASKING, PARTIES};
use super::script::{Script, Writer, pieces};

/// The body of this target: how many frames were understood.
pub fn run(data: &[u8]) -> usize {
    let mut script = Script::new(data);
    match script.byte() % 4 {
        0 => frame(script.rest()),
        1 => told(&mut script, gateway_hears),
        2 => told(&mut script, backend_hears),
        _ => Pair::run(&mut script),
    }
}

fn frame(body: &[u8]) -> usize {
    let ours = StreamFrame::decode(body).map(|frame| {
        let mut encoded = Vec::new();
        frame.encode(&mut encoded);
        let encoded = unframed(&encoded);
        if frame != StreamFrame::Unknown {
            assert_eq!(
                StreamFrame::decode(&encoded),
                Ok(frame),
                "what was written is read as something else"
            );
        }
        if let Some(len) = frame.payload_body_len() {
            assert_eq!(len, encoded.len());
        }
        Read { encoded, borrowed: matches!(frame, StreamFrame::Rare(..)) }
    });
    agree(body, &ours, 1..=21, |frame: &mut proto::Frame| {
        if let Some(Kind::Report(report)) = &mut frame.kind
            && !(0..=1).contains(&report.outcome)
        {
            report.outcome = 2;
        }
    });
    usize::from(ours.is_ok_and(|read| !read.encoded.is_empty()))
}

/// What became of some bytes: everything the end was told, how it ended, and what it answered.
#[derive(Debug, PartialEq)]
struct Outcome {
    told: Vec<String>,
    ended: Result<(), Error>,
    answered: Vec<u8>,
}

fn told(script: &mut Script<'_>, hears: fn(Vec<&mut [u8]>) -> Outcome) -> usize {
    let (cuts, bytes) = (script.bytes(), script.rest());
    let whole = hears(pieces(&mut bytes.to_vec(), &[]));
    let cut = hears(pieces(&mut bytes.to_vec(), cuts));
    assert_eq!(whole, cut, "cuts make a difference");
    whole.told.len()
}

/// A gateway that gives every credit back at once.
fn gateway_hears(pieces: Vec<&mut [u8]>) -> Outcome {
    let mut stream = gateway(&Mode::Clear);
    let (mut told, mut answered) = (Vec::new(), Vec::new());
    let ended = pieces.into_iter().try_for_each(|piece| {
        let mut input = stream.input(piece);
        while let Some(event) = stream.receive(&mut input, Time::ZERO)? {
            told.push(format!("{event:?}"));
            match event {
                ToGateway::Response(response) => stream.consumed(response.payload.len()),
                ToGateway::Push(push) => stream.consumed(push.payload.len()),
                _ => {}
            }
        }
        stream.keep(input);
        Ok(())
    });
    stream.seal(&mut answered);
    Outcome { told, ended, answered }
}

/// A backend that never gives credit back, and answers requests while it has credit itself.
fn backend_hears(pieces: Vec<&mut [u8]>) -> Outcome {
    let mut stream = backend(Access::clear());
    let (mut told, mut answered) = (Vec::new(), Vec::new());
    let ended = pieces.into_iter().try_for_each(|piece| {
        let mut input = stream.input(piece);
        while let Some(event) = stream.receive(&mut input, Time::ZERO)? {
            told.push(format!("{event:?}"));
            if let ToBackend::Request(request) = event {
                let answer =
                    StreamResponse { call: request.call, payload: request.payload, ..Default::default() };
                let (before, answered) = (stream.credit_available(), stream.response(&answer));
                check_credit(before, stream.credit_available(), request.payload.len(), answered);
            }
        }
        stream.keep(input);
        Ok(())
    });
    stream.seal(&mut answered);
    Outcome { told, ended, answered }
}

/// Credit is taken whole when a frame was taken, and not at all otherwise.
fn check_credit(before: u64, after: u64, payload_len: usize, taken: Result<(), Blocked>) {
    let cost = credit_cost(payload_len);
    match taken {
        Ok(()) => assert_eq!(after, before - cost),
        Err(Blocked::Credit) => assert!(after == before && before < cost),
        Err(_) => assert_eq!(after, before),
    }
}

fn gateway(mode: &Mode) -> GatewayStream {
    let introduction = Introduction { boot_id: [9; 16], gateway: "gate-1".to_owned(), worker: 2 };
    GatewayStream::new(mode, PARAMS, introduction, ASKING, Time::ZERO).expect("the keys can be used")
}

fn backend(access: Access) -> BackendStream {
    let routes = vec!["echo".to_owned(), "chat".to_owned()];
    BackendStream::new(Arc::new(access), PARAMS, b"b-1", routes, ANSWERING, Time::ZERO)
}

const PARAMS: Params = Params {
    frame_len_max: 4096,
    window: 2 * (4096 + 64),
    heartbeat: Duration::from_secs(5),
    handshake_deadline: Duration::from_secs(3),
    pending_bytes_max: 16 * 1024,
};

/// Two honest ends, and what each of them is still to be told.
///
/// ```text
/// steps:  0 request    length (word)         4 control frame, from which end
///         1 response   length                5 arrive up, cuts
///         2 push       length                6 arrive down, cuts
///         3 consume, at which end            7 close, by which end
/// ```
struct Pair {
    gateway: GatewayStream,
    backend: BackendStream,
    up: Lane,
    down: Lane,
    number: u64,
}

/// One direction.
#[derive(Default)]
struct Lane {
    /// Everything that was carried, for the seeds.
    carried: Vec<u8>,
    expected: VecDeque<String>,
    /// Lengths of payloads that were heard and not given back.
    held: VecDeque<usize>,
    /// Cost of all that was taken and not given back.
    outstanding: u64,
    heard: usize,
}

impl Pair {
    fn run(script: &mut Script<'_>) -> usize {
        let mut pair = Self::new(script.byte());
        while !script.is_empty() {
            pair.step(script);
            pair.check();
        }
        pair.settle();
        pair.up.heard + pair.down.heard
    }

    fn new(suite: u8) -> Self {
        let kk = |suite| Mode::Kk { suite, local: PARTIES.gateway.clone(), remote: PARTIES.backend.public() };
        let mode = match suite % 3 {
            0 => Mode::Clear,
            1 => kk(Suite::KkChaChaPoly),
            _ => kk(Suite::KkAesGcm),
        };
        let access = match mode {
            Mode::Clear => Access::clear(),
            Mode::Kk { .. } => Access::kk(PARTIES.backend.clone(), vec![PARTIES.gateway.public()]),
        };
        let (up, down) = (Lane::default(), Lane::default());
        Self { gateway: gateway(&mode), backend: backend(access), up, down, number: 1 }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        self.number += 1;
        match script.byte() % 8 {
            0 => self.request(script.word()),
            1 => self.response(script.word()),
            2 => self.push(script.word()),
            3 => self.consume(script.byte()),
            4 => self.control(script.byte()),
            5 => self.arrive_up(script.bytes()),
            6 => self.arrive_down(script.bytes()),
            _ if script.byte().is_multiple_of(2) => {
                let before = self.gateway.pending();
                self.gateway.close(CloseCode::GoingAway, Duration::ZERO, "bye");
                self.up.say(self.gateway.pending() > before, &ToBackend::Close(CLOSE));
            }
            _ => {
                let before = self.backend.pending();
                self.backend.close(CloseCode::GoingAway, Duration::ZERO, "bye");
                self.down.say(self.backend.pending() > before, &ToGateway::Close(CLOSE));
            }
        }
    }

    fn request(&mut self, len: u64) {
        let payload = &PAYLOAD[..len as usize % PAYLOAD.len()];
        let call = self.number;
        let request =
            StreamRequest { call, id: [7; 16], route: "echo", user: b"ann", payload, ..Default::default() };
        let before = self.gateway.credit_available();
        let taken = self.gateway.request(&request);
        check_credit(before, self.gateway.credit_available(), payload.len(), taken);
        self.up.say_payload(taken, payload.len(), &ToBackend::Request(request));
    }

    fn response(&mut self, len: u64) {
        let payload = &PAYLOAD[..len as usize % PAYLOAD.len()];
        let response = StreamResponse { call: self.number, payload, ..Default::default() };
        let before = self.backend.credit_available();
        let taken = self.backend.response(&response);
        check_credit(before, self.backend.credit_available(), payload.len(), taken);
        self.down.say_payload(taken, payload.len(), &ToGateway::Response(response));
    }

    fn push(&mut self, len: u64) {
        let payload = &PAYLOAD[..len as usize % PAYLOAD.len()];
        let push = StreamPush { number: self.number, user: b"bob", payload, ..Default::default() };
        let before = self.backend.credit_available();
        let taken = self.backend.push(&push);
        check_credit(before, self.backend.credit_available(), payload.len(), taken);
        self.down.say_payload(taken, payload.len(), &ToGateway::Push(push));
    }

    fn consume(&mut self, end: u8) {
        let lane = if end.is_multiple_of(2) { &mut self.up } else { &mut self.down };
        let Some(len) = lane.held.pop_front() else { return };
        lane.outstanding -= credit_cost(len);
        if end.is_multiple_of(2) {
            self.backend.consumed(len);
        } else {
            self.gateway.consumed(len);
        }
    }

    /// Frames that wait for no credit.
    fn control(&mut self, which: u8) {
        let number = self.number;
        let (from_gateway, from_backend) = (self.gateway.is_ready(), self.backend.is_live());
        let opened =
            LinkOpened { link: number, user: b"ann", address: &[127, 0, 0, 1], ..Default::default() };
        let closed = LinkClosed { link: number, user: b"ann", code: 3, ..Default::default() };
        let ask = Authenticate { call: number, token: b"t", handshake: &[1; 32], ..Default::default() };
        let report = Report { number, outcome: PushOutcome::Undelivered, reason: 1 };
        let verdict = AuthResult { call: number, accepted: true, user: b"ann", ..Default::default() };
        let kick = Kick { user: b"ann", code: 4, ..Default::default() };
        let ban =
            proto::Ban { user: b"ann".to_vec().into(), reason: "spam".to_owned(), ..Default::default() };
        match which % 8 {
            0 => self.gateway.link_opened(&opened),
            1 => self.gateway.link_closed(&closed),
            2 => self.gateway.authenticate(&ask),
            3 => self.gateway.report(report),
            4 => self.backend.auth_result(&verdict),
            5 => self.backend.kick(&kick),
            6 => self.backend.report_ack(number),
            _ => self.backend.rare(Rare::Ban, &ban),
        }
        let inner = prost::Message::encode_to_vec(&ban);
        match which % 8 {
            0 => self.up.say(from_gateway, &ToBackend::LinkOpened(opened)),
            1 => self.up.say(from_gateway, &ToBackend::LinkClosed(closed)),
            2 => self.up.say(from_gateway, &ToBackend::Authenticate(ask)),
            3 => self.up.say(from_gateway, &ToBackend::Report(report)),
            4 => self.down.say(from_backend, &ToGateway::AuthResult(verdict)),
            5 => self.down.say(from_backend, &ToGateway::Kick(kick)),
            6 => self.down.say(from_backend, &ToGateway::ReportAck { number }),
            _ => self.down.say(from_backend, &ToGateway::Rare(Rare::Ban, &inner)),
        }
    }

    fn arrive_up(&mut self, cuts: &[u8]) {
        let Self { gateway, backend, up, .. } = self;
        let mut batch = Vec::new();
        gateway.seal(&mut batch);
        up.carried.extend_from_slice(&batch);
        for piece in pieces(&mut batch, cuts) {
            let mut input = backend.input(piece);
            while let Some(event) = backend.receive(&mut input, Time::ZERO).expect("the gateway is honest") {
                match event {
                    ToBackend::Hello | ToBackend::Credited | ToBackend::Alive => continue,
                    ToBackend::Request(request) => up.held.push_back(request.payload.len()),
                    _ => {}
                }
                up.hear(&event);
            }
            backend.keep(input);
        }
    }

    fn arrive_down(&mut self, cuts: &[u8]) {
        let Self { gateway, backend, down, .. } = self;
        let mut batch = Vec::new();
        backend.seal(&mut batch);
        down.carried.extend_from_slice(&batch);
        for piece in pieces(&mut batch, cuts) {
            let mut input = gateway.input(piece);
            while let Some(event) = gateway.receive(&mut input, Time::ZERO).expect("the backend is honest") {
                match event {
                    ToGateway::Ready | ToGateway::Credited | ToGateway::Alive => continue,
                    ToGateway::Response(response) => down.held.push_back(response.payload.len()),
                    ToGateway::Push(push) => down.held.push_back(push.payload.len()),
                    _ => {}
                }
                down.hear(&event);
            }
            gateway.keep(input);
        }
    }

    fn check(&mut self) {
        if self.backend.is_closed() {
            self.up.expected.clear();
        }
        if self.gateway.is_closed() {
            self.down.expected.clear();
        }
        for (credit, lane) in
            [(self.gateway.credit_available(), &self.up), (self.backend.credit_available(), &self.down)]
        {
            assert!(credit + lane.outstanding <= PARAMS.window, "credit came from nowhere");
        }
        let held: u64 = self.up.held.iter().map(|len| credit_cost(*len)).sum();
        assert!(self.backend.is_closed() || self.backend.held() == held);
    }

    /// Everything arrives and is given back: nothing is missing, and there is credit again.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.arrive_up(&[]);
            self.arrive_down(&[200]);
            self.check();
            while !self.up.held.is_empty() || !self.down.held.is_empty() {
                self.consume(0);
                self.consume(1);
            }
        }
        assert!(self.up.expected.is_empty() && self.down.expected.is_empty(), "something was not heard");
        if self.gateway.is_ready() && self.backend.is_live() {
            assert_eq!(self.gateway.routes(), ["echo", "chat"]);
            assert!(self.gateway.credit_available() > PARAMS.window / 2, "credit was lost");
            assert!(self.backend.credit_available() > PARAMS.window / 2, "credit was lost");
        }
    }
}

impl Lane {
    /// Something was said, if its end was `live`.
    fn say(&mut self, live: bool, event: &impl Debug) {
        if live {
            self.expected.push_back(format!("{event:?}"));
        }
    }

    fn say_payload(&mut self, taken: Result<(), Blocked>, payload_len: usize, event: &impl Debug) {
        if taken.is_ok() {
            self.outstanding += credit_cost(payload_len);
        }
        self.say(taken.is_ok(), event);
    }

    fn hear(&mut self, event: &impl Debug) {
        assert_eq!(Some(format!("{event:?}")), self.expected.pop_front());
        self.heard += 1;
    }
}

const CLOSE: Close<'static> = Close { code: CloseCode::GoingAway.number(), retry_after_ms: 0, text: "bye" };
/// Payloads are the front of it; the longest is more than a frame may hold.
static PAYLOAD: [u8; 4200] = [0x5a; 4200];

/// Frames of every kind, both sides of a conversation, and conversations.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = said()
        .into_iter()
        .map(|(name, frame)| {
            let mut encoded = Vec::new();
            frame.encode(&mut encoded);
            (name, Writer::default().byte(0).rest(&unframed(&encoded)).done())
        })
        .collect();
    let (up, down) = conversation();
    let heard =
        |mode: u8, cuts: &[u8], bytes: &[u8]| Writer::default().byte(mode).bytes(cuts).rest(bytes).done();
    let record = |plain: &[u8]| [&(plain.len() as u16).to_be_bytes()[..], plain].concat();
    // The record with `Ready` or `Hello`, behind which anything may stand.
    let (ready, hello) = (first_record(&down, 0), first_record(&up, 32));
    let push_to_nobody = record(&[4, 0x1a, 2, 8, 1]);
    let pings = record(&[4, 0x2a, 2, 8, 1].repeat(100));
    let talk = |suite: u8| {
        let mut script = Writer::default().byte(3).byte(suite).byte(5).bytes(&[0]).byte(6).bytes(&[11]);
        for len in [0, 5, 4000, 4000, 4199] {
            script = script.byte(0).word(len).byte(1).word(len).byte(2).word(len);
        }
        for which in 0..8 {
            script = script.byte(4).byte(which);
        }
        script = script.byte(5).bytes(&[100, 3]).byte(6).bytes(&[0xf0]);
        for end in [0, 1, 0, 1] {
            script = script.byte(3).byte(end);
        }
        script.byte(5).bytes(&[]).byte(0).word(4000).byte(7).byte(suite).done()
    };
    seeds.extend([
        ("to-gateway", heard(1, &[6], &down)),
        ("to-gateway-pings", heard(1, &[200], &[&ready[..], &pings].concat())),
        ("to-gateway-no-target", heard(1, &[], &[&ready[..], &push_to_nobody].concat())),
        ("to-gateway-not-ready", heard(1, &[], &pings)),
        ("to-gateway-empty-record", heard(1, &[0], &[&ready[..], &[0, 0]].concat())),
        ("to-backend", heard(2, &[1, 50], &up)),
        ("to-backend-twice-hello", heard(2, &[], &[&hello[..], &hello[32..]].concat())),
        ("to-backend-long-frame", heard(2, &[], &[&hello[..], &record(&[0x81, 0x20])].concat())),
        (
            "to-backend-credit",
            heard(2, &[], &[&hello[..], &record(&[4, 0x0a, 2, 8, 1].repeat(140))].concat()),
        ),
        ("talk-clear", talk(0)),
        ("talk-kk-chachapoly", talk(1)),
        ("talk-kk-aesgcm", talk(2)),
    ]);
    seeds
}

/// One of each frame that is written by hand, and one that is not.
fn said() -> Vec<(&'static str, StreamFrame<'static>)> {
    let request = StreamRequest {
        call: 1,
        link: 2,
        id: [3; 16],
        user: b"ann",
        device: b"phone",
        route: "echo",
        key: b"room-7",
        payload: b"hello",
        deadline_ms: 5000,
        trace: 4,
        again: true,
        session: &[5; 16],
    };
    vec![
        ("request", StreamFrame::Request(request)),
        (
            "response",
            StreamFrame::Response(StreamResponse {
                call: 1,
                status: 9,
                payload: b"no",
                refused: true,
                retry_after_ms: 5,
                trace: 4,
            }),
        ),
        (
            "push",
            StreamFrame::Push(StreamPush {
                number: 1,
                user: b"bob",
                device: b"pad",
                id: &[6; 16],
                payload: b"psst",
                class: 1,
                ..Default::default()
            }),
        ),
        ("credit", StreamFrame::Credit { bytes: 100_000 }),
        ("ping", StreamFrame::Ping { nonce: 1 }),
        ("pong", StreamFrame::Pong { nonce: 1 }),
        ("report", StreamFrame::Report(Report { number: 1, outcome: PushOutcome::Unknown, reason: 2 })),
        ("report-ack", StreamFrame::ReportAck { number: 1 }),
        (
            "link-opened",
            StreamFrame::LinkOpened(LinkOpened {
                link: 2,
                user: b"ann",
                device: b"phone",
                session: &[5; 16],
                address: &[127, 0, 0, 1],
                port: 9,
                suite: 1,
                login_ms: 8,
                agent: "sdk/1",
            }),
        ),
        (
            "link-closed",
            StreamFrame::LinkClosed(LinkClosed {
                link: 2,
                user: b"ann",
                device: b"phone",
                session: &[5; 16],
                code: 3,
            }),
        ),
        (
            "authenticate",
            StreamFrame::Authenticate(Authenticate {
                call: 1,
                link: 2,
                token: b"t",
                device: b"phone",
                handshake: &[1; 32],
                peer_key: &[2; 32],
                suite: 3,
                deadline_ms: 5,
                signature: &[3; 64],
                ..Default::default()
            }),
        ),
        (
            "auth-result",
            StreamFrame::AuthResult(AuthResult {
                call: 1,
                accepted: true,
                user: b"ann",
                expires_ms: 7,
                code: 0,
                retry_after_ms: 0,
            }),
        ),
        (
            "kick",
            StreamFrame::Kick(Kick { link: 2, user: b"", device: b"", code: 4, do_not_reconnect: true }),
        ),
        ("close", StreamFrame::Close(CLOSE)),
        ("join", StreamFrame::Rare(Rare::Join, b"\x12\x03ann\x1a\x05lobby")),
        ("link-detached", StreamFrame::Rare(Rare::LinkDetached, b"\x09\x02\0\0\0\0\0\0\0\x22\x02\x01\x02")),
    ]
}

/// What a gateway and a backend say to each other, each side in one piece.
fn conversation() -> (Vec<u8>, Vec<u8>) {
    let mut pair = Pair::new(0);
    for step in 0..4 {
        if step == 2 {
            (0..8).for_each(|which| pair.control(which));
        }
        if step > 1 {
            pair.request(50);
            pair.push(60);
            pair.response(70);
        }
        pair.arrive_up(&[]);
        pair.arrive_down(&[]);
    }
    (pair.up.carried, pair.down.carried)
}

/// The bytes up to the end of the record at `at`.
fn first_record(bytes: &[u8], at: usize) -> Vec<u8> {
    let len = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    bytes[..at + 2 + len].to_vec()
}
