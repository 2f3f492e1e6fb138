//! Writes the last section of SPEC.md: one conversation in bytes, from the preamble to the close, with fixed keys.
//!
//! Both ends are the link machines that client and gateway use. The text in the file must be what they say; after a
//! change that is meant, `WALKTHROUGH=write cargo test -p protocol --test walkthrough` writes it again.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use protocol::buffer::{Input, Rest};
use protocol::link::{Acceptor, ClientLink, Dial, Rules, ServerLink};
use protocol::noise::preamble::{Hello, VERSIONS, encode_offer};
use protocol::noise::{Gate, Initiator, Secrets, StaticKey, Suite, Suites, prologue};
use protocol::wire::frame::{Auth, Close, Frame, Ping, Request, Response, encode_welcome};
use protocol::wire::proto::link::Welcome;
use protocol::{CloseCode, Time, UnixMillis};
use ring::digest::{SHA256, digest};

const BEGIN: &str = "<!-- walkthrough:begin -->\n";
const END: &str = "<!-- walkthrough:end -->";
const SUITE: Suite = Suite::NkChaChaPoly;
const SERVER_SECRET: [u8; 32] = [0x11; 32];
const CLIENT_EPHEMERAL: [u8; 32] = [0x22; 32];
const SERVER_EPHEMERAL: [u8; 32] = [0x33; 32];
const REQUEST_ID: [u8; 16] = [0x66; 16];
const RULES: Rules = Rules {
    record_len_max: 16_384,
    frame_len_max: 65_536,
    handshake_deadline: Duration::from_secs(5),
    auth_deadline: Duration::from_secs(5),
    glitches_max: 100,
};

#[test]
fn the_conversation_in_the_specification_is_the_one_the_machines_have() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("SPEC.md");
    let spec = std::fs::read_to_string(&path).expect("SPEC.md lies beside the crate");
    let (before, rest) = spec.split_once(BEGIN).expect("the section's first marker");
    let (there, after) = rest.split_once(END).expect("the section's last marker");
    let section = Conversation::new().text();
    if std::env::var_os("WALKTHROUGH").is_some_and(|wish| wish == "write") {
        std::fs::write(&path, format!("{before}{BEGIN}{section}{END}{after}"))
            .expect("SPEC.md can be written");
    } else {
        assert_eq!(there, section, "the bytes have changed: see the head of this test");
    }
}

/// Both ends, and what they have said so far.
struct Conversation {
    client: ClientLink,
    server: ServerLink,
    text: String,
}

impl Conversation {
    /// The handshake.
    fn new() -> Self {
        let key = StaticKey::from_secret(SERVER_SECRET);
        let public = key.public();
        let acceptor = Acceptor::new(key, Suites::of(&[SUITE]), &[], None);
        let (mut hello, gate) = (Vec::new(), Gate::new(&public));
        let dial = Dial {
            server: &public,
            gate: &gate,
            suite: SUITE,
            better: Suites::NONE,
            served: Suites::NONE,
            device_key: None,
            ticket: None,
        };
        let client = ClientLink::dial(&dial, CLIENT_EPHEMERAL, Time::ZERO, &mut hello).expect("good keys");
        let mut this = Self { client, server: ServerLink::new(Time::ZERO), text: String::new() };
        let mut answer = this.respond(&hello, &acceptor);
        let (secrets, message_1) = secrets(&acceptor, &hello, &answer);
        this.keys(&acceptor, &hello, &secrets);
        this.bytes("message 1", &message_1);
        this.bytes("hello", &hello);
        this.heading("Message 2, gateway to client: length, Noise message");
        this.bytes("offer", &encode_offer(VERSIONS, acceptor.suites()));
        this.bytes("message 2", &answer);
        let mut input = Input::new(&mut answer, Rest::default());
        assert_eq!(this.client.receive(&mut input, Time::ZERO), Ok(None));
        assert_eq!(this.client.handshake_hash(), Some(&secrets.h));
        this.bytes("h", &secrets.h);
        this.bytes("key up", &secrets.send);
        this.bytes("key down", &secrets.receive);
        this
    }

    fn respond(&mut self, hello: &[u8], acceptor: &Acceptor) -> Vec<u8> {
        let (mut answer, mut chunk) = (Vec::new(), hello.to_vec());
        let mut input = Input::new(&mut chunk, Rest::default());
        assert_eq!(self.server.hail(&mut input, acceptor, &mut answer), Ok(true));
        self.server
            .handshake(hello, acceptor, SERVER_EPHEMERAL, Time::ZERO, UnixMillis(0), &mut answer)
            .expect("a good hello");
        answer
    }

