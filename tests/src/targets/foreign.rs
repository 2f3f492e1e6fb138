//! Hellos of every version and suite, and who is answered: the table of SPEC.md, section 3.1, against the machines. What
//! a hello is to be told follows from its parts alone, and however it is cut, exactly that is written.
//!
//! ```text
//! door, flags, key, version, suite, versions, suites (3 bytes), length of the ticket (2), length of message 1 (2),
//! filling, bytes behind it, piece before which it is turned away, wait (2), cuts
//! ```
//!
//! The long parts of a hello are not in the script, or it would be as long: they are made of one byte.

use std::sync::Arc;

use protocol::limits::{
    BUSY_MAX, BUSY_UNIT, MESSAGE_1_LEN_MAX_UNKNOWN, PREAMBLE_LEN, TICKET_LEN_MAX, TICKET_LEN_MAX_UNKNOWN,
};
use protocol::link::{Acceptor, ServerLink};
use protocol::noise::preamble::ClearReply;
use protocol::noise::{Gate, KeyId, PublicKey, Suite, Suites};
use protocol::stream::{Access, BackendStream, Params};
use protocol::{Error, Time};

use super::layout::{Made, clear_reply, is_clear};
use super::parties::{ANSWERING, LINK_SUITES, NARROW_SUITES, PARTIES, UNPINNED_SUITES};
use super::script::{Script, Writer, pieces};
use super::{Arrivals, Seed};

/// The body of this target: 1 when somebody was answered or served.
pub fn run(data: &[u8]) -> usize {
    let case = Case::read(&mut Script::new(data));
    let verdict = case.verdict();
    match case.door {
        Door::Listener(acceptor, _) => case.at_listener(acceptor, &verdict),
        Door::Backend => case.at_backend(kk(), &verdict),
        Door::ClearBackend => case.at_backend(Access::clear(), &verdict),
    }
    usize::from(!matches!(verdict, Verdict::Silence(_)))
}

/// Who listens.
#[derive(Clone, Copy)]
enum Door {
    /// A gateway, with the suites it allows here.
    Listener(&'static Acceptor, &'static [Suite]),
    /// A backend with a key.
    Backend,
    /// A backend without one.
    ClearBackend,
}

struct Case {
    door: Door,
    made: Made,
    /// Whether its key id names a key in use here, a retired one or none.
    key: Key,
    /// The tag is that of the key.
    is_tagged: bool,
    hello: Vec<u8>,
    behind: Vec<u8>,
    turned_away_at: usize,
    wait: u16,
    cuts: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Current,
    Retired,
    Unknown,
}

/// What a hello is told.
#[derive(Debug)]
enum Verdict {
    /// Nothing, for one of these reasons: which one is found first is nobody's business.
    Silence(Vec<Error>),
    /// The clear reply.
    Reply(Error, Vec<u8>),
    /// It has passed the gate and waits for its handshake; or, at a backend, its stream begins.
    Served,
}

impl Case {
    fn read(script: &mut Script<'_>) -> Self {
        let door = match script.byte() % 5 {
            0 => Door::Listener(&PARTIES.acceptor, &LINK_SUITES),
            1 => Door::Listener(&PARTIES.narrow, &NARROW_SUITES),
            2 => Door::Backend,
            3 => Door::ClearBackend,
            _ => Door::Listener(&PARTIES.unpinned, &UNPINNED_SUITES),
        };
        let (flags, key) = (script.byte(), script.byte());
        let [version, suite, versions, high, middle, low] = script.array();
        let [ticket_len, length] = [script.array(), script.array()].map(u16::from_be_bytes);
        let [filling, behind, turned_away_at] = script.array();
        let wait = u16::from_be_bytes(script.array());
        let (public, key) = door.key(key);
        let made = Made {
            version,
            suite,
            key_id: public.map_or_else(KeyId::default, |public| public.key_id()),
            versions,
            suites: u32::from_be_bytes([0, high, middle, low]),
            ticket: vec![filling; usize::from(ticket_len) % (TICKET_LEN_MAX_UNKNOWN + 2)],
            message_1: vec![filling; usize::from(length) % (MESSAGE_1_LEN_MAX_UNKNOWN + 2)],
        };
        let mut hello = made.encode(&Gate::new(&public.unwrap_or(PublicKey([0; 32]))));
        if flags & WRONG_TAG != 0 {
            hello[16 + usize::from(filling) % 16] ^= 1 << (filling >> 5);
        }
        if flags & NO_TAG != 0 {
            hello[16..PREAMBLE_LEN].fill(0);
        }
        Self {
            door,
            made,
            key,
            is_tagged: flags & (WRONG_TAG | NO_TAG) == 0,
            hello,
            behind: vec![filling; behind.into()],
            turned_away_at: turned_away_at.into(),
            wait,
            cuts: script.bytes().to_vec(),
        }
    }

