//! Tickets: what lets a client come back with one curve operation and without its token. SPEC.md, section
//! "Tickets".
//!
//! ```text
//! ticket  = group key id 4 ‖ salt 16 ‖ AES-256-GCM(key = HMAC-SHA-256(group key, label ‖ realm 32 ‖ salt), nonce 0,
//!                                                  aad = group key id ‖ salt, content)
//! content = format 1 ‖ psk 32 ‖ origin suite 1 ‖ server key id 4 ‖ issued u64 ‖ auth time u64 ‖ login u64
//!           ‖ token end u64 ‖ ticket end u64 ‖ revocation epoch u32 ‖ user (u8 length ‖ bytes) ‖ device (the same)
//!           ‖ flags 1 ‖ [device key 32] ‖ [bound key 32] ‖ [device class 1 ‖ limit class (u8 length ‖ bytes)]
//!           ‖ zeros up to 320
//! ```
//!
//! All numbers are big-endian, times are Unix milliseconds. Only gateways read tickets; clients carry them as they
//! are. A ticket replaces the token and none of the checks that follow it. All have one length, so that nobody who watches
//! learns that of a user's name from it.

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use ring::aead::Aad;
use ring::{digest, hmac};
use zeroize::Zeroizing;

use super::keys::{KeyId, PublicKey};
use super::suite::{Cipher, Pattern, Suite};
use crate::code::DeviceClass;
use crate::error::Error;
use crate::limits::{ID_LEN_MAX, LIMIT_CLASS_LEN_MAX, TAG_LEN, TICKET_LEN_MAX};
use crate::time::UnixMillis;

/// How long a ticket is good after it was issued, unless its token ends earlier.
pub const TICKET_LIFETIME: Duration = Duration::from_hours(12);
/// How long after the last real authentication tickets may follow one another.
pub const TICKET_CHAIN_MAX: Duration = Duration::from_hours(7 * 24);
/// How long a group key seals new tickets.
pub const TICKET_KEY_ROTATION: Duration = Duration::from_hours(6);
/// How long a new group key only opens before it seals: everybody who shares it has heard of it by then.
pub const TICKET_KEY_LEAD: Duration = Duration::from_secs(10);
/// How far ahead the clock of the node that issued a ticket may be.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_mins(1);
/// The most group keys kept at a time. Rotation needs three; the rest is for keys of other nodes.
pub const TICKET_KEYS_MAX: usize = 8;

/// What a ticket says about its owner.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The secret of the next handshake, known to the client too.
    pub psk: Zeroizing<[u8; 32]>,
    /// The suite of the handshake this chain of tickets began with; never one with a ticket.
    pub origin_suite: Suite,
    /// The server key of that handshake.
    pub server_key_id: KeyId,
    /// When this ticket was issued.
    pub issued: UnixMillis,
    /// When the user was last authenticated by a token.
    pub auth_time: UnixMillis,
    /// Names the login: a hash of that token, or of the name the judge gave the login, the same on all gateways of the group.
    pub login: u64,
    /// When that token's time is over, if it has an end.
    pub token_exp: Option<UnixMillis>,
    /// When the tickets of this login are over, if they have an end of their own.
    pub end: Option<UnixMillis>,
    /// The user's revocation epoch when it was issued.
    pub epoch: u32,
    /// The user's id, 1 to 64 bytes.
    pub user: Vec<u8>,
    /// The device's id, 1 to 64 bytes.
    pub device: Vec<u8>,
    /// The device's static key, if it proved one.
    pub device_key: Option<PublicKey>,
    /// The Ed25519 key that token and tickets are bound to, if they are: see [`Bound`](super::Bound).
    pub bound_key: Option<[u8; 32]>,
    /// The class of the device.
    pub class: DeviceClass,
    /// The class of the account, at most 32 bytes; empty without one.
    pub limit_class: Vec<u8>,
}

impl Identity {
    /// The moment from which the ticket is no longer good: the earliest end of its lifetime, its chain, its token, and
    /// what the judge allowed.
    #[must_use]
    pub fn expires(&self) -> UnixMillis {
        let own = later(self.issued, TICKET_LIFETIME).min(later(self.auth_time, TICKET_CHAIN_MAX));
        [self.token_exp, self.end].into_iter().flatten().fold(own, UnixMillis::min)
    }

