//! The reference service as a process of its own; see [`backend::reference`].

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use backend::protocol::hex::decode_array;
use backend::protocol::noise::{PublicKey, StaticKey};
use backend::reference;
use backend::{Listen, Security};
use clap::Parser;

/// Serves the routes "echo", "chat", "push" and "outcomes" to gateways.
#[derive(Debug, Parser)]
#[command(version)]
struct Line {
    /// unix:/path or tcp:address:port.
    #[arg(long)]
    listen: Listen,
    /// Written when it listens: JSON with pid, listen and, for sealed streams, service_key.
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// File with this service's private key, 64 hex digits on a line of their own: streams are sealed then.
    #[arg(long, requires = "gateway_key")]
    key_file: Option<PathBuf>,
    /// Public key of a gateway that may come, 64 hex digits; may be given several times.
    #[arg(long, requires = "key_file", value_parser = public_key)]
    gateway_key: Vec<PublicKey>,
    /// Allow streams without encryption over TCP; on loopback only.
    #[arg(long, conflicts_with = "key_file")]
    clear: bool,
}

fn main() -> ExitCode {
    let line = Line::parse();
    match run(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reference-service: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(line: Line) -> io::Result<()> {
    let security = match &line.key_file {
        Some(path) => Security::Kk { key: private_key(path)?, gateways: line.gateway_key },
        None if line.clear => Security::ClearLoopback,
        None => Security::Clear,
    };
    let key = match &security {
        Security::Kk { key, .. } => Some(format!("{:?}", key.public())),
        Security::Clear | Security::ClearLoopback => None,
    };
    let ready = |place: &Listen| {
        writeln!(io::stdout(), "listening on {place}")?;
        line.ready_file.as_ref().map_or(Ok(()), |path| write_ready(path, place, key))
    };
    reference::run(&line.listen, security, ready, reference::asked_to_stop())
}

/// Written beside its place and renamed, so that a reader finds it whole or not at all.
fn write_ready(path: &Path, place: &Listen, key: Option<String>) -> io::Result<()> {
    let mut fields = serde_json::json!({ "pid": std::process::id(), "listen": place.to_string() });
    if let Some(key) = key {
        fields["service_key"] = key.into();
    }
    let beside = path.with_added_extension(std::process::id().to_string());
    let written = fs::write(&beside, format!("{fields}\n")).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What went wrong is told, and nothing else is left behind.
        _ = fs::remove_file(beside);
    }
    written
}

fn private_key(path: &Path) -> io::Result<StaticKey> {
    let text = fs::read_to_string(path)?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let key = lines.next().and_then(decode_array).filter(|_| lines.next().is_none());
    key.map(StaticKey::from_secret).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: wanted 64 hex digits", path.display()))
    })
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    decode_array(text).map(PublicKey).ok_or_else(|| "wanted 64 hex digits".into())
}