    /// The suite, if this version lists version and suite.
    fn known(&self) -> Option<Suite> {
        Suite::from_byte(self.made.suite).filter(|_| self.made.version == 1)
    }

    fn verdict(&self) -> Verdict {
        if is_clear(self.made.version, self.made.suite) {
            return self.clear_verdict();
        }
        let silent = self.silent_findings();
        if !silent.is_empty() {
            return Verdict::Silence(silent);
        }
        let reply = |error: Error, reason: u8| {
            let (suites, public) = self.door.speaks();
            Verdict::Reply(error, clear_reply(reason, suites, public.key_id(), 0))
        };
        if self.is_ungated() {
            return self.ungated_verdict();
        }
        if self.key == Key::Retired {
            return reply(Error::RetiredKey, 3);
        }
        if self.made.version != 1 {
            return reply(Error::Version, 1);
        }
        let Some(suite) = self.known().filter(|&suite| self.door.allows(suite)) else {
            return reply(Error::Suite, 2);
        };
        let offers = match self.door {
            Door::Listener(..) => self.made.offers_suite(),
            Door::Backend | Door::ClearBackend => self.made.suites == 0,
        };
        if !self.made.offers_version() || !offers {
            return Verdict::Silence(vec![Error::Preamble]);
        }
        match self.door {
            Door::Listener(..) if suite.is_ticket() == self.made.ticket.is_empty() => {
                Verdict::Silence(vec![Error::Preamble])
            }
            // Behind the gate there may be a queue, and whoever speaks before it was heard is thrown out of it.
            Door::Listener(..) if !self.behind.is_empty() => Verdict::Silence(vec![Error::Early]),
            Door::Listener(..) => Verdict::Served,
            // A message 1 of one byte over and over opens nowhere.
            Door::Backend | Door::ClearBackend => Verdict::Silence(vec![Error::Handshake]),
        }
    }

    /// Whether there is no gate: where all come without a key, for such a hello.
    fn is_ungated(&self) -> bool {
        let is_open = matches!(self.door, Door::Listener(_, suites) if Suites::of(suites).are_unpinned());
        is_open && self.known().is_some_and(Suite::is_unpinned)
    }

    fn ungated_verdict(&self) -> Verdict {
        let made = &self.made;
        let is_blank = made.key_id == KeyId::default() && self.hello[16..PREAMBLE_LEN] == [0; 16];
        if !is_blank || !made.offers_version() || !made.offers_suite() || !made.ticket.is_empty() {
            return Verdict::Silence(vec![Error::Preamble]);
        }
        if self.behind.is_empty() { Verdict::Served } else { Verdict::Silence(vec![Error::Early]) }
    }

