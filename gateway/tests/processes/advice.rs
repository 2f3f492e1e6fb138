//! What people do wrong, and whether what they are told leads on.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::stage::{Folder, gateway, path};

/// Runs the gateway's binary in a shell after this, and returns its exit code and standard error.
fn after(shell: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let script = format!("{shell}; exec \"$0\" \"$@\"");
    let output =
        Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_gateway")]).args(arguments).output();
    let output = output.expect("a shell is there");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn a_key_that_is_there_is_kept_and_its_meaning_told() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let key = folder.file("server.key");
    let before = std::fs::read(&key).expect("made above");
    let said = String::from_utf8(gateway(&["keygen", "--out", path(&key)]).stderr).expect("text");
    assert!(said.contains("File exists") && said.contains("would be locked out"), "{said}");
    assert_eq!(std::fs::read(&key).expect("it is kept"), before);
    let said = gateway(&["keygen", "--out", path(&folder.file("none/server.key"))]).stderr;
    let said = String::from_utf8(said).expect("text");
    assert!(said.contains(&format!("mkdir -p {}", path(&folder.file("none")))), "{said}");
}

#[test]
fn few_open_files_are_the_cause_that_is_named() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let endpoint = |i| format!("[[endpoint]]\nname = 'one-{i}'\naddress = 'unix:/{i}'\nclear = true\n");
    let endpoints: String = (0..100).map(endpoint).collect();
    let config = folder.write_config(&format!("auth.mode = 'development'\n{endpoints}"));
    let (code, said) = after("ulimit -n 64", &["check", path(&config)]);
    assert_eq!(code, Some(3));
    assert!(said.contains("the limit of open files is 64") && said.contains("ulimit -n 20000"), "{said}");
    assert!(!said.contains("parked_accepts") && said.lines().count() == 2, "{said}");
}

#[test]
fn a_name_is_no_address_on_the_command_line_either() {
    let said = gateway(&["dev", "--listen", "localhost:7400"]).stderr;
    let said = String::from_utf8(said).expect("text");
    assert!(said.contains("write \"127.0.0.1:7400\""), "{said}");
}

#[test]
fn a_config_that_cannot_be_read_says_why() {
    let Some(folder) = Folder::new() else { return };
    let said = |file: &std::path::Path| {
        let output = gateway(&["check", path(file)]);
        assert_eq!(output.status.code(), Some(3));
        String::from_utf8(output.stderr).expect("text")
    };
    assert!(
        said(&folder.file("none.toml")).contains("No such file or directory (os error 2); give the path")
    );
    assert!(said(&folder.file("")).contains("Is a directory"));
    let file = folder.file("utf16.toml");
    std::fs::write(&file, [0xff, 0xfe, b'a', 0]).expect("the test's own");
    assert!(said(&file).contains("save it as UTF-8"));
}

#[test]
fn whoever_cannot_ask_is_told_why() {
    // SAFETY: geteuid takes no memory.
    let is_root = unsafe { libc::geteuid() } == 0;
    let Some(folder) = Folder::new() else { return };
    let socket = folder.file("admin.sock");
    let status = || {
        let said = gateway(&["status", "--socket", path(&socket)]).stderr;
        String::from_utf8(said).expect("text")
    };
    assert!(status().contains("is the gateway running, and is this the path of `socket` in [admin]"));
    let listener = UnixListener::bind(&socket).expect("the test's own");
    std::fs::set_permissions(&socket, Permissions::from_mode(0o600)).expect("the test's own");
    if is_root {
        // The binary lies where another user may not look, so it is taken along; by a process of its own, as no other test's
        // child may inherit what is open for writing.
        let binary = std::env::temp_dir().join(format!("gateway-advice-{}", std::process::id()));
        let copied = Command::new("cp").args([env!("CARGO_BIN_EXE_gateway"), path(&binary)]).status();
        assert!(copied.expect("cp is there").success());
        let output = Command::new(&binary).args(["status", "--socket", path(&socket)]).uid(65_534).output();
        std::fs::remove_file(&binary).expect("it is ours");
        let said = String::from_utf8(output.expect("it runs").stderr).expect("text");
        assert!(said.contains("Permission denied") && said.contains("sudo -u '#0' gateway status"), "{said}");
        assert!(!said.contains("is the gateway running"), "{said}");
    } else {
        eprintln!("NOT RUN: only root can be somebody else");
    }
    drop(listener);
    assert!(status().contains("no gateway is running there any more"));
}
