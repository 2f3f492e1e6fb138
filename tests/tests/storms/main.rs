//! Whole gateways in a storm: workers, clients and backends on a seeded network that shortens, delays, reorders,
//! starves and resets. Whatever happens, answers reach whom they belong to, every request has one outcome, and when
//! the storm is over nothing is left behind.
//!
//! `SIM_SEEDS=n` runs more of them (5,000 take a few minutes), `SIM_SEED=x` one of them.

mod backend;
mod balanced;
mod balancer;
mod banned;
mod behind;
mod blunder;
mod buckets;
mod carried;
mod churn;
mod client;
mod credit;
mod devices;
mod flood;
mod group;
mod held;
mod idle;
mod innocent;
mod kept;
mod late;
mod leaving;
mod ledger;
mod logins;
mod once;
mod order;
mod overload;
mod package;
mod places;
mod planted;
mod policy;
mod presence;
mod proof;
mod rates;
mod reconnect;
mod repeats;
mod resume;
mod revoked;
mod sanctioned;
mod settings;
mod shape;
mod share;
mod sleep;
mod slow;
mod stall;
mod stranger;
mod talker;
mod unpinned;
mod wallet;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use driver::Injected;
use planted::Bug;
use protocol::{CloseCode, Refusal, Undelivered};
use settings::PARKED_MAX;
use shape::Scarce;
use wallet::Use;
use world::World;

/// Seeds of a run that names none.
const SEEDS: u64 = 500;
/// Of so many, all that can happen has happened to somebody.
const ENOUGH: usize = 200;

