//! The ready file: how a script learns that the gateway serves, and where.

use std::fmt;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use protocol::hex;
use serde_json::json;

use super::remedy;
use crate::config::{Config, Listener, beside};

/// What is known when every worker serves.
pub struct Ready {
    /// The addresses clients connect to, by listener of the config; ports are the real ones.
    pub listeners: Vec<SocketAddr>,
    /// The address of /metrics.
    pub http: Option<SocketAddr>,
}

impl fmt::Display for Ready {
    /// The addresses, as in a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.listeners.iter().map(ToString::to_string).collect();
        f.write_str(&addresses.join(", "))
    }
}

/// A written ready file; removed when dropped.
#[derive(Debug)]
pub(super) struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Writes it beside its place and renames it, so that a reader finds it whole or not at all. It may hold a
    /// token, so only its owner may read it.
    pub(super) fn write(
        path: &Path,
        config: &Config,
        ready: &Ready,
        token: Option<&str>,
    ) -> Result<Self, String> {
        let text = format!("{}\n", contents(config, ready, token));
        let beside = beside(path, std::process::id());
        let written = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .and_then(|()| fs::rename(&beside, path));
        if let Err(error) = written {
            let _ = fs::remove_file(&beside);
            let fix = remedy::for_making(path, &error);
            return Err(format!("the ready file {}: {error}; {fix}", path.display()));
        }
        Ok(Self(path.to_owned()))
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // A successor may have written its own meanwhile.
        if pid(&self.0) == Some(std::process::id()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// Removes what an earlier process has left. One that still runs keeps its file until this one serves.
pub(super) fn remove_stale(path: &Path) {
    let runs = |pid: u32| pid != std::process::id() && Path::new("/proc").join(pid.to_string()).exists();
    if !pid(path).is_some_and(runs) {
        let _ = fs::remove_file(path);
    }
}

/// Whose ready file this is, if it is one.
fn pid(path: &Path) -> Option<u32> {
    let file: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    file["pid"].as_u64()?.try_into().ok()
}

/// Absent means: there is none.
fn contents(config: &Config, ready: &Ready, token: Option<&str>) -> serde_json::Value {
    let listener = |(listener, address): (&Listener, &SocketAddr)| {
        json!({
            "name": listener.name,
            "listen": address.to_string(),
            "server_key": hex::encode(&listener.key.public().0),
        })
    };
    let listeners: Vec<_> = config.listeners.iter().zip(&ready.listeners).map(listener).collect();
    let mut fields = json!({
        "pid": std::process::id(),
        // The first one again, for whoever wants any.
        "listen": listeners[0]["listen"],
        "server_key": listeners[0]["server_key"],
        "listeners": listeners,
    });
    let optional = [
        ("token", token.map(str::to_owned)),
        ("admin", config.admin.socket.as_ref().map(|path| path.display().to_string())),
        ("http", ready.http.map(|address| address.to_string())),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            fields[name] = value.into();
        }
    }
    fields
}
