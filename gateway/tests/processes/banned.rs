//! Addresses that are banned by verb, or denied and allowed by the operator's files.

use std::io::Read;
use std::net::TcpStream;
use std::process::{Command, Stdio};

use protocol::CloseCode;

use crate::client::{Client, Heard};
use crate::stage::{Folder, PATIENCE, Process, Stage, Target, gateway, path, wait_until};

const SETTINGS: &str = "lists.journal = 'state'\nlimits.loopback_exempt = true\nadmin.socket = ";

fn stage(more: &str) -> Option<(Stage, String, String)> {
    let folder = Folder::new()?;
    std::fs::create_dir(folder.file("state")).expect("a folder of the test");
    std::fs::write(folder.file("deny.txt"), "127.0.0.0/8 # all of them\n::1 until 2026-01-01\n")
        .expect("the same");
    std::fs::write(folder.file("allow.txt"), "127.0.0.1\n").expect("the same");
    let admin = path(&folder.file("admin.sock")).to_owned();
    let settings = format!("{SETTINGS}'{admin}'\n{more}");
    Some((Stage::set_in(folder, &settings), settings, admin))
}

/// What a verb says; an error begins with it.
fn verb(admin: &str, words: &[&str]) -> String {
    let done = gateway(&[words, &["--socket", admin]].concat());
    let (said, error) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.success(), error.is_empty(), "{error}");
    format!("{error}{said}")
}

fn is_turned_away(target: &Target) -> bool {
    let mut socket = TcpStream::connect(target.address).expect("the kernel takes it");
    socket.set_read_timeout(Some(PATIENCE)).expect("more than zero");
    matches!(socket.read(&mut [0; 1]), Ok(0) | Err(_))
}

#[test]
fn a_ban_ends_links_keeps_others_out_and_outlasts_a_kill() {
    let Some((mut stage, settings, admin)) = stage("") else { return };
    let mut client = Client::login(&stage.target, "alice");
    assert_eq!(verb(&admin, &["bans"]), "nobody is banned\n");
    let said =
        verb(&admin, &["ban", "--json", "--ip", "127.0.0.1", "--for", "1h", "--reason", "floods, twice"]);
    let ban: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&ban["ip"], &ban["reason"]), (&"127.0.0.1/32".into(), &"floods, twice".into()));
    let lasts =
        ban["until_unix_ms"].as_u64().expect("an end") - ban["since_unix_ms"].as_u64().expect("a beginning");
    assert_eq!(lasts, 3_600_000);
    assert_eq!(
        client.hear_one(|heard| matches!(heard, Heard::Close(_))),
        Heard::Close(CloseCode::Banned.number())
    );
    assert!(is_turned_away(&stage.target));
    wait_until("both are counted", || {
        let kept_out = stage.target.sum("gateway_kept_out_total", "guard=\"lists\"");
        stage.target.metric("gateway_links_banned_total") == 1 && kept_out == 1
    });

    stage.gateway.signal("KILL");
    stage.gateway.ended();
    stage.restart_gateway(&settings);
    assert!(is_turned_away(&stage.target), "no start lets anybody in before the bans are read");
    let listed = verb(&admin, &["bans"]);
    assert!(listed.starts_with("127.0.0.1/32 until 20") && listed.contains(": floods, twice\n"), "{listed}");

    assert_eq!(verb(&admin, &["unban", "--ip", "127.0.0.1"]), "127.0.0.1/32 is not banned any more\n");
    wait_until("everybody may come", || !is_turned_away_at_once(&stage.target));
    let mut client = Client::login(&stage.target, "alice");
    client.request("echo", b"?");
    client.wait_until_answered();
    let refused = verb(&admin, &["unban", "--ip", "127.0.0.1"]);
    assert!(refused.contains("127.0.0.1/32 is not banned; `bans` lists what is"), "{refused}");
}

/// Whether it is closed within a moment: a gateway that waits for a hello says nothing.
fn is_turned_away_at_once(target: &Target) -> bool {
    let socket = TcpStream::connect(target.address).expect("the kernel takes it");
    socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).expect("more than zero");
    match socket.peek(&mut [0; 1]) {
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        Ok(_) => true,
    }
}

