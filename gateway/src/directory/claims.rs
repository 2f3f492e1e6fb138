//! Which links a user has, kept by the user's owner.
//!
//! ```text
//! worker of the link                       owner of the user
//!   authenticated ──── Claim ────────────►   claim()  ──► Granted │ Replaced(loser) │ Superseded
//!   Welcome, or Close ◄──── Claimed ──────      └─ the loser's worker is told to end the loser
//!   closed ─────────── Claim again ──────►   release(): only if the claim is still this link's
//! ```
//!
//! One link per (user, device): the later claim wins, in the order in which claims reach the owner. A user has at
//! most `devices_max` devices, and of each class as many as its policy says; one more is refused, or takes the place of
//! another one. Which one: if there are others of the newcomer's own login, the last of them, since devices that one login
//! makes up must not push out those that are real; else the one that logged in first. The loser's login gets a tombstone, unless winner and loser are the same login: then it is one client that has come back before its old
//! link was noticed to be dead.
//!
//! **Who shows that it knows the session of its device goes on with it**, by whatever login: that is decided here, in the same
//! step. The claim becomes the new link's, nobody is replaced, and the worker that has the session is told to hand it over. Of
//! several links that come for one session the one with the largest attempt has it. A device keeps its claim for as long as its
//! session waits for the next link; where a device more than there may be comes, such go first.
//!
//! Users and devices stand here as keyed hashes of 16 bytes. A user with one device costs at most 160 bytes: an
//! entry of the map where it is emptiest, and a claim.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use protocol::limits::SESSION_ID_LEN;
use protocol::{DeviceClass, Time, UnixMillis};

use super::churn::{Churn, Pace};
use super::revocations::{Revocations, Revoked};
use super::throttles::Throttles;
use super::tombstones::Tombstones;
use crate::collections::hash::ByIdentity;
use crate::collections::{HashKey, Identity};
use crate::config::{Beyond, DevicePolicy};
use crate::counters::guard::{Guard, Guards};
use crate::id::LinkId;
use crate::rate::Rate;

/// A link says whose it is, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Hash of the user's id.
    pub user: Identity,
    /// Hash of the device's id.
    pub device: Identity,
    /// The link.
    pub link: LinkId,
    /// Hash of what the login was proved with (the token, say), which its tickets carry on: two links with the same
    /// one are the same login.
    pub login: u64,
    /// When the login was proved.
    pub login_time: UnixMillis,
    /// What the device is; [`DeviceClass::Other`] if nobody says.
    pub class: DeviceClass,
    /// Whether this is a login that counts: not where a link only renews its token, or is exempt.
    pub is_login: bool,
    /// Which guards are on trial where it came in.
    pub on_trial: Guards,
    /// Names the session that begins with the link, or that it has.
    pub session: [u8; SESSION_ID_LEN],
    /// The session with which it wants to go on, and has shown to know.
    pub resume: Option<Resumption>,
}

/// A client has shown that it knows a session, and wants to go on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// The session's name.
    pub session: [u8; SESSION_ID_LEN],
    /// Grows with each try of the client.
    pub attempt: NonZeroU32,
    /// Up to here it has its pushes.
    pub last_sequence: u64,
}

/// The owner's answer to a [`Claim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The link that asked.
    pub link: LinkId,
    /// What came of it.
    pub outcome: Outcome,
    /// How often the user logs in.
    pub pace: Pace,
    /// Hundredths of its rates that hold for the user.
    pub percent: u8,
    /// Larger than that of every earlier link of the user; 0 for a link that has to go.
    pub epoch: u64,
    /// Whether it would have been refused as one device too many, were that not on trial.
    pub is_one_too_many: bool,
}

/// The owner's word to the worker that has a session: another link of its device goes on with it.
#[derive(Clone, Copy, Debug)]
pub struct HandOver {
    /// The link that has it, or had it.
    pub from: LinkId,
    /// What the other link asked for.
    pub asked: Resumption,
    /// What the owner has answered it, which goes there with the session.
    pub claimed: Claimed,
}

