//! The control thread: signals, the admin socket, HTTP for probes and metrics, and the life of the process.
//!
//! It runs on tokio-uring and is never on the data path. Of the workers it knows only [`Workers`]: their counters,
//! how far they are, and how to stop them.

mod addresses;
mod ask;
mod bans;
mod busiest;
mod dev;
mod doorstep;
mod dumps;
mod endpoints;
mod exit;
mod file_state;
mod fullness;
mod http;
mod kept;
mod kick;
mod ladder;
mod limits;
mod log;
mod machine;
mod metrics;
mod places;
mod ready;
pub mod remedy;
mod serve;
pub mod settings;
mod signals;
mod snapshot;
mod sockets;
pub mod spawn;
mod status;
mod throttles;
mod token_keys;
mod trial;
mod verbs;
mod workers;

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::noise::ticket::TICKET_KEY_ROTATION;

pub use ask::ask;
pub use busiest::AskBusiest;
pub use dev::{DevOptions, SERVICE_VERB, dev, reference_service};
pub use dumps::withhold;
pub use exit::Exit;
pub use kick::{Kick, KickUser, LoginName, NoLogin};
pub use log::{Writer, set_level, tell, tell_as_it_is};
pub use machine::{machine, read_key_file};
pub use ready::Ready;
pub use signals::Signals;
pub use sockets::Sockets;
pub use throttles::AskThrottled;
pub use trial::{Trial, try_out};
pub use workers::{Progress, TellLists, TellVerifier, UntilEnded, Wake, Workers};

use self::bans::{Keeper, Opened};
use self::doorstep::Doorstep;
use self::endpoints::Endpoints;
use self::fullness::Fullness;
use self::ladder::Drill;
use self::ready::ReadyFile;
use self::serve::{Asks, State};
use self::token_keys::TokenKeys;
use crate::admission::lists::Lists;
use crate::clock::Clock;
use crate::config::{Ceiling, Checked, Config, Level, Secret};
use crate::tokens::choose_cryptography;

/// What the command line says besides the config.
#[derive(Default)]
pub struct Options {
    /// Where to write the ready file.
    pub ready_file: Option<PathBuf>,
    /// The token that goes into the ready file; `dev` only.
    pub token: Option<String>,
    /// Called once when every worker serves.
    pub when_ready: Option<WhenReady>,
}

/// What to do once when every worker serves.
pub type WhenReady = Box<dyn FnOnce(&Ready) + Send>;

/// Runs a gateway until a signal or a failure ends it. `spawn` starts the workers; it is called once, after
/// everything that can fail without them.
pub fn run<S>(config: Checked<Config>, options: Options, signals: Signals, spawn: S) -> Exit
where
    S: FnOnce(&Arc<Checked<Config>>, Clock, Lists) -> Result<Workers, String>,
{
    set_level(config.log.level);
    dumps::settle(config.log.core_dumps).iter().for_each(|(level, line)| tell(*level, line));
    choose_cryptography();
    // tokio-uring panics where io_uring is forbidden, so this comes before its runtime.
    if let Err(blocked) = driver::probe() {
        return cannot_use(&blocked);
    }
    if let Some(path) = &options.ready_file {
        // Whoever waits for the file must not find an old one; a gateway that runs keeps its own.
        if let Err(reason) = ready::remove_stale(path) {
            return cannot_start(&reason);
        }
    }
    tokio_uring::start(live(Arc::new(config), options, signals, spawn))
}

/// One line with the cause, one with the fix.
fn cannot_use(blocked: &driver::Blocked) -> Exit {
    tell(Level::Error, &blocked.cause);
    tell(Level::Error, &format!("fix: {}", blocked.fix));
    Exit::Blocked
}

fn cannot_start(reason: &str) -> Exit {
    tell(Level::Error, reason);
    Exit::Start
}

