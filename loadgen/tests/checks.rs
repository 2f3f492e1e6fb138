//! The generator against a responder that is told what to do wrong: each fault is found, and none is found where
//! there is none.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod responder;

use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use driver::Endpoint;
use loadgen::clock::Clock;
use loadgen::options::Options;
use loadgen::result::{Messages, Report};
use loadgen::stop::Stop;
use protocol::Time;
use responder::{Fault, Responder, start};

/// Runs a line of options against the responder; the run must take place.
fn run(responder: &Responder, line: &str) -> Report {
    let words = ["loadgen"].into_iter().chain(line.split_whitespace()).map(str::to_owned);
    let options = Options::try_parse_from(words.chain(responder.options())).unwrap();
    loadgen::scenario::run(&options, &Stop::default()).unwrap()
}

const CLOSED: &str = "echo --links 4 --window 4 --duration 300ms --warmup 0s --drain 300ms";

fn messages(report: &Report) -> Messages {
    report.messages.unwrap()
}

#[test]
fn an_honest_echo_has_no_problem_in_any_suite_and_loop() {
    let Some(responder) = start(Fault::Nothing) else { return };
    for line in [
        "echo --links 20 --rate 2000 --duration 500ms --warmup 100ms --workers 2",
        "echo --links 20 --window 1 --duration 300ms --suite nk-aes",
        "echo --links 4 --window 2 --batch 8 --size 1 --duration 300ms --suite ik-chacha",
        "echo --links 3 --window 1 --size 60000 --duration 300ms --suite ik-aes",
    ] {
        let report = run(&responder, line);
        // On a busy machine the generator may be the limit, which is no problem of the run's.
        assert_eq!(report.problems, [""; 0], "{line}: {}", report.text());
        assert_eq!((report.links.failed, report.links.lost), (0, 0));
        let Messages { sent, received, .. } = messages(&report);
        assert_eq!(sent, received, "{line}");
        assert!(received > 10 && report.latency_us.unwrap().p50 > 0.0, "{line}: {}", report.text());
    }
}

#[test]
fn an_open_loop_sends_what_was_planned() {
    let Some(responder) = start(Fault::Nothing) else { return };
    let report = run(&responder, "echo --links 10 --rate 1000 --duration 1s --warmup 200ms");
    let planned = report.generator.planned.unwrap();
    assert!((990..=1010).contains(&planned), "a second at 1000 per second: {planned}");
    assert_eq!((report.setup.pacing, report.setup.window), (Some("open"), None));
}

#[test]
fn a_lost_answer_is_found() {
    let Some(responder) = start(Fault::Drop(3)) else { return };
    let report = run(&responder, CLOSED);
    assert_eq!((messages(&report).lost, report.exit_code()), (4, 1), "one of each link: {}", report.text());
    let one = run(&responder, "echo --links 2 --rate 100 --duration 300ms --warmup 0s --drain 300ms");
    assert_eq!((messages(&one).lost, messages(&one).misordered), (2, 0), "{}", one.text());
}

#[test]
fn a_doubled_answer_is_found() {
    let Some(responder) = start(Fault::Duplicate(3)) else { return };
    let report = run(&responder, CLOSED);
    let Messages { sent, received, lost, duplicated, .. } = messages(&report);
    assert_eq!((duplicated, lost, sent - received, report.exit_code()), (4, 0, 0, 1), "{}", report.text());
}

#[test]
fn answers_out_of_order_are_found() {
    let Some(responder) = start(Fault::Reorder(3)) else { return };
    let report = run(&responder, CLOSED);
    let Messages { sent, received, misordered, .. } = messages(&report);
    assert_eq!((misordered, sent - received, report.exit_code()), (4, 0, 1), "{}", report.text());
}

#[test]
fn a_flipped_bit_is_found() {
    let Some(responder) = start(Fault::Corrupt(3)) else { return };
    let report = run(&responder, CLOSED);
    let Messages { sent, received, corrupted, lost, .. } = messages(&report);
    assert_eq!((corrupted, sent - received, lost, report.exit_code()), (4, 4, 0, 1), "{}", report.text());
}

#[test]
fn a_refusal_is_counted_and_is_no_loss() {
    let Some(responder) = start(Fault::Refuse(3)) else { return };
    let report = run(&responder, CLOSED);
    let Messages { refused, lost, .. } = messages(&report);
    assert_eq!((refused, lost, report.exit_code()), (4, 0, 1), "{}", report.text());
}

#[test]
fn a_refusal_that_overtakes_an_answer_puts_nothing_out_of_order() {
    let Some(responder) = start(Fault::RefuseAtOnce(3)) else { return };
    let report = run(&responder, CLOSED);
    let Messages { refused, misordered, lost, .. } = messages(&report);
    assert_eq!((refused, misordered, lost), (4, 0, 0), "{}", report.text());
}

