//! The binary from outside: ready file in, JSON and exit code out.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod responder;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use responder::{Fault, Responder, TOKEN, start};
use serde_json::Value;

fn loadgen(line: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen")).args(line).env_remove("LOADGEN_TOKEN").output().unwrap()
}

#[test]
fn a_ready_file_is_enough_and_the_json_holds_what_was_measured() {
    let Some(responder) = start(Fault::Nothing) else { return };
    let (target, json) = (responder.ready_file("target"), responder.ready_file("result"));
    let (target, json) = (target.to_str().unwrap(), json.to_str().unwrap());
    let pid = std::process::id().to_string();
    let output = loadgen(&[
        "echo",
        "--target-file",
        target,
        "--watch-pid",
        &pid,
        "--json",
        json,
        "--links",
        "10",
        "--window",
        "1",
        "--duration",
        "500ms",
    ]);
    // On a busy machine the generator may be the limit.
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 3)), "{code:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("CLOSED LOOP"));
    let result: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!((&result["scenario"], &result["setup"]["loop"]), (&"echo".into(), &"closed".into()));
    assert_eq!(result["generator"]["limited"].as_bool(), Some(code == Some(3)), "{result}");
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
fn a_process_that_is_no_gateway_or_serves_another_address_is_not_measured() {
    let Some(responder) = start(Fault::Nothing) else { return };
    let (target, json) = (responder.ready_file("stranger"), responder.ready_file("stranger-result"));
    let (target, json) = (target.to_str().unwrap(), json.to_str().unwrap());
    let listen = responder.address.to_string();
    let line = ["idle", "--target-file", target, "--json", json, "--links", "2", "--duration", "100ms"];
    let run = |more: &[&str]| -> Value {
        assert_eq!(loadgen(&[&line, more].concat()).status.code(), Some(0));
        serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap()
    };
    for more in [&[][..], &["--addr", &listen]] {
        let result = run(more);
        assert_eq!((result.get("gateway"), result.get("kernel")), (None, None), "{result}");
        let warning = result["warnings"][0].as_str().unwrap();
        assert!(warning.contains(", not gateway; --watch-pid"), "{warning}");
    }
    let other = format!("127.0.0.2:{}", responder.address.port());
    let moved = std::fs::read_to_string(target).unwrap().replace(&listen, &other);
    std::fs::write(target, moved).unwrap();
    let result = run(&["--addr", &listen]);
    assert_eq!(result.get("gateway"), None, "{result}");
    assert!(result["warnings"][0].as_str().unwrap().contains("--addr is another address"), "{result}");
    let result = run(&["--addr", &listen, "--watch-pid", &std::process::id().to_string()]);
    // What the links before have left may be enough for these; that is known of a process only that was looked at.
    let warnings = result["warnings"].as_array().unwrap();
    let did_not_grow =
        warnings.iter().any(|warning| warning.as_str().unwrap().contains("gateway: it did not grow"));
    assert!(result["gateway"]["pss_bytes_per_link"].is_number() || did_not_grow, "{result}");
    for file in [target, json] {
        std::fs::remove_file(file).unwrap();
    }
}

/// Starts a run that writes to the JSON file, reads its progress until a line contains `until`, and gives what is left.
fn start_run(
    responder: &Responder,
    line: &str,
    json: &str,
    until: &str,
) -> (Child, impl Iterator<Item = String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(line.split_whitespace())
        .args(responder.options())
        .args(["--json", json])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|said| said.contains(until)), "{line}: ended before {until}");
    (child, lines)
}

fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn a_signal_ends_the_run_and_keeps_what_was_measured_until_then() {
    let Some(responder) = start(Fault::Nothing) else { return };
    for (number, signal, line) in [
        (0, "-INT", "echo --links 5 --window 1"),
        (1, "-TERM", "echo --links 5 --rate 500"),
        (2, "-INT", "connect --links 2"),
    ] {
        let json = std::env::temp_dir().join(format!("loadgen-{}-signal-{number}.json", std::process::id()));
        let line = format!("{line} --duration 60s --warmup 0s");
        let (mut child, rest) = start_run(&responder, &line, json.to_str().unwrap(), " run 00:0");
        send(signal, &child);
        drop(rest.collect::<Vec<_>>());
        assert_eq!(child.wait().unwrap().code(), Some(4), "{line}");
        let result: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        let number = |pointer| result.pointer(pointer).and_then(Value::as_f64);
        let (after, measured) = (number("/interrupted_after_s").unwrap(), number("/measured_s").unwrap());
        assert!(0.5 < measured && measured <= after && after < 50.0, "{line}: {result}");
        let problems = result["problems"].as_array().unwrap();
        assert!(
            problems.len() == 1 && problems[0].as_str().unwrap().contains("interrupted after"),
            "{result}"
        );
        let received = number("/messages/received").unwrap();
        assert_eq!(
            (number("/messages/sent"), number("/messages/lost")),
            (Some(received), Some(0.0)),
            "{line}"
        );
        if let Some(rate) = number("/rate_per_second") {
            assert!(
                (rate * measured / received - 1.0).abs() < 0.2,
                "{line}: the time measured, not asked for: {result}"
            );
        }
        if let Some(planned) = number("/generator/planned") {
            assert!((planned / 500.0 / measured - 1.0).abs() < 0.2, "{line}: planned until then: {result}");
        }
        std::fs::remove_file(json).unwrap();
    }
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let Some(responder) = start(Fault::Drop(3)) else { return };
    let json = std::env::temp_dir().join(format!("loadgen-{}-second.json", std::process::id()));
    let line = "echo --links 2 --window 4 --duration 60s --warmup 0s --drain 60s";
    let (mut child, mut rest) = start_run(&responder, line, json.to_str().unwrap(), " run 00:0");
    send("-TERM", &child);
    assert!(rest.any(|said| said.contains("drain")), "it waits for the answers");
    send("-TERM", &child);
    assert!(rest.count() < 10, "it does not go on");
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert_eq!(std::fs::read(&json).unwrap(), b"", "there is no result");
    std::fs::remove_file(json).unwrap();
}

