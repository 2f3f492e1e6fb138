//! An open link under fire: both ends after a real handshake, and a wire between them that the fuzzer writes on.
//!
//! ```text
//! suite, rules, then steps:
//!   0 say     direction, record size, plaintext     sealed by its end, so that it is read behind the cryptography
//!   1 raw     direction, 0, bytes                   put on the wire as they are
//!             direction, 1, place, length (words)   the same with what was on the wire before
//!   2 flip    direction, place (word), bits         of what is on its way
//!   3 deliver direction, how much (word), cuts
//!   4 gateway's turn: welcome, close, a heartbeat, or a look at what was held
//! ```
//!
//! What was said in good records is kept beside the wire as plain bytes. Whatever an end hears must be the next frame
//! of them, and nothing that was touched may ever be heard.

use std::time::Duration;

use protocol::buffer::Input;
use protocol::limits::{FRAME_LEN_MAX, RECORD_LEN_MAX_UPLINK};
use protocol::link::{ClientLink, Rules, ServerLink};
use protocol::wire::frame::Frame;
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
        let step = script.byte() % 5;
        if step == 4 {
            return self.turn(script.byte());
        }
        let upward = script.byte().is_multiple_of(2);
        let way = if upward { &mut self.up } else { &mut self.down };
        match step {
            0 => {
                let plain_max = 64 * (usize::from(script.byte()) + 1);
                let plain = script.bytes();
                let mut batch = [&[0; 2], plain].concat();
                if upward {
                    self.client.seal(&mut batch, 0, plain_max);
                } else {
                    self.server.seal(&mut batch, 0, plain_max);
                }
                way.say(plain, &batch);
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

    /// Something the gateway does by itself.
    fn turn(&mut self, what: u8) {
        match what % 4 {
            0 if self.server.is_authenticating() => {
                self.server.welcome(Duration::from_secs(60), Time::ZERO);
                self.deliver(true, 0, &[]);
            }
            1 => self.server.close(Time::ZERO),
            2 => self.server.set_heartbeat(Duration::from_secs(u64::from(what))),
            _ => self.deliver(true, 0, &[]),
        }
    }

    fn deliver(&mut self, upward: bool, len: usize, cuts: &[u8]) {
        let Self { server, client, rules, up, down } = self;
        if upward {
            up.deliver(len, cuts, |input| server.receive(input, rules, Time::ZERO));
        } else {
            down.deliver(len, cuts, |input| client.receive(input, Time::ZERO));
        }
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
    /// Everything that was sealed, in clear.
    said: Vec<u8>,
    /// How much of it can be heard, as the wire was touched behind it.
    limit: usize,
    heard: usize,
    frames: usize,
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

    fn deliver(
        &mut self,
        len: usize,
        cuts: &[u8],
        mut receive: impl for<'i> FnMut(&'i mut Input<'_>) -> Result<Option<Frame<'i>>, Error>,
    ) {
        let touched = self.touched();
        self.ear.limit = touched.map_or(usize::MAX, |touched| {
            let record = self.records.iter().rev().find(|(start, _)| *start <= touched);
            record.expect("only records are touched, message 2 has arrived").1
        });
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
                self.error = Some(error);
                return;
            }
        }
    }
}

impl Ear {
    fn hear(&mut self, frame: Frame<'_>) {
        let (body, end) = self.next().expect("nothing is heard that was not said");
        assert!(end <= self.limit, "something was heard from behind the place that was touched");
        assert_eq!(Frame::decode(body), Ok(frame));
        self.heard = end;
        self.frames += 1;
    }

    /// The next whole frame, and where it ends.
    fn next(&self) -> Option<(&[u8], usize)> {
        let rest = &self.said[self.heard..];
        let (len, prefix) = varint::decode(rest).ok()??;
        let body = rest.get(prefix..prefix.checked_add(usize::try_from(len).ok()?)?)?;
        Some((body, self.heard + prefix + body.len()))
    }

    fn is_done(&self) -> bool {
        self.limit != usize::MAX || self.next().is_none()
    }
}

/// Conversations, and what is done to them.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let encoded = |frames: Vec<(&str, Frame<'_>)>| {
        let mut out = Vec::new();
        frames.iter().for_each(|(_, frame)| frame.encode(&mut out));
        out
    };
    let (up, mut down) = (encoded(frames::up()), encoded(frames::down()));
    let one = |at: usize| encoded(vec![frames::up()[at]]);
    let (auth, request, unknown) = (one(0), one(2), vec![3, 0x82, 1, 0]);
    let others = encoded(frames::up().split_off(2));
    down.splice(0..0, frames::welcome());
    let start = |suite: u8, small: u8, glitches: u8| Writer::default().byte(suite).byte(small).byte(glitches);
    let live =
        |suite, small, glitches| say(start(suite, small, glitches), UP, 9, &auth).deliver(UP, &[]).turn(0);
    let whole = |suite| {
        let said = say(say(live(suite, 0, 100), UP, 2, &others), DOWN, 0, &down);
        said.deliver(UP, &[7, 0]).deliver(DOWN, &[0xf1]).done()
    };
    vec![
        ("whole-nk-chachapoly", whole(0)),
        ("whole-nk-aesgcm", whole(1)),
        ("whole-ik-chachapoly", whole(2)),
        ("whole-ik-aesgcm", whole(3)),
        ("whole-nnpsk0-chachapoly", whole(4)),
        ("whole-nnpsk0-aesgcm", whole(5)),
        ("held-until-welcome", say(start(0, 0, 9), UP, 9, &up).deliver(UP, &[1]).turn(0).done()),
        (
            "held-too-much",
            say(start(0, 0, 9), UP, 9, &[&auth[..], &request.repeat(12)].concat()).turn(0).done(),
        ),
        ("first-is-no-auth", say(start(0, 0, 9), UP, 9, &request).done()),
        ("frame-over-records", say(live(1, 0, 9), UP, 0, &request.repeat(9)).deliver(UP, &[30]).done()),
        ("frame-too-long", say(live(1, 1, 9), UP, 9, &[200, 1]).done()),
        ("frame-empty", say(live(1, 0, 9), UP, 9, &[0]).done()),
        ("record-too-long", say(live(1, 1, 9), UP, 9, &request.repeat(9)).done()),
        ("glitches", say(live(0, 0, 9), UP, 9, &unknown.repeat(11)).done()),
        ("glitches-most", say(live(0, 0, 255), UP, 99, &unknown.repeat(258)).done()),
        ("wrong-direction", say(live(0, 0, 9), DOWN, 9, &request).done()),
        ("flipped", say(live(0, 0, 9), UP, 9, &request).flip(UP, 20, 1).deliver(UP, &[]).done()),
        ("flipped-length", say(live(0, 0, 9), DOWN, 9, &down).flip(DOWN, 1, 4).deliver(DOWN, &[0]).done()),
        ("flipped-and-back", say(live(0, 0, 9), UP, 9, &request).flip(UP, 9, 1).flip(UP, 9, 1).done()),
        ("replayed", say(live(0, 0, 9), UP, 9, &request).byte(1).byte(UP).byte(1).word(0).word(60).done()),
        ("raw", live(0, 0, 9).byte(1).byte(UP).byte(0).bytes(&[0, 17, 1, 2, 3]).done()),
        ("record-of-nothing", live(0, 0, 9).byte(1).byte(DOWN).byte(0).bytes(&[0, 16]).done()),
        ("after-close", say(live(0, 0, 9).turn(1), UP, 9, &request).deliver(UP, &[]).done()),
    ]
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
}