#[test]
fn a_link_that_is_hung_up_on_is_lost_with_what_it_awaited() {
    let Some(responder) = start(Fault::HangUp(3)) else { return };
    let report = run(&responder, CLOSED);
    assert_eq!((report.links.up, report.links.lost, report.exit_code()), (0, 4, 1), "{}", report.text());
    assert!(messages(&report).lost >= 4, "{}", report.text());
    assert_eq!(report.reasons.values().sum::<u64>(), 4, "{}", report.text());
}

#[test]
fn idle_links_have_every_heartbeat_answered() {
    let Some(responder) = start(Fault::Nothing) else { return };
    let report = run(&responder, "idle --links 30 --duration 2500ms --workers 2");
    assert_eq!((report.links.up, report.exit_code()), (30, 0), "{}", report.text());
    let heartbeats = report.heartbeats.unwrap();
    assert_eq!((heartbeats.answered, heartbeats.unanswered), (heartbeats.sent, 0));
    assert!(heartbeats.sent >= 30, "there are two and a half intervals: {heartbeats:?}");
    assert_eq!((report.messages, report.latency_us, report.gateway), (None, None, None));
}

#[test]
fn pings_without_pongs_are_found() {
    let Some(responder) = start(Fault::Mute) else { return };
    let report = run(&responder, "idle --links 5 --duration 1750ms --drain 300ms");
    assert_eq!(report.heartbeats.unwrap().answered, 0);
    assert!(report.heartbeats.unwrap().unanswered >= 5, "{}", report.text());
    assert_eq!(report.exit_code(), 1);
}

#[test]
fn links_that_are_refused_have_failed() {
    let Some(responder) = start(Fault::Deny) else { return };
    let report = run(&responder, "idle --links 5 --duration 5s");
    assert_eq!((report.links.up, report.links.failed, report.exit_code()), (0, 5, 1));
    assert_eq!(report.reasons["closed by the gateway: auth_failed"], 5);
}

#[test]
fn a_port_where_nobody_listens_fails_every_link_and_does_not_hang() {
    let Some(mut responder) = start(Fault::Nothing) else { return };
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    responder.address = unused;
    for line in ["idle --links 5 --duration 60s", "connect --links 5 --duration 60s --warmup 0s"] {
        let report = run(&responder, line);
        assert_eq!((report.links.failed, report.exit_code()), (5, 1), "{line}: {}", report.text());
    }
}

#[test]
fn a_run_without_any_link_ends_at_once_with_the_cause() {
    let (Some(mut nobody), Some(denying)) = (start(Fault::Nothing), start(Fault::Deny)) else { return };
    nobody.address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for line in [
        "echo --links 3 --rate 300",
        "echo --links 3",
        "echo --links 3 --window 1",
        "idle --links 3",
        "connect --links 3 --rate 300",
        "connect --links 3",
    ] {
        for (responder, cause) in
            [(&nobody, "3 × connect: "), (&denying, "3 × closed by the gateway: auth_failed")]
        {
            let report = run(responder, &format!("{line} --duration 60s"));
            let text = report.text();
            assert!(report.deserted_after_s.is_some_and(|after| after < 60.0), "{line}: {text}");
            let problem = &report.problems[0];
            assert!(problem.starts_with("no link was opened, so the run ended after"), "{line}: {text}");
            assert!(problem.contains(cause) && !text.contains("did not keep up"), "{line}: {text}");
            assert!(!text.contains("GENERATOR-LIMITED") && report.exit_code() == 1, "{line}: {text}");
        }
    }
}

#[test]
fn a_run_that_loses_all_its_links_ends_there_with_the_cause() {
    let Some(responder) = start(Fault::HangUp(3)) else { return };
    for line in ["echo --links 3 --rate 300", "echo --links 3 --window 1"] {
        let report = run(&responder, &format!("{line} --duration 60s --warmup 0s"));
        let text = report.text();
        assert!(report.deserted_after_s.is_some_and(|after| after < 60.0), "{line}: {text}");
        let problem = &report.problems[0];
        assert!(problem.starts_with("no link was left, so the run ended after"), "{line}: {text}");
        assert!(problem.contains("3 × ") && !text.contains("did not keep up"), "{line}: {text}");
        assert!(report.measured_s.is_some_and(|measured| measured < 60.0), "{line}: {text}");
    }
}

#[test]
fn what_is_sent_in_the_warm_up_is_told_apart() {
    let Some(responder) = start(Fault::Drop(3)) else { return };
    let line = "echo --links 2 --rate 40 --duration 500ms --warmup 500ms --drain 300ms";
    let report = run(&responder, line);
    let (measured, early) = (messages(&report), report.warmup.unwrap());
    assert_eq!(Some(measured.sent), report.generator.planned, "{}", report.text());
    assert_eq!((measured.lost, early.lost, early.sent - early.received), (0, 2, 2), "{}", report.text());
    assert!(report.problems.contains(&"2 messages lost, 2 of them in the warm-up".to_owned()));
    assert!(report.text().contains(&format!("warm-up    sent {}", early.sent)), "{}", report.text());
    let without = run(&responder, CLOSED);
    assert_eq!(without.warmup, None, "{}", without.text());
}

