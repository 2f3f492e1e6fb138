//! One end of a live stream, and a peer that says frame after frame: what each of them is to become, by SPEC.md,
//! sections 7.3, 11.4 and 12.
//!
//! ```text
//! end (even: a gateway hears), then steps:
//!   0 frame    kind, what stands inside
//!   1 body     bytes
//!   2 unknown  how many (word), milliseconds between two of them
//!   3 time     milliseconds (word)
//!   4 consume  what was heard first
//!   5 payload  its length (word), in a request, response or push
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use protocol::limits::{PREAMBLE_LEN, STREAM_GLITCHES_MAX};
use protocol::stream::{Access, BackendStream, GatewayStream, Mode, ToBackend, ToGateway};
use protocol::wire::proto::stream as proto;
use protocol::wire::stream::{
    About, Flawed, Rare, StreamFrame, StreamPush, StreamRequest, StreamResponse, credit_cost,
};
use protocol::wire::varint;
use protocol::{Error, Time};

use super::pair::payload;
use super::{PARAMS, backend, gateway, granted, kind};
use crate::targets::frames::{message, unframed};
use crate::targets::script::Script;

/// Plays one conversation; how many frames became what they had to.
pub(super) fn run(script: &mut Script<'_>) -> usize {
    let mut peer = Peer::new(script.byte().is_multiple_of(2));
    while !script.is_empty() && !peer.is_over {
        match script.byte() % 6 {
            0 => {
                let kind = u32::from(script.byte());
                peer.say(&message(kind.max(1), script.bytes()));
            }
            1 => peer.say(script.bytes()),
            2 => {
                let (count, pause) = (script.word() % 1100, script.byte());
                for _ in 0..count {
                    peer.say(UNKNOWN);
                    peer.now = peer.now + Duration::from_millis(pause.into());
                }
            }
            3 => peer.now = peer.now + Duration::from_millis(script.word() % 120_000),
            4 => peer.consume(),
            _ => peer.say_payload(payload(script.word())),
        }
    }
    peer.heard
}

/// The end that listens.
enum End {
    Gateway(Box<GatewayStream>),
    Backend(Box<BackendStream>),
}

struct Peer {
    end: End,
    now: Time,
    /// The end has closed, or found an error.
    is_over: bool,
    heard: usize,
    /// What the peer may still send.
    credit: u64,
    /// Lengths of payloads that were heard and not given back.
    held: VecDeque<usize>,
    /// When the unknown frames of the last minute came.
    glitches: VecDeque<Time>,
}

/// What an end was told of a frame.
#[derive(Debug, PartialEq)]
enum Told {
    /// What it is, by the name of its event.
    Event(&'static str),
    Flawed(Flawed),
}

/// What has to become of a frame.
#[derive(Debug)]
enum Expected {
    Told(Told),
    /// The stream ends, for one of these reasons.
    End(Vec<Error>),
    /// It is skipped, if there were not too many of its like.
    Glitch,
}

impl Peer {
    fn new(at_gateway: bool) -> Self {
        let mut peer = Self {
            end: if at_gateway {
                End::Gateway(Box::new(gateway(&Mode::Clear)))
            } else {
                End::Backend(Box::new(backend(Access::clear())))
            },
            now: Time::ZERO,
            is_over: false,
            heard: 0,
            credit: PARAMS.window,
            held: VecDeque::new(),
            glitches: VecDeque::new(),
        };
        peer.greet();
        peer
    }

    fn greet(&mut self) {
        let (credit, mut framed) = (PARAMS.window, Vec::new());
        let mut hello = Vec::new();
        match &mut self.end {
            End::Gateway(stream) => {
                stream.seal(&mut hello);
                let ready = proto::Ready { instance: vec![b'b'].into(), credit, ..Default::default() };
                Rare::Ready.encode(&proto::Ready { frame_len_max: 4096, ..ready }, &mut framed);
            }
            End::Backend(stream) => {
                gateway(&Mode::Clear).seal(&mut hello);
                let mut input = stream.input(&mut hello[..PREAMBLE_LEN]);
                assert_eq!(stream.receive(&mut input, Time::ZERO), Ok(None));
                stream.keep(input);
                let hello = proto::Hello { boot_id: vec![9; 16].into(), credit, ..Default::default() };
                Rare::Hello.encode(&proto::Hello { frame_len_max: 4096, ..hello }, &mut framed);
            }
        }
        let told = self.hear(&framed);
        assert!(matches!(told, Ok(Told::Event("ready" | "hello"))), "{told:?}");
        self.answered();
    }

    /// Says one frame, and holds what becomes of it against what has to.
    fn say(&mut self, body: &[u8]) {
        if self.is_over {
            return;
        }
        let expected = self.expected(body);
        let mut framed = Vec::new();
        varint::encode(body.len() as u64, &mut framed);
        framed.extend_from_slice(body);
        let told = self.hear(&framed);
        match (&told, &expected) {
            (told, Expected::Glitch) => self.check_glitch(told),
            (Err(error), Expected::End(errors)) => assert!(errors.contains(error), "{error:?}: {errors:?}"),
            (told, Expected::Told(expected)) => assert_eq!(told.as_ref(), Ok(expected), "{body:02x?}"),
            (told, expected) => panic!("{told:?} instead of {expected:?}: {body:02x?}"),
        }
        self.heard += usize::from(told.is_ok());
        self.is_over = matches!(told, Err(_) | Ok(Told::Event("close")));
        self.answered();
    }

