//! `hellos.json`: one handshake in every suite, with everything that goes into it.

use std::sync::Arc;
use std::time::Duration;

use protocol::Time;
use protocol::buffer::{Input, Rest};
use protocol::limits::PREAMBLE_LEN;
use protocol::link::{Acceptor, ClientLink, Dial, ServerLink};
use protocol::noise::preamble::{Hello, Preamble, VERSIONS, encode_offer};
use protocol::noise::ticket::Identity;
use protocol::noise::{
    CLEAR_SUITE, Cipher, Gate, Initiator, Pattern, PublicKey, StaticKey, Suite, Suites, prologue,
};
use protocol::stream::gateway::Introduction;
use protocol::stream::{Access, BackendStream, GatewayStream, Mode, Params};

use crate::json::Json;
use crate::keys::*;

const SPEC: &str = include_str!("../../SPEC.md");

pub(crate) fn file() -> Json {
    let golden = link("golden hello: the one of SPEC.md, section 18", Suite::NkChaChaPoly, Suites::NONE);
    for name in ["h", "key_up", "key_down", "gate_key"] {
        let Some(Json::Text(value)) = golden.get(name) else { panic!("no {name}") };
        assert!(SPEC.contains(value), "section 18 has another {name}");
    }
    let mut cases = vec![golden];
    for suite in [Suite::NkAesGcm, Suite::IkChaChaPoly, Suite::IkAesGcm] {
        cases.push(link("a full handshake", suite, Suites::NONE));
    }
    for suite in [Suite::Nnpsk0ChaChaPoly, Suite::Nnpsk0AesGcm] {
        cases.push(link("a handshake with a ticket", suite, Suites::NONE));
    }
    for suite in [Suite::XxChaChaPoly, Suite::XxAesGcm] {
        cases.push(link(
            "a handshake without a server key, on a listener of such suites only",
            suite,
            Suites::NONE,
        ));
    }
    let better = Suites::of(&[Suite::IkChaChaPoly, Suite::NkAesGcm]);
    cases.push(link("more suites are offered than the one in use", Suite::NkChaChaPoly, better));
    cases.extend([Suite::KkChaChaPoly, Suite::KkAesGcm].map(stream));
    cases.push(clear_stream());
    Json::object([
        (
            "about",
            "Handshakes of SPEC.md, sections 3, 4 and 11.2: from the keys to the keys of the records. The initiator is the \
             client of a link (suites 1 to 8) or the gateway of a stream (9, 10, 15); server_secret and server_public \
             (S_pub) are the responder's, which with suites 5 and 6 the initiator does not know. answer is length and message 2; message_3 \
             follows with these suites. The initiator seals with key_up and opens \
             with key_down, both counters at 0."
                .into(),
        ),
        ("cases", Json::List(cases)),
    ])
}

/// What a handshake is made from.
struct Parties<'a> {
    suite: Suite,
    server: PublicKey,
    initiator: Option<([u8; 32], StaticKey)>,
    /// What stands in the ticket field.
    ticket: &'a [u8],
    psk: Option<&'a [u8; 32]>,
}

fn link(name: &str, suite: Suite, better: Suites) -> Json {
    let origin = match suite.cipher() {
        Cipher::ChaChaPoly => Suite::NkChaChaPoly,
        Cipher::AesGcm => Suite::NkAesGcm,
    };
    let allowed = if suite.is_ticket() { Suites::of(&[origin, suite]) } else { Suites::of(&[suite]) };
    let device = matches!(suite.pattern(), Pattern::Ik | Pattern::Xx).then_some(DEVICE_SECRET);
    let sealed = || ticket(&Identity { origin_suite: origin, ..identity() });
    let ticket = if suite.is_ticket() { sealed() } else { Vec::new() };
    let parties = Parties {
        suite,
        server: public(SERVER_SECRET),
        initiator: device.map(|secret| (secret, StaticKey::from_secret(secret))),
        ticket: &ticket,
        psk: suite.is_ticket().then_some(&PSK),
    };
    let acceptor = Acceptor::new(server_key(), allowed, &[], Some(ticket_keys()));
    let (hello, answer, h) = link_exchange(&parties, better, &acceptor);
    let shown = show(name, &parties, &hello, &answer, encode_offer(VERSIONS, allowed));
    assert_eq!(shown.get("h"), Some(&Json::hex(h)), "both ends have the same");
    shown
}