async fn live<S>(config: Arc<Checked<Config>>, options: Options, mut signals: Signals, spawn: S) -> Exit
where
    S: FnOnce(&Arc<Checked<Config>>, Clock, Lists) -> Result<Workers, String>,
{
    let clock = Clock::start();
    let (sockets, opened) = match bind(&config, clock, &mut signals).await {
        Ok(bound) => bound,
        Err(exit) => return exit,
    };
    opened.warning.iter().for_each(|warning| tell(Level::Warning, warning));
    let mut workers = match spawn(&config, clock, opened.lists()) {
        Ok(workers) => workers,
        Err(reason) => return cannot_start(&reason),
    };
    let tell_lists = std::mem::replace(&mut workers.tell_lists, Box::new(|_, _| true));
    let kick_user = std::mem::replace(&mut workers.kick_user, Box::new(|_, _| false));
    let seen = opened.seen();
    let keeper = Rc::new(Keeper::new(opened, tell_lists, workers.counters.len(), clock));
    tokio_uring::spawn(Rc::clone(&keeper).tend());
    tokio_uring::spawn(bans::watch(seen, config.lists.clone(), Rc::clone(&keeper), clock));
    let wake = std::mem::replace(&mut workers.wake, Box::new(|| {}));
    let drill = Drill::new(Arc::clone(&workers.pressure), wake);
    let asks = Asks {
        busiest: std::mem::replace(&mut workers.ask_busiest, Box::new(|_| {})),
        throttled: std::mem::replace(&mut workers.ask_throttled, Box::new(|_| {})),
    };
    let keepers = Rc::clone(&keeper);
    let state = State::new(Arc::clone(&config), &workers, keepers, kick_user, drill, asks, clock);
    let state = Rc::new(state);
    let http = sockets.http_address();
    // The socket's file disappears with this guard, at the very end.
    let _admin_file = match serve::start(sockets, &state) {
        Ok(guard) => guard,
        Err(error) => {
            stop(&mut workers, &state, &mut signals).await;
            return cannot_start(&format!("the admin sockets: {error}"));
        }
    };
    let ready = Ready { listeners: workers.listeners.clone(), http };
    let reports = Arc::clone(&workers.reports);
    tokio_uring::spawn(bans::heed(
        reports,
        Rc::clone(&keeper),
        config.admission.login_ban,
        (&config.lists).into(),
        clock,
    ));
    let (ceiling, mut levels) = (Ceiling::of(&config).user(), ladder::Watch::default());
    let chores = || {
        state.drill.expire(clock.now());
        levels.look(&workers.pressure, ladder::resident(), ceiling, &workers.counters)
    };
    let (exit, _ready_file) = watch(&config, options, &ready, &workers, &mut signals, chores).await;
    let stopped = stop(&mut workers, &state, &mut signals).await;
    if exit == Exit::Clean && stopped == Exit::Clean {
        tell(Level::Info, "stopped");
    }
    if exit == Exit::Clean { stopped } else { exit }
}

/// Takes what one gateway alone can have: the two sockets of the control thread, once the addresses for clients can be had, and the
/// journal of bans. A gateway that was killed holds its addresses for a moment longer, until the kernel has taken its rings
/// down: that long it is tried again.
async fn bind(config: &Config, clock: Clock, signals: &mut Signals) -> Result<(Sockets, Opened), Exit> {
    let mut tries = 0;
    loop {
        let refused = match addresses::refused(config).next() {
            Some((_, refused)) => refused,
            None => match Sockets::bind(&config.admin) {
                Ok(sockets) => match bans::open(&config.lists, clock.now(), clock.unix()) {
                    Ok(opened) => return Ok((sockets, opened)),
                    Err(refused) => refused,
                },
                Err(refused) => refused,
            },
        };
        if !refused.in_use || tries == BIND_TRIES {
            return Err(cannot_start(&refused.reason));
        }
        if tries == 0 {
            let most = (BIND_PAUSE * BIND_TRIES).as_secs();
            tell(Level::Warning, &format!("{}; trying again for {most} s", refused.cause));
        }
        tries += 1;
        tokio::select! {
            () = tokio::time::sleep(BIND_PAUSE) => {}
            name = signals.stop() => {
                tell(Level::Info, &format!("{name}: stopping"));
                return Err(Exit::Clean);
            }
        }
    }
}

/// How often, and after what pause, an address that is in use is tried again.
const BIND_TRIES: u32 = 60;
const BIND_PAUSE: Duration = Duration::from_millis(50);

