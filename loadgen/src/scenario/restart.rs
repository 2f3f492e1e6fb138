//! Killing a gateway, and having it start again.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::clock::Clock;
use crate::target::{ReadyFile, Target, parse_key};

/// How long a gateway may take to be ready again.
const READY_MAX: Duration = Duration::from_secs(60);
/// How often its file is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Kills the process with SIGKILL. The shell is there on every machine; a program named kill is not.
///
/// # Errors
/// One line when the process is gone already, or somebody else's.
pub(super) fn kill(pid: u32) -> Result<(), String> {
    let mut shell = Command::new("sh");
    let done = shell.args(["-c", "kill -KILL \"$1\"", "sh", &pid.to_string()]).stdin(Stdio::null()).status();
    match done {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("the gateway, process {pid}, could not be killed")),
        Err(error) => Err(format!("sh, to kill the gateway: {error}")),
    }
}

/// Starts the gateway again, if there is a command for it, and waits until its file is that of another process than `killed`.
/// Returns that process.
///
/// # Errors
/// One line when it does not become ready within a minute, or is not the one its clients know.
pub(super) fn await_again(
    command: Option<&str>,
    file: &Path,
    killed: u32,
    before: &Target,
    clock: Clock,
) -> Result<u32, String> {
    let mut started = command.map(start).transpose()?;
    let until = clock.now() + READY_MAX;
    while clock.now() < until {
        // While there is none, or it is being written, it is not ready.
        if let Ok(ready) = ReadyFile::read(file)
            && ready.pid != killed
        {
            return same_place(&ready, before).map(|()| ready.pid);
        }
        let ended = started.as_mut().and_then(|child| child.try_wait().ok().flatten());
        // One that ended well may have told somebody else to start it.
        if let Some(status) = ended.filter(|status: &ExitStatus| !status.success()) {
            return Err(format!("--restart: the command ended with {status}, and no gateway is ready"));
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    let seconds = READY_MAX.as_secs();
    Err(format!("{} names no new gateway {seconds} s after the old one was killed", file.display()))
}

/// In a process group of its own: what ends this run does not end the gateway.
fn start(command: &str) -> Result<Child, String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).process_group(0);
    shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.spawn().map_err(|error| format!("--restart: sh: {error}"))
}

/// Clients come back to where they were, and know the gateway by its key.
fn same_place(ready: &ReadyFile, before: &Target) -> Result<(), String> {
    if ready.listen != before.address {
        return Err(format!(
            "the gateway came back at {} and not at {}: give it a port of its own (--listen)",
            ready.listen, before.address
        ));
    }
    if parse_key(&ready.server_key)? != before.server_key {
        return Err("the gateway came back with another key: have it keep its own (--state)".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use protocol::noise::PublicKey;

    use super::*;

    fn target(port: u16) -> Target {
        Target {
            address: ([127, 0, 0, 1], port).into(),
            server_key: PublicKey([10; 32]),
            token: "a".to_owned(),
            http: None,
            pid: None,
            unwatched: None,
        }
    }

    fn again(name: &str, command: &str, before: &Target) -> Result<u32, String> {
        let file = std::env::temp_dir().join(format!("loadgen-restart-{}-{name}", std::process::id()));
        let _was_not_there = std::fs::remove_file(&file);
        let key = "0a".repeat(32);
        let write = |pid: u32| format!(r#"{{"pid":{pid},"listen":"127.0.0.1:7000","server_key":"{key}"}}"#);
        std::fs::write(&file, write(7)).unwrap();
        let command = command.replace("READY", &format!("echo '{}' > {}", write(8), file.display()));
        let found = await_again(Some(&command), &file, 7, before, Clock::start());
        std::fs::remove_file(&file).unwrap();
        found
    }

    #[test]
    fn the_process_of_the_new_file_is_the_gateway() {
        assert_eq!(again("well", "READY; exec true", &target(7000)), Ok(8));
    }

    #[test]
    fn a_command_that_fails_or_starts_another_gateway_says_so() {
        let told = |name, command, before: &Target| again(name, command, before).unwrap_err();
        assert!(told("fails", "exit 3", &target(7000)).contains("--restart: the command ended with"));
        assert!(told("moved", "READY", &target(7001)).contains("give it a port of its own"));
        let other = Target { server_key: PublicKey([11; 32]), ..target(7000) };
        assert!(told("other", "READY", &other).contains("have it keep its own"));
    }

    #[test]
    fn a_process_is_killed_and_one_that_is_not_there_cannot_be() {
        let mut child =
            Command::new("sh").args(["-c", "read nothing"]).stdin(Stdio::piped()).spawn().unwrap();
        kill(child.id()).unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(kill(u32::MAX >> 1).unwrap_err().contains("could not be killed"));
    }
}
