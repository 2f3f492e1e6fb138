//! Streams to backends: their frames by both decoders, either end against anything, both ends against each other.
//!
//! ```text
//! mode 0  body                     a frame
//! mode 1  cuts, bytes              what a backend says, without encryption, to a gateway
//! mode 2  cuts, bytes              what a gateway says, without encryption, to a backend
//! mode 3  suite, steps             two honest ends (`stream/pair.rs`)
//! mode 4  end, steps               one end, and a peer that says frame after frame (`stream/peer.rs`)
//! ```
//!
//! Without encryption whatever the fuzzer writes is read. The same bytes must mean the same however they are cut.

mod pair;
mod peer;
mod seeds;

use std::sync::Arc;
use std::time::Duration;

use protocol::stream::gateway::Introduction;
use protocol::stream::{Access, BackendStream, Blocked, GatewayStream, Mode, Params, ToBackend, ToGateway};
use protocol::wire::cursor::{Fields, Value};
use protocol::wire::proto::stream::{self as proto, frame::Kind};
use protocol::wire::stream::{About, Flawed, StreamFrame, StreamResponse, credit_cost};
use protocol::wire::varint;
use protocol::{Error, Time};
pub use seeds::seeds;

use super::bounds::{self, is_repeated};
use super::frames::{Read, Rules, agree, unframed};
use super::parties::{ANSWERING, ASKING};
use super::script::{Script, pieces};

/// The body of this target: how many frames were understood.
pub fn run(data: &[u8]) -> usize {
    let mut script = Script::new(data);
    match script.byte() % 5 {
        0 => frame(script.rest()),
        1 => told(&mut script, gateway_hears),
        2 => told(&mut script, backend_hears),
        3 => pair::run(&mut script),
        _ => peer::run(&mut script),
    }
}

fn frame(body: &[u8]) -> usize {
    let ours = StreamFrame::decode(body).map(|frame| {
        let mut encoded = Vec::new();
        frame.encode(&mut encoded);
        let encoded = unframed(&encoded);
        let flawed = match frame {
            StreamFrame::Flawed(flawed) => {
                assert!(encoded.is_empty(), "a flawed frame is handed on");
                check_flawed(body, &flawed);
                true
            }
            _ => false,
        };
        if !flawed && frame != StreamFrame::Unknown {
            assert_eq!(StreamFrame::decode(&encoded), Ok(readable(frame)), "written, and read as another");
        }
        if let StreamFrame::Push(push) = frame {
            check_targets(body, push.targets());
        }
        if let Some(len) = frame.payload_body_len() {
            assert_eq!(len, encoded.len());
        }
        Read { encoded, borrowed: is_passed_over(body, &frame), flawed }
    });
    let rules =
        Rules { kinds: 1..=32, normal, within: bounds::stream_frame, unbounded: is_repeated(body, LISTS) };
    agree(body, &ours, rules);
    usize::from(ours.is_ok_and(|read| read.flawed || !read.encoded.is_empty()))
}

