//! Serves the two sockets. Everything is bounded: connections, bytes read, and time.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use protocol::UnixMillis;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::bans::{self, Keeper};
use super::busiest::AskBusiest;
use super::kick::KickUser;
use super::ladder::Drill;
use super::places::{Places, Seat};
use super::snapshot::Snapshot;
use super::sockets::{SocketFile, Sockets};
use super::throttles::AskThrottled;
use super::verbs::LINE_LEN_MAX;
use super::workers::{Progress, Workers};
use super::{busiest, http, kick, ladder, throttles, verbs};
use crate::admission::buckets::Buckets;
use crate::clock::Clock;
use crate::config::{Ceiling, Checked, Config};
use crate::counters::Counters;

/// What workers can be asked.
pub(super) struct Asks {
    /// Who keeps them busy.
    pub(super) busiest: AskBusiest,
    /// Which users are slowed down.
    pub(super) throttled: AskThrottled,
}

/// What the answers are made of.
pub(super) struct State {
    config: Arc<Checked<Config>>,
    counters: Vec<Arc<Counters>>,
    progress: Arc<Progress>,
    addresses: Vec<SocketAddr>,
    ceiling: Ceiling,
    buckets: Arc<Buckets>,
    keeper: Rc<Keeper>,
    kick_user: KickUser,
    pub(super) drill: Drill,
    asks: Asks,
    clock: Clock,
    started: UnixMillis,
    /// Whether the gateway is on its way out.
    pub(super) stopping: Cell<bool>,
    http: Places,
    admin: Places,
}

impl State {
    pub(super) fn new(
        config: Arc<Checked<Config>>,
        workers: &Workers,
        keeper: Rc<Keeper>,
        kick_user: KickUser,
        drill: Drill,
        asks: Asks,
        clock: Clock,
    ) -> Self {
        Self {
            ceiling: Ceiling::of(&config),
            config,
            counters: workers.counters.clone(),
            progress: Arc::clone(&workers.progress),
            addresses: workers.listeners.clone(),
            buckets: Arc::clone(&workers.buckets),
            keeper,
            kick_user,
            drill,
            asks,
            clock,
            started: clock.unix(),
            stopping: Cell::new(false),
            http: Places::default(),
            admin: Places::default(),
        }
    }

    fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            serving: self.progress.count_serving() == self.counters.len() && self.progress.count_ended() == 0,
            stopping: self.stopping.get(),
            started: self.started,
            now: self.clock.unix(),
            config: &self.config,
            addresses: &self.addresses,
            counters: &self.counters,
            ceiling: &self.ceiling,
            buckets: &self.buckets,
            bans: self.keeper.count(),
            throttled_blocks: self.keeper.count_throttles(),
            bans_read_only: self.keeper.broken(),
            places: [("http", &self.http), ("admin", &self.admin)],
        }
    }
}

/// One of the few places for connections; given back when dropped.
struct Place {
    state: Rc<State>,
    of: fn(&State) -> &Places,
    seat: Rc<Seat>,
    /// Whether an answer is on its way, into which nothing else may be said.
    answering: Cell<bool>,
}

impl Place {
    fn take(state: &Rc<State>, of: fn(&State) -> &Places) -> Self {
        let seat = of(state).enter(state.config.admin.connections);
        Self { state: Rc::clone(state), of, seat, answering: Cell::new(false) }
    }

    /// Its connection was heard.
    fn heard(&self) {
        (self.of)(&self.state).stir(&self.seat);
    }

    /// Its connection is answered.
    fn answers(&self) {
        self.heard();
        self.answering.set(true);
    }

