//! What the signals mean: two end the process, one will once reload the config, and the others mean nothing.

use std::fs::File;
use std::io;
use std::time::Duration;

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

    /// The same once more, for somebody who does not want to wait. What comes `shortly` after the first signal is the same wish:
    /// some tools tell the process, and then its group.
    pub(super) async fn stop_at_once(&mut self, shortly: Duration) -> &'static str {
        tokio::time::sleep(shortly).await;
        while self.signals.try_recv().is_ok() {}
        self.stop().await
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

    #[test]
    fn a_signal_that_comes_twice_at_once_is_one_wish() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (sender, mut signals) = sent();
        [Signal::Terminate; 2].iter().for_each(|signal| sender.try_send(*signal).unwrap());
        let impatient = async {
            while sender.capacity() < WAITING_MAX {
                tokio::task::yield_now().await;
            }
            sender.try_send(Signal::Interrupt).unwrap();
            std::future::pending::<()>().await;
        };
        let name = runtime.block_on(async {
            tokio::select! {
                name = signals.stop_at_once(Duration::ZERO) => name,
                () = impatient => unreachable!("it waits"),
            }
        });
        assert_eq!(name, "SIGINT", "those that came together are forgotten");
    }
}
