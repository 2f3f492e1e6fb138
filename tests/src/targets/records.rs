//! An open link under fire: both ends after a real handshake, and a wire between them that the fuzzer writes on.
//!
//! ```text
//! suite, rules, then steps:
//!   0 say     direction, record size, plaintext     sealed by its end, so that it is read behind the cryptography
//!   1 raw     direction, 0, bytes                   put on the wire as they are
//!             direction, 1, place, length (words)   the same with what was on the wire before
//!   2 flip    direction, place (word), bits         of what is on its way
//!   3 deliver direction, how much (word), cuts
//!   4 gateway's turn: welcome, close, a heartbeat, turning away too late, or a look at what was held
//!   5 fill    direction, record size, length (word)      a long frame is said: a `Pad` if the length is odd
//! ```
//!
//! What was said in good records is kept beside the wire as plain bytes. Whatever an end hears must be the next frame
//! of them, and nothing that was touched may ever be heard. The exception are `Pad` frames that the gateway had to hold
//! for a link that was not welcomed yet: those are never heard.

use std::time::Duration;

use protocol::buffer::Input;
use protocol::limits::{FRAME_LEN_MAX, HELD_BYTES_MAX, HELD_FRAMES_MAX, RECORD_LEN_MAX_UPLINK};
use protocol::link::{ClientLink, Rules, ServerLink};
use protocol::wire::frame::{Frame, Push, Request, is_pad};
use protocol::wire::varint;
use protocol::{Error, Time};

use super::parties::{LINK_SUITES, PARTIES};
use super::script::{Script, Writer, pieces};
use super::{Arrivals, Seed, frames};

/// The body of this target: how many frames were heard.
pub fn run(data: &[u8]) -> usize {
    let mut script = Script::new(data);
    let mut pair = Pair::new(&mut script);
    while !script.is_empty() && pair.is_well() {
        pair.step(&mut script);
    }
    pair.finish();
    pair.up.ear.frames + pair.down.ear.frames
}

struct Pair {
    server: ServerLink,
    client: ClientLink,
    rules: Rules,
    up: Way,
    down: Way,
}

impl Pair {
    fn new(script: &mut Script<'_>) -> Self {
        let suite = LINK_SUITES[usize::from(script.byte()) % LINK_SUITES.len()];
        let [small, glitches_max] = script.array();
        let (server, client, answer) = PARTIES.link(suite);
        let (record_len_max, frame_len_max) =
            if small % 2 == 0 { (RECORD_LEN_MAX_UPLINK, FRAME_LEN_MAX) } else { (300, 100) };
        let rules = Rules {
            record_len_max,
            frame_len_max,
            handshake_deadline: Duration::from_secs(5),
            auth_deadline: Duration::from_secs(5),
            glitches_max,
        };
        let mut pair = Self { server, client, rules, up: Way::new(Vec::new()), down: Way::new(answer) };
        pair.deliver(false, usize::MAX, &[3]);
        assert!(pair.server.is_open() && pair.client.is_open());
        assert_eq!(pair.server.binding().map(|(h, ..)| h), pair.client.handshake_hash());
        pair
    }

    fn is_well(&self) -> bool {
        self.up.error.is_none() && self.down.error.is_none()
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let step = script.byte() % 6;
        if step == 4 {
            return self.turn(script.byte());
        }
        let upward = script.byte().is_multiple_of(2);
        let way = if upward { &mut self.up } else { &mut self.down };
        match step {
            0 => {
                let plain_max = script.byte();
                self.say(upward, plain_max, script.bytes());
            }
            5 => {
                let plain_max = script.byte();
                self.say(upward, plain_max, &filling(upward, script.word()));
            }
            1 if script.byte().is_multiple_of(2) => way.say_raw(script.bytes()),
            1 => way.say_again(script.word(), script.word()),
            2 => {
                let place = script.word();
                way.flip(place, script.byte());
            }
            _ => {
                let len = usize::try_from(script.word()).unwrap_or(usize::MAX);
                self.deliver(upward, len, script.bytes());
            }
        }
    }

