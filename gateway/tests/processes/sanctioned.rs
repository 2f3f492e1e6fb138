//! A backend bans users, lets them in again and slows them down, and its operator sees who has done it.

use backend::protocol::UnixMillis;
use backend::{Gateway, Listen, PushError, Security, Server, Whom};
use protocol::CloseCode;
use protocol::wire::frame::{Frame, Ping};

use crate::client::{Client, Heard};
use crate::stage::{Folder, Process, Target, gateway, path, wait_until};

/// The live streams of the service.
type Streams = Box<dyn Fn() -> Vec<Gateway> + Send>;

/// A gateway in this folder with a service on a thread that ends with the process, and the service's streams. Of the rates that
/// all have, only that of frames that are no requests is one that a client comes near, if it is throttled.
fn stage(folder: &Folder) -> (Process, Target, Streams) {
    folder.make_key("server.key");
    std::fs::create_dir(folder.file("state")).expect("a folder of the test");
    let listen = Listen::Unix(folder.file("service.sock"));
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let service = Server::builder();
            let server = service.bind(&listen, Security::Clear).expect("a folder of the test");
            let watch: Streams = Box::new(server.watch());
            tell.send(watch).expect("the test waits for it");
            server.serve(std::future::pending()).await;
        });
    });
    let settings = format!(
        "auth.mode = 'development'\nlists.journal = 'state'\nadmin.socket = '{}'\n\
         lists.throttled_blocks = 16\nrates.control_per_link = '10000/s burst 100'\n\
         rates.frames_per_link = '100000/s'\nrates.frames_per_user = '100000/s'\n",
        path(&folder.file("admin.sock"))
    );
    let (process, target) = folder.gateway(&settings);
    wait_until("the streams are open", || target.metric("gateway_streams") == 2);
    let target = Target { token: folder.token(), ..target };
    (process, target, told.recv().expect("it listens"))
}

/// Hands something to a stream.
fn say(order: impl Future<Output = Result<(), PushError>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(order).expect("the stream is open");
}

fn user(name: &'static str) -> Whom {
    Whom::User(name.as_bytes().into())
}

#[test]
fn a_backends_ban_ends_links_and_keeps_out_and_leaves_an_operators_alone() {
    let Some(folder) = Folder::new() else { return };
    let (_gateway, target, streams) = stage(&folder);
    let admin = folder.file("admin.sock");
    let verb = |words: &[&str]| {
        let done = gateway(&[words, &["--socket", path(&admin)]].concat());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text")
    };
    let closed = |client: &mut Client| client.hear_one(|heard| matches!(heard, Heard::Close(_)));
    let banned = Heard::Close(CloseCode::Banned.number());
    let stream = streams().pop().expect("it is open");
    // The first of January 2100.
    let end = Some(UnixMillis(4_102_444_800_000));

    let mut alice = Client::login(&target, "alice");
    say(stream.ban(user("alice"), end, "spam\nand more"));
    assert_eq!(closed(&mut alice), banned);
    let listed = verb(&["bans"]);
    let first = "user alice until 2100-01-01T00:00:00Z: spam and more\n    since ";
    assert!(listed.starts_with(first) && listed.contains(" by endpoint service\n"), "{listed}");

    // What an operator has set stays, whatever a backend says of it.
    verb(&["ban", "--user", "bob", "--reason", "fraud"]);
    say(stream.unban(user("bob")));
    say(stream.ban(user("bob"), end, ""));
    // Nor does it keep out everybody, not even by mistake.
    say(stream.ban(Whom::Addresses([0, 0, 0, 0].into(), 1), None, ""));
    say(stream.ban(Whom::Addresses([192, 0, 2, 7].into(), 24), None, ""));
    wait_until("the last one is set", || verb(&["bans"]).contains("192.0.2.0/24 until it is lifted"));
    assert!(verb(&["bans"]).contains("user bob until it is lifted: fraud\n"));
    assert!(!verb(&["bans"]).contains("0.0.0.0/1"));

    say(stream.unban(user("alice")));
    wait_until("it is lifted", || !verb(&["bans"]).contains("alice"));
    wait_until("both workers know", || {
        let mut alice = Client::connect(&target);
        alice.say_who("alice", &target.token);
        alice.hear_one(|heard| matches!(heard, Heard::Welcome | Heard::Close(_))) == Heard::Welcome
    });
    assert_eq!(target.metric("gateway_sanctions_total"), 6);
    assert_eq!(target.metric("gateway_backend_oversteps_total"), 0);
}

