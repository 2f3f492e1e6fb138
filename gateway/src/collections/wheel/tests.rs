use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn at(millis: u64) -> Time {
    Time::ZERO + Duration::from_millis(millis)
}

fn wheel() -> Wheel {
    Wheel::new(Duration::from_millis(100), 4, Time::ZERO)
}

fn due(wheel: &mut Wheel, now: Time) -> Vec<u32> {
    let mut budget = u32::MAX;
    std::iter::from_fn(|| wheel.expire(now, &mut budget)).collect()
}

#[test]
fn an_entry_expires_within_one_tick_and_never_early() {
    let mut wheel = wheel();
    wheel.arm(3, at(250));
    assert_eq!(wheel.deadline(3), Some(at(300)));
    assert!(due(&mut wheel, at(250)).is_empty());
    assert!(due(&mut wheel, at(299)).is_empty());
    assert_eq!(due(&mut wheel, at(300)), [3]);
    assert!(!wheel.is_armed(3));
    assert!(wheel.is_empty());
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn a_deadline_moves_back_without_being_refiled_and_forth_at_once() {
    let mut wheel = wheel();
    wheel.arm(0, at(1_000));
    wheel.arm(0, at(9_000));
    assert_eq!(wheel.next_deadline(), Some(at(1_000)), "it wakes where it was filed");
    assert!(due(&mut wheel, at(1_000)).is_empty());
    assert_eq!(wheel.deadline(0), Some(at(9_000)));
    wheel.arm(0, at(2_000));
    assert_eq!(wheel.next_deadline(), Some(at(2_000)));
    assert_eq!(due(&mut wheel, at(2_000)), [0]);
}

#[test]
fn a_cancelled_entry_does_not_expire_and_its_slot_is_not_woken_for() {
    let mut wheel = wheel();
    wheel.arm(1, at(500));
    wheel.arm(2, at(500));
    assert!(wheel.cancel(1));
    assert!(!wheel.cancel(1));
    assert!(!wheel.cancel(77), "an index that was never seen");
    assert_eq!(wheel.len(), 1);
    assert_eq!(due(&mut wheel, at(500)), [2]);
    wheel.arm(1, at(700));
    assert!(wheel.cancel(1));
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn a_deadline_in_the_past_expires_at_the_next_call() {
    let mut wheel = wheel();
    assert!(due(&mut wheel, at(10_000)).is_empty());
    wheel.arm(1, at(3));
    assert!(wheel.next_deadline() <= Some(at(10_000)));
    assert_eq!(due(&mut wheel, at(10_000)), [1]);
}

#[test]
fn a_spent_budget_leaves_the_rest_due_now_even_while_a_high_slot_moves_down() {
    let mut wheel = wheel();
    for index in 0..100 {
        // All in one slot of level 1; it begins at tick 64, the last of them is due at tick 127.
        wheel.arm(index, at(6_400 + u64::from(index % 64) * 100));
    }
    let mut budget = 10;
    let now = at(6_400);
    let mut seen = Vec::new();
    while let Some(index) = wheel.expire(now, &mut budget) {
        seen.push(index);
    }
    assert_eq!((seen.as_slice(), budget), ([0].as_slice(), 0));
    assert!(wheel.next_deadline() <= Some(now), "the rest of the slot is not forgotten");
    seen.extend(due(&mut wheel, now));
    assert_eq!(seen, [0, 64]);
    seen.extend(due(&mut wheel, at(12_700)));
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..100));
}

#[test]
fn entries_of_one_tick_come_in_the_order_they_were_armed() {
    let mut wheel = wheel();
    for index in [5, 1, 9, 3] {
        wheel.arm(index, at(400));
    }
    assert_eq!(due(&mut wheel, at(400)), [5, 1, 9, 3]);
}

#[test]
fn the_end_of_time_is_a_deadline_like_any_other() {
    let mut wheel = wheel();
    let end = Time::from_nanos(u64::MAX);
    wheel.arm(0, end);
    wheel.arm(1, at(100));
    assert_eq!(due(&mut wheel, at(100)), [1]);
    assert_eq!(due(&mut wheel, end), [0]);
    wheel.arm(2, end);
    assert_eq!(due(&mut wheel, end), [2]);
}

#[test]
fn a_tick_shorter_than_allowed_is_raised() {
    let mut wheel = Wheel::new(Duration::ZERO, 1, Time::ZERO);
    wheel.arm(0, at(1));
    assert_eq!(wheel.deadline(0), Some(Time::ZERO + TICK_MIN));
    assert_eq!(due(&mut wheel, at(16)), [0]);
}

#[derive(Clone, Debug)]
enum Step {
    Arm(u32, u64),
    Cancel(u32),
    Pass(u64, u32),
}

fn step() -> impl Strategy<Value = Step> {
    // Spans over all levels that a test can reach, near ones more often.
    let span = prop_oneof![0..2_000u64, 0..60_000u64, 0..10_000_000u64, 0..5_000_000_000u64];
    prop_oneof![
        4 => (0..40u32, span.clone()).prop_map(|(index, span)| Step::Arm(index, span)),
        1 => (0..40u32).prop_map(Step::Cancel),
        3 => (span, prop_oneof![0..4u32, Just(u32::MAX)]).prop_map(|(span, budget)| Step::Pass(span, budget)),
    ]
}

proptest! {
    /// Against a map from index to deadline: what is due comes exactly once, nothing comes early, the next
    /// deadline is never too late, and with a small budget nothing is lost.
    #[test]
    fn behaves_like_a_sorted_map(start in 0..1_000_000u64, steps in prop::collection::vec(step(), 1..120)) {
        let tick = 100;
        let mut now = start;
        let mut wheel = Wheel::new(Duration::from_millis(tick), 0, at(start));
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Arm(index, span) => {
                    let deadline = start + (now + span - start).div_ceil(tick) * tick;
                    wheel.arm(index, at(now + span));
                    model.insert(index, deadline);
                    prop_assert_eq!(wheel.deadline(index), Some(at(deadline)));
                }
                Step::Cancel(index) => {
                    prop_assert_eq!(wheel.cancel(index), model.remove(&index).is_some());
                }
                Step::Pass(span, mut budget) => {
                    now += span;
                    while let Some(index) = wheel.expire(at(now), &mut budget) {
                        let deadline = model.remove(&index);
                        prop_assert!(deadline.is_some_and(|deadline| deadline <= now), "{} early or twice", index);
                    }
                    if budget > 0 {
                        prop_assert!(model.values().all(|&deadline| deadline > now), "all that was due has come");
                    }
                }
            }
            prop_assert_eq!(wheel.len(), model.len());
            let earliest = model.values().min().map(|&deadline| at(deadline));
            prop_assert!(wheel.next_deadline().is_some() == earliest.is_some());
            prop_assert!(wheel.next_deadline() <= earliest, "{:?} is after {:?}", wheel.next_deadline(), earliest);
        }
        // Sleeping until the next deadline, as a worker does, ends with everything expired.
        let mut wakes = 0;
        while let Some(next) = wheel.next_deadline() {
            now = now.max(next.as_millis());
            let mut budget = 3;
            while let Some(index) = wheel.expire(at(now), &mut budget) {
                prop_assert!(model.remove(&index).is_some_and(|deadline| deadline <= now));
            }
            wakes += 1;
            prop_assert!(wakes < 2_000, "it comes to an end");
        }
        prop_assert!(model.is_empty());
    }
}
