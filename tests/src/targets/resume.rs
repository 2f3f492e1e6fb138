//! Links opened with tickets: whose ticket, psk and signature are worth something on a listener, and what the others
//! are told. SPEC.md, sections 3.1 (lines 10 to 16), 5 and 8.1.
//!
//! ```text
//! listener, now (word), suite, group key, realm, server key, an identity, psk, signature, length of the ticket (2),
//! edits, cuts
//! ```
//!
//! The identity is that of `ticket.rs`, but for its server key and its bound key, which have to be real ones. An edit is
//! a place (two bytes) and what is flipped there.

use std::sync::LazyLock;

use protocol::limits::TICKET_LEN_MAX;
use protocol::link::{Acceptor, ClientLink, Dial, ServerLink};
use protocol::noise::ticket::SEALED_LEN;
use protocol::noise::{Identity, Suite, Suites, TicketKeys};
use protocol::{Error, Time, UnixMillis};
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::layout::clear_reply;
use super::parties::{ANSWERING, ASKING, GROUP_KEY, LINK_SUITES, PARTIES, REALM, WALL};
use super::script::{Script, Writer, pieces};
use super::ticket::{self, BOUND_KEY, DEVICE_KEY, ENDS, TOKEN_ENDS, Written, can_be_said, is_good};
use super::{Arrivals, Seed};

/// The body of this target: 1 when a link was opened.
pub fn run(data: &[u8]) -> usize {
    let case = Case::read(&mut Script::new(data));
    // What has no encoding, no node can have issued.
    let Ok(issued) = case.issuer.issue(&case.identity, &[0x99; 16]) else {
        assert!(!can_be_said(&case.identity));
        return 0;
    };
    let ticket = case.touch(&issued);
    let is_touched = ticket != issued;
    let mut hello = Vec::new();
    let mut client = case.dial(&ticket, &mut hello);
    let mut link = ServerLink::new(Time::ZERO);
    if !case.hail(&mut link, &hello, ticket.len()) {
        return 0;
    }
    assert_eq!(link.fingerprint(&hello), Some(&hello[hello.len() - 48..]));
    let mut answer = Vec::new();
    let opened = link.handshake(&hello, &case.acceptor, ANSWERING, Time::ZERO, case.now, &mut answer);
    assert_eq!(link.fingerprint(&hello), None, "it is needed no longer");
    match opened {
        Err(Error::Ticket) => {
            assert!(is_touched || !case.is_worth_something());
            assert_eq!(answer, case.clear_reply(5));
            assert_eq!(hear(&mut client, answer), Some(Error::Rejected(5)));
        }
        Err(error) => {
            assert_eq!(error, Error::Handshake);
            assert!(!is_touched && case.is_worth_something() && !case.is_psk, "an honest client is refused");
            assert!(answer.is_empty(), "a wrong psk is answered");
        }
        Ok(ref unfinished) => {
            assert!(unfinished.is_none());
            assert!(!is_touched && case.is_worth_something() && case.is_psk, "a ticket is worth too much");
            assert_eq!(hear(&mut client, answer), None);
            case.check_open(&mut link, &client, &ticket);
        }
    }
    assert_eq!(opened.is_ok(), link.is_open());
    usize::from(opened.is_ok())
}

struct Case {
    acceptor: Acceptor,
    /// The suites it allows.
    allowed: Vec<Suite>,
    now: UnixMillis,
    suite: Suite,
    /// The node that issued the ticket.
    issuer: TicketKeys,
    /// Group key and realm of the issuer are those of the listener.
    is_of_group: bool,
    identity: Identity,
    psk: [u8; 32],
    is_psk: bool,
    signature: u8,
    ticket_len: usize,
    edits: Vec<u8>,
    cuts: Vec<u8>,
}

