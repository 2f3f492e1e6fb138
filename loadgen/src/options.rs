//! The command line.

mod duration;
mod pushing;
mod storm;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use protocol::noise::{PublicKey, Suite};

use crate::sources::{ATTACKERS_MAX, HONEST_MAX};
use crate::target::{ReadyFile, Target, parse_key};
use crate::tokens::Signing;
use crate::watch::Process;

use self::duration::{parse_duration, parse_some_duration};
pub use self::pushing::{Classes, PushLoad, SlowLoad};
pub use self::storm::{CutKind, Terms};

/// Drives many encrypted client links against a gateway and says what they cost both ends.
///
/// Exit codes: 0 all is well; 1 links failed or were lost, or messages or pushes were lost, doubled, misordered, refused or
/// damaged, or the gateway held back more than 1 % of the planned sends until the load was over; 2 the run could not
/// take place; 3 the generator was the limit (open loop: more than 1 % of the planned sends missed; closed loop: its
/// turns began late, or a worker used a whole processor and no thread of the gateway did); 4 a signal ended the run
/// early. What becomes of the attackers of `abuse` and the slow links of `slow` is no fault of anybody; honest links that do not get in are. The first SIGINT or SIGTERM has what was measured until then reported, the second one ends the process at once.
/// A run of which no link is left ends by itself, with 1.
#[derive(Clone, Debug, Parser)]
#[command(name = "loadgen", version)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub scenario: Scenario,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Scenario {
    /// Holds authenticated links, has every heartbeat answered, and measures memory per link.
    Idle(Idle),
    /// Sends messages that a backend sends back, and checks each of them.
    Echo(Echo),
    /// Connects, shakes hands, authenticates, echoes once and closes, again and again.
    Connect(Connect),
    /// Has a service push to the links, acknowledges as a client must, and asks what became of each push.
    Push(Push),
    /// Has a service push to the links while some of them read slowly or not at all: what the others notice is the result.
    Slow(Slow),
    /// Attacks the gateway from many addresses of this machine, beside an honest load whose latency is the result.
    Abuse(Abuse),
    /// Cuts all links at one moment, and says how long it takes until everybody is back and what that costs.
    Storm(Storm),
}

impl Scenario {
    /// The options all scenarios have.
    #[must_use]
    pub const fn shared(&self) -> &Shared {
        match self {
            Self::Idle(idle) => &idle.shared,
            Self::Echo(echo) => &echo.shared,
            Self::Connect(connect) => &connect.shared,
            Self::Push(push) => &push.shared,
            Self::Slow(slow) => &slow.shared,
            Self::Abuse(abuse) => &abuse.shared,
            Self::Storm(storm) => &storm.shared,
        }
    }
}

/// Options of `idle`.
#[derive(Clone, Debug, Args)]
pub struct Idle {
    /// Options of all scenarios.
    #[command(flatten)]
    pub shared: Shared,
    /// Number of links.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub links: u32,
    /// How long all links are held once they are up.
    #[arg(long, value_parser = parse_some_duration, default_value = "30s")]
    pub duration: Duration,
}

/// Options of `echo`.
#[derive(Clone, Debug, Args)]
pub struct Echo {
    /// Options of all scenarios.
    #[command(flatten)]
    pub shared: Shared,
    /// Number of links.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub links: u32,
    /// Open loop: messages per second over all links, sent when planned whatever the answers do; latency counts from
    /// the planned time. Default: one per link and second.
    #[arg(long, conflicts_with = "window")]
    pub rate: Option<f64>,
    /// Closed loop instead: packets each link keeps in flight. Each answer allows the next packet, so a slow gateway
    /// is asked less; latency counts from the sending.
    #[arg(long)]
    pub window: Option<u32>,
    /// Bytes of payload per message.
    #[arg(long, default_value_t = 64)]
    pub size: usize,
    /// Messages per packet, sent as one record.
    #[arg(long, default_value_t = 1)]
    pub batch: u32,
    /// How long to measure.
    #[arg(long, value_parser = parse_some_duration, default_value = "10s")]
    pub duration: Duration,
    /// Load before the measuring begins.
    #[arg(long, value_parser = parse_duration, default_value = "1s")]
    pub warmup: Duration,
}