    /// Lines 2 to 7 of the table: whatever of them applies, nothing is said.
    fn silent_findings(&self) -> Vec<Error> {
        let (made, length) = (&self.made, self.made.message_1.len());
        let ticket_len_max = if self.known().is_some() { TICKET_LEN_MAX } else { TICKET_LEN_MAX_UNKNOWN };
        let is_length = self.known().map_or_else(
            || (1..=MESSAGE_1_LEN_MAX_UNKNOWN).contains(&length),
            |suite| length == suite.message_1_len(),
        );
        let is_stranger = !self.is_ungated() && (self.key == Key::Unknown || !self.is_tagged);
        let findings = [
            (made.version == 0 || made.ticket.len() > ticket_len_max, Error::Preamble),
            (!is_length, Error::HandshakeLength(length)),
            (self.is_followed_at_once(), Error::Early),
            (is_stranger, Error::Gate),
            // Without a key there is no gate, and nobody who is no stranger.
            (matches!(self.door, Door::ClearBackend), Error::Suite),
        ];
        findings.into_iter().filter(|(applies, _)| *applies).map(|(_, error)| error).collect()
    }

    /// A clear hello has no tag by which somebody could be told from a stranger, so nothing is ever said to it.
    fn clear_verdict(&self) -> Verdict {
        let made = &self.made;
        let offers = made.offers_version() && made.suites == 0 && made.ticket.is_empty();
        let is_blank = made.key_id == KeyId::default() && self.hello[16..PREAMBLE_LEN] == [0; 16];
        if matches!(self.door, Door::ClearBackend) && offers && is_blank {
            return Verdict::Served;
        }
        Verdict::Silence(vec![Error::Preamble, Error::Suite, Error::Gate, Error::Early])
    }

    /// Whether bytes behind the hello come in one piece with its last byte. Those that come later are never looked at
    /// when the hello was answered.
    fn is_followed_at_once(&self) -> bool {
        let mut end = 0;
        let mut bytes = self.bytes();
        let ends_there = pieces(&mut bytes, &self.cuts).into_iter().any(|piece| {
            end += piece.len();
            end == self.hello.len()
        });
        !ends_there
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.hello[..], &self.behind].concat()
    }

    fn at_listener(&self, acceptor: &Acceptor, verdict: &Verdict) {
        let (mut link, mut arrivals, mut out) = (ServerLink::new(Time::ZERO), Arrivals::new(), Vec::new());
        let (mut bytes, mut hailed, mut arrived) = (self.bytes(), Ok(false), 0);
        for (index, piece) in pieces(&mut bytes, &self.cuts).into_iter().enumerate() {
            if index == self.turned_away_at && !link.is_hailed() {
                link.turn_away(acceptor, self.wait, &mut out);
                assert!(out.is_empty(), "whoever has not passed the gate is told that it is busy");
            }
            let piece_len = piece.len();
            hailed = arrivals.arrive(piece, |input| link.hail(input, acceptor, &mut out));
            if hailed.is_err() {
                break;
            }
            arrived += piece_len;
            let is_foreign = arrived >= PREAMBLE_LEN && self.known().is_none();
            assert!(!is_foreign || arrivals.partials.bytes() == 0, "a foreign hello is kept");
        }
        assert_eq!(link.is_hailed(), hailed == Ok(true));
        verdict.check(hailed.map(|_| ()), &out);
        if let Verdict::Served = verdict {
            link.turn_away(acceptor, self.wait, &mut out);
            let (suites, public) = self.door.speaks();
            assert_eq!(out, clear_reply(4, suites, public.key_id(), self.wait), "busy");
            hears_busy(&out, self.wait);
        }
        let said = out.clone();
        link.turn_away(acceptor, self.wait, &mut out);
        let more = arrivals.arrive(&mut [0], |input| link.hail(input, acceptor, &mut out));
        assert!(more.is_err() && !link.is_hailed() && out == said, "an answered hello is answered again");
    }

    fn at_backend(&self, access: Access, verdict: &Verdict) {
        let routes = vec!["echo".to_owned()];
        let mut stream =
            BackendStream::new(Arc::new(access), Params::default(), b"b", routes, ANSWERING, Time::ZERO);
        // What stands behind a clear hello are records already.
        let mut bytes = if matches!(verdict, Verdict::Served) { self.hello.clone() } else { self.bytes() };
        let heard = pieces(&mut bytes, &self.cuts).into_iter().try_for_each(|piece| {
            let mut input = stream.input(piece);
            stream.receive(&mut input, Time::ZERO).map(|event| assert_eq!(event, None))?;
            stream.keep(input);
            Ok(())
        });
        let mut out = Vec::new();
        stream.seal(&mut out);
        assert_eq!(stream.peer(), None);
        verdict.check(heard, &out);
    }
}