    /// A good frame that costs credit.
    fn say_payload(&mut self, payload: &[u8]) {
        let frame = match (&self.end, payload.len() % 2) {
            (End::Gateway(_), 0) => {
                StreamFrame::Push(StreamPush { number: 1, user: b"ann", payload, ..Default::default() })
            }
            (End::Gateway(_), _) => {
                StreamFrame::Response(StreamResponse { call: 1, payload, ..Default::default() })
            }
            (End::Backend(_), _) => {
                let request = StreamRequest { call: 1, route: "echo", payload, ..Default::default() };
                StreamFrame::Request(StreamRequest { user: b"ann", device: b"phone", ..request })
            }
        };
        let mut framed = Vec::new();
        frame.encode(&mut framed);
        self.say(&unframed(&framed));
    }

    /// The frame as a record of its own.
    fn hear(&mut self, framed: &[u8]) -> Result<Told, Error> {
        let len = u16::try_from(framed.len()).expect("inputs are short");
        let mut record = [&len.to_be_bytes()[..], framed].concat();
        let (told, payload_len) = match &mut self.end {
            End::Gateway(stream) => {
                let mut input = stream.input(&mut record);
                let told = at_gateway(&stream.receive(&mut input, self.now)?.expect("a frame came"));
                assert_eq!(stream.receive(&mut input, self.now), Ok(None), "one frame came");
                stream.keep(input);
                told
            }
            End::Backend(stream) => {
                let mut input = stream.input(&mut record);
                let told = at_backend(&stream.receive(&mut input, self.now)?.expect("a frame came"));
                assert_eq!(stream.receive(&mut input, self.now), Ok(None), "one frame came");
                stream.keep(input);
                told
            }
        };
        self.held.extend(payload_len);
        Ok(told)
    }

    fn expected(&mut self, body: &[u8]) -> Expected {
        if body.is_empty() {
            return Expected::End(vec![Error::FrameEmpty]);
        }
        if body.len() > PARAMS.frame_len_max {
            return Expected::End(vec![Error::FrameLength(body.len())]);
        }
        let frame = match StreamFrame::decode(body) {
            Ok(frame) => frame,
            Err(error) => {
                assert!(matches!(error, Error::FrameEncoding | Error::Field("text")), "{error:?}");
                return Expected::End(vec![error]);
            }
        };
        let Some((kind, _)) = kind(body) else {
            self.glitches.push_back(self.now);
            return Expected::Glitch;
        };
        let mut errors = Vec::new();
        if let Some(cost) = payload_len(&frame).map(credit_cost) {
            match self.credit.checked_sub(cost) {
                Some(rest) => self.credit = rest,
                None => errors.push(Error::Credit),
            }
        }
        let is_nameless = match frame {
            StreamFrame::Request(request) => request.call == 0,
            StreamFrame::Authenticate(ask) => ask.call == 0,
            StreamFrame::Flawed(Flawed { about: About::Request(0) | About::Authenticate(0), .. }) => true,
            _ => false,
        };
        if is_nameless {
            errors.push(Error::Field("call"));
        }
        let event = match self.end {
            End::Gateway(_) => event_at_gateway(kind),
            End::Backend(_) => event_at_backend(kind),
        };
        if event.is_none() {
            errors.push(Error::Unexpected(frame.name()));
        }
        match event.filter(|_| errors.is_empty()) {
            Some(event) => Expected::Told(flaw(&frame).map_or(Told::Event(event), Told::Flawed)),
            None => Expected::End(errors),
        }
    }

    /// Unknown frames are skipped, but for more than a thousand of them within a minute.
    fn check_glitch(&mut self, told: &Result<Told, Error>) {
        while self.glitches.front().is_some_and(|&then| self.now.since(then) >= MINUTE) {
            self.glitches.pop_front();
        }
        let (recent, most) = (self.glitches.len(), STREAM_GLITCHES_MAX as usize);
        match told {
            Ok(told) => {
                assert_eq!(told, &Told::Event("skipped"));
                // Which minute is looked at is the receiver's business, but in any two of them there are few.
                assert!(recent <= 2 * most, "{recent} within a minute");
                assert!(recent <= most || self.now.since(Time::ZERO) >= MINUTE, "{recent} in the first one");
            }
            Err(error) => assert!(*error == Error::Glitches && recent > most, "{error:?} after {recent}"),
        }
    }

    /// Reads what the end has to say: its credit is the peer's.
    fn answered(&mut self) {
        let mut batch = Vec::new();
        match &mut self.end {
            End::Gateway(stream) => stream.seal(&mut batch),
            End::Backend(stream) => stream.seal(&mut batch),
        };
        self.credit += granted(&batch);
    }

