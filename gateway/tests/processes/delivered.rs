//! A backend delivers to a client whose links break all the time, by the libraries of both: each message comes once, in its
//! order, and its backend knows that.

use std::net::SocketAddr;
use std::time::Duration;

use backend::{Listen, Outcome, Reply, Rule, Security, Server};
use client::{Backoff, Client, Config, Credentials, State};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{Folder, wait_until};

/// Messages, in the order of their numbers.
const MESSAGES: u32 = 400;
/// How long a link lives on average.
const LIFE: Duration = Duration::from_millis(60);
/// A machine that is busy with other things may be slow, and is not to be slow for ever.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn what_is_delivered_comes_once_and_in_order_however_often_links_break() {
    let Some(folder) = Folder::new() else { return };
    folder.make_key("server.key");
    let listen = Listen::Unix(folder.file("service.sock"));
    let (say, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let server = Server::builder().route("echo", |request| async move { Reply::ok(request.payload) });
            let server = server.bind(&listen, Security::Clear).expect("a folder of the test");
            say.send(server.watch()).expect("the test waits for it");
            server.serve(std::future::pending()).await;
        });
    });
    let gateways = said.recv().expect("it listens");
    let (_gateway, target) = folder.gateway("auth.mode = 'development'\n");
    wait_until("the streams are open", || target.metric("gateway_streams") == 2);
    runtime().block_on(async {
        let cut = cutter(target.address).await;

        let credentials = Credentials::token(folder.token());
        let backoff = Backoff { first: Duration::from_millis(5), max: Duration::from_millis(50) };
        let config =
            Config { backoff, ..Config::new(cut.to_string(), target.key, credentials, "alice", "phone") };
        let (client, mut pushes) = Client::connect(config).await.expect("the gateway is there");
        let listening = tokio::spawn(async move {
            let mut numbers = Vec::new();
            while numbers.len() < MESSAGES as usize
                && let Some(push) = pushes.next().await
            {
                numbers.push(u32::from_be_bytes(push.payload[..].try_into().expect("four bytes")));
            }
            pushes.taken();
            numbers
        });

        let gateway = gateways().into_iter().next().expect("the gateway's streams are open");
        let mut outcomes = Vec::new();
        for number in 0..MESSAGES {
            let push = backend::Push {
                target: backend::Target::User("alice".into()),
                id: Default::default(),
                payload: number.to_be_bytes().to_vec().into(),
                number: 0,
                ttl: Duration::ZERO,
                package: None,
            };
            outcomes.push(gateway.deliver(push, Rule::All).await.expect("the stream is open"));
            // Spread over many links: at once, all of them would leave by one or two.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let numbers =
            tokio::time::timeout(PATIENCE, listening).await.expect("all of them come").expect("no panic");
        assert_eq!(numbers, (0..MESSAGES).collect::<Vec<_>>(), "once, and in their order");
        for (number, outcome) in outcomes.into_iter().enumerate() {
            let outcome = tokio::time::timeout(PATIENCE, outcome).await.expect("it is told");
            assert_eq!(outcome, Outcome::Delivered, "message {number}");
        }
        assert!(!matches!(client.state(), State::Ended(_)));
        client.close().await;
    });
    assert!(target.metric("gateway_sessions_resumed_total") > 3, "links have broken");
    assert_eq!(target.metric("gateway_sessions_not_resumed_total"), 0);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// An address that leads to the gateway, by connections that are cut after a while: some by a reset, some by going silent, which
/// is what a client's next link meets its former one as.
async fn cutter(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut silent = Vec::new();
        for number in 1_u32.. {
            let (mut near, _) = listener.accept().await.expect("the test's own");
            let Ok(mut far) = TcpStream::connect(to).await else { continue };
            let life = LIFE * (1 + number * 7 % 5) / 3;
            _ = tokio::time::timeout(life, tokio::io::copy_bidirectional(&mut near, &mut far)).await;
            if number % 2 == 0 {
                // The gateway hears nothing of it.
                silent.push(far);
            } else {
                _ = far.shutdown().await;
            }
        }
    });
    address
}
