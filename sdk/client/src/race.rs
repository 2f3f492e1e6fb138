//! A name may have several addresses, some of which lead nowhere: they are tried beside each other, so that the first one
//! that answers is used (RFC 8305, "Happy Eyeballs").

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How long an attempt has before the next one begins beside it (RFC 8305, section 8).
const HEAD_START: Duration = Duration::from_millis(250);
/// The most addresses of a name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Addresses of both families in turns, in the order of the resolver otherwise (RFC 8305, section 4).
pub(crate) fn in_turns(found: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let found: Vec<SocketAddr> = found.into_iter().collect();
    let is_first = |address: &SocketAddr| address.is_ipv6() == found[0].is_ipv6();
    let (first, second): (Vec<SocketAddr>, Vec<SocketAddr>) =
        found.iter().partition(|address| is_first(address));
    let mut turns = Vec::with_capacity(found.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    while turns.len() < found.len() {
        turns.extend(first.next());
        turns.extend(second.next());
    }
    turns.truncate(ADDRESSES_MAX);
    turns
}

/// Connects to whichever address answers first. The next attempt begins when one has failed, or has taken a while.
///
/// # Errors
/// Why the last attempt failed; `NotFound` without an address.
pub(crate) async fn race<S, F>(addresses: Vec<SocketAddr>, connect: impl Fn(SocketAddr) -> F) -> io::Result<S>
where
    S: Send + 'static,
    F: Future<Output = io::Result<S>> + Send + 'static,
{
    let mut waiting = addresses.into_iter();
    let mut runners = JoinSet::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        if let Some(address) = waiting.next() {
            runners.spawn(connect(address));
        }
        let next = Instant::now() + HEAD_START;
        tokio::select! {
            ended = runners.join_next() => match ended {
                Some(Ok(Ok(socket))) => return Ok(socket),
                Some(Ok(Err(error))) => last = error,
                // One that panicked or was cancelled has failed.
                Some(Err(_)) => {}
                None => return Err(last),
            },
            () = sleep_until(next), if waiting.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_millis(400);

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// What becomes of an attempt, by the address: 1 never answers, 2 refuses, others answer late.
    async fn connect(address: SocketAddr) -> io::Result<SocketAddr> {
        match address.port() {
            1 => std::future::pending().await,
            2 => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => {
                tokio::time::sleep(LATE).await;
                Ok(address)
            }
        }
    }

    #[test]
    fn families_take_turns() {
        let found = ["[::1]:1", "[::2]:1", "[::3]:1", "127.0.0.1:1"].map(address);
        assert_eq!(in_turns(found), ["[::1]:1", "127.0.0.1:1", "[::2]:1", "[::3]:1"].map(address));
        assert!(in_turns([]).is_empty());
        let many = (0..100).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(in_turns(many).len(), ADDRESSES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_leads_nowhere_holds_nobody_up() {
        for (addresses, takes) in [
            (vec!["[::1]:1", "127.0.0.1:3"], HEAD_START + LATE),
            (vec!["[::1]:2", "127.0.0.1:3"], LATE),
            (vec!["[::1]:1", "127.0.0.1:1", "[::1]:2", "127.0.0.1:3"], 2 * HEAD_START + LATE),
            (vec!["[::1]:3", "127.0.0.1:4"], LATE),
        ] {
            let start = Instant::now();
            let all = addresses.iter().map(|text| address(text)).collect();
            assert!(race(all, connect).await.is_ok(), "{addresses:?}");
            assert_eq!(start.elapsed(), takes, "{addresses:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_refuse_the_reason_is_told() {
        let all = ["[::1]:2", "127.0.0.1:2"].map(address).to_vec();
        assert_eq!(
            race(all, connect).await.map_err(|error| error.kind()),
            Err(io::ErrorKind::ConnectionRefused)
        );
        let none = race(Vec::new(), connect).await;
        assert_eq!(none.map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
    }
}
