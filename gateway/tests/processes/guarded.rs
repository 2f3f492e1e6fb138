//! A gateway that is protected from peers on its own machine as from all others, with every limit as it is by default.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use protocol::CloseCode;
use protocol::wire::frame::{Auth, Frame};

use crate::client::{Client, Heard};
use crate::stage::{Folder, PATIENCE, Process, Stage, Target, gateway, path, wait_until};

/// Connections that are there to stay are silent; the others are closed at once.
fn flood(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(address).expect("the kernel takes it")).collect()
}

fn is_closed(socket: &mut TcpStream) -> bool {
    socket.set_read_timeout(Some(PATIENCE)).expect("more than zero");
    socket.set_nonblocking(true).expect("it can be set");
    !matches!(socket.read(&mut [0; 1]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// What `limits` says of one guard of the only listener: its value, and whom it has kept out and would have.
fn limit(admin: &str, guard: &str) -> (String, u64, u64) {
    let done = gateway(&["limits", "--json", "--socket", admin]);
    let told: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let limits = told["listeners"][0]["limits"].as_array().expect("a list");
    let limit = limits.iter().find(|limit| limit["guard"] == guard).expect("each guard is there");
    let number = |name: &str| limit[name].as_u64().expect("a number");
    (limit["value"].as_str().expect("a text").to_owned(), number("kept_out"), number("would_keep_out"))
}

#[test]
fn a_flood_from_one_address_is_kept_out_and_others_get_in() {
    let Some(folder) = Folder::new() else { return };
    let ready = folder.file("ready.json");
    let mut dev = Process::gateway(&["dev", "--protect", "--listen", "[::]:0", "--ready-file", path(&ready)]);
    let mut target = Target::read(&ready);
    let written: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&ready).expect("it is there")).expect("JSON");
    let admin = written["admin"].as_str().expect("dev has one").to_owned();
    let port = target.address.port();
    // The same machine, over IPv4 and IPv6: two addresses.
    let mut strangers = flood(([127, 0, 0, 1], port).into(), 300);
    wait_until("they are kept out", || {
        let [(_, often, _), (_, many, _)] =
            ["accepts_per_address", "strangers_per_address"].map(|guard| limit(&admin, guard));
        often + many >= 300 - 64
    });
    wait_until("they are closed", || {
        strangers.retain_mut(|socket| !is_closed(socket));
        strangers.len() <= 64
    });
    assert!(strangers.len() >= 40, "{} stay", strangers.len());
    target.address = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port));
    for user in 0..100 {
        let mut client = Client::login(&target, &format!("user{user}"));
        client.request("echo", b"?");
        client.wait_until_answered();
    }
    assert_eq!(limit(&admin, "strangers_per_address").0, "64");
    assert_eq!(limit(&admin, "accepts_per_address").0, "20/s burst 40");
    let text = gateway(&["limits", "--socket", &admin]).stdout;
    assert!(String::from_utf8_lossy(&text).contains("listener clients\n"));
    dev.signal("TERM");
    assert!(dev.ended().success());
}

#[test]
fn on_trial_everybody_gets_in_and_it_is_told_who_would_not_have() {
    let settings = "admission.dry_run = true\nadmission.strangers_per_address = 10\nadmin.socket = ";
    let Some(folder) = Folder::new() else { return };
    let admin = path(&folder.file("admin.sock")).to_owned();
    let stage = Stage::set_in(folder, &format!("{settings}'{admin}'\n"));
    let mut strangers = flood(stage.target.address, 30);
    wait_until("they are counted", || limit(&admin, "strangers_per_address") == ("10".to_owned(), 0, 20));
    assert!(strangers.iter_mut().all(|socket| !is_closed(socket)));
    assert_eq!(stage.target.sum("gateway_would_keep_out_total", "guard=\"strangers_per_address\""), 20);
    Client::login(&stage.target, "alice");
}