impl Case {
    fn read(script: &mut Script<'_>) -> Self {
        let (allowed, has_keys) = match script.byte() % 5 {
            0 => (LINK_SUITES.to_vec(), true),
            1 => (vec![Suite::IkChaChaPoly, Suite::Nnpsk0ChaChaPoly], true),
            2 => (vec![Suite::NkChaChaPoly, Suite::Nnpsk0AesGcm], true),
            3 => (vec![Suite::NkChaChaPoly, Suite::NkAesGcm], true),
            _ => (LINK_SUITES.to_vec(), false),
        };
        let now = UnixMillis(script.word());
        let [suite, group_key, realm, server_key] = script.array();
        let suite = if suite % 2 == 0 { Suite::Nnpsk0ChaChaPoly } else { Suite::Nnpsk0AesGcm };
        // The key of another node may open here, too, until it has been erased.
        let accepted_until = UnixMillis(WALL.0 + 6 * HOUR);
        let (group_key, is_accepted) = match group_key % 3 {
            0 => (GROUP_KEY, true),
            1 => ([1; 32], now < accepted_until),
            _ => ([2; 32], false),
        };
        let realm = [REALM, "", "another realm"][usize::from(realm) % 3];
        let mut keys = TicketKeys::new(GROUP_KEY, REALM, WALL);
        keys.accept([1; 32], accepted_until);
        let mut identity = ticket::read_identity(script);
        identity.server_key_id = match server_key % 3 {
            0 => PARTIES.server.key_id(),
            1 => PARTIES.retired.key_id(),
            _ => identity.server_key_id,
        };
        identity.bound_key = identity.bound_key.map(|_| *OWNER.1);
        let psk = script.byte();
        let psk = if psk == 0 { *identity.psk } else { [psk; 32] };
        Self {
            acceptor: Acceptor::new(
                PARTIES.key.clone(),
                Suites::of(&allowed),
                &[PARTIES.retired],
                has_keys.then_some(keys),
            ),
            allowed,
            now,
            suite,
            issuer: TicketKeys::new(group_key, realm, WALL),
            is_of_group: has_keys && is_accepted && realm == REALM,
            is_psk: psk == *identity.psk,
            psk,
            identity,
            signature: script.byte(),
            ticket_len: usize::from(u16::from_be_bytes(script.array())),
            edits: script.bytes().to_vec(),
            cuts: script.bytes().to_vec(),
        }
    }

    /// The ticket as the client has it.
    fn touch(&self, issued: &[u8]) -> Vec<u8> {
        let mut ticket = issued.to_vec();
        ticket.resize(self.ticket_len, 0);
        for edit in self.edits.chunks_exact(3) {
            if let Some(byte) = ticket.get_mut(usize::from(u16::from_be_bytes([edit[0], edit[1]]))) {
                *byte ^= edit[2];
            }
        }
        ticket
    }

    fn dial(&self, ticket: &[u8], hello: &mut Vec<u8>) -> ClientLink {
        let dial = Dial {
            server: &PARTIES.server,
            gate: &PARTIES.gate,
            suite: self.suite,
            better: Suites::NONE,
            served: Suites::of(&self.allowed),
            device_key: None,
            ticket: Some((ticket, &self.psk)),
        };
        ClientLink::dial(&dial, ASKING, Time::ZERO, hello).expect("a ticket and a psk fit the suite")
    }

    /// The hello arrives; whether it is looked at further.
    fn hail(&self, link: &mut ServerLink, hello: &[u8], ticket_len: usize) -> bool {
        let (mut arrivals, mut hello, mut out) = (Arrivals::new(), hello.to_vec(), Vec::new());
        let hailed = pieces(&mut hello, &self.cuts).into_iter().try_fold(false, |_, piece| {
            arrivals.arrive(piece, |input| link.hail(input, &self.acceptor, &mut out))
        });
        let (expected, reply) = if ticket_len > TICKET_LEN_MAX {
            (Err(Error::Preamble), Vec::new())
        } else if !self.allowed.contains(&self.suite) {
            (Err(Error::Suite), self.clear_reply(2))
        } else if ticket_len == 0 {
            (Err(Error::Preamble), Vec::new())
        } else {
            (Ok(true), Vec::new())
        };
        assert_eq!((hailed, out), (expected, reply));
        hailed.is_ok()
    }

