//! What the signals mean: two end the process, one will once reload the config, and the others mean nothing.

use std::fs::File;
use std::io;

use driver::signals::{Held, Signal};
use tokio::sync::mpsc;

use super::tell;
use crate::config::Level;

/// Signals as they come.
pub struct Signals {
    signals: mpsc::Receiver<Signal>,
    /// Whether the process was started in a terminal.
    in_terminal: bool,
}

/// Signals that may wait; the kernel keeps one more of each kind.
const WAITING_MAX: usize = 16;

impl Signals {
    /// Begins to listen, in a thread of its own.
    ///
    /// # Errors
    /// What the system says to one more thread.
    pub fn listen(held: Held) -> io::Result<Self> {
        let (sender, signals) = mpsc::channel(WAITING_MAX);
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || while sender.blocking_send(held.wait()).is_ok() {})?;
        Ok(Self { signals, in_terminal: has_terminal() })
    }

    /// Waits for a signal that ends the process; its name. All others are dealt with here.
    pub(super) async fn stop(&mut self) -> &'static str {
        while let Some(signal) = self.signals.recv().await {
            match signal {
                Signal::Terminate => return "SIGTERM",
                Signal::Interrupt => return "SIGINT",
                // Nobody is left to end it by Ctrl-C.
                Signal::Hangup if self.in_terminal && !has_terminal() => {
                    return "SIGHUP, the terminal is gone";
                }
                Signal::Hangup => tell(Level::Warning, NO_RELOAD),
                Signal::User => {}
            }
        }
        std::future::pending().await
    }
}

const NO_RELOAD: &str = "SIGHUP: no reload yet; a changed config takes a restart";

/// Whether there is a terminal that can end this process.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Signals that a test sends.
    pub(in crate::control) fn sent() -> (mpsc::Sender<Signal>, Signals) {
        let (sender, signals) = mpsc::channel(WAITING_MAX);
        (sender, Signals { signals, in_terminal: false })
    }

    #[test]
    fn only_two_signals_end_the_process() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (sender, mut signals) = sent();
        for signal in [Signal::Hangup, Signal::User, Signal::Interrupt, Signal::User, Signal::Terminate] {
            sender.try_send(signal).unwrap();
        }
        assert_eq!(runtime.block_on(signals.stop()), "SIGINT");
        assert_eq!(runtime.block_on(signals.stop()), "SIGTERM");
    }
}
