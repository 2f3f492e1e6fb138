//! `replies.json`: what each end makes of the other's first bytes.

use protocol::Time;
use protocol::buffer::{Input, Rest};
use protocol::link::ServerLink;
use protocol::noise::ticket::Identity;
use protocol::noise::{Gate, Suite, TicketKeys};

use crate::answers;
use crate::json::Json;
use crate::keys::*;
use crate::listeners::{Listener, acceptor, show_reply};
use crate::recipe::{Message1, Recipe, clear, flipped, foreign, link, stream, with_byte, with_ticket};

use Listener::{ClearStream, Link, Stream};

const NK: Suite = Suite::NkChaChaPoly;
const KK: Suite = Suite::KkChaChaPoly;

pub(crate) fn file() -> Json {
    let cases =
        [before_the_tag(), the_tag(), behind_the_tag(), tickets(), streams(), clear_streams()].concat();
    Json::object([
        (
            "about",
            "SPEC.md, section 3.1: what a responder answers to a hello, and section 4.3: what an initiator makes of the \
             answer. line is the line of the table in 3.1. An empty answer is silence; hello is everything that comes. \
             Line 13 (message 1 was seen before) takes a memory and has no vector; line 12 is under busy."
                .into(),
        ),
        ("listeners", Listener::show()),
        ("hellos", Json::List(cases.iter().map(Case::show).collect())),
        ("busy", busy()),
        ("initiator", answers::show()),
    ])
}

#[derive(Clone)]
struct Case {
    line: u32,
    listener: Listener,
    name: String,
    hello: Vec<u8>,
}

impl Case {
    fn show(&self) -> Json {
        let answer = self.listener.answer(&self.hello);
        let is_silence = answer.bytes.is_empty() && answer.error.is_some();
        match self.line {
            8 | 9 | 10 | 14 => assert!(answer.bytes.len() == 16 && answer.error.is_some(), "{}", self.name),
            16 => assert!(answer.error.is_none(), "{}: {:?}", self.name, answer.error),
            _ => assert!(is_silence, "{}", self.name),
        }
        Json::object([
            ("line", Json::Number(self.line)),
            ("listener", self.listener.name().into()),
            ("name", self.name.as_str().into()),
            ("hello", Json::hex(&self.hello)),
        ])
        .and_all(answer.show())
    }
}

fn case(line: u32, listener: Listener, name: impl Into<String>, hello: Vec<u8>) -> Case {
    Case { line, listener, name: name.into(), hello }
}

