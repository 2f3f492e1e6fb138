//! The first bytes, at all four ends: hellos of links and streams, message 2, clear replies.
//!
//! ```text
//! mode 0  flags, cuts, hello               a gateway's link
//! mode 1  suite, flags, cuts, payload of message 2, edits, more bytes      a client
//! mode 2  flags, cuts, hello               a backend
//! mode 3  suite, flags, cuts, edits, more bytes                            a gateway that dials
//! mode 4  suite, flags, cuts, edits of message 3, more bytes               a gateway's link whose client has no key
//! ```
//!
//! A hello's tag is made good again after the fuzzer has changed it, if a flag wants that: otherwise nothing behind
//! the gate would ever be reached. An edit is a place (two bytes) and what is flipped there. Who is answered with what is
//! the business of `foreign.rs`; here nothing may panic, and no stranger may be heard.

use std::sync::Arc;

use protocol::buffer::{Input, Rest};
use protocol::limits::{HELLO_LEN_MAX, MESSAGE_2_LEN_MAX, MESSAGE_3_LEN};
use protocol::link::{Acceptor, ClientLink, ServerLink};
use protocol::noise::preamble::{Hello, VERSIONS, decode_offer, encode_offer};
use protocol::noise::{Responder, Suite, Suites, prologue};
use protocol::stream::gateway::Introduction;
use protocol::stream::{Access, BackendStream, GatewayStream, Mode, Params};
use protocol::{Error, Time};

use super::layout::{clear_reply, is_tagged, is_whole, tag};
use super::parties::{ANSWERING, ASKING, LINK_SUITES, NARROW_SUITES, PARTIES, PSK, UNPINNED_SUITES, WALL};
use super::script::{Script, Writer, pieces};
use super::{Arrivals, Seed};

/// The body of this target: 1 when a handshake was finished.
pub fn run(data: &[u8]) -> usize {
    let mut script = Script::new(data);
    usize::from(match script.byte() % 5 {
        0 => server(&mut script),
        1 => client(&mut script),
        2 => backend(&mut script),
        3 => gateway(&mut script),
        _ => unpinned(&mut script),
    })
}

const TAGGED: u8 = 1;
const TAGGED_RETIRED: u8 = 2;
const NARROW: u8 = 4;
const BETTER: u8 = 1;
const RAW: u8 = 2;
const SERVED: u8 = 4;

fn server(script: &mut Script<'_>) -> bool {
    let (flags, cuts) = (script.byte(), script.bytes());
    let mut hello = script.rest().to_vec();
    if flags & TAGGED != 0 {
        tag(&mut hello, &PARTIES.gate);
    } else if flags & TAGGED_RETIRED != 0 {
        tag(&mut hello, &PARTIES.retired_gate);
    }
    let (acceptor, allowed) = if flags & NARROW == 0 {
        (&PARTIES.acceptor, &LINK_SUITES[..])
    } else {
        (&PARTIES.narrow, &NARROW_SUITES[..])
    };
    let (hailed, mut server, reply) = hail(&hello, &[], acceptor);
    let (hailed_in_pieces, _, reply_in_pieces) = hail(&hello, cuts, acceptor);
    if is_whole(&hello) {
        assert_eq!((hailed, &reply), (hailed_in_pieces, &reply_in_pieces), "cuts make a difference");
    }
    for result in [hailed, hailed_in_pieces] {
        assert_eq!(result.err().and_then(Error::close_code), None, "a stranger is met with silence");
    }
    let is_stranger = !is_tagged(&hello, &[&PARTIES.gate, &PARTIES.retired_gate]);
    assert!(!is_stranger || (reply.is_empty() && reply_in_pieces.is_empty() && hailed != Ok(true)));
    if hailed != Ok(true) {
        return false;
    }
    assert!(is_whole(&hello) && reply.is_empty());
    let mut answer = b"before".to_vec();
    let result = server.handshake(&hello, acceptor, ANSWERING, Time::ZERO, WALL, &mut answer);
    let said = answer.split_off(6);
    assert_eq!(answer, b"before");
    match result {
        Ok(ref unfinished) => {
            assert!(unfinished.is_none() && server.is_open() && server.binding().is_some());
            assert_eq!(usize::from(u16::from_be_bytes([said[0], said[1]])), said.len() - 2);
        }
        Err(error) => {
            assert!(!server.is_open() && error.close_code().is_none());
            let reply = clear_reply(5, Suites::of(allowed).bits(), PARTIES.server.key_id(), 0);
            match error {
                Error::Ticket => assert_eq!(said, reply, "a ticket is refused in clear"),
                Error::Handshake => assert!(said.is_empty(), "a wrong secret is met with silence"),
                other => panic!("{other:?} is no error of a handshake"),
            }
        }
    }
    let mut more = Vec::new();
    server.turn_away(acceptor, 1, &mut more);
    assert!(more.is_empty() && server.is_open() == result.is_ok(), "it has its answer already");
    result.is_ok()
}

