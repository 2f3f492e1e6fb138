//! Streams of one worker against the other ends themselves, with bytes carried by hand and on a clock made of numbers.

mod carry;
mod dial;
mod end;
mod health;
mod presence;

use std::path::PathBuf;
use std::sync::Arc;

use driver::{Armed, Batch, End, Endpoint, Errno, Op, Sent, Token};
use protocol::Error;
use protocol::stream::{Access, BackendStream, Mode, Params, ToBackend, ToGateway};
use protocol::wire::stream::{LinkClosed, StreamResponse};

use super::*;
use crate::config::Capabilities;
use crate::upstream::redial;
use crate::upstream::route::{Balance, Route};
use crate::worker::settings::Backend;
use crate::worker::turn::Turn;

const FIRST: StreamIndex = StreamIndex(0);
const SECOND: StreamIndex = StreamIndex(1);
const ROUTE: RouteIndex = RouteIndex(0);
const PARAMS: Params = Params {
    frame_len_max: 4096,
    window: 2 * (4096 + 64),
    heartbeat: Duration::from_secs(5),
    handshake_deadline: Duration::from_secs(3),
    pending_bytes_max: 8192,
};
/// Two deadlines missed in a row are too many.
const RULES: redial::Rules = redial::Rules {
    dial_deadline: Duration::from_secs(5),
    pause_first: Duration::from_millis(500),
    pause_max: Duration::from_secs(15),
    settled_after: Duration::from_secs(30),
    misses_max: 2,
    eject_first: Duration::from_secs(10),
    eject_max: Duration::from_secs(120),
};

/// Two endpoints on Unix sockets in clear, both of the route `echo`, whose backends are told of links.
fn settings() -> Settings {
    Settings {
        endpoints: ["b-0", "b-1"].map(endpoint).into(),
        routes: vec![route("echo", &[FIRST, SECOND])],
        redial: RULES,
        ..Settings::small()
    }
}

fn endpoint(name: &str) -> Backend {
    let address = Endpoint::Unix(PathBuf::from(name));
    let capabilities = Capabilities::UNSAID;
    Backend { name: name.to_owned(), address, mode: Mode::Clear, capabilities, params: PARAMS }
}

fn route(name: &str, streams: &[StreamIndex]) -> Route {
    Route {
        name: name.to_owned(),
        streams: streams.to_vec(),
        balance: Balance::User,
        presence: true,
        deadline: Duration::from_secs(10),
    }
}

fn at(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

fn request(call: u64, payload: &[u8]) -> StreamRequest<'_> {
    let id = [call as u8; 16];
    StreamRequest { call, id, user: b"ann", device: b"phone", route: "echo", payload, ..Default::default() }
}

fn opened(link: u64) -> LinkOpened<'static> {
    LinkOpened { link, user: b"ann", device: b"phone", session: &[6; 16], suite: 1, ..Default::default() }
}

/// A link in this slot ends.
fn close(streams: &mut Streams, slot: u32, closed: &LinkClosed<'_>) {
    let told = streams.forget_link(slot);
    streams.tell(&told, |machine| machine.link_closed(closed));
}

fn closed(link: u64) -> LinkClosed<'static> {
    LinkClosed { link, user: b"ann", device: b"phone", session: &[6; 16], ..Default::default() }
}

/// The streams of a worker, and their other ends.
struct Stage {
    streams: Streams,
    turn: Turn,
    /// The other ends of the present sockets.
    backends: Vec<Option<BackendStream>>,
    /// What other ends grant from now on.
    grants: Params,
    /// What the other ends were told, each by its stream.
    at_backend: Vec<(u16, String)>,
    /// What came from them.
    at_gateway: Vec<(u16, String)>,
    /// Counts the sockets.
    sockets: u32,
}

impl Stage {
    fn new() -> Self {
        Self::of(settings())
    }

    fn of(settings: Settings) -> Self {
        let streams = Streams::new(&settings, &HashKey::new([6; 16]), Time::ZERO);
        Self {
            streams,
            backends: settings.endpoints.iter().map(|_| None).collect(),
            turn: Turn::of(settings),
            grants: Params { window: 1 << 20, ..PARAMS },
            at_backend: Vec::new(),
            at_gateway: Vec::new(),
            sockets: 0,
        }
    }

    /// Both streams dialled, nothing come of it.
    fn dialling() -> Self {
        let mut stage = Self::new();
        assert_eq!((stage.expire(), stage.dialled()), (vec![], vec![0, 1]));
        stage
    }