/// Options of `connect`.
#[derive(Clone, Debug, Args)]
pub struct Connect {
    /// Options of all scenarios.
    #[command(flatten)]
    pub shared: Shared,
    /// Links that may be under way at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub links: u32,
    /// Open loop: cycles per second, begun when planned; latency counts from the planned time. Default: closed loop,
    /// each place begins its next cycle when the one before is over.
    #[arg(long)]
    pub rate: Option<f64>,
    /// Stop after so many cycles; those of the warm-up do not count.
    #[arg(long)]
    pub count: Option<u64>,
    /// A second part of the same length in which links are opened with tickets from the first; both are reported.
    #[arg(long)]
    pub resume: bool,
    /// With --token-key: tokens that are signed before the load begins, some 350 bytes each. Any more are signed when they are
    /// needed, which then is part of what the generator does while it measures, and is said.
    #[arg(long, default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(..=4_000_000))]
    pub tokens: u32,
    /// Bytes of payload of the echo.
    #[arg(long, default_value_t = 64)]
    pub size: usize,
    /// How long to measure at most.
    #[arg(long, value_parser = parse_some_duration, default_value = "10s")]
    pub duration: Duration,
    /// Load before the measuring begins.
    #[arg(long, value_parser = parse_duration, default_value = "1s")]
    pub warmup: Duration,
}

/// Options of `push`.
#[derive(Clone, Debug, Args)]
pub struct Push {
    /// Options of all scenarios.
    #[command(flatten)]
    pub shared: Shared,
    /// Its own.
    #[command(flatten)]
    pub load: PushLoad,
}

/// Options of `slow`.
#[derive(Clone, Debug, Args)]
pub struct Slow {
    /// Options of all scenarios.
    #[command(flatten)]
    pub shared: Shared,
    /// Its own.
    #[command(flatten)]
    pub load: SlowLoad,
}

/// Options of `abuse`.
///
/// Each pair is a phase with the honest load alone and one of the same length under attack. Attackers come from 127.1.0.0/16,
/// 16 of them to a /24, honest links from 127.2.x.1, 16 to an address; so the gateway has to be on this machine, and to be
/// protected from it: `gateway dev --protect`. Attackers whom the gateway lets go come again, at the same rate.
#[derive(Clone, Debug, Args)]
pub struct Abuse {
    /// What the attackers do.
    #[arg(value_enum)]
    pub kind: AbuseKind,
    /// Options of all scenarios.
    #[command(flatten)]
    pub shared: Shared,
    /// Links the attackers hold at most at once.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub links: u32,
    /// Addresses they come from, in turn.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=i64::from(ATTACKERS_MAX)))]
    pub sources: u32,
    /// Attempts per second, all attackers together.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=i64::from(ATTEMPTS_PER_SECOND_MAX)))]
    pub rate: u32,
    /// Attempts in one phase at most.
    #[arg(long)]
    pub attempts: Option<u64>,
    /// slowloris: between two bytes.
    #[arg(long, value_parser = parse_some_duration, default_value = "5s")]
    pub interval: Duration,
    /// hello-flood: whether the hellos were made for the gateway's key, or have a wrong tag.
    #[arg(long, value_enum, default_value_t = Tags::Valid)]
    pub tags: Tags,
    /// hello-flood: how long an attacker waits for its answer at most. Default: until it has one.
    #[arg(long, value_parser = parse_duration)]
    pub patience: Option<Duration>,
    /// frame-flood and ping-flood: frames per second of each link.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub frames: u32,
    /// An attacker's link that the gateway ends within this time, without having said anything, counts as refused; one that
    /// lives longer as accepted. With 0s all count that were connected.
    #[arg(long, value_parser = parse_duration, default_value = "100ms")]
    pub at_once: Duration,
    /// Honest links, up all the time.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=i64::from(HONEST_MAX / 2)))]
    pub honest: u32,
    /// Messages per second over all honest links, sent when planned. Default: one per link and second.
    #[arg(long)]
    pub honest_rate: Option<f64>,
    /// Further honest links, each opened once, spread evenly over the phases under attack.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(HONEST_MAX / 4)))]
    pub connects: u32,
    /// How long each phase is.
    #[arg(long, value_parser = parse_some_duration, default_value = "10s")]
    pub duration: Duration,
    /// Pairs of phases, one after the other.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub pairs: u32,
}

/// Options of `storm`.
///
/// The links are opened, carry traffic, are cut, come back as an SDK does, and carry traffic once more.
#[derive(Clone, Debug, Args)]
pub struct Storm {
    /// Options of all scenarios.
    #[command(flatten)]
    pub shared: Shared,
    /// Number of links.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub links: u32,
    /// How long they carry traffic before they are cut, and again once they are back.
    #[arg(long, value_parser = parse_some_duration, default_value = "5s")]
    pub duration: Duration,
    /// How they are cut, and come back.
    #[command(flatten)]
    pub terms: Terms,
}