/// Lets a hello arrive at a new link of the gateway.
fn hail(hello: &[u8], cuts: &[u8], acceptor: &Acceptor) -> (Result<bool, Error>, ServerLink, Vec<u8>) {
    let (mut server, mut arrivals, mut reply) = (ServerLink::new(Time::ZERO), Arrivals::new(), Vec::new());
    let (mut hello, mut hailed) = (hello.to_vec(), Ok(false));
    for piece in pieces(&mut hello, cuts) {
        hailed = arrivals.arrive(piece, |input| server.hail(input, acceptor, &mut reply));
        if hailed.is_err() {
            return (hailed, server, reply);
        }
    }
    assert_eq!(hailed, Ok(server.is_hailed()));
    assert!(arrivals.gathered().is_ok_and(|gathered| gathered.len() <= HELLO_LEN_MAX));
    (hailed, server, reply)
}

fn client(script: &mut Script<'_>) -> bool {
    let suite = LINK_SUITES[usize::from(script.byte()) % LINK_SUITES.len()];
    let (flags, cuts, payload, edits) = (script.byte(), script.bytes(), script.bytes(), script.bytes());
    let better = if flags & BETTER == 0 { Suites::NONE } else { Suites::of(&[Suite::IkAesGcm]) };
    let served = if flags & SERVED == 0 { Suites::NONE } else { Suites::of(&LINK_SUITES) };
    let mut hello = Vec::new();
    let dialled = PARTIES.redial(suite, better, served, &mut hello);
    if better.intersection(served) != Suites::NONE {
        assert!(matches!(dialled, Err(Error::Downgrade)) && hello.is_empty(), "a broken suite is dialled");
        return false;
    }
    let mut client = dialled.expect("the keys fit the suite");
    let mut answer = Vec::new();
    if flags & RAW == 0 {
        let Some(message_2) = answer_with(suite, &hello, payload) else { return false };
        answer = message_2;
    }
    let touched = edit(&mut answer, edits);
    answer.extend_from_slice(script.rest());
    let (mut arrivals, mut error) = (Arrivals::new(), None);
    for piece in pieces(&mut answer, cuts) {
        let heard = arrivals.arrive(piece, |input| {
            // Behind message 2 there are no records of ours, so no frame can come out.
            client.receive(input, Time::ZERO).map(|frame| assert_eq!(frame, None))
        });
        if let Err(broken) = heard {
            error = Some(broken);
            break;
        }
    }
    assert_eq!(client.handshake_hash().is_some(), client.is_open());
    // Raw bytes may be an honest message 2 that the fuzzer has seen elsewhere.
    if flags & RAW == 0 {
        let offer = decode_offer(payload);
        let downgraded = offer.is_some_and(|(versions, offered)| {
            let lacks_ours = versions & VERSIONS == 0 || !offered.contains(suite);
            lacks_ours || offered.intersection(better) != Suites::NONE
        });
        let good = !touched && offer.is_some() && !downgraded;
        assert_eq!(client.is_open(), good, "{suite:?} {error:?}");
        assert!(touched || !downgraded || error == Some(Error::Downgrade), "{error:?}");
        assert_eq!(client.offered(), offer.filter(|_| good).map(|(_, offered)| offered));
    }
    client.is_open()
}