    /// Says something in records of this size.
    fn say(&mut self, upward: bool, plain_max: u8, plain: &[u8]) {
        let plain_max = 64 * (usize::from(plain_max) + 1);
        let mut batch = [&[0; 2], plain].concat();
        if upward {
            self.client.seal(&mut batch, 0, plain_max);
            self.up.say(plain, &batch);
        } else {
            self.server.seal(&mut batch, 0, plain_max);
            self.down.say(plain, &batch);
        }
    }

    /// Something the gateway does by itself.
    fn turn(&mut self, what: u8) {
        match what % 5 {
            0 if self.server.is_authenticating() => {
                let opened = self.up.opened();
                self.up.ear.welcome(opened.last().copied().unwrap_or(0), self.server.is_full());
                self.server.welcome(Duration::from_secs(60), Time::ZERO);
                self.deliver(true, 0, &[]);
            }
            1 => self.server.close(Time::ZERO),
            2 => self.server.set_heartbeat(Duration::from_secs(u64::from(what))),
            3 => {
                let (mut out, was_live) = (Vec::new(), self.server.is_live());
                self.server.turn_away(&PARTIES.acceptor, 1, &mut out);
                assert!(out.is_empty() && self.server.is_open() && self.server.is_live() == was_live);
            }
            _ => self.deliver(true, 0, &[]),
        }
    }

    fn deliver(&mut self, upward: bool, len: usize, cuts: &[u8]) {
        let Self { server, client, rules, up, down } = self;
        if upward {
            up.ear.listener = if server.is_live() { Listener::Gateway } else { Listener::Stranger };
            up.deliver(len, cuts, |input| server.receive(input, rules, Time::ZERO));
        } else {
            down.deliver(len, cuts, |input| client.receive(input, Time::ZERO));
        }
        let (glitches, most) = (self.up.ear.glitches, self.rules.glitches_max.into());
        assert!(glitches <= most);
        assert!(self.up.error != Some(Error::Glitches) || glitches == most);
        if self.is_well() && self.server.is_authenticating() {
            self.check_held();
        }
    }

    /// Reading stops with the record in which as much is held as is allowed; `Pad` frames are not held.
    fn check_held(&self) {
        let ear = &self.up.ear;
        let is_much = |end: usize| {
            let (mut at, mut bytes, mut frames) = (ear.heard, 0, 0);
            while let Some((body, frame_end)) = ear.frame(at).filter(|(_, frame_end)| *frame_end <= end) {
                if !is_pad(body) {
                    (bytes, frames) = (bytes + frame_end - at, frames + 1);
                }
                at = frame_end;
            }
            bytes + end - at > HELD_BYTES_MAX || frames >= HELD_FRAMES_MAX
        };
        let ends = self.up.opened();
        let is_full = ends.iter().any(|&end| end >= ear.heard && is_much(end));
        assert_eq!(self.server.is_full(), is_full, "{} bytes behind {:?}", ear.heard, ends.last());
    }

    /// Everything arrives: what was said in good records has been heard.
    fn finish(&mut self) {
        for upward in [true, false] {
            if self.is_well() {
                self.deliver(upward, usize::MAX, &[]);
            }
        }
        if self.is_well() {
            assert!(!self.server.is_live() || self.up.ear.is_done(), "the gateway left frames unread");
            assert!(self.down.ear.is_done(), "the client left frames unread");
        }
    }
}

/// One direction.
struct Way {
    /// Everything that was put on the wire.
    wire: Vec<u8>,
    /// The same before it was touched.
    honest: Vec<u8>,
    /// How much of it has arrived.
    arrived: usize,
    /// Where on the wire each record begins, or what stands there in its place, and where its plaintext does.
    records: Vec<(usize, usize)>,
    /// Nothing from here on was sealed by the other end.
    raw_from: Option<usize>,
    ear: Ear,
    arrivals: Arrivals,
    error: Option<Error>,
}

/// What there is to hear, and what was heard of it.
#[derive(Default)]
struct Ear {
    listener: Listener,
    /// Everything that was sealed, in clear.
    said: Vec<u8>,
    /// How much of it can be heard, as the wire was touched behind it.
    limit: usize,
    heard: usize,
    frames: usize,
    /// How many of them were unknown.
    glitches: usize,
    /// How much had been opened when the link was welcomed, and whether reading had stopped in it.
    opened: usize,
    was_full: bool,
}

