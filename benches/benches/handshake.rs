//! What does the gateway pay for a hello, by suite? From complete bytes to keys: gate tag, ticket if there is one,
//! prologue, the whole Noise responder. And what does a stranger's hello cost, which ends at the gate?
//!
//! The figure to watch: `resume` against NK of the same cipher; the reach is 60 %. Against `full` NK, whose static key is
//! prepared once, the curve alone takes 57 % (one agreement and one key pair against two and one). `unprepared` is NK as
//! the Noise library alone does it, with a static key that is computed for each handshake.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use protocol::UnixMillis;
use protocol::noise::preamble::{Hello, Preamble, VERSION, VERSIONS, encode_offer};
use protocol::noise::{
    Gate, Identity, Initiator, Pattern, Responder, Secrets, StaticKey, Suite, Suites, TicketKeys, Transport,
    Unfinished, prologue,
};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const SECRET: [u8; 32] = [1; 32];
const PSK: [u8; 32] = [6; 32];

/// A gateway's keys, and those of one client.
struct Sides {
    key: StaticKey,
    gate: Gate,
    tickets: TicketKeys,
    client: StaticKey,
}

impl Sides {
    fn new() -> Self {
        let key = StaticKey::from_secret(SECRET);
        Self {
            gate: Gate::new(&key.public()),
            key,
            tickets: TicketKeys::new([2; 32], "default", NOW),
            client: StaticKey::from_secret([3; 32]),
        }
    }

    fn ticket(&self) -> Vec<u8> {
        let identity = Identity {
            psk: PSK.into(),
            origin_suite: Suite::NkChaChaPoly,
            server_key_id: self.key.public().key_id(),
            issued: NOW,
            auth_time: NOW,
            login: 0,
            token_exp: None,
            end: None,
            epoch: 0,
            user: b"user-0123456789".to_vec(),
            device: b"device-0123456789".to_vec(),
            device_key: None,
            bound_key: None,
            class: protocol::DeviceClass::Unknown,
            limit_class: Vec::new(),
        };
        self.tickets.issue(&identity, &[4; 16]).expect("the identity is complete")
    }

    /// A hello as the client sends it.
    fn hello(&self, suite: Suite) -> Vec<u8> {
        let ticket = if suite.is_ticket() { self.ticket() } else { Vec::new() };
        let mut preamble = Preamble {
            version: VERSION,
            suite: suite.byte(),
            key_id: self.key.public().key_id(),
            versions: VERSIONS,
            suites: Suites::of(&Suite::ALL),
            ticket_len: u16::try_from(ticket.len()).expect("tickets are short"),
            tag: [0; 16],
        };
        let fixed = preamble.fixed();
        let mut message_1 = Vec::new();
        Initiator::create(
            suite,
            Some(&self.client),
            Some(&self.key.public()),
            Some(&PSK),
            &prologue(&fixed, &ticket),
            [5; 32],
            &mut message_1,
        )
        .expect("all keys are there");
        preamble.tag = self.gate.tag(&fixed, &ticket, &message_1);
        let mut out = Vec::new();
        Hello { preamble, ticket: &ticket, message_1: &message_1 }.encode(&mut out);
        out
    }

    /// Messages 1 and 3 of a client without a server key.
    fn unpinned(&self, suite: Suite) -> (Vec<u8>, Vec<u8>) {
        let (mut message_1, mut message_2, mut message_3) = (Vec::new(), Vec::new(), Vec::new());
        let client = Some(&self.client);
        let initiator = Initiator::create(suite, client, None, None, b"prologue", [5; 32], &mut message_1);
        let begun = self.begin(suite, &message_1, &mut message_2);
        let initiator = initiator.expect("all keys are there");
        initiator.conclude(&message_2, &mut Vec::new(), &mut message_3).expect("it opens");
        assert!(begun.finish(&message_3).is_ok(), "{suite:?} is measured to its end");
        (message_1, message_3)
    }

