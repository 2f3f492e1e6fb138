//! Client links, from the accept to the end. The files, in the order of the way:
//!
//! * `accept` — a socket came: a place in the table, and among the strangers;
//! * `header` — a balancer says whose it is;
//! * `hello` — first bytes and curve work, budgeted per turn, and `line`, those who wait for it;
//! * `last` — message 3, where there is one, and `begun`, those who have still to send it;
//! * `read` — chunks to frames;
//! * `police` — what a link says is held against what it may;
//! * `arm` — what waits for a link's next bytes;
//! * `write` — frames to one record and one send;
//! * `timers` — deadlines, `expiry` — those that the time of day has;
//! * `end` — marked, told, drained, closed: the only way a link dies.
//!
//! `link` is one of them and `table` all of them; `strangers`, `rests` and `outgoing` are the accounts that bound them,
//! `cause` is why one ends.

mod accept;
mod arm;
mod begun;
mod cause;
mod end;
mod expiry;
mod header;
mod hello;
mod last;
mod line;
mod link;
mod outgoing;
mod police;
mod read;
mod rests;
mod strangers;
mod table;
mod timers;
mod write;

use std::collections::VecDeque;
use std::time::Duration;

use driver::{Listener, Token};
use protocol::link::ServerLink;
use protocol::{CloseCode, Time, UnixMillis, wire::frame::Frame};

pub(super) use self::cause::Cause;
pub(super) use self::header::Introduced;
pub(super) use self::read::Heard;

use self::begun::Begun;
use self::expiry::Expiry;
use self::line::Line;
use self::link::{Ending, Link, Stranger};
use self::outgoing::Outgoing;
use self::rests::Rests;
use self::strangers::Strangers;
use self::table::Table;
use super::settings::Settings;
use super::turn::Turn;
use crate::address::Address;
use crate::admission::ReplayFilter;
use crate::admission::rates::WARN_AT;
use crate::collections::{HashKey, Wheel};
use crate::counters::Counters;
use crate::session::SessionKey;

/// All links of a worker.
#[derive(Debug)]
pub(super) struct Links {
    table: Table,
    timers: Wheel,
    expiry: Expiry,
    strangers: Strangers,
    /// Those who wait for curve work.
    line: Line,
    /// Those whose message 3 is awaited.
    begun: Begun,
    replays: ReplayFilter,
    hash: HashKey,
    rests: Rests,
    outgoing: Outgoing,
    /// Links whose receive found the pool empty.
    starved: Vec<Token>,
    /// Links that have sent what they were given, and whose sessions are owed more.
    hungry: VecDeque<Token>,
    /// Links whose pause has ended, the one that waits longest first.
    resuming: VecDeque<Token>,
    /// Links that are gone for everybody, and why, in the order in which that came about.
    marked: VecDeque<(Token, Cause)>,
    /// How many say their last frame.
    lingering: usize,
    /// How many are not read for a while.
    paused: usize,
    stopping: bool,
}

impl Links {
    /// No links yet. `hash` is the key of hashes that attackers must not predict.
    pub(super) fn new(settings: &Settings, hash: HashKey, now: Time) -> Self {
        Self {
            table: Table::new(settings.slots),
            timers: Wheel::new(TICK, settings.slots as usize, now),
            expiry: Expiry::default(),
            strangers: Strangers::default(),
            line: Line::new(settings.listeners.len()),
            begun: Begun::default(),
            replays: ReplayFilter::new(settings.replay_filter_len),
            hash,
            rests: Rests::new(settings),
            outgoing: Outgoing::default(),
            starved: Vec::new(),
            hungry: VecDeque::new(),
            resuming: VecDeque::new(),
            marked: VecDeque::new(),
            lingering: 0,
            paused: 0,
            stopping: false,
        }
    }

    /// What the handshake of a link has shown, and how far it is.
    pub(super) fn machine(&self, token: Token) -> Option<&ServerLink> {
        self.table.see(token).map(|link| &link.machine)
    }

    /// Whether a link was welcomed. Before that nothing is pushed to it: a backend knows it from its authentication.
    pub(super) fn is_live(&self, token: Token) -> bool {
        self.machine(token).is_some_and(ServerLink::is_live)
    }

    /// Whether a link waits for its welcome.
    pub(super) fn is_authenticating(&self, token: Token) -> bool {
        self.machine(token).is_some_and(ServerLink::is_authenticating)
    }

    /// Who is at the other end of a link.
    pub(super) fn peer(&self, token: Token) -> Option<Address> {
        self.table.see(token).map(|link| link.peer)
    }

    /// Whether the peer of a link is on this machine.
    pub(super) fn is_local(&self, token: Token) -> bool {
        self.table.see(token).is_some_and(|link| link.introduction.is_local(link.peer))
    }

    /// By which listener a link came.
    pub(super) fn listener(&self, token: Token) -> Option<Listener> {
        self.table.see(token).map(|link| link.listener)
    }

    /// The session of a link, once authentication began.
    pub(super) fn session(&self, token: Token) -> Option<SessionKey> {
        self.table.see(token)?.session
    }

    /// The same, also of one that is marked and not buried yet: its session may well go on.
    pub(super) fn session_until_buried(&mut self, token: Token) -> Option<SessionKey> {
        self.table.get(token)?.session
    }