    fn clear_reply(&self, reason: u8) -> Vec<u8> {
        clear_reply(reason, Suites::of(&self.allowed).bits(), PARTIES.server.key_id(), 0)
    }

    /// Whether the ticket is worth something on this listener.
    fn is_worth_something(&self) -> bool {
        self.is_of_group
            && is_good(&self.identity, self.now)
            && self.identity.server_key_id == PARTIES.server.key_id()
            && self.allowed.contains(&self.identity.origin_suite)
    }

    /// The link knows what the ticket said, and whether it is in the hands of its owner.
    fn check_open(&self, link: &mut ServerLink, client: &ClientLink, ticket: &[u8]) {
        let (h, suite, device_key) = link.binding().expect("it is open");
        assert_eq!((Some(h), suite), (client.handshake_hash(), self.suite));
        assert_eq!(device_key, self.identity.device_key.as_ref(), "proved when the chain began");
        assert_eq!(link.origin(), Some(self.identity.origin_suite));
        assert_eq!(link.identity(), Some(&self.identity));
        assert_eq!(client.offered(), Some(Suites::of(&self.allowed)));
        let signed = |label: &[u8], h: &[u8; 32], ticket: &[u8]| {
            let message = [label, h, digest(&SHA256, ticket).as_ref()].concat();
            OWNER.0.sign(&message).as_ref().to_vec()
        };
        let (signature, is_owner) = match self.signature % 6 {
            0 => (signed(TICKET_LABEL, h, ticket), true),
            1 => (signed(b"access-gateway token binding v1", h, ticket), false),
            2 => (signed(TICKET_LABEL, &[7; 32], ticket), false),
            3 => (signed(TICKET_LABEL, h, &PARTIES.ticket), false),
            4 => (Vec::new(), false),
            _ => (vec![self.signature; 64], false),
        };
        let is_bound = self.identity.bound_key.is_some();
        assert_eq!(link.owns_ticket(&signature), is_owner || !is_bound, "{}", self.signature % 6);
        link.forget_identity();
        assert!(link.identity().is_none() && !link.owns_ticket(&signature), "it was to be forgotten");
        assert_eq!(link.origin(), Some(self.identity.origin_suite), "what was proved stays proved");
    }
}

/// What the client makes of the answer.
fn hear(client: &mut ClientLink, mut answer: Vec<u8>) -> Option<Error> {
    let heard = Arrivals::new()
        .arrive(&mut answer, |input| client.receive(input, Time::ZERO).map(|frame| assert_eq!(frame, None)));
    assert_eq!(heard.is_ok(), client.is_open());
    heard.err()
}

/// Who has the key that bound tickets are bound to.
static OWNER: LazyLock<(Ed25519KeyPair, Box<[u8; 32]>)> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[0x16; 32]).expect("any 32 bytes are a seed");
    let public = pair.public_key().as_ref().try_into().expect("an Ed25519 key has 32 bytes");
    (pair, Box::new(public))
});
const TICKET_LABEL: &[u8] = b"access-gateway ticket binding v1";
const HOUR: u64 = 3_600_000;

/// One link of a seed; what it does not say is that of an honest one.
#[derive(Clone, Copy)]
struct Seeded {
    listener: u8,
    now: u64,
    suite: u8,
    group_key: u8,
    realm: u8,
    server_key: u8,
    identity: Written<'static>,
    psk: u8,
    signature: u8,
    ticket_len: usize,
    edits: &'static [u8],
}

impl Seeded {
    fn write(self) -> Vec<u8> {
        let head = Writer::default().byte(self.listener).word(self.now);
        let head = head.rest(&[self.suite, self.group_key, self.realm, self.server_key]);
        let ticket_len = u16::try_from(self.ticket_len).expect("tickets are short");
        self.identity
            .write(head)
            .byte(self.psk)
            .byte(self.signature)
            .rest(&ticket_len.to_be_bytes())
            .bytes(self.edits)
            .bytes(&[200])
            .done()
    }
}