/// What came of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The link is the device's.
    Granted,
    /// The link is the device's, and another one has to go: the device's former link, or that of the user's
    /// oldest device.
    Replaced {
        /// Who has to go.
        loser: LinkId,
        /// Whether both are the same login of the same device: one client with two links.
        same_login: bool,
    },
    /// The login was replaced by another one before. The link has to go, and must not come back.
    Superseded,
    /// The login was revoked, alone or with all of that time. The link has to go, and needs a new login.
    Revoked,
    /// The user has as many devices, or as many of this class, as it may have. The link has to go.
    NoMoreDevices,
    /// The user logs in too often. The link has to go, and may come back later.
    TooOften,
    /// The link is the device's, and goes on with the session that another link of it has, or had.
    Resumed {
        /// That link. It has to go, if it is still there.
        from: LinkId,
    },
    /// The link goes for a session for which a later try of its client has come before. It has to go.
    Outrun,
}

/// The links of the users one worker owns.
#[derive(Debug)]
pub struct Claims {
    key: HashKey,
    devices: Allowed,
    /// From a user to the first of its claims.
    users: HashMap<Identity, u32, ByIdentity>,
    claims: Vec<Held>,
    /// Claims that were released: a stack through `next`.
    free: u32,
    len: usize,
    /// The largest that was given to a link.
    epoch: u64,
    tombstones: Tombstones,
    /// Of users.
    revocations: Revocations,
    /// Of single logins.
    revoked_logins: Revocations,
    throttles: Throttles,
    churn: Churn,
}

/// What is kept of a claim.
#[derive(Clone, Copy, Debug)]
struct Held {
    device: Identity,
    link: LinkId,
    login: u64,
    login_time: UnixMillis,
    /// Of its link: tells which of two claims came first.
    epoch: u64,
    session: [u8; SESSION_ID_LEN],
    /// The largest with which anybody went on with the session.
    attempt: u32,
    /// The next claim of the same user, or of the stack of free ones.
    next: u32,
    class: DeviceClass,
    /// Whether its link is gone and its session waits for another one.
    is_detached: bool,
}

/// Which devices a user may have linked at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// All together; at least one.
    pub most: u32,
    /// What becomes of one more than that.
    pub beyond: Beyond,
    /// Of each class, by its number.
    pub classes: [DevicePolicy; 6],
    /// Whether logins have names of their own, so that two devices of one login are not two users' business.
    pub names_logins: bool,
}

/// What bounds the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Links this owner is expected to answer for: the slots of a worker. Memory for them is taken when the
    /// directory is built; more than these find room too, because users don't spread quite evenly.
    pub links: usize,
    /// Devices of one user.
    pub devices: Allowed,
    /// Tombstones; over it the oldest goes early. A replaced login takes two of them, one for its
    /// session, of up to 82 bytes each.
    pub tombstones_max: usize,
    /// How long a replaced login stays away.
    pub tombstone: Duration,
    /// Users whose logins were revoked; over it the oldest is forgotten early.
    pub revocations_max: usize,
    /// Single logins that were revoked; over it the oldest is forgotten early.
    pub revoked_logins_max: usize,
    /// How long both are remembered.
    pub revocation: Duration,
    /// Users whom backends have slowed down; over it one more is refused.
    pub throttles_max: usize,
    /// How often a user may log in.
    pub logins: Rate,
    /// Users of whom it is known how often they do.
    pub logins_max: usize,
}

impl Claims {
    /// An empty directory.
    #[must_use]
    pub fn new(key: HashKey, bounds: &Bounds) -> Self {
        Self {
            key,
            devices: Allowed { most: bounds.devices.most.max(1), ..bounds.devices },
            users: HashMap::with_capacity_and_hasher(bounds.links, ByIdentity::default()),
            claims: Vec::with_capacity(bounds.links),
            free: NOBODY,
            len: 0,
            epoch: 0,
            tombstones: Tombstones::new(bounds.tombstones_max, bounds.tombstone),
            revocations: Revocations::new(bounds.revocations_max, bounds.revocation),
            revoked_logins: Revocations::new(bounds.revoked_logins_max, bounds.revocation),
            throttles: Throttles::new(bounds.throttles_max),
            churn: Churn::new(bounds.logins, bounds.logins_max),
        }
    }