#[test]
fn after_a_storm_everything_is_resolved_and_nothing_is_left() {
    let seeds: Vec<u64> = match (number("SIM_SEED"), number("SIM_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, count) => (1..=count.unwrap_or(SEEDS)).collect(),
    };
    let are_few = seeds.len() < ENOUGH;
    let totals = storms_of(seeds);
    if are_few {
        return; // they need not have seen everything
    }
    // A storm that nothing survives, or that harms nothing, proves nothing.
    assert!(totals.answered > 0 && totals.unknown > 0 && totals.refused > 0 && totals.lost > 0, "{totals:?}");
    assert!(totals.pushed > 0 && totals.blocked > 0 && totals.drained > 0 && totals.mad > 0, "{totals:?}");
    assert!(totals.went_on > 100 && totals.began_anew > 10, "sessions go on, and some are over: {totals:?}");
    assert!(totals.resumed_at_once > 1, "each was told of alone: {totals:?}");
    assert!(totals.kept_of_group > 100, "groups get what must be acknowledged: {totals:?}");
    assert!(totals.kept > 100 && totals.again > 10, "what must be acknowledged is: {totals:?}");
    let fates = [
        Undelivered::NoLink,
        Undelivered::NoUser,
        Undelivered::QueueFull,
        Undelivered::LinkClosed,
        Undelivered::Busy,
        Undelivered::Expired,
        Undelivered::WindowOver,
    ];
    assert!(fates.iter().all(|fate| totals.fates.contains(fate)), "{totals:?}");
    assert!(totals.parked >= PARKED_MAX, "nobody's queue for credit was full: {totals:?}");
    let refusals = [Refusal::Busy, Refusal::NoBackend, Refusal::Draining, Refusal::Rate, Refusal::Behind];
    assert!(refusals.iter().all(|refusal| totals.refusals.contains(refusal)), "{totals:?}");
    let reasons = [
        Undelivered::NoLink,
        Undelivered::NoUser,
        Undelivered::QueueFull,
        Undelivered::Busy,
        Undelivered::Malformed,
        Undelivered::Unsupported,
    ];
    assert!(reasons.iter().all(|reason| totals.undelivered.contains(reason)), "{totals:?}");
    let slow = Scarce::ALL.map(|scarce| totals.slow.get(&Some(scarce)).copied().unwrap_or_default());
    assert!(slow.iter().all(|&count| count > 0), "{totals:?}");
    for how in Use::ALL {
        let told = (how, CloseCode::AuthFailed);
        let seen =
            if how.is_lie() { totals.exposed.contains(&told) } else { totals.turned_down.contains(&how) };
        let seen = if how.is_lie() || how.is_bad() { seen } else { totals.resumed.contains(&how) };
        assert!(seen, "no link with a ticket used like this: {how:?}, {totals:?}");
    }
    assert!(totals.replayed > 0 && totals.told > 0 && totals.renewed > 0, "{totals:?}");
    assert!(totals.forwarded > 0 && totals.checked > 0, "{totals:?}");
    for (name, count) in FAULTS {
        assert!(totals.injected.iter().any(|injected| count(injected) > 0), "no driver made a fault: {name}");
    }
    let closes = [
        CloseCode::AuthFailed,
        CloseCode::TryLater,
        CloseCode::Kicked,
        CloseCode::Replaced,
        CloseCode::SlowReader,
        CloseCode::TokenExpired,
    ];
    assert!(closes.iter().all(|code| totals.closes.contains(code)), "{totals:?}");
}

/// Runs a storm of each seed, on all processors, until all are over or one fails: for others, which may never end, nobody waits then.
fn storms_of(seeds: Vec<u64>) -> Totals {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(seeds.len());
    let (seeds, next) = (Arc::new(seeds), Arc::new(AtomicUsize::new(0)));
    let (say, said) = mpsc::channel();
    for _ in 0..threads {
        let (seeds, next, say) = (Arc::clone(&seeds), Arc::clone(&next), say.clone());
        thread::spawn(move || {
            while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                let seen = catch_unwind(AssertUnwindSafe(|| World::new(seed, None).run()));
                // Nobody listens any more when another one has failed.
                if say.send((seed, seen)).is_err() {
                    break;
                }
            }
        });
    }
    drop(say);
    let mut totals = Totals::default();
    for (seed, seen) in said {
        match seen {
            Ok(seen) => totals.add(&seen),
            Err(panic) => {
                eprintln!("SIM_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    totals
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [3, 17] {
        let prints = [World::new(seed, None), World::new(seed, None)].map(|mut world| {
            world.run();
            world.net.fingerprint()
        });
        assert_eq!(prints[0], prints[1], "seed {seed}");
    }
}

#[test]
fn planted_bugs_are_caught() {
    World::new(1, None).run(); // what everything fails, shows nothing
    std::panic::set_hook(Box::new(|_| {}));
    let missed: Vec<Bug> = Bug::ALL
        .into_iter()
        .filter(|&bug| !(1..=120).any(|seed| catch_unwind(|| World::new(seed, Some(bug)).run()).is_err()))
        .collect();
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// What a driver may do wrong, by name.
type Count = fn(&Injected) -> u64;
const FAULTS: [(&str, Count); 13] = [
    ("full", |injected| injected.full),
    ("accept_failed", |injected| injected.accept_failed),
    ("refused", |injected| injected.refused),
    ("short_send", |injected| injected.short_send),
    ("again", |injected| injected.again),
    ("cancelled", |injected| injected.cancelled),
    ("broken", |injected| injected.broken),
    ("starved", |injected| injected.starved),
    ("lapsed", |injected| injected.lapsed),
    ("single_shot", |injected| injected.single_shot),
    ("cut_short", |injected| injected.cut_short),
    ("delayed", |injected| injected.delayed),
    ("stalled", |injected| injected.stalled),
];

/// What the clients of a run have seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    /// Requests whose link broke first.
    pub(crate) lost: u64,
    pub(crate) pushed: u64,
    /// Times a backend had more to say than the gateway gave it credit for.
    pub(crate) blocked: u64,
    /// Reports of pushes that were not delivered.
    pub(crate) reports: u64,
    /// Sessions that went on with another link, and links that got another session than they asked for.
    pub(crate) went_on: u64,
    pub(crate) began_anew: u64,
    /// The most links of which a backend was told at once that they took others' places.
    pub(crate) resumed_at_once: usize,
    /// Why pushes that must be acknowledged were not, how many were, and how often one came again.
    pub(crate) fates: BTreeSet<Undelivered>,
    pub(crate) kept: u64,
    /// How many of those were pushes to several users.
    pub(crate) kept_of_group: u64,
    pub(crate) again: u64,
    /// Tokens that were renewed on a live link.
    pub(crate) renewed: u64,
    /// Streams on which a backend has written nonsense.
    pub(crate) mad: u64,
    /// With which codes backends were told of ends.
    pub(crate) ends: BTreeSet<u32>,
    /// Streams that their backends announced to end, and ended with nothing left to answer.
    pub(crate) drained: u64,
    /// The most requests of one worker that waited for credit.
    pub(crate) parked: usize,
    /// Why requests were refused.
    pub(crate) refusals: BTreeSet<Refusal>,
    /// Why pushes were not delivered.
    pub(crate) undelivered: BTreeSet<Undelivered>,
    /// Links closed for reading too slowly, by what was scarce.
    pub(crate) slow: BTreeMap<Option<Scarce>, u64>,
    /// How tickets were used that opened a link.
    pub(crate) resumed: BTreeSet<Use>,
    /// Bad tickets that opened nothing.
    pub(crate) turned_down: BTreeSet<Use>,
    /// Hellos whose clients were asked to come back later.
    pub(crate) busy: u64,
    /// What those were told who used a ticket as somebody else.
    pub(crate) exposed: BTreeSet<(Use, CloseCode)>,
    /// Clients of later versions that were told what is spoken here.
    pub(crate) told: u64,
    /// Links of which a balancer said whose they are, and connections that it made for itself.
    pub(crate) forwarded: u64,
    pub(crate) checked: u64,
    /// Recorded hellos that were sent again.
    pub(crate) replayed: u64,
    /// Faults of the workers' drivers.
    pub(crate) injected: Vec<Injected>,
    /// Why links were closed.
    pub(crate) closes: BTreeSet<CloseCode>,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.went_on += other.went_on;
        self.fates.extend(&other.fates);
        self.again += other.again;
        self.kept += other.kept;
        self.kept_of_group += other.kept_of_group;
        self.began_anew += other.began_anew;
        self.resumed_at_once = self.resumed_at_once.max(other.resumed_at_once);
        self.lost += other.lost;
        self.pushed += other.pushed;
        self.blocked += other.blocked;
        self.drained += other.drained;
        self.reports += other.reports;
        self.renewed += other.renewed;
        self.mad += other.mad;
        self.ends.extend(&other.ends);
        self.parked = self.parked.max(other.parked);
        self.refusals.extend(&other.refusals);
        self.undelivered.extend(&other.undelivered);
        self.closes.extend(&other.closes);
        self.resumed.extend(&other.resumed);
        self.turned_down.extend(&other.turned_down);
        self.busy += other.busy;
        self.exposed.extend(&other.exposed);
        self.replayed += other.replayed;
        self.told += other.told;
        self.forwarded += other.forwarded;
        self.checked += other.checked;
        self.injected.extend(&other.injected);
        for (&scarce, count) in &other.slow {
            *self.slow.entry(scarce).or_default() += count;
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