/// What `gateway throttles` says of the gateway in this folder.
fn throttles(folder: &Folder, more: &[&str]) -> String {
    let admin = folder.file("admin.sock");
    let done = gateway(&[&["throttles", "--socket", path(&admin)], more].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

#[test]
fn a_throttle_is_remembered_until_it_is_ended_and_an_operator_sees_it() {
    let Some(folder) = Folder::new() else { return };
    let (_gateway, target, streams) = stage(&folder);
    let stream = streams().pop().expect("it is open");
    assert_eq!(throttles(&folder, &[]), "nobody is slowed down\n");
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 7];
    // The first of January 2100.
    let end = Some(UnixMillis(4_102_444_800_000));
    say(stream.throttle(user("alice"), 10, None));
    say(stream.throttle(Whom::Addresses([0, 0, 0, 0].into(), 1), 20, end));
    say(stream.throttle(Whom::Addresses(mapped.into(), 120), 20, end));
    wait_until("they hold", || {
        target.metric("gateway_throttles") == 1 && target.metric("gateway_throttled_blocks") == 1
    });
    assert_eq!(
        throttles(&folder, &[]),
        "192.0.2.0/24 20 % of its rates until 2100-01-01T00:00:00Z, by endpoint service\n\
         user alice 10 % of its rates until it is ended, by endpoint service\n"
    );
    let told = throttles(&folder, &["--json"]);
    assert!(told.contains("\"users_in_all\":1") && told.contains("\"workers_missing\":0"), "{told}");
    say(stream.throttle(user("alice"), 100, None));
    say(stream.throttle(Whom::Addresses([192, 0, 2, 99].into(), 24), 100, None));
    wait_until("they hold no more", || {
        target.metric("gateway_throttles") == 0 && target.metric("gateway_throttled_blocks") == 0
    });
    assert_eq!(throttles(&folder, &[]), "nobody is slowed down\n");
    // One more than there may be is refused, and seen.
    for last in 0..17 {
        say(stream.throttle(Whom::Addresses([198, 51, 100, last].into(), 32), 50, None));
    }
    wait_until("one is refused", || target.metric("gateway_throttled_blocks_refused_total") == 1);
    assert_eq!(target.metric("gateway_throttled_blocks"), 16);
    assert!(!throttles(&folder, &[]).contains("198.51.100.16/32"), "the last one");
    assert_eq!((target.metric("gateway_streams"), target.metric("gateway_backend_flaws_total")), (2, 0));
}

#[expect(clippy::disallowed_methods, reason = "a backend's throttle ends at a time of day")]
fn in_seconds(seconds: u64) -> UnixMillis {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later");
    UnixMillis(now.as_millis() as u64 + seconds * 1000)
}

/// Says a good part of what may be said at once, hears the answers, and looks whether anybody had to pause since; so often in a row, with
/// a little time between, until it is so.
fn until_pauses(client: &mut Client, target: &Target, what: &str, are_there: bool, in_a_row: usize) {
    let (mut before, mut row) = (target.metric("gateway_pauses_total"), 0);
    wait_until(what, || {
        client.send(&[Frame::Ping(Ping::default()); 64]);
        (0..64).for_each(|_| _ = client.hear_one(|heard| *heard == Heard::Other("pong")));
        let pauses = target.metric("gateway_pauses_total");
        row = if (pauses > before) == are_there { row + 1 } else { 0 };
        before = pauses;
        row == in_a_row
    });
}

#[test]
fn a_block_that_is_throttled_is_slower_on_its_live_links_and_on_new_ones_until_it_is_over() {
    let Some(folder) = Folder::new() else { return };
    let (_gateway, target, streams) = stage(&folder);
    let stream = streams().pop().expect("it is open");
    let mut alice = Client::login(&target, "alice");
    until_pauses(&mut alice, &target, "nobody pauses", false, 5);
    say(stream.throttle(Whom::Addresses([127, 0, 0, 0].into(), 16), 1, Some(in_seconds(6))));
    until_pauses(&mut alice, &target, "a link that is in is slower", true, 1);
    let mut bob = Client::login(&target, "bob");
    until_pauses(&mut bob, &target, "so is one that comes", true, 1);
    wait_until("it is over", || target.metric("gateway_throttled_blocks") == 0);
    for client in [&mut alice, &mut bob] {
        until_pauses(client, &target, "all of it holds again", false, 5);
    }
    assert_eq!(target.metric("gateway_warnings_total"), 0);
}
