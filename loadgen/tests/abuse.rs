//! Attacks on a real gateway: each kind runs, stops by itself, and says what it did. Judged by counts, never by times.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod stage;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;
use stage::Stage;

impl Stage {
    /// Runs one attack; what the file says, and what a person is told.
    fn abuse(&self, line: &str) -> (Value, String) {
        let json = self.file("result.json");
        let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .arg("abuse")
            .args(line.split_whitespace())
            .arg("--target-file")
            .arg(self.file("ready.json"))
            .args(["--honest", "20", "--honest-rate", "200", "--connects", "5", "--json"])
            .arg(&json)
            .env_remove("LOADGEN_TOKEN")
            .output()
            .unwrap();
        let code = output.status.code();
        let said = String::from_utf8_lossy(&output.stderr);
        let result: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        // On a busy machine the generator may be the limit.
        assert!(matches!(code, Some(0 | 3)), "{line}: {code:?}: {said} {result}");
        (result, String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn number(result: &Value, pointer: &str) -> f64 {
    let found = result.pointer(pointer).and_then(Value::as_f64);
    found.unwrap_or_else(|| panic!("no {pointer} in {result}"))
}

fn attack(result: &Value, name: &str) -> u64 {
    number(result, &format!("/attack/{name}")) as u64
}

/// What every run has to say, whatever the attack.
fn assert_told(result: &Value, line: &str) {
    for pointer in ["/quiet/latency_us/p99", "/attacked/latency_us/p99", "/gateway/pss_bytes_max"] {
        assert!(number(result, pointer) > 0.0, "{line}: {pointer}");
    }
    // A difference, which chance may make negative.
    assert!(number(result, "/gateway/cpu_us_per_attempt").is_finite(), "{line}");
    assert!(number(result, "/gateway/ceiling_bytes") > number(result, "/gateway/pss_bytes_max"), "{line}");
    let connects = &result["honest"]["connects"];
    assert_eq!((&connects["ok"], &connects["failed"]), (&5.into(), &0.into()), "{line}: {result}");
    let [attempted, accepted, refused, unmade, unfinished] =
        ["attempted", "accepted", "refused", "unmade", "unfinished"].map(|name| attack(result, name));
    assert_eq!(attempted, accepted + refused + unmade + unfinished, "{line}: {result}");
    assert!(attempted > 0 && attack(result, "closed") <= accepted, "{line}: {result}");
    assert_eq!(result["links"], serde_json::json!({ "up": 20, "failed": 0, "lost": 0 }), "{line}");
}

#[test]
fn every_kind_runs_stops_by_itself_and_says_what_it_did() {
    let Some(stage) = Stage::set("kinds", &[]) else { return };
    for (kind, served, welcomed) in [
        ("half-open", false, false),
        ("slowloris --interval 20ms", false, false),
        ("hello-flood", true, false),
        ("hello-flood --tags invalid", false, false),
        ("junk", false, false),
        ("connect-churn", false, false),
        ("frame-flood --links 10 --frames 200", true, true),
        ("ping-flood --links 10 --frames 200", true, true),
    ] {
        let size = if welcomed { "" } else { "--links 120" };
        let line = format!("{kind} {size} --sources 4 --rate 300 --duration 1s");
        let (result, text) = stage.abuse(&line);
        assert_told(&result, &line);
        assert_eq!(attack(&result, "served") > 0, served, "{line}: {result}");
        assert_eq!(attack(&result, "welcomed") > 0, welcomed, "{line}: {result}");
        assert_eq!(attack(&result, "frames") > 0, welcomed, "{line}: {result}");
        assert!(attack(&result, "links_max") <= 120, "{line}: {result}");
        let name = result["abuse"]["kind"].as_str().unwrap();
        assert!(text.contains(&format!("attack     {name}")) && text.contains("\nattacked   p50 "), "{text}");
    }
}

#[test]
fn a_protected_gateway_keeps_one_address_out_and_one_that_exempts_it_is_told_of() {
    let line =
        "half-open --links 300 --sources 1 --rate 1000 --attempts 300 --at-once 1s --duration 2s --pairs 2";
    let warned = |result: &Value| result["warnings"].to_string().contains("gateway dev --protect");
    let Some(stage) = Stage::set("protected", &["--protect"]) else { return };
    let (result, _) = stage.abuse(line);
    assert_told(&result, line);
    let [attempted, accepted, refused] =
        ["attempted", "accepted", "refused"].map(|name| attack(&result, name));
    assert_eq!(attempted, 600, "so many were asked for, in each of two attacks: {result}");
    // 64 strangers at a time, and 40 connections with 20 more per second: so many get in, and no more.
    assert!((40..=200).contains(&accepted) && refused >= 400, "{result}");
    assert!(!warned(&result), "{result}");
    drop(stage);
    let Some(stage) = Stage::set("exempt", &[]) else { return };
    let (result, text) = stage.abuse(line);
    assert_told(&result, line);
    assert_eq!((attack(&result, "accepted"), attack(&result, "refused")), (600, 0), "{result}");
    assert!(warned(&result) && text.contains("gateway dev --protect"), "{result}");
}

#[test]
fn a_signal_ends_the_attack_and_keeps_what_was_counted_until_then() {
    let Some(stage) = Stage::set("signal", &[]) else { return };
    let json = stage.file("result.json");
    let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["abuse", "half-open", "--links", "50", "--rate", "100", "--sources", "4", "--honest", "10"])
        .args(["--duration", "6s", "--pairs", "50", "--target-file"])
        .arg(stage.file("ready.json"))
        .arg("--json")
        .arg(&json)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|said| said.contains("abuse attacked ")), "the attack begins");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert!(lines.all(|said| !said.contains("abuse quiet ")), "there is no further phase");
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let result: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert!(number(&result, "/interrupted_after_s") > 0.0);
    let attempted = attack(&result, "attempted");
    assert!(
        attempted > 0 && attempted == attack(&result, "accepted") + attack(&result, "unfinished"),
        "{result}"
    );
    assert_eq!(result["links"], serde_json::json!({ "up": 10, "failed": 0, "lost": 0 }));
}

#[test]
fn what_cannot_be_done_is_said_in_one_line_with_a_remedy() {
    let key = "0a".repeat(32);
    for (line, remedy) in [
        ("half-open --links 100000 --addr 127.0.0.1:1", "ulimit -Hn"),
        ("half-open --addr 10.9.8.7:1", "let the gateway listen on 127.0.0.1"),
        ("half-open --addr 127.0.0.1:1 --workers 2", "leave it away"),
        ("half-open --addr 127.0.0.1:1 --honest-rate 0", "--honest-rate must"),
        ("half-open --addr 127.0.0.1:1 --rate 1000000", "--rate"),
        ("half-open --addr 127.0.0.1:1 --sources 5000", "--sources"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .arg("abuse")
            .args(line.split_whitespace())
            .args(["--server-key", &key, "--token", "a"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.contains(remedy)), (Some(2), true), "{line}: {said}");
        assert_eq!(output.stdout.len(), 0, "{line}: nothing was run");
    }
}