impl Verdict {
    fn check(&self, heard: Result<(), Error>, said: &[u8]) {
        match (self, heard) {
            (Self::Silence(errors), Err(error)) => {
                assert!(errors.contains(&error), "{error:?} is none of {errors:?}");
                assert_eq!(error.close_code(), None);
                assert!(said.is_empty(), "{error:?} was answered with {said:02x?}");
            }
            (Self::Reply(error, reply), heard) => assert_eq!((heard, said), (Err(*error), &reply[..])),
            (Self::Served, heard) => assert_eq!((heard, said), (Ok(()), &[][..])),
            (Self::Silence(errors), Ok(())) => panic!("nothing was found where {errors:?} is"),
        }
    }
}

impl Door {
    /// One of the keys that somebody may mean here; `None` for the zeros of a clear hello.
    fn key(self, choice: u8) -> (Option<PublicKey>, Key) {
        let (current, retired) = match self {
            Self::Listener(..) => (PARTIES.server, Key::Retired),
            // Backends know no retired keys.
            Self::Backend | Self::ClearBackend => (PARTIES.backend.public(), Key::Unknown),
        };
        match choice % 4 {
            0 => (Some(current), Key::Current),
            1 => (Some(PARTIES.retired), retired),
            2 => (Some(PARTIES.device.public()), Key::Unknown),
            _ => (None, Key::Unknown),
        }
    }

    fn allows(self, suite: Suite) -> bool {
        match self {
            Self::Listener(_, suites) => suites.contains(&suite),
            Self::Backend => matches!(suite, Suite::KkChaChaPoly | Suite::KkAesGcm),
            Self::ClearBackend => false,
        }
    }

    /// The suites a clear reply names, as a set, and the key.
    fn speaks(self) -> (u32, PublicKey) {
        match self {
            Self::Listener(_, suites) => {
                (suites.iter().fold(0, |set, suite| set | 1 << suite.byte()), PARTIES.server)
            }
            Self::Backend | Self::ClearBackend => (0, PARTIES.backend.public()),
        }
    }
}

fn kk() -> Access {
    Access::kk(PARTIES.backend.clone(), vec![PARTIES.gateway.public()])
}

/// A client that is turned away is told so, byte by byte as well, and stays away no longer than it has to.
fn hears_busy(reply: &[u8], wait: u16) {
    let (_, mut client) = PARTIES.dial(Suite::NkChaChaPoly, Suites::NONE);
    let (mut arrivals, mut reply, mut heard) = (Arrivals::new(), reply.to_vec(), Ok(None));
    let parsed = ClearReply::decode(&reply).expect("a clear reply").expect("a whole one");
    assert_eq!(parsed.busy_for(), (BUSY_UNIT * u32::from(wait)).min(BUSY_MAX));
    for piece in pieces(&mut reply, &[0]) {
        assert_eq!(heard, Ok(None), "before it was whole");
        heard = arrivals.arrive(piece, |input| {
            client.receive(input, Time::ZERO).map(|frame| frame.map(|frame| frame.name()))
        });
    }
    assert_eq!(heard, Err(Error::Rejected(4)));
}

const WRONG_TAG: u8 = 1;
const NO_TAG: u8 = 2;