    /// The link has a session from now on.
    pub(super) fn attach(&mut self, token: Token, session: SessionKey) {
        if let Some(link) = self.table.living(token) {
            link.session = Some(session);
        }
    }

    /// The session of a link goes on without it, unless it ends with it.
    pub(super) fn take_session(&mut self, token: Token) -> Option<SessionKey> {
        let link = self.table.get(token)?;
        let is_over = |(marked, cause): &(Token, Cause)| *marked == token && !cause.keeps_session();
        if link.ending == Ending::Marked && self.marked.iter().any(is_over) {
            return None;
        }
        link.session.take()
    }

    /// The client is who it says: the link is live, and gets the frame that says so.
    pub(super) fn welcome(
        &mut self,
        turn: &mut Turn,
        token: Token,
        heartbeat: Duration,
        frame: impl FnOnce(&mut Vec<u8>),
    ) {
        let Some(link) = self.table.living(token) else { return };
        let welcome = |link: &mut Link| {
            link.machine.welcome(heartbeat, turn.now);
            link.machine.forget_identity();
        };
        if let Err(error) = self.rests.welcome(link, welcome) {
            return self.mark(token, Cause::Fault(error));
        }
        self.strangers.left(std::mem::replace(&mut link.stranger, Stranger::No));
        self.send_with(turn, token, 0, frame);
        self.schedule(turn, token);
    }

    /// The user of a link is proved until this time of day, if that has an end. Of a token that was renewed the former end
    /// counts no more.
    pub(super) fn expires(&mut self, turn: &Turn, token: Token, end: Option<UnixMillis>) {
        if self.table.living(token).is_some() {
            self.expiry.forget(token.slot);
            if let Some(end) = end {
                self.expiry.set(token.slot, end, turn.wall);
            }
        }
    }

    /// The client did what it need not have done; it ends if that is one time too many.
    pub(super) fn glitch(&mut self, turn: &mut Turn, token: Token) {
        turn.counters.glitches.add(1);
        let counted = self.table.living(token).map(|link| link.machine.glitch(&turn.settings.rules));
        match counted {
            Some(Err(error)) => self.mark(token, Cause::Fault(error)),
            Some(Ok(())) => self.note_glitch(turn, token),
            None => {}
        }
    }

    /// The client did so again: it is warned when three quarters of what it may are used up.
    pub(super) fn note_glitch(&mut self, turn: &mut Turn, token: Token) {
        let warn_at = (u32::from(turn.settings.rules.glitches_max) * WARN_AT).div_ceil(100);
        if self.machine(token).is_some_and(|machine| u32::from(machine.glitches()) == warn_at) {
            self.warn(turn, token, CloseCode::Glitches);
        }
    }

    /// Answers a ping; the client may have asked for another interval.
    pub(super) fn pong(&mut self, turn: &mut Turn, token: Token, nonce: u32, heartbeat: Option<Duration>) {
        if let (Some(heartbeat), Some(link)) = (heartbeat, self.table.living(token)) {
            link.machine.set_heartbeat(heartbeat);
            self.schedule(turn, token);
        }
        turn.counters.pings.add(1);
        self.send(turn, token, &Frame::Pong { nonce });
    }

    /// The link in a slot.
    pub(super) fn in_slot(&self, slot: u32) -> Option<Token> {
        self.table.token_at(slot)
    }

    /// One more than the highest slot a link ever had.
    pub(super) const fn slots_used(&self) -> u32 {
        self.table.slots_used()
    }

    /// How much there is of everything that must go back to zero.
    pub(super) fn census(&self) -> Census {
        let (partial_bytes, stranger_bytes) = self.rests.bytes();
        Census {
            links: self.table.len(),
            strangers: self.strangers.len(),
            hailed: self.line.len(),
            begun: self.begun.len(),
            marked: self.marked.len(),
            lingering: self.lingering,
            paused: self.paused,
            partial_bytes,
            stranger_bytes,
            outgoing_bytes: self.outgoing.bytes(),
        }
    }

    /// Copies what is not counted where it happens.
    pub(super) fn publish(&self, counters: &Counters) {
        let census = self.census();
        counters.links.set(census.links as u64);
        counters.strangers.set(census.strangers as u64);
        counters.handshakes_waiting.set(census.hailed as u64);
        counters.xx_handshakes.set(census.begun as u64);
        counters.links_lingering.set(census.lingering as u64);
        counters.links_paused.set(census.paused as u64);
        counters.partial_bytes.set(census.partial_bytes as u64);
        counters.stranger_bytes.set(census.stranger_bytes as u64);
        counters.outbox_bytes.set(census.outgoing_bytes as u64);
        counters.hellos_remembered.set(self.replays.len() as u64);
    }
}

/// How much the links hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Census {
    pub(super) links: usize,
    pub(super) strangers: usize,
    pub(super) hailed: usize,
    pub(super) begun: usize,
    pub(super) marked: usize,
    pub(super) lingering: usize,
    pub(super) paused: usize,
    pub(super) partial_bytes: usize,
    pub(super) stranger_bytes: usize,
    pub(super) outgoing_bytes: usize,
}

/// Resolution of deadlines: fine enough for a handshake's five seconds, coarse enough to batch heartbeats.
const TICK: Duration = Duration::from_millis(100);

const _: () = assert!(
    size_of::<(Token, Cause)>() <= 40,
    "the memory ceiling counts 40 bytes for a link that is marked"
);

#[cfg(test)]
mod tests;