#[test]
fn a_window_wider_than_the_grant_is_not_what_is_told() {
    let Some(responder) = start(Fault::Grant(32)) else { return };
    for (window, batch, granted) in [(40, 1, Some(32)), (10, 4, Some(8)), (32, 1, None), (8, 4, None)] {
        let line = format!("echo --links 2 --window {window} --batch {batch} --duration 300ms --warmup 0s");
        let report = run(&responder, &line);
        assert_eq!((report.setup.window, report.setup.window_granted), (Some(window), granted));
        let shown = format!("CLOSED LOOP, {} in flight", granted.unwrap_or(window));
        assert!(report.text().contains(&shown), "{}", report.text());
    }
}

#[test]
fn a_gateway_with_memory_left_over_has_no_figure_below_nothing() {
    let Some(responder) = start(Fault::Shed) else { return };
    let report =
        run(&responder, &format!("idle --links 3 --duration 100ms --watch-pid {}", std::process::id()));
    assert_eq!((report.gateway, report.links.up), (None, 3), "{}", report.text());
    assert!(
        report.text().contains("not measured: memory of the gateway: it did not grow"),
        "{}",
        report.text()
    );
}

#[test]
fn a_connect_nobody_answers_ends_with_the_timeout() {
    let Some(mut responder) = start(Fault::Nothing) else { return };
    // A listener with a full backlog answers no further SYN.
    let options = driver::ListenOptions { backlog: 0, ..driver::ListenOptions::default() };
    let listener = driver::listen(&Endpoint::Tcp("127.0.0.1:0".parse().unwrap()), &options).unwrap();
    responder.address = driver::local_address(&listener).unwrap().unwrap();
    let clock = Clock::start();
    let report = run(&responder, "idle --links 5 --timeout 300ms");
    assert!(clock.now() < Time::ZERO + Duration::from_secs(4), "much sooner than the driver's own 5 s");
    let timed_out = report.reasons.keys().any(|reason| reason.contains("timed out"));
    assert!(report.links.failed == 5 && timed_out, "{}", report.text());
}

#[test]
fn a_plan_without_a_link_has_neither_latency_nor_lateness() {
    let Some(responder) = start(Fault::Deny) else { return };
    let report = run(&responder, "echo --links 2 --rate 100 --duration 300ms --warmup 0s");
    assert_eq!((report.latency_us, report.generator.late_us_p99), (None, None), "{}", report.text());
    assert_eq!(report.exit_code(), 1);
}

#[test]
fn links_that_are_gone_when_memory_is_measured_cost_nothing() {
    let Some(responder) = start(Fault::Leave) else { return };
    let report = run(&responder, "idle --links 3 --duration 1750ms");
    assert_eq!((report.links.up, report.links.lost), (0, 3), "{}", report.text());
    assert_eq!((report.gateway, report.kernel, report.generator.pss_bytes_per_link), (None, None, None));
    assert!(!report.text().contains("inf"), "{}", report.text());
}

#[test]
fn cycles_go_round_and_are_counted() {
    let Some(responder) = start(Fault::Nothing) else { return };
    let report = run(&responder, "connect --links 8 --count 50 --duration 20s --warmup 0s --workers 2");
    let Messages { sent, received, .. } = messages(&report);
    assert_eq!(
        (sent, received, report.links.up, report.problems.len()),
        (50, 50, 50, 0),
        "{}",
        report.text()
    );
    assert_eq!((report.connects, report.resumed), (Some(50), None));
    let warm = run(&responder, "connect --links 4 --count 20 --duration 20s --warmup 300ms");
    assert_eq!((warm.connects, warm.latency_us.is_some()), (Some(20), true), "{}", warm.text());
    assert_eq!((messages(&warm).sent, warm.warmup.unwrap().lost), (20, 0), "{}", warm.text());
    let open = run(&responder, "connect --links 8 --rate 100 --duration 1s --warmup 0s");
    assert!((98..=102).contains(&open.generator.planned.unwrap()), "{}", open.text());
    assert_eq!(open.problems, [""; 0], "{}", open.text());
}

#[test]
fn tickets_of_the_first_part_open_the_links_of_the_second() {
    let Some(responder) = start(Fault::Nothing) else { return };
    let report = run(&responder, "connect --links 4 --count 20 --resume --duration 20s --warmup 0s");
    assert_eq!(report.problems, [""; 0], "{}", report.text());
    assert_eq!(report.resumed.unwrap().connects, 20);
    assert_eq!(responder.house.resumed.load(Ordering::Relaxed), 20);
    let Some(stingy) = start(Fault::Stingy) else { return };
    let report = run(&stingy, "connect --links 4 --count 20 --resume --duration 20s --warmup 0s");
    assert_eq!((report.resumed.unwrap().connects, report.exit_code()), (0, 1), "{}", report.text());
}
