//! The part of `malformed.json` for streams.

use prost::Message;
use protocol::Error;
use protocol::limits::STREAM_GLITCHES_MAX;
use protocol::wire::proto::stream::{self as proto, frame::Kind};
use protocol::wire::stream::{About, Flawed, StreamFrame};

use crate::ends::{PARAMS, Stream, Told, clear_record};
use crate::json::Json;
use crate::malformed::{self, encodings, glitches};
use crate::parts::varint;
use crate::stream_cases::{LINK, b, least, request};
use crate::stream_fields::{flawed_at_backend, flawed_at_gateway, hellos, of_the_stream, readies};

const PING: u32 = 5;

/// Who is told, and when.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// The backend, before it has read `Hello`.
    OpeningBackend,
    Backend,
    /// The gateway, before it has read `Ready`.
    OpeningGateway,
    Gateway,
}

use Receiver::{Backend, Gateway, OpeningBackend, OpeningGateway};

struct Case {
    name: String,
    receiver: Receiver,
    /// `None` if what is wrong are the records themselves.
    frames: Option<Vec<u8>>,
    records: Vec<u8>,
}

pub(crate) fn show() -> Json {
    let stream = Stream::open();
    let mut ends = records();
    ends.extend(encodings(PING).into_iter().map(|(name, frame)| frames(name, Backend, frame)));
    ends.extend(introductions());
    ends.extend(of_the_stream().into_iter().map(|(name, receiver, frame)| frames(name, receiver, frame)));
    ends.extend(unexpected());
    ends.extend(credit());
    let flawed = flawed_at_backend().into_iter().map(|(name, frame)| frames(name, Backend, frame));
    let flawed =
        flawed.chain(flawed_at_gateway().into_iter().map(|(name, frame)| frames(name, Gateway, frame)));
    Json::object([
        (
            "about",
            "Every case goes on behind the preamble of a clear stream (11.2), whose records show the frames as they are. \
             opening: the receiver has not read the other's first frame. open: the records hello and ready went before. \
             Both ends take frames of 4,096 bytes and have granted 8,320 bytes of credit, and \
             return none of it meanwhile. A case of ends ends the \
             stream; one of flawed touches only what it is about, and the receiver does what is said (section 12)."
                .into(),
        ),
        ("preamble", Json::hex(&stream.hello)),
        ("hello", Json::hex(&stream.introductions[0])),
        ("ready", Json::hex(&stream.introductions[1])),
        ("ends", Json::List(ends.iter().map(Case::ended).collect())),
        ("flawed", Json::List(flawed.map(|case| case.flawed()).collect())),
    ])
}

fn frames(name: impl Into<String>, receiver: Receiver, frames: Vec<u8>) -> Case {
    let records = frames.chunks(4096).flat_map(clear_record).collect();
    Case { name: name.into(), receiver, frames: Some(frames), records }
}

fn raw(name: &str, receiver: Receiver, records: Vec<u8>) -> Case {
    Case { name: name.into(), receiver, frames: None, records }
}

impl Case {
    fn told(&self) -> Result<Vec<Told>, Error> {
        match self.receiver {
            OpeningBackend => Stream::opening().tell_backend(&self.records),
            Backend => Stream::open().tell_backend(&self.records),
            OpeningGateway => Stream::opening().tell_gateway(&self.records),
            Gateway => Stream::open().tell_gateway(&self.records),
        }
    }

    fn ended(&self) -> Json {
        let error = self.told().err().unwrap_or_else(|| panic!("{} is taken", self.name));
        self.show().and_all(malformed::show(error))
    }

    fn flawed(&self) -> Json {
        let told = self.told().unwrap_or_else(|error| panic!("{} ends the stream: {error}", self.name));
        let [Told::Flawed(flawed)] = told[..] else { panic!("{} is not flawed", self.name) };
        let (about, named_by, does) = consequence(flawed);
        let cost = flawed.payload_len.map_or(0, |len| len + 64);
        self.show().and([
            ("field", flawed.field.into()),
            ("about", about.into()),
            ("named_by", Json::long(named_by)),
            ("credit_cost", cost.into()),
            ("does", does.into()),
        ])
    }

    fn show(&self) -> Json {
        let (receiver, state) = match self.receiver {
            OpeningBackend => ("backend", "opening"),
            Backend => ("backend", "open"),
            OpeningGateway => ("gateway", "opening"),
            Gateway => ("gateway", "open"),
        };
        Json::object([
            ("name", self.name.as_str().into()),
            ("receiver", receiver.into()),
            ("state", state.into()),
            ("frames", self.frames.as_ref().map_or(Json::Null, Json::hex)),
            ("records", Json::hex(&self.records)),
        ])
    }
}

