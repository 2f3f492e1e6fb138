//! The fleet in a simulated network: the same state machine without a ring, under every fault a kernel may have.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod responder;
mod storms;

use std::time::Duration;

use driver::sim::{Backlog, Buffers, Config, Faults, Net, Rng, SimDriver, Socket};
use driver::{Driver, Endpoint, PoolSize};
use loadgen::fleet::{Entropy, Fleet, Leg, Load, Order, Pushes, Settings};
use loadgen::opening::Opening;
use loadgen::plan::mix;
use loadgen::pushes::Class;
use loadgen::tally::Tally;
use protocol::Time;
use protocol::noise::{StaticKey, Suite};
use responder::{Fault, House, Peer, TOKEN};

const LINKS: u32 = 6;
const STEP: Duration = Duration::from_millis(1);
/// No stage takes longer, whatever the faults.
const STEPS_MAX: u32 = 30_000;

/// A network with a responder at one end and a fleet at the other.
struct World {
    net: Net,
    backlog: Backlog,
    house: House,
    /// What new peers do wrong.
    fault: Fault,
    /// Each with what it has not yet been able to write; without a peer once it only has to write that.
    ends: Vec<(Socket, Option<Peer>, Vec<u8>)>,
    met: u64,
    driver: SimDriver,
    fleet: Fleet,
    now: Time,
    /// The responder neither accepts nor reads nor answers.
    frozen: bool,
}

impl World {
    fn new(seed: u64, load: Load) -> Self {
        Self::with_pushes(seed, load, 0)
    }

    /// Of 1000 messages so many ask for a push of class 1.
    fn with_pushes(seed: u64, load: Load, in_1000: u16) -> Self {
        let net = Net::new(seed);
        let address = "127.0.0.1:7000".parse().unwrap();
        let buffers = Buffers { send: 512, receive: 512 };
        let backlog = net.listen(&Endpoint::Tcp(address), buffers);
        let pool = PoolSize { count: 16, size: 256 };
        let config = Config { slots: 16, links: pool, streams: pool, listeners: vec![], buffers };
        let driver = SimDriver::new(&net, config);
        let house = House::new();
        let server = house.acceptor.public();
        let (runs, classes) = ([[1; 16], [2; 16]], vec![Class::AtLeastOnce]);
        let pushes = Pushes { in_1000, runs, classes, count: 1, size: 64, slow: None };
        let settings = Settings {
            opening: Opening::new(server, Suite::NkAesGcm, StaticKey::from_secret([3; 32]), TOKEN.into()),
            heartbeat: Duration::ZERO,
            sources: vec![],
            destinations: vec![address],
            first: 100,
            links: LINKS,
            opening_max: 3,
            opening_deadline: Duration::from_secs(5),
            run: 9,
            seed,
            size: 300,
            batch: 2,
            tokens: None,
            load,
            pushes: (in_1000 > 0).then_some(pushes),
            keeps_sessions: true,
        };
        let fleet = Fleet::new(settings, entropy(seed));
        let fault = Fault::Nothing;
        Self {
            net,
            backlog,
            house,
            fault,
            ends: Vec::new(),
            met: 0,
            driver,
            fleet,
            now: Time::ZERO,
            frozen: false,
        }
    }

    /// Nothing is answered for so many steps, at the end of which the load is over; answered again, the run ends.
    fn freeze_and_drain(mut self, steps: u32) -> Tally {
        self.frozen = true;
        self.steps(steps);
        self.stage(Order::Drain, 1);
        self.frozen = false;
        self.settle(1)
    }

    fn step(&mut self) {
        self.now = self.now + STEP;
        self.net.step();
        if !self.frozen {
            self.serve();
        }
        self.fleet.turn(&mut self.driver, self.now);
        self.driver.wait(0, None).unwrap();
    }

    fn steps(&mut self, count: u32) {
        for _ in 0..count {
            self.step();
        }
    }

