//! What one (user, device) has at the gateway, from its login on. It outlives its link for a while: a client that proves
//! that it knows the session's secret goes on with it.

mod key;
mod owed;
mod secrets;

pub use key::SessionKey;
pub use owed::{Due, Owed};
pub use secrets::{SECRET_LEN, SessionSecrets};

use protocol::limits::SESSION_ID_LEN;
use protocol::{DeviceClass, Refusal, UnixMillis};

use crate::answers::WindowKey;
use crate::answers::carried::Carried;
use crate::collections::Name;
use crate::delivery::tails::Packed;

/// A session. Lives in the worker's table beside its link; at most 256 bytes.
pub struct Session {
    user: Name,
    device: Name,
    id: SessionId,
    login: UnixMillis,
    /// Zero when it does not expire.
    token_expiry: UnixMillis,
    grant: Grant,
    proof: u64,
    /// Zero until its link is the device's.
    link_epoch: u64,
    /// Until its tickets are made.
    tickets: Option<Box<TicketRule>>,
    /// From its first push on that must be acknowledged.
    owed: Option<Box<Owed>>,
    /// From its first request on.
    window: Option<WindowKey>,
    requests_in_flight: u32,
    bytes_in_flight: u32,
    heartbeat_ms: u32,
    class: DeviceClass,
    limit_class: u8,
    /// Whether it was renewed and the user's owner has not answered yet.
    is_renewing: bool,
}

/// Names a session. Random, and no other session has it.
pub type SessionId = [u8; SESSION_ID_LEN];

/// What goes on with the next link: not who the user is and how that was proved, which the link has shown anew.
#[derive(Debug)]
pub struct Kept {
    /// The session's name.
    pub id: SessionId,
    /// What it is owed.
    pub owed: Packed,
    /// What is known of its requests.
    pub requests: Carried,
}

/// What a link may have in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Requests.
    pub requests: u32,
    /// Bytes of them, each request counted with its overhead.
    pub bytes: u32,
}

/// What a link may have in flight, and what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// What it may have.
    pub grant: Grant,
    /// What it has.
    pub running: Grant,
}

/// What is known when a session begins.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// Who it is.
    pub user: &'a [u8],
    /// On which device.
    pub device: &'a [u8],
    /// How that was proved.
    pub proof: Proof,
    /// What the link may have in flight.
    pub grant: Grant,
    /// Interval of the client's pings, in milliseconds.
    pub heartbeat_ms: u32,
}

/// How a user proved itself.
#[derive(Clone, Copy, Debug)]
pub struct Proof {
    /// Names the login: the hash of its token, or of the name its judge gave it. Tickets carry it on, so that whoever
    /// comes back with one, and then with its token again, is the same client and not its own rival.
    pub login: u64,
    /// When that was.
    pub time: UnixMillis,
    /// When what proved it was issued: if that is worth nothing any more since it was revoked, neither is the login.
    pub issued: UnixMillis,
    /// Until when it holds, if it has an end.
    pub expiry: Option<UnixMillis>,
    /// What its tickets are to be like; `None` if it is to have none.
    pub tickets: Option<TicketRule>,
    /// What the device is.
    pub class: DeviceClass,
    /// The class of the account among those of the config, from one on; zero without one.
    pub limit_class: u8,
}

/// What the tickets of a login are like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TicketRule {
    /// When they are over, if they have an end of their own.
    pub end: Option<UnixMillis>,
    /// The Ed25519 key whose owner alone may use them.
    pub bound_key: Option<[u8; 32]>,
}

impl Session {
    /// Begins a session of this name, which must be random.
    #[must_use]
    pub fn create(login: &Login<'_>, id: SessionId) -> Self {
        Self {
            user: Name::new(login.user),
            device: Name::new(login.device),
            id,
            login: login.proof.time,
            proof: login.proof.login,
            link_epoch: 0,
            tickets: login.proof.tickets.map(Box::new),
            owed: None,
            window: None,
            token_expiry: login.proof.expiry.unwrap_or_default(),
            grant: login.grant,
            requests_in_flight: 0,
            bytes_in_flight: 0,
            heartbeat_ms: login.heartbeat_ms,
            class: login.proof.class,
            limit_class: login.proof.limit_class,
            is_renewing: false,
        }
    }

    /// It goes on as another one of the same device, of this name.
    pub const fn rename(&mut self, id: SessionId) {
        self.id = id;
    }

    /// What it is owed, if there was ever anything.
    #[must_use]
    pub fn owed(&self) -> Option<&Owed> {
        self.owed.as_deref()
    }

