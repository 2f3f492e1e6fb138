//! The binary against a gateway that stands still or is killed under load: whose fault the waiting was.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod responder;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use responder::Apart;
use serde_json::Value;

const PLACE: &str = "a_responder_of_its_own";

#[test]
fn a_responder_of_its_own() {
    responder::be_apart();
}

/// Messages per second: more than the links may have in flight while the gateway stands still.
const RATE: f64 = 400.0;

/// An open loop under way, whose progress can be followed.
struct Load {
    child: Child,
    progress: Box<dyn Iterator<Item = String>>,
    json: std::path::PathBuf,
}

impl Load {
    fn start(apart: &Apart, name: &str) -> Self {
        let json = std::env::temp_dir().join(format!("loadgen-{}-{name}.json", std::process::id()));
        let line = format!("echo --links 4 --rate {RATE} --duration 6s --warmup 0s --workers 1");
        let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(line.split_whitespace())
            .args(apart.responder.options())
            .args(["--json".as_ref(), json.as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        Self { child, progress: Box::new(lines), json }
    }

    /// Waits for so many lines of progress of the run, one a second.
    fn goes_on(&mut self, lines: usize) {
        assert_eq!(
            self.progress.by_ref().filter(|line| line.contains(" run 00:")).take(lines).count(),
            lines
        );
    }

    /// Lets it stand still for a moment that is long enough to be noticed.
    #[expect(clippy::disallowed_methods, reason = "it is the length of the stall, and nothing is waited for")]
    fn stands_still(&self, meanwhile: impl FnOnce()) {
        let kill = |signal: &str| Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(kill("-STOP").unwrap().success());
        meanwhile();
        std::thread::sleep(Duration::from_millis(50));
        assert!(kill("-CONT").unwrap().success());
    }

    fn result(mut self) -> Value {
        self.progress.by_ref().for_each(drop);
        self.child.wait().unwrap();
        let result = serde_json::from_slice(&std::fs::read(&self.json).unwrap()).unwrap();
        std::fs::remove_file(&self.json).unwrap();
        result
    }
}

/// A stall of the generator's own misses what was planned while it lasted, and what was planned before it and did not
/// wait longer for the gateway: together no more than what is planned in twice its time. On a busy machine there are
/// more such stalls than this test makes.
fn assert_pays_for_its_own_stalls_alone(result: &Value) {
    let number = |pointer| result.pointer(pointer).and_then(Value::as_f64).unwrap();
    let (planned, missed) = (number("/generator/planned"), number("/generator/missed"));
    let most = 2.0 * number("/generator/stalled_ms") / 1000.0 * RATE + 10.0;
    assert!(planned > 5.0 * RATE && missed <= most, "at most {most}: {result}");
}

#[test]
fn a_gateway_that_stands_still_shows_in_the_latency_and_not_as_the_generators_fault() {
    let Some(apart) = Apart::start(PLACE) else { return };
    let mut load = Load::start(&apart, "frozen");
    load.goes_on(1);
    apart.signal("-STOP");
    load.goes_on(2);
    load.stands_still(|| ());
    load.goes_on(1);
    apart.signal("-CONT");
    let result = load.result();
    assert_pays_for_its_own_stalls_alone(&result);
    assert!(result["latency_us"]["max"].as_f64().unwrap() > 1_000_000.0, "{result}");
    assert_eq!(result["messages"]["lost"], 0, "{result}");
}

#[test]
fn a_gateway_that_is_killed_and_comes_again_ends_the_run_and_not_as_the_generators_fault() {
    let Some(mut apart) = Apart::start(PLACE) else { return };
    let mut load = Load::start(&apart, "killed");
    load.goes_on(2);
    load.stands_still(|| apart.replace(PLACE));
    let result = load.result();
    assert_eq!((&result["links"]["lost"], result["generator"].get("limited")), (&4.into(), None), "{result}");
    let problem = result["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("no link was left, so the run ended after"), "{result}");
    assert!(result["measured_s"].as_f64().unwrap() < 6.0, "{result}");
}