/// Waits until there is a reason to stop: a signal, or a worker that ended unasked.
async fn watch(
    config: &Config,
    mut options: Options,
    ready: &Ready,
    workers: &Workers,
    signals: &mut Signals,
    mut chores: impl FnMut() -> Vec<(Level, String)>,
) -> (Exit, Option<ReadyFile>) {
    let mut ready_file = None;
    let mut announced = false;
    let mut rotation = tokio::time::interval(TICKET_KEY_ROTATION);
    rotation.tick().await; // the first tick comes at once
    let mut endpoints = Endpoints::default();
    let mut fullness = Fullness::default();
    let mut doorstep = Doorstep::default();
    let mut token_keys = TokenKeys::new(&config.auth, workers.counters.len());
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    looks.tick().await;
    loop {
        tokio::select! {
            _ = looks.tick() => {
                let mut lines = endpoints.look(&config.endpoints, &workers.counters);
                if workers.ready() {
                    lines.extend(fullness.look(config, &workers.counters));
                }
                lines.extend(doorstep.look(config, &workers.counters));
                lines.extend(token_keys.iter_mut().flat_map(|keys| keys.look(&workers.tell_verifier)));
                lines.extend(chores());
                lines.iter().for_each(|(level, line)| tell(*level, line));
            }
            _ = rotation.tick() => rotate_tickets(workers),
            name = signals.stop() => {
                tell(Level::Info, &format!("{name}: stopping"));
                return (Exit::Clean, ready_file);
            }
            () = workers.progress.changed() => {
                if workers.progress.count_ended() > 0 {
                    // Whoever starts workers waits until each serves or has ended.
                    let all_served = workers.progress.count_serving() == workers.counters.len();
                    let what = if all_served { "ended unasked" } else { "could not start" };
                    tell(Level::Error, &format!("a worker {what}: stopping"));
                    return (if all_served { Exit::Failed } else { Exit::Start }, ready_file);
                }
                if announced || !workers.ready() {
                    continue;
                }
                announced = true;
                match announce(config, &mut options, ready) {
                    Ok(file) => ready_file = file,
                    Err(reason) => {
                        tell(Level::Error, &reason);
                        return (Exit::Start, None);
                    }
                }
            }
        }
    }
}

/// Without fresh randomness the present key goes on; the next tick tries again.
fn rotate_tickets(workers: &Workers) {
    let mut key = zeroize::Zeroizing::new([0; 32]);
    match (&workers.rotate_tickets, getrandom::fill(&mut *key)) {
        (Some(rotate), Ok(())) => rotate(Secret::new(*key)),
        (Some(_), Err(error)) => {
            tell(Level::Warning, &format!("no new ticket key: {error}; the present one goes on"))
        }
        (None, _) => {}
    }
}

fn announce(config: &Config, options: &mut Options, ready: &Ready) -> Result<Option<ReadyFile>, String> {
    let file = match &options.ready_file {
        Some(path) => Some(ReadyFile::write(path, config, ready, options.token.as_deref())?),
        None => None,
    };
    tell(Level::Info, &format!("ready on {ready} with {} workers", config.cores.len()));
    if let Some(when_ready) = options.when_ready.take() {
        when_ready(ready);
    }
    Ok(file)
}

/// Asks the workers to end and waits for them, but not for ever; a second signal ends the patience.
async fn stop(workers: &mut Workers, state: &State, signals: &mut Signals) -> Exit {
    state.stopping.set(true);
    (workers.stop)();
    let all_ended = async {
        while workers.progress.count_ended() < workers.counters.len() {
            workers.progress.changed().await;
        }
    };
    tokio::select! {
        ended = tokio::time::timeout(STOP_DEADLINE, all_ended) => {
            if ended.is_err() {
                tell(Level::Error, "workers did not end in time: ending without them, and clients see lost links");
                workers.join_ended().iter().for_each(|failure| tell(Level::Error, failure));
                return Exit::Failed;
            }
        }
        name = signals.stop_at_once(SAME_WISH) => {
            tell(Level::Warning, &format!("{name} again: not waiting for the workers"));
            return Exit::Failed;
        }
    }
    let failures = workers.join();
    for failure in &failures {
        tell(Level::Error, failure);
    }
    if failures.is_empty() { Exit::Clean } else { Exit::Failed }
}

/// How often the backends are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// For how long after the signal that ends the process another one says nothing new.
const SAME_WISH: Duration = Duration::from_millis(300);

/// How long workers have to close their links.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