    /// Checks what [`Identity::decode`] would refuse, so that no ticket is issued that can't be opened.
    fn check(&self) -> Result<(), Error> {
        if !(1..=ID_LEN_MAX).contains(&self.user.len()) {
            return Err(Error::Field("user"));
        }
        if !(1..=ID_LEN_MAX).contains(&self.device.len()) {
            return Err(Error::Field("device"));
        }
        if !is_origin(self.origin_suite) {
            return Err(Error::Field("origin_suite"));
        }
        if [self.token_exp, self.end].contains(&Some(UnixMillis(0))) {
            return Err(Error::Field("end"));
        }
        if self.device_key.is_some() != (self.origin_suite.pattern() == Pattern::Ik) {
            return Err(Error::Field("device_key"));
        }
        if self.limit_class.len() > LIMIT_CLASS_LEN_MAX {
            return Err(Error::Field("limit_class"));
        }
        Ok(())
    }

    fn has_classes(&self) -> bool {
        self.class != DeviceClass::Unknown || !self.limit_class.is_empty()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(FORMAT);
        out.extend_from_slice(&*self.psk);
        out.push(self.origin_suite.byte());
        out.extend_from_slice(&self.server_key_id.0);
        let (token_exp, end) = (self.token_exp.unwrap_or_default(), self.end.unwrap_or_default());
        for number in [self.issued.0, self.auth_time.0, self.login, token_exp.0, end.0] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.epoch.to_be_bytes());
        for id in [&self.user, &self.device] {
            out.push(u8::try_from(id.len()).expect("ids were checked to have at most 64 bytes"));
            out.extend_from_slice(id);
        }
        let (device_key, bound_key) = (self.device_key.map(|key| key.0), self.bound_key);
        let classes = if self.has_classes() { CLASSES } else { 0 };
        out.push(device_key.map_or(0, |_| DEVICE_KEY) | bound_key.map_or(0, |_| BOUND_KEY) | classes);
        for key in [device_key, bound_key].into_iter().flatten() {
            out.extend_from_slice(&key);
        }
        if self.has_classes() {
            out.extend([self.class as u8, self.limit_class.len() as u8]);
            out.extend_from_slice(&self.limit_class);
        }
        out.resize(start + CONTENT_LEN, 0);
    }

    /// Reads all of `bytes` or refuses. Only a node of the group can have written them, so this guards against an
    /// older or newer node, not against attackers.
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let has_its_length = bytes.len() == CONTENT_LEN;
        let bytes = &mut bytes;
        let [format] = take(bytes)?;
        (has_its_length && format == FORMAT).then_some(())?;
        let psk = Zeroizing::new(take(bytes)?);
        let [suite] = take(bytes)?;
        let mut identity = Self {
            psk,
            origin_suite: Suite::from_byte(suite).filter(|&suite| is_origin(suite))?,
            server_key_id: KeyId(take(bytes)?),
            issued: take_moment(bytes)?,
            auth_time: take_moment(bytes)?,
            login: u64::from_be_bytes(take(bytes)?),
            token_exp: take_moment(bytes).map(|moment| (moment.0 != 0).then_some(moment))?,
            end: take_moment(bytes).map(|moment| (moment.0 != 0).then_some(moment))?,
            epoch: u32::from_be_bytes(take(bytes)?),
            user: take_id(bytes)?,
            device: take_id(bytes)?,
            device_key: None,
            bound_key: None,
            class: DeviceClass::Unknown,
            limit_class: Vec::new(),
        };
        let [flags] = take(bytes)?;
        if flags & DEVICE_KEY != 0 {
            identity.device_key = Some(PublicKey(take(bytes)?));
        }
        if flags & BOUND_KEY != 0 {
            identity.bound_key = Some(take(bytes)?);
        }
        if flags & CLASSES != 0 {
            let [class] = take(bytes)?;
            identity.class = DeviceClass::from_number(class.into())?;
            identity.limit_class = take_name(bytes)?;
            // Classes that say nothing are not written.
            identity.has_classes().then_some(())?;
        }
        let is_whole =
            flags & !(DEVICE_KEY | BOUND_KEY | CLASSES) == 0 && bytes.iter().all(|&byte| byte == 0);
        (is_whole && identity.check().is_ok()).then_some(identity)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("psk", &"***")
            .field("origin_suite", &self.origin_suite)
            .field("issued", &self.issued)
            .field("expires", &self.expires())
            .field("device_key", &self.device_key)
            .field("bound", &self.bound_key.is_some())
            .finish_non_exhaustive()
    }
}

/// The group keys of a node: one that seals, and others that still open, all for one realm. Nodes that share tickets are
/// given the same keys; a ticket of one realm opens in no other, so that "alice" of one is nobody in another.
///
/// ```text
/// announce ─► only opens ──advance, a while later──► current ──the next one──► opens for one lifetime ──► wiped
/// ```
pub struct TicketKeys {
    current: GroupKey,
    since: UnixMillis,
    /// The key that will seal, and from when on.
    next: Option<(GroupKey, UnixMillis)>,
    /// The keys that only open, with the moment each one ends, oldest first.
    opening: Vec<(GroupKey, UnixMillis)>,
    /// SHA-256 of the realm's name.
    realm: [u8; 32],
}