    /// What the gateway does with the first of them.
    fn begin(&self, suite: Suite, message_1: &[u8], out: &mut Vec<u8>) -> Unfinished {
        let responder = Responder {
            suite,
            key: Some(&self.key),
            peer: None,
            psk: None,
            prologue: b"prologue",
            ephemeral: [7; 32],
        };
        let offer = encode_offer(VERSIONS, Suites::of(&[suite]));
        responder.begin(message_1, &offer, out).expect("a good message 1")
    }

    /// What the gateway does with it.
    fn answer(&self, key: &StaticKey, bytes: &[u8], out: &mut Vec<u8>) -> Option<Secrets> {
        let (hello, _) = Hello::decode(bytes).ok()??;
        let fixed = hello.preamble.fixed();
        if !self.gate.verify(&fixed, hello.ticket, hello.message_1, &hello.preamble.tag) {
            return None;
        }
        let suite = Suite::from_byte(hello.preamble.suite)?;
        let identity =
            if suite.is_ticket() { Some(self.tickets.open(hello.ticket, NOW).ok()?) } else { None };
        let client = self.client.public();
        let responder = Responder {
            suite,
            key: Some(key),
            peer: Some(&client),
            psk: identity.as_ref().map(|identity| &*identity.psk),
            prologue: &prologue(&fixed, hello.ticket),
            ephemeral: [7; 32],
        };
        responder.respond(hello.message_1, &encode_offer(VERSIONS, Suites::of(&Suite::ALL)), out).ok()
    }
}

fn handshake(criterion: &mut Criterion) {
    let sides = Sides::new();
    let mut group = criterion.benchmark_group("responder");
    for suite in Suite::ALL.into_iter().filter(|suite| !suite.is_unpinned()) {
        let bytes = sides.hello(suite);
        let mut out = Vec::with_capacity(512);
        assert!(sides.answer(&sides.key, &bytes, &mut out).is_some(), "{suite:?} is measured to its end");
        let name = match suite.pattern() {
            Pattern::Nnpsk0 => format!("resume/{}", suite.name()),
            _ => format!("full/{}", suite.name()),
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                let secrets = sides.answer(&sides.key, black_box(&bytes), &mut out)?;
                Some(Transport::new(&secrets))
            });
        });
    }
    for suite in [Suite::XxChaChaPoly, Suite::XxAesGcm] {
        let (message_1, message_3) = sides.unpinned(suite);
        let mut out = Vec::with_capacity(512);
        group.bench_function(format!("begin/{}", suite.name()), |bencher| {
            bencher.iter(|| {
                out.clear();
                sides.begin(suite, black_box(&message_1), &mut out)
            });
        });
        group.bench_function(format!("finish/{}", suite.name()), |bencher| {
            bencher.iter_batched(
                || sides.begin(suite, &message_1, &mut Vec::new()),
                |begun| begun.finish(black_box(&message_3)).ok().map(|secrets| Transport::new(&secrets)),
                BatchSize::SmallInput,
            );
        });
    }
    for suite in [Suite::NkChaChaPoly, Suite::NkAesGcm] {
        let bytes = sides.hello(suite);
        let mut out = Vec::with_capacity(512);
        group.bench_function(format!("unprepared/{}", suite.name()), |bencher| {
            bencher.iter(|| {
                out.clear();
                let key = StaticKey::from_secret(black_box(SECRET));
                let secrets = sides.answer(&key, black_box(&bytes), &mut out)?;
                Some(Transport::new(&secrets))
            });
        });
    }
    let mut stranger = sides.hello(Suite::NkChaChaPoly);
    stranger[31] ^= 1;
    assert!(
        sides.answer(&sides.key, &stranger, &mut Vec::new()).is_none(),
        "the gate keeps the stranger out"
    );
    group.bench_function("stranger", |bencher| {
        bencher.iter(|| sides.answer(&sides.key, black_box(&stranger), &mut Vec::new()).is_none());
    });
    group.finish();
}

/// The curve alone, which bounds all of the above from below.
fn curve(criterion: &mut Criterion) {
    criterion.bench_function("prepare a static key", |bencher| {
        bencher.iter(|| StaticKey::from_secret(black_box([8; 32])));
    });
}

criterion_group!(benches, handshake, curve);
criterion_main!(benches);
