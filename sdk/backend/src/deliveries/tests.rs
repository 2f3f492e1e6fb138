//! The books of open pushes: rule by rule, and against gateways that come, break and start anew.

mod model;

use protocol::Undelivered;
use protocol::wire::stream::PushOutcome;

use super::*;

const START: Time = Time::from_nanos(1_000_000_000);
const LIMITS: Limits = Limits { open_max: 100, waiting_max: 8, unheard_max: Duration::from_secs(600) };
const SLOTS: u32 = 3;

/// The books, and what was settled: by the number of the push.
struct Books {
    deliveries: Deliveries<u64>,
    settled: Vec<(u64, Outcome)>,
    now: Time,
}

fn worker(boot: u8) -> WorkerId {
    WorkerId { boot: [boot; 16], worker: 3 }
}

fn place(gateway: &str) -> Place {
    Place { gateway: gateway.into(), key: None, worker: 3 }
}

impl Books {
    fn new() -> Self {
        Self { deliveries: Deliveries::new(LIMITS), settled: Vec::new(), now: START }
    }

    /// With a stream of a gateway, on which these pushes were sent.
    fn with_sent(numbers: &[u64]) -> Self {
        let mut books = Self::new();
        books.opened(1, 1);
        numbers.iter().for_each(|number| books.sent(1, *number, Duration::ZERO));
        books
    }

    fn opened(&mut self, boot: u8, stream: u64) {
        self.opened_at("gate", boot, stream);
    }

    fn opened_at(&mut self, gateway: &str, boot: u8, stream: u64) {
        let Self { deliveries, settled, now } = self;
        let settle = &mut |number, outcome| settled.push((number, outcome));
        deliveries.opened(worker(boot), place(gateway), stream, SLOTS, *now, settle);
    }

    /// On the worker's stream.
    fn sent(&mut self, boot: u8, number: u64, ttl: Duration) {
        let stream = match self.deliveries.workers.get(&worker(boot)) {
            Some(Worker { state: State::Live(stream), .. }) => *stream,
            _ => 0,
        };
        self.sent_on(stream, boot, number, ttl);
    }

    fn sent_on(&mut self, stream: u64, boot: u8, number: u64, ttl: Duration) {
        let Self { deliveries, settled, .. } = self;
        let wanted = Wanted { rule: Rule::All, ttl, waiter: number };
        deliveries.sent(worker(boot), stream, Share::whole(number), wanted, &mut |number, outcome| {
            settled.push((number, outcome))
        });
    }

    /// Of one of so many devices, that it took the push.
    fn report(&mut self, boot: u8, report: u64, number: u64, devices: u32) -> bool {
        self.told(boot, &Report { number, report, devices, ..Report::default() })
    }

    fn told(&mut self, boot: u8, report: &Report<'_>) -> bool {
        let Self { deliveries, settled, .. } = self;
        deliveries.report(worker(boot), report, &mut |number, outcome| settled.push((number, outcome)))
    }

    fn ended(&mut self, boot: u8, stream: u64, not_left: &[u64]) {
        let Self { deliveries, settled, now } = self;
        let settle = &mut |number, outcome| settled.push((number, outcome));
        deliveries.ended(worker(boot), stream, not_left, *now, settle);
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        let Self { deliveries, settled, now } = self;
        deliveries.expire(*now, &mut |number, outcome| settled.push((number, outcome)));
    }

    /// What was settled since it was last asked, in the order of the numbers.
    fn settled(&mut self) -> Vec<(u64, Outcome)> {
        let mut settled = std::mem::take(&mut self.settled);
        settled.sort_unstable_by_key(|(number, _)| *number);
        settled
    }
}

const HAIR: Duration = Duration::from_millis(1);

#[test]
fn a_push_is_settled_when_all_its_devices_are_reported_and_then_gives_its_slot_back() {
    let mut books = Books::with_sent(&[10, 11, 12]);
    assert!(books.deliveries.room(worker(1), 1, 1) != Room::Now, "three are open");
    assert!(books.report(1, 1, 10, 2));
    assert_eq!((books.settled(), books.deliveries.room(worker(1), 1, 1) == Room::Now), (vec![], false));
    assert!(books.report(1, 2, 10, 2));
    assert_eq!(books.settled(), [(10, Outcome::Delivered)]);
    assert!(
        books.deliveries.room(worker(1), 1, 1) == Room::Now
            && books.deliveries.room(worker(1), 2, 1) != Room::Now
    );
}