/// What attackers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AbuseKind {
    /// Connect and say nothing.
    HalfOpen,
    /// Send a valid hello, a byte at a time.
    Slowloris,
    /// Send one recorded hello again and again, each time on a new link.
    HelloFlood,
    /// Send random bytes.
    Junk,
    /// Connect and close: what a hello-flood costs without its hellos.
    ConnectChurn,
    /// Log in and send tiny requests, far more than anybody is granted.
    FrameFlood,
    /// Log in and send nothing but pings.
    PingFlood,
}

/// Whether the hellos of a flood were made for the gateway's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tags {
    /// They were.
    Valid,
    /// One bit of the tag is wrong, as if by somebody who does not know the key.
    Invalid,
}

/// The most attempts per second: what one thread makes without falling behind.
const ATTEMPTS_PER_SECOND_MAX: u32 = 20_000;

/// Options of all scenarios.
#[derive(Clone, Debug, Args)]
pub struct Shared {
    /// The gateway's ready file: gives address, key, token and process. Without it --addr, --server-key and a token are
    /// needed.
    #[arg(long)]
    pub target_file: Option<PathBuf>,
    /// Where the gateway listens. With 0.0.0.0 the links are spread over as many of 127.0.0.1, .2 and so on as their
    /// number needs.
    #[arg(long)]
    pub addr: Option<SocketAddr>,
    /// The gateway's public key, 64 hex digits.
    #[arg(long, value_parser = parse_key)]
    pub server_key: Option<PublicKey>,
    /// The development token. Anybody on this machine can read it in the list of processes: --token-file or the
    /// environment variable LOADGEN_TOKEN keep it to yourself, and so does the ready file.
    #[arg(long, conflicts_with = "token_file")]
    pub token: Option<String>,
    /// A file that holds the token and nothing else. Comes before LOADGEN_TOKEN, and that before the ready file's.
    #[arg(long)]
    pub token_file: Option<PathBuf>,
    /// Tokens that are signed here.
    #[command(flatten)]
    pub signing: Signing,
    /// The gateway's process, to measure its CPU and memory. Default: the ready file's, if its address is not overridden
    /// and it is a process named gateway.
    #[arg(long)]
    pub watch_pid: Option<u32>,
    /// Threads, each with a ring of its own. Default: one per processor, more where a ring's table holds too few links.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub workers: Option<u32>,
    /// Processors to pin the threads to, in turn.
    #[arg(long, value_delimiter = ',')]
    pub pin: Vec<u32>,
    /// Handshake pattern and cipher.
    #[arg(long, value_enum, default_value_t = SuiteName::NkChacha)]
    pub suite: SuiteName,
    /// Links that may be between connect and welcome at once.
    #[arg(long, default_value_t = 256)]
    pub ramp: u32,
    /// Heartbeat interval to ask for; the gateway's choice by default.
    #[arg(long, value_parser = parse_duration, default_value = "0s")]
    pub heartbeat: Duration,
    /// How long a link may take from connect to welcome.
    #[arg(long, value_parser = parse_some_duration, default_value = "10s")]
    pub timeout: Duration,
    /// How long answers are awaited once the load is over; what has not come by then is lost.
    #[arg(long, value_parser = parse_duration, default_value = "10s")]
    pub drain: Duration,
    /// Writes the result here.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Handshake pattern and cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SuiteName {
    /// Pinned server key, ChaCha20-Poly1305.
    NkChacha,
    /// Pinned server key, AES-256-GCM.
    NkAes,
    /// Device key as well, ChaCha20-Poly1305. All links show the same key.
    IkChacha,
    /// Device key as well, AES-256-GCM. All links show the same key.
    IkAes,
}

impl SuiteName {
    /// The suite of this name.
    #[must_use]
    pub const fn suite(self) -> Suite {
        match self {
            Self::NkChacha => Suite::NkChaChaPoly,
            Self::NkAes => Suite::NkAesGcm,
            Self::IkChacha => Suite::IkChaChaPoly,
            Self::IkAes => Suite::IkAesGcm,
        }
    }
}

