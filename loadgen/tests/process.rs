//! The binary from outside: ready file in, JSON and exit code out.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod responder;

use std::process::{Command, Output};

use responder::{Fault, start};
use serde_json::Value;

fn loadgen(line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen")).args(line).output().unwrap()
}

#[test]
fn a_ready_file_is_enough_and_the_json_holds_what_was_measured() {
    let Some(responder) = start(Fault::Nothing) else { return };
    let (target, json) = (responder.ready_file("target"), responder.ready_file("result"));
    let (target, json) = (target.to_str().unwrap(), json.to_str().unwrap());
    let output = loadgen(&[
        "echo",
        "--target-file",
        target,
        "--json",
        json,
        "--links",
        "10",
        "--window",
        "1",
        "--duration",
        "500ms",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("CLOSED LOOP"));
    let result: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!((&result["scenario"], &result["setup"]["loop"]), (&"echo".into(), &"closed".into()));
    assert_eq!(result["links"], serde_json::json!({ "up": 10, "failed": 0, "lost": 0 }));
    for (part, field) in [
        ("messages", "received"),
        ("latency_us", "p999"),
        ("gateway", "cpu_us_per_message"),
        ("generator", "cpu_us_per_message"),
    ] {
        assert!(result[part][field].as_f64().unwrap() > 0.0, "{part}.{field} in {result}");
    }
    assert_eq!(result.get("kernel"), None, "not measured by echo");
    assert_eq!(result["gateway"].get("pss_bytes_per_link"), None, "not measured by echo");
    for file in [target, json] {
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn what_cannot_run_says_why_in_one_line_and_exits_with_2() {
    let output = loadgen(&["idle", "--target-file", "/nowhere/ready.json"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((said.lines().count(), said.contains("/nowhere/ready.json")), (1, true), "{said}");
    let key = "0a".repeat(32);
    let line = ["echo", "--addr", "127.0.0.1:1", "--server-key", &key];
    for (wrong, complaint) in [
        (["--window", "65"], "--window"),
        (["--size", "0"], "--size"),
        (["--rate", "0"], "--rate"),
        (["--links", "100000"], "ports"),
        (["--links", "0"], "--links"),
    ] {
        let output = loadgen(&[&line[..], &wrong[..]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.contains(complaint)), (Some(2), true), "{wrong:?}: {said}");
    }
}
