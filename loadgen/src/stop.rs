//! Ending a run before its time: signals ask for it, the crew is told.

use std::io::{self, Write};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::result::INTERRUPTED;
use crate::worker::Event;

/// Ends a run early: it puts no more load on, waits for the answers, closes its links and reports what was measured.
/// Clones mean the same run.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    asked: bool,
    crew: Option<Sender<Event>>,
}

impl Stop {
    /// Asks for the end. Asking again changes nothing.
    pub fn ask(&self) {
        let mut state = self.lock();
        state.asked = true;
        state.tell();
    }

    /// Has the crew told, at once if the end was asked for already.
    pub(crate) fn listen(&self, crew: Sender<Event>) {
        let mut state = self.lock();
        state.crew = Some(crew);
        if state.asked {
            state.tell();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell(&mut self) {
        if let Some(crew) = self.crew.take() {
            let _run_is_over = crew.send(Event::Stop);
        }
    }
}

/// The first SIGINT or SIGTERM ends the run early, the second one the process at once.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn heed_signals(stop: Stop) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? }
    };
    let wait = async move {
        signals.next().await;
        let _nobody_reads = writeln!(
            io::stderr().lock(),
            "loadgen: ending the run; a second signal ends it without a result"
        );
        stop.ask();
        signals.next().await;
        std::process::exit(INTERRUPTED.into());
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait))?;
    Ok(())
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
