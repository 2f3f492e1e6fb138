//! Addresses and paths of a gateway: what `check` says of them, how long they may be, and what stays behind.

use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::stage::{Folder, Process, Target, gateway, path, wait_until};

/// The exit code and everything that is said.
fn check(config: &Path) -> (Option<i32>, String) {
    let output = gateway(&["check", path(config)]);
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("text"))
}

/// The config with a socket at this path, and an address of its own for HTTP if there is one.
fn config(folder: &Folder, socket: &Path, more: &str) -> PathBuf {
    folder.write_config(&format!("auth.mode = 'development'\nadmin.socket = '{}'\n{more}", path(socket)))
}

#[test]
fn what_check_passes_as_the_path_of_a_socket_a_gateway_can_use() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let file = folder.file("ready.json");
    let base = folder.file("").as_os_str().as_bytes().len();
    for (len, name) in [(107, "admin.sock"), (103, "admin.sock"), (107, "s"), (103, "s"), (102, "s")] {
        let deep = folder.file(&"d".repeat(len - base - 1 - name.len()));
        std::fs::create_dir_all(&deep).expect("the test's own");
        let socket = deep.join(name);
        assert_eq!(socket.as_os_str().len(), len);
        let config = config(&folder, &socket, "");
        let (code, said) = check(&config);
        if code == Some(3) {
            assert!(
                said.contains(&format!("is a path of {len} bytes")) && said.contains("at most 107"),
                "{said}"
            );
            assert!(name == "s" && len > 102, "{said}");
            continue;
        }
        assert_eq!(code, Some(0), "{said}");
        assert!(deep.read_dir().expect("made above").next().is_none(), "check leaves nothing");
        let mut process = Process::gateway(&["run", "--config", path(&config), "--ready-file", path(&file)]);
        Target::read(&file);
        assert!(gateway(&["status", "--socket", path(&socket)]).status.success());
        process.signal("TERM");
        assert!(process.ended().success());
        assert!(deep.read_dir().expect("made above").next().is_none());
    }
}

#[test]
fn dev_runs_under_a_temporary_folder_however_deep() {
    let Some(folder) = Folder::new() else { return };
    for len in [60, 200] {
        let deep = folder.file(&"d".repeat(len));
        std::fs::create_dir(&deep).expect("the test's own");
        let file = folder.file(&format!("{len}.json"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.args(["dev", "--listen", "127.0.0.1:0", "--workers", "1", "--ready-file", path(&file)]);
        command.env_remove("XDG_RUNTIME_DIR").env("TMPDIR", &deep).stdout(Stdio::null());
        let mut process = Process::start(&mut command);
        let target = Target::read(&file);
        wait_until("there is a stream", || target.get("/readyz").starts_with("HTTP/1.1 200"));
        process.signal("TERM");
        assert!(process.ended().success());
        assert!(deep.read_dir().expect("made above").next().is_none());
    }
}

#[test]
fn check_tries_what_a_gateway_would_bind() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = taken.local_addr().expect("it is bound");
    let listener = |address: &str| format!("listener = [{{ name = 'clients', address = '{address}' }}]\n");
    let socket = folder.file("admin.sock");
    for (socket, more, cause, fix) in [
        (&socket, listener(&address.to_string()), "Address already in use", "`ss -ltnp sport = :"),
        (&socket, listener("192.0.2.7:7400"), "Cannot assign requested address", "`ip address`"),
        (&folder.file("none/admin.sock"), String::new(), "No such file or directory", "mkdir -p"),
        (&folder.file("server.key"), String::new(), "a file that is no socket", "another path"),
    ] {
        let (code, said) = check(&config(&folder, socket, &more));
        assert_eq!(code, Some(5), "{said}");
        assert!(said.contains(cause) && said.contains(fix), "{said}");
    }
    drop(taken);
    let (code, said) = check(&config(&folder, &socket, &listener(&address.to_string())));
    assert_eq!(code, Some(0), "{said}");
    assert!(!socket.exists());
}

#[test]
fn check_of_a_running_gateways_config_says_that_it_runs_and_does_it_no_harm() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let (socket, file) = (folder.file("admin.sock"), folder.file("ready.json"));
    let run = config(&folder, &socket, "");
    let process = Process::gateway(&["run", "--config", path(&run), "--ready-file", path(&file)]);
    let target = Target::read(&file);
    let listener = format!("listener = [{{ name = 'clients', address = '{}' }}]\n", target.address);
    let (code, said) = check(&config(&folder, &socket, &listener));
    assert_eq!(code, Some(0), "{said}");
    let by = format!("by the gateway that runs, process {}", process.id());
    assert_eq!(said.matches(&by).count(), 2, "the listener and the socket: {said}");
    assert!(gateway(&["status", "--socket", path(&socket)]).status.success());
}
