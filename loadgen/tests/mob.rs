//! A mob in a simulated network: what each kind of abuser says, what it counts, and that it leaves without a trace, under every
//! fault a kernel may have.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod responder;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use driver::sim::{Backlog, Buffers, Config, Faults, Net, Rng, SimDriver, Socket, State};
use driver::{Driver, Endpoint, Peer as Address, PoolSize};
use loadgen::mob::{Conduct, Count, Entropy, JUNK_LEN_MAX, Mob, Order, Settings};
use loadgen::opening::Opening;
use loadgen::plan::mix;
use loadgen::sources::attacker;
use protocol::Time;
use protocol::noise::{StaticKey, Suite};
use responder::{Fault, House, Peer, TOKEN};

const LINKS: u32 = 6;
const STEP: Duration = Duration::from_millis(1);
const AT_ONCE: Duration = Duration::from_millis(100);
const INTERVAL: Duration = Duration::from_millis(10);
/// Nobody needs longer to leave, whatever the faults.
const STEPS_MAX: u32 = 30_000;

/// What the gateway does with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// Ends it before it has read anything.
    Refuse,
    /// Reads, says nothing, and ends it after so many steps.
    Bear(u32),
    /// Is a gateway.
    Serve,
}

/// The gateway's end of a link.
struct End {
    socket: Socket,
    peer: Option<Peer>,
    /// Everything it has read.
    heard: Vec<u8>,
    pending: Vec<u8>,
    age: u32,
}

struct World {
    net: Net,
    backlog: Backlog,
    house: House,
    policy: Policy,
    ends: Vec<End>,
    /// What links said that have ended.
    heard: Vec<Vec<u8>>,
    sources: BTreeSet<IpAddr>,
    met: u64,
    driver: SimDriver,
    mob: Mob,
    now: Time,
}

const ALL: [Conduct; 9] = [
    Conduct::Silent,
    Conduct::Drip { interval: Duration::from_millis(50) },
    Conduct::Replay { valid: true, patience: None },
    Conduct::Replay { valid: false, patience: None },
    Conduct::Replay { valid: true, patience: Some(Duration::from_millis(40)) },
    Conduct::Junk,
    Conduct::Churn,
    Conduct::Frames { per_second: 2000 },
    Conduct::Pings { per_second: 2000 },
];

impl World {
    fn new(seed: u64, conduct: Conduct, policy: Policy) -> Self {
        let net = Net::new(seed);
        let address = "127.0.0.1:7000".parse().unwrap();
        let buffers = Buffers { send: 4096, receive: 4096 };
        let backlog = net.listen(&Endpoint::Tcp(address), buffers);
        let pool = PoolSize { count: 8, size: 256 };
        let config = Config { slots: LINKS + 2, links: pool, streams: pool, listeners: vec![], buffers };
        let driver = SimDriver::new(&net, config);
        let house = House::new();
        let settings = settings(&house, seed, conduct);
        let mob = Mob::new(settings, entropy(seed)).unwrap();
        Self {
            net,
            backlog,
            house,
            policy,
            ends: Vec::new(),
            heard: Vec::new(),
            sources: BTreeSet::new(),
            met: 0,
            driver,
            mob,
            now: Time::ZERO,
        }
    }

    fn step(&mut self) {
        self.now = self.now + STEP;
        self.net.step();
        self.serve();
        self.mob.turn(&mut self.driver, self.now);
        self.driver.wait(0, None).unwrap();
    }

    /// The gateway's part of a step.
    fn serve(&mut self) {
        while let Some(socket) = self.backlog.accept() {
            let Some(Address::Tcp(from)) = socket.peer() else { panic!("no address") };
            self.sources.insert(from.ip());
            if self.policy == Policy::Refuse {
                continue;
            }
            let peer = (self.policy == Policy::Serve).then(|| Peer::new(Fault::Nothing, self.met));
            self.met += 1;
            self.ends.push(End { socket, peer, heard: Vec::new(), pending: Vec::new(), age: 0 });
        }
        let (policy, house, heard) = (self.policy, &self.house, &mut self.heard);
        self.ends.retain_mut(|end| {
            let stays = end.step(house) && !matches!(policy, Policy::Bear(most) if end.age > most);
            if !stays {
                heard.push(std::mem::take(&mut end.heard));
            }
            stays
        });
    }

    /// Attacks for so many steps, waits until everybody has left, and looks at what is left.
    fn attack(&mut self, steps: u32) {
        let from = self.now;
        self.mob.order(Order::Attack { from, to: from + STEP * steps });
        for _ in 0..steps {
            assert!(!self.mob.is_done(self.now), "it is under way");
            self.step();
        }
        for _ in 0..STEPS_MAX {
            if self.mob.is_done(self.now) {
                let audit = self.net.audit(self.driver.worker());
                assert_eq!((audit.sockets, audit.dialing, audit.chunks_out), (0, 0, 0));
                return;
            }
            self.step();
        }
        panic!("they do not leave: {:?}", self.mob);
    }

    /// All that was said, by link.
    fn finish(self) -> (Count, Vec<Vec<u8>>) {
        let said = self.heard.into_iter().chain(self.ends.into_iter().map(|end| end.heard)).collect();
        (self.mob.finish(self.now), said)
    }
}

