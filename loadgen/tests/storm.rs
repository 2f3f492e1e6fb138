//! Storms at a real gateway: everybody is cut, by each of the ways there are, and comes back. Judged by counts, never by times.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A gateway in development that keeps its keys, and the folder of this test.
struct Stage {
    gateway: Child,
    folder: PathBuf,
}

fn binary() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_loadgen")).with_file_name("gateway")
}

impl Stage {
    /// Nothing, and a line that says why, where there is no gateway or no io_uring.
    fn set(name: &str) -> Option<Self> {
        if let Err(blocked) = driver::probe() {
            eprintln!("NOT RUN: {blocked}");
            return None;
        }
        if !binary().exists() {
            eprintln!("NOT RUN: there is no {}; cargo build -p gateway", binary().display());
            return None;
        }
        let folder = std::env::temp_dir().join(format!("loadgen-storm-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut gateway = Command::new(binary())
            .args(["dev", "--listen", "127.0.0.1:0", "--workers", "2", "--state"])
            .arg(folder.join("state"))
            .arg("--ready-file")
            .arg(folder.join("ready.json"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(gateway.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.any(|line| line.contains("Ctrl-C ends everything")), "the gateway has ended");
        Some(Self { gateway, folder })
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    fn ready(&self) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.file("ready.json")).ok()?).ok()
    }

    /// What starts the gateway again in the same place.
    fn again(&self) -> String {
        let listen = self.ready().unwrap()["listen"].as_str().unwrap().to_owned();
        let (state, ready) = (self.file("state"), self.file("ready.json"));
        let gateway = binary().display().to_string();
        format!("exec '{gateway}' dev --listen {listen} --workers 2 --state '{state}' --ready-file '{ready}'")
    }

    /// Runs one storm; what the file says, and what a person is told.
    fn storm(&self, options: &[&str]) -> (Value, String) {
        let (target, json) = (self.file("ready.json"), self.file("result.json"));
        let ran = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["storm", "--target-file", &target, "--json", &json])
            .args(["--links", LINKS_SHOWN, "--workers", "2", "--duration", "500ms", "--rate", "300"])
            .args(options)
            .env_remove("LOADGEN_TOKEN")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        let told = String::from_utf8_lossy(&ran.stdout).into_owned();
        // On a busy machine the generator may be the limit.
        assert!(matches!(ran.status.code(), Some(0 | 3)), "{options:?}: {:?}: {told} {said}", ran.status);
        (serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap(), told)
    }
}

impl Drop for Stage {
    /// Ends the gateway that was started last, whoever started it, and waits until it has removed its file.
    fn drop(&mut self) {
        if let Some(pid) = self.ready().and_then(|ready| ready["pid"].as_u64()) {
            let _gone = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
        }
        for _ in 0..1000 {
            if self.ready().is_none() {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        let _ended_before = self.gateway.kill();
        let _reaped = self.gateway.wait();
        let _left = std::fs::remove_dir_all(&self.folder);
    }
}

const LINKS: u64 = 60;
const LINKS_SHOWN: &str = "60";

/// What every storm has to say that ends well: how many came back with their session, and in full.
fn assert_back(result: &Value, resumed: u64, full: u64) {
    let links = serde_json::json!({ "up": LINKS, "failed": 0, "lost": 0, "resumed": resumed, "full": full });
    assert_eq!(result["links"], links, "{result}");
    let number = |pointer: &str| {
        let found = result.pointer(pointer).and_then(Value::as_f64);
        found.unwrap_or_else(|| panic!("no {pointer} in {result}"))
    };
    let [p50, p99, all] = ["p50", "p99", "all"].map(|name| number(&format!("/recovery_ms/{name}")));
    assert!(0.0 < p50 && p50 <= p99 && p99 <= all, "{result}");
    assert!(number("/gateway/cpu_us_per_link") > 0.0 && number("/connect/cpu_us_per_link") > 0.0, "{result}");
    assert!(number("/storm/attempts") >= LINKS as f64, "{result}");
    let curve = result["storm"]["curve"].as_array().unwrap();
    assert_eq!(curve.last().unwrap()["back"], LINKS, "{result}");
    let messages = &result["messages"];
    let cut = number("/storm/requests_cut");
    assert_eq!(number("/messages/sent"), number("/messages/received") + cut, "{messages} {cut}");
    assert_eq!(result["problems"], serde_json::json!([]));
}

#[test]
fn whoever_is_cut_goes_on_with_the_session_it_had() {
    let Some(stage) = Stage::set("cut") else { return };
    for cut in ["reset", "close"] {
        let (result, told) = stage.storm(&["--cut", cut, "--open-at-once", "16", "--push", "300"]);
        assert_back(&result, LINKS, 0);
        let of_pushes = |name: &str| result["pushes"][name].as_u64().unwrap();
        assert_eq!((of_pushes("lost"), of_pushes("duplicated")), (0, 0), "{result}");
        let sent = of_pushes("sent");
        assert!(sent > 0 && of_pushes("received") == sent && of_pushes("delivered") == sent, "{result}");
        assert!(told.contains(&format!("pushes     sent {sent}  delivered {sent}")), "{told}");
        assert_eq!((&result["storm"]["cut"], &result["storm"]["attempts"]), (&cut.into(), &LINKS.into()));
        assert!(told.contains(&format!("storm      {cut} of {LINKS} links")), "{told}");
        assert!(told.contains(" 100 % ####"), "{told}");
        assert_eq!(result["storm"].get("failed_attempts"), None, "{result}");
    }
}

#[test]
fn for_comparison_everybody_comes_back_in_full() {
    let Some(stage) = Stage::set("full") else { return };
    let (result, _) = stage.storm(&["--full"]);
    assert_back(&result, 0, LINKS);
}

#[test]
fn a_gateway_that_was_killed_knows_the_tickets_and_not_the_sessions() {
    let Some(stage) = Stage::set("kill") else { return };
    let before = stage.ready().unwrap()["pid"].clone();
    let again = stage.again();
    let (result, told) = stage.storm(&["--cut", "kill-gateway", "--restart", &again, "--push", "300"]);
    assert_back(&result, 0, 0);
    assert_eq!(result["pushes"]["duplicated"], 0, "{result}");
    assert!(result["pushes"]["received"].as_u64().unwrap() > 0, "{result}");
    assert_ne!(stage.ready().unwrap()["pid"], before, "it lives on");
    assert!(result["storm"]["restart_ms"].as_f64().unwrap() > 0.0, "{result}");
    assert!(told.contains("the new gateway was ready after"), "{told}");
}

#[test]
fn a_storm_that_cannot_be_says_so_and_kills_nobody() {
    let Some(stage) = Stage::set("wrong") else { return };
    let (target, moved) = (stage.file("ready.json"), stage.file("moved.json"));
    let text = std::fs::read_to_string(&target).unwrap();
    let pid = stage.ready().unwrap()["pid"].to_string();
    std::fs::write(&moved, text.replace(&pid, &std::process::id().to_string())).unwrap();
    for (options, complaint) in [
        (&["--cut", "kill-gateway", "--target-file", &moved][..], "nobody is killed"),
        (&["--restart", "true", "--target-file", &target], "--restart is for"),
        (&["--rate", "0", "--target-file", &target], "--rate"),
        (&["--cut", "pull", "--target-file", &target], "--cut"),
    ] {
        let ran = Command::new(env!("CARGO_BIN_EXE_loadgen")).arg("storm").args(options).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!((ran.status.code(), said.contains(complaint)), (Some(2), true), "{options:?}: {said}");
    }
    assert_eq!(stage.ready().unwrap()["pid"].to_string(), pid);
}