    /// Decides on a claim, at this moment and time of day. Claiming again with the same link changes nothing but the login.
    pub fn claim(&mut self, claim: &Claim, now: Time, wall: UnixMillis) -> Claimed {
        // So many links a millisecond, or a clock that was set back, and the number only counts; after a restart it is larger.
        self.epoch = self.epoch.max((wall.0 << EPOCHS_PER_MILLI_BITS).saturating_sub(1));
        let known = self.find(claim.user, claim.device).map(|index| self.claims[index as usize]);
        let goes_on = known.zip(claim.resume).is_some_and(|(held, resume)| held.session == resume.session);
        // Whoever goes on with what it has logs in no more often for it.
        let pace = if claim.is_login && !goes_on { self.churn.login(claim.user, now) } else { Pace::Fine };
        // Before anything is replaced: a user's devices are not pushed out by somebody in a hurry.
        let outcome = match pace {
            Pace::Fast | Pace::Flood if !claim.on_trial.contains(Guard::LoginsPerUser) => Outcome::TooOften,
            _ => self.decide(claim, now),
        };
        let tried = outcome == Outcome::NoMoreDevices && claim.on_trial.contains(Guard::Devices);
        if tried {
            self.add(claim);
        }
        let outcome = if tried { Outcome::Granted } else { outcome };
        let percent = self.throttles.of(claim.user, now);
        let held = self.find(claim.user, claim.device).map(|index| &self.claims[index as usize]);
        let epoch = held.filter(|held| held.link == claim.link).map_or(0, |held| held.epoch);
        Claimed { link: claim.link, outcome, pace, percent, epoch, is_one_too_many: tried }
    }

    fn decide(&mut self, claim: &Claim, now: Time) -> Outcome {
        if self.is_revoked(claim, now) {
            return Outcome::Revoked;
        }
        let of_login = self.name_of(claim.user, claim.device, claim.login);
        let of_session = claim.resume.map(|resume| self.key.identity(&resume.session));
        if self.tombstones.contains(of_login, now)
            || of_session.is_some_and(|name| self.tombstones.contains(name, now))
        {
            return Outcome::Superseded;
        }
        if let Some(index) = self.find(claim.user, claim.device) {
            let held = self.claims[index as usize];
            if held.link == claim.link {
                let held = &mut self.claims[index as usize];
                let attempt = if held.session == claim.session { held.attempt } else { 0 };
                *held = Held { epoch: held.epoch, attempt, ..Held::new(claim, 0, held.next) };
                return Outcome::Granted;
            }
            match claim.resume.filter(|resume| resume.session == held.session) {
                Some(resume) if resume.attempt.get() > held.attempt => {
                    self.epoch += 1;
                    let (session, attempt) = (resume.session, resume.attempt.get());
                    self.claims[index as usize] =
                        Held { session, attempt, ..Held::new(claim, self.epoch, held.next) };
                    return Outcome::Resumed { from: held.link };
                }
                Some(_) => return Outcome::Outrun,
                None => {}
            }
            self.replace(index, claim, now);
            let same_login = held.login == claim.login;
            return Outcome::Replaced { loser: held.link, same_login };
        }
        match self.room(claim) {
            Room::Free => {
                self.add(claim);
                Outcome::Granted
            }
            Room::Of(other) => {
                let loser = self.claims[other as usize].link;
                self.replace(other, claim, now);
                Outcome::Replaced { loser, same_login: false }
            }
            Room::None => Outcome::NoMoreDevices,
        }
    }

    fn is_revoked(&self, claim: &Claim, now: Time) -> bool {
        self.revocations.covers(claim.user, claim.login_time, now)
            || !self.revoked_logins.is_empty()
                && self.revoked_logins.covers(
                    self.name_of_login(claim.user, claim.login),
                    claim.login_time,
                    now,
                )
    }