    /// The responder's part of a step.
    fn serve(&mut self) {
        while let Some(socket) = self.backlog.accept() {
            self.ends.push((socket, Some(Peer::new(self.fault, self.met)), Vec::new()));
            self.met += 1;
        }
        for (socket, peer, pending) in &mut self.ends {
            let mut chunk = Vec::new();
            socket.read(&mut chunk, usize::MAX);
            if let Some(lively) = peer
                && !chunk.is_empty()
                && !lively.receive(&mut chunk, &self.house, pending)
            {
                *peer = None;
            }
            let taken = socket.write(pending);
            pending.drain(..taken);
        }
        let ended = |socket: &Socket| !matches!(socket.state(), driver::sim::State::Open);
        self.ends.retain(|(socket, peer, pending)| {
            !(ended(socket) || peer.is_none() && pending.is_empty() && socket.unsent() == 0)
        });
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

    fn leg(&self, cycles_max: u64, resume: bool) -> Order {
        let start = self.now + 5 * STEP;
        let (from, to) = (start + 100 * STEP, start + 1500 * STEP);
        Order::Run(Leg { start, from, to, cycles_max, resume })
    }

    /// Drains and closes, and looks at what is left.
    fn settle(mut self, seed: u64) -> Tally {
        assert!(
            self.stage(Order::Drain, STEPS_MAX),
            "seed {seed}: the drain ends: {:?}",
            self.fleet.counts()
        );
        assert!(self.stage(Order::Inquire, STEPS_MAX), "seed {seed}: nothing stays open");
        assert!(
            self.stage(Order::Close, STEPS_MAX),
            "seed {seed}: the close ends: {:?}",
            self.fleet.counts()
        );
        let audit = self.net.audit(self.driver.worker());
        assert_eq!((audit.sockets, audit.sending, audit.chunks_out), (0, 0, 0), "seed {seed}");
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
    let count = std::env::var("SIM_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(40);
    0..count
}

#[test]
fn delays_lose_no_link_and_no_message() {
    let interval = Duration::from_millis(50);
    for seed in seeds() {
        for load in [Load::Idle, Load::Planned { interval }, Load::Window { packets: 3 }] {
            let mut world = World::new(seed, load);
            world.net.set_faults(delays(seed));
            assert!(world.stage(Order::Ramp, STEPS_MAX), "seed {seed}: the ramp ends");
            let leg = world.leg(0, false);
            assert!(!world.stage(leg, 1600), "seed {seed}: a leg has no end of its own");
            let tally = world.settle(seed);
            let counts = tally.counts;
            assert_eq!((counts.welcomed, counts.failed, counts.lost), (LINKS.into(), 0, 0), "seed {seed}");
            assert_eq!((counts.sent, counts.unanswered), (counts.received, 0), "seed {seed} {load:?}");
            let wrong =
                [counts.duplicated, counts.misordered, counts.corrupted, counts.refused, counts.unknown];
            assert_eq!(wrong, [0; 5], "seed {seed} {load:?}");
            // A pong that is delayed past the next ping counts as unanswered, but each has one outcome.
            assert!(counts.pongs > 0, "seed {seed} {load:?}: {counts:?}");
            assert_eq!(counts.pings, counts.pongs + counts.pings_unanswered, "seed {seed} {load:?}");
            match load {
                Load::Planned { .. } => {
                    assert_eq!((tally.legs[0].planned, counts.missed), (6 * 28 * 2, 0), "seed {seed}");
                    assert_eq!(counts.since(&tally.warmup).sent, tally.legs[0].planned, "seed {seed}");
                    assert_eq!(tally.warmup.sent, 6 * 2 * 2, "seed {seed}: 100 ms");
                }
                Load::Window { .. } => {
                    assert!(tally.warmup.sent > 0, "seed {seed}");
                    // What the last answers within the measured part allowed may have left just after it.
                    let after = counts.since(&tally.warmup).received - tally.legs[0].latency.len();
                    assert!(after <= 6 * 3 * 2, "seed {seed}: {after}");
                }
                _ => assert_eq!(counts.sent, 0),
            }
        }
    }
}

#[test]
fn each_leg_has_a_plan_of_its_own_from_its_beginning() {
    let mut world = World::new(3, Load::Planned { interval: Duration::from_millis(50) });
    assert!(world.stage(Order::Ramp, STEPS_MAX), "the ramp ends");
    for _ in 0..3 {
        let leg = world.leg(0, false);
        world.stage(leg, 1600);
        assert!(world.stage(Order::Drain, STEPS_MAX), "the drain ends");
    }
    let tally = world.settle(3);
    assert_eq!(tally.legs.len(), 3);
    for leg in &tally.legs {
        assert_eq!((leg.planned, leg.latency.len(), leg.missed), (6 * 28 * 2, 6 * 28 * 2, 0));
        assert!(leg.latency.max() < 1_000_000_000, "counted from the plan of its own leg");
    }
    assert_eq!(tally.counts.sent, 3 * 6 * 30 * 2);
}

#[test]
fn cycles_leave_nothing_behind_and_tickets_open_the_second_leg() {
    for seed in seeds() {
        let mut world = World::new(seed, Load::Cycle { interval: None, tickets: true });
        world.net.set_faults(delays(seed));
        for resume in [false, true] {
            let leg = world.leg(20, resume);
            assert!(world.stage(leg, STEPS_MAX) || !resume, "seed {seed}: {:?}", world.fleet.counts());
            assert!(world.stage(Order::Drain, STEPS_MAX), "seed {seed}: the drain ends");
        }
        let resumed = world.house.resumed.load(std::sync::atomic::Ordering::Relaxed);
        let counts = world.settle(seed).counts;
        assert!(counts.cycles > 0 && counts.failed + counts.lost == 0, "seed {seed}: {counts:?}");
        assert_eq!(
            (counts.sent, counts.received, counts.welcomed),
            (counts.cycles * 2, counts.sent, counts.cycles)
        );
        assert!(resumed > 0 && u64::from(resumed) < counts.cycles, "seed {seed}: {resumed} of {counts:?}");
    }
}

#[test]
fn in_a_storm_every_link_and_message_has_one_outcome_and_the_end_is_clean() {
    let interval = Some(Duration::from_millis(10));
    let loads = [
        Load::Idle,
        Load::Planned { interval: Duration::from_millis(30) },
        Load::Window { packets: 3 },
        Load::Cycle { interval, tickets: false },
    ];
    for seed in seeds() {
        for load in loads {
            let mut world = World::new(seed, load);
            world.net.set_faults(Faults::storm());
            world.stage(Order::Ramp, STEPS_MAX);
            let leg = world.leg(u64::MAX, false);
            world.stage(leg, 1600);
            world.net.faults_off();
            let counts = world.settle(seed).counts;
            let resolved = counts.received + counts.unanswered;
            assert_eq!(counts.sent, resolved, "seed {seed} {load:?}: {counts:?}");
            assert_eq!(counts.pings, counts.pongs + counts.pings_unanswered, "seed {seed} {load:?}");
            if !matches!(load, Load::Cycle { .. }) {
                assert_eq!(counts.welcomed + counts.failed, u64::from(LINKS), "seed {seed} {load:?}");
            }
            assert_eq!(
                (counts.corrupted, counts.duplicated, counts.misordered),
                (0, 0, 0),
                "seed {seed} {load:?}"
            );
        }
    }
}

#[test]
fn a_generator_that_oversleeps_misses_what_was_planned_meanwhile() {
    let mut world = World::new(1, Load::Planned { interval: Duration::from_millis(50) });
    assert!(world.stage(Order::Ramp, STEPS_MAX));
    let leg = world.leg(0, false);
    world.stage(leg, 500);
    assert_eq!(world.fleet.counts().missed, 0, "so far it was on time");
    world.now = world.now + Duration::from_millis(210);
    world.steps(1000);
    let tally = world.settle(1);
    // Four packets of each link were due meanwhile; those of the last 10 ms are not late enough.
    assert!((36..=48).contains(&tally.legs[0].missed), "{} missed", tally.legs[0].missed);
    assert_eq!((tally.counts.missed, tally.counts.sent), (tally.legs[0].missed, tally.counts.received));
}

#[test]
fn turns_that_begin_late_are_counted_in_a_closed_loop_too() {
    for load in [Load::Window { packets: 1 }, Load::Cycle { interval: None, tickets: false }] {
        let mut world = World::new(1, load);
        assert!(matches!(load, Load::Cycle { .. }) || world.stage(Order::Ramp, STEPS_MAX));
        let leg = world.leg(u64::MAX, false);
        world.stage(leg, 55);
        // Partly, and wholly, within the measured part, which begins 105 ms after the leg was ordered.
        world.now = world.now + Duration::from_millis(100);
        world.steps(500);
        world.now = world.now + Duration::from_millis(210);
        world.steps(100);
        let tally = world.settle(1);
        let stalled = tally.legs[0].stalled.as_millis();
        assert_eq!(tally.legs[0].late_turns, 2, "{load:?}");
        // 51 ms and 211 ms, less what the turns before them left to wait for.
        assert!((220..=262).contains(&stalled), "{load:?}: {stalled} ms");
    }
}

#[test]
fn what_a_frozen_gateway_holds_back_is_unsent_and_has_waited_until_the_end() {
    let mut world = World::new(1, Load::Planned { interval: Duration::from_millis(50) });
    assert!(world.stage(Order::Ramp, STEPS_MAX));
    let leg = world.leg(0, false);
    world.stage(leg, 805);
    let tally = world.freeze_and_drain(700);
    let leg = &tally.legs[0];
    // In the last 700 ms each link had 14 packets planned; what fits the socket's buffers has left.
    assert_eq!((leg.planned, leg.missed, tally.counts.unsent), (6 * 28 * 2, 0, leg.unsent));
    assert!((6 * 10 * 2..=6 * 14 * 2).contains(&leg.unsent), "{} unsent", leg.unsent);
    assert_eq!(leg.latency.len(), leg.planned, "each has its latency");
    let waited = leg.latency.value_at_quantile(0.75);
    assert!((200_000_000..700_000_000).contains(&waited), "a quarter waited {waited} ns and more");
}

#[test]
fn who_let_a_message_wait_for_the_greater_part_has_let_it_wait() {
    // How long the gateway is frozen before and after the generator stands still, which it does for so long.
    for (before, own, after, limited) in [(600, 50, 100, false), (30, 210, 0, true), (100, 50, 600, false)] {
        let mut world = World::new(1, Load::Planned { interval: Duration::from_millis(50) });
        assert!(world.stage(Order::Ramp, STEPS_MAX));
        let leg = world.leg(0, false);
        world.stage(leg, 305);
        world.frozen = true;
        world.steps(before);
        world.now = world.now + own * STEP;
        world.steps(after);
        world.frozen = false;
        world.steps(400);
        let tally = world.settle(1);
        let leg = &tally.legs[0];
        assert_eq!((leg.missed > leg.planned / 100, tally.counts.unanswered), (limited, 0), "{before} {own}");
        let longest = leg.latency.max() / 1_000_000;
        let frozen = u64::from(before + own + after);
        assert!((frozen - 60..frozen + 60).contains(&longest), "{longest} ms, {frozen} ms frozen");
    }
}

#[test]
fn what_a_killed_gateway_never_took_is_not_missed_whenever_the_generator_stood_still_since() {
    for own in [50, 0] {
        let mut world = World::new(1, Load::Planned { interval: Duration::from_millis(50) });
        assert!(world.stage(Order::Ramp, STEPS_MAX));
        let leg = world.leg(0, false);
        world.stage(leg, 505);
        world.ends.iter().for_each(|(socket, ..)| socket.reset());
        world.steps(300);
        world.now = world.now + own * STEP;
        world.steps(400);
        let tally = world.settle(1);
        let leg = &tally.legs[0];
        // Packets that were planned for 700 ms and more, of two messages each.
        assert_eq!((tally.counts.lost, leg.missed), (LINKS.into(), 0), "{own} ms");
        assert!(leg.unsent > 6 * 13 * 2, "{own} ms: {} unsent", leg.unsent);
    }
}

#[test]
fn a_generator_that_stands_still_until_the_load_is_over_misses_what_it_held_back() {
    let mut world = World::new(1, Load::Planned { interval: Duration::from_millis(50) });
    assert!(world.stage(Order::Ramp, STEPS_MAX));
    let leg = world.leg(0, false);
    world.stage(leg, 605);
    world.frozen = true;
    world.steps(60);
    world.frozen = false;
    world.now = world.now + 300 * STEP;
    let tally = world.settle(1);
    assert!(tally.legs[0].missed >= 6 * 6 * 2, "{} missed", tally.legs[0].missed);
}

#[test]
fn cycles_a_frozen_gateway_leaves_no_place_for_are_unsent() {
    let interval = Some(Duration::from_millis(10));
    let mut world = World::new(1, Load::Cycle { interval, tickets: false });
    let leg = world.leg(u64::MAX, false);
    world.stage(leg, 1005);
    let tally = world.freeze_and_drain(500);
    let leg = &tally.legs[0];
    assert_eq!((leg.planned, leg.missed, tally.counts.unsent), (140, 0, leg.unsent));
    assert!((38..=50).contains(&leg.unsent), "fifty were planned, and six places were free: {}", leg.unsent);
    // A cycle that was begun carries two messages here.
    assert_eq!(leg.latency.len(), leg.unsent + 2 * (leg.planned - leg.unsent), "each has its latency");
}

#[test]
fn a_leg_that_is_ended_early_planned_nothing_for_the_time_after() {
    let mut world = World::new(1, Load::Planned { interval: Duration::from_millis(50) });
    assert!(world.stage(Order::Ramp, STEPS_MAX));
    let leg = world.leg(0, false);
    world.stage(leg, 605);
    let tally = world.settle(1);
    // The leg began after 5 ms and its measured part 100 ms later.
    assert_eq!((tally.legs[0].planned, tally.counts.missed, tally.counts.unsent), (6 * 10 * 2, 0, 0));
}

#[test]
fn the_time_to_open_a_link_counts_from_the_connect() {
    let mut world = World::new(1, Load::Idle);
    let place = Endpoint::Tcp("127.0.0.1:7000".parse().unwrap());
    world.net.cut(&place);
    world.frozen = true;
    world.fleet.order(Order::Ramp, world.now);
    world.steps(150);
    world.net.mend(&place);
    world.steps(4840);
    assert_eq!(world.fleet.counts().failed, 0, "they have 5 s");
    world.steps(60);
    // As many as may be opened at once; the rest begins only now.
    assert_eq!(world.fleet.counts().failed, 3);
    world.frozen = false;
    assert!(world.stage(Order::Ramp, STEPS_MAX));
}

#[test]
fn cycles_of_the_warm_up_are_not_counted_against_the_number_asked_for() {
    for interval in [None, Some(Duration::from_millis(10))] {
        let mut world = World::new(1, Load::Cycle { interval, tickets: false });
        let leg = world.leg(20, false);
        assert!(world.stage(leg, 1400), "it ends with the last cycle");
        let tally = world.settle(1);
        let leg = &tally.legs[0];
        assert_eq!((leg.connects, leg.latency.len()), (20, 40), "two messages each");
        assert!(tally.counts.cycles == leg.cycles && leg.cycles > 20, "{interval:?}: {}", leg.cycles);
    }
}

#[test]
fn an_open_loop_of_so_many_cycles_plans_no_more() {
    let interval = Some(Duration::from_millis(10));
    let mut world = World::new(1, Load::Cycle { interval, tickets: false });
    let leg = world.leg(20, false);
    assert!(world.stage(leg, 1400), "it ends with the last cycle");
    let tally = world.settle(1);
    assert_eq!((tally.legs[0].connects, tally.counts.missed, tally.counts.unsent), (20, 0, 0));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = World::new(seed, Load::Window { packets: 2 });
        world.net.set_faults(Faults::storm());
        world.stage(Order::Ramp, 2000);
        let leg = world.leg(0, false);
        world.stage(leg, 500);
        (world.net.fingerprint(), *world.fleet.counts())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}
