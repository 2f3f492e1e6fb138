//! Whether a gateway could start here and now: everything it binds is tried, and left as it was.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use serde_json::Value;

use super::addresses::{self, Refused};
use super::ask::Running;
use super::{bans, sockets};
use crate::clock::Clock;
use crate::config::Config;

/// What was found.
#[derive(Debug, Default)]
pub struct Trial {
    /// What would keep it from starting, and what to do.
    pub obstacles: Vec<String>,
    /// What a person may want to know.
    pub notes: Vec<String>,
}

/// Tries it.
#[must_use]
pub fn try_out(config: &Config) -> Trial {
    let mut trial = Trial::default();
    let listeners: Vec<_> = addresses::refused(config).collect();
    let (http, socket) = sockets::try_out(&config.admin);
    let in_use = listeners.iter().map(|(_, refused)| refused).chain(&http).chain(&socket).any(|it| it.in_use);
    let running =
        if in_use { Running::look(&config.admin) } else { Running { at_socket: None, at_http: None } };
    let told = [&running.at_socket, &running.at_http];
    for (address, refused) in listeners {
        trial.note(refused, told.into_iter().flatten().find(|status| listens_on(status, address)));
    }
    http.into_iter().for_each(|refused| trial.note(refused, running.at_http.as_ref()));
    socket.into_iter().for_each(|refused| trial.note(refused, running.at_socket.as_ref()));
    trial.obstacles.extend(bans::try_out(&config.lists, Clock::start().unix()).err());
    for endpoint in &config.endpoints {
        if let driver::Endpoint::Unix(path) = &endpoint.address
            && let Some(what) = oddity(path)
        {
            trial.notes.push(format!("endpoint \"{}\": {}: {what}", endpoint.name, path.display()));
        }
    }
    trial
}

impl Trial {
    /// What is in use by the gateway that this config is of is no obstacle: it is there until that one stops.
    fn note(&mut self, refused: Refused, running: Option<&Value>) {
        match running.filter(|_| refused.in_use) {
            Some(status) => {
                let process = &status["pid"];
                self.notes.push(format!("{}: by the gateway that runs, process {process}", refused.cause));
            }
            None => self.obstacles.push(refused.reason),
        }
    }
}

fn listens_on(status: &Value, address: SocketAddr) -> bool {
    let listeners = status["listeners"].as_array().into_iter().flatten();
    listeners.into_iter().any(|listener| listener["address"] == address.to_string())
}

/// What will keep a backend from being reached at a path, unless it makes it so itself.
fn oddity(path: &Path) -> Option<&'static str> {
    match path.metadata() {
        Ok(found) if found.file_type().is_socket() => None,
        Ok(_) => Some("there is a file that is no socket"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path.parent()?;
            (!folder.is_dir()).then_some("there is no such folder yet")
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Some("this user may not look there"),
        Err(_) => None,
    }
}
