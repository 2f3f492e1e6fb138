//! What users have here: the sessions of this worker's links, and the claims of the users this worker owns.
//!
//! * `asked` — requests that their clients have sent;
//! * `detached` — sessions whose link is gone;
//! * `resuming` — links that go on with a session, until it is there;
//! * `moved` — where sessions went;
//! * `owed` — pushes that must be acknowledged;
//! * `held` — parts of packages, until those before them are there.

mod asked;
mod detached;
mod held;
mod moved;
mod owed;
mod resuming;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use protocol::limits::ID_LEN_MAX;
use protocol::wire::resume::Resume;
use protocol::{DeviceClass, Refusal, Time, UnixMillis};

pub(super) use self::detached::Detached;
pub(super) use self::resuming::{Answered, Awaiting, Gone};

use self::detached::Waiting;
use self::moved::Moved;
use self::resuming::Resuming;
use super::settings::Settings;
use super::throttled::Throttled;
use super::turn::Turn;
use crate::admission::rates::{Due, Users};
use crate::answers::Windows;
use crate::collections::{HashKey, Identity, Slab, Wheel};
use crate::counters::Counters;
use crate::counters::guard::Guards;
use crate::delivery::packages::Packages;
use crate::delivery::parts::HeldPart;
use crate::delivery::tails::Pushes;
use crate::directory::claims::{Bounds, Claim, Claimed, Claims, Resumption};
use crate::directory::owner_of;
use crate::directory::revocations::Revoked;
use crate::directory::throttles::Throttle;
use crate::id::LinkId;
use crate::session::{Account, Login, Proof, SECRET_LEN, Session, SessionKey, SessionSecrets, TicketRule};

/// Sessions and claims of one worker.
#[derive(Debug)]
pub(super) struct Sessions {
    table: Slab<Session>,
    secrets: SessionSecrets,
    detached: Waiting,
    resuming: Resuming,
    moved: Moved,
    pushes: Pushes,
    packages: Packages<HeldPart>,
    /// When sessions' clients are asked, and pushes are over, by the place of the session.
    asks: Wheel,
    /// How long a client may say nothing.
    patience: Duration,
    windows: Windows,
    /// Requests of earlier links whose answers are waited for, by their places.
    unanswered: Wheel,
    claims: Claims,
    /// Key of the hashes by which users and devices are claimed.
    hash: HashKey,
    workers: u32,
    /// What users have said lately, as all workers count it.
    rated: Arc<Users>,
}

/// Resolution of their deadlines.
const TICK: Duration = Duration::from_millis(100);

/// Why no session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotBegun {
    /// That is no user's id.
    User,
    /// There are as many sessions as there may be.
    Full,
}

impl Sessions {
    /// No sessions and no claims yet.
    pub(super) fn new(
        settings: &Settings,
        hash: HashKey,
        secrets: SessionSecrets,
        rated: Arc<Users>,
        now: Time,
    ) -> Self {
        let (detached_max, window) = (settings.sessions_detached_max, settings.session_window);
        let bounds = Bounds {
            links: settings.slots as usize,
            devices: settings.devices,
            tombstones_max: settings.tombstones_max,
            tombstone: settings.tombstone_time,
            revocations_max: settings.revocations_max,
            revoked_logins_max: settings.revoked_logins_max,
            revocation: settings.revocation_time,
            throttles_max: settings.throttles_max,
            logins: settings.logins,
            logins_max: settings.logins_max,
        };
        Self {
            table: Slab::new(settings.slots.saturating_add(detached_max)),
            secrets,
            detached: Waiting::new(detached_max, now),
            resuming: Resuming::default(),
            moved: Moved::new(detached_max, window),
            pushes: Pushes::with_parts(
                settings.pushes.bounds,
                settings.pushes.packages.parts,
                settings.pushes.packages.bytes,
            ),
            packages: Packages::new(settings.pushes.packages),
            asks: Wheel::new(TICK, 0, now),
            patience: settings.pushes.ack_timeout,
            windows: windows(settings),
            unanswered: Wheel::new(TICK, 0, now),
            claims: Claims::new(hash, &bounds),
            hash,
            workers: settings.workers,
            rated,
        }
    }