#[test]
fn a_result_that_cannot_be_written_is_noticed_before_the_run() {
    let Some(responder) = start(Fault::Nothing) else { return };
    let line =
        ["idle", "--links", "1", "--duration", "100ms", "--json", "/nowhere/result.json"].map(str::to_owned);
    let options = responder.options();
    let words: Vec<&str> = line.iter().chain(&options).map(String::as_str).collect();
    let output = loadgen(&words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.contains("/nowhere/result.json")), (Some(2), true), "{said}");
    assert_eq!((output.stdout.len(), said.lines().count()), (0, 1), "nothing was run: {said}");
}

#[test]
fn a_run_that_does_not_take_place_leaves_the_result_file_as_it_was() {
    let json = std::env::temp_dir().join(format!("loadgen-{}-kept.json", std::process::id()));
    let line = ["idle", "--target-file", "/nowhere/ready.json", "--json", json.to_str().unwrap()];
    assert_eq!((loadgen(&line).status.code(), json.exists()), (Some(2), false));
    std::fs::write(&json, "an earlier result").unwrap();
    assert_eq!(loadgen(&line).status.code(), Some(2));
    assert_eq!(std::fs::read(&json).unwrap(), b"an earlier result");
    std::fs::remove_file(json).unwrap();
}

#[test]
fn a_token_is_taken_from_a_file_or_the_environment() {
    let Some(responder) = start(Fault::Nothing) else { return };
    let file = std::env::temp_dir().join(format!("loadgen-{}-token", std::process::id()));
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let address = responder.address.to_string();
    let run = |more: &[&str], variable: &str| {
        let line = [
            "idle",
            "--links",
            "1",
            "--duration",
            "100ms",
            "--addr",
            &address,
            "--server-key",
            &responder.key,
        ];
        Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(line)
            .args(more)
            .env("LOADGEN_TOKEN", variable)
            .output()
            .unwrap()
    };
    let from_file = ["--token-file", file.to_str().unwrap()];
    for (more, variable, code) in
        [(&from_file[..], "wrong", 0), (&[], TOKEN, 0), (&[], "wrong", 1), (&["--token", "wrong"], TOKEN, 1)]
    {
        assert_eq!(run(more, variable).status.code(), Some(code), "{more:?} {variable}");
    }
    std::fs::write(&file, "\n").unwrap();
    let output = run(&from_file, TOKEN);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.contains("no token in it")), (Some(2), true), "{said}");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn what_is_missing_is_named() {
    let key = "0a".repeat(32);
    for (line, named, unnamed) in [
        (
            &["idle"][..],
            &["--addr", "--server-key", "--token-file", "LOADGEN_TOKEN", "--target-file"][..],
            "",
        ),
        (&["idle", "--addr", "127.0.0.1:1"], &["--server-key", "--token-file", "--target-file"], "--addr"),
        (
            &["idle", "--addr", "127.0.0.1:1", "--server-key", &key],
            &["--token-file", "--target-file"],
            "--server-key",
        ),
    ] {
        let output = loadgen(line);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{line:?}: {said}");
        assert!(named.iter().all(|option| said.contains(option)), "{line:?}: {said}");
        assert!(unnamed.is_empty() || !said.contains(unnamed), "{line:?}: {said}");
    }
}

#[test]
fn what_cannot_run_says_why_in_one_line_and_exits_with_2() {
    let output = loadgen(&["idle", "--target-file", "/nowhere/ready.json"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((said.lines().count(), said.contains("/nowhere/ready.json")), (1, true), "{said}");
    let key = "0a".repeat(32);
    let line = ["echo", "--addr", "127.0.0.1:1", "--server-key", &key, "--token", "a"];
    for (wrong, complaint) in [
        (["--window", "65"], "--window"),
        (["--size", "0"], "--size"),
        (["--rate", "0"], "--rate"),
        (["--links", "100000"], "ports"),
        (["--links", "0"], "--links"),
        (["--pin", "1023"], "--pin: processor 1023: "),
        (["--duration", "0s"], "--duration"),
        (["--timeout", "0s"], "--timeout"),
    ] {
        let output = loadgen(&[&line[..], &wrong[..]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.contains(complaint)), (Some(2), true), "{wrong:?}: {said}");
    }
}
