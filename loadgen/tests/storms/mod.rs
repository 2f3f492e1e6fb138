//! Storms in the simulated network: all links are cut, and come back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use driver::Endpoint;
use driver::sim::Faults;
use loadgen::fleet::{Cut, Load, Order, Storm};
use loadgen::pushes::Outcomes;
use loadgen::tally::{PushTally, StormTally, Tally};

use crate::responder::{Fault, LATER_MS};
use crate::{LINKS, STEPS_MAX, World, delays, seeds};

/// All links.
const ALL: u64 = LINKS as u64;
/// Each link has a packet of two messages under way most of the time.
const LOAD: Load = Load::Planned { interval: Duration::from_millis(50) };

impl World {
    /// Links are up, and carry traffic.
    fn busy(seed: u64) -> Self {
        let mut world = Self::new(seed, LOAD);
        assert!(world.stage(Order::Ramp, STEPS_MAX), "seed {seed}: the ramp ends");
        world.traffic();
        world
    }

    fn traffic(&mut self) {
        let leg = self.leg(0, false);
        self.stage(leg, 400);
    }

    /// Cuts all links; whether everybody is back, or will not be.
    fn storm(&mut self, cut: Cut, full: bool, most: u32) -> bool {
        assert!(self.stage(Order::Brace, 1), "nothing is to be waited for");
        if cut == Cut::Await {
            self.house.sessions.forget();
            self.ends.iter().for_each(|(socket, ..)| socket.reset());
        }
        self.stage(Order::Storm(Storm { cut, at: self.now, full, opening_max: 3 }), most)
    }

    fn tickets_used(&self) -> u64 {
        self.house.resumed.load(Ordering::Relaxed).into()
    }
}

/// What became of links that all came back; each message had an outcome.
fn all_back(tally: &Tally, seed: u64) -> &StormTally {
    let counts = &tally.counts;
    assert_eq!((counts.cut, counts.failed, counts.lost), (ALL, 0, 0), "seed {seed}: {:?}", tally.reasons);
    assert_eq!((counts.welcomed, counts.up()), (2 * ALL, ALL), "seed {seed}");
    assert_eq!(counts.sent, counts.received + counts.severed, "seed {seed}: {counts:?}");
    let wrong = [counts.duplicated, counts.misordered, counts.corrupted, counts.refused, counts.unanswered];
    assert_eq!(wrong, [0; 5], "seed {seed}");
    let storm = tally.storm.as_ref().expect("there was one");
    assert_eq!(storm.recovery.len(), ALL, "seed {seed}");
    storm
}

#[test]
fn everybody_comes_back_with_ticket_and_session_and_goes_on() {
    let mut severed = 0;
    for seed in seeds() {
        for cut in [Cut::Drop, Cut::Close] {
            let mut world = World::new(seed, LOAD);
            world.net.set_faults(delays(seed));
            assert!(world.stage(Order::Ramp, STEPS_MAX), "seed {seed}: the ramp ends");
            world.traffic();
            assert!(world.storm(cut, false, STEPS_MAX), "seed {seed}: {:?}", world.fleet.counts());
            let before = world.fleet.counts().received;
            world.traffic();
            let tickets = world.tickets_used();
            let tally = world.settle(seed);
            let storm = all_back(&tally, seed);
            assert_eq!((storm.resumed, storm.full, storm.attempts), (ALL, 0, ALL), "seed {seed} {cut:?}");
            assert_eq!((tickets, storm.failures.len()), (ALL, 0), "seed {seed} {cut:?}");
            assert!(tally.counts.received > before, "seed {seed} {cut:?}: they carry traffic again");
            severed += tally.counts.severed;
        }
    }
    assert!(severed > 0, "requests were under way");
}

#[test]
fn each_push_comes_once_whatever_becomes_of_the_links() {
    let mut in_doubt = 0;
    for seed in seeds() {
        for cut in [Cut::Drop, Cut::Close] {
            let mut world = World::with_pushes(seed, LOAD, 500);
            world.net.set_faults(delays(seed));
            assert!(world.stage(Order::Ramp, STEPS_MAX), "seed {seed}: the ramp ends");
            world.traffic();
            assert!(world.storm(cut, false, STEPS_MAX), "seed {seed}: {:?}", world.fleet.counts());
            world.traffic();
            let tally = world.settle(seed);
            assert_eq!(all_back(&tally, seed).resumed, ALL, "seed {seed} {cut:?}");
            let PushTally { asked, received: [_, received], repeated, unanswered, .. } = tally.pushes[0];
            let received = [0, received];
            let well = PushTally { asked, received, repeated, unanswered, ..PushTally::default() };
            assert_eq!(tally.pushes[0], well, "seed {seed} {cut:?}");
            let told = Outcomes { sent: received, delivered: received[1], ..Outcomes::default() };
            assert_eq!(tally.outcomes[0], Some(told), "seed {seed} {cut:?}: the service knows of no other");
            assert!(received[1] > 0, "seed {seed} {cut:?}");
            in_doubt += unanswered;
        }
    }
    assert!(in_doubt > 0, "some were under way, question and all, when their link was cut");
}