    /// Begins the session of a user who has proved itself.
    pub(super) fn begin(
        &mut self,
        turn: &mut Turn,
        user: &[u8],
        device: &[u8],
        proof: Proof,
        heartbeat_ms: u32,
    ) -> Result<SessionKey, NotBegun> {
        if user.is_empty() || user.len() > ID_LEN_MAX {
            return Err(NotBegun::User);
        }
        let heartbeat = turn.settings.heartbeat.choose(heartbeat_ms);
        let heartbeat_ms = u32::try_from(heartbeat.as_millis()).unwrap_or(u32::MAX);
        let login = Login { user, device, proof, grant: turn.settings.grant, heartbeat_ms };
        let session = Session::create(&login, turn.random());
        self.table.insert(session).map(SessionKey::from).map_err(|_| NotBegun::Full)
    }

    /// A session of this worker.
    pub(super) fn get(&self, key: SessionKey) -> Option<&Session> {
        self.table.get(key.into())
    }

    /// The user of a session has proved itself anew.
    pub(super) fn renew(&mut self, key: SessionKey, proof: &Proof) {
        if let Some(session) = self.table.get_mut(key.into()) {
            session.renew(proof);
        }
    }

    /// The user's owner has answered a claim of a live link; whether that was about a renewal of this session.
    pub(super) fn agree(&mut self, key: SessionKey) -> bool {
        self.table.get_mut(key.into()).is_some_and(Session::agree)
    }

    /// What the tickets of a session's login are to be like, if it is to have any. Once.
    pub(super) fn take_ticket_rule(&mut self, key: SessionKey) -> Option<TicketRule> {
        self.table.get_mut(key.into())?.take_ticket_rule()
    }

    /// Charges a request against the grant of its session.
    ///
    /// # Errors
    /// [`Refusal::InFlight`] when it does not fit, [`Refusal::Auth`] without a session.
    pub(super) fn charge(&mut self, key: SessionKey, cost: u32) -> Result<(), Refusal> {
        self.table.get_mut(key.into()).ok_or(Refusal::Auth)?.charge(cost)
    }

    /// A request of the session has ended.
    pub(super) fn refund(&mut self, key: SessionKey, cost: u32) {
        if let Some(session) = self.table.get_mut(key.into()) {
            session.refund(cost);
        }
    }

    /// Charges the user of a session for a lot of what it has said: how much longer than it may all that would take to come.
    pub(super) fn charge_user(&self, key: SessionKey, due: &Due, now: Time) -> Duration {
        let user = self.get(key).map(|session| self.hash.identity(session.user()).low());
        user.map_or(Duration::ZERO, |user| self.rated.charge(user, due, now))
    }

    /// What the session was granted, and what of it is in use.
    pub(super) fn account(&self, key: SessionKey) -> Option<Account> {
        self.get(key).map(Session::account)
    }

    /// The secret of a session.
    pub(super) fn secret_of(&self, session: &Session) -> [u8; SECRET_LEN] {
        self.secrets.of(session.id())
    }

    /// A client says that it knows a session; whether it does. If so, its link asks for it when it is claimed.
    pub(super) fn ask(&mut self, link: LinkId, said: &Resume<'_>, h: &[u8; 32]) -> bool {
        let attempt = NonZeroU32::new(said.attempt).filter(|_| self.secrets.proves(said, h));
        if let Some(attempt) = attempt {
            let asked = Resumption { session: *said.session, attempt, last_sequence: said.last_sequence };
            self.resuming.ask(link, asked);
        }
        attempt.is_some()
    }

    /// The link is not judged any more, and asks for nothing.
    pub(super) fn forget_asked(&mut self, link: LinkId) {
        self.resuming.take_asked(link);
    }