/// One hello of a seed; what it does not say is that of an honest one with suite 1.
#[derive(Clone, Copy)]
struct Hello {
    door: u8,
    flags: u8,
    key: u8,
    version: u8,
    suite: u8,
    versions: u8,
    suites: u32,
    ticket: u16,
    message_1: u16,
    behind: u8,
    cuts: &'static [u8],
}

const HONEST: Hello = Hello {
    door: LISTENER,
    flags: 0,
    key: CURRENT,
    version: 1,
    suite: 1,
    versions: 2,
    suites: 2,
    ticket: 0,
    message_1: 48,
    behind: 0,
    cuts: &[30],
};
const LISTENER: u8 = 0;
const NARROW: u8 = 1;
const BACKEND: u8 = 2;
const CLEAR_BACKEND: u8 = 3;
const UNPINNED: u8 = 4;
const CURRENT: u8 = 0;
const RETIRED: u8 = 1;
const UNKNOWN: u8 = 2;
const NONE: u8 = 3;

impl Hello {
    const fn suite(suite: u8, message_1: u16) -> Self {
        Self { suite, suites: if suite < 24 { 1 << suite } else { 0 }, message_1, ..HONEST }
    }

    fn write(self) -> Vec<u8> {
        let [_, suites @ ..] = self.suites.to_be_bytes();
        let head = Writer::default().byte(self.door).byte(self.flags).byte(self.key);
        head.byte(self.version)
            .byte(self.suite)
            .byte(self.versions)
            .rest(&suites)
            .rest(&self.ticket.to_be_bytes())
            .rest(&self.message_1.to_be_bytes())
            .rest(&[0x5a, self.behind, 1])
            .rest(&700_u16.to_be_bytes())
            .bytes(self.cuts)
            .done()
    }
}

/// One hello for every line of the table, at every door.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let future = Hello { version: 2, versions: 6, ..HONEST };
    let hybrid = Hello::suite(11, 1216);
    let hellos = at_listeners(future, hybrid).into_iter().chain(at_backends(future, hybrid));
    hellos.map(|(name, hello)| (name, hello.write())).collect()
}

fn at_listeners(future: Hello, hybrid: Hello) -> Vec<(&'static str, Hello)> {
    let longest = Hello { ticket: 1024, ..Hello::suite(200, 4096) };
    vec![
        ("version-2", future),
        ("version-255", Hello { version: 255, ..future }),
        ("version-0", Hello { version: 0, ..future }),
        ("version-2-stream-suite", Hello { suite: 15, ..future }),
        ("suite-xx", Hello::suite(5, 32)),
        ("suite-hybrid-nk", hybrid),
        ("suite-hybrid-ik", Hello::suite(14, 3216)),
        ("suite-sm2", Hello::suite(16, 81)),
        ("suite-sm2-ticket", Hello { ticket: 356, ..Hello::suite(18, 81) }),
        ("suite-0", Hello::suite(0, 1)),
        ("longest", Hello { cuts: &[], ..longest }),
        ("longest-byte-by-byte", Hello { cuts: &[0], ..longest }),
        ("ticket-too-long", Hello { ticket: 1025, ..hybrid }),
        ("message-too-long", Hello { message_1: 4097, ..hybrid }),
        ("message-of-nothing", Hello { message_1: 0, ..hybrid }),
        ("one-byte-more", Hello { behind: 1, cuts: &[], ..hybrid }),
        ("one-byte-later", Hello { behind: 1, cuts: &[0], ..hybrid }),
        ("wrong-tag", Hello { flags: WRONG_TAG, ..hybrid }),
        ("no-tag", Hello { flags: NO_TAG, ..hybrid }),
        ("unknown-key", Hello { key: UNKNOWN, ..hybrid }),
        ("retired-key", Hello { key: RETIRED, ..hybrid }),
        ("retired-key-version-2", Hello { key: RETIRED, ..future }),
        ("ours", HONEST),
        ("ours-ik", Hello::suite(4, 96)),
        ("ours-ticket", Hello { ticket: 356, ..Hello::suite(7, 48) }),
        ("ours-longest-ticket", Hello { ticket: 512, ..Hello::suite(8, 48) }),
        ("ours-ticket-too-long", Hello { ticket: 513, ..Hello::suite(8, 48) }),
        ("ours-no-ticket", Hello::suite(7, 48)),
        ("ours-needless-ticket", Hello { ticket: 4, ..HONEST }),
        ("ours-wrong-length", Hello { message_1: 49, ..HONEST }),
        ("ours-followed", Hello { behind: 1, cuts: &[0], ..HONEST }),
        ("ours-retired-key", Hello { key: RETIRED, ..HONEST }),
        ("ours-not-allowed", Hello { door: NARROW, ..Hello::suite(3, 96) }),
        ("ours-suite-not-offered", Hello { suites: 0xff_fffd, ..HONEST }),
        ("ours-version-not-offered", Hello { versions: 0xfd, ..HONEST }),
        ("stream-suite", Hello { ticket: 4, suites: 0, ..Hello::suite(9, 48) }),
        ("unpinned", Hello { door: UNPINNED, flags: NO_TAG, key: NONE, ..Hello::suite(5, 32) }),
        ("unpinned-tagged", Hello { door: UNPINNED, ..Hello::suite(6, 32) }),
        ("unpinned-wrong-length", Hello { door: UNPINNED, flags: NO_TAG, key: NONE, ..Hello::suite(6, 33) }),
        ("unpinned-stranger", Hello { door: UNPINNED, flags: WRONG_TAG, ..HONEST }),
        ("unpinned-other-suite", Hello { door: UNPINNED, ..HONEST }),
        ("clear", Hello { suites: 0, flags: NO_TAG, key: NONE, ..Hello::suite(15, 0) }),
    ]
}