    /// Waits for the end of a conversation: by itself, by its deadline, or because its place was lost. Whether the peer
    /// is to be told that it had no place.
    async fn until_over(&self, talk: impl Future<Output = io::Result<()>>) -> bool {
        tokio::select! {
            // How it ends concerns only the peer, who sees it.
            _ = tokio::time::timeout(self.state.config.admin.deadline, talk) => false,
            () = self.seat.lost() => !self.answering.get(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        (self.of)(&self.state).leave(&self.seat);
    }
}

/// Starts serving; the guard removes the admin socket's file.
pub(super) fn start(sockets: Sockets, state: &Rc<State>) -> io::Result<Option<SocketFile>> {
    if let Some(listener) = sockets.http {
        tokio_uring::spawn(serve_http(TcpListener::from_std(listener)?, Rc::clone(state)));
    }
    let Some(admin) = sockets.admin else { return Ok(None) };
    let listener = UnixListener::from_std(admin.listener)?;
    tokio_uring::spawn(serve_admin(listener, admin.uid, Rc::clone(state)));
    Ok(Some(admin.file))
}

async fn serve_http(listener: TcpListener, state: Rc<State>) {
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                let place = Place::take(&state, |state| &state.http);
                tokio_uring::spawn(async move {
                    if place.until_over(talk_http(&mut stream, &place)).await {
                        // Whatever leaves at once: nobody waits for this peer.
                        let _ = stream.try_write(&http::busy());
                    }
                });
                // What has arrived is heard before one more connection may take its place.
                tokio::task::yield_now().await;
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve_admin(listener: UnixListener, uid: u32, state: Rc<State>) {
    loop {
        match listener.accept().await {
            Ok((mut stream, _)) => {
                // The file's rights say the same; a file can be moved or its rights be changed, credentials can't.
                let peer = stream.peer_cred().map(|peer| peer.uid());
                let Some(asker) = peer.ok().filter(|&asker| asker == uid || asker == 0) else {
                    let _ = stream.try_write(STRANGER);
                    continue;
                };
                let place = Place::take(&state, |state| &state.admin);
                tokio_uring::spawn(async move {
                    if place.until_over(talk_admin(&mut stream, asker, &place)).await {
                        let _ = stream.try_write(BUSY);
                    }
                });
                tokio::task::yield_now().await;
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// What the admin socket says to a connection that was idle and lost its place.
const BUSY: &[u8] = b"error: too many connections at this socket; try again\n";
/// What it says to another user.
const STRANGER: &[u8] = b"error: only the user who runs this gateway, and root, may ask it\n";

async fn talk_http(stream: &mut TcpStream, place: &Place) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    let answer = loop {
        match http::parse(&head) {
            Ok(Some(request)) => break http::answer(&request, &place.state.snapshot()),
            Err(refused) => break http::refuse(refused),
            Ok(None) => {}
        }
        let room = (http::HEAD_LEN_MAX - head.len()) as u64;
        if (&mut *stream).take(room).read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        place.heard();
    };
    place.answers();
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

async fn talk_admin(stream: &mut UnixStream, uid: u32, place: &Place) -> io::Result<()> {
    let mut line = Vec::with_capacity(128);
    while !line.contains(&b'\n') {
        let room = (LINE_LEN_MAX - line.len()) as u64;
        if (&mut *stream).take(room).read_buf(&mut line).await? == 0 {
            break;
        }
        place.heard();
    }
    let end = line.iter().position(|byte| *byte == b'\n');
    let text = end.and_then(|end| std::str::from_utf8(&line[..end]).ok());
    let answer = match text {
        Some(text) => answer(text, uid, &place.state).await,
        None => format!("error: send one line of UTF-8, at most {LINE_LEN_MAX} bytes\n"),
    };
    place.answers();
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// The answer to one line of the user of the system with this number.
async fn answer(line: &str, uid: u32, state: &State) -> String {
    match kick::parse(line) {
        None => {}
        Some(Ok((kick, json))) => {
            return kick::answer(&kick, json, uid, state.clock.unix(), &state.kick_user);
        }
        Some(Err(wrong)) => return format!("error: {wrong}\n{}", kick::HELP),
    }
    if let Some(json) = busiest::parse(line) {
        return busiest::answer(&state.asks.busiest, state.counters.len(), json).await;
    }
    if let Some(json) = throttles::parse(line) {
        let (ask, endpoints) = (&state.asks.throttled, &state.config.endpoints);
        let workers = state.counters.len();
        let blocks = (state.keeper.throttles(throttles::LISTED), state.keeper.count_throttles().0);
        return throttles::answer(ask, workers, blocks, endpoints, state.clock, json).await;
    }
    match ladder::parse(line) {
        None => {}
        Some(Ok((wish, json))) => {
            let now = state.clock.now();
            state.drill.heed(wish, uid, now);
            return ladder::answer(&state.snapshot(), state.drill.forced(now), json);
        }
        Some(Err(wrong)) => return format!("error: {wrong}\n{}", ladder::HELP),
    }
    match bans::parse(line) {
        None => verbs::answer(line, &state.snapshot()),
        Some(Ok((wish, json))) => bans::answer(wish, json, uid, Rc::clone(&state.keeper), state.clock).await,
        Some(Err(wrong)) => format!("error: {wrong}\n{}", bans::HELP),
    }
}

/// After a failed accept (no descriptors left): trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