/// Who listens, which decides what may be said.
#[derive(Clone, Copy, Default)]
enum Listener {
    /// The gateway before it knows who it is.
    Stranger,
    Gateway,
    #[default]
    Client,
}

impl Way {
    fn new(wire: Vec<u8>) -> Self {
        Self {
            honest: wire.clone(),
            wire,
            arrived: 0,
            records: Vec::new(),
            raw_from: None,
            ear: Ear::default(),
            arrivals: Arrivals::new(),
            error: None,
        }
    }

    fn say(&mut self, plain: &[u8], sealed: &[u8]) {
        let (mut at, mut said) = (0, self.ear.said.len());
        while let Some(header) = sealed[at..].first_chunk::<2>() {
            self.records.push((self.wire.len() + at, said));
            let len = usize::from(u16::from_be_bytes(*header));
            (at, said) = (at + 2 + len, said + len - 16);
        }
        assert_eq!(
            (at, said),
            (sealed.len(), self.ear.said.len() + plain.len()),
            "records hold what was said"
        );
        self.wire.extend_from_slice(sealed);
        self.honest.extend_from_slice(sealed);
        self.ear.said.extend_from_slice(plain);
    }

    fn say_raw(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.raw_from.get_or_insert(self.wire.len());
            self.records.push((self.wire.len(), self.ear.said.len()));
            self.wire.extend_from_slice(bytes);
            self.honest.extend_from_slice(bytes);
        }
    }

    /// Puts bytes on the wire that were on it before.
    fn say_again(&mut self, from: u64, len: u64) {
        let from = from.checked_rem(self.wire.len() as u64).unwrap_or(0) as usize;
        let len = (self.wire.len() - from).min(len.min(4096) as usize);
        let bytes = self.wire[from..from + len].to_vec();
        self.say_raw(&bytes);
    }

    fn flip(&mut self, place: u64, bits: u8) {
        let on_its_way = &mut self.wire[self.arrived..];
        if let Some(place) = place.checked_rem(on_its_way.len() as u64) {
            on_its_way[place as usize] ^= bits;
        }
    }

    /// Where the wire was first touched.
    fn touched(&self) -> Option<usize> {
        let flipped = self.wire.iter().zip(&self.honest).position(|(now, before)| now != before);
        flipped.into_iter().chain(self.raw_from).min()
    }

    /// Where the plaintext of each record ends that has arrived whole and untouched.
    fn opened(&self) -> Vec<usize> {
        let limit = self.limit();
        let nexts = self.records.iter().skip(1).copied().chain([(self.wire.len(), self.ear.said.len())]);
        let whole = nexts.filter(|&(wire, plain)| wire <= self.arrived && plain <= limit);
        whole.take(self.records.len()).map(|(_, plain)| plain).collect()
    }

    /// How much of what was said can be heard, as the wire was touched behind it.
    fn limit(&self) -> usize {
        self.touched().map_or(usize::MAX, |touched| {
            let record = self.records.iter().rev().find(|(start, _)| *start <= touched);
            record.expect("only records are touched, message 2 has arrived").1
        })
    }

    fn deliver(
        &mut self,
        len: usize,
        cuts: &[u8],
        mut receive: impl for<'i> FnMut(&'i mut Input<'_>) -> Result<Option<Frame<'i>>, Error>,
    ) {
        self.ear.limit = self.limit();
        let touched = self.touched();
        let len = len.min(self.wire.len() - self.arrived);
        let mut bytes = self.wire[self.arrived..][..len].to_vec();
        self.arrived += len;
        let Self { ear, arrivals, .. } = self;
        for piece in pieces(&mut bytes, cuts) {
            let heard = arrivals.arrive(piece, |input| {
                while let Some(frame) = receive(input)? {
                    ear.hear(frame);
                }
                Ok(())
            });
            if let Err(error) = heard {
                let broken = matches!(error, Error::Record | Error::RecordEmpty);
                assert!(touched.is_some() || !broken, "an honest record was refused: {error:?}");
                ear.refuse(error);
                self.error = Some(error);
                return;
            }
        }
    }
}

