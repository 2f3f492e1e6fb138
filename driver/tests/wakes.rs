//! Waking a sleeping worker, and sleeping itself.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod rig;

use std::time::Duration;

use driver::{Completion, Doorbells, Driver, Op, RingConfig};
use rig::{await_one, rig_over, ring, ring_of, small, small_ring, write_all};

#[test]
fn two_workers_ring_each_other_and_nothing_is_lost() {
    const ROUNDS: u32 = 500;
    let doorbells = Doorbells::new(2);
    let Some(mut first) = ring(small(), doorbells.clone(), 0) else { return };
    assert_eq!(await_one(&mut first), Completion::Rung, "a worker looks around when it starts");
    let partner = std::thread::spawn(move || {
        let mut second = ring(small(), doorbells, 1).unwrap();
        assert_eq!(await_one(&mut second), Completion::Rung);
        second.submit(Op::Ring { worker: 0 }).unwrap();
        for _ in 0..ROUNDS {
            assert_eq!(await_one(&mut second), Completion::Rung);
            second.submit(Op::Ring { worker: 0 }).unwrap();
        }
        second.wait(0, None).unwrap();
    });
    for _ in 0..ROUNDS {
        assert_eq!(await_one(&mut first), Completion::Rung);
        first.submit(Op::Ring { worker: 1 }).unwrap();
    }
    assert_eq!(await_one(&mut first), Completion::Rung);
    partner.join().unwrap();
    // The other ring is gone, and so is its bell.
    first.submit(Op::Ring { worker: 1 }).unwrap();
    first.wait(1, Some(Duration::from_millis(20))).unwrap();
    assert_eq!(first.next(), None);
}

#[test]
fn a_worker_with_a_full_completion_queue_still_hears_the_bell() {
    let doorbells = Doorbells::new(2);
    let tiny = RingConfig { submissions: 8, completions: 8, ..small_ring() };
    let Some(mut first) = ring(small(), doorbells.clone(), 0) else { return };
    assert_eq!(await_one(&mut first), Completion::Rung);
    let (ready, wait_for_ready) = std::sync::mpsc::channel();
    let (rung, wait_for_rung) = std::sync::mpsc::channel::<()>();
    let sleeper = std::thread::spawn(move || {
        let mut second = ring_of(small(), tiny, doorbells, 1).unwrap();
        assert_eq!(await_one(&mut second), Completion::Rung);
        ready.send(()).unwrap();
        // Asleep while 40 rings arrive for 8 places.
        wait_for_rung.recv().unwrap();
        for _ in 0..40 {
            assert_eq!(await_one(&mut second), Completion::Rung);
        }
    });
    wait_for_ready.recv().unwrap();
    for _ in 0..40 {
        first.submit(Op::Ring { worker: 1 }).unwrap();
    }
    first.wait(0, None).unwrap();
    rung.send(()).unwrap();
    while !sleeper.is_finished() {
        first.wait(1, Some(Duration::from_millis(10))).unwrap();
        assert_eq!(first.next(), None, "what could not be delivered is rung again, silently");
    }
    sleeper.join().unwrap();
}

#[test]
fn ringing_oneself_is_heard_in_the_same_turn_and_unknown_workers_are_not_there() {
    let Some(mut alone) = ring(small(), Doorbells::new(1), 0) else { return };
    assert_eq!(alone.next(), None, "a worker without others hears nothing at its start");
    alone.submit(Op::Ring { worker: 9 }).unwrap();
    alone.submit(Op::Ring { worker: 0 }).unwrap();
    assert_eq!(alone.next(), Some(Completion::Rung));
    alone.wait(0, None).unwrap();
    assert_eq!(alone.next(), None);
}

#[test]
fn any_thread_wakes_a_worker_again_and_again() {
    let Some(mut worker) = ring(small(), Doorbells::new(1), 0) else { return };
    let waker = worker.waker();
    let (heard, wait_for_heard) = std::sync::mpsc::channel();
    let control = std::thread::spawn(move || {
        for _ in 0..200 {
            waker.wake();
            wait_for_heard.recv().unwrap();
        }
        waker
    });
    for _ in 0..200 {
        assert_eq!(await_one(&mut worker), Completion::Rung);
        heard.send(()).unwrap();
    }
    let waker = control.join().unwrap();
    waker.wake();
    waker.clone().wake();
    assert_eq!(await_one(&mut worker), Completion::Rung);
    drop(worker);
    waker.wake();
}

#[test]
fn after_a_busy_turn_a_wait_hopes_for_several_completions_but_takes_one() {
    let measures = RingConfig { batch_wait: Some(Duration::from_millis(1)), batch_least: 4, ..small_ring() };
    let Some(mut rig) = rig_over(small(), measures) else { return };
    let mut links: Vec<_> = (0..6).map(|_| rig.meet()).collect();
    for (token, _) in &links {
        rig.receive(*token, driver::Mode::Multishot);
    }
    for round in 0..20 {
        // A busy turn: six arrivals.
        for (_, client) in &mut links {
            write_all(client, b"x");
        }
        for _ in 0..6 {
            let completion = rig.await_one();
            rig.arrival(completion);
        }
        // And one alone: it is not kept back for the three that do not come.
        write_all(&mut links[round % 6].1, b"y");
        let completion = rig.await_one();
        assert_eq!(rig.arrival(completion).1, b"y");
    }
}

#[test]
fn waiting_without_patience_returns_at_once_and_costs_one_system_call() {
    let Some(mut alone) = ring(small(), Doorbells::new(1), 0) else { return };
    for expected in 1..10 {
        alone.wait(0, None).unwrap();
        assert_eq!((alone.next(), alone.counters().system_calls), (None, expected));
    }
}
