//! Signals: what ends a gateway, from its first moment on, and what does not.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::stage::{Folder, Process, Target, path, wait_until};

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");

/// `dev` with this folder for its private one.
fn dev(command: &mut Command, temporary: &Path) -> Process {
    let arguments = ["dev", "--listen", "127.0.0.1:0", "--workers", "1"];
    let command = command.args(arguments).env_remove("XDG_RUNTIME_DIR").env("TMPDIR", temporary);
    Process::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()))
}

fn is_empty(folder: &Path) -> bool {
    folder.read_dir().expect("the test's own").next().is_none()
}

#[test]
fn a_gateway_that_is_terminated_while_it_starts_leaves_nothing_behind() {
    let Some(folder) = Folder::new() else { return };
    for signal in ["TERM", "INT"] {
        let temporary = folder.file(signal);
        std::fs::create_dir(&temporary).expect("the test's own");
        let mut gateway = dev(&mut Command::new(GATEWAY), &temporary);
        wait_until("it has made its folder", || !is_empty(&temporary));
        gateway.signal(signal);
        assert!(gateway.ended().success(), "{}", gateway.said().whole());
        assert!(is_empty(&temporary), "SIG{signal}");
    }
}

#[test]
fn the_first_process_of_a_namespace_hears_a_signal_that_comes_while_it_starts() {
    let Some(folder) = Folder::new() else { return };
    let can = Command::new("unshare").args(["--pid", "--fork", "true"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        eprintln!("NOT RUN: this user may make no namespace of processes");
        return;
    }
    let temporary = folder.file("tmp");
    std::fs::create_dir(&temporary).expect("the test's own");
    let arguments = ["--pid", "--fork", "--kill-child", GATEWAY];
    let mut outside = dev(Command::new("unshare").args(arguments), &temporary);
    wait_until("it has made its folder", || !is_empty(&temporary));
    let children = format!("/proc/{0}/task/{0}/children", outside.id());
    let child = std::fs::read_to_string(children).expect("it runs");
    let killed = Command::new("kill").args(["-TERM", child.trim()]).status();
    assert!(killed.expect("kill is there").success());
    assert!(outside.ended().success(), "{}", outside.said().whole());
    assert!(is_empty(&temporary));
}

#[test]
fn a_hangup_reloads_nothing_yet_and_says_so_and_the_signals_of_users_mean_nothing() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let (config, file) = (folder.write_config("auth.mode = 'development'\n"), folder.file("ready.json"));
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", GATEWAY, "run", "--config", path(&config)]);
    command.args(["--ready-file", path(&file)]).stderr(Stdio::piped());
    let mut gateway = Process::start(&mut command);
    let target = Target::read(&file);
    for signal in ["HUP", "USR1", "USR2"] {
        gateway.signal(signal);
    }
    assert!(target.get("/healthz").starts_with("HTTP/1.1 200"));
    gateway.signal("TERM");
    assert!(gateway.ended().success());
    let said = gateway.said().whole();
    assert!(
        said.contains("gateway: warning: SIGHUP: no reload yet; a changed config takes a restart\n"),
        "{said}"
    );
    assert!(said.ends_with("gateway: info: SIGTERM: stopping\ngateway: info: stopped\n"), "{said}");
    assert!(!file.exists());
}

#[test]
fn a_gateway_whose_terminal_is_gone_ends_cleanly() {
    let Some(folder) = Folder::new() else { return };
    let file = folder.file("ready.json");
    let (terminal, name) = terminal();
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", GATEWAY, "dev", "--listen", "127.0.0.1:0", "--workers", "1"]);
    command
        .args(["--ready-file", path(&file)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    // SAFETY: between fork and exec only system calls are made: a session of its own, and its first terminal.
    unsafe {
        command.pre_exec(move || {
            if libc::setsid() < 0 || libc::open(name.as_ptr(), libc::O_RDWR) < 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let mut gateway = Process::start(&mut command);
    Target::read(&file);
    drop(terminal);
    assert!(gateway.ended().success());
    let said = gateway.said().whole();
    assert!(said.contains("SIGHUP, the terminal is gone: stopping"), "{said}");
    assert!(!file.exists());
}

/// A terminal's end, which it goes with, and the name of the other.
fn terminal() -> (OwnedFd, CString) {
    let end = OpenOptions::new().read(true).write(true).open("/dev/ptmx").expect("there are terminals");
    let end = OwnedFd::from(end);
    let mut name = [0; 64];
    // SAFETY: the descriptor is that of a terminal's end, and the name is as long as is said.
    let made = unsafe {
        libc::grantpt(end.as_raw_fd()) == 0
            && libc::unlockpt(end.as_raw_fd()) == 0
            && libc::ptsname_r(end.as_raw_fd(), name.as_mut_ptr(), name.len()) == 0
    };
    assert!(made, "{}", std::io::Error::last_os_error());
    // SAFETY: it was written above, with its zero.
    (end, unsafe { std::ffi::CStr::from_ptr(name.as_ptr()) }.to_owned())
}