impl Ear {
    /// The link is welcomed: from now on the held frames are heard, but for the filling among them.
    fn welcome(&mut self, opened: usize, was_full: bool) {
        (self.opened, self.was_full) = (opened, was_full);
    }

    fn hear(&mut self, frame: Frame<'_>) {
        // What lies behind the place where reading stopped was not opened, so that filling there is still to come.
        while let Some((_, end)) =
            self.filling().filter(|(body, _)| !self.was_full || Frame::decode(body) != Ok(frame))
        {
            self.heard = end;
        }
        let (body, end) = self.next().expect("nothing is heard that was not said");
        assert!(end <= self.limit, "something was heard from behind the place that was touched");
        assert_eq!(Frame::decode(body), Ok(frame));
        assert!(self.listener.may_hear(&frame), "{} was heard", frame.name());
        self.heard = end;
        self.frames += 1;
        self.glitches += usize::from(frame == Frame::Unknown);
    }

    /// An error was found: it is that of the next frame, if it is one of a frame.
    fn refuse(&mut self, error: Error) {
        while let Some((_, end)) = self.filling() {
            self.heard = end;
        }
        let next = self.next().map(|(body, _)| Frame::decode(body));
        match error {
            Error::Unexpected(name) => {
                let frame = next.expect("a frame was read").expect("a frame was decoded");
                assert!(frame.name() == name && !self.listener.may_hear(&frame), "{frame:?} was refused");
            }
            Error::Glitches => assert_eq!(next, Some(Ok(Frame::Unknown))),
            Error::Field(_) => assert_eq!(next, Some(Err(error))),
            _ => {}
        }
    }

    /// The next frame, if it is filling that was held.
    fn filling(&self) -> Option<(&[u8], usize)> {
        self.next().filter(|(body, end)| *end <= self.opened && is_pad(body))
    }

    /// The next whole frame, and where it ends.
    fn next(&self) -> Option<(&[u8], usize)> {
        self.frame(self.heard)
    }

    /// The whole frame at a place in what was said, and where it ends.
    fn frame(&self, at: usize) -> Option<(&[u8], usize)> {
        let rest = &self.said[at..];
        let (len, prefix) = varint::decode(rest).ok()??;
        let body = rest.get(prefix..prefix.checked_add(usize::try_from(len).ok()?)?)?;
        Some((body, at + prefix + body.len()))
    }

    fn is_done(&mut self) -> bool {
        while let Some((_, end)) = self.filling() {
            self.heard = end;
        }
        self.limit != usize::MAX || self.next().is_none()
    }
}

impl Listener {
    /// Whether a frame is allowed in this state and direction. Unknown ones always are.
    fn may_hear(self, frame: &Frame<'_>) -> bool {
        let up = ["auth", "request", "ack", "ping", "join", "leave"];
        match (self, frame.name()) {
            (_, "close" | "unknown") => true,
            (Self::Stranger, name) => name == "auth",
            (Self::Gateway, name) => name == "pad" || up.contains(&name),
            (Self::Client, name) => !up.contains(&name),
        }
    }
}

/// A frame of this length, without its own.
fn filling(upward: bool, len: u64) -> Vec<u8> {
    let (len, mut out) = (len as usize % 9000, Vec::new());
    let payload = |beside: usize| &ZEROS[..len.saturating_sub(beside)];
    match (upward, len % 2) {
        (_, 1) => Frame::Pad { zeros: payload(9) }.encode(&mut out),
        (true, _) => {
            let request = Request { id: [6; 16], route: "echo", ..Request::default() };
            Frame::Request(Request { payload: payload(30), ..request }).encode(&mut out);
        }
        (false, _) => Frame::Push(Push { payload: payload(6), ..Push::default() }).encode(&mut out),
    }
    out
}

static ZEROS: [u8; 9000] = [0; 9000];

/// Conversations, and what is done to them.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let said = Said::new();
    [whole(&said), held(&said), rules_broken(&said), wires_touched(&said)].concat()
}