    /// With these streams up, and nothing under way.
    fn standing(streams: &[StreamIndex]) -> Self {
        let mut stage = Self::dialling();
        streams.iter().for_each(|&stream| stage.rise(stream));
        stage
    }

    /// A stream whose dial is under way comes up.
    fn rise(&mut self, stream: StreamIndex) {
        self.connect(stream);
        self.turn.ops.clear();
        self.carry();
        assert!(self.streams.see(stream).is_ready());
        self.at_backend.clear();
        self.at_gateway.clear();
    }

    /// The dial of a stream leads to a socket, whose other end is there.
    fn connect(&mut self, stream: StreamIndex) -> Token {
        self.sockets += 1;
        let token = Token { slot: stream.0.into(), generation: self.sockets };
        let tag = self.streams.tag(stream);
        self.streams.connected(&mut self.turn, tag, Ok(token));
        let (access, routes) = (Arc::new(Access::clear()), vec!["echo".to_owned()]);
        let backend = BackendStream::new(access, self.grants, b"b", routes, [13; 32], self.turn.now);
        self.backends[usize::from(stream.0)] = Some(backend);
        token
    }

    /// The last dial of a stream fails.
    fn refuse(&mut self, stream: StreamIndex, errno: i32) {
        let tag = self.streams.tag(stream);
        self.streams.connected(&mut self.turn, tag, Err(Errno(errno)));
    }

    /// Lets time pass up to a moment; which endpoints take requests again.
    fn until(&mut self, moment: Time) -> Vec<u16> {
        self.turn.now = moment;
        self.expire()
    }

    fn expire(&mut self) -> Vec<u16> {
        let (mut budget, mut back) = (100, Vec::new());
        while let Some((stream, is_back)) = self.streams.expire(&mut self.turn, &mut budget) {
            back.extend(is_back.then_some(stream.0));
        }
        back
    }

    /// Lets time pass until something is asked of the driver.
    fn until_ops(&mut self) {
        for _ in 0..100 {
            if !self.turn.ops.is_empty() {
                return;
            }
            let next = self.streams.next_deadline().expect("something is going to happen");
            self.until(next);
        }
        panic!("nothing happens");
    }

    /// The same; whether it is to dial this stream.
    fn until_ops_of(&mut self, stream: StreamIndex) -> bool {
        self.until_ops();
        self.dialled().contains(&stream.0)
    }

    /// Takes out what was asked of the driver, which is only to dial; the streams.
    fn dialled(&mut self) -> Vec<u16> {
        let ops = self.turn.ops.drain(..);
        let tags = ops.map(|op| if let Op::Connect { tag, .. } = op { tag } else { panic!("{op:?}") });
        tags.map(|tag| Streams::dialled(tag).0).collect()
    }

    fn ops(&mut self) -> Vec<Op> {
        self.turn.ops.drain(..).collect()
    }

    /// Flushes and takes out the sends.
    fn flush(&mut self) -> Vec<(Token, Batch)> {
        self.streams.flush(&mut self.turn);
        let (mut sends, mut others) = (Vec::new(), Vec::new());
        for op in self.ops() {
            match op {
                Op::Send { token, batch } => sends.push((token, batch)),
                other => others.push(other),
            }
        }
        self.turn.ops.extend(others);
        sends
    }

    /// The whole batch is taken; whether there may be room for what waits.
    fn sent(&mut self, token: Token, mut batch: Batch) -> bool {
        let len = batch.rest().len();
        batch.sent += len;
        self.streams.sent(&mut self.turn, StreamIndex(token.slot as u16), batch, Sent::Bytes(len))
    }

    /// Carries bytes to and fro until nobody has any.
    fn carry(&mut self) {
        loop {
            let sends = self.flush();
            let mut any = !sends.is_empty();
            for (token, mut batch) in sends {
                self.tell(StreamIndex(token.slot as u16), &mut batch.bytes);
                self.sent(token, batch);
            }
            for stream in self.streams.all() {
                let mut bytes = Vec::new();
                let backend = self.backends[usize::from(stream.0)].as_mut();
                if backend.is_some_and(|backend| backend.seal(&mut bytes)) {
                    any = true;
                    self.hear(stream, &mut bytes, true);
                }
            }
            if !any {
                return;
            }
        }
    }