    /// The link whose session is on its way.
    pub(super) fn awaiting(&mut self, link: LinkId) -> Option<&mut Awaiting> {
        self.resuming.awaiting(link)
    }

    /// The answer for a link that had asked for a session is there.
    pub(super) fn answered(&mut self, link: LinkId) -> Option<Answered> {
        self.resuming.answered(link)
    }

    /// The session's link is gone; it waits for another one until then. Gives back whoever has to go for it, maybe itself.
    pub(super) fn detach(&mut self, detached: Detached, until: Time) -> Option<Detached> {
        self.detached.insert(detached, until)
    }

    /// The session that had this link waits no more.
    pub(super) fn take_detached(&mut self, link: LinkId) -> Option<Detached> {
        self.detached.take(link)
    }

    /// The process ends, and with it a session that waits; called until `None`.
    pub(super) fn take_any_detached(&mut self) -> Option<Detached> {
        self.detached.take_first()
    }

    /// A session that has waited in vain; called until `None`, within `budget`.
    pub(super) fn overdue(&mut self, now: Time, budget: &mut u32) -> Option<Detached> {
        self.detached.expire(now, budget)
    }

    /// The session of a link goes on with another one.
    pub(super) fn moved(&mut self, from: LinkId, to: LinkId, now: Time) {
        self.moved.insert(from, to, now);
    }

    /// The link by which the session of one that was here goes on.
    pub(super) fn moved_to(&self, from: LinkId) -> Option<LinkId> {
        self.moved.get(from)
    }

    /// The session is over.
    pub(super) fn end(&mut self, key: SessionKey) -> Option<Session> {
        self.asks.cancel(key.index());
        let session = self.table.remove(key.into())?;
        if let Some(window) = session.window() {
            self.windows.close(window);
        }
        Some(session)
    }

    /// By which name, and by which worker, the user of a session is owned: what its link claims.
    pub(super) fn claim_of(&self, key: SessionKey, link: LinkId) -> Option<(u32, Claim)> {
        let session = self.get(key)?;
        let (user, device) = (self.hash.identity(session.user()), self.hash.identity(session.device()));
        let (login, login_time) = (session.proof(), session.login());
        let class = session.class().or(DeviceClass::Other);
        let claim = Claim {
            user,
            device,
            link,
            login,
            login_time,
            class,
            is_login: false,
            on_trial: Guards::NONE,
            session: *session.id(),
            resume: None,
        };
        Some((self.owner_of(user), claim))
    }

    /// The link of a session that has just begun claims its device. If it has asked for another session, that is asked for.
    pub(super) fn enter(&mut self, key: SessionKey, claim: Claim) -> Claim {
        let resume = self.resuming.take_asked(claim.link);
        if resume.is_some() {
            self.resuming.claimed(claim.link, key);
        }
        Claim { resume, ..claim }
    }

    /// The name by which a user or a device is claimed.
    pub(super) fn name_of(&self, id: &[u8]) -> Identity {
        self.hash.identity(id)
    }

    /// The worker that owns a user.
    pub(super) fn owner_of(&self, user: Identity) -> u32 {
        owner_of(user, self.workers)
    }

    /// Owner's side: the claim that comes last has the device.
    pub(super) fn claim(&mut self, claim: &Claim, now: Time, wall: UnixMillis) -> Claimed {
        self.claims.claim(claim, now, wall)
    }

    /// The user's owner has made a link the device's: which of them it is.
    pub(super) fn number(&mut self, key: SessionKey, epoch: u64) {
        if let Some(session) = self.table.get_mut(key.into()) {
            session.number(epoch);
        }
    }

    /// Owner's side: the link is gone, and its claim goes, unless a newer link has taken it over.
    pub(super) fn release(&mut self, claim: &Claim) {
        self.claims.release(claim);
    }

    /// Owner's side: the link is gone, and its session waits for another one.
    pub(super) fn note_detached(&mut self, claim: &Claim) {
        self.claims.detach(claim);
    }

