//! More connections than there are places.

use backend::protocol::stream::Mode;
use backend::{Bounds, Builder, Counts, Listen, Security, Server};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use crate::peer::{Peer, answer, place, run};

fn echo(bounds: Bounds) -> Builder {
    Server::builder().bounds(bounds).route_now("echo", |_, _, _| {})
}

async fn is_closed(socket: &mut (impl AsyncReadExt + Unpin)) {
    assert_eq!(socket.read(&mut [0; 1]).await.unwrap_or(0), 0, "nobody has said anything");
}

#[tokio::test]
async fn who_says_nothing_keeps_no_gateway_out() {
    let bounds = Bounds { streams_max: 3, newcomers_max: 4, ..Bounds::default() };
    let server = echo(bounds).bind(&place(), Security::Clear).unwrap();
    let counts = server.watch_counts();
    let server = run(server);
    let Listen::Unix(path) = &server.place else { panic!("{}", server.place) };
    let mut early = Peer::dial(&server.place, &Mode::Clear).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(UnixStream::connect(path).await.unwrap());
    }
    let mut late = Peer::dial(&server.place, &Mode::Clear).await;
    // The newest are still there, and the oldest went.
    for socket in &mut silent[..16] {
        is_closed(socket).await;
    }
    for peer in [&mut early, &mut late] {
        peer.ask(1, "echo", b"");
        assert_eq!(peer.next().await, answer(1, 0, b""));
    }
    // 20, and the late gateway when it was new, less four places.
    assert_eq!(counts(), Counts { newcomers_evicted: 17, ..Counts::default() });
}

/// Live streams have their own bound, and no newcomer costs one its place.
#[tokio::test]
async fn one_stream_too_many_is_closed_and_the_others_stay() {
    let bounds = Bounds { streams_max: 2, newcomers_max: 1, ..Bounds::default() };
    let server = echo(bounds).bind(&place(), Security::Clear).unwrap();
    let (counts, gateways) = (server.watch_counts(), server.watch());
    let server = run(server);
    let mut first = Peer::dial(&server.place, &Mode::Clear).await;
    let second = Peer::dial(&server.place, &Mode::Clear).await;
    let mut third = Peer::dial_silently(&server.place, &Mode::Clear, [1; 16]).await;
    assert_eq!(third.next().await, None, "not even Ready");
    first.ask(1, "echo", b"");
    assert_eq!(first.next().await, answer(1, 0, b""));
    assert_eq!((gateways().len(), counts().streams_refused), (2, 1));
    drop(second);
    while gateways().len() > 1 {
        tokio::task::yield_now().await;
    }
    Peer::dial(&server.place, &Mode::Clear).await;
}