/// Frames to say, encoded.
struct Said {
    auth: Vec<u8>,
    request: Vec<u8>,
    /// All that a client says, and that without `Auth`.
    up: Vec<u8>,
    others: Vec<u8>,
    /// All that a gateway says.
    down: Vec<u8>,
    pad: Vec<u8>,
    unknown: Vec<u8>,
}

impl Said {
    fn new() -> Self {
        let encoded = |frames: &[(&str, Frame<'_>)]| {
            let mut out = Vec::new();
            frames.iter().for_each(|(_, frame)| frame.encode(&mut out));
            out
        };
        let (up, down) = (frames::up(), frames::down());
        let pad = ("pad", Frame::Pad { zeros: &[0; 100] });
        Self {
            auth: encoded(&up[..1]),
            request: encoded(&up[2..3]),
            up: encoded(&up),
            others: encoded(&up[2..]),
            down: [frames::welcome(), encoded(&down)].concat(),
            pad: encoded(&[pad]),
            unknown: vec![3, 0x92, 1, 0],
        }
    }
}

fn whole(said: &Said) -> Vec<Seed> {
    let whole = |suite| {
        let script = say(say(live(said, suite, 0, 100), UP, 2, &said.others), DOWN, 0, &said.down);
        script.deliver(UP, &[7, 0]).deliver(DOWN, &[0xf1]).done()
    };
    vec![
        ("whole-nk-chachapoly", whole(0)),
        ("whole-nk-aesgcm", whole(1)),
        ("whole-ik-chachapoly", whole(2)),
        ("whole-ik-aesgcm", whole(3)),
        ("whole-nnpsk0-chachapoly", whole(4)),
        ("whole-nnpsk0-aesgcm", whole(5)),
        ("pad-live", say(live(said, 0, 0, 0), UP, 0, &said.pad.repeat(12)).deliver(UP, &[50]).done()),
        ("pad-down", say(live(said, 0, 0, 0), DOWN, 1, &said.pad.repeat(3)).deliver(DOWN, &[9]).done()),
        ("turned-away-too-late", say(live(said, 0, 0, 9).turn(3), UP, 9, &said.request).done()),
    ]
}

/// What comes behind `Auth`, before the link is welcomed.
fn held(said: &Said) -> Vec<Seed> {
    let held = |plain_max, behind: &[u8], cuts: &[u8]| {
        let script = say(start(0, 0, 9), UP, plain_max, &[&said.auth, behind].concat());
        script.deliver(UP, cuts).turn(4).turn(0).done()
    };
    let Said { request, pad, .. } = said;
    let filled = |lengths: &[u64]| {
        let script = say(start(0, 0, 9), UP, 9, &said.auth);
        let script = lengths.iter().fold(script, |script, &len| script.fill(UP, 60, len));
        script.deliver(UP, &[0xf0]).turn(4).turn(0).done()
    };
    let mixed = [&pad[..], request, pad, request].concat();
    // As much as may be held, and filling between it.
    let most = [&request[..], pad].concat().repeat(7);
    vec![
        ("held-until-welcome", held(9, &said.up[said.auth.len()..], &[1])),
        ("held-too-much", held(9, &request.repeat(12), &[])),
        ("pad-behind-auth", held(9, &mixed, &[3])),
        ("pad-over-records", held(1, &mixed, &[20])),
        ("pad-only", held(9, &pad.repeat(12), &[])),
        ("pad-and-as-much-as-may-be-held", held(9, &most, &[40])),
        ("pad-and-too-much", held(9, &[&most[..], request, pad, pad].concat(), &[])),
        ("pad-longer-than-what-may-be-held", filled(&[4501, 200])),
        ("pad-long", filled(&[3001, 200, 3001])),
        ("held-as-many-bytes-as-may-be", filled(&[2046, 2046])),
        ("held-too-many-bytes", filled(&[2046, 2048])),
        ("pad-cut-off-by-welcome", {
            let script = say(start(0, 0, 9), UP, 9, &[&said.auth[..], &pad[..50]].concat());
            say(script.deliver(UP, &[]).turn(0), UP, 9, &[&pad[50..], request].concat()).done()
        }),
    ]
}

fn rules_broken(said: &Said) -> Vec<Seed> {
    let Said { request, unknown, pad, .. } = said;
    let mut warning = Vec::new();
    Frame::Warning { code: 15, score: 80 }.encode(&mut warning);
    let broken_pad = [5, 0x82, 1, 2, 0x0a, 9];
    vec![
        ("first-is-no-auth", say(start(0, 0, 9), UP, 9, request).done()),
        ("pad-before-auth", say(start(0, 0, 9), UP, 9, &[&pad[..], &said.auth].concat()).done()),
        ("pad-broken", say(live(said, 0, 0, 9), UP, 9, &broken_pad).done()),
        (
            "pad-broken-held",
            say(start(0, 0, 9), UP, 9, &[&said.auth[..], &broken_pad].concat())
                .deliver(UP, &[])
                .turn(0)
                .done(),
        ),
        ("warning-up", say(live(said, 0, 0, 9), UP, 9, &warning).done()),
        ("frame-over-records", say(live(said, 1, 0, 9), UP, 0, &request.repeat(9)).deliver(UP, &[30]).done()),
        ("frame-too-long", say(live(said, 1, 1, 9), UP, 9, &[200, 1]).done()),
        ("frame-empty", say(live(said, 1, 0, 9), UP, 9, &[0]).done()),
        ("record-too-long", say(live(said, 1, 1, 9), UP, 9, &request.repeat(9)).done()),
        ("glitches", say(live(said, 0, 0, 9), UP, 9, &unknown.repeat(11)).done()),
        ("glitches-most", say(live(said, 0, 0, 255), UP, 99, &unknown.repeat(258)).done()),
        ("wrong-direction", say(live(said, 0, 0, 9), DOWN, 9, request).done()),
        ("after-close", say(live(said, 0, 0, 9).turn(1), UP, 9, request).deliver(UP, &[]).done()),
    ]
}

fn wires_touched(said: &Said) -> Vec<Seed> {
    let Said { request, down, .. } = said;
    let asked = || say(live(said, 0, 0, 9), UP, 9, request);
    let answered = say(live(said, 0, 0, 9), DOWN, 9, down);
    vec![
        ("flipped", asked().flip(UP, 20, 1).deliver(UP, &[]).done()),
        ("flipped-length", answered.flip(DOWN, 1, 4).deliver(DOWN, &[0]).done()),
        ("flipped-and-back", asked().flip(UP, 9, 1).flip(UP, 9, 1).done()),
        ("replayed", asked().byte(1).byte(UP).byte(1).word(0).word(60).done()),
        ("raw", live(said, 0, 0, 9).byte(1).byte(UP).byte(0).bytes(&[0, 17, 1, 2, 3]).done()),
        ("record-of-nothing", live(said, 0, 0, 9).byte(1).byte(DOWN).byte(0).bytes(&[0, 16]).done()),
    ]
}

fn start(suite: u8, small: u8, glitches: u8) -> Writer {
    Writer::default().byte(suite).byte(small).byte(glitches)
}

/// A link that was welcomed.
fn live(said: &Said, suite: u8, small: u8, glitches: u8) -> Writer {
    say(start(suite, small, glitches), UP, 9, &said.auth).deliver(UP, &[]).turn(0)
}

const UP: u8 = 0;
const DOWN: u8 = 1;

fn say(script: Writer, direction: u8, plain_max: u8, plain: &[u8]) -> Writer {
    script.byte(0).byte(direction).byte(plain_max).bytes(plain)
}

impl Writer {
    fn flip(self, direction: u8, place: u64, bits: u8) -> Self {
        self.byte(2).byte(direction).word(place).byte(bits)
    }

    fn deliver(self, direction: u8, cuts: &[u8]) -> Self {
        self.byte(3).byte(direction).word(u64::MAX).bytes(cuts)
    }

    fn turn(self, what: u8) -> Self {
        self.byte(4).byte(what)
    }

    fn fill(self, direction: u8, plain_max: u8, len: u64) -> Self {
        self.byte(5).byte(direction).byte(plain_max).word(len)
    }
}