    /// The same, to be changed.
    pub fn owed_mut(&mut self) -> Option<&mut Owed> {
        self.owed.as_deref_mut()
    }

    /// The same; from now on there is.
    pub fn owe(&mut self) -> &mut Owed {
        self.owed.get_or_insert_default()
    }

    /// Where its requests are remembered, from its first one on.
    #[must_use]
    pub const fn window(&self) -> Option<WindowKey> {
        self.window
    }

    /// They are remembered there.
    pub const fn see_through(&mut self, window: WindowKey) {
        self.window = Some(window);
    }

    /// The user's id.
    #[must_use]
    pub fn user(&self) -> &[u8] {
        self.user.bytes()
    }

    /// The device's id.
    #[must_use]
    pub fn device(&self) -> &[u8] {
        self.device.bytes()
    }

    /// The session's id.
    #[must_use]
    pub const fn id(&self) -> &SessionId {
        &self.id
    }

    /// When the user proved itself.
    #[must_use]
    pub const fn login(&self) -> UnixMillis {
        self.login
    }

    /// Hash of what the user proved itself with: names the login.
    #[must_use]
    pub const fn proof(&self) -> u64 {
        self.proof
    }

    /// Which link of its user it has: larger than those of all before, also of earlier starts of this gateway. Zero until its
    /// user's owner has answered.
    #[must_use]
    pub const fn link_epoch(&self) -> u64 {
        self.link_epoch
    }

    /// Its link is the device's from now on.
    pub const fn number(&mut self, epoch: u64) {
        self.link_epoch = epoch;
    }

    /// What its tickets are to be like, if it is to have any. Once: they are made when it begins.
    pub fn take_ticket_rule(&mut self) -> Option<TicketRule> {
        self.tickets.take().map(|rule| *rule)
    }

    /// When the proof ends, if it does.
    #[must_use]
    pub fn token_expiry(&self) -> Option<UnixMillis> {
        (self.token_expiry != UnixMillis(0)).then_some(self.token_expiry)
    }

    /// The user has proved itself anew: until another time, by a login of which there are tickets again. That counts when the
    /// user's owner has [agreed](Session::agree).
    pub fn renew(&mut self, proof: &Proof) {
        self.is_renewing = true;
        (self.login, self.proof) = (proof.time, proof.login);
        self.token_expiry = proof.expiry.unwrap_or_default();
        self.tickets = proof.tickets.map(Box::new);
        (self.class, self.limit_class) = (proof.class, proof.limit_class);
    }

    /// Whether it was renewed and the user's owner has not answered yet.
    #[must_use]
    pub const fn is_renewing(&self) -> bool {
        self.is_renewing
    }

    /// The user's owner has answered; whether it was asked about a renewal.
    pub const fn agree(&mut self) -> bool {
        std::mem::replace(&mut self.is_renewing, false)
    }

    /// What the device is.
    #[must_use]
    pub const fn class(&self) -> DeviceClass {
        self.class
    }

    /// The class of the account among those of the config, from one on; zero without one.
    #[must_use]
    pub const fn limit_class(&self) -> u8 {
        self.limit_class
    }

    /// Interval of the client's pings, in milliseconds.
    #[must_use]
    pub const fn heartbeat_ms(&self) -> u32 {
        self.heartbeat_ms
    }

    /// What the link may have in flight.
    #[must_use]
    pub const fn grant(&self) -> Grant {
        self.grant
    }

    /// Requests and bytes in flight.
    #[must_use]
    pub const fn in_flight(&self) -> Grant {
        Grant { requests: self.requests_in_flight, bytes: self.bytes_in_flight }
    }

    /// Both at once.
    #[must_use]
    pub const fn account(&self) -> Account {
        Account { grant: self.grant(), running: self.in_flight() }
    }

    /// Charges a request against the grant.
    ///
    /// # Errors
    /// [`Refusal::InFlight`] when it does not fit; nothing is charged then.
    pub fn charge(&mut self, cost: u32) -> Result<(), Refusal> {
        let bytes = self.bytes_in_flight.checked_add(cost).filter(|&bytes| bytes <= self.grant.bytes);
        let (Some(bytes), true) = (bytes, self.requests_in_flight < self.grant.requests) else {
            return Err(Refusal::InFlight);
        };
        self.bytes_in_flight = bytes;
        self.requests_in_flight += 1;
        Ok(())
    }