/// What of a frame can be written: targets that are not served are only read.
fn readable(frame: StreamFrame<'_>) -> StreamFrame<'_> {
    match frame {
        StreamFrame::Push(mut push) => {
            push.unserved_targets = 0;
            StreamFrame::Push(push)
        }
        other => other,
    }
}

/// Whether there may be something inside that this version does not look into.
fn is_passed_over(body: &[u8], frame: &StreamFrame<'_>) -> bool {
    let unread: &[u32] = match frame {
        StreamFrame::Rare(..) => return true,
        // The links a push is not for; the links a push was dropped for.
        StreamFrame::Push(_) => &[12],
        StreamFrame::Report(_) => &[10],
        _ => return false,
    };
    let Some((_, inner)) = kind(body) else { return false };
    let mut fields = Fields::new(inner);
    while let Ok(Some((field, _))) = fields.next() {
        if unread.contains(&field) {
            return true;
        }
    }
    false
}

/// Fields that may stand there several times, each with its kind.
const LISTS: &[(u32, u32)] = &[(3, 9), (3, 11), (3, 12), (7, 10), (10, 4), (23, 1)];

/// A flawed frame still says whom it is about, and what it costs.
fn check_flawed(body: &[u8], flawed: &Flawed) {
    let Ok(proto::Frame { kind: Some(kind) }) = prost::Message::decode(body) else { return };
    let expected = match kind {
        Kind::Request(request) => (About::Request(request.call), Some(request.payload.len())),
        Kind::Push(push) => (About::Push(push.number), Some(push.payload.len())),
        Kind::Authenticate(ask) => (About::Authenticate(ask.call), None),
        Kind::AuthResult(result) => (About::AuthResult(result.call), None),
        Kind::LinkOpened(opened) => (About::Presence(opened.link), None),
        Kind::LinkDetached(detached) => (About::Presence(detached.link), None),
        Kind::LinkClosed(closed) => (About::Presence(closed.link), None),
        Kind::Kick(kick) => (About::Kick(kick.link), None),
        Kind::Ban(_) => (About::Ban, None),
        Kind::Unban(_) => (About::Unban, None),
        Kind::Throttle(_) => (About::Throttle, None),
        other => panic!("{other:?} is about nobody"),
    };
    assert_eq!((flawed.about, flawed.payload_len), expected);
}

fn check_targets(body: &[u8], targets: u32) {
    let Ok(proto::Frame { kind: Some(Kind::Push(push)) }) = prost::Message::decode(body) else { return };
    let node = push.node;
    let named =
        [!push.user.is_empty(), !push.room.is_empty(), !push.users.is_empty(), !push.rooms.is_empty()];
    let count = [push.link != 0, node].into_iter().chain(named).map(u32::from).sum::<u32>();
    assert!(targets == count || is_repeated(body, LISTS), "{push:?}");
}

/// What this version does not read, or reads as something else.
fn normal(frame: &mut proto::Frame) {
    match &mut frame.kind {
        Some(Kind::Report(report)) => {
            let outcome = if (0..=1).contains(&report.outcome) { report.outcome } else { 2 };
            (report.outcome, report.queued) = (outcome, 0);
            report.dropped.clear();
            // A name that is too long is none.
            let names = [&mut report.device, &mut report.user].into_iter();
            names.filter(|name| name.len() > 64).for_each(|name| name.clear());
        }
        Some(Kind::Push(push)) => {
            (push.rooms, push.except) = (Vec::new(), Vec::new());
            push.node = false;
            push.coalesce.clear();
        }
        _ => {}
    }
}

/// The one known kind of a frame and what stands inside it.
fn kind(body: &[u8]) -> Option<(u32, &[u8])> {
    let mut fields = Fields::new(body);
    while let Ok(Some((field, value))) = fields.next() {
        if let (1..=32, Value::Bytes(inner)) = (field, value) {
            return Some((field, inner));
        }
    }
    None
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
    if let Err(Error::Field(field)) = whole.ended {
        assert!(FIELDS_OF_STREAMS.contains(&field), "{field} is about one link and ended them all");
    }
    whole.told.len()
}

/// Fields that are no single link's: those of `Hello` and `Ready`, the text of `Close`, and the names of what is to be
/// answered.
const FIELDS_OF_STREAMS: [&str; 11] = [
    "worker",
    "boot_id",
    "boot",
    "gateway",
    "heartbeat_ms",
    "frame_len_max",
    "credit",
    "instance",
    "routes",
    "text",
    "call",
];

/// A gateway that gives every credit back at once.
fn gateway_hears(pieces: Vec<&mut [u8]>) -> Outcome {
    let mut stream = gateway(&Mode::Clear);
    let (mut told, mut answered, mut cost) = (Vec::new(), Vec::new(), 0);
    let ended = pieces.into_iter().try_for_each(|piece| {
        let mut input = stream.input(piece);
        while let Some(event) = stream.receive(&mut input, Time::ZERO)? {
            told.push(format!("{event:?}"));
            let payload_len = match event {
                ToGateway::Response(response) => Some(response.payload.len()),
                ToGateway::Push(push) => Some(push.payload.len()),
                ToGateway::Flawed(flawed) => flawed.payload_len,
                _ => None,
            };
            if let Some(len) = payload_len {
                cost += credit_cost(len);
                stream.consumed(len);
            }
        }
        stream.keep(input);
        Ok(())
    });
    stream.seal(&mut answered);
    let granted = granted(&answered[32..]);
    assert!(granted <= cost && cost - granted < PARAMS.window / 2, "{cost} bytes cost, {granted} came back");
    Outcome { told, ended, answered }
}

/// A backend that never gives credit back, and answers requests while it has credit itself.
fn backend_hears(pieces: Vec<&mut [u8]>) -> Outcome {
    let mut stream = backend(Access::clear());
    let (mut told, mut answered, mut cost) = (Vec::new(), Vec::new(), 0);
    let ended = pieces.into_iter().try_for_each(|piece| {
        let mut input = stream.input(piece);
        while let Some(event) = stream.receive(&mut input, Time::ZERO)? {
            told.push(format!("{event:?}"));
            match event {
                ToBackend::Request(request) => {
                    cost += credit_cost(request.payload.len());
                    let answer =
                        StreamResponse { call: request.call, payload: request.payload, ..Default::default() };
                    let (before, answered) = (stream.credit_available(), stream.response(&answer));
                    check_credit(before, stream.credit_available(), request.payload.len(), answered);
                }
                ToBackend::Flawed(flawed) => cost += flawed.payload_len.map_or(0, credit_cost),
                _ => {}
            }
            assert_eq!(stream.held(), cost, "credit is not counted for what was told");
        }
        stream.keep(input);
        Ok(())
    });
    stream.seal(&mut answered);
    assert_eq!(granted(&answered), 0, "credit came back that was not given back");
    Outcome { told, ended, answered }
}

/// The credit granted in records without encryption, beside the first grant.
fn granted(mut records: &[u8]) -> u64 {
    let mut plain = Vec::new();
    while let Some((len, rest)) = records.split_first_chunk::<2>() {
        let (record, rest) = rest.split_at(u16::from_be_bytes(*len).into());
        plain.extend_from_slice(record);
        records = rest;
    }
    let (mut plain, mut granted) = (&plain[..], 0);
    while let Some((len, prefix)) = varint::decode(plain).expect("a length was written") {
        let (body, rest) = plain[prefix..].split_at(len as usize);
        if let Ok(StreamFrame::Credit { bytes }) = StreamFrame::decode(body) {
            granted += bytes;
        }
        plain = rest;
    }
    granted
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
    let introduction =
        Introduction { boot_id: [9; 16], gateway: "gate-1".to_owned(), worker: 2, report_slots: 4 };
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
