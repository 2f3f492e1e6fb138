//! A drill: an operator forces a level of the overload ladder, and takes it back.

use std::process::{Command, Stdio};

use protocol::wire::frame::{Frame, Ping};

use crate::client::{Client, Unheard};
use crate::stage::{Folder, Process, Stage, Target, gateway, path, wait_until};

fn ladder(admin: &str, more: &[&str]) -> serde_json::Value {
    let done = gateway(&[&["ladder", "--json", "--socket", admin], more].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("JSON")
}

#[test]
fn in_a_drill_newcomers_are_asked_to_come_back_and_whoever_has_a_ticket_gets_in() {
    let Some(folder) = Folder::new() else { return };
    let admin = path(&folder.file("admin.sock")).to_owned();
    let stage = Stage::set_in(folder, &format!("admin.socket = '{admin}'\n"));
    let mut alice = Client::login(&stage.target, "alice");
    let ticket = alice.tickets.pop().expect("a welcome brings tickets");
    assert_eq!(ladder(&admin, &[])["forced"], serde_json::Value::Null);

    let forced = ladder(&admin, &["--level", "3", "--for", "10m"]);
    assert_eq!(forced["forced"]["level"], 3);
    wait_until("all workers are there", || {
        let told = ladder(&admin, &[]);
        let levels: Vec<_> =
            told["workers"].as_array().expect("a list").iter().map(|its| its["level"].clone()).collect();
        levels.iter().all(|level| level == 3)
    });
    let busy = Unheard { reason: Some(4) };
    assert_eq!(Client::dial(&stage.target, None).err(), Some(busy), "asked to come back later");
    assert_eq!(stage.target.sum("gateway_kept_out_total", "guard=\"overload\""), 1);
    let mut resumed = Client::resume(&stage.target, "alice", &ticket).expect("a good ticket");
    resumed.wait_until_answered();

    assert_eq!(ladder(&admin, &["--off"])["forced"], serde_json::Value::Null);
    wait_until("nobody is there any more", || stage.target.metric("gateway_overload_level") == 0);
    Client::login(&stage.target, "bob").wait_until_answered();
    let wrong = gateway(&["ladder", "--socket", &admin, "--level", "6"]);
    assert_eq!(wrong.status.code(), Some(2));
    let long = gateway(&["ladder", "--socket", &admin, "--level", "2", "--for", "2h"]);
    let said = [long.stdout, long.stderr].concat();
    assert!(String::from_utf8_lossy(&said).contains("no time up to 1h"));
}

#[test]
fn the_busiest_are_told_by_what_they_do() {
    let Some(folder) = Folder::new() else { return };
    let admin = path(&folder.file("admin.sock")).to_owned();
    let rates = "rates.control_per_link = '100000/s'\nrates.frames_per_link = '100000/s'\n";
    let stage = Stage::set_in(folder, &format!("{rates}admin.socket = '{admin}'\n"));
    let mut eve = Client::login(&stage.target, "eve");
    let pings: Vec<_> = (0..500).map(|_| Frame::Ping(Ping::default())).collect();
    eve.send(&pings);
    eve.hear(500);
    let told = gateway(&["busiest", "--json", "--socket", &admin]).stdout;
    let told: serde_json::Value = serde_json::from_slice(&told).expect("JSON");
    let first = |kind: &str, measure: &str| told[kind][measure][0].clone();
    assert_eq!(first("users", "frames")["user"], "eve", "{told}");
    assert!(first("users", "frames")["weight"].as_u64().is_some_and(|weight| (100..=502).contains(&weight)));
    assert_eq!(first("addresses", "accepts"), serde_json::json!({ "address": "127.0.0.1", "weight": 1 }));
    assert_eq!(
        (&told["workers_missing"], first("users", "accepts")["weight"].as_u64()),
        (&0.into(), Some(1))
    );
    let text = String::from_utf8(gateway(&["busiest", "--socket", &admin]).stdout).expect("text");
    assert!(text.contains("users by frames\n") && text.contains("  eve\n"), "{text}");
}

#[test]
fn a_drill_ends_by_itself_and_the_log_says_what_levels_there_were() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let (admin, file) = (folder.file("admin.sock"), folder.file("ready.json"));
    // Turns may take as long as they like: on a machine with much else to do, a level would come and go on its own.
    let (admin, settings) = (path(&admin), "auth.mode = 'development'\noverload.lag = '60s'\n");
    let config = folder.write_config(&format!("{settings}admin.socket = '{admin}'\n"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.args(["run", "--config", path(&config), "--ready-file", path(&file)]).stderr(Stdio::piped());
    let mut running = Process::start(&mut command);
    let said = running.said();
    Target::read(&file);
    ladder(admin, &["--level", "2", "--for", "1500ms"]);
    said.wait_for("worker 0: overload level 0 \u{2192} 2 (thrifty); memory ");
    said.wait_for("the drill is over: no overload level is forced any more\n");
    said.wait_for("worker 0: overload level 2 \u{2192} 0 (calm); memory ");
    assert_eq!(ladder(admin, &[])["forced"], serde_json::Value::Null);
    running.signal("TERM");
    assert!(running.ended().success());
    assert!(said.whole().contains("the operator with user id"));
}

#[test]
fn how_long_turns_take_is_seen() {
    let Some(folder) = Folder::new() else { return };
    let rates = "rates.control_per_link = '100000/s'\nrates.frames_per_link = '100000/s'\n";
    let stage = Stage::set_in(folder, &format!("{rates}overload.lag = '10ms'\noverload.dry_run = true\n"));
    let mut client = Client::login(&stage.target, "alice");
    let pings: Vec<_> = (0..500).map(|_| Frame::Ping(Ping::default())).collect();
    wait_until("a hundredth of ten milliseconds is seen", || {
        client.send(&pings);
        client.hear(500);
        stage.target.metric("gateway_overload_lag_percent") > 0
    });
}