    /// Where there is room for a device that is not linked yet.
    fn room(&self, claim: &Claim) -> Room {
        let of_class = |held: &Held| held.class == claim.class;
        let count = |held: &dyn Fn(&Held) -> bool| self.chain(claim.user).filter(|(_, it)| held(it)).count();
        // One whose link is gone keeps nobody away.
        let is_away = |held: &Held| held.is_detached;
        let is_away_of_class = |held: &Held| held.is_detached && held.class == claim.class;
        let most = self.devices.most as usize;
        match self.devices.classes[claim.class as usize] {
            DevicePolicy::Refuse(few) if count(&of_class) >= few as usize => {
                return self.victim(claim, &is_away_of_class);
            }
            DevicePolicy::Replace(few) if count(&of_class) >= few as usize => {
                return self.victim(claim, &is_away_of_class).or_else(|| self.victim(claim, &of_class));
            }
            _ => {}
        }
        if count(&|_| true) < most {
            return Room::Free;
        }
        match self.devices.beyond {
            Beyond::Refuse => self.victim(claim, &is_away),
            Beyond::Replace => self.victim(claim, &is_away).or_else(|| self.victim(claim, &|_| true)),
        }
    }

    /// Whose place a newcomer takes, of those that come into question.
    fn victim(&self, claim: &Claim, of: &dyn Fn(&Held) -> bool) -> Room {
        let age = |(_, held): &(u32, &Held)| (held.login_time, held.epoch);
        let all = || self.chain(claim.user).filter(|(_, held)| of(held));
        let is_own = |held: &Held| self.devices.names_logins && held.login == claim.login;
        let last = all().filter(|(_, held)| is_own(held)).max_by_key(age);
        last.or_else(|| all().min_by_key(age)).map_or(Room::None, |(index, _)| Room::Of(index))
    }

    /// Takes a link's claim back. Returns false, and changes nothing, when it is another link's by now or was
    /// taken back before: a late release never removes a newer claim.
    pub fn release(&mut self, claim: &Claim) -> bool {
        let Some(index) = self.find(claim.user, claim.device) else { return false };
        if self.claims[index as usize].link != claim.link {
            return false;
        }
        let next = self.claims[index as usize].next;
        match self.chain(claim.user).take_while(|&(other, _)| other != index).last() {
            Some((before, _)) => self.claims[before as usize].next = next,
            None if next == NOBODY => {
                self.users.remove(&claim.user);
            }
            None => {
                self.users.insert(claim.user, next);
            }
        }
        self.claims[index as usize].next = self.free;
        self.free = index;
        self.len -= 1;
        true
    }

    /// The link is gone, and its session waits for another one.
    pub fn detach(&mut self, claim: &Claim) {
        if let Some(index) = self.find(claim.user, claim.device) {
            let held = &mut self.claims[index as usize];
            held.is_detached |= held.link == claim.link;
        }
    }

    /// The links of a user, or of one of its devices: of one whose session waits for another link the one it had.
    pub fn lookup(&self, user: Identity, device: Option<Identity>) -> impl Iterator<Item = LinkId> {
        self.chain(user)
            .filter(move |(_, held)| device.is_none_or(|device| held.device == device))
            .map(|(_, held)| held.link)
    }

    /// The links of one login of a user, on all its devices.
    pub fn lookup_login(&self, user: Identity, login: u64) -> impl Iterator<Item = LinkId> {
        self.chain(user).filter(move |(_, held)| held.login == login).map(|(_, held)| held.link)
    }