/// An honest message 2 with any payload; `None` if it is longer than one can be.
fn answer_with(suite: Suite, hello: &[u8], payload: &[u8]) -> Option<Vec<u8>> {
    let (hello, _) = Hello::decode(hello).expect("an honest hello").expect("a whole hello");
    let responder = Responder {
        suite,
        key: (!suite.is_ticket()).then_some(&PARTIES.key),
        peer: None,
        psk: suite.is_ticket().then_some(&PSK),
        prologue: &prologue(&hello.preamble.fixed(), hello.ticket),
        ephemeral: ANSWERING,
    };
    let mut out = vec![0; 2];
    let answered = responder.respond(hello.message_1, payload, &mut out);
    assert_eq!(answered.is_ok(), payload.len() + 48 <= MESSAGE_2_LEN_MAX);
    answered.ok()?;
    let len = u16::try_from(out.len() - 2).expect("message 2 is short");
    out[..2].copy_from_slice(&len.to_be_bytes());
    Some(out)
}

fn backend(script: &mut Script<'_>) -> bool {
    let (flags, cuts) = (script.byte(), script.bytes());
    let mut hello = script.rest().to_vec();
    if flags & TAGGED != 0 {
        tag(&mut hello, &PARTIES.backend_gate);
    }
    let run = |cuts: &[u8]| {
        let mut stream = new_backend();
        let mut bytes = hello.clone();
        let result: Result<(), Error> = pieces(&mut bytes, cuts).into_iter().try_for_each(|piece| {
            let mut input = stream.input(piece);
            stream.receive(&mut input, Time::ZERO).map(|event| assert_eq!(event, None))?;
            stream.keep(input);
            Ok(())
        });
        let mut answer = Vec::new();
        stream.seal(&mut answer);
        (result, stream.peer().is_some(), answer)
    };
    let (whole, cut) = (run(&[]), run(cuts));
    if is_whole(&hello) {
        assert_eq!(whole, cut, "cuts make a difference");
    }
    let is_stranger = !is_tagged(&hello, &[&PARTIES.backend_gate]);
    for (_, known, answer) in [&whole, &cut] {
        assert!(!is_stranger || (!known && answer.is_empty()), "the gate let a stranger in");
    }
    let (result, known, _) = whole;
    result.is_ok() && known
}

fn gateway(script: &mut Script<'_>) -> bool {
    let suite = if script.byte().is_multiple_of(2) { Suite::KkChaChaPoly } else { Suite::KkAesGcm };
    let (flags, cuts, edits) = (script.byte(), script.bytes(), script.bytes());
    let mut stream = new_gateway(suite);
    let mut hello = Vec::new();
    assert!(stream.seal(&mut hello));
    let mut answer = Vec::new();
    if flags & RAW == 0 {
        let mut backend = new_backend();
        let mut input = backend.input(&mut hello);
        assert_eq!(backend.receive(&mut input, Time::ZERO), Ok(None));
        backend.keep(input);
        assert!(backend.seal(&mut answer));
    }
    let touched = edit(&mut answer, edits);
    let more = script.rest();
    answer.extend_from_slice(more);
    let result: Result<(), Error> = pieces(&mut answer, cuts).into_iter().try_for_each(|piece| {
        let mut input = stream.input(piece);
        stream.receive(&mut input, Time::ZERO).map(|event| assert_eq!(event, None))?;
        stream.keep(input);
        Ok(())
    });
    // With keys the stream introduces itself, so there is something to seal.
    let open = stream.pending() > 0;
    if flags & RAW == 0 {
        assert_eq!(open, !touched, "{result:?}");
        assert!(!more.is_empty() || touched || result.is_ok(), "{result:?}");
    }
    open
}

