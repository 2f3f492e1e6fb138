//! A backend bans users, lets them in again and slows them down, and its operator sees who has done it.

use backend::protocol::UnixMillis;
use backend::{Gateway, Listen, PushError, Security, Server, Whom};
use protocol::CloseCode;

use crate::client::{Client, Heard};
use crate::stage::{Folder, Process, Target, gateway, path, wait_until};

/// The live streams of the service.
type Streams = Box<dyn Fn() -> Vec<Gateway> + Send>;

/// A gateway in this folder with a service on a thread that ends with the process, and the service's streams.
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
        "auth.mode = 'development'\nlists.journal = 'state'\nadmin.socket = '{}'\n",
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

#[test]
fn a_throttle_is_remembered_until_it_is_ended_and_addresses_are_not_throttled_yet() {
    let Some(folder) = Folder::new() else { return };
    let (_gateway, target, streams) = stage(&folder);
    let stream = streams().pop().expect("it is open");
    say(stream.throttle(user("alice"), 10, None));
    say(stream.throttle(Whom::Addresses([192, 0, 2, 7].into(), 32), 10, None));
    wait_until("it holds", || target.metric("gateway_throttles") == 1);
    wait_until("the other one was seen", || target.metric("gateway_backend_flaws_total") == 1);
    say(stream.throttle(user("alice"), 100, None));
    wait_until("it holds no more", || target.metric("gateway_throttles") == 0);
    assert_eq!(target.metric("gateway_streams"), 2);
}