    fn consume(&mut self) {
        let Some(len) = self.held.pop_front() else { return };
        match &mut self.end {
            End::Gateway(stream) => stream.consumed(len),
            End::Backend(stream) => {
                stream.consumed(len);
                assert_eq!(stream.held(), self.held.iter().map(|len| credit_cost(*len)).sum::<u64>());
            }
        }
        self.answered();
    }
}

/// What a payload frame costs beside its overhead, whether its other fields are good or not.
const fn payload_len(frame: &StreamFrame<'_>) -> Option<usize> {
    match frame {
        StreamFrame::Request(request) => Some(request.payload.len()),
        StreamFrame::Response(response) => Some(response.payload.len()),
        StreamFrame::Push(push) => Some(push.payload.len()),
        StreamFrame::Flawed(flawed) => flawed.payload_len,
        _ => None,
    }
}

/// What is wrong about a frame that can be read: a bound of a field, or the number of its targets.
fn flaw(frame: &StreamFrame<'_>) -> Option<Flawed> {
    let field = "target";
    match frame {
        StreamFrame::Flawed(flawed) => Some(*flawed),
        StreamFrame::Push(push) if push.targets() != 1 => {
            Some(Flawed { about: About::Push(push.number), field, payload_len: Some(push.payload.len()) })
        }
        StreamFrame::Kick(kick) if (kick.link != 0) != kick.user.is_empty() => {
            Some(Flawed { about: About::Kick(kick.link), field, payload_len: None })
        }
        _ => None,
    }
}

/// What a kind is to a gateway; `None` if a backend may not say it.
const fn event_at_gateway(kind: u32) -> Option<&'static str> {
    Some(match kind {
        2 => "response",
        3 => "push",
        4 => "credited",
        5 | 6 => "alive",
        8 => "report_ack",
        15 => "auth_result",
        16 => "kick",
        17 => "ban",
        24 => "unban",
        25 => "throttle",
        21 => "close",
        26 => "draining",
        // Filling, and what is not served yet.
        22 | 18..=20 | 30 => "skipped",
        _ => return None,
    })
}

/// What a kind is to a backend; `None` if a gateway may not say it.
const fn event_at_backend(kind: u32) -> Option<&'static str> {
    Some(match kind {
        1 => "request",
        4 => "credited",
        5 | 6 => "alive",
        7 => "report",
        9 => "link_opened",
        10 => "link_detached",
        11 => "link_closed",
        23 => "link_resumed",
        14 => "authenticate",
        21 => "close",
        26 => "draining",
        27 => "announced",
        22 | 28 | 29 | 31 | 32 => "skipped",
        _ => return None,
    })
}

/// The event's name, and the length of a payload that has to be given back.
fn at_gateway(event: &ToGateway<'_>) -> (Told, Option<usize>) {
    let name = match event {
        ToGateway::Flawed(flawed) => return (Told::Flawed(*flawed), flawed.payload_len),
        ToGateway::Response(response) => {
            return (Told::Event("response"), Some(response.payload.len()));
        }
        ToGateway::Push(push) => return (Told::Event("push"), Some(push.payload.len())),
        ToGateway::Ready => "ready",
        ToGateway::Credited => "credited",
        ToGateway::Alive => "alive",
        ToGateway::ReportAck { .. } => "report_ack",
        ToGateway::AuthResult(_) => "auth_result",
        ToGateway::Kick(_) => "kick",
        ToGateway::Ban(_) => "ban",
        ToGateway::Unban(_) => "unban",
        ToGateway::Throttle(_) => "throttle",
        ToGateway::Draining => "draining",
        ToGateway::Close(_) => "close",
        ToGateway::Skipped => "skipped",
    };
    (Told::Event(name), None)
}

/// The same at a backend.
fn at_backend(event: &ToBackend<'_>) -> (Told, Option<usize>) {
    let name = match event {
        ToBackend::Flawed(flawed) => return (Told::Flawed(*flawed), flawed.payload_len),
        ToBackend::Request(request) => return (Told::Event("request"), Some(request.payload.len())),
        ToBackend::Hello => "hello",
        ToBackend::Credited => "credited",
        ToBackend::Alive => "alive",
        ToBackend::Report(_) => "report",
        ToBackend::LinkOpened(_) => "link_opened",
        ToBackend::LinkClosed(_) => "link_closed",
        ToBackend::LinkResumed(_) => "link_resumed",
        ToBackend::Announced => "announced",
        ToBackend::LinkDetached(_) => "link_detached",
        ToBackend::Authenticate(_) => "authenticate",
        ToBackend::Close(_) => "close",
        ToBackend::Draining => "draining",
        ToBackend::Skipped => "skipped",
    };
    (Told::Event(name), None)
}

/// A frame of a kind that this version does not know.
pub(super) const UNKNOWN: &[u8] = &[0x8a, 2, 0];
const MINUTE: Duration = Duration::from_mins(1);
