//! Two honest ends of a stream, and what each of them is still to be told.
//!
//! ```text
//! steps:  0 request    length (word)         5 arrive up, cuts
//!         1 response   length                6 arrive down, cuts
//!         2 push       length                7 close, by which end
//!         3 consume, at which end            8 a frame with a field out of its bounds, which one, length
//!         4 control frame, which one
//! ```
//!
//! Honest ends make mistakes about single links: those are told as what they are, cost what they would have cost
//! without, and the stream goes on.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::time::Duration;

use protocol::noise::Suite;
use protocol::stream::{Access, BackendStream, Blocked, GatewayStream, Mode, ToBackend, ToGateway};
use protocol::wire::proto::stream as proto;
use protocol::wire::stream::{
    About, AuthResult, Authenticate, Ban, Close, Flawed, Kick, LinkClosed, LinkDetached, LinkOpened,
    LinkResumed, PushOutcome, Rare, Report, Resumed, StreamPush, StreamRequest, StreamResponse, Throttle,
    Unacknowledged, Unban, Whom, credit_cost,
};
use protocol::{CloseCode, Time};

use super::{PARAMS, backend, check_credit, gateway};
use crate::targets::parties::PARTIES;
use crate::targets::script::{Script, pieces};

/// Plays one conversation; how many frames were heard.
pub(super) fn run(script: &mut Script<'_>) -> usize {
    let mut pair = Pair::new(script.byte());
    while !script.is_empty() {
        pair.step(script);
        pair.check();
    }
    pair.settle();
    pair.up.heard + pair.down.heard
}

pub(super) struct Pair {
    gateway: GatewayStream,
    backend: BackendStream,
    pub(super) up: Lane,
    pub(super) down: Lane,
    number: u64,
}

/// One direction.
#[derive(Default)]
pub(super) struct Lane {
    /// Everything that was carried, for the seeds.
    pub(super) carried: Vec<u8>,
    expected: VecDeque<String>,
    /// Lengths of payloads that were heard and not given back.
    held: VecDeque<usize>,
    /// Cost of all that was taken and not given back.
    outstanding: u64,
    heard: usize,
}

impl Pair {
    pub(super) fn new(suite: u8) -> Self {
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
        match script.byte() % 9 {
            0 => self.request(payload(script.word()), |_| {}, None),
            1 => self.response(payload(script.word())),
            2 => self.push(payload(script.word()), |_| {}, None),
            3 => self.consume(script.byte()),
            4 => self.control(script.byte()),
            5 => self.arrive_up(script.bytes()),
            6 => self.arrive_down(script.bytes()),
            7 => self.close(script.byte()),
            _ => self.flaw(script.byte(), payload(script.word())),
        }
    }

