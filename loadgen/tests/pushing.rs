//! `push` and `slow` with a real gateway and its reference service. Judged by counts, never by times.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod stage;

use std::process::Command;

use serde_json::Value;
use stage::Stage;

/// Runs one scenario; its exit code, what the file says, and what a person is told.
fn run(stage: &Stage, line: &str) -> (Option<i32>, Value, String) {
    let json = stage.file("result.json");
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(line.split_whitespace())
        .arg("--target-file")
        .arg(stage.file("ready.json"))
        .arg("--json")
        .arg(&json)
        .env_remove("LOADGEN_TOKEN")
        .output()
        .unwrap();
    let result = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    (output.status.code(), result, String::from_utf8_lossy(&output.stdout).into_owned())
}

fn number(result: &Value, pointer: &str) -> f64 {
    let found = result.pointer(pointer).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("no {pointer} in {result}"))
}

fn count(result: &Value, pointer: &str) -> u64 {
    number(result, pointer) as u64
}

/// The books of the service and the readers balance.
fn assert_balanced(result: &Value, whose: &str) {
    let [sent, delivered, undelivered, unknown, received, duplicated, misordered] =
        ["sent", "delivered", "undelivered", "unknown", "received", "duplicated", "misordered"]
            .map(|name| count(result, &format!("/{whose}/{name}")));
    assert_eq!(sent, delivered + undelivered + unknown, "{result}");
    assert!(received >= delivered && sent > 0, "{result}");
    assert_eq!((duplicated, misordered), (0, 0), "{result}");
}

#[test]
fn every_push_of_either_class_arrives_and_both_ends_know_it() {
    let Some(stage) = Stage::set("push", &[]) else { return };
    for line in [
        "push --links 20 --window 8 --batch 4 --class 0 --duration 1s",
        "push --links 20 --window 8 --batch 4 --class 1 --duration 1s",
        "push --links 20 --rate 400 --size 1000 --class 1 --duration 1s",
    ] {
        let (code, result, text) = run(&stage, line);
        // On a busy machine the generator may be the limit.
        assert!(matches!(code, Some(0 | 3)), "{line}: {code:?} {text}");
        assert_balanced(&result, "push");
        let [sent, delivered, received] =
            ["sent", "delivered", "received"].map(|name| count(&result, &format!("/push/{name}")));
        assert_eq!((sent, sent), (delivered, received), "{line}: {result}");
        for pointer in ["/latency_us/p99", "/gateway/cpu_us_per_push", "/push/rate_per_second"] {
            assert!(number(&result, pointer) > 0.0, "{line}: {pointer}");
        }
        assert_eq!(result["links"], serde_json::json!({ "up": 20, "failed": 0, "lost": 0 }), "{line}");
        assert!(text.contains("\npushes     sent ") && text.contains("CPU per push"), "{text}");
    }
    // More than a session may be owed at once.
    let (code, result, text) =
        run(&stage, "push --links 2 --window 600 --batch 600 --class 1 --duration 500ms --warmup 0s");
    assert_eq!(code, Some(1), "{text}");
    assert_balanced(&result, "push");
    let undelivered = count(&result, "/push/undelivered");
    assert!(undelivered > 0 && count(&result, "/push/reasons/queue_full") == undelivered, "{result}");
    assert!(text.contains(&format!("PROBLEM    {undelivered} pushes undelivered")), "{text}");
}

#[test]
fn readers_who_keep_up_lose_nothing_beside_those_who_do_not() {
    let Some(stage) = Stage::set("slow", &[]) else { return };
    for (line, has_class_0) in [
        (
            "slow --links 4 --slow 1 --class 0 --rate 600 --size 16384 --batch 8 --duration 3s --drain 3s",
            true,
        ),
        (
            "slow --links 12 --slow 3 --class 1 --speed 1KiB --rate 1200 --size 200 --batch 16 --duration 3s --drain 3s",
            false,
        ),
    ] {
        let (code, result, text) = run(&stage, line);
        for whose in ["push", "quick", "slow"] {
            assert_balanced(&result, whose);
        }
        // What a generator that stood still asks for afterwards, all at once, is more than a link's queue may hold: on a busy
        // machine nobody keeps up.
        let generator = &result["generator"];
        let stood_still = generator["limited"] == true || number(&result, "/generator/stalled_ms") > 100.0;
        if !stood_still {
            assert_eq!(code, Some(0), "{line}: {text}");
            let of = |name: &str| count(&result, &format!("/quick/{name}"));
            assert_eq!((of("sent"), of("sent")), (of("delivered"), of("received")), "{line}: {result}");
            assert_eq!(result["links"]["lost"], 0, "{line}: {result}");
        }
        let sent = ["push", "quick", "slow"].map(|whose| count(&result, &format!("/{whose}/sent")));
        assert_eq!(sent[0], sent[1] + sent[2], "{line}: {result}");
        // Far more than kernels keep, or a session may be owed, is pushed to each that does not read.
        assert!(count(&result, "/slow/received") < sent[2], "{line}: {result}");
        if has_class_0 {
            // Whoever was not to be slow and was ended for it all the same is among the lost.
            let lost = count(&result, "/links/lost");
            let ended = ["ended", "slow_reader"].map(|name| count(&result, &format!("/slow/{name}")));
            assert_eq!(ended, [1, 1 + lost], "{line}: {result}");
        } else {
            assert!(count(&result, "/slow/reasons/queue_full") > 0, "{line}: {result}");
        }
        for pointer in ["/latency_us/p99", "/quiet/latency_us/p99", "/gateway/cpu_us_per_push"] {
            assert!(number(&result, pointer) > 0.0, "{line}: {pointer}");
        }
        assert!(text.contains("\nquick      sent ") && text.contains("\nquiet      p50 "), "{text}");
    }
}

#[test]
fn what_cannot_be_asked_for_is_said_in_one_line() {
    let key = "0a".repeat(32);
    for (line, remedy) in [
        ("push --size 39", "--size must"),
        ("push --batch 0", "--batch must"),
        ("push --window 10 --batch 4", "--window must"),
        ("push --rate 0", "--rate must"),
        ("slow --links 10 --slow 10", "--slow must"),
        ("slow --speed 1GiB", "--speed"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(line.split_whitespace())
            .args(["--addr", "127.0.0.1:1", "--server-key", &key, "--token", "a"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.contains(remedy)), (Some(2), true), "{line}: {said}");
        assert_eq!(output.stdout.len(), 0, "{line}: nothing was run");
    }
}
