//! The part of `malformed.json` for links.

use prost::Message;
use protocol::wire::frame::Frame;
use protocol::wire::proto::link::{self as proto, frame::Kind};

use crate::ends::{Link, State};
use crate::json::Json;
use crate::link_fields::{down as fields_down, up as fields_up};
use crate::malformed::{self, encodings, glitches};
use crate::parts::varint;

const PING: u32 = 4;

/// Who is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiver {
    Gateway,
    Client,
}

use Receiver::{Client, Gateway};

/// What is said, made on the link that has come to the case's state.
enum Said {
    /// Frames in the sender's next record.
    Frames(Vec<u8>),
    Records(fn(&mut Link) -> Vec<u8>),
}

struct Case {
    name: String,
    receiver: Receiver,
    state: State,
    said: Said,
}

pub(crate) fn show() -> Json {
    let link = Link::at(State::Open);
    let mut cases = records();
    cases.extend(lengths());
    cases.extend(encodings(PING).into_iter().map(|(name, frame)| frames(name, Gateway, State::Open, frame)));
    cases.extend(encodings(12).into_iter().map(|(name, frame)| frames(name, Client, State::Open, frame)));
    cases.extend(fields());
    cases.extend(unexpected());
    Json::object([
        (
            "about",
            "Every case goes on behind the golden hello of hellos.json. unauthenticated: nothing was said behind it. \
             deciding: the record auth went up. open: auth went up and the record welcome came down. It grants the \
             lengths of section 14.2, and 100 glitches are allowed."
                .into(),
        ),
        ("auth", Json::hex(&link.auth)),
        ("welcome", Json::hex(&link.welcome)),
        ("cases", Json::List(cases.iter().map(Case::show).collect())),
    ])
}

fn frames(name: impl Into<String>, receiver: Receiver, state: State, frames: Vec<u8>) -> Case {
    Case { name: name.into(), receiver, state, said: Said::Frames(frames) }
}

fn raw(name: &str, receiver: Receiver, state: State, records: fn(&mut Link) -> Vec<u8>) -> Case {
    Case { name: name.into(), receiver, state, said: Said::Records(records) }
}

impl Case {
    fn show(&self) -> Json {
        let mut link = Link::at(self.state);
        let (plaintext, records) = match (&self.said, self.receiver) {
            (Said::Records(make), _) => (None, make(&mut link)),
            (Said::Frames(frames), Gateway) => (Some(frames), link.sealed_up(frames)),
            (Said::Frames(frames), Client) => (Some(frames), link.sealed_down(frames)),
        };
        let told = match self.receiver {
            Gateway => link.tell_gateway(&records),
            Client => link.tell_client(&records),
        };
        let error = told.expect_err(&self.name);
        Json::object([
            ("name", self.name.as_str().into()),
            ("receiver", if self.receiver == Gateway { "gateway" } else { "client" }.into()),
            ("state", state(self.state).into()),
            ("frames", plaintext.map_or(Json::Null, Json::hex)),
            ("records", Json::hex(records)),
        ])
        .and_all(malformed::show(error))
    }
}

const fn state(state: State) -> &'static str {
    match state {
        State::Unauthenticated => "unauthenticated",
        State::Deciding => "deciding",
        State::Open => "open",
    }
}

/// A `Ping` in a record.
fn ping(link: &mut Link) -> Vec<u8> {
    link.sealed_up(&[4, 0x22, 2, 8, 7])
}

fn pong(link: &mut Link) -> Vec<u8> {
    link.sealed_down(&[4, 0x62, 2, 8, 7])
}

/// Section 6.
fn records() -> Vec<Case> {
    use State::{Deciding, Open, Unauthenticated};
    vec![
        raw("a record of length 0", Gateway, Open, |_| vec![0, 0]),
        raw("a record of length 16: a tag and no plaintext", Gateway, Open, |_| vec![0, 16]),
        raw("a record of length 16", Client, Open, |_| vec![0, 16]),
        raw("a record of length 4,097 before anything else", Gateway, Unauthenticated, |_| vec![0x10, 0x01]),
        raw("a record of length 4,097 behind Auth", Gateway, Deciding, |_| vec![0x10, 0x01]),
        raw("a record of length 16,385", Gateway, Open, |_| vec![0x40, 0x01]),
        raw("the first record does not open", Gateway, Unauthenticated, |_| {
            [&[0, 20][..], &[0x5a; 20]].concat()
        }),
        raw("a record does not open", Gateway, Open, |_| [&[0, 20][..], &[0x5a; 20]].concat()),
        raw("a record does not open", Client, Open, |_| [&[0, 20][..], &[0x5a; 20]].concat()),
        raw("a record whose last bit is flipped", Gateway, Open, |link| {
            let mut record = ping(link);
            *record.last_mut().expect("it has bytes") ^= 1;
            record
        }),
        raw("a record comes twice", Gateway, Open, |link| ping(link).repeat(2)),
        raw("a record comes twice", Client, Open, |link| pong(link).repeat(2)),
        raw("a record is missing", Gateway, Open, |link| {
            ping(link);
            ping(link)
        }),
        raw("what the gateway said comes back to it", Gateway, Open, pong),
    ]
}

