//! Sessions that outlive their links.

use client::{Config, Continuity, Error, Outcome, Reason, State};
use protocol::noise::Suite;
use protocol::wire::frame::{Close, Frame};
use protocol::wire::proto::link::Welcome;
use protocol::{CloseCode, Refusal};

use crate::gateway::{
    Heard, Wish, answered, config, failure, given, has_none, linked, resumed, session, spawn, start, welcome,
};

#[tokio::test(start_paused = true)]
async fn after_a_lost_link_the_session_goes_on_by_a_proof_of_its_secret() {
    let (client, mut pushes, mut gateway, mut link) = linked(config(), &session(7)).await;
    assert_eq!(client.ready().await.unwrap().continuity, Continuity::Begun);
    link.deliver([1, 2]).await;
    assert_eq!(given(&mut pushes, 2).await, [1, 2]);
    drop(link);
    let (mut link, wish) = gateway.wished().await;
    assert_eq!(wish, Some(Wish { session: 7, attempt: 1, last_sequence: 2 }));
    link.welcome(&resumed(7, 4)).await;
    link.deliver([3, 4, 5]).await;
    assert_eq!(given(&mut pushes, 3).await, [3, 4, 5]);
    let session = client.ready().await.unwrap();
    assert_eq!((&session.id[..], session.continuity), (&[7; 16][..], Continuity::Resumed));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_a_larger_number_and_one_that_the_gateway_lost_strands_nobody() {
    let (_client, _pushes, mut gateway, link) = linked(config(), &session(7)).await;
    drop(link);
    for attempt in 1..=5 {
        let (link, wish) = gateway.wished().await;
        assert_eq!(wish, Some(Wish { session: 7, attempt, last_sequence: 0 }));
        drop(link);
    }
    let (mut link, _) = gateway.wished().await;
    link.welcome(&resumed(7, 0)).await;
    drop(link);
    assert_eq!(gateway.wished().await.1, Some(Wish { session: 7, attempt: 7, last_sequence: 0 }));
}

#[tokio::test(start_paused = true)]
async fn only_what_a_gateway_may_have_heard_is_an_attempt() {
    let (_client, _pushes, mut gateway, link) = linked(config(), &session(7)).await;
    drop(link);
    for _ in 0..3 {
        drop(gateway.dialled().await);
    }
    assert_eq!(gateway.wished().await.1.map(|wish| wish.attempt), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_ticket_and_the_session_are_shown_together() {
    let (_client, _pushes, mut gateway) = start(config());
    let with_tickets = Welcome { tickets: gateway.tickets(1), ..session(7) };
    drop(gateway.welcome(&with_tickets).await);
    let (link, wish) = gateway.wished().await;
    assert_eq!(link.suite(), Suite::Nnpsk0ChaChaPoly);
    assert_eq!(wish, Some(Wish { session: 7, attempt: 1, last_sequence: 0 }));
}

#[tokio::test(start_paused = true)]
async fn in_a_session_that_goes_on_repeats_keep_their_numbers() {
    let (client, _pushes, mut gateway, mut link) = linked(config(), &session(7)).await;
    let ask = |payload: &'static str| {
        let client = client.clone();
        let within = std::time::Duration::from_secs(60);
        tokio::spawn(async move { client.request_until_answered("echo", b"", payload, within).await })
    };
    let first = spawn(&client, b"1");
    let id = link.asked().await.id;
    let open = ask("2");
    assert_eq!(link.asked().await.counter, 2);
    link.answer(id, b"").await;
    assert_eq!(first.await.unwrap(), answered(b""));
    for (welcome, numbers) in [(resumed(7, 0), [2, 3]), (session(8), [1, 2]), (resumed(8, 0), [1, 3])] {
        drop(link);
        let (next, wish) = gateway.wished().await;
        assert!(wish.is_some());
        link = next;
        assert_eq!(link.at_hand(), None, "whether its number holds is not known yet");
        link.welcome(&welcome).await;
        let again = link.asked().await;
        assert_eq!((&again.payload[..], again.counter, again.again), (&b"2"[..], numbers[0], true));
        let new = spawn(&client, b"3");
        let asked = link.asked().await;
        assert_eq!((asked.counter, asked.again), (numbers[1], false));
        link.answer(asked.id, b"").await;
        assert_eq!(new.await.unwrap(), answered(b""));
    }
    open.abort();
}

#[tokio::test(start_paused = true)]
async fn a_new_request_leaves_with_auth_though_the_session_is_not_known_and_counts_in_none() {
    let (client, _pushes, mut gateway, link) = linked(config(), &session(7)).await;
    drop(link);
    assert_eq!(failure(&client).await, Error::Cut);
    let asked = spawn(&client, b"1");
    let (mut link, _) = gateway.wished().await;
    link.welcome(&resumed(7, 0)).await;
    let Some(Heard::Request(request)) = link.at_hand() else { panic!("it was in the same flight") };
    assert_eq!((request.counter, request.again), (0, false));
    link.answer(request.id, b"").await;
    assert_eq!(asked.await.unwrap(), answered(b""));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_does_not_go_on_is_told_and_the_next_wish_is_for_the_new_one() {
    let (client, mut pushes, mut gateway, mut link) = linked(config(), &session(7)).await;
    link.deliver([1, 2, 3]).await;
    assert_eq!(given(&mut pushes, 2).await, [1, 2]);
    drop(link);
    let (mut link, wish) = gateway.wished().await;
    assert_eq!(wish, Some(Wish { session: 7, attempt: 1, last_sequence: 3 }));
    link.welcome(&session(8)).await;
    assert_eq!(client.ready().await.unwrap().continuity, Continuity::NotResumed);
    link.deliver([1]).await;
    assert_eq!(
        given(&mut pushes, 2).await,
        [3, 1],
        "what was received is not lost, and counting begins anew"
    );
    assert_eq!(link.acked_now(1).await, (0, 1), "what was taken of the old one says nothing of the new one");
    drop(link);
    assert_eq!(gateway.wished().await.1, Some(Wish { session: 8, attempt: 1, last_sequence: 1 }));
}

#[tokio::test(start_paused = true)]
async fn what_the_gateway_has_ended_is_not_wished_for_and_everything_else_is() {
    for &code in CloseCode::ALL {
        use CloseCode::{AuthFailed, DeviceRefused, Kicked, SessionEnded};
        let (client, _pushes, mut gateway, link) = linked(config(), &session(7)).await;
        link.close(Close { code: code.number(), ..Close::default() }).await;
        let error = failure(&client).await;
        if error.is_final() {
            continue;
        }
        let (_link, wish) = gateway.wished().await;
        let is_over = [AuthFailed, Kicked, SessionEnded, DeviceRefused].contains(&code);
        assert_eq!(wish.is_none(), is_over, "{}", code.name());
    }
}

#[tokio::test(start_paused = true)]
async fn there_is_nothing_to_wish_for_without_a_secret_or_where_the_application_wants_none() {
    let none = Config { resume: false, ..config() };
    let short = Welcome { secret: vec![7; 31].into(), ..session(7) };
    for (config, welcome) in [(config(), welcome()), (config(), short), (none, session(7))] {
        let (_client, mut pushes, mut gateway, mut link) = linked(config, &welcome).await;
        link.deliver([1, 1, 2]).await;
        assert_eq!(given(&mut pushes, 2).await, [1, 2], "but pushes are counted");
        assert_eq!(link.acked_now(2).await, (1, 2));
        drop(link);
        assert_eq!(gateway.wished().await.1, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_goes_on_with_another_session_or_unasked_has_begun_a_new_one() {
    let (client, mut pushes, mut gateway, mut link) = linked(config(), &resumed(7, 9)).await;
    assert_eq!(client.ready().await.unwrap().continuity, Continuity::Begun);
    link.deliver([1]).await;
    assert_eq!(given(&mut pushes, 1).await, [1]);
    drop(link);
    assert_eq!(gateway.wished().await.1, None, "it has no secret");
    let (client, mut pushes, mut gateway, mut link) = linked(config(), &session(7)).await;
    link.deliver([1]).await;
    assert_eq!(given(&mut pushes, 1).await, [1]);
    drop(link);
    let mut link = gateway.welcome(&resumed(8, 9)).await;
    link.deliver([1]).await;
    assert_eq!(given(&mut pushes, 1).await, [1]);
    assert_eq!(client.ready().await.unwrap().continuity, Continuity::NotResumed);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_has_forgotten_what_it_sent_is_told_and_a_new_session_begins() {
    let (client, mut pushes, mut gateway, mut link) = linked(config(), &session(7)).await;
    link.deliver([1, 2]).await;
    assert_eq!(given(&mut pushes, 2).await, [1, 2]);
    assert!(has_none(&mut pushes).await);
    drop(link);
    let mut link = gateway.welcome(&resumed(7, 1)).await;
    assert_eq!(link.said().await, Heard::Close(Some(CloseCode::Malformed)));
    drop(link);
    let breach = Error::Protocol(protocol::Error::Field("last_sequence"));
    let is_told = |state: &State| matches!(state, State::Waiting { error, .. } if *error == breach);
    client.states().wait_for(is_told).await.unwrap();
    let (mut link, wish) = gateway.wished().await;
    assert_eq!(wish, None);
    link.welcome(&session(8)).await;
    link.deliver([1]).await;
    assert_eq!(given(&mut pushes, 1).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_refused_attempt_are_refused_and_the_session_is_wished_for_again() {
    let (client, _pushes, mut gateway, link) = linked(config(), &session(7)).await;
    drop(link);
    assert_eq!(failure(&client).await, Error::Cut);
    let asked = spawn(&client, b"1");
    let (link, _) = gateway.wished().await;
    link.close(Close { code: CloseCode::TryLater.number(), ..Close::default() }).await;
    let auth = Reason::Refusal(Refusal::Auth);
    let refused = Outcome::Refused { reason: auth, retry_after: std::time::Duration::ZERO };
    assert_eq!(asked.await.unwrap(), refused);
    let (mut link, wish) = gateway.wished().await;
    assert_eq!(wish.map(|wish| wish.attempt), Some(2));
    link.send(&[Frame::Pad { zeros: &[0; 9] }]).await;
    link.welcome(&resumed(7, 0)).await;
    client.ready().await.unwrap();
}