#[test]
fn pushes_that_a_session_has_lost_are_found_where_nobody_had_an_answer() {
    let mut lost = 0;
    for seed in seeds() {
        let mut world = World::with_pushes(seed, LOAD, 1000);
        world.net.set_faults(delays(seed));
        assert!(world.stage(Order::Ramp, STEPS_MAX), "seed {seed}: the ramp ends");
        world.traffic();
        world.house.sessions.loses.store(true, Ordering::Relaxed);
        assert!(world.storm(Cut::Drop, false, STEPS_MAX), "seed {seed}");
        world.traffic();
        let tally = world.settle(seed);
        let (read, told) = (tally.pushes[0], tally.outcomes[0].as_ref().unwrap());
        assert_eq!(
            (read.lost, read.duplicated),
            (0, 0),
            "seed {seed}: what had an answer had come before it"
        );
        assert_eq!(told.sent[1] - read.received[1], told.undelivered.values().sum::<u64>(), "seed {seed}");
        lost += told.sent[1] - read.received[1];
    }
    assert!(lost > 0);
}

#[test]
fn with_a_session_goes_what_it_was_owed() {
    let mut world = World::with_pushes(1, LOAD, 1000);
    world.fault = Fault::LosePushes;
    assert!(world.stage(Order::Ramp, STEPS_MAX));
    world.traffic();
    world.fault = Fault::Nothing;
    assert!(world.storm(Cut::Await, false, STEPS_MAX));
    let tally = world.settle(1);
    all_back(&tally, 1);
    let PushTally { asked, received, lost, .. } = tally.pushes[0];
    assert_eq!(received, [0, 0]);
    assert_eq!(lost + tally.counts.severed, asked, "and nothing is waited for in vain");
    assert!(lost > 0);
}

#[test]
fn for_comparison_nothing_is_kept() {
    let mut world = World::busy(1);
    assert!(world.storm(Cut::Drop, true, STEPS_MAX));
    world.traffic();
    assert_eq!(world.tickets_used(), 0);
    let tally = world.settle(1);
    let storm = all_back(&tally, 1);
    assert_eq!((storm.resumed, storm.full), (0, ALL));
}

#[test]
fn after_a_gateway_that_was_killed_tickets_are_good_and_sessions_are_gone() {
    let mut world = World::busy(1);
    assert!(world.storm(Cut::Await, false, STEPS_MAX));
    world.traffic();
    assert_eq!(world.tickets_used(), ALL);
    let tally = world.settle(1);
    let storm = all_back(&tally, 1);
    assert_eq!((storm.resumed, storm.full), (0, 0));
}

#[test]
fn who_is_told_to_come_later_does_and_no_earlier() {
    let mut world = World::busy(1);
    world.house.turns_away.store(4, Ordering::Relaxed);
    assert!(world.storm(Cut::Drop, false, STEPS_MAX));
    let tally = world.settle(1);
    let storm = all_back(&tally, 1);
    assert_eq!((storm.attempts, storm.resumed), (ALL + 4, ALL));
    assert_eq!(storm.failures["closed by the gateway: try_later"], 4);
    let slowest = u128::from(storm.recovery.max() / 1_000_000);
    assert!(slowest >= u128::from(LATER_MS), "{slowest} ms");
}

#[test]
fn a_ticket_that_is_worth_nothing_is_followed_by_a_full_handshake_with_the_session() {
    let mut world = World::new(1, LOAD);
    world.house.spoils.store(true, Ordering::Relaxed);
    assert!(world.stage(Order::Ramp, STEPS_MAX));
    assert!(world.storm(Cut::Drop, false, STEPS_MAX));
    let tally = world.settle(1);
    let storm = all_back(&tally, 1);
    assert_eq!((storm.attempts, storm.full, storm.resumed), (2 * ALL, ALL, ALL), "{:?}", storm.failures);
}

#[test]
fn whatever_breaks_meanwhile_everybody_comes_back_once_it_is_over() {
    for seed in seeds() {
        let mut world = World::busy(seed);
        world.net.set_faults(Faults::storm());
        world.storm(Cut::Drop, false, 3000);
        world.net.faults_off();
        for _ in 0..STEPS_MAX {
            if world.fleet.is_done() {
                break;
            }
            world.step();
        }
        assert!(world.fleet.is_done(), "seed {seed}: {:?}", world.fleet);
        let tally = world.settle(seed);
        let (counts, storm) = (tally.counts, tally.storm.unwrap());
        // One that was back may have broken again, which is no part of the storm any more.
        assert_eq!((storm.recovery.len(), counts.failed), (ALL, 0), "seed {seed}: {counts:?}");
        assert_eq!(counts.up() + counts.lost, ALL, "seed {seed}: {counts:?}");
        assert!(storm.attempts >= storm.recovery.len(), "seed {seed}");
        assert_eq!(counts.sent, counts.received + counts.severed + counts.unanswered, "seed {seed}");
    }
}

#[test]
fn who_is_not_back_when_the_storm_is_over_has_failed() {
    let mut world = World::busy(1);
    let place = Endpoint::Tcp("127.0.0.1:7000".parse().unwrap());
    world.net.cut(&place);
    assert!(!world.storm(Cut::Drop, false, 2000), "nobody is there");
    world.net.mend(&place);
    let counts = *world.fleet.counts();
    assert_eq!((counts.up(), counts.failed), (0, 0), "they would still come");
    let tally = world.settle(1);
    let counts = tally.counts;
    assert_eq!((counts.cut, counts.failed + counts.up()), (ALL, ALL), "{counts:?}");
    assert!(tally.reasons["had not come back when the storm was over"] >= 3, "{:?}", tally.reasons);
}

#[test]
fn the_same_seed_gives_the_same_storm() {
    let run = |seed| {
        let mut world = World::busy(seed);
        world.net.set_faults(Faults::storm());
        world.storm(Cut::Close, false, 2000);
        (world.net.fingerprint(), *world.fleet.counts())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}
