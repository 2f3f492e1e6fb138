//! What a backend that judges tokens says of tickets is kept.

use backend::{Ask, Listen, Login, Security, Server, Tickets, Verdict};
use protocol::CloseCode;
use protocol::noise::Bound;
use protocol::wire::frame::{Auth, Frame};
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::client::{Client, Heard};
use crate::stage::{Folder, Process, Target, wait_until};

#[test]
fn a_login_gets_no_tickets_where_its_judge_says_so() {
    let Some(folder) = Folder::new() else { return };
    let (_gateway, mut target) = judged(&folder, |ask| {
        let tickets = if ask.token == "none" { Tickets::None } else { Tickets::AsConfigured };
        Verdict::Accepted(Login { tickets, ..Login::of(ask.user) })
    });
    for (token, count) in [("none", 0), ("some", 2)] {
        target.token = token.to_owned();
        assert_eq!(Client::login(&target, "alice").tickets.len(), count, "{token}");
    }
}

#[test]
fn a_ticket_of_a_bound_token_needs_the_signature_of_its_key() {
    let Some(folder) = Folder::new() else { return };
    let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).expect("a seed");
    let key: [u8; 32] = pair.public_key().as_ref().try_into().expect("32 bytes");
    let (_gateway, target) =
        judged(&folder, move |ask| Verdict::Accepted(Login { bound_key: Some(key), ..Login::of(ask.user) }));
    let tickets = Client::login(&target, "alice").tickets;
    let [first, second] = &tickets[..] else { panic!("not two tickets") };
    let come_back = |client: &mut Client, signature: &[u8]| {
        client.send(&[Frame::Auth(Auth { device: b"test", signature, ..Auth::default() })]);
        client.hear_one(|heard| matches!(heard, Heard::Welcome | Heard::Close(_)))
    };
    let mut thief = Client::dial(&target, Some(first)).expect("the secret is right");
    assert_eq!(come_back(&mut thief, b""), Heard::Close(CloseCode::AuthFailed.number()));
    let mut owner = Client::dial(&target, Some(second)).expect("the secret is right");
    let h = owner.handshake_hash();
    let signature = pair.sign(&Bound::Ticket(&second.ticket).message(&h));
    assert_eq!(come_back(&mut owner, signature.as_ref()), Heard::Welcome);
    let mut copier = Client::dial(&target, Some(second)).expect("a ticket may be used twice");
    let copied = Heard::Close(CloseCode::AuthFailed.number());
    assert_eq!(come_back(&mut copier, signature.as_ref()), copied, "it was for another link");
}

/// A gateway in this folder whose tokens are judged like this, on a thread that ends with the process.
fn judged(folder: &Folder, judge: impl Fn(Ask) -> Verdict + Send + Sync + 'static) -> (Process, Target) {
    folder.make_key("server.key");
    let listen = Listen::Unix(folder.file("service.sock"));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let service = Server::builder().authenticate(move |ask| std::future::ready(judge(ask)));
            let server = service.bind(&listen, Security::Clear).expect("a folder of the test");
            server.serve(std::future::pending()).await;
        });
    });
    let (gateway, target) = folder.gateway("auth.mode = 'delegated'\nauth.route = 'echo'\n");
    wait_until("the streams are open", || target.metric("gateway_streams") == 2);
    (gateway, target)
}