/// Both machines: hello, answer and the hash they have in the end.
fn link_exchange(parties: &Parties<'_>, better: Suites, acceptor: &Acceptor) -> (Vec<u8>, Vec<u8>, [u8; 32]) {
    let (mut hello, mut answer) = (Vec::new(), Vec::new());
    let mut client = dial(parties, better, &mut hello);
    let (mut server, mut chunk) = (ServerLink::new(Time::ZERO), hello.clone());
    let mut input = Input::new(&mut chunk, Rest::default());
    assert_eq!(server.hail(&mut input, acceptor, &mut answer), Ok(true));
    let unfinished = server
        .handshake(&hello, acceptor, RESPONDER_EPHEMERAL, Time::ZERO, NOW, &mut answer)
        .expect("a good hello");
    let mut chunk = answer.clone();
    let mut input = Input::new(&mut chunk, Rest::default());
    assert_eq!(client.receive(&mut input, Time::ZERO), Ok(None));
    if let Some(unfinished) = unfinished {
        let mut said = vec![0, 0, 1];
        client.seal(&mut said, 0, 16);
        let mut input = Input::new(&mut said, Rest::default());
        assert_eq!(server.hear_last(&mut input), Ok(true));
        server.finish(unfinished, &mut input.into_rest()).expect("a good message 3");
    }
    let (h, suite, _) = server.binding().expect("there are keys");
    assert_eq!((client.handshake_hash(), suite), (Some(h), parties.suite));
    (hello, answer, *h)
}

fn dial(parties: &Parties<'_>, better: Suites, hello: &mut Vec<u8>) -> ClientLink {
    let device_key = parties.initiator.as_ref().map(|(_, key)| key);
    let dialled = if parties.suite.is_unpinned() {
        let device_key = device_key.expect("XX proves one");
        ClientLink::dial_unpinned(parties.suite, better, device_key, INITIATOR_EPHEMERAL, Time::ZERO, hello)
    } else {
        let dial = Dial {
            server: &parties.server,
            gate: &Gate::new(&parties.server),
            suite: parties.suite,
            better,
            served: Suites::NONE,
            device_key,
            ticket: parties.psk.map(|psk| (parties.ticket, psk)),
        };
        ClientLink::dial(&dial, INITIATOR_EPHEMERAL, Time::ZERO, hello)
    };
    dialled.expect("good keys")
}

fn stream(suite: Suite) -> Json {
    let local = StaticKey::from_secret(GATEWAY_SECRET);
    let key_id = local.public().key_id();
    let mode = Mode::Kk { suite, local: local.clone(), remote: public(SERVER_SECRET) };
    let access = Access::kk(server_key(), vec![local.public()]);
    let (mut gateway, mut backend) = ends(&mode, access);
    let (mut hello, mut answer) = (Vec::new(), Vec::new());
    assert!(gateway.seal(&mut hello));
    let mut chunk = hello.clone();
    let mut input = backend.input(&mut chunk);
    assert_eq!(backend.receive(&mut input, Time::ZERO), Ok(None));
    assert!(backend.seal(&mut answer));
    assert_eq!(backend.peer(), Some(&local.public()));
    let mut chunk = answer.clone();
    let mut input = gateway.input(&mut chunk);
    assert_eq!(gateway.receive(&mut input, Time::ZERO), Ok(None), "the gateway takes it");
    assert!(gateway.seal(&mut Vec::new()), "and introduces itself");
    let parties = Parties {
        suite,
        server: public(SERVER_SECRET),
        initiator: Some((GATEWAY_SECRET, local)),
        ticket: &key_id.0,
        psk: None,
    };
    let name = "a stream; in the ticket field stands the gateway's key id";
    show(name, &parties, &hello, &answer, encode_offer(VERSIONS, Suites::NONE))
}

/// No handshake: the preamble is followed by records without a tag.
fn clear_stream() -> Json {
    let (mut gateway, mut backend) = ends(&Mode::Clear, Access::clear());
    let (mut opening, mut ready) = (Vec::new(), Vec::new());
    gateway.seal(&mut opening);
    let mut chunk = opening.clone();
    let mut input = backend.input(&mut chunk);
    assert!(backend.receive(&mut input, Time::ZERO).expect("a good hello").is_some());
    backend.seal(&mut ready);
    let (hello, record) = opening.split_at(PREAMBLE_LEN);
    Json::object([
        ("name", "a clear stream: a preamble, no answer; then the records of Hello and Ready".into()),
        ("suite", CLEAR_SUITE.into()),
        ("hello", Json::hex(hello)),
        ("record_of_hello", Json::hex(record)),
        ("record_of_ready", Json::hex(ready)),
    ])
}

