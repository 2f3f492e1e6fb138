//! Links that are pushed something, in a simulated network: the readers' books against the pusher's, whatever the network does,
//! and links that read slowly.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod responder;

use std::sync::atomic::Ordering;
use std::time::Duration;

use driver::sim::{Backlog, Buffers, Config, Faults, Net, Rng, SimDriver, Socket, State};
use driver::{Driver, Endpoint, PoolSize};
use loadgen::fleet::{Entropy, Fleet, Leg, Load, Order, Pushes, Settings, Slowness};
use loadgen::opening::Opening;
use loadgen::plan::mix;
use loadgen::pushes::{ASK_LEN, Class, Outcomes};
use loadgen::tally::{Counts, PushTally, Tally};
use protocol::Time;
use protocol::noise::{StaticKey, Suite};
use responder::{Fault, House, Peer, TOKEN};

const LINKS: u32 = 6;
const STEP: Duration = Duration::from_millis(1);
/// No stage takes longer, whatever the faults.
const STEPS_MAX: u32 = 30_000;
const COUNT: u32 = 4;
const SIZE: u32 = 300;
/// More waits for a reader only until it is ended.
const UNREAD_MAX: usize = 32 * 1024;

/// A network with a responder at one end and a fleet at the other.
struct World {
    net: Net,
    backlog: Backlog,
    house: House,
    fault: Fault,
    /// Each with what it has not yet been able to write.
    ends: Vec<(Socket, Peer, Vec<u8>)>,
    met: u64,
    /// Readers that were ended.
    ended: u64,
    driver: SimDriver,
    fleet: Fleet,
    now: Time,
}

impl World {
    fn new(seed: u64, load: Load, classes: &[Class], slow: Option<Slowness>, fault: Fault) -> Self {
        let net = Net::new(seed);
        let address = "127.0.0.1:7000".parse().unwrap();
        let buffers = Buffers { send: 4096, receive: 4096 };
        let backlog = net.listen(&Endpoint::Tcp(address), buffers);
        let pool = PoolSize { count: 16, size: 256 };
        let config = Config { slots: 16, links: pool, streams: pool, listeners: vec![], buffers };
        let driver = SimDriver::new(&net, config);
        let house = House::new();
        let server = house.acceptor.public();
        let runs = [[1; 16], [2; 16]];
        let settings = Settings {
            opening: Opening::new(server, Suite::NkAesGcm, StaticKey::from_secret([3; 32]), TOKEN.into()),
            heartbeat: Duration::ZERO,
            sources: vec![],
            destinations: vec![address],
            first: 0,
            links: LINKS,
            opening_max: 3,
            opening_deadline: Duration::from_secs(5),
            run: 9,
            seed,
            size: ASK_LEN,
            batch: 1,
            tokens: None,
            load,
            pushes: Some(Pushes {
                in_1000: 1000,
                runs,
                classes: classes.to_vec(),
                count: COUNT,
                size: SIZE,
                slow,
            }),
            keeps_sessions: false,
        };
        let fleet = Fleet::new(settings, entropy(seed));
        Self { net, backlog, house, fault, ends: vec![], met: 0, ended: 0, driver, fleet, now: Time::ZERO }
    }

    fn step(&mut self) {
        self.now = self.now + STEP;
        self.house.books.now_ms.store(self.now.as_millis(), Ordering::Relaxed);
        self.net.step();
        while let Some(socket) = self.backlog.accept() {
            self.ends.push((socket, Peer::new(self.fault, self.met), Vec::new()));
            self.met += 1;
        }
        let Self { house, ends, ended, .. } = self;
        ends.retain_mut(|(socket, peer, pending)| {
            let mut chunk = Vec::new();
            socket.read(&mut chunk, usize::MAX);
            let lives = chunk.is_empty() || peer.receive(&mut chunk, house, pending);
            let taken = socket.write(pending);
            pending.drain(..taken);
            let is_slow = pending.len() > UNREAD_MAX;
            *ended += u64::from(is_slow);
            lives && !is_slow && matches!(socket.state(), State::Open)
        });
        self.fleet.turn(&mut self.driver, self.now);
        self.driver.wait(0, None).unwrap();
    }