    fn keys(&mut self, acceptor: &Acceptor, hello: &[u8], secrets: &Secrets) {
        let public = acceptor.public();
        let gate_key = digest(&SHA256, &[&b"access-gateway gate v1"[..], &public.0].concat());
        let fixed: &[u8; 16] = hello[..16].try_into().expect("a preamble is longer");
        assert_eq!(secrets.suite, SUITE);
        self.heading("Keys (the ephemeral ones are fixed here, and random in life)");
        self.bytes("server secret", &SERVER_SECRET);
        self.bytes("server public", &public.0);
        self.bytes("client ephemeral secret", &CLIENT_EPHEMERAL);
        self.bytes("server ephemeral secret", &SERVER_EPHEMERAL);
        self.heading("Hello, client to gateway: fixed, tag, length, message 1");
        self.bytes("key id", &public.key_id().0);
        self.bytes("fixed", fixed);
        self.bytes("gate key", gate_key.as_ref());
        self.bytes("prologue", &prologue(fixed, &[]));
    }

    /// What is said after the handshake; then the whole text.
    fn text(mut self) -> String {
        self.heading("Auth, client to gateway, in the first record up");
        let (token, user, device) = (&b"a token"[..], &b"alice"[..], &b"phone"[..]);
        self.up(&[Frame::Auth(Auth { token, user, device, ..Auth::default() })]);
        self.heading("Welcome, gateway to client, in the first record down");
        let mut welcome = Vec::new();
        encode_welcome(&welcome_frame(), &mut welcome);
        self.server.welcome(Duration::from_secs(120), Time::ZERO);
        self.down(&welcome);
        self.heading("Ping and Request, both in the second record up");
        let request =
            Request { id: REQUEST_ID, route: "echo", payload: b"hello", counter: 1, ..Request::default() };
        self.up(&[Frame::Ping(Ping { nonce: 7, heartbeat_ms: 0 }), Frame::Request(request)]);
        self.heading("Pong, in the second record down");
        self.down(&encoded(&[Frame::Pong { nonce: 7 }]));
        self.heading("Response, in the third record down");
        let response = Response { id: REQUEST_ID, payload: b"hello", ..Response::default() };
        self.down(&encoded(&[Frame::Response(response)]));
        self.heading("Close, in the third record up");
        self.up(&[Frame::Close(Close { code: CloseCode::Normal.number(), ..Close::default() })]);
        self.text.push_str("```\n");
        self.text
    }

    /// Says frames upwards: the gateway must hear each of them.
    fn up(&mut self, frames: &[Frame<'_>]) {
        let plain = encoded(frames);
        let mut batch = [&[0; 2], &plain[..]].concat();
        self.client.seal(&mut batch, 0, RULES.record_len_max);
        self.bytes("frames", &plain);
        self.bytes("record", &batch);
        let mut input = Input::new(&mut batch, Rest::default());
        for said in frames {
            let heard = self.server.receive(&mut input, &RULES, Time::ZERO).expect("a good record");
            assert_eq!(heard.as_ref(), Some(said));
        }
    }

    /// Says one frame downwards.
    fn down(&mut self, plain: &[u8]) {
        let mut batch = [&[0; 2], plain].concat();
        self.server.seal(&mut batch, 0, RULES.record_len_max);
        self.bytes("frames", plain);
        self.bytes("record", &batch);
        let mut input = Input::new(&mut batch, Rest::default());
        let heard = self.client.receive(&mut input, Time::ZERO).expect("a good record").expect("a frame");
        let mut again = Vec::new();
        heard.encode(&mut again);
        assert_eq!(again, plain);
    }

    fn heading(&mut self, text: &str) {
        let open = if self.text.is_empty() { "```text\n" } else { "\n" };
        writeln!(self.text, "{open}# {text}").expect("a string takes everything");
    }

    /// A name, and bytes in hex: 32 to a line.
    fn bytes(&mut self, name: &str, bytes: &[u8]) {
        for (line, part) in bytes.chunks(32).enumerate() {
            let name = if line == 0 { name } else { "" };
            write!(self.text, "{name:<24}").expect("a string takes everything");
            for byte in part {
                write!(self.text, "{byte:02x}").expect("a string takes everything");
            }
            self.text.push('\n');
        }
    }
}

/// The keys of the same handshake, which the machines keep to themselves.
fn secrets(acceptor: &Acceptor, hello: &[u8], answer: &[u8]) -> (Secrets, Vec<u8>) {
    let (parsed, _) = Hello::decode(hello).expect("well formed").expect("whole");
    let mut message_1 = Vec::new();
    let initiator = Initiator::create(
        SUITE,
        None,
        Some(&acceptor.public()),
        None,
        &prologue(&parsed.preamble.fixed(), &[]),
        CLIENT_EPHEMERAL,
        &mut message_1,
    );
    assert_eq!(message_1, parsed.message_1);
    let secrets = initiator.expect("good keys").consume(&answer[2..], &mut Vec::new());
    (secrets.expect("a good answer"), message_1)
}

fn welcome_frame() -> Welcome {
    Welcome {
        session: vec![0x44; 16].into(),
        secret: vec![0x55; 32].into(),
        grant_requests: 32,
        grant_bytes: 262_144,
        heartbeat_ms: 120_000,
        heartbeat_min_ms: 60_000,
        heartbeat_max_ms: 300_000,
        time_ms: 1_700_000_000_000,
        frame_len_max: 65_536,
        record_len_max: 16_384,
        user: b"alice".to_vec().into(),
        ..Welcome::default()
    }
}

fn encoded(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        frame.encode(&mut out);
    }
    out
}
