//! What the test says on standard input, and what it is told.

use std::io::{self, BufRead as _, Write as _};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// What is wanted of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    /// As much as it can.
    Work,
    /// To come to an end with what it has begun.
    Quiet,
    /// To end.
    End,
}

/// Follows standard input on a thread of its own.
pub(crate) fn follow() -> watch::Receiver<Wanted> {
    let (say, wanted) = watch::channel(Wanted::Work);
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if line == "quiet" {
                say.send_replace(Wanted::Quiet);
            }
        }
        say.send_replace(Wanted::End);
    });
    wanted
}

/// Waits until this is wanted, or more.
pub(crate) async fn until(wanted: &mut watch::Receiver<Wanted>, what: Wanted) {
    // Whoever said it last meant the end, if nobody can say more.
    _ = wanted.wait_for(|wanted| *wanted >= what).await;
}

/// Waits so many milliseconds, as long as work is wanted.
pub(crate) async fn idle(wanted: &mut watch::Receiver<Wanted>, millis: usize) {
    // An end of the pause or of the work: whichever it is, the caller looks.
    _ = timeout(Duration::from_millis(millis as u64), until(wanted, Wanted::Quiet)).await;
}

/// All that was begun has come to its end.
pub(crate) fn quiet() -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(b"quiet\n")?;
    out.flush()
}