    /// Gives an order and steps until it is done, or for `most`; whether it is done.
    fn stage(&mut self, order: Order, most: u32) -> bool {
        self.fleet.order(order, self.now);
        for _ in 0..most {
            self.step();
            if self.fleet.is_done() {
                return true;
            }
        }
        false
    }

    fn leg(&self, steps: u32) -> Order {
        let start = self.now + 5 * STEP;
        let from = start + 100 * STEP;
        Order::Run(Leg { start, from, to: from + steps * STEP, cycles_max: 0, resume: false })
    }

    /// One leg, and everything is read behind it.
    fn run(&mut self, steps: u32) {
        let leg = self.leg(steps);
        assert!(!self.stage(leg, steps + 106), "a leg has no end of its own");
        assert!(self.stage(Order::Drain, STEPS_MAX), "the drain ends: {:?}", self.fleet);
    }

    /// Asks what became of it, closes, and looks at what is left.
    fn settle(mut self) -> Tally {
        assert!(self.stage(Order::Inquire, STEPS_MAX), "nothing stays open: {:?}", self.fleet);
        assert!(self.stage(Order::Close, STEPS_MAX), "the close ends: {:?}", self.fleet.counts());
        let audit = self.net.audit(self.driver.worker());
        assert_eq!((audit.sockets, audit.sending, audit.chunks_out), (0, 0, 0));
        self.fleet.finish()
    }
}

fn entropy(seed: u64) -> Entropy {
    let mut number = 0;
    Box::new(move || {
        number += 1;
        let mut bytes = [0; 32];
        for (word, chunk) in (0..).zip(bytes.chunks_mut(8)) {
            chunk.copy_from_slice(&mix(seed, 4 * number + word).to_be_bytes());
        }
        bytes
    })
}

/// Everything that delays, and nothing that ends a link.
fn delays(seed: u64) -> Faults {
    Faults { reset: 0, connect_failed: 0, accept_failed: 0, ..Faults::swarm(&mut Rng::new(seed)) }
}