#[test]
fn a_user_that_logs_in_without_end_is_banned_for_a_while_and_its_link_stays() {
    let settings = "admission.accepts_per_address = '1000/s'\nadmission.logins_per_user = '1/m burst 3'\n\
                    admission.login_ban = '2s'\nlimits.devices = 64\nadmin.socket = ";
    let Some(folder) = Folder::new() else { return };
    let admin = path(&folder.file("admin.sock")).to_owned();
    let stage = Stage::set_in(folder, &format!("{settings}'{admin}'\n"));
    let mut alice = Client::login(&stage.target, "alice");
    let close = |code: CloseCode| Heard::Close(code.number());
    let told = |user: &str, device: &str| {
        let mut client = Client::connect(&stage.target);
        let (token, user, device) = (stage.target.token.as_bytes(), user.as_bytes(), device.as_bytes());
        client.send(&[Frame::Auth(Auth { token, user, device, ..Auth::default() })]);
        client.hear_one(|_| true)
    };
    let all: Vec<Heard> = (0..60).map(|number| told("alice", &format!("made up {number}"))).collect();
    assert_eq!(all.iter().filter(|heard| **heard == Heard::Welcome).count(), 2, "one of three was her own");
    assert!(all[2..5].iter().all(|heard| *heard == close(CloseCode::TryLater)), "{all:?}");
    wait_until("she is banned", || told("alice", "phone") == close(CloseCode::Banned));
    let bans = String::from_utf8(gateway(&["bans", "--socket", &admin]).stdout).expect("text");
    assert!(bans.contains("user alice until") && bans.contains("by this gateway"), "{bans}");
    assert!(bans.contains("ten times as often"), "{bans}");
    // Who is in is in.
    alice.request("echo", b"?");
    alice.wait_until_answered();
    assert_eq!(told("bob", "phone"), Heard::Welcome);
    wait_until("the ban is over", || told("alice", "phone") == close(CloseCode::TryLater));
}

#[test]
fn every_refusal_is_counted_by_its_reason_at_its_listener() {
    let settings = "limits.handshake_deadline = '300ms'\nlimits.auth_deadline = '300ms'\nlimits.strangers = 16\n\
                    [[listener]]\nname = 'app'\n[[listener]]\nname = 'web'\naddress = '127.0.0.1:0'\n";
    let Some(stage) = Stage::set(settings) else { return };
    let target = &stage.target;
    let counted = |guard: &str| {
        let of = |listener: &str| {
            let page = target.get("/metrics");
            let of = |line: &&str| {
                line.starts_with("gateway_kept_out_total")
                    && line.contains(&format!("guard=\"{guard}\""))
                    && line.contains(&format!("listener=\"{listener}\""))
            };
            let value =
                |line: &str| line.rsplit(' ').next().expect("a value").parse::<u64>().expect("a number");
            page.lines().filter(of).map(value).sum::<u64>()
        };
        (of("app"), of("web"))
    };
    assert_eq!(["hellos", "tokens", "deadlines", "strangers"].map(counted), [(0, 0); 4]);

    let mut junk = TcpStream::connect(target.address).expect("it listens");
    junk.write_all(&[7; 200]).expect("it takes it");
    wait_until("junk is counted", || counted("hellos") == (1, 0));
    let mut wrong = Client::connect(target);
    wrong.say_who("alice", "no token of ours");
    assert_eq!(wrong.hear(1), [Heard::Close(CloseCode::AuthFailed.number())]);
    assert_eq!(counted("tokens"), (1, 0));
    let _silent = TcpStream::connect(target.address).expect("it listens");
    let mute = Client::connect(target);
    wait_until("both were given up", || counted("deadlines") == (2, 0));
    drop(mute);
    let crowd = flood(target.address, 36);
    wait_until("there is no room for all", || counted("strangers").0 >= 4);
    drop(crowd);
    Client::login(target, "alice");
}