/// The gateway keeps the slot until it has reported on every device, and so the slot is taken here, too.
#[test]
fn a_push_that_is_settled_early_holds_its_slot_until_the_last_report() {
    let mut books = Books::with_sent(&[10, 11, 12]);
    let reason = Undelivered::Expired.number();
    let undelivered = Report {
        number: 10,
        report: 1,
        outcome: PushOutcome::Undelivered,
        reason,
        devices: 2,
        ..Report::default()
    };
    books.told(1, &undelivered);
    assert_eq!(books.settled(), [(10, Outcome::Undelivered(Undelivered::Expired))]);
    assert!(books.deliveries.room(worker(1), 1, 1) != Room::Now);
    books.report(1, 2, 10, 2);
    assert_eq!((books.settled(), books.deliveries.room(worker(1), 1, 1) == Room::Now), (vec![], true));
}

#[test]
fn reports_are_acknowledged_together_and_one_that_comes_again_is_only_acknowledged() {
    let mut books = Books::with_sent(&[10, 11]);
    assert_eq!(books.deliveries.acknowledge(worker(1), 1), None);
    assert!(books.report(1, 1, 10, 2) && books.report(1, 2, 11, 1));
    assert_eq!(books.deliveries.acknowledge(worker(1), 1), Some(2));
    assert_eq!(books.deliveries.acknowledge(worker(1), 1), None, "it was said");
    assert!(!books.report(1, 1, 10, 2), "it was taken before");
    assert_eq!(books.deliveries.acknowledge(worker(1), 1), Some(2), "that was lost");
    assert_eq!(books.settled(), [(11, Outcome::Delivered)], "one device of the other is still owed");
    assert!(books.report(1, 0, 99, 1), "what has no number is new");
    assert_eq!(books.deliveries.acknowledge(worker(1), 1), None, "and is not acknowledged");
}

#[test]
fn what_had_not_left_is_unknown_at_once_and_what_had_left_waits_for_a_redial() {
    let mut books = Books::with_sent(&[10, 11]);
    books.ended(1, 1, &[11]);
    assert_eq!(books.settled(), [(11, Outcome::Unknown)]);
    books.wait(REDIAL_MAX - HAIR);
    books.opened(1, 2);
    books.wait(REDIAL_MAX);
    assert_eq!(books.settled(), [], "it is back");
    assert!(books.report(1, 1, 10, 1));
    assert_eq!(
        (books.settled(), books.deliveries.acknowledge(worker(1), 2)),
        (vec![(10, Outcome::Delivered)], Some(1))
    );
}

#[test]
fn without_a_redial_in_time_what_had_left_is_unknown_and_that_stands() {
    let mut books = Books::with_sent(&[10]);
    books.ended(1, 1, &[]);
    assert_eq!(books.deliveries.deadline(), Some(START + REDIAL_MAX));
    books.wait(REDIAL_MAX);
    assert_eq!(books.settled(), [(10, Outcome::Unknown)]);
    assert!(books.deliveries.workers.is_empty(), "nothing is left of it");
    books.opened(1, 2);
    assert!(books.report(1, 7, 10, 1));
    assert_eq!((books.settled(), books.deliveries.acknowledge(worker(1), 2)), (vec![], Some(7)));
}

#[test]
fn another_start_in_its_place_makes_open_pushes_unknown_at_once() {
    let mut books = Books::with_sent(&[10]);
    books.ended(1, 1, &[]);
    books.opened_at("another gate", 2, 2);
    assert_eq!(books.settled(), [], "that is somebody else");
    books.opened(3, 3);
    assert_eq!(books.settled(), [(10, Outcome::Unknown)]);
    books.opened(1, 4);
    assert!(books.report(1, 1, 10, 1));
    assert_eq!(books.settled(), [], "it stands");
}

