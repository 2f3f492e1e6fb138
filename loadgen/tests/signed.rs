//! Signed tokens at a real gateway that verifies them by itself: each login shows one it has not seen.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A gateway in "jwt" mode with the reference service behind it, and the folder of this test.
struct Stage {
    children: Vec<Child>,
    folder: PathBuf,
}

fn binary() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_loadgen")).with_file_name("gateway")
}

impl Stage {
    /// Nothing, and a line that says why, where there is no gateway or no io_uring.
    fn set() -> Option<Self> {
        if let Err(blocked) = driver::probe() {
            eprintln!("NOT RUN: {blocked}");
            return None;
        }
        if !binary().exists() {
            eprintln!("NOT RUN: there is no {}; cargo build -p gateway", binary().display());
            return None;
        }
        let folder = std::env::temp_dir().join(format!("loadgen-signed-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut stage = Self { children: Vec::new(), folder };
        let file = |name: &str| stage.folder.join(name).to_str().unwrap().to_owned();
        gateway(&["keygen", "--out", &file("server.key")]);
        let set = gateway(&["keygen", "--tokens", &file("sign.jwk")]).stdout;
        std::fs::write(file("keys.json"), set).unwrap();
        let config = format!(
            "listener = [{{ name = 'clients', address = '127.0.0.1:0' }}]\nkeys.server = 'server.key'\n\
             admin.http = 'off'\nadmin.socket = '{}'\nlimits.loopback_exempt = true\nauth.mode = 'jwt'\n\
             auth.keys = 'keys.json'\nauth.issuer = 'login.example'\nauth.audience = ['chat']\n\
             [[route]]\nname = 'echo'\nendpoints = ['service']\n\
             [[endpoint]]\nname = 'service'\naddress = 'unix:{}'\nclear = true\n",
            file("admin.sock"),
            file("service.sock"),
        );
        std::fs::write(file("gateway.toml"), config).unwrap();
        let (service, toml, ready) = (file("service.sock"), file("gateway.toml"), file("ready.json"));
        let run = ["run", "--config", &toml, "--workers", "2", "--ready-file", &ready];
        for line in [&["reference-service", &service][..], &run] {
            let mut command = Command::new(binary());
            let child = command.args(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            stage.children.push(child.unwrap());
        }
        stage.wait_until_ready();
        Some(stage)
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Until each worker has its stream to the service.
    fn wait_until_ready(&self) {
        for _ in 0..2000 {
            let is_up = |status: &Value| status["endpoints"][0]["streams_open"] == 2;
            if Path::new(&self.file("ready.json")).exists() && self.status().as_ref().is_some_and(is_up) {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        panic!("the gateway did not become ready");
    }

    fn status(&self) -> Option<Value> {
        let mut asked = Command::new(binary());
        asked.args(["status", "--json", "--socket", &self.file("admin.sock")]);
        serde_json::from_slice(&output(&mut asked).stdout).ok()
    }

    /// How many tokens were verified so far, and how many were refused for what.
    fn verified(&self) -> (u64, Value) {
        let totals = self.status().unwrap()["totals"].clone();
        (totals["tokens_verified"].as_u64().unwrap(), totals["token_flaws"].clone())
    }

    /// Runs `connect` with signed tokens; what it reports.
    fn connect(&self, line: &str) -> Value {
        let (key, target, json) = (self.file("sign.jwk"), self.file("ready.json"), self.file("result.json"));
        let ran = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["connect", "--target-file", &target, "--token-key", &key, "--json", &json])
            .args(["--issuer", "login.example", "--workers", "2", "--links", "4", "--warmup", "0s"])
            .args(["--duration", "60s"])
            .args(line.split_whitespace())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        let result: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        // On a busy machine the generator may be the limit.
        assert!(matches!(ran.status.code(), Some(0 | 3)), "{line}: {:?}: {said} {result}", ran.status);
        result
    }
}

fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn gateway(line: &[&str]) -> Output {
    let done = output(Command::new(binary()).args(line));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _gone = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
            let _ended = child.wait();
        }
        let _left = std::fs::remove_dir_all(&self.folder);
    }
}

fn warnings(result: &Value) -> String {
    result["warnings"].to_string()
}

#[test]
fn each_connect_shows_a_token_that_the_gateway_has_to_verify_and_a_ticket_shows_none() {
    let Some(stage) = Stage::set() else { return };
    let (before, flaws) = stage.verified();
    let result = stage.connect("--audience chat --count 40 --tokens 60");
    assert_eq!((&result["connects"], &result["links"]["failed"]), (&40.into(), &0.into()), "{result}");
    assert!(!warnings(&result).contains("tokens were signed"), "{result}");
    assert_eq!(stage.verified(), (before + 40, flaws.clone()), "each of them, and none was refused");

    let result = stage.connect("--audience chat --count 20 --tokens 10 --resume");
    assert_eq!((&result["connects"], &result["links"]["failed"]), (&20.into(), &0.into()), "{result}");
    assert!(result["resumed"]["connects"].as_u64().unwrap() > 0, "{result}");
    assert_eq!(stage.verified(), (before + 60, flaws), "of the first part only");
    assert!(warnings(&result).contains("tokens were signed while links were opened"), "{result}");
}