#[test]
fn a_journal_has_one_gateway_at_a_time() {
    let Some((mut stage, settings, admin)) = stage("") else { return };
    verb(&admin, &["ban", "--ip", "192.0.2.7"]);
    let other = settings.replace("/admin.sock", "/other.sock");
    let config = stage.write_config(&format!("auth.mode = 'development'\n{other}"));
    let ready = stage.file("other.json");
    let mut second = Command::new(env!("CARGO_BIN_EXE_gateway"));
    second.args(["run", "--config", path(&config), "--ready-file", path(&ready)]).stderr(Stdio::piped());
    let mut second = Process::start(&mut second);
    let said = second.said();
    said.wait_for("another gateway keeps its bans there; trying again");
    // What the first one is told meanwhile lasts, and the second one has it.
    verb(&admin, &["ban", "--ip", "192.0.2.8"]);
    stage.gateway.signal("KILL");
    stage.gateway.ended();
    Target::read(&ready);
    let listed = verb(&admin.replace("/admin.sock", "/other.sock"), &["bans"]);
    assert!(listed.contains("192.0.2.7/32") && listed.contains("192.0.2.8/32"), "{listed}");
    second.signal("TERM");
    assert!(second.ended().success());
    assert!(said.whole().contains("ready on"));
}

#[test]
fn files_deny_and_allow_and_what_is_wrong_in_them_is_told_with_its_line() {
    let Some((stage, ..)) = stage("lists.deny = ['deny.txt']\n") else { return };
    assert!(is_turned_away(&stage.target));
    drop(stage);
    let Some((stage, ..)) = self::stage("lists.deny = ['deny.txt']\nlists.allow = ['allow.txt']\n") else {
        return;
    };
    Client::login(&stage.target, "alice");
    drop(stage);

    let folder = Folder::new().expect("there was one just now");
    folder.make_key("server.key");
    std::fs::write(folder.file("deny.txt"), "192.0.2.7\n192.0.2.300\n").expect("a folder of the test");
    for (settings, words) in [
        ("lists.deny = ['deny.txt']\n", "deny.txt:2: \"192.0.2.300\" is no address"),
        ("lists.allow = ['none.txt']\n", "none.txt: No such file"),
        ("lists.journal = 'none'\n", "names a folder that is there"),
    ] {
        let config = folder.write_config(&format!("auth.mode = 'development'\n{settings}"));
        let done = gateway(&["run", "--config", path(&config)]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(5), "{said}");
        assert!(said.contains(words), "{said}");
        let checked = gateway(&["check", path(&config)]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(5), "{said}");
        assert!(said.contains(words), "check says the same: {said}");
    }
}

#[test]
fn a_file_that_changes_is_in_force_a_moment_later_and_one_with_an_error_changes_nothing() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let write =
        |name: &str, text: &str| std::fs::write(folder.file(name), text).expect("a folder of the test");
    write("deny.txt", "127.0.0.0/8\n");
    write("allow.txt", "127.0.0.1\n");
    let lists = "auth.mode = 'development'\nlists.deny = ['deny.txt']\nlists.allow = ['allow.txt']\n";
    let (config, ready) = (folder.write_config(lists), folder.file("ready.json"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.args(["run", "--config", path(&config), "--ready-file", path(&ready)]).stderr(Stdio::piped());
    let mut running = Process::start(&mut command);
    let said = running.said();
    let target = Target { token: folder.token(), ..Target::read(&ready) };
    let mut alice = Client::login(&target, "alice");

    write("allow.txt", "127.0.0.0/33\n");
    said.wait_for("allow.txt:1: \"127.0.0.0/33\" is no address");
    said.wait_for("; what the files had before stays in force");
    Client::login(&target, "bob");
    write("allow.txt", "# nobody any more\n");
    let banned = Heard::Close(CloseCode::Banned.number());
    assert_eq!(alice.hear_one(|heard| matches!(heard, Heard::Close(_))), banned);
    assert!(is_turned_away(&target));
    said.wait_for("0 blocks allowed and 1 denied, all users allowed and 0 denied are in force now");
    write("deny.txt", "");
    wait_until("it is let in", || !is_turned_away_at_once(&target));
}

#[test]
fn without_a_journal_a_ban_says_that_it_does_not_last() {
    let Some(folder) = Folder::new() else { return };
    let ready = folder.file("ready.json");
    let mut dev = Process::gateway(&["dev", "--listen", "127.0.0.1:0", "--ready-file", path(&ready)]);
    let target = Target::read(&ready);
    let written: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&ready).expect("it is there")).expect("JSON");
    let admin = written["admin"].as_str().expect("dev has one");
    let said = verb(admin, &["ban", "--ip", "192.0.2.0/24"]);
    assert!(
        said.starts_with("192.0.2.0/24 until it is lifted\n") && said.contains("set `journal` of [lists]"),
        "{said}"
    );
    Client::login(&target, "alice");
    dev.signal("TERM");
    assert!(dev.ended().success());
}