/// Message 3, and what comes behind it. A hello of the fuzzer's own meets the gate of `foreign.rs`.
fn unpinned(script: &mut Script<'_>) -> bool {
    let suite = UNPINNED_SUITES[usize::from(script.byte()) % UNPINNED_SUITES.len()];
    let (flags, cuts, edits) = (script.byte(), script.bytes(), script.bytes());
    let mut hello = Vec::new();
    let key = &PARTIES.device;
    let client = ClientLink::dial_unpinned(suite, Suites::NONE, key, ASKING, Time::ZERO, &mut hello);
    let mut client = client.expect("the key fits the suite");
    let (hailed, mut server, mut answer) = hail(&hello, &[], &PARTIES.unpinned);
    assert_eq!((hailed, answer.len()), (Ok(true), 0));
    let begun = server.handshake(&hello, &PARTIES.unpinned, ANSWERING, Time::ZERO, WALL, &mut answer);
    let unfinished = begun.expect("an honest hello").expect("message 3 is to come");
    let heard = Arrivals::new().arrive(&mut answer, |input| client.receive(input, Time::ZERO).map(|_| ()));
    assert!(heard.is_ok() && client.is_open());
    let mut said = Vec::new();
    if flags & RAW == 0 {
        said = vec![0, 0, 2, 0xba, 0x06];
        client.seal(&mut said, 0, 1000);
    }
    let touched = edit(&mut said, edits);
    said.extend_from_slice(script.rest());
    let is_touched = said.get(..2 + MESSAGE_3_LEN).is_none() || touched || flags & RAW != 0;
    let (mut rest, mut heard) = (Rest::default(), Ok(false));
    for piece in pieces(&mut said, cuts) {
        let mut input = Input::new(piece, rest);
        if heard == Ok(false) {
            heard = server.hear_last(&mut input);
        }
        rest = input.into_rest();
    }
    assert_eq!(server.is_heard_out(), heard == Ok(true));
    assert!(heard.err().and_then(Error::close_code).is_none(), "a stranger is met with silence");
    let before = rest.len();
    let finished = server.finish(unfinished, &mut rest);
    assert_eq!(finished.is_ok(), server.is_open());
    assert!(is_touched || finished.is_ok(), "an honest client is refused");
    if finished.is_ok() {
        assert_eq!(rest.len() + 2 + MESSAGE_3_LEN, before, "what came behind it is kept");
        let (h, used, peer) = server.binding().expect("there are keys");
        assert_eq!((Some(h), used), (client.handshake_hash(), suite));
        assert_eq!(peer, Some(&PARTIES.device.public()));
    }
    finished.is_ok()
}

fn new_backend() -> BackendStream {
    let access = Arc::new(Access::kk(PARTIES.backend.clone(), vec![PARTIES.gateway.public()]));
    BackendStream::new(access, Params::default(), b"b", vec!["echo".to_owned()], ANSWERING, Time::ZERO)
}

fn new_gateway(suite: Suite) -> GatewayStream {
    let mode = Mode::Kk { suite, local: PARTIES.gateway.clone(), remote: PARTIES.backend.public() };
    GatewayStream::new(&mode, Params::default(), Introduction::default(), ASKING, Time::ZERO)
        .expect("the keys can be used")
}

/// Flips what `edits` say; whether that changed anything.
fn edit(bytes: &mut [u8], edits: &[u8]) -> bool {
    let before = bytes.to_vec();
    for edit in edits.chunks_exact(3) {
        if let Some(byte) = bytes.get_mut(usize::from(u16::from_be_bytes([edit[0], edit[1]]))) {
            *byte ^= edit[2];
        }
    }
    before != bytes
}