    /// Bytes reach the other end of a stream.
    fn tell(&mut self, stream: StreamIndex, bytes: &mut [u8]) {
        let Some(backend) = &mut self.backends[usize::from(stream.0)] else { return };
        let mut input = backend.input(bytes);
        while let Some(event) = backend.receive(&mut input, self.turn.now).expect("the gateway is well") {
            let text = match event {
                ToBackend::Hello => "hello".to_owned(),
                ToBackend::Request(request) => format!("request {}", request.call),
                ToBackend::Authenticate(ask) => format!("authenticate {}", ask.call),
                ToBackend::Report(report) => format!("report {} {}", report.number, report.reason),
                ToBackend::LinkOpened(opened) => format!("opened {}", opened.link),
                ToBackend::LinkResumed(resumed) => format!("resumed {}", resumed.iter().count()),
                ToBackend::LinkClosed(closed) => format!("closed {}", closed.link),
                ToBackend::Alive => "alive".to_owned(),
                ToBackend::Credited => "credited".to_owned(),
                other => panic!("{other:?}"),
            };
            self.at_backend.push((stream.0, text));
        }
        backend.keep(input);
    }

    /// Bytes of a backend arrive. Whether the stream lives on.
    fn hear(&mut self, stream: StreamIndex, bytes: &mut [u8], more: bool) -> bool {
        let Self { streams, turn, at_gateway, .. } = self;
        let Some(mut input) = streams.open(turn, stream, bytes, more) else { return false };
        while let Some(event) = streams.next_event(turn, stream, &mut input) {
            let text = match event {
                ToGateway::Ready => {
                    let takes_requests = streams.ready(turn, stream);
                    format!("ready {takes_requests}")
                }
                ToGateway::Draining => {
                    streams.draining(turn, stream);
                    "draining".to_owned()
                }
                ToGateway::Response(response) => {
                    streams.answered(stream);
                    streams.consumed(stream, response.payload.len());
                    format!("response {}", response.call)
                }
                ToGateway::Credited => "credited".to_owned(),
                ToGateway::Alive => "alive".to_owned(),
                other => panic!("{other:?}"),
            };
            at_gateway.push((stream.0, text));
        }
        streams.keep(turn, stream, input)
    }

    /// The other end of a stream.
    fn backend(&mut self, stream: StreamIndex) -> &mut BackendStream {
        self.backends[usize::from(stream.0)].as_mut().expect("its socket is there")
    }

    /// The answer of a stream's backend arrives.
    fn answer(&mut self, stream: StreamIndex, call: u64) {
        let answer = StreamResponse { call, payload: b"hello", ..Default::default() };
        self.backend(stream).response(&answer).expect("there is credit");
        self.carry();
    }

    fn taken_at_backend(&mut self) -> Vec<(u16, String)> {
        std::mem::take(&mut self.at_backend)
    }

    fn taken_at_gateway(&mut self) -> Vec<(u16, String)> {
        std::mem::take(&mut self.at_gateway)
    }

    /// Which stream takes a request of this user.
    fn choose(&self, user: &[u8]) -> Result<StreamIndex, Refusal> {
        let affinity = Affinity { user: self.streams.hash(user), key: None, held_by: None };
        self.streams.choose(ROUTE, affinity, |_| 0)
    }

    /// Which streams take requests of anybody.
    fn chosen(&self) -> Vec<u16> {
        let users = (0..100_u8).filter_map(|user| self.choose(&[user]).ok());
        users.map(|stream| stream.0).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// Lets the marked streams go; which ones, and why.
    fn bury(&mut self) -> Vec<(u16, Reason)> {
        let mut buried = Vec::new();
        while let Some((stream, reason)) = self.streams.next_marked() {
            self.streams.part(&mut self.turn, stream, reason);
            self.backends[usize::from(stream.0)] = None;
            buried.push((stream.0, reason));
        }
        buried
    }

    /// Everything armed on sockets that are to be closed comes back, and they are closed. No send may be in flight.
    fn close(&mut self) {
        while let Some(op) = self.turn.ops.pop_front() {
            match op {
                Op::Cancel { token, armed: Armed::Receive } => {
                    self.streams.ended(&mut self.turn, StreamIndex(token.slot as u16), End::Cancelled);
                }
                Op::Close { token } => {
                    self.streams.closed(&mut self.turn, StreamIndex(token.slot as u16), token);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// A stream ends for this reason, is closed and dialled again.
    fn fall(&mut self, stream: StreamIndex) {
        self.streams.mark(stream, Reason::Ended);
        self.bury();
        self.close();
        self.until_ops();
        assert!(self.dialled().contains(&stream.0));
    }
}

fn told(stream: StreamIndex, texts: &[&str]) -> Vec<(u16, String)> {
    texts.iter().map(|&text| (stream.0, text.to_owned())).collect()
}

fn broke(error: Error) -> Reason {
    Reason::broke(error)
}