/// A gateway that is killed and started again may be back before this end has noticed.
#[test]
fn another_start_that_is_there_before_the_end_of_the_one_before_makes_open_pushes_unknown_at_once() {
    let mut books = Books::with_sent(&[10]);
    books.opened_at("another gate", 2, 2);
    books.opened(3, 3);
    books.sent(3, 11, Duration::ZERO);
    assert_eq!(books.settled(), [], "both may be there");
    books.ended(1, 1, &[]);
    assert_eq!(books.settled(), [(10, Outcome::Unknown)]);
    books.report(3, 1, 11, 1);
    assert_eq!(books.settled(), [(11, Outcome::Delivered)]);
    assert_eq!(books.deliveries.deadline(), None);
}

#[test]
fn a_gateway_whose_stream_breaks_is_waited_for_though_another_one_of_its_name_has_been_there_for_long() {
    let mut books = Books::with_sent(&[10]);
    books.opened(2, 2);
    books.wait(REDIAL_MAX);
    books.ended(1, 1, &[]);
    assert_eq!(books.settled(), []);
    books.opened(1, 3);
    books.report(1, 1, 10, 1);
    assert_eq!(books.settled(), [(10, Outcome::Delivered)]);
}

#[test]
fn two_gateways_of_one_name_that_are_both_there_leave_each_other_alone() {
    let mut books = Books::with_sent(&[10]);
    books.opened(2, 2);
    books.sent(2, 11, Duration::ZERO);
    assert!(books.settled().is_empty());
    books.report(1, 1, 10, 1);
    books.report(2, 1, 11, 1);
    assert_eq!(books.settled(), [(10, Outcome::Delivered), (11, Outcome::Delivered)]);
}

/// A gateway may dial again before this end has noticed that the stream before is dead.
#[test]
fn a_second_stream_of_a_worker_takes_the_place_of_the_first() {
    let mut books = Books::with_sent(&[10, 11]);
    books.opened(1, 2);
    assert!(
        books.deliveries.room(worker(1), 1, 1) != Room::Now
            && books.deliveries.room(worker(1), 2, 1) == Room::Now
    );
    books.ended(1, 1, &[11]);
    books.wait(REDIAL_MAX);
    assert_eq!(books.settled(), [(11, Outcome::Unknown)], "the other one waits for nobody");
    books.report(1, 1, 10, 1);
    assert_eq!(books.settled(), [(10, Outcome::Delivered)]);
    assert_eq!(
        (books.deliveries.acknowledge(worker(1), 1), books.deliveries.acknowledge(worker(1), 2)),
        (None, Some(1))
    );
}

/// What was lost with the stream that broke is reported by nobody.
#[test]
fn a_push_of_which_nothing_is_heard_after_a_redial_is_not_waited_for_without_end() {
    let mut books = Books::with_sent(&[10, 11]);
    books.sent(1, 12, Duration::from_secs(60));
    books.report(1, 1, 11, 2);
    books.ended(1, 1, &[]);
    books.opened(1, 2);
    books.sent(1, 13, Duration::from_secs(1));
    books.wait(Duration::from_secs(60) - HAIR);
    assert_eq!(books.settled(), []);
    books.ended(1, 2, &[]);
    books.opened(1, 3);
    books.wait(HAIR);
    assert_eq!(books.settled(), [(12, Outcome::Unknown)], "its time to live counts from the first redial");
    books.wait(LIMITS.unheard_max);
    assert_eq!(books.settled(), [(10, Outcome::Unknown), (13, Outcome::Unknown)]);
    assert_eq!(books.deliveries.deadline(), None);
    books.report(1, 2, 11, 2);
    assert_eq!(books.settled(), [(11, Outcome::Delivered)], "of this one something was heard");
}

