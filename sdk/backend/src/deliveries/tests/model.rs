//! Any order of reports, breaks, redials and starts, against a gateway that keeps the rules of SPEC 11.6.

use std::collections::{BTreeMap, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use protocol::DeviceClass;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// A push is handed over, to devices with these ends; by the rule of this number.
    Send { rule: u8, ends: Vec<End> },
    /// Everything handed over leaves.
    Flush,
    /// The gateway reads so many pushes that have left, and decides for one device after the other, any of those it owes.
    Gateway { reads: u8, decides: Vec<Index> },
    /// So many reports are read, as one batch.
    Read { reports: u8 },
    /// The stream breaks; of what has left the gateway still reads so much.
    Break { reads: u8 },
    /// The gateway is back, or another start of it.
    Dial { is_new: bool },
    /// Milliseconds pass.
    Wait(u16),
}

/// What becomes of a push at a device, and whether the device is a phone.
type End = (PushOutcome, bool);

fn end() -> impl Strategy<Value = End> {
    let outcomes = [PushOutcome::Delivered, PushOutcome::Undelivered, PushOutcome::Unknown];
    (prop::sample::select(outcomes.to_vec()), any::<bool>())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_u8, vec(end(), 1..4)).prop_map(|(rule, ends)| Step::Send { rule, ends }),
        4 => Just(Step::Flush),
        6 => (0..4_u8, vec(any::<Index>(), 0..6)).prop_map(|(reads, decides)| Step::Gateway { reads, decides }),
        6 => (0..6_u8).prop_map(|reports| Step::Read { reports }),
        2 => (0..3_u8).prop_map(|reads| Step::Break { reads }),
        3 => prop::bool::weighted(0.3).prop_map(|is_new| Step::Dial { is_new }),
        2 => (0..3000_u16).prop_map(Step::Wait),
    ]
}

/// What is known of a push by those who know everything.
struct Truth {
    rule: Rule,
    ends: Vec<End>,
    /// A stream broke while it was open, so that it may be unknown.
    was_cut: bool,
    outcome: Option<Outcome>,
}

/// A report: its number, that of its push, and which of the devices it is about.
type Told = (u64, u64, usize);