fn seeds() -> impl Iterator<Item = u64> {
    let count = std::env::var("SIM_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(20);
    0..count
}

const PLANNED: Load = Load::Planned { interval: Duration::from_millis(40) };
const ONCE: &[Class] = &[Class::AtMostOnce];
const AT_LEAST: &[Class] = &[Class::AtLeastOnce];
const BOTH: &[Class] = &[Class::AtMostOnce, Class::AtLeastOnce];

/// What the pusher knows of the quick links' run.
fn told(tally: &Tally) -> &Outcomes {
    tally.outcomes[0].as_ref().expect("it was asked")
}

#[test]
fn whatever_is_delayed_every_push_comes_once_and_both_books_agree() {
    for seed in seeds() {
        for (load, classes) in
            [(PLANNED, BOTH), (Load::Window { packets: 3 }, ONCE), (Load::Window { packets: 3 }, AT_LEAST)]
        {
            let mut world = World::new(seed, load, classes, None, Fault::Nothing);
            world.net.set_faults(delays(seed));
            assert!(world.stage(Order::Ramp, STEPS_MAX), "seed {seed}: the ramp ends");
            world.run(1000);
            let tally = world.settle();
            let PushTally { asked, received: [once, at_least], .. } = tally.pushes[0];
            let whole = PushTally { asked, received: [once, at_least], ..PushTally::default() };
            assert_eq!(tally.pushes, [whole, PushTally::default()], "seed {seed} {load:?}");
            assert!(
                asked == once + at_least && asked >= u64::from(LINKS * COUNT * 3),
                "seed {seed} {load:?}"
            );
            let delivered = Outcomes { sent: [once, at_least], delivered: at_least, ..Outcomes::default() };
            assert_eq!(told(&tally), &delivered, "seed {seed} {load:?}");
            assert_eq!(
                (once > 0, at_least > 0),
                (classes != AT_LEAST, classes != ONCE),
                "seed {seed} {load:?}"
            );
            let counts = tally.counts;
            assert_eq!((counts.pushed, counts.sent, counts.lost), (asked, counts.received, 0), "seed {seed}");
            assert_eq!((counts.corrupted, counts.refused, counts.unknown), (0, 0, 0), "seed {seed}");
            assert!(!tally.legs[0].latency.is_empty(), "seed {seed}");
        }
    }
}

#[test]
fn what_goes_wrong_with_a_push_is_found() {
    let links = u64::from(LINKS);
    for class in [ONCE, AT_LEAST] {
        let at_least = u64::from(class == AT_LEAST);
        // Duplicated, misordered, repeated, corrupted, missing.
        for (fault, wrong) in [
            (Fault::Nothing, [0, 0, 0, 0, 0]),
            (Fault::LosePush(5), [0, 0, 0, 0, 1]),
            (Fault::DoublePush(5), [1, 0, 0, 0, 0]),
            (Fault::SwapPush(5), [0, 1, 0, 0, 0]),
            (Fault::RepeatPush(5), [1 - at_least, 0, at_least, 0, 0]),
            (Fault::CorruptPush(5), [0, 0, 0, 1, 1]),
        ] {
            let mut world = World::new(1, PLANNED, class, None, fault);
            assert!(world.stage(Order::Ramp, STEPS_MAX));
            world.run(300);
            let tally = world.settle();
            let pushes = tally.pushes[0];
            let missing = pushes.asked - pushes.received[0] - pushes.received[1];
            let found =
                [pushes.duplicated, pushes.misordered, pushes.repeated, tally.counts.corrupted, missing];
            assert_eq!(found, wrong.map(|count| count * links), "{fault:?} {class:?}");
            let undelivered: u64 = told(&tally).undelivered.values().sum();
            let is_lost = u64::from(matches!(fault, Fault::LosePush(_)));
            assert_eq!(undelivered, is_lost * at_least * links, "{fault:?} {class:?}");
        }
    }
}

#[test]
fn who_serves_no_pushes_is_told_of_and_waited_for_no_longer() {
    for load in [PLANNED, Load::Window { packets: 2 }] {
        let mut world = World::new(1, load, AT_LEAST, None, Fault::NoPushes);
        assert!(world.stage(Order::Ramp, STEPS_MAX));
        world.run(300);
        let tally = world.settle();
        let PushTally { asked, refused, .. } = tally.pushes[0];
        assert!(asked > 0 && asked == refused, "{:?}", tally.pushes);
        assert_eq!(told(&tally), &Outcomes::default(), "there is no such run");
        assert_eq!(tally.reasons.keys().collect::<Vec<_>>(), ["request refused: no_route"]);
    }
}

#[test]
fn acknowledgements_come_within_a_tenth_of_a_second_and_not_too_often() {
    let mut world =
        World::new(1, Load::Planned { interval: Duration::from_millis(7) }, AT_LEAST, None, Fault::Nothing);
    assert!(world.stage(Order::Ramp, STEPS_MAX));
    world.run(1000);
    let acks = std::mem::take(&mut *world.house.books.acks.lock().unwrap());
    assert!(acks.len() > 6 * 10, "{} acknowledgements", acks.len());
    for link in 0..u64::from(LINKS) {
        let of_link: Vec<_> = acks.iter().filter(|(owner, ..)| *owner == link).collect();
        assert!(of_link.iter().all(|(_, at, since)| at - since <= 100), "{of_link:?}");
        // The way takes a step or two.
        assert!(of_link.windows(2).all(|pair| pair[1].1 - pair[0].1 >= 48), "{of_link:?}");
    }
    world.settle();
}

#[test]
fn who_is_asked_acknowledges_at_once() {
    let mut world = World::new(1, PLANNED, AT_LEAST, None, Fault::AskNow(1));
    assert!(world.stage(Order::Ramp, STEPS_MAX));
    world.run(300);
    let acks = std::mem::take(&mut *world.house.books.acks.lock().unwrap());
    for link in 0..u64::from(LINKS) {
        let first = acks.iter().find(|(owner, ..)| *owner == link).unwrap();
        assert!(first.1 - first.2 < 50, "sooner than by itself: {first:?}");
    }
    world.settle();
}

#[test]
fn slow_links_read_as_much_as_they_are_to_and_the_others_notice_nothing() {
    // Enough that slow links lag behind, and not so much that any is ended.
    let load = Load::Planned { interval: Duration::from_millis(200) };
    for speed in [0, 1000] {
        let slow = Some(Slowness { links: 2, of: LINKS, speed });
        // Who reads nothing hears no pongs either, and would leave by itself.
        let mut world = World::new(1, load, BOTH, slow, Fault::Rare);
        assert!(world.stage(Order::Ramp, STEPS_MAX));
        world.run(1000);
        let quiet = world.house.books.acks.lock().unwrap().len();
        assert!(quiet > 0);
        let leg = world.leg(3000);
        assert!(!world.stage(leg, 3106));
        let before = world.fleet.counts().pushed;
        assert!(world.stage(Order::Drain, STEPS_MAX));
        let late = world.fleet.counts().pushed - before;
        let (ended, tally) = (world.ended, world.settle());
        // Each is pushed 6,400 bytes per second for three seconds, of which a slow one reads 3,000 at most.
        assert!(late > 2 * (if speed == 0 { 55 } else { 40 }), "{speed}: {late} had not been read");
        assert!(speed == 0 || late < 2 * 58, "{speed}: {late} had not been read");
        assert_eq!((ended, tally.counts.lost, tally.counts.shed), (0, 0, 0), "{speed}");
        for (pushes, outcomes) in tally.pushes.iter().zip(&tally.outcomes) {
            let outcomes = outcomes.as_ref().unwrap();
            assert_eq!(pushes.received, outcomes.sent, "{speed}: in the end everybody has everything");
            assert_eq!((pushes.duplicated, pushes.misordered, outcomes.delivered), (0, 0, outcomes.sent[1]));
        }
        let [quiet, slow] = &tally.legs[..] else { panic!("two legs") };
        assert!(
            quiet.latency.max() < 300_000_000 && slow.latency.max() < 300_000_000,
            "of the quick ones alone"
        );
    }
}

#[test]
fn slow_links_that_are_ended_are_excused_and_nobody_else_is_harmed() {
    for seed in seeds() {
        let slow = Some(Slowness { links: 2, of: LINKS, speed: 0 });
        let mut world = World::new(seed, PLANNED, ONCE, slow, Fault::Nothing);
        assert!(world.stage(Order::Ramp, STEPS_MAX));
        world.run(300);
        assert_eq!(world.ended, 0, "seed {seed}: so far all have read");
        world.net.set_faults(delays(seed));
        world.run(2000);
        let (ended, tally) = (world.ended, world.settle());
        assert_eq!((ended, tally.counts.shed, tally.counts.lost), (2, 2, 2), "seed {seed}");
        let [quick, slow] = &tally.pushes;
        assert_eq!((quick.asked, tally.counts.unanswered), (quick.received[0], 0), "seed {seed}");
        let Counts { sent, received, unheard, .. } = tally.counts;
        assert!(sent == received + unheard && unheard > 0, "seed {seed}: {:?}", tally.counts);
        assert!(slow.asked > slow.received[0] && slow.received[0] > 0, "seed {seed}: {slow:?}");
        assert_eq!((slow.duplicated, slow.misordered), (0, 0), "seed {seed}");
        let sent = |kind: usize| tally.outcomes[kind].as_ref().unwrap().sent[0];
        assert_eq!(sent(0), quick.asked, "seed {seed}");
        assert!(sent(1) >= slow.received[0], "seed {seed}");
        assert!(tally.reasons.keys().all(|reason| reason.starts_with("slow link: ")), "{:?}", tally.reasons);
    }
}

#[test]
fn a_question_that_is_under_way_when_the_links_are_closed_is_no_lost_message() {
    let mut world = World::new(1, PLANNED, AT_LEAST, None, Fault::NoOutcomes);
    assert!(world.stage(Order::Ramp, STEPS_MAX));
    world.run(300);
    assert!(!world.stage(Order::Inquire, 1000), "nobody answers");
    assert!(world.stage(Order::Close, STEPS_MAX));
    let tally = world.fleet.finish();
    assert_eq!((tally.counts.unanswered, tally.counts.sent), (0, tally.counts.received));
    assert_eq!(tally.outcomes, [None, None]);
}