    /// A response is on its way to the client: what its request was charged is granted again.
    ///
    /// # Panics
    /// When more is given back than was charged: a request ended twice.
    pub fn refund(&mut self, cost: u32) {
        let requests = self.requests_in_flight.checked_sub(1);
        let bytes = self.bytes_in_flight.checked_sub(cost);
        self.requests_in_flight = requests.expect("a request ends once");
        self.bytes_in_flight = bytes.expect("a request gives back what it was charged");
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("user", &self.user)
            .field("device", &self.device)
            .field("login", &self.login)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

const _: () = assert!(size_of::<Session>() <= 224, "the memory budget grants a session 224 bytes");
const _: () =
    assert!(size_of::<Session>() == size_of::<Option<Session>>(), "a table of sessions needs no flags");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn session() -> Session {
        let proof = Proof {
            login: 7,
            time: UnixMillis(1_000),
            issued: UnixMillis(1_000),
            expiry: Some(UnixMillis(9_000)),
            tickets: Some(TicketRule { end: Some(UnixMillis(5_000)), bound_key: None }),
            class: DeviceClass::Tablet,
            limit_class: 2,
        };
        let grant = Grant { requests: 2, bytes: 1_000 };
        let login = Login { user: b"alice", device: &[b'd'; 64], proof, grant, heartbeat_ms: 30_000 };
        Session::create(&login, std::array::from_fn(|byte| byte as u8))
    }

    #[test]
    fn a_session_is_made_of_its_login_and_its_name() {
        let session = session();
        assert_eq!((session.user(), session.device()), (b"alice".as_slice(), [b'd'; 64].as_slice()));
        assert_eq!((session.id()[0], session.id()[15]), (0, 15));
        assert_eq!((session.login(), session.heartbeat_ms()), (UnixMillis(1_000), 30_000));
        assert_eq!((session.proof(), session.token_expiry()), (7, Some(UnixMillis(9_000))));
    }

    #[test]
    fn the_rule_for_its_tickets_is_taken_once() {
        let mut session = session();
        assert_eq!(session.take_ticket_rule().and_then(|rule| rule.end), Some(UnixMillis(5_000)));
        assert_eq!(session.take_ticket_rule(), None);
    }

    #[test]
    fn a_renewal_is_agreed_to_once() {
        let mut session = session();
        assert!(!session.is_renewing() && !session.agree(), "it has just begun");
        let proof = Proof {
            login: 8,
            time: UnixMillis(2_000),
            issued: UnixMillis(2_000),
            expiry: None,
            tickets: None,
            class: DeviceClass::Phone,
            limit_class: 0,
        };
        session.renew(&proof);
        assert!(session.is_renewing() && session.agree() && !session.agree());
        assert_eq!((session.proof(), session.token_expiry()), (8, None));
    }

    #[test]
    fn the_grant_bounds_requests_and_bytes() {
        let mut session = session();
        assert_eq!(session.charge(1_001), Err(Refusal::InFlight), "too many bytes");
        assert_eq!(session.charge(u32::MAX), Err(Refusal::InFlight));
        session.charge(400).expect("it fits");
        session.charge(600).expect("it fits exactly");
        assert_eq!(session.charge(0), Err(Refusal::InFlight), "too many requests");
        session.refund(400);
        assert_eq!(session.in_flight(), Grant { requests: 1, bytes: 600 });
        session.charge(400).expect("it was granted again");
    }

    #[test]
    #[should_panic(expected = "a request ends once")]
    fn a_refund_without_a_charge_is_a_bug() {
        session().refund(0);
    }

    #[test]
    fn it_may_go_on_as_another_one() {
        let mut session = session();
        session.rename([9; SESSION_ID_LEN]);
        assert_eq!((session.id(), session.user()), (&[9; SESSION_ID_LEN], b"alice".as_slice()));
        assert!(session.owed().is_none() && session.owe().tail.is_empty() && session.owed().is_some());
    }

    proptest! {
        #[test]
        fn what_is_charged_stays_within_the_grant(costs in prop::collection::vec((any::<bool>(), 0..700u32), 1..60)) {
            let mut session = session();
            let mut open = Vec::new();
            for (charge, cost) in costs {
                if charge {
                    open.extend(session.charge(cost).ok().map(|()| cost));
                } else if let Some(cost) = open.pop() {
                    session.refund(cost);
                }
                let in_flight = Grant { requests: open.len() as u32, bytes: open.iter().sum() };
                prop_assert_eq!(session.in_flight(), in_flight);
                prop_assert!(in_flight.requests <= 2 && in_flight.bytes <= 1_000);
            }
        }
    }
}