/// The table of section 12: whom it is about, by which number, and what is done.
const fn consequence(flawed: Flawed) -> (&'static str, u64, &'static str) {
    match flawed.about {
        About::Request(call) => ("request", call, "answers refused with malformed"),
        About::Push(0) => ("push", 0, "drops it: no report is wanted"),
        About::Push(number) => ("push", number, "reports UNDELIVERED (malformed)"),
        About::Authenticate(call) => ("authenticate", call, "answers accepted false"),
        About::AuthResult(call) => {
            ("auth_result", call, "as if no verdict had come: Close(try_later) for its link")
        }
        About::Presence(link) => ("link", link, "skips it"),
        About::Kick(link) => ("kick", link, "skips it"),
        About::Ban => ("ban", 0, "skips it"),
        About::Unban => ("unban", 0, "skips it"),
        About::Throttle => ("throttle", 0, "skips it"),
    }
}

fn records() -> Vec<Case> {
    let longest = PARAMS.frame_len_max as u64;
    vec![
        raw("a record of length 0", Backend, vec![0, 0]),
        raw("a record of length 0", Gateway, vec![0, 0]),
        raw("the record of Hello has 4,097 bytes", OpeningBackend, vec![0x10, 0x01]),
        frames("a frame has 4,097 bytes", Backend, varint(longest + 1)),
        frames("a frame has 4,097 bytes", Gateway, varint(longest + 1)),
        frames("1,001 unknown frames within a minute", Backend, glitches(STREAM_GLITCHES_MAX as usize + 1)),
    ]
}

fn introductions() -> Vec<Case> {
    let hellos = hellos().into_iter().map(|(name, frame)| frames(name, OpeningBackend, frame));
    hellos.chain(readies().into_iter().map(|(name, frame)| frames(name, OpeningGateway, frame))).collect()
}

fn frame(kind: Kind) -> Vec<u8> {
    proto::Frame { kind: Some(kind) }.encode_length_delimited_to_vec()
}

/// Sections 7.3 and 11.3.
fn unexpected() -> Vec<Case> {
    let [hello, ready] = Stream::open().introductions.map(|record| record[2..].to_vec());
    let ping = || frame(Kind::Ping(proto::Ping { nonce: 1 }));
    let mut cases = vec![
        frames("Ping before Hello", OpeningBackend, ping()),
        frames("Ping before Ready", OpeningGateway, ping()),
        frames("an unknown frame before Hello", OpeningBackend, glitches(1)),
        frames("Pad before Hello", OpeningBackend, frame(Kind::Pad(proto::Pad::default()))),
        frames("a second Hello", Backend, hello.clone()),
        frames("a second Ready", Gateway, ready.clone()),
        frames("Ready, in the wrong direction", Backend, ready),
        frames("Hello, in the wrong direction", Gateway, hello),
    ];
    // Hello and Ready are above; of the others, each that one end does not take.
    let kinds = least().into_iter().filter(|(_, kind)| !matches!(kind, Kind::Hello(_) | Kind::Ready(_)));
    for frame in kinds.map(|(_, kind)| frame(kind)) {
        let name = StreamFrame::decode(&frame[1..]).expect("a frame by the rules").name();
        for (way, receiver) in [("up", Backend), ("down", Gateway)] {
            let case = frames(format!("{name} sent {way}"), receiver, frame.clone());
            if matches!(case.told(), Err(Error::Unexpected(_))) {
                cases.push(case);
            }
        }
    }
    cases
}

/// Section 11.4: 8,320 bytes of credit, of which nothing has come back.
fn credit() -> Vec<Case> {
    let request =
        |call, len| frame(Kind::Request(proto::Request { call, payload: b(&vec![0x70; len]), ..request() }));
    let push = |len| {
        frame(Kind::Push(proto::Push { link: LINK, payload: b(&vec![0x70; len]), ..Default::default() }))
    };
    let spent = [request(1, 3936), request(2, 3936), request(3, 257)].concat();
    assert_eq!(3 * 64 + 2 * 3936 + 257, PARAMS.window as usize + 1);
    vec![
        frames("requests that cost a byte more than the credit", Backend, spent),
        frames("a push behind those that took all credit but 63 bytes", Gateway, {
            [push(4000), push(4000), push(65), push(0)].concat()
        }),
        frames("credit up to a balance of 2^63", Backend, {
            frame(Kind::Credit(proto::Credit { bytes: (1 << 63) - PARAMS.window }))
        }),
    ]
}