    /// Owner's side: of a user's logins these are worth nothing any more.
    pub(super) fn revoke(&mut self, user: Identity, revoked: Revoked, now: Time) {
        self.claims.revoke(user, revoked, now);
    }

    /// Owner's side: so many hundredths of its rates hold for a user until an end; whether that changes anything.
    pub(super) fn throttle(&mut self, user: Identity, throttle: Throttle, now: Time) -> bool {
        self.claims.throttles_mut().set(user, throttle, now)
    }

    /// Owner's side: those for whom some hold.
    pub(super) fn throttled(&self) -> Throttled {
        Throttled::of(self.claims.throttles())
    }

    /// Owner's side: how many hold.
    pub(super) fn percent_of(&self, user: Identity, now: Time) -> u8 {
        self.claims.throttles().of(user, now)
    }

    /// Owner's side: a user whose throttle is over.
    pub(super) fn throttle_over(&mut self, now: Time) -> Option<Identity> {
        self.claims.throttles_mut().expire(now)
    }

    /// When the next throttle is over, or a session has waited in vain.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let ends = [
            self.claims.throttles().next_end(),
            self.detached.next_deadline(),
            self.asks.next_deadline(),
            self.unanswered.next_deadline(),
        ];
        ends.into_iter().flatten().min()
    }

    /// Owner's side: the links of a user, or the one of a device.
    pub(super) fn lookup(&self, user: Identity, device: Option<Identity>) -> impl Iterator<Item = LinkId> {
        self.claims.lookup(user, device)
    }

    /// Owner's side: the links of one login of a user.
    pub(super) fn lookup_login(&self, user: Identity, login: u64) -> impl Iterator<Item = LinkId> {
        self.claims.lookup_login(user, login)
    }

    /// How many sessions there are, how many claims, and how many sessions are on their way to here.
    pub(super) fn census(&self) -> (usize, usize, usize) {
        (self.table.len(), self.claims.len(), self.resuming.len())
    }

    /// Copies what is not counted where it happens.
    pub(super) fn publish(&self, counters: &Counters) {
        counters.sessions.set(self.table.len() as u64);
        let (owed, bytes) = self.pushes.census();
        counters.pushes_owed.set(owed as u64);
        counters.pushes_owed_bytes.set(bytes as u64);
        let (answers, bytes, forgotten) = self.answers_census();
        counters.answers_remembered.set(answers.into());
        counters.answers_remembered_bytes.set(bytes as u64);
        counters.answers_forgotten.set(forgotten);
        let (parts, bytes) = self.packages.census();
        counters.package_parts.set(parts as u64);
        counters.package_parts_bytes.set(bytes as u64);
        counters.sessions_detached.set(self.detached.len() as u64);
        counters.takeovers_remembered.set(self.claims.tombstones().len() as u64);
        counters.takeovers_forgotten.set(self.claims.tombstones().evicted());
        counters.logins_remembered.set(self.claims.churn().len() as u64);
        counters.revocations_remembered.set(self.claims.revocations().len() as u64);
        counters.throttles.set(self.claims.throttles().len() as u64);
        counters.throttles_refused.set(self.claims.throttles().refused());
        counters.revocations_forgotten.set(self.claims.revocations().evicted());
        counters.revoked_logins_remembered.set(self.claims.revoked_logins().len() as u64);
        counters.revoked_logins_forgotten.set(self.claims.revoked_logins().evicted());
    }
}

/// Windows for all sessions there may be. What runs has a place among what is remembered, and so has what waits.
fn windows(settings: &Settings) -> Windows {
    let sessions = settings.slots.saturating_add(settings.sessions_detached_max);
    let waiting = settings.waiting.requests_max.saturating_mul(settings.routes.len() as u32);
    Windows::new(settings.answers, sessions, settings.in_flight.worker_max.saturating_add(waiting))
}

#[cfg(test)]
mod tests;
