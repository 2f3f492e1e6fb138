//! The operator's files, followed while the gateway runs: what has changed in them is in force a moment later, and while something
//! is wrong with one of them what all had before stays so.

use std::rc::Rc;
use std::time::Duration;

use super::files::Files;
use super::keeper::Keeper;
use super::seen::Seen;
use crate::clock::Clock;
use crate::config::{Level, Lists};
use crate::control::tell;

/// Reads files that have changed, and puts in force what they say, for as long as the process lives.
pub(in crate::control) async fn watch(mut seen: Seen, lists: Lists, keeper: Rc<Keeper>, clock: Clock) {
    if seen.is_empty() {
        return;
    }
    loop {
        // A second of silence is what tells a file that is whole from one that is being written.
        tokio::time::sleep(LOOK_INTERVAL).await;
        if !seen.has_changed() {
            continue;
        }
        let (asked, now, wall) = (lists.clone(), clock.now(), clock.unix());
        // A million lines take a while, and this thread has others to answer.
        let reading = tokio::task::spawn_blocking(move || Files::read(&asked, now, wall));
        match reading.await.expect("it does not panic, and the runtime stands") {
            Ok(files) => {
                tell(
                    Level::Info,
                    &format!("the files of [lists] have changed: {} are in force now", files.shown()),
                );
                keeper.replace_files(files);
            }
            Err(reason) => {
                tell(Level::Warning, &format!("{reason}; what the files had before stays in force"))
            }
        }
    }
}

const LOOK_INTERVAL: Duration = Duration::from_secs(1);