impl TicketKeys {
    /// Starts with one key of 32 random bytes, for the realm of this name.
    #[must_use]
    pub fn new(key: [u8; 32], realm: &str, now: UnixMillis) -> Self {
        let realm = first_of(digest::digest(&digest::SHA256, realm.as_bytes()).as_ref());
        Self { current: GroupKey::new(key), since: now, next: None, opening: Vec::new(), realm }
    }

    /// Whether the current key has sealed for [`TICKET_KEY_ROTATION`].
    #[must_use]
    pub fn rotation_due(&self, now: UnixMillis) -> bool {
        now >= later(self.since, TICKET_KEY_ROTATION)
    }

    /// Opens tickets of `key` from now on, and seals with it after [`TICKET_KEY_LEAD`]: workers hear of a key one after the
    /// other, and none may refuse what another one has issued.
    pub fn announce(&mut self, key: [u8; 32], now: UnixMillis) {
        self.next = Some((GroupKey::new(key), later(now, TICKET_KEY_LEAD)));
    }

    /// Lets time pass: an announced key seals when its time has come, and keys that are over are wiped.
    pub fn advance(&mut self, now: UnixMillis) {
        if let Some((key, _)) = self.next.take_if(|&mut (_, from)| from <= now) {
            self.seal_with(key, now);
        }
        self.expire(now);
    }

    /// Seals with `key` from now on. The key before it opens for one ticket's lifetime longer, since its last ticket
    /// was issued just now.
    pub fn rotate(&mut self, key: [u8; 32], now: UnixMillis) {
        self.seal_with(GroupKey::new(key), now);
    }

    fn seal_with(&mut self, key: GroupKey, now: UnixMillis) {
        self.since = now;
        if key.id == self.current.id {
            return;
        }
        self.opening.retain(|(opening, _)| opening.id != key.id);
        let before = std::mem::replace(&mut self.current, key);
        self.keep(before, later(now, TICKET_LIFETIME));
        self.expire(now);
    }

    /// Opens tickets of `key` too until `until`: one from before a restart, or one another node of the group already
    /// seals with.
    pub fn accept(&mut self, key: [u8; 32], until: UnixMillis) {
        let key = GroupKey::new(key);
        if key.id != self.current.id {
            self.keep(key, until);
        }
    }

    /// Wipes the keys whose time is over.
    pub fn expire(&mut self, now: UnixMillis) {
        self.opening.retain(|&(_, until)| now < until);
    }

    /// When [`TicketKeys::expire`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<UnixMillis> {
        self.opening.first().map(|&(_, until)| until)
    }

    /// Seals a ticket with the current key. `salt` are fresh random bytes, used for this ticket only.
    ///
    /// # Errors
    /// [`Error::Field`] if a field has no encoding, such as an empty user.
    pub fn issue(&self, identity: &Identity, salt: &[u8; 16]) -> Result<Vec<u8>, Error> {
        identity.check()?;
        let mut ticket = Vec::with_capacity(SEALED_LEN);
        ticket.extend_from_slice(&self.current.id);
        ticket.extend_from_slice(salt);
        identity.encode(&mut ticket);
        let (head, inside) = ticket.split_at_mut(HEAD_LEN);
        let tag = TICKET_CIPHER
            .expand(&self.current.ticket_key(&self.realm, salt))
            .seal_in_place_separate_tag(TICKET_CIPHER.nonce(0), Aad::from(&*head), inside)
            .expect("a ticket is far below the AEAD's limit");
        ticket.extend_from_slice(tag.as_ref());
        Ok(ticket)
    }

    /// Opens a ticket that is good now.
    ///
    /// # Errors
    /// [`Error::Ticket`] if no key opens it, or it is too old or from the future. Which one is not told.
    pub fn open(&self, ticket: &[u8], now: UnixMillis) -> Result<Identity, Error> {
        let identity = self.unseal(ticket, now).ok_or(Error::Ticket)?;
        let from_the_future = identity.issued > later(now, CLOCK_SKEW_MAX);
        if from_the_future || now >= identity.expires() { Err(Error::Ticket) } else { Ok(identity) }
    }

    fn unseal(&self, ticket: &[u8], now: UnixMillis) -> Option<Identity> {
        let (head, sealed) = ticket.split_at_checked(HEAD_LEN)?;
        let (id, salt) = head.split_first_chunk::<4>()?;
        let key = self.key(id, now)?.ticket_key(&self.realm, salt.first_chunk()?);
        let mut inside = Zeroizing::new([0; CONTENT_LEN + TAG_LEN]);
        let inside = inside.get_mut(..sealed.len())?;
        inside.copy_from_slice(sealed);
        let opened =
            TICKET_CIPHER.expand(&key).open_in_place(TICKET_CIPHER.nonce(0), Aad::from(head), inside).ok()?;
        Identity::decode(opened)
    }

    fn key(&self, id: &[u8; 4], now: UnixMillis) -> Option<&GroupKey> {
        let opening = self.opening.iter().filter(|&&(_, until)| now < until).map(|(key, _)| key);
        let next = self.next.iter().map(|(key, _)| key);
        std::iter::once(&self.current).chain(next).chain(opening).find(|key| key.id == *id)
    }

    /// Keeps the list in the order of its ends and within its bound; over it, the key that ends first goes.
    fn keep(&mut self, key: GroupKey, until: UnixMillis) {
        self.opening.retain(|(opening, _)| opening.id != key.id);
        let place = self.opening.partition_point(|&(_, other)| other <= until);
        self.opening.insert(place, (key, until));
        if self.opening.len() >= TICKET_KEYS_MAX {
            self.opening.remove(0);
        }
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKeys(*** since {:?}, {} opening)", self.since, self.opening.len())
    }
}