/// Tickets that open a link, and one of each kind that does not.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let good = Seeded {
        listener: 0,
        now: WALL.0,
        suite: 0,
        group_key: 0,
        realm: 0,
        server_key: 0,
        identity: Written::default(),
        psk: 0,
        signature: 0,
        ticket_len: SEALED_LEN,
        edits: &[],
    };
    let alice = good.identity;
    let ik = Seeded { identity: Written { suite: 2, flags: DEVICE_KEY, ..alice }, ..good };
    let bound = Seeded { identity: Written { flags: BOUND_KEY, ..alice }, ..good };
    let over = |flags, token_exp, end| Seeded {
        now: WALL.0 + HOUR,
        identity: Written { flags, token_exp, end, ..alice },
        ..good
    };
    let chain = Written { issued: WALL.0 + 7 * 24 * HOUR, ..alice };
    let seeds = [
        ("good-chachapoly", good),
        ("good-aesgcm", Seeded { suite: 1, ..good }),
        ("good-ik", ik),
        ("good-ik-on-ik-only", Seeded { listener: 1, ..ik }),
        ("good-other-node", Seeded { group_key: 1, ..good }),
        ("bound", bound),
        ("bound-as-token", Seeded { signature: 1, ..bound }),
        ("bound-other-link", Seeded { signature: 2, ..bound }),
        ("bound-other-ticket", Seeded { signature: 3, ..bound }),
        ("bound-unsigned", Seeded { signature: 4, ..bound }),
        ("bound-wrong-key", Seeded { signature: 5, ..bound }),
        ("not-bound-unsigned", Seeded { signature: 4, ..good }),
        ("nk-on-ik-only", Seeded { listener: 1, ..good }),
        ("cipher-not-allowed", Seeded { listener: 2, ..good }),
        ("tickets-not-allowed", Seeded { listener: 3, ..good }),
        ("no-group-key", Seeded { listener: 4, ..good }),
        ("other-group-key", Seeded { group_key: 2, ..good }),
        ("other-node-erased", Seeded { group_key: 1, now: WALL.0 + 6 * HOUR, ..good }),
        ("other-realm", Seeded { realm: 2, ..good }),
        ("no-realm", Seeded { realm: 1, ..good }),
        ("retired-server-key", Seeded { server_key: 1, ..good }),
        ("other-server-key", Seeded { server_key: 2, ..good }),
        ("from-a-ticket", Seeded { identity: Written { suite: 4, ..alice }, ..good }),
        ("token-over", over(TOKEN_ENDS, WALL.0 + HOUR, 0)),
        ("ticket-over", over(ENDS, 0, WALL.0 + HOUR)),
        ("not-over-yet", over(ENDS | TOKEN_ENDS, WALL.0 + 2 * HOUR, WALL.0 + HOUR + 1)),
        ("chain-over", Seeded { now: WALL.0 + 7 * 24 * HOUR, identity: chain, ..good }),
        ("from-the-future", Seeded { now: WALL.0 - 60_001, ..good }),
        ("wrong-psk", Seeded { psk: 9, ..good }),
        ("wrong-psk-and-worth-nothing", Seeded { psk: 9, realm: 1, ..good }),
        ("touched", Seeded { edits: &[1, 0, 1], ..good }),
        ("touched-and-back", Seeded { edits: &[1, 0, 1, 1, 0, 1], ..good }),
        ("cut-off", Seeded { ticket_len: SEALED_LEN - 1, ..good }),
        ("longest", Seeded { ticket_len: TICKET_LEN_MAX, ..good }),
        ("too-long", Seeded { ticket_len: TICKET_LEN_MAX + 1, ..good }),
        ("none", Seeded { ticket_len: 0, ..good }),
    ];
    seeds.into_iter().map(|(name, seed)| (name, seed.write())).collect()
}