#[test]
fn a_banned_user_is_told_so_and_where_some_are_allowed_nobody_else_gets_in() {
    let Some((mut stage, settings, admin)) = stage("") else { return };
    let banned = Heard::Close(CloseCode::Banned.number());
    let is_close = |heard: &Heard| matches!(heard, Heard::Close(_));
    let [mut alice, mut bob] = ["alice", "bob"].map(|user| Client::login(&stage.target, user));
    let said = verb(&admin, &["ban", "--user", "alice", "--reason", "spam"]);
    assert_eq!(said, "user alice until it is lifted: spam\n");
    assert_eq!(alice.hear_one(is_close), banned);
    assert_eq!(refused(&stage.target, "alice").hear_one(is_close), banned);
    bob.request("echo", b"?");
    bob.wait_until_answered();
    assert_eq!(verb(&admin, &["unban", "--user", "alice"]), "user alice is not banned any more\n");
    wait_until("it may come again", || refused(&stage.target, "alice").hear_one(|_| true) == Heard::Welcome);

    let settings = format!("{settings}lists.allow_users = ['deny.txt']\n");
    std::fs::write(stage.file("deny.txt"), "bob # and nobody else\n").expect("a folder of the test");
    stage.replace_gateway(&settings);
    assert_eq!(refused(&stage.target, "alice").hear_one(is_close), banned);
    Client::login(&stage.target, "bob");
}

/// A client that has said who it is, whatever comes of it.
fn refused(target: &Target, user: &str) -> Client {
    let mut client = Client::connect(target);
    client.say_who(user, &target.token);
    client
}

#[test]
fn an_operator_kicks_a_user_and_makes_what_it_came_in_with_worthless() {
    let Some((stage, _, admin)) = stage("") else { return };
    let is_close = |heard: &Heard| matches!(heard, Heard::Close(_));
    let kicked = Heard::Close(CloseCode::Kicked.number());
    let [mut alice, mut bob] = ["alice", "bob"].map(|user| Client::login(&stage.target, user));
    let ticket = alice.tickets.pop().expect("it was given some");
    assert_eq!(verb(&admin, &["kick", "--user", "alice"]), "whatever links user alice has end now\n");
    assert_eq!(alice.hear_one(is_close), kicked);
    let mut alice =
        Client::resume(&stage.target, "alice", &ticket).expect("a kick alone leaves tickets good");
    let ticket = alice.tickets.pop().expect("and others come of it");
    let said = verb(&admin, &["kick", "--user", "alice", "--revoke", "--json"]);
    assert!(said.contains("\"revoked\":true"), "{said}");
    assert_eq!(alice.hear_one(is_close), kicked);
    let mut alice = Client::dial(&stage.target, Some(&ticket)).expect("its seal is good");
    alice.say_who("alice", "");
    assert_eq!(alice.hear_one(is_close), Heard::Close(CloseCode::AuthFailed.number()));
    Client::login(&stage.target, "alice");
    bob.request("echo", b"?");
    bob.wait_until_answered();
}