fn at_backends(future: Hello, hybrid: Hello) -> Vec<(&'static str, Hello)> {
    let at_backend = |hello: Hello| Hello { door: BACKEND, suites: 0, ..hello };
    let kk = at_backend(Hello { ticket: 4, ..Hello::suite(9, 48) });
    let clear = Hello { door: CLEAR_BACKEND, suites: 0, flags: NO_TAG, key: NONE, ..Hello::suite(15, 0) };
    vec![
        ("backend-version-2", at_backend(future)),
        ("backend-hybrid", at_backend(hybrid)),
        ("backend-longest", at_backend(Hello { ticket: 1024, ..Hello::suite(200, 4096) })),
        ("backend-link-suite", at_backend(HONEST)),
        ("backend-message-too-long", at_backend(Hello { message_1: 4097, ..hybrid })),
        ("backend-one-byte-more", at_backend(Hello { behind: 1, cuts: &[], ..hybrid })),
        ("backend-wrong-tag", at_backend(Hello { flags: WRONG_TAG, ..hybrid })),
        ("backend-unknown-key", at_backend(Hello { key: RETIRED, ..hybrid })),
        ("backend-suites-offered", Hello { suites: 1 << 9, ..kk }),
        ("backend-version-not-offered", Hello { versions: 4, ..kk }),
        ("backend-stranger", kk),
        ("backend-clear", Hello { door: BACKEND, ..clear }),
        ("backend-clear-tagged", at_backend(Hello::suite(15, 0))),
        ("clear-backend", clear),
        ("clear-backend-version-3-as-well", Hello { versions: 0x0a, ..clear }),
        ("clear-backend-version-gone", Hello { versions: 8, ..clear }),
        ("clear-backend-ticket", Hello { ticket: 1, ..clear }),
        ("clear-backend-key", Hello { key: CURRENT, ..clear }),
        ("clear-backend-suites", Hello { suites: 1, ..clear }),
        ("clear-backend-hybrid", Hello { door: CLEAR_BACKEND, ..hybrid }),
        ("clear-backend-kk", Hello { door: CLEAR_BACKEND, ..kk }),
    ]
}