/// Lines 1 to 5.
fn before_the_tag() -> Vec<Case> {
    let hello = link(NK).hello();
    let with = |recipe: Recipe| recipe.hello();
    let length_at = 32;
    let mut cases: Vec<_> = (0..4)
        .map(|at| case(1, Link, format!("byte {at} of the magic differs"), flipped(hello.clone(), at)))
        .collect();
    cases.extend([
        case(1, Link, "HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        case(1, Link, "the first byte of TLS", vec![0x16]),
        case(1, Link, "PROXY, version 1", b"PROXY TCP4".to_vec()),
        case(2, Link, "version 0", with_byte(hello.clone(), 4, 0)),
        case(2, Link, "ticket_len 513 in a suite that is known", ticket_len(link(NK), 513)),
        case(2, Link, "ticket_len 1,025 in a suite that is not", ticket_len(foreign(1, 11), 1025)),
        case(2, Link, "ticket_len 1,025 in a version that is not known", ticket_len(foreign(2, 1), 1025)),
        case(2, Link, "ticket_len 65,535", ticket_len(foreign(2, 1), 65_535)),
    ]);
    for len in [0, 1, 47, 49, 96, 65_535] {
        let wrong = [&hello[..length_at], &u16::to_be_bytes(len)].concat();
        cases.push(case(3, Link, format!("length {len} in NK, where it is 48"), wrong));
    }
    let ik = with(link(Suite::IkChaChaPoly));
    let short = [&ik[..length_at], &48_u16.to_be_bytes()].concat();
    cases.push(case(3, Link, "length 48 in IK, where it is 96", short));
    for len in [0, 4097] {
        let unknown = with(Recipe { message_1: Message1::Filler(len), ..foreign(1, 11) });
        let (name, end) = (format!("length {len} in a suite that is not known"), length_at + 1024 + 2);
        cases.push(case(3, Link, name, unknown[..end].to_vec()));
    }
    let whole = hello.len();
    cases.extend([
        case(4, Link, "nothing comes", Vec::new()),
        case(4, Link, "one byte of the magic, and no more", hello[..1].to_vec()),
        case(4, Link, "the preamble, and no more", hello[..32].to_vec()),
        case(4, Link, "the last byte is missing", hello[..whole - 1].to_vec()),
        case(4, Link, "the last byte of a suite that is not known is missing", {
            let hello = with(foreign(1, 11));
            hello[..hello.len() - 1].to_vec()
        }),
        case(5, Link, "a byte behind message 1", [&hello[..], &[0]].concat()),
        case(5, Link, "a byte behind message 1 of a suite that is not known", {
            [with(foreign(1, 11)), vec![0]].concat()
        }),
    ]);
    cases
}

/// Only as much as is needed to tell.
fn ticket_len(recipe: Recipe, len: u16) -> Vec<u8> {
    let mut preamble = recipe.hello()[..32].to_vec();
    preamble[14..16].copy_from_slice(&len.to_be_bytes());
    preamble
}

/// Lines 6 and 7.
fn the_tag() -> Vec<Case> {
    let (hello, stranger) = (link(NK).hello(), public(STRANGE_SECRET));
    let unknown = foreign(1, 11).hello();
    let retired = Recipe { key: public(RETIRED_SECRET), ..link(NK) }.hello();
    vec![
        case(6, Link, "a key nobody here knows", Recipe { key: stranger, ..link(NK) }.hello()),
        case(6, Link, "the same in a suite that is not known", {
            Recipe { key: stranger, ..foreign(1, 11) }.hello()
        }),
        case(6, Link, "XX, which is not served here: key id and tag are zeros", {
            let mut xx =
                Recipe { ticket: Vec::new(), message_1: Message1::Filler(32), ..foreign(1, 5) }.hello();
            xx[6..10].fill(0);
            xx[16..32].fill(0);
            xx
        }),
        case(6, Link, "a clear hello", clear()),
        case(7, Link, "a clear hello with the key id and the right tag", {
            let mut hello = clear();
            hello[6..10].copy_from_slice(&public(SERVER_SECRET).key_id().0);
            let fixed: [u8; 16] = hello[..16].try_into().expect("16 bytes");
            let tag = Gate::new(&public(SERVER_SECRET)).tag(&fixed, &[], &[]);
            hello[16..].copy_from_slice(&tag);
            hello
        }),
        case(7, Link, "the first bit of the tag is wrong", with_byte(hello.clone(), 16, hello[16] ^ 0x80)),
        case(7, Link, "the last bit of the tag is wrong", flipped(hello.clone(), 31)),
        case(7, Link, "the tag is right and message 1 another", flipped(hello.clone(), 80)),
        case(7, Link, "the tag is right and versions another", with_byte(hello.clone(), 10, 6)),
        case(7, Link, "the tag is zeros", [&hello[..16], &[0; 16], &hello[32..]].concat()),
        case(7, Link, "the tag is wrong in a suite that is not known", flipped(unknown, 31)),
        case(7, Link, "the tag is wrong in a version that is not known", flipped(foreign(2, 1).hello(), 31)),
        case(7, Link, "the tag is wrong for the retired key it names", flipped(retired, 31)),
    ]
}

/// Lines 8 to 11, 15 and 16, without tickets.
fn behind_the_tag() -> Vec<Case> {
    let retired = public(RETIRED_SECRET);
    let of = |line, name: &str, recipe: Recipe| case(line, Link, name, recipe.hello());
    let mut cases = vec![
        of(8, "a retired key", Recipe { key: retired, ..link(NK) }),
        of(
            8,
            "a retired key in a suite that is not allowed",
            Recipe { key: retired, ..link(Suite::NkAesGcm) },
        ),
        of(8, "a retired key in a version that is not known", Recipe { key: retired, ..foreign(2, 1) }),
        of(9, "version 2, with the longest fields", foreign(2, 1)),
        of(9, "version 2, laid out like NK", Recipe { version: 2, versions: 6, ..shape(48) }),
        of(9, "version 255 with a byte of message 1", Recipe { version: 255, versions: 2, ..shape(1) }),
        of(9, "version 2, and versions lacks it: the version is looked at first", {
            Recipe { version: 2, versions: 2, ..shape(48) }
        }),
        of(10, "suite 11, hybrid, with the longest fields", foreign(1, 11)),
        of(10, "suite 16, SM2 and SM4", Recipe { suite: 16, suites: 1 << 16, ..shape(81) }),
        of(10, "suite 23, the last of the set", Recipe { suite: 23, suites: 1 << 23, ..shape(4096) }),
        of(10, "suite 0", Recipe { suite: 0, suites: 0, ..shape(48) }),
        of(10, "suite 200", Recipe { suite: 200, suites: 2, ..shape(48) }),
        of(10, "suite 2, known and not allowed", link(Suite::NkAesGcm)),
        of(10, "suite 8, known and not allowed, with a ticket", {
            Recipe { ticket: ticket(&identity()), ..link(Suite::Nnpsk0AesGcm) }
        }),
        of(10, "suite 9, which belongs to streams", stream(KK)),
        of(11, "versions lacks ver", Recipe { versions: 0, ..link(NK) }),
        of(11, "versions has another one only", Recipe { versions: 4, ..link(NK) }),
        of(11, "suites lacks sui", Recipe { suites: Suite::IkChaChaPoly.bit(), ..link(NK) }),
        of(11, "suites is empty", Recipe { suites: 0, ..link(NK) }),
        of(11, "a ticket in NK", Recipe { ticket: vec![1], ..link(NK) }),
        of(11, "no ticket in NNpsk0", with_ticket(Vec::new())),
        of(15, "message 1 does not open, NK", Recipe { message_1: Message1::Flipped, ..link(NK) }),
        of(
            15,
            "message 1 does not open, IK",
            Recipe { message_1: Message1::Flipped, ..link(Suite::IkChaChaPoly) },
        ),
        of(16, "NK", link(NK)),
        // All suites of links, and none of streams, which have no bits.
        of(16, "NK, offered with all others and with versions to come", {
            Recipe { versions: 0xfe, suites: 0xff_79fe, ..link(NK) }
        }),
        of(16, "IK", link(Suite::IkChaChaPoly)),
    ];
    // Message 1 is bound to what travelled in the clear: with the tag made anew, it does not open.
    let mut other = link(NK);
    let message_1 = other.hello()[34..].to_vec();
    other.suites |= 4;
    cases.push(case(15, Link, "message 1 was made for another set of suites", retagged(&other, &message_1)));
    cases
}

/// A hello that only has to be long enough: it is not read.
fn shape(message_1_len: usize) -> Recipe {
    Recipe { message_1: Message1::Filler(message_1_len), ..link(NK) }
}

/// The preamble of a recipe with another message 1, and its right tag.
fn retagged(recipe: &Recipe, message_1: &[u8]) -> Vec<u8> {
    let mut hello = recipe.hello();
    let fixed: &[u8; 16] = hello.first_chunk().expect("a preamble is longer");
    let tag = protocol::noise::Gate::new(&recipe.key).tag(fixed, &recipe.ticket, message_1);
    hello[16..32].copy_from_slice(&tag);
    let at = hello.len() - message_1.len();
    hello[at..].copy_from_slice(message_1);
    hello
}

/// Lines 14 to 16 with a ticket. More of line 14 is in `tickets.json`.
fn tickets() -> Vec<Case> {
    let good = ticket(&identity());
    let other_realm = TicketKeys::new(GROUP_KEY, "other", NOW).issue(&identity(), &SALT);
    let of = |line, name: &str, ticket: Vec<u8>| case(line, Link, name, with_ticket(ticket).hello());
    vec![
        of(14, "a ticket of another realm", other_realm.expect("a good identity")),
        of(14, "a ticket whose first bit of content is flipped", flipped(good.clone(), 20)),
        of(14, "a ticket of one byte", vec![1]),
        of(14, "a ticket of 512 bytes", vec![2; 512]),
        of(14, "a ticket that began with a suite that is not allowed", {
            ticket(&Identity { origin_suite: Suite::NkAesGcm, ..identity() })
        }),
        case(15, Link, "the ticket is good and the psk is not its own", {
            Recipe { psk: [0xab; 32], ..with_ticket(good.clone()) }.hello()
        }),
        case(15, Link, "the ticket is good and message 1 does not open", {
            Recipe { message_1: Message1::Flipped, ..with_ticket(good.clone()) }.hello()
        }),
        of(16, "a ticket and its psk", good),
    ]
}

fn streams() -> Vec<Case> {
    let of = |line, name: &str, recipe: Recipe| case(line, Stream, name, recipe.hello());
    let hello = stream(KK).hello();
    vec![
        case(4, Stream, "the last byte is missing", hello[..hello.len() - 1].to_vec()),
        case(5, Stream, "a byte behind message 1", [&hello[..], &[0]].concat()),
        of(6, "a key nobody here knows", Recipe { key: public(STRANGE_SECRET), ..stream(KK) }),
        case(7, Stream, "the tag is wrong", flipped(hello, 31)),
        of(9, "version 2", Recipe { version: 2, versions: 6, suites: 0, ..foreign(2, 9) }),
        of(10, "suite 19, which nobody knows", Recipe { suites: 0, ..foreign(1, 19) }),
        of(10, "suite 1, which belongs to links", link(NK)),
        of(11, "suites is not 0", Recipe { suites: 2, ..stream(KK) }),
        of(11, "versions lacks ver", Recipe { versions: 4, ..stream(KK) }),
        of(11, "the ticket field is empty", Recipe { ticket: Vec::new(), ..stream(KK) }),
        of(11, "the ticket field has five bytes", Recipe { ticket: vec![1; 5], ..stream(KK) }),
        of(15, "the key id of a gateway nobody here knows", {
            Recipe { ticket: public(STRANGE_SECRET).key_id().0.to_vec(), ..stream(KK) }
        }),
        of(15, "message 1 does not open", Recipe { message_1: Message1::Flipped, ..stream(KK) }),
        case(6, Stream, "a clear hello", clear()),
        of(16, "KK_ChaChaPoly", stream(KK)),
        of(16, "KK_AESGCM", stream(Suite::KkAesGcm)),
    ]
}

/// Section 11.2, whose hello has no tag: what is wrong is met with silence.
fn clear_streams() -> Vec<Case> {
    let of = |line, name: &str, at, value| case(line, ClearStream, name, with_byte(clear(), at, value));
    vec![
        of(1, "the magic differs", 3, 0x0b),
        of(2, "version 0", 4, 0),
        of(2, "a ticket_len", 15, 4),
        case(4, ClearStream, "the last byte is missing", clear()[..31].to_vec()),
        of(6, "version 2", 4, 2),
        of(6, "a key id", 6, 1),
        of(7, "a tag", 31, 1),
        of(11, "versions lacks ver", 10, 4),
        of(11, "suites is not 0", 13, 2),
        case(6, ClearStream, "KK", stream(KK).hello()),
        case(16, ClearStream, "the preamble of a clear stream", clear()),
    ]
}

/// Line 12: a hello that is complete and waits may be asked to come back.
fn busy() -> Json {
    let of = |wait: u16| {
        let (hello, mut reply) = (link(NK).hello(), Vec::new());
        let (mut server, mut chunk) = (ServerLink::new(Time::ZERO), hello.clone());
        let mut input = Input::new(&mut chunk, Rest::default());
        assert_eq!(server.hail(&mut input, &acceptor(), &mut reply), Ok(true));
        server.turn_away(&acceptor(), wait, &mut reply);
        Json::object([("answer", Json::hex(&reply)), ("clear_reply", show_reply(&reply))])
    };
    Json::List([0, 1, 50, 599, 600, 601, 65_535].map(of).into())
}