impl Shared {
    /// The target, from the ready file and the options that override it.
    ///
    /// # Errors
    /// One line that says what is missing or wrong.
    pub fn target(&self) -> Result<Target, String> {
        let file = self.target_file.as_deref().map(ReadyFile::read).transpose()?;
        let from_file = file.as_ref();
        let address = self.addr.or(from_file.map(|file| file.listen));
        let key = match (self.server_key, from_file) {
            (None, Some(file)) => Some(parse_key(&file.server_key)?),
            (key, _) => key,
        };
        let token = self.token(from_file)?;
        let (Some(address), Some(server_key), Some(token)) = (address, key, &token) else {
            return Err(self.missing(address.is_some(), key.is_some(), token.is_some()));
        };
        let (pid, unwatched) = match (self.watch_pid, from_file.map(|file| self.pid_of(file))) {
            (Some(pid), _) => (Some(pid), None),
            (None, Some(Ok(pid))) => (Some(pid), None),
            (None, Some(Err(why))) => (None, Some(why)),
            (None, None) => (None, None),
        };
        // What is not measured for being another process says nothing of this one either.
        let http = from_file.and_then(|file| file.http).filter(|_| unwatched.is_none());
        Ok(Target { address, server_key, token: token.clone(), http, pid, unwatched })
    }

    /// The token, from wherever it is given.
    fn token(&self, from_file: Option<&ReadyFile>) -> Result<Option<String>, String> {
        if self.signing.token_key.is_some() {
            return Ok(Some(String::new()));
        }
        if let Some(path) = &self.token_file {
            return read_token(path).map(Some);
        }
        let given = self.token.clone().or_else(|| std::env::var(TOKEN_VARIABLE).ok());
        Ok(given.or_else(|| from_file?.token.clone()))
    }

    /// Says which options are missing.
    fn missing(&self, has_address: bool, has_key: bool, has_token: bool) -> String {
        let token = format!("--token-file (or --token, --token-key, or {TOKEN_VARIABLE})");
        let missing: Vec<&str> = [(has_address, "--addr"), (has_key, "--server-key"), (has_token, &token)]
            .into_iter()
            .filter_map(|(has, option)| (!has).then_some(option))
            .collect();
        let missing = missing.join(", ");
        match &self.target_file {
            Some(file) => format!("missing: {missing}; {} holds none", file.display()),
            None => format!(
                "missing: {missing}; or --target-file with the gateway's ready file, which holds them all"
            ),
        }
    }

    /// The ready file's process, or why it is not the one to be measured: the file may be of another machine, or the
    /// process long gone and its number somebody else's.
    fn pid_of(&self, file: &ReadyFile) -> Result<u32, String> {
        let pid = file.pid;
        let hint = format!("--watch-pid {pid} measures it all the same");
        if self.addr.is_some_and(|addr| addr != file.listen) {
            return Err(format!("--addr is another address than that of the ready file's process; {hint}"));
        }
        match Process::with_pid(pid).names() {
            names if names.is_empty() => {
                Err(format!("the ready file's process {pid} is not on this machine"))
            }
            names if names.iter().any(|name| name == GATEWAY) => Ok(pid),
            names => {
                Err(format!("the ready file's process {pid} is {}, not {GATEWAY}; {hint}", names.join(", ")))
            }
        }
    }
}

/// Where the token may be given out of sight.
const TOKEN_VARIABLE: &str = "LOADGEN_TOKEN";

/// The token in a file, without the end of its line.
fn read_token(path: &Path) -> Result<String, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("--token-file {}: {error}", path.display()))?;
    match text.trim_end() {
        "" => Err(format!("--token-file {}: there is no token in it", path.display())),
        token => Ok(token.to_owned()),
    }
}

/// What the gateway's process is named.
const GATEWAY: &str = "gateway";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_names_a_target() {
        use clap::CommandFactory;
        Options::command().debug_assert();
        assert!(
            Options::try_parse_from(["loadgen", "idle", "--token", "a", "--token-file", "b"]).is_err(),
            "one of them"
        );
        assert!(
            Options::try_parse_from([
                "loadgen",
                "echo",
                "--target-file",
                "f",
                "--rate",
                "1",
                "--window",
                "1"
            ])
            .is_err()
        );
        let key = "0a".repeat(32);
        let line = [
            "loadgen",
            "idle",
            "--addr",
            "127.0.0.1:1",
            "--server-key",
            &key,
            "--token",
            "a",
            "--pin",
            "0,1",
        ];
        let Scenario::Idle(idle) = Options::try_parse_from(line).unwrap().scenario else { panic!() };
        assert_eq!(idle.shared.pin, [0, 1]);
        assert_eq!(idle.shared.target().unwrap().pid, None);
    }
}