impl End {
    /// Reads and answers; whether the link is still there.
    fn step(&mut self, house: &House) -> bool {
        self.age += 1;
        let mut chunk = Vec::new();
        self.socket.read(&mut chunk, usize::MAX);
        self.heard.extend_from_slice(&chunk);
        if let Some(peer) = &mut self.peer
            && !chunk.is_empty()
            && !peer.receive(&mut chunk, house, &mut self.pending)
        {
            return false;
        }
        let taken = self.socket.write(&self.pending);
        self.pending.drain(..taken);
        matches!(self.socket.state(), State::Open)
    }
}

fn settings(house: &House, seed: u64, conduct: Conduct) -> Settings {
    let server = house.acceptor.public();
    Settings {
        opening: Opening::new(server, Suite::NkAesGcm, StaticKey::from_secret([3; 32]), TOKEN.into()),
        destination: "127.0.0.1:7000".parse().unwrap(),
        sources: 20,
        links: LINKS,
        interval: INTERVAL,
        attempts_max: u64::MAX,
        at_once: AT_ONCE,
        opening_deadline: Duration::from_secs(5),
        seed,
        conduct,
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

fn seeds() -> impl Iterator<Item = u64> {
    let count = std::env::var("SIM_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(20);
    0..count
}

/// Each attempt has one outcome, and no bound was passed.
fn assert_sound(count: &Count, steps: u32, context: &str) {
    let outcomes = count.accepted + count.refused + count.unmade + count.unfinished;
    assert_eq!(count.attempted, outcomes, "{context}: {count:?}");
    assert!(count.closed <= count.accepted && count.served <= count.accepted, "{context}: {count:?}");
    assert!(count.welcomed <= count.served, "{context}: {count:?}");
    assert_eq!(count.shortest_life.is_some(), count.closed > 0, "{context}: {count:?}");
    assert!(count.links_max <= LINKS, "{context}: {count:?}");
    let most = 1 + u64::from(steps) * STEP.as_micros() as u64 / INTERVAL.as_micros() as u64;
    assert!((1..=most).contains(&count.attempted), "{context}: at most {most} in time: {count:?}");
}

#[test]
fn in_a_storm_each_attempt_has_one_outcome_and_nobody_is_left() {
    for seed in seeds() {
        for conduct in ALL {
            for policy in [Policy::Refuse, Policy::Bear(150)] {
                let mut world = World::new(seed, conduct, policy);
                world.net.set_faults(Faults::storm());
                world.attack(700);
                world.net.set_faults(Faults::swarm(&mut Rng::new(seed)));
                world.attack(700);
                let (count, _) = world.finish();
                assert_sound(&count, 1400 + 10, &format!("seed {seed} {conduct:?} {policy:?}"));
            }
        }
    }
}

#[test]
fn in_a_storm_a_real_gateway_is_left_without_a_trace_too() {
    // The responder takes nothing else than hellos of its own kind.
    let sane = |conduct: &Conduct| !matches!(conduct, Conduct::Junk | Conduct::Replay { valid: false, .. });
    for seed in seeds() {
        for conduct in ALL.into_iter().filter(sane) {
            let mut world = World::new(seed, conduct, Policy::Serve);
            world.net.set_faults(Faults::storm());
            world.attack(700);
            world.net.faults_off();
            world.attack(300);
            let (count, _) = world.finish();
            assert_sound(&count, 1000 + 10, &format!("seed {seed} {conduct:?}"));
            if conduct.logs_in() {
                assert!(count.welcomed > 0 && count.frames > 0, "seed {seed} {conduct:?}: {count:?}");
            }
        }
    }
}

#[test]
fn whoever_is_ended_at_once_is_refused_and_comes_again_from_all_addresses() {
    // A churner has gone before it can learn that it is unwanted.
    for conduct in ALL.into_iter().filter(|&conduct| conduct != Conduct::Churn) {
        let mut world = World::new(3, conduct, Policy::Refuse);
        world.attack(1000);
        let sources = std::mem::take(&mut world.sources);
        assert_eq!(sources, (0..20).map(attacker).collect(), "{conduct:?}");
        let (count, _) = world.finish();
        assert_sound(&count, 1000, &format!("{conduct:?}"));
        assert!(count.attempted > 60, "{conduct:?}: one every 10 ms, as far as there are places: {count:?}");
        // The last ones are not ended before they leave.
        assert!(count.refused + u64::from(LINKS) >= count.attempted, "{conduct:?}: {count:?}");
        assert_eq!((count.closed, count.served, count.shortest_life), (0, 0, None), "{conduct:?}");
    }
}

#[test]
fn whoever_is_borne_for_a_while_is_accepted_and_its_life_is_measured_and_its_place_taken_again() {
    for conduct in [ALL[0], ALL[1], ALL[3], ALL[5]] {
        let mut world = World::new(4, conduct, Policy::Bear(300));
        world.attack(1500);
        let (count, _) = world.finish();
        assert_sound(&count, 1500, &format!("{conduct:?}"));
        assert_eq!((count.refused, count.links_max), (0, LINKS), "{conduct:?}: {count:?}");
        assert!(count.closed >= 3 * u64::from(LINKS), "{conduct:?}: four lives of 300 ms: {count:?}");
        let life = count.shortest_life.unwrap();
        assert!((250..=400).contains(&life.as_millis()), "{conduct:?}: {life:?}");
    }
}

#[test]
fn attempts_end_with_their_number() {
    let mut world = World::new(5, Conduct::Churn, Policy::Bear(300));
    let settings = Settings { attempts_max: 7, ..settings(&world.house, 5, Conduct::Churn) };
    world.mob = Mob::new(settings, entropy(5)).unwrap();
    world.attack(500);
    world.attack(500);
    let (count, said) = world.finish();
    assert_eq!((count.attempted, count.accepted), (14, 14), "seven in each attack");
    assert!(said.iter().all(Vec::is_empty), "they say nothing");
}

#[test]
fn the_silent_say_nothing_and_the_slow_a_byte_of_a_hello_per_interval() {
    let attack = |conduct| {
        let mut world = World::new(6, conduct, Policy::Bear(u32::MAX));
        world.attack(1000);
        world.finish()
    };
    let (count, said) = attack(Conduct::Silent);
    assert_eq!((count.accepted, count.closed, said.len()), (LINKS.into(), 0, LINKS as usize));
    assert!(said.iter().all(Vec::is_empty));
    let (count, said) = attack(Conduct::Drip { interval: Duration::from_millis(100) });
    assert_eq!((count.accepted, count.closed, said.len()), (LINKS.into(), 0, LINKS as usize));
    for bytes in &said {
        // A second less the time they needed to connect; timers are looked at every 20 ms.
        assert!((7..=11).contains(&bytes.len()), "{} bytes in a second", bytes.len());
        assert!(bytes.starts_with(&[0xac, 0xce, 0x55, 0x0a]), "of a hello");
    }
}

#[test]
fn a_recorded_hello_is_the_same_each_time_and_answered_unless_its_tag_is_wrong() {
    let mut world = World::new(7, Conduct::Replay { valid: true, patience: None }, Policy::Serve);
    world.attack(1000);
    let (count, said) = world.finish();
    let whole: BTreeSet<&Vec<u8>> = said.iter().filter(|bytes| bytes.len() > 32).collect();
    assert_eq!(whole.len(), 1, "one hello");
    assert!(count.served > 30 && count.served + u64::from(LINKS) >= count.accepted, "{count:?}");
    assert_eq!(count.closed, 0, "they go by themselves");
    let valid = whole.into_iter().next().unwrap().clone();

    let mut world = World::new(7, Conduct::Replay { valid: false, patience: None }, Policy::Bear(200));
    world.attack(1000);
    let (count, said) = world.finish();
    assert_eq!(count.served, 0, "{count:?}");
    let wrong = said.iter().find(|bytes| bytes.len() == valid.len()).unwrap();
    let differing: Vec<usize> = (0..valid.len()).filter(|&at| wrong[at] != valid[at]).collect();
    assert_eq!(differing, [16], "a bit of the tag, which stands behind the 16 fixed bytes");
}

#[test]
fn whoever_has_no_patience_leaves_without_an_answer_and_comes_again() {
    let patience = Some(Duration::from_millis(40));
    let mut world = World::new(9, Conduct::Replay { valid: true, patience }, Policy::Bear(u32::MAX));
    world.attack(1000);
    let (count, said) = world.finish();
    assert_eq!((count.served, count.closed, count.refused), (0, 0, 0), "{count:?}");
    assert!((70..=101).contains(&count.accepted), "one every 10 ms: {count:?}");
    let whole = said.iter().map(Vec::len).max().unwrap();
    assert!(
        said.iter().filter(|bytes| bytes.len() == whole).count() > 60,
        "it had the time to say all of it"
    );
}

#[test]
fn junk_has_random_lengths_within_its_bound() {
    let mut world = World::new(8, Conduct::Junk, Policy::Bear(120));
    world.attack(2000);
    let (count, said) = world.finish();
    let lens: BTreeSet<usize> = said.iter().map(Vec::len).filter(|&len| len > 0).collect();
    assert!(count.accepted > 20 && lens.len() > 10, "{lens:?}");
    assert!(*lens.first().unwrap() >= 1 && *lens.last().unwrap() <= JUNK_LEN_MAX, "{lens:?}");
}

#[test]
fn floods_log_in_and_send_what_their_rate_allows() {
    for conduct in [Conduct::Frames { per_second: 500 }, Conduct::Pings { per_second: 500 }] {
        let mut world = World::new(9, conduct, Policy::Serve);
        world.attack(2000);
        let (count, _) = world.finish();
        assert_eq!((count.welcomed, count.served, count.closed), (6, 6, 0), "{conduct:?}: {count:?}");
        // Six links for two seconds, less what they needed to come in.
        assert!((4000..=6000).contains(&count.frames), "{conduct:?}: {count:?}");
        assert_eq!(count.reasons.len(), 0, "{conduct:?}: {count:?}");
    }
}