struct World {
    books: Books,
    pushes: BTreeMap<u64, Truth>,
    boot: u8,
    stream: Option<u64>,
    streams: u64,
    /// Handed over, and not left yet.
    handed: Vec<u64>,
    /// Left, and not read yet.
    underway: VecDeque<u64>,
    /// What the gateway has not decided: of which push, and of which of its devices.
    owed: Vec<(u64, usize)>,
    reports: u64,
    /// Reports that were not acknowledged, in their order.
    kept: VecDeque<Told>,
    /// Those on their way on this stream.
    down: VecDeque<Told>,
    /// What the backend has acknowledged on this stream, which may get lost with it.
    acknowledged: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            books: Books::new(),
            pushes: BTreeMap::new(),
            boot: 1,
            stream: None,
            streams: 0,
            handed: Vec::new(),
            underway: VecDeque::new(),
            owed: Vec::new(),
            reports: 0,
            kept: VecDeque::new(),
            down: VecDeque::new(),
            acknowledged: 0,
        };
        world.dial(false);
        world
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Send { rule, ends } => self.send(*rule, ends),
            Step::Flush => self.underway.extend(self.handed.drain(..)),
            // Devices answer while there is no stream, too; nothing is on its way then.
            Step::Gateway { reads, decides } => {
                self.accept((*reads).into());
                for which in decides.iter() {
                    if !self.owed.is_empty() {
                        self.decide(which.index(self.owed.len()));
                    }
                }
            }
            Step::Read { reports } => self.read((*reports).into()),
            Step::Break { reads } => self.cut((*reads).into()),
            Step::Dial { is_new } => self.dial(*is_new),
            Step::Wait(millis) => self.books.wait(Duration::from_millis((*millis).into())),
        }
        self.note();
    }

    fn send(&mut self, rule: u8, ends: &[End]) {
        let Some(stream) = self.stream else { return };
        let id = worker(self.boot);
        if self.books.deliveries.room(id, stream, 1) != Room::Now {
            return;
        }
        let rules =
            [Rule::Any, Rule::All, Rule::Primary(DeviceClass::Phone), Rule::Primary(DeviceClass::Web)];
        let (rule, number) = (rules[usize::from(rule)], 100 + self.pushes.len() as u64);
        let truth = Truth { rule, ends: ends.to_vec(), was_cut: false, outcome: None };
        self.pushes.insert(number, truth);
        let Books { deliveries, settled, .. } = &mut self.books;
        let wanted = Wanted { rule, ttl: Duration::ZERO, waiter: number };
        deliveries.sent(id, stream, Share::whole(number), wanted, &mut |number, outcome| {
            settled.push((number, outcome))
        });
        self.handed.push(number);
        assert!(self.books.deliveries.workers[&id].open.len() <= SLOTS as usize);
    }

    /// The gateway reads what the backend has said, so many pushes of it.
    fn accept(&mut self, reads: usize) {
        if reads > 0 {
            self.kept.retain(|(report, ..)| *report > self.acknowledged);
        }
        let reads = reads.min(self.underway.len());
        for number in self.underway.drain(..reads) {
            self.owed.extend((0..self.pushes[&number].ends.len()).map(|device| (number, device)));
        }
    }

    fn decide(&mut self, at: usize) {
        let (number, device) = self.owed.swap_remove(at);
        self.reports += 1;
        let told = (self.reports, number, device);
        self.kept.push_back(told);
        if self.stream.is_some() {
            self.down.push_back(told);
        }
    }

    fn read(&mut self, reports: usize) {
        let Some(stream) = self.stream else { return };
        let reports = reports.min(self.down.len());
        for (report, number, device) in self.down.drain(..reports) {
            let ends = &self.pushes[&number].ends;
            let (outcome, is_phone) = ends[device];
            let reason = if outcome == PushOutcome::Undelivered { Undelivered::Expired.number() } else { 0 };
            let class = if is_phone { DeviceClass::Phone } else { DeviceClass::Tablet }.number();
            let report = Report { number, report, outcome, reason, class, ..Report::default() };
            self.books.told(self.boot, &Report { devices: ends.len() as u32, ..report });
        }
        if let Some(ack) = self.books.deliveries.acknowledge(worker(self.boot), stream) {
            assert!(ack >= self.acknowledged, "it never goes back");
            self.acknowledged = ack;
        }
    }

    fn cut(&mut self, reads: usize) {
        let Some(stream) = self.stream.take() else { return };
        self.accept(reads);
        self.underway.clear();
        self.down.clear();
        self.acknowledged = 0;
        let not_left = std::mem::take(&mut self.handed);
        self.books.ended(self.boot, stream, &not_left);
        for truth in self.pushes.values_mut().filter(|truth| truth.outcome.is_none()) {
            truth.was_cut = true;
        }
    }

    fn dial(&mut self, is_new: bool) {
        if self.stream.is_some() {
            return;
        }
        if is_new {
            self.boot += 1;
            self.owed.clear();
            self.kept.clear();
            self.reports = 0;
        }
        self.streams += 1;
        self.books.opened(self.boot, self.streams);
        self.stream = Some(self.streams);
        self.down.clone_from(&self.kept);
        if is_new {
            self.note();
            let open = self.pushes.values().find(|truth| truth.outcome.is_none());
            assert!(open.is_none(), "another start leaves nothing open");
        }
    }

    /// Everything that was settled is settled for the first time, and rightly.
    fn note(&mut self) {
        for (number, outcome) in self.books.settled() {
            let truth = self.pushes.get_mut(&number).expect("a push that was sent");
            assert_eq!(truth.outcome, None, "{number} has two outcomes, the second one {outcome:?}");
            truth.check(outcome);
            truth.outcome = Some(outcome);
        }
    }

    /// The gateway does all it has to do; then it never comes back.
    fn finish(mut self, breaks: bool) {
        if breaks {
            self.cut(usize::MAX);
        }
        self.dial(false);
        self.underway.extend(self.handed.drain(..));
        self.accept(usize::MAX);
        while !self.owed.is_empty() {
            self.decide(0);
        }
        self.read(usize::MAX);
        self.accept(usize::MAX);
        self.note();
        assert!(self.kept.is_empty(), "every report that came is acknowledged: {:?}", self.kept);
        let is_open = |truth: &Truth| truth.outcome.is_none() && !truth.was_cut;
        assert!(!self.pushes.values().any(is_open), "what was never cut is known");
        self.cut(0);
        self.books.wait(REDIAL_MAX);
        self.note();
        assert!(self.pushes.values().all(|truth| truth.outcome.is_some()), "each has an outcome in the end");
        assert!(self.books.deliveries.workers.is_empty() && self.books.deliveries.deadline().is_none());
    }
}

impl Truth {
    /// Whether an outcome is one that this push may have.
    fn check(&self, outcome: Outcome) {
        let is_primary = |end: &&End| self.rule == Rule::Primary(DeviceClass::Phone) && end.1;
        let mut ends: Vec<PushOutcome> = self.ends.iter().filter(is_primary).map(|(end, _)| *end).collect();
        if ends.is_empty() {
            ends = self.ends.iter().map(|(end, _)| *end).collect();
        }
        let has = |wanted| ends.contains(&wanted);
        let (delivered, undelivered, unknown) =
            (has(PushOutcome::Delivered), has(PushOutcome::Undelivered), has(PushOutcome::Unknown));
        let is_right = match (self.rule, outcome) {
            (Rule::All, Outcome::Delivered) => !undelivered && !unknown,
            (Rule::All, Outcome::Undelivered(_)) => undelivered,
            (Rule::All, Outcome::Unknown) => self.was_cut || (unknown && !undelivered),
            (_, Outcome::Delivered) => delivered,
            (_, Outcome::Undelivered(_)) => !delivered && !unknown,
            (_, Outcome::Unknown) => self.was_cut || (unknown && !delivered),
        };
        assert!(is_right, "{outcome:?} by {:?} out of {:?}, cut: {}", self.rule, self.ends, self.was_cut);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn each_push_has_exactly_one_outcome_whatever_happens(steps in vec(step(), 0..80), breaks: bool) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.step(step));
        world.finish(breaks);
    }
}
