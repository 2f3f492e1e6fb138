//! A real gateway with its service in processes of their own, for tests of whole runs.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]
#![allow(unreachable_pub, reason = "a module of tests")]

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A gateway in development, and the folder of this test.
pub struct Stage {
    gateway: Child,
    /// What it has to say; somebody has to listen.
    _said: Lines<BufReader<ChildStdout>>,
    folder: PathBuf,
}

impl Stage {
    /// Nothing, and a line that says why, where there is no gateway or no io_uring.
    pub fn set(name: &str, options: &[&str]) -> Option<Self> {
        if let Err(blocked) = driver::probe() {
            eprintln!("NOT RUN: {blocked}");
            return None;
        }
        let binary = Path::new(env!("CARGO_BIN_EXE_loadgen")).with_file_name("gateway");
        if !binary.exists() {
            eprintln!("NOT RUN: there is no {}; cargo build -p gateway", binary.display());
            return None;
        }
        let folder = std::env::temp_dir().join(format!("loadgen-stage-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut gateway = Command::new(binary)
            .args(["dev", "--listen", "127.0.0.1:0", "--workers", "1", "--ready-file"])
            .arg(folder.join("ready.json"))
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(gateway.stdout.take().unwrap()).lines();
        let is_ready =
            said.by_ref().map_while(Result::ok).any(|line| line.contains("Ctrl-C ends everything"));
        assert!(is_ready, "the gateway has ended");
        Some(Self { gateway, _said: said, folder })
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _gone = Command::new("kill").args(["-TERM", &self.gateway.id().to_string()]).status();
        let _ended = self.gateway.wait();
        let _left = std::fs::remove_dir_all(&self.folder);
    }
}
