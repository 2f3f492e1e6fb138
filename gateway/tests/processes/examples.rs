//! The examples of both SDKs do what their heads say, before and behind a real gateway.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use crate::stage::{Folder, Process, Target, now, path, wait_until};

/// How long anything may take. A message whose receiver is away is tried again after seconds.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_echo_of_the_client_is_answered_by_that_of_the_backend() {
    let Some(house) = House::new("echo-service") else { return };
    let token = house.folder.token();
    let mut asked = house.client("echo", &token, &["alice", "hello"]);
    assert_eq!(asked.hear(), "hello");
    asked.end_well();
}

#[test]
fn two_users_of_the_chat_talk_and_each_hears_that_the_other_one_has_it() {
    let Some(house) = House::new("chat-service") else { return };
    let token = house.folder.token();
    let mut alice = house.client("chat", &token, &["alice"]);
    // Bob is not there yet: it is tried until he is.
    alice.say("bob hello");
    let mut bob = house.client("chat", &token, &["bob"]);
    assert_eq!(bob.hear(), "alice: hello");
    assert_eq!(alice.hear(), "(bob has it)");
    bob.say("alice and to you");
    assert_eq!(alice.hear(), "bob: and to you");
    assert_eq!(bob.hear(), "(alice has it)");
    [alice, bob].iter_mut().for_each(Example::end_well);
}

#[test]
fn the_judge_lets_in_whose_token_it_knows_and_says_who_that_is() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let (socket, tokens) = (folder.file("judge.sock"), folder.file("tokens"));
    std::fs::write(&tokens, "first-word alice\nsecond-word bob\n").expect("a folder of the test");
    let _judge = service("judge", &socket, &[tokens.as_os_str()]);
    // Its own config, but for places that are the test's.
    let config = include_str!("../../../sdk/backend/examples/judge.toml");
    let config = put(config, "127.0.0.1:7400", "127.0.0.1:0");
    let config = put(&config, "/tmp/judge.sock", path(&socket)) + "\n[admin]\nhttp = \"127.0.0.1:0\"\n";
    let (file, ready) = (folder.file("judge.toml"), folder.file("ready.json"));
    std::fs::write(&file, config).expect("a folder of the test");
    let _gateway =
        Process::gateway(&["run", "--config", path(&file), "--workers", "1", "--ready-file", path(&ready)]);
    let target = Target::read(&ready);
    wait_until("the stream is open", || target.metric("gateway_streams") == 1);

    for (token, said) in [("first-word", "alice: hello"), ("second-word", "bob: hello")] {
        let mut known = client("echo", &ready, token, &["nobody", "hello"]);
        assert_eq!(known.hear(), said);
        known.end_well();
    }
    let mut unknown = client("echo", &ready, "third-word", &["alice", "hello"]);
    assert!(!unknown.process.wait().expect("it is ours").success());
    assert!(unknown.lines.recv().is_err(), "it has nothing to say");
}

/// Messages per round, and rounds: in each of them one of the two is killed.
const EACH: u32 = 4;
const ROUNDS: u32 = 8;

#[test]
fn what_is_stored_and_synchronised_is_neither_lost_nor_doubled_however_often_both_are_killed() {
    let Some(house) = House::new("chat-service") else { return };
    let token = house.folder.token();
    let start = |user: &str| {
        let file = house.folder.file(user);
        house.client("store_and_sync", &token, &[user, path(&file)])
    };
    let (mut alice, mut bob) = (start("alice"), start("bob"));
    for round in 0..ROUNDS {
        let first = round * EACH + 1;
        for number in first..first + EACH {
            alice.say(&format!("bob {number}"));
            alice.wait_for(&format!("(kept: {number})"));
        }
        // The others of this round are anywhere on their way.
        if round % 2 == 0 {
            bob.wait_for(&format!("alice {first}"));
            drop(bob);
            bob = start("bob");
        } else {
            drop(alice);
            alice = start("alice");
        }
    }
    let last = ROUNDS * EACH;
    bob.wait_for(&format!("alice {last}"));
    // Alice was killed after the last one was kept, and says now that nothing of it waits any more.
    alice.say("alice to myself");
    alice.wait_for("alice to myself");
    drop(bob);
    bob = start("bob");
    bob.say("bob to myself");
    let stored: Vec<String> = (1..=last).map(|number| format!("alice {number}")).collect();
    assert_eq!(bob.until("(kept: to myself)"), stored, "each of them once, and in their order");
}

/// A service, and a gateway in front of it.
struct House {
    folder: Folder,
    _service: Example,
    _gateway: Process,
}