/// Honest beginnings of every kind, and the ways in which they go wrong.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let nk = PARTIES.dial(Suite::NkChaChaPoly, Suites::NONE).0;
    let reply = hail(&changed_and_tagged(&nk, 5, 11), &[], &PARTIES.acceptor).2;
    [at_links(&nk), at_clients(&reply), at_streams(&nk, &reply), without_pins()].concat()
}

fn without_pins() -> Vec<Seed> {
    let unpinned = |suite, flags, edits: &[u8], more: &[u8]| {
        let head = Writer::default().byte(4).byte(suite).byte(flags).bytes(&[40]);
        head.bytes(edits).rest(more).done()
    };
    vec![
        ("unpinned-chachapoly", unpinned(0, 0, &[], &[])),
        ("unpinned-aesgcm", unpinned(1, 0, &[], b"more")),
        ("unpinned-behind-touched", unpinned(1, 0, &[0, 70, 1], &[])),
        ("unpinned-key-touched", unpinned(0, 0, &[0, 20, 1], &[])),
        ("unpinned-tag-touched", unpinned(0, 0, &[0, 60, 0x80], &[])),
        ("unpinned-wrong-length", unpinned(0, RAW, &[], &[0, 65])),
        ("unpinned-cut-off", unpinned(0, RAW, &[], &[&[0, 64][..], &[7; 63]].concat())),
        ("unpinned-made-up", unpinned(1, RAW, &[], &[&[0, 64][..], &[7; 64]].concat())),
    ]
}

fn at_links(nk: &[u8]) -> Vec<Seed> {
    let server = |flags, hello: &[u8]| Writer::default().byte(0).byte(flags).bytes(&[15]).rest(hello).done();
    let hello = |suite| PARTIES.dial(suite, Suites::NONE).0;
    let changed = |at: usize, byte: u8| {
        let mut hello = nk.to_vec();
        hello[at] = byte;
        hello
    };
    let mut retired = nk.to_vec();
    retired[6..10].copy_from_slice(&PARTIES.retired.key_id().0);
    let nnpsk0 = hello(Suite::Nnpsk0ChaChaPoly);
    let mut other_ticket = nnpsk0.clone();
    other_ticket[60] ^= 1;
    let mut other_psk = nnpsk0.clone();
    *other_psk.last_mut().expect("a hello") ^= 1;
    vec![
        ("link-nk-chachapoly", server(0, nk)),
        ("link-nk-aesgcm", server(0, &hello(Suite::NkAesGcm))),
        ("link-ik-chachapoly", server(0, &hello(Suite::IkChaChaPoly))),
        ("link-ik-aesgcm", server(0, &hello(Suite::IkAesGcm))),
        ("link-nnpsk0-chachapoly", server(0, &nnpsk0)),
        ("link-nnpsk0-aesgcm", server(0, &hello(Suite::Nnpsk0AesGcm))),
        ("link-retagged", server(TAGGED, nk)),
        ("link-ticket-refused", server(NARROW, &nnpsk0)),
        ("link-ticket-touched", server(TAGGED, &other_ticket)),
        ("link-psk-touched", server(TAGGED, &other_psk)),
        ("link-suite-refused", server(NARROW, &hello(Suite::IkChaChaPoly))),
        ("link-suite-not-offered", server(TAGGED, &changed(13, 4))),
        ("link-version-not-offered", server(TAGGED, &changed(10, 4))),
        ("link-unknown-version", server(TAGGED, &changed(4, 9))),
        ("link-unknown-version-wrong-tag", server(0, &changed(4, 9))),
        ("link-reserved-suite", server(TAGGED, &changed(5, 11))),
        ("link-retired-key", server(TAGGED_RETIRED, &retired)),
        ("link-bad-point", server(TAGGED, &[&nk[..34], &[0; 48]].concat())),
        ("link-wrong-tag", server(0, &changed(20, 0))),
        ("link-cut-off", server(0, &nk[..50])),
        ("link-too-much", server(0, &[nk, b"x"].concat())),
        ("link-http", server(0, b"GET / HTTP/1.1\r\n\r\n")),
    ]
}