fn ends(mode: &Mode, access: Access) -> (GatewayStream, BackendStream) {
    let params = Params { heartbeat: Duration::from_secs(5), ..Params::default() };
    let introduction =
        Introduction { boot_id: [0x12; 16], gateway: "gate-1".into(), worker: 2, report_slots: 0 };
    let gateway = GatewayStream::new(mode, params, introduction, INITIATOR_EPHEMERAL, Time::ZERO);
    let routes = vec!["echo".into()];
    let backend =
        BackendStream::new(Arc::new(access), params, b"b-1", routes, RESPONDER_EPHEMERAL, Time::ZERO);
    (gateway.expect("good keys"), backend)
}

/// Everything about a handshake. What the machines keep to themselves comes from the same handshake without them.
fn show(name: &str, parties: &Parties<'_>, hello: &[u8], answer: &[u8], offer: [u8; 4]) -> Json {
    let suite = parties.suite;
    let (parsed, len) = Hello::decode(hello).expect("well formed").expect("whole");
    assert_eq!((len, parsed.ticket), (hello.len(), parties.ticket));
    let fixed = parsed.preamble.fixed();
    let prologue = prologue(&fixed, parties.ticket);
    let (mut payload, mut message_3) = (Vec::new(), Vec::new());
    let initiator = again(parties, &prologue, parsed.message_1);
    let secrets = initiator.conclude(&answer[2..], &mut payload, &mut message_3).expect("a good answer");
    assert_eq!(payload, offer);
    let mut all = vec![("name", name.into()), ("suite", suite.byte().into()), ("noise", suite.name().into())];
    all.push(("server_secret", Json::hex(SERVER_SECRET)));
    all.push(("server_public", Json::hex(parties.server.0)));
    if let Some((secret, key)) = &parties.initiator {
        all.push(("initiator_secret", Json::hex(secret)));
        all.push(("initiator_public", Json::hex(key.public().0)));
    }
    if let Some(psk) = parties.psk {
        all.push(("group_key", Json::hex(GROUP_KEY)));
        all.push(("realm", REALM.into()));
        all.push(("now_ms", Json::long(NOW.0)));
        all.push(("psk", Json::hex(psk)));
    }
    all.push(("initiator_ephemeral_secret", Json::hex(INITIATOR_EPHEMERAL)));
    all.push(("responder_ephemeral_secret", Json::hex(RESPONDER_EPHEMERAL)));
    all.push(("preamble", show_preamble(&parsed.preamble)));
    all.push(("fixed", Json::hex(fixed)));
    all.push(("ticket", Json::hex(parties.ticket)));
    if !suite.is_unpinned() {
        all.push(("gate_key", Json::hex(gate_key(&parties.server))));
    }
    all.push(("tag", Json::hex(parsed.preamble.tag)));
    all.push(("prologue", Json::hex(&prologue)));
    all.push(("message_1", Json::hex(parsed.message_1)));
    all.push(("hello", Json::hex(hello)));
    all.push(("offer", Json::hex(offer)));
    all.push(("message_2", Json::hex(&answer[2..])));
    all.push(("answer", Json::hex(answer)));
    if suite.is_unpinned() {
        all.push(("message_3", Json::hex(&message_3)));
    }
    all.push(("h", Json::hex(secrets.h)));
    all.push(("key_up", Json::hex(secrets.send)));
    all.push(("key_down", Json::hex(secrets.receive)));
    Json::Object(all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The fields of the fixed part, each as its bytes.
fn show_preamble(preamble: &Preamble) -> Json {
    let fixed = preamble.fixed();
    Json::object([
        ("magic", Json::hex(&fixed[..4])),
        ("ver", Json::hex(&fixed[4..5])),
        ("sui", Json::hex(&fixed[5..6])),
        ("key_id", Json::hex(&fixed[6..10])),
        ("versions", Json::hex(&fixed[10..11])),
        ("suites", Json::hex(&fixed[11..14])),
        ("ticket_len", Json::hex(&fixed[14..])),
    ])
}

fn again(parties: &Parties<'_>, prologue: &[u8], message_1: &[u8]) -> Initiator {
    let mut made = Vec::new();
    let initiator = Initiator::create(
        parties.suite,
        parties.initiator.as_ref().map(|(_, key)| key),
        parties.suite.proves_server().then_some(&parties.server),
        parties.psk,
        prologue,
        INITIATOR_EPHEMERAL,
        &mut made,
    );
    assert_eq!(made, message_1);
    initiator.expect("good keys")
}
