//! Whom a Unix socket of ours listens to: its own user, whatever the rights of the file say.

use std::fs::{Permissions, set_permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::stage::{Folder, PATIENCE, Process, Stage, path, wait_until};

/// Connects as somebody else, and says what is heard until the other end hangs up. Users belong to threads here: the C
/// library, which keeps all of them alike, is not asked.
fn heard_by_a_stranger(socket: &Path) -> String {
    let mut stream = std::thread::scope(|scope| {
        let connecting = scope.spawn(|| {
            // SAFETY: the system call takes no memory; it changes the user of this thread, which ends right after.
            let done = unsafe { libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534) };
            assert_eq!(done, 0, "root may be anybody");
            UnixStream::connect(socket).expect("the file's rights let everybody in")
        });
        connecting.join().expect("it has connected")
    });
    stream.set_read_timeout(Some(PATIENCE)).expect("a plain socket");
    let mut heard = String::new();
    stream.read_to_string(&mut heard).expect("it is left");
    heard
}

#[test]
fn the_admin_socket_and_a_clear_backend_hear_nobody_but_their_own_user() {
    // SAFETY: geteuid takes no memory.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("NOT RUN: only root can be somebody else");
        return;
    }
    let Some(folder) = Folder::new() else { return };
    let [all, admin, service] = [".", "admin.sock", "service.sock"].map(|name| folder.file(name));
    let stage = Stage::set_in(folder, &format!("admin.socket = '{}'\n", path(&admin)));
    for (file, rights) in [(&all, 0o755), (&admin, 0o666), (&service, 0o666)] {
        set_permissions(file, Permissions::from_mode(rights)).expect("the test's own");
    }
    let said = heard_by_a_stranger(&admin);
    assert_eq!(said, "error: only the user who runs this gateway, and root, may ask it\n");
    assert_eq!(heard_by_a_stranger(&service), "", "it is left before a word is said");
    let status = Process::gateway(&["status", "--socket", path(&admin)]).ended();
    assert!(status.success(), "root may ask");
    wait_until("both streams are up", || stage.target.metric("gateway_streams") == 2);
}