/// Section 7.1: told by the length alone.
fn lengths() -> Vec<Case> {
    use State::{Deciding, Open, Unauthenticated};
    vec![
        frames("the first frame has 4,097 bytes", Gateway, Unauthenticated, varint(4097)),
        frames("a frame has 65,537 bytes", Gateway, Open, varint(65_537)),
        frames("a frame held behind Auth has 65,537 bytes", Gateway, Deciding, varint(65_537)),
        frames("a frame held behind Auth has no bytes", Gateway, Deciding, vec![0]),
        frames("a frame has 2^64 - 1 bytes", Gateway, Open, varint(u64::MAX)),
        frames("a frame has 1,048,577 bytes", Client, Open, varint(1_048_577)),
        frames("a frame has no bytes, behind a good one", Gateway, Open, vec![4, 0x22, 2, 8, 7, 0]),
    ]
}

/// Section 9: each bound, passed by one.
fn fields() -> Vec<Case> {
    let first = |name: &str| name.starts_with("Auth");
    let state = |name: &str| if first(name) { State::Unauthenticated } else { State::Open };
    let up = fields_up().into_iter().map(|(name, frame)| frames(&name[..], Gateway, state(&name), frame));
    let down = fields_down().into_iter().map(|(name, frame)| frames(&name[..], Client, State::Open, frame));
    up.chain(down).collect()
}

/// The name of a short frame.
fn name_of(frame: &[u8]) -> &'static str {
    Frame::decode(&frame[1..]).expect("a frame by the rules").name()
}

/// Sections 7.3 and 8.
fn unexpected() -> Vec<Case> {
    let frame = |kind| proto::Frame { kind: Some(kind) }.encode_length_delimited_to_vec();
    let room = || prost::bytes::Bytes::from_static(b"lobby");
    let id = || prost::bytes::Bytes::from_static(&[0x1d; 16]);
    let request = || Kind::Request(proto::Request { id: id(), route: "echo".into(), ..Default::default() });
    let auth = || Kind::Auth(proto::Auth { device: b"phone"[..].into(), ..Default::default() });
    let up = [
        request(),
        Kind::Ack(proto::Ack::default()),
        Kind::Ping(proto::Ping::default()),
        Kind::Join(proto::Join { room: room() }),
        Kind::Leave(proto::Leave { room: room() }),
    ];
    let down = [
        Kind::Welcome(proto::Welcome::default()),
        Kind::Response(proto::Response { id: id(), ..Default::default() }),
        Kind::Push(proto::Push::default()),
        Kind::AckNow(proto::AckNow::default()),
        Kind::Pong(proto::Pong::default()),
        Kind::Joined(proto::Joined { room: room(), code: 0, retry_after_ms: 0 }),
        Kind::Left(proto::Left { room: room(), code: 0 }),
        Kind::Move(proto::Move::default()),
        Kind::Warning(proto::Warning::default()),
    ];
    let of = |when: &str, receiver, state, kind| {
        let frame = frame(kind);
        frames(format!("{} {when}", name_of(&frame)), receiver, state, frame)
    };
    let early = up.iter().cloned().chain([Kind::Pad(proto::Pad::default())]);
    let mut cases: Vec<_> =
        early.map(|kind| of("before Auth", Gateway, State::Unauthenticated, kind)).collect();
    cases.extend(down.map(|kind| of("sent up", Gateway, State::Open, kind)));
    cases.extend(up.into_iter().chain([auth()]).map(|kind| of("sent down", Client, State::Open, kind)));
    cases.push(frames("101 unknown frames", Gateway, State::Open, glitches(101)));
    cases.push(frames("101 unknown frames, before Auth", Gateway, State::Unauthenticated, glitches(101)));
    cases
}