/// A key shared by the nodes of a group. Wiped when dropped; boxed, so that moving it within the list leaves no copy
/// behind.
struct GroupKey {
    id: [u8; 4],
    key: Box<Zeroizing<[u8; 32]>>,
}

impl GroupKey {
    /// The id follows from the key, so that nodes agree on it without saying it.
    fn new(key: [u8; 32]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(ID_LABEL);
        context.update(&key);
        let id = first_of(context.finish().as_ref());
        Self { id, key: Box::new(Zeroizing::new(key)) }
    }

    /// Each ticket has a key of its own, so that a random salt can't repeat a nonce under a shared key.
    fn ticket_key(&self, realm: &[u8; 32], salt: &[u8; 16]) -> Zeroizing<[u8; 32]> {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.key.as_slice()));
        context.update(TICKET_LABEL);
        context.update(realm);
        context.update(salt);
        Zeroizing::new(first_of(context.sign().as_ref()))
    }
}

/// Whether a chain of tickets can begin with this suite.
const fn is_origin(suite: Suite) -> bool {
    !suite.is_ticket() && !suite.is_stream() && !suite.is_unpinned()
}

/// The first `N` bytes of a hash.
fn first_of<const N: usize>(hash: &[u8]) -> [u8; N] {
    *hash.first_chunk().expect("a SHA-256 and its HMAC have 32 bytes")
}

fn later(moment: UnixMillis, by: Duration) -> UnixMillis {
    UnixMillis(moment.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn take_moment(bytes: &mut &[u8]) -> Option<UnixMillis> {
    take(bytes).map(|moment| UnixMillis(u64::from_be_bytes(moment)))
}

fn take_id(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    take_name(bytes).filter(|id| (1..=ID_LEN_MAX).contains(&id.len()))
}

fn take_name(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let [len] = take(bytes)?;
    let (name, rest) = bytes.split_at_checked(usize::from(len))?;
    *bytes = rest;
    Some(name.to_vec())
}

const FORMAT: u8 = 1;
const TICKET_CIPHER: Cipher = Cipher::AesGcm;
const TICKET_LABEL: &[u8] = b"access-gateway ticket v1";
const ID_LABEL: &[u8] = b"access-gateway ticket key id v1";
/// Group key id and salt.
const HEAD_LEN: usize = 4 + 16;
/// Bit of a content that holds the device's static key.
const DEVICE_KEY: u8 = 1;
/// Bit of a content that holds the key it is bound to.
const BOUND_KEY: u8 = 2;
/// Bit of a content that holds the classes of device and account.
const CLASSES: u8 = 4;
/// Every content has this length, padded with zeros.
const CONTENT_LEN: usize = 320;
/// Every ticket has this length.
pub const SEALED_LEN: usize = HEAD_LEN + CONTENT_LEN + TAG_LEN;

const _: () = assert!(SEALED_LEN <= TICKET_LEN_MAX, "a preamble can carry every ticket");
const _: () = assert!(
    1 + 32 + 1 + 4 + 5 * 8 + 4 + 2 * (1 + ID_LEN_MAX) + 1 + 2 * 32 + 2 + LIMIT_CLASS_LEN_MAX <= CONTENT_LEN
);