/// Of a push to these users, each of which is settled by itself.
fn sent_to(books: &mut Books, number: u64, users: &[&'static str]) {
    for (place, user) in users.iter().enumerate() {
        let Books { deliveries, settled, .. } = books;
        let wanted = Wanted { rule: Rule::All, ttl: Duration::ZERO, waiter: number + place as u64 };
        let share = Share { number, user: Bytes::from_static(user.as_bytes()) };
        deliveries.sent(worker(1), 1, share, wanted, &mut |number, outcome| settled.push((number, outcome)));
    }
}

#[test]
fn a_push_to_several_users_takes_a_slot_for_each_and_each_is_settled_by_its_own_reports() {
    let mut books = Books::with_sent(&[]);
    let room = |books: &Books, slots| books.deliveries.room(worker(1), 1, slots);
    assert_eq!([3, 4].map(|slots| room(&books, slots)), [Room::Now, Room::Never]);
    sent_to(&mut books, 10, &["ann", "bob"]);
    assert_eq!([1, 2].map(|slots| room(&books, slots)), [Room::Now, Room::Later]);
    let of = |user: &'static str, report| Report {
        number: 10,
        report,
        devices: 1,
        user: user.as_bytes(),
        ..Report::default()
    };
    books.told(1, &of("bob", 1));
    assert_eq!((books.settled(), room(&books, 2)), (vec![(11, Outcome::Delivered)], Room::Now));
    books.told(1, &of("cid", 2));
    assert_eq!(books.settled(), [], "nobody has asked for that one");
    books.ended(1, 1, &[10]);
    assert_eq!(books.settled(), [(10, Outcome::Unknown)], "and what is known stands");
}

#[test]
fn a_report_that_names_no_user_is_about_all_of_them() {
    let mut books = Books::with_sent(&[]);
    sent_to(&mut books, 10, &["ann", "bob"]);
    sent_to(&mut books, 20, &["ann"]);
    let (outcome, reason) = (PushOutcome::Undelivered, Undelivered::Busy.number());
    books.told(1, &Report { number: 10, outcome, reason, ..Report::default() });
    let busy = Outcome::Undelivered(Undelivered::Busy);
    assert_eq!(books.settled(), [(10, busy), (11, busy)]);
}

/// Whoever sends has looked for a slot a moment before.
#[test]
fn a_push_that_was_sent_on_a_stream_whose_place_was_just_taken_is_not_waited_for_without_end_either() {
    let mut books = Books::with_sent(&[]);
    books.opened(1, 2);
    books.sent_on(1, 1, 10, Duration::from_secs(1));
    books.sent_on(2, 1, 11, Duration::from_secs(1));
    books.ended(1, 1, &[]);
    books.wait(Duration::from_secs(1));
    assert_eq!(books.settled(), [(10, Outcome::Unknown)], "the other one's stream is there");
    books.report(1, 1, 11, 1);
    assert_eq!(books.settled(), [(11, Outcome::Delivered)]);
}

#[test]
fn no_more_is_kept_than_there_may_be() {
    let mut deliveries = Deliveries::new(Limits { open_max: 2, waiting_max: 2, ..LIMITS });
    let mut settled = Vec::new();
    for boot in 1..=4 {
        let (id, now) = (worker(boot), START + Duration::from_millis(boot.into()));
        let settle = &mut |number, outcome| settled.push((number, outcome));
        deliveries.opened(id, place(&boot.to_string()), boot.into(), u32::MAX, now, settle);
        for number in 0..2 {
            assert!(deliveries.room(id, boot.into(), 1) == Room::Now);
            let wanted = Wanted { rule: Rule::Any, ttl: Duration::ZERO, waiter: boot };
            let share = Share::whole(u64::from(boot) * 10 + number);
            deliveries.sent(id, boot.into(), share, wanted, settle);
        }
        assert!(deliveries.room(id, boot.into(), 1) != Room::Now, "however many slots the gateway offers");
        deliveries.ended(id, boot.into(), &[], now, settle);
    }
    assert_eq!(settled, [1, 1, 2, 2].map(|boot| (boot, Outcome::Unknown)), "the oldest go");
    assert_eq!(deliveries.workers.len(), 2);
}

#[test]
fn the_end_of_the_server_settles_everything() {
    let mut books = Books::with_sent(&[10, 11]);
    let Books { deliveries, settled, .. } = &mut books;
    deliveries.end(&mut |number, outcome| settled.push((number, outcome)));
    assert_eq!(books.settled(), [(10, Outcome::Unknown), (11, Outcome::Unknown)]);
    books.opened(1, 2);
    books.sent(1, 12, Duration::ZERO);
    assert_eq!(books.settled(), [(12, Outcome::Unknown)], "a stream may not know yet");
    books.ended(1, 2, &[12]);
    assert!(books.settled().is_empty() && books.deliveries.deadline().is_none());
}