fn at_clients(reply: &[u8]) -> Vec<Seed> {
    let client = |suite, flags, payload: &[u8], edits: &[u8], more: &[u8]| {
        let head = Writer::default().byte(1).byte(suite).byte(flags).bytes(&[20]);
        head.bytes(payload).bytes(edits).rest(more).done()
    };
    let offer = encode_offer(VERSIONS, Suites::of(&LINK_SUITES));
    let longer = [&offer[..], b"what later versions say"].concat();
    let future = encode_offer(VERSIONS | 1 << 2, Suites::from_bits(0xff_ffff));
    let longest = [&future[..], &[7; 3900]].concat();
    vec![
        ("client-nk", client(0, 0, &offer, &[], &[])),
        ("client-ik", client(3, 0, &offer, &[], &[])),
        ("client-nnpsk0", client(4, 0, &longer, &[], &[])),
        ("client-offer-of-the-future", client(0, 0, &longest, &[], &[])),
        ("client-downgraded", client(0, BETTER, &offer, &[], &[])),
        ("client-suite-gone", client(0, 0, &encode_offer(VERSIONS, Suites::NONE), &[], &[])),
        ("client-version-gone", client(0, 0, &encode_offer(1 << 2, Suites::of(&LINK_SUITES)), &[], &[])),
        ("client-suites-learned", client(0, BETTER | SERVED, &offer, &[], &[])),
        ("client-best-suite-learned", client(3, SERVED, &offer, &[], &[])),
        ("client-short-payload", client(0, 0, &offer[..3], &[], &[])),
        ("client-flipped-bit", client(1, 0, &offer, &[0, 40, 1], &[])),
        ("client-clear-reply", client(0, RAW, &[], &[], reply)),
        ("client-clear-reply-cut-off", client(0, RAW, &[], &[], &reply[..15])),
    ]
}

fn at_streams(nk: &[u8], reply: &[u8]) -> Vec<Seed> {
    let mut kk = Vec::new();
    new_gateway(Suite::KkChaChaPoly).seal(&mut kk);
    let backend = |flags, hello: &[u8]| Writer::default().byte(2).byte(flags).bytes(&[9]).rest(hello).done();
    let gateway = |suite, flags, edits: &[u8], more: &[u8]| {
        let head = Writer::default().byte(3).byte(suite).byte(flags).bytes(&[30]);
        head.bytes(edits).rest(more).done()
    };
    vec![
        ("backend-kk", backend(0, &kk)),
        ("backend-wrong-suite", backend(TAGGED, &[&kk[..5], &[1], &kk[6..]].concat())),
        ("backend-suites-offered", backend(TAGGED, &[&kk[..12], &[2], &kk[13..]].concat())),
        ("backend-other-gateway", backend(TAGGED, &[&kk[..32], &[9], &kk[33..]].concat())),
        ("backend-unknown-version", backend(TAGGED, &[&kk[..4], &[2], &kk[5..]].concat())),
        ("backend-link-hello", backend(0, nk)),
        ("gateway-kk-chachapoly", gateway(0, 0, &[], &[])),
        ("gateway-kk-aesgcm", gateway(1, 0, &[], &[])),
        ("gateway-flipped-bit", gateway(0, 0, &[0, 50, 0x80], &[])),
        ("gateway-clear-reply", gateway(0, RAW, &[], reply)),
    ]
}

fn changed_and_tagged(hello: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut hello = hello.to_vec();
    hello[at] = byte;
    tag(&mut hello, &PARTIES.gate);
    hello
}
