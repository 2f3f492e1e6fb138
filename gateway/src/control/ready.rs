//! The ready file: how a script learns that the gateway serves, and where.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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
pub(super) struct ReadyFile {
    path: PathBuf,
    /// As long as it is open, no other file gets its number. A process's own number would not tell: in containers that share
    /// a folder all gateways may have the same.
    file: File,
}

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
            .and_then(|mut file| file.write_all(text.as_bytes()).map(|()| file))
            .and_then(|file| fs::rename(&beside, path).map(|()| file));
        match written {
            Ok(file) => Ok(Self { path: path.to_owned(), file }),
            Err(error) => {
                let _ = fs::remove_file(&beside);
                let fix = remedy::for_making(path, &error);
                Err(format!("the ready file {}: {error}; {fix}", path.display()))
            }
        }
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        let number = |found: fs::Metadata| (found.dev(), found.ino());
        let there = fs::symlink_metadata(&self.path).map(number);
        // A successor may have written its own meanwhile.
        if matches!((there, self.file.metadata().map(number)), (Ok(there), Ok(own)) if there == own) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what an earlier process has left. One that still runs keeps its file until this one serves.
///
/// # Errors
/// What to do when there is something else.
pub(super) fn remove_stale(path: &Path) -> Result<(), String> {
    let Ok(found) = fs::read(path) else { return Ok(()) };
    let file: serde_json::Value = serde_json::from_slice(&found).unwrap_or_default();
    if !found.is_empty() && !file.is_object() {
        let path = path.display();
        return Err(format!(
            "the ready file {path}: there is another file, which is left alone; name another path"
        ));
    }
    let runs =
        |pid: u64| pid != u64::from(std::process::id()) && Path::new("/proc").join(pid.to_string()).exists();
    if !file["pid"].as_u64().is_some_and(runs) {
        let _ = fs::remove_file(path);
    }
    Ok(())
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