    /// A request; or one with a field out of its bounds.
    pub(super) fn request(
        &mut self,
        payload: &'static [u8],
        change: fn(&mut StreamRequest<'static>),
        flaw: Option<&'static str>,
    ) {
        let (call, session) = (self.number, &[5; 16]);
        let mut request = StreamRequest { call, id: [7; 16], route: "echo", payload, ..Default::default() };
        (request.user, request.device, request.session) = (b"ann", b"phone", session);
        change(&mut request);
        let before = self.gateway.credit_available();
        let taken = self.gateway.request(&request);
        check_credit(before, self.gateway.credit_available(), payload.len(), taken);
        let flawed =
            flaw.map(|field| Flawed { about: About::Request(call), field, payload_len: Some(payload.len()) });
        let event = flawed.map_or(ToBackend::Request(request), ToBackend::Flawed);
        self.up.say_payload(taken, payload.len(), &event);
    }

    pub(super) fn response(&mut self, payload: &'static [u8]) {
        let response = StreamResponse { call: self.number, payload, ..Default::default() };
        let before = self.backend.credit_available();
        let taken = self.backend.response(&response);
        check_credit(before, self.backend.credit_available(), payload.len(), taken);
        self.down.say_payload(taken, payload.len(), &ToGateway::Response(response));
    }

    /// A push; or one with a field out of its bounds.
    pub(super) fn push(
        &mut self,
        payload: &'static [u8],
        change: fn(&mut StreamPush<'static>),
        flaw: Option<&'static str>,
    ) {
        let number = self.number;
        let mut push = StreamPush { number, user: b"bob", payload, ..Default::default() };
        change(&mut push);
        let before = self.backend.credit_available();
        let taken = self.backend.push(&push);
        check_credit(before, self.backend.credit_available(), payload.len(), taken);
        let flawed =
            flaw.map(|field| Flawed { about: About::Push(number), field, payload_len: Some(payload.len()) });
        let event = flawed.map_or(ToGateway::Push(push), ToGateway::Flawed);
        self.down.say_payload(taken, payload.len(), &event);
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

    fn close(&mut self, end: u8) {
        if end.is_multiple_of(2) {
            let before = self.gateway.pending();
            self.gateway.close(CloseCode::GoingAway, Duration::ZERO, "bye");
            self.up.say(self.gateway.pending() > before, &ToBackend::Close(CLOSE));
        } else {
            let before = self.backend.pending();
            self.backend.close(CloseCode::GoingAway, Duration::ZERO, "bye");
            self.down.say(self.backend.pending() > before, &ToGateway::Close(CLOSE));
        }
    }

    /// Frames that wait for no credit.
    pub(super) fn control(&mut self, which: u8) {
        match which % CONTROL_FRAMES {
            which @ 0..=4 => self.control_up(which),
            which @ 5..=8 => self.control_down(which),
            which @ 9..=11 => self.sanction_down(which),
            which => self.rare_down(which),
        }
    }

    fn control_up(&mut self, which: u8) {
        let (number, live) = (self.number, self.gateway.is_ready());
        let (user, device, session) = (&b"ann"[..], &b"phone"[..], &[5; 16][..]);
        match which {
            0 => {
                let address = &[127, 0, 0, 1];
                let opened =
                    LinkOpened { link: number, user, device, session, address, ..Default::default() };
                self.gateway.link_opened(&opened);
                self.up.say(live, &ToBackend::LinkOpened(opened));
            }
            1 => {
                let closed =
                    LinkClosed { link: number, user, device, session, code: 3, ..Default::default() };
                self.gateway.link_closed(&closed);
                self.up.say(live, &ToBackend::LinkClosed(closed));
            }
            2 => {
                let ask = Authenticate { call: number, token: b"t", device, ..Default::default() };
                let ask = Authenticate { handshake: &[1; 32], class: 2, ..ask };
                self.gateway.authenticate(&ask);
                self.up.say(live, &ToBackend::Authenticate(ask));
            }
            3 => {
                let report =
                    Report { number, outcome: PushOutcome::Undelivered, reason: 1, ..Default::default() };
                let report = Report { report: number, device, class: 1, devices: 2, user, ..report };
                self.gateway.report(&report);
                self.up.say(live, &ToBackend::Report(report));
            }
            _ => {
                let numbers = [number, 0, u64::MAX];
                let unacknowledged = Unacknowledged::of(&numbers);
                let detached = LinkDetached { link: number, session, unacknowledged, ..Default::default() };
                self.gateway.link_detached(&detached);
                self.up.say(live, &ToBackend::LinkDetached(detached));
                let links = [Resumed::default(), Resumed { old_link: number, link: 1, link_epoch: 2 }];
                self.gateway.link_resumed(&links);
                self.up.say(live, &ToBackend::LinkResumed(LinkResumed::of(&links)));
            }
        }
    }

    fn control_down(&mut self, which: u8) {
        let (number, live) = (self.number, self.backend.is_live());
        match which {
            5 => {
                let verdict = AuthResult { call: number, accepted: true, user: b"ann", ..Default::default() };
                let verdict = AuthResult { bound_key: &[6; 32], login: b"l", ticket_ms: 9, ..verdict };
                self.backend.auth_result(&verdict);
                self.down.say(live, &ToGateway::AuthResult(verdict));
            }
            6 => {
                let kick = Kick { user: b"ann", code: 4, revoke: true, ..Default::default() };
                self.backend.kick(&kick);
                self.down.say(live, &ToGateway::Kick(kick));
            }
            7 => {
                self.backend.report_ack(number);
                self.down.say(live, &ToGateway::ReportAck { report: number });
            }
            _ => {
                self.backend.draining(Duration::from_millis(number));
                self.down.say(live, &ToGateway::Draining);
            }
        }
    }

    /// Whom a backend keeps out or slows down.
    fn sanction_down(&mut self, which: u8) {
        let (live, realm) = (self.backend.is_live(), "");
        let (user, prefix) = (Whom::User(b"ann"), Whom::Addresses { prefix: &[9; 16], prefix_len: 48 });
        let event = match which {
            9 => {
                let ban = Ban { whom: user, until_ms: 7, reason: "spam", realm };
                self.backend.ban(&ban);
                ToGateway::Ban(ban)
            }
            10 => {
                let unban = Unban { whom: prefix, realm };
                self.backend.unban(&unban);
                ToGateway::Unban(unban)
            }
            _ => {
                let throttle = Throttle { whom: user, percent: 50, until_ms: 0, realm };
                self.backend.throttle(&throttle);
                ToGateway::Throttle(throttle)
            }
        };
        self.down.say(live, &event);
    }

    /// What the gateway does not serve yet, and skips.
    fn rare_down(&mut self, which: u8) {
        let (live, user) = (self.backend.is_live(), prost::bytes::Bytes::from_static(b"ann"));
        let backend = &mut self.backend;
        match which {
            12 => backend.rare(Rare::Join, &proto::Join { user, number: 1, ..Default::default() }),
            13 => backend.rare(Rare::Leave, &proto::Leave { user, ..Default::default() }),
            14 => backend.rare(Rare::EndSession, &proto::EndSession { session: user, code: 19 }),
            _ => backend.rare(Rare::RoomAnswer, &proto::RoomAnswer { call: 1, ..Default::default() }),
        }
        self.down.say(live, &ToGateway::Skipped);
    }

    /// A frame about one link with a field too long, too short, missing or one too many.
    pub(super) fn flaw(&mut self, which: u8, payload: &'static [u8]) {
        let ready = self.gateway.is_ready();
        let number = self.number;
        match which % FLAWS {
            0 => self.request(payload, |request| request.session = &LONG[..15], Some("session")),
            1 => self.request(payload, |request| request.user = b"", Some("user")),
            2 => self.request(payload, |request| request.device = &LONG, Some("device")),
            3 => self.request(payload, |request| request.key = &LONG, Some("key")),
            4 => self.push(payload, |push| push.link = 1, Some("target")),
            5 => self.push(payload, |push| push.user = b"", Some("target")),
            6 => self.push(payload, |push| push.user = &LONG, Some("user")),
            7 => self.push(payload, |push| push.id = &LONG[..17], Some("id")),
            8 => {
                let ask = Authenticate { call: number, device: b"phone", ..Default::default() };
                self.gateway.authenticate(&Authenticate { handshake: &LONG[..31], ..ask });
                self.up.say_flawed(ready, ToBackend::Flawed, About::Authenticate(number), "handshake");
            }
            9 => {
                let opened = LinkOpened { link: number, user: b"ann", device: &LONG, ..Default::default() };
                self.gateway.link_opened(&opened);
                self.up.say_flawed(ready, ToBackend::Flawed, About::Presence(number), "device");
            }
            10 => {
                let closed =
                    LinkClosed { link: number, user: b"ann", device: b"phone", ..Default::default() };
                self.gateway.link_closed(&closed);
                self.up.say_flawed(ready, ToBackend::Flawed, About::Presence(number), "session");
            }
            which => self.flaw_down(which),
        }
    }

    fn flaw_down(&mut self, which: u8) {
        let (number, live) = (self.number, self.backend.is_live());
        let verdict = AuthResult { call: number, accepted: true, ..Default::default() };
        let kick = Kick { link: number, ..Default::default() };
        let (about, field) = match which {
            11 => {
                self.backend.auth_result(&verdict);
                (About::AuthResult(number), "user")
            }
            12 => {
                self.backend.auth_result(&AuthResult { user: b"a", bound_key: &LONG[..31], ..verdict });
                (About::AuthResult(number), "bound_key")
            }
            13 => {
                self.backend.kick(&Kick { user: b"ann", ..kick });
                (About::Kick(number), "target")
            }
            14 => {
                self.backend.kick(&Kick { link: 0, ..kick });
                (About::Kick(0), "target")
            }
            _ => {
                self.backend.kick(&Kick { user: &LONG, ..kick });
                (About::Kick(number), "user")
            }
        };
        self.down.say_flawed(live, ToGateway::Flawed, about, field);
    }

    pub(super) fn arrive_up(&mut self, cuts: &[u8]) {
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
                    ToBackend::Flawed(flawed) => up.held.extend(flawed.payload_len),
                    _ => {}
                }
                up.hear(&event);
            }
            backend.keep(input);
        }
    }

    pub(super) fn arrive_down(&mut self, cuts: &[u8]) {
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
                    ToGateway::Flawed(flawed) => down.held.extend(flawed.payload_len),
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

    /// A frame that costs nothing was said, with a field out of its bounds.
    fn say_flawed<E: Debug>(
        &mut self,
        live: bool,
        event: impl Fn(Flawed) -> E,
        about: About,
        field: &'static str,
    ) {
        self.say(live, &event(Flawed { about, field, payload_len: None }));
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

/// The front of what all payloads are made of; the longest is more than a frame may hold.
pub(super) fn payload(len: u64) -> &'static [u8] {
    static PAYLOAD: [u8; 4200] = [0x5a; 4200];
    &PAYLOAD[..len as usize % PAYLOAD.len()]
}

pub(super) const CLOSE: Close<'static> =
    Close { code: CloseCode::GoingAway.number(), retry_after_ms: 0, text: "bye" };
/// How many frames [`Pair::control`] knows.
pub(super) const CONTROL_FRAMES: u8 = 16;
/// How many [`Pair::flaw`] does.
pub(super) const FLAWS: u8 = 16;
/// One byte more than a user or device has.
static LONG: [u8; 65] = [b'a'; 65];
