//! A gateway is killed, and the next one starts at once.

use std::process::{Command, Stdio};

use crate::stage::{Folder, Process, Target, path};

#[test]
fn a_gateway_that_follows_a_killed_one_waits_for_its_addresses() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let file = folder.file("ready.json");
    let admin = format!("admin.socket = '{}'\n", path(&folder.file("admin.sock")));
    let (mut first, target) = folder.gateway(&format!("auth.mode = 'development'\n{admin}"));
    let (address, http) = (target.address, target.http.expect("HTTP is on"));
    let listener = format!("listener = [{{ name = 'clients', address = '{address}' }}]\n");
    let config = folder.write_config(&format!("auth.mode = 'development'\n{admin}{listener}"));
    let text = std::fs::read_to_string(&config).expect("written just now");
    std::fs::write(&config, text.replace("admin.http = '127.0.0.1:0'", &format!("admin.http = '{http}'")))
        .expect("the test's own");
    // Stopped, it holds what it has until it is killed.
    first.signal("STOP");
    std::fs::remove_file(&file).expect("it is there");
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.args(["run", "--config", path(&config), "--ready-file", path(&file)]).stderr(Stdio::piped());
    let mut second = Process::start(&mut command);
    let said = second.said();
    said.wait_for("trying again");
    first.signal("KILL");
    first.ended();
    assert_eq!(Target::read(&file).address, address);
    second.signal("TERM");
    assert!(second.ended().success());
    let said = said.whole();
    assert!(said.matches("trying again").count() == 1, "once is enough: {said}");
    assert!(said.contains(&format!("listening on {address}")), "{said}");
}
