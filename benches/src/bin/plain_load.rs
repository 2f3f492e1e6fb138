//! The generator's side of the plain baseline: keeps one packet of each link on its way to an echo server and back,
//! without encryption or framing, and reports what the server's process paid for it.
//!
//! It drives `driver` the way `loadgen` does, so that both loads arrive in the same rhythm.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use driver::{
    Batch, Completion, Config, Doorbells, Driver, Endpoint, Full, Mode, Op, Pool, Sent, Token, Trust, Uring,
};
use loadgen::watch::Process;

#[derive(Debug, Parser)]
#[command(version, about = "Closed-loop plain TCP echo load")]
struct Options {
    /// Ready file of the server: JSON with pid and listen.
    #[arg(long)]
    target_file: PathBuf,
    /// Number of links.
    #[arg(long, default_value_t = 100)]
    links: u32,
    /// Bytes per packet.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Seconds to measure, after one of warming up.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// CPU to run on.
    #[arg(long)]
    pin: Option<u32>,
}

fn main() -> Result<(), String> {
    let options = Options::parse();
    let text =
        fs::read_to_string(&options.target_file).map_err(|error| format!("the ready file: {error}"))?;
    let target: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("the ready file: {error}"))?;
    let address: SocketAddr =
        target["listen"].as_str().and_then(|at| at.parse().ok()).ok_or("the ready file names no address")?;
    let pid = target["pid"]
        .as_u64()
        .and_then(|pid| u32::try_from(pid).ok())
        .ok_or("the ready file names no pid")?;
    if let Some(cpu) = options.pin {
        driver::thread::pin(cpu).map_err(|error| error.to_string())?;
    }
    let limit = driver::limits::raise_open_files().map_err(|error| error.to_string())?;
    let config = Config {
        slots: u32::try_from(limit.hard).unwrap_or(u32::MAX).min(options.links + 64),
        ..Config::default()
    };
    let ring = Uring::new(config, Doorbells::new(1), 0).map_err(|blocked| blocked.cause)?;
    let mut load =
        Load { ring, size: options.size, echoed: 0, partial: vec![0; options.links as usize + 64] };
    load.connect(address, options.links)?;
    load.run_for(Duration::from_secs(1))?;
    let server = Process::with_pid(pid);
    let before = (server.cpu().map_err(|error| error.to_string())?, load.echoed, now());
    load.run_for(Duration::from_secs(options.seconds))?;
    let after = (server.cpu().map_err(|error| error.to_string())?, load.echoed, now());
    let messages = (after.1 - before.1) / options.size as u64;
    let cpu = after.0.since(&before.0);
    let line = serde_json::json!({
        "scenario": "plain",
        "links": options.links,
        "messages": messages,
        "rate_per_second": messages as f64 / (after.2 - before.2).as_secs_f64(),
        "server": { "cpu_us_per_message": cpu.as_secs_f64() * 1e6 / messages as f64 },
    });
    write(&line.to_string())
}

struct Load {
    ring: Uring,
    size: usize,
    /// Bytes that came back.
    echoed: u64,
    /// Bytes of the packet under way that came back so far, by slot.
    partial: Vec<usize>,
}

impl Load {
    fn connect(&mut self, address: SocketAddr, links: u32) -> Result<(), String> {
        for tag in 0..links {
            self.submit(Op::Connect {
                tag,
                from: None,
                to: Box::new(Endpoint::Tcp(address)),
                trust: Trust::Anybody,
            });
        }
        let mut connected = 0;
        let end = now() + Duration::from_secs(30);
        while connected < links {
            if now() > end {
                return Err(format!("{connected} of {links} links connected in time"));
            }
            self.ring.wait(1, Some(Duration::from_secs(1))).map_err(|error| error.to_string())?;
            while let Some(done) = self.ring.next() {
                match done {
                    Completion::Connected { result: Ok(token), .. } => {
                        connected += 1;
                        self.submit(Op::Receive { token, pool: Pool::Links, mode: Mode::Multishot });
                        self.send(token);
                    }
                    Completion::Connected { result: Err(errno), .. } => {
                        return Err(format!("connect: {errno:?}"));
                    }
                    other => self.completed(other)?,
                }
            }
        }
        Ok(())
    }

    fn run_for(&mut self, time: Duration) -> Result<(), String> {
        let end = now() + time;
        while now() < end {
            self.ring.wait(1, Some(Duration::from_millis(100))).map_err(|error| error.to_string())?;
            while let Some(done) = self.ring.next() {
                self.completed(done)?;
            }
        }
        Ok(())
    }

    fn completed(&mut self, done: Completion) -> Result<(), String> {
        match done {
            Completion::Received { token, chunk, more } => {
                let got = &mut self.partial[token.slot as usize];
                *got += chunk.len();
                self.echoed += chunk.len() as u64;
                let whole = *got >= self.size;
                if whole {
                    *got = 0;
                }
                self.ring.recycle(chunk);
                if !more {
                    self.submit(Op::Receive { token, pool: Pool::Links, mode: Mode::Multishot });
                }
                if whole {
                    self.send(token);
                }
            }
            Completion::Sent { result: Sent::Bytes(_), batch, .. } if batch.rest().is_empty() => {}
            Completion::Sent { token, batch, result: Sent::Bytes(_) | Sent::Again } => {
                self.submit(Op::Send { token, batch });
            }
            Completion::Ended { token, why: driver::End::Lapsed | driver::End::Starved, .. } => {
                self.submit(Op::Receive { token, pool: Pool::Links, mode: Mode::Multishot });
            }
            Completion::Rung => {}
            other => return Err(format!("the server does not keep its links: {other:?}")),
        }
        Ok(())
    }

    fn send(&mut self, token: Token) {
        self.submit(Op::Send { token, batch: Batch { bytes: vec![7; self.size], sent: 0 } });
    }

    fn submit(&mut self, op: Op) {
        let mut op = op;
        while let Err(Full(back)) = self.ring.submit(op) {
            op = back;
        }
    }
}

fn write(line: &str) -> Result<(), String> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}").map_err(|error| error.to_string())
}

#[expect(clippy::disallowed_methods, reason = "a load runs on real time")]
fn now() -> Instant {
    Instant::now()
}