impl House {
    /// With this example as the service. Nothing if this machine can't run a gateway.
    fn new(name: &str) -> Option<Self> {
        let folder = Folder::new()?;
        folder.make_key("server.key");
        let service = service(name, &folder.file("service.sock"), &[]);
        let (gateway, target) = folder.gateway("auth.mode = 'development'\n");
        wait_until("the streams are open", || target.metric("gateway_streams") == 2);
        Some(Self { folder, _service: service, _gateway: gateway })
    }

    fn client(&self, name: &str, token: &str, arguments: &[&str]) -> Example {
        client(name, &self.folder.file("ready.json"), token, arguments)
    }
}

/// Starts an example of the backend's, and waits until it listens.
fn service(name: &str, socket: &Path, arguments: &[&OsStr]) -> Example {
    let service = Example::start(example(name).arg(socket).args(arguments));
    wait_until("the service listens", || std::os::unix::net::UnixStream::connect(socket).is_ok());
    service
}

/// Starts an example of the client's.
fn client(name: &str, ready: &Path, token: &str, arguments: &[&str]) -> Example {
    Example::start(example(name).arg(ready).args(arguments).env("TOKEN", token))
}

/// A process that is killed when it goes.
struct Example {
    process: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Example {
    fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = child.expect("it was built");
        let input = process.stdin.take();
        let out = BufReader::new(process.stdout.take().expect("it is piped"));
        let (say, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        Self { process, input, lines }
    }

    fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("it is not over");
        writeln!(input, "{line}").expect("it lives");
    }

    /// The next line it says.
    fn hear(&self) -> String {
        self.hear_until(now() + PATIENCE)
    }

    fn hear_until(&self, end: Instant) -> String {
        let line = self.lines.recv_timeout(end.saturating_duration_since(now())).expect("it says it in time");
        assert!(!line.starts_with("(failed"), "{line}");
        line
    }

    fn wait_for(&self, line: &str) {
        self.until(line);
    }

    /// What it says before this.
    fn until(&self, line: &str) -> Vec<String> {
        let (mut before, end) = (Vec::new(), now() + PATIENCE);
        loop {
            let said = self.hear_until(end);
            if said == line {
                return before;
            }
            before.push(said);
        }
    }

    /// Its input is over, and with it the program.
    fn end_well(&mut self) {
        self.input = None;
        let status = &mut None;
        wait_until("the example ends", || {
            *status = self.process.try_wait().expect("it is ours");
            status.is_some()
        });
        assert!(status.expect("waited for above").success());
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// A text with something else in a place that is there.
fn put(text: &str, old: &str, new: &str) -> String {
    assert_eq!(text.matches(old).count(), 1, "{old}");
    text.replace(old, new)
}

/// An example of one of the SDKs. `cargo test` builds those of the packages it tests: where that was not the whole workspace,
/// whatever is missing or older than its sources is built here.
fn example(name: &str) -> Command {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let profile = Path::new(env!("CARGO_BIN_EXE_gateway")).parent().expect("a file lies in a folder");
        let folder = profile.join("examples");
        let sources = newest(&root().join("protocol/src")).max(newest(&root().join("sdk")));
        let built = |name: &&str| folder.join(name).metadata().and_then(|file| file.modified()).ok();
        if !EXAMPLES.iter().all(|name| built(name).is_some_and(|at| at > sources)) {
            build(profile);
        }
        folder
    });
    assert!(EXAMPLES.contains(&name), "{name} is no example");
    Command::new(folder.join(name))
}

/// All that these tests run.
const EXAMPLES: [&str; 6] = ["echo-service", "chat-service", "judge", "echo", "chat", "store_and_sync"];

/// When anything in a folder was changed last.
fn newest(folder: &Path) -> SystemTime {
    let entries = std::fs::read_dir(folder).expect("a folder of ours").flatten();
    let changed = entries.map(|entry| match entry.file_type().expect("it is there").is_dir() {
        true => newest(&entry.path()),
        false => entry.metadata().and_then(|file| file.modified()).expect("it is there"),
    });
    changed.max().expect("no folder is empty")
}

/// Builds the examples, in the place and the profile in which the gateway was built.
fn build(profile: &Path) {
    let target = profile.parent().expect("a profile's folder lies in that of the build");
    let name = profile.file_name().and_then(OsStr::to_str).expect("a plain name");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args([
        "build",
        "--quiet",
        "--locked",
        "--examples",
        "-p",
        "gateway",
        "-p",
        "client",
        "-p",
        "backend",
    ]);
    build.args(["--profile", if name == "debug" { "dev" } else { name }]).arg("--target-dir").arg(target);
    assert!(build.current_dir(root()).status().expect("cargo runs the tests").success(), "they can be built");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("gateway/ lies in the root")
}