    /// How many links are claimed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no link is claimed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many users have a link.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.len()
    }

    /// Logins of a user that were proved up to a moment, or the one of a name, have no claim any more, whatever ticket they
    /// bring.
    pub fn revoke(&mut self, user: Identity, revoked: Revoked, now: Time) {
        match revoked {
            Revoked::UpTo(last) => self.revocations.insert(user, last, now),
            Revoked::Login(login) => {
                let name = self.name_of_login(user, login);
                self.revoked_logins.insert(name, UnixMillis(u64::MAX), now);
            }
        }
    }

    /// The users whose logins were revoked.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// The single logins that were.
    #[must_use]
    pub fn revoked_logins(&self) -> &Revocations {
        &self.revoked_logins
    }

    /// The users whom backends have slowed down.
    #[must_use]
    pub const fn throttles(&self) -> &Throttles {
        &self.throttles
    }

    /// The same, to be changed.
    pub const fn throttles_mut(&mut self) -> &mut Throttles {
        &mut self.throttles
    }

    /// How often users log in.
    #[must_use]
    pub const fn churn(&self) -> &Churn {
        &self.churn
    }

    /// The replaced logins.
    #[must_use]
    pub fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }

    /// A user's claims with their places, newest device first.
    fn chain(&self, user: Identity) -> impl Iterator<Item = (u32, &Held)> {
        let mut next = self.users.get(&user).copied().unwrap_or(NOBODY);
        std::iter::from_fn(move || {
            let index = next;
            let held = self.claims.get(index as usize)?;
            next = held.next;
            Some((index, held))
        })
    }

    fn find(&self, user: Identity, device: Identity) -> Option<u32> {
        self.chain(user).find(|(_, held)| held.device == device).map(|(index, _)| index)
    }

    /// Puts a claim into the place of another one of the same user, and keeps the loser's login from coming back.
    fn replace(&mut self, index: u32, claim: &Claim, now: Time) {
        let held = self.claims[index as usize];
        if (held.device, held.login) != (claim.device, claim.login) {
            let loser = self.name_of(claim.user, held.device, held.login);
            self.tombstones.insert(loser, now);
            self.tombstones.insert(self.key.identity(&held.session), now);
        }
        self.epoch += 1;
        self.claims[index as usize] = Held::new(claim, self.epoch, held.next);
    }

    fn add(&mut self, claim: &Claim) {
        self.epoch += 1;
        let index = match self.free {
            NOBODY => self.claims.len() as u32,
            free => free,
        };
        let next = self.users.insert(claim.user, index).unwrap_or(NOBODY);
        let held = Held::new(claim, self.epoch, next);
        match self.claims.get_mut(index as usize) {
            Some(place) => {
                self.free = place.next;
                *place = held;
            }
            None => self.claims.push(held),
        }
        self.len += 1;
    }

    /// The name under which a login is remembered, whatever its devices.
    fn name_of_login(&self, user: Identity, login: u64) -> Identity {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(user.bytes());
        bytes[16..].copy_from_slice(&login.to_le_bytes());
        self.key.identity(&bytes)
    }

    /// The name under which a login of a device is remembered.
    fn name_of(&self, user: Identity, device: Identity, login: u64) -> Identity {
        let mut bytes = [0; 40];
        bytes[..16].copy_from_slice(user.bytes());
        bytes[16..32].copy_from_slice(device.bytes());
        bytes[32..].copy_from_slice(&login.to_le_bytes());
        self.key.identity(&bytes)
    }
}

impl Held {
    fn new(claim: &Claim, epoch: u64, next: u32) -> Self {
        let Claim { device, link, login, login_time, class, session, .. } = *claim;
        Self { device, link, login, login_time, epoch, session, attempt: 0, next, class, is_detached: false }
    }
}

/// Where there is room for a device.
enum Room {
    Free,
    /// In the place of another one.
    Of(u32),
    None,
}

impl Room {
    /// This one, or what `other` finds.
    fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        if matches!(self, Self::None) { other() } else { self }
    }
}

/// A millisecond has two to the power of this many epochs.
const EPOCHS_PER_MILLI_BITS: u32 = 12;

/// No claim.
const NOBODY: u32 = u32::MAX;

/// The map doubles when seven of eight places are taken. Just after, there are 16/7 places for each user, each of
/// a key, a value and one byte of the map's own.
const USER_LEN: usize = (size_of::<(Identity, u32)>() + 1) * 16 / 7;
const _: () = assert!(size_of::<Held>() == 80);
const _: () = assert!(USER_LEN + size_of::<Held>() <= 160, "the memory budget grants a claim 160 bytes");

#[cfg(test)]
mod tests;
