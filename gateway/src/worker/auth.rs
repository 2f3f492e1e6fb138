//! Who a client is: by development token, by ticket, or by the word of a backend.
//!
//! ```text
//! Auth ─► judged here or by a backend ─► claim at the user's owner worker ─► Welcome ─► held frames
//! ```
//!
//! Whatever happens in between, the link may have gone by the time an answer comes: results find it by token.

use std::time::Duration;

use driver::Token;
use protocol::limits::ID_LEN_MAX;
use protocol::noise::PublicKey;
use protocol::noise::ticket::Identity as Ticketed;
use protocol::wire::frame::{self, Auth};
use protocol::wire::proto;
use protocol::{CloseCode, UnixMillis};
use zeroize::Zeroizing;

use super::Core;
use super::settings::{self, Farewell};
use crate::config::{NextKey, Secret};
use crate::id::LinkId;
use crate::link::SessionIndex;
use crate::session::{Login, RANDOM_LEN, Session, TicketRule};

/// How a user proved itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    /// Names the login: the hash of its token, or of the name its judge gave it. Tickets carry it on, so that whoever comes back with one, and then with
    /// its token again, is the same client and not its own rival.
    pub(super) login: u64,
    /// When that was.
    pub(super) time: UnixMillis,
    /// Until when it holds, if it has an end.
    pub(super) expiry: Option<UnixMillis>,
    /// What its tickets are like; `None` if it is to have none.
    pub(super) tickets: Option<TicketRule>,
}

/// What an `Auth` frame asks for besides the identity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) device: &'a [u8],
    pub(super) heartbeat_ms: u32,
}

impl<'a> From<&Auth<'a>> for Wanted<'a> {
    fn from(auth: &Auth<'a>) -> Self {
        Self { device: auth.device, heartbeat_ms: auth.heartbeat_ms }
    }
}

/// When a client is told to try later, it is on average after this time.
const TRY_LATER: Duration = Duration::from_secs(2);
/// Tickets a welcome carries: one to use, one in case its use fails.
const TICKETS: usize = 2;

impl Core {
    /// The first frame of a link, or a refresh.
    pub(super) fn auth(&mut self, token: Token, auth: &Auth<'_>) {
        let Some(link) = self.links.get(token) else { return };
        if link.machine.is_live() {
            return self.refresh(token, auth);
        }
        if let Some(ticketed) = link.machine.identity() {
            let same = auth.device == ticketed.device && (auth.user.is_empty() || auth.user == ticketed.user);
            let good = same && auth.token.is_empty() && link.machine.owns_ticket(auth.signature);
            let Ticketed { login, auth_time: time, token_exp: expiry, end, bound_key, .. } = *ticketed;
            let user = ticketed.user.clone();
            if !good {
                return self.refuse_auth(token, CloseCode::AuthFailed.into());
            }
            // A ticket replaces the token, not the checks.
            let proof = Proof { login, time, expiry, tickets: Some(TicketRule { end, bound_key }) };
            return self.identified(token, &user, &Wanted::from(auth), proof);
        }
        match &self.settings.auth {
            settings::Auth::Development { token: expected } => {
                if !expected.matches(auth.token) {
                    return self.refuse_auth(token, CloseCode::AuthFailed.into());
                }
                let login = self.login(auth.token);
                let tickets = Some(TicketRule::default());
                let proof = Proof { login, time: self.wall, expiry: None, tickets };
                self.identified(token, auth.user, &Wanted::from(auth), proof);
            }
            settings::Auth::Delegated { .. } => self.delegate_auth(token, auth),
        }
    }

    /// The name of the login that a token proves.
    pub(super) fn login(&self, token: &[u8]) -> u64 {
        self.group.hash(token)
    }

    /// A refresh names the same user and device; anything else is another client on this link.
    fn refresh(&mut self, token: Token, auth: &Auth<'_>) {
        let Some(session) = self.session_of(token) else { return };
        let same = session.device() == auth.device && (auth.user.is_empty() || session.user() == auth.user);
        if !same {
            self.refuse_auth(token, CloseCode::AuthFailed.into());
        }
    }

    /// Ends a link whose authentication was refused.
    pub(super) fn refuse_auth(&mut self, token: Token, farewell: Farewell) {
        self.counters.authentications_failed.add(1);
        self.close(token, farewell);
    }

    /// The user is known: makes the session and claims the device.
    pub(super) fn identified(&mut self, token: Token, user: &[u8], wanted: &Wanted<'_>, proof: Proof) {
        if user.is_empty() || user.len() > ID_LEN_MAX {
            return self.refuse_auth(token, CloseCode::AuthFailed.into());
        }
        let mut random = [0; RANDOM_LEN];
        (self.random)(&mut random);
        let heartbeat = self.settings.heartbeat.choose(wanted.heartbeat_ms);
        let login = Login {
            user,
            device: wanted.device,
            time: proof.time,
            token_expiry: proof.expiry,
            proof: proof.login,
            tickets: proof.tickets,
            grant: self.settings.grant,
            heartbeat_ms: u32::try_from(heartbeat.as_millis()).unwrap_or(u32::MAX),
        };
        let session = Session::create(&login, random);
        let Some(link) = self.links.get(token) else { return };
        match self.sessions.insert(session) {
            Ok(key) => link.session = Some(SessionIndex::new(key.index)),
            Err(_) => {
                let farewell = self.try_later();
                return self.close(token, farewell);
            }
        }
        self.claim(token);
    }

    /// Asks a client to come back a little later, and not together with all the others.
    pub(super) fn try_later(&mut self) -> Farewell {
        let retry_after = TRY_LATER / 2 + TRY_LATER * (self.random_number() % 256) as u32 / 256;
        Farewell { retry_after, ..CloseCode::TryLater.into() }
    }

    /// The claim stands: the link is live.
    pub(super) fn welcome(&mut self, token: Token) {
        let Some(link) = self.links.get(token) else { return };
        if !link.machine.is_authenticating() {
            return;
        }
        let Some(session) =
            link.session.and_then(|at| self.sessions.at(at.get())).map(|(_, session)| session)
        else {
            return;
        };
        let heartbeat = Duration::from_millis(session.heartbeat_ms().into());
        let mut welcome = proto::link::Welcome {
            session: session.id().to_vec().into(),
            secret: session.secret().to_vec().into(),
            grant_requests: self.settings.grant.requests,
            grant_bytes: self.settings.grant.bytes,
            heartbeat_ms: session.heartbeat_ms(),
            heartbeat_min_ms: u32::try_from(self.settings.heartbeat.min.as_millis()).unwrap_or(u32::MAX),
            heartbeat_max_ms: u32::try_from(self.settings.heartbeat.max.as_millis()).unwrap_or(u32::MAX),
            time_ms: self.wall.0,
            frame_len_max: u32::try_from(self.settings.rules.frame_len_max).unwrap_or(u32::MAX),
            record_len_max: u32::try_from(self.settings.rules.record_len_max).unwrap_or(u32::MAX),
            user: session.user().to_vec().into(),
            server_keys: server_keys(self.acceptor.public(), &self.settings),
            auth_expires_ms: session.token_expiry().map_or(0, |end| end.0),
            ..proto::link::Welcome::default()
        };
        welcome.tickets = self.tickets(token);
        self.leave_strangers(token);
        if let Some(link) = self.links.get(token) {
            link.machine.welcome(heartbeat, self.now);
            link.machine.forget_identity();
        }
        self.counters.authentications.add(1);
        self.send_with(token, |out| frame::encode_welcome(&welcome, out));
        self.schedule(token);
        self.announce_opened(token);
        self.read_held(token);
    }

    /// Tickets for the next connects of this link's device. A chain of tickets keeps the time of the login it
    /// began with.
    fn tickets(&mut self, token: Token) -> Vec<proto::link::Ticket> {
        let mut tickets = Vec::new();
        let cipher =
            self.links.get(token).and_then(|link| link.machine.binding()).map(|(_, suite, _)| suite.cipher());
        let rule = self.session_of(token).and_then(Session::take_ticket_rule);
        // What would be refused when it is used is not given out.
        let (Some(rule), true) = (rule, cipher.is_some_and(|cipher| self.acceptor.takes_tickets(cipher)))
        else {
            return tickets;
        };
        if let Some(keys) = self.acceptor.tickets_mut() {
            keys.advance(self.wall);
        }
        for _ in 0..TICKETS {
            let (mut psk, mut salt) = (Zeroizing::new([0; 32]), [0; 16]);
            (self.random)(&mut *psk);
            (self.random)(&mut salt);
            let Some(identity) = self.ticket_identity(token, psk, rule) else { break };
            let issued = self.acceptor.tickets().map(|keys| keys.issue(&identity, &salt));
            let Some(Ok(ticket)) = issued else { break };
            tickets.push(proto::link::Ticket {
                ticket: ticket.into(),
                psk: identity.psk.to_vec().into(),
                expires_ms: identity.expires().0,
            });
        }
        tickets
    }

    /// A new group key opens tickets from now on, and seals them a little later; earlier ones open for one lifetime longer,
    /// then they are erased.
    pub(super) fn rotate_tickets(&mut self, key: &Secret) {
        let wall = self.wall;
        if let Some(keys) = self.acceptor.tickets_mut() {
            keys.advance(wall);
            keys.announce(*key.bytes(), wall);
        }
    }

    fn ticket_identity(
        &mut self,
        token: Token,
        psk: Zeroizing<[u8; 32]>,
        rule: TicketRule,
    ) -> Option<Ticketed> {
        let (wall, server_key_id) = (self.wall, self.acceptor.public().key_id());
        let machine = &self.links.get(token)?.machine;
        let ((_, _, device_key), origin_suite) = machine.binding().zip(machine.origin())?;
        let device_key = device_key.copied();
        let session = self.session_of(token)?;
        Some(Ticketed {
            psk,
            origin_suite,
            server_key_id,
            issued: wall,
            auth_time: session.login(),
            login: session.proof(),
            token_exp: session.token_expiry(),
            end: rule.end,
            epoch: 0,
            user: session.user().to_vec(),
            device: session.device().to_vec(),
            device_key,
            bound_key: rule.bound_key,
        })
    }

    /// Reads what the client sent behind its `Auth`.
    fn read_held(&mut self, token: Token) {
        self.read(token, &mut []);
        self.arm(token);
    }

    /// The session of a link.
    pub(super) fn session_of(&mut self, token: Token) -> Option<&mut Session> {
        let at = self.links.get(token)?.session?;
        let (key, _) = self.sessions.at(at.get())?;
        self.sessions.get_mut(key)
    }

    /// The hash that places a link's user on backends.
    pub(super) fn user_hash(&mut self, token: Token) -> Option<u64> {
        let session = self.links.get(token)?.session?;
        let (_, session) = self.sessions.at(session.get())?;
        Some(self.routes.hash(session.user()))
    }

    /// The name backends know a link by.
    pub(super) fn link_id(&self, token: Token) -> LinkId {
        LinkId::new(self.settings.worker, token.slot, token.generation)
    }
}

/// The present key and those to come, without an end: a key is over when the gateway retires it.
fn server_keys(present: PublicKey, settings: &settings::Settings) -> Vec<proto::link::ServerKey> {
    let present = NextKey { key: present, not_before: UnixMillis(0) };
    let announced = |next: &NextKey| proto::link::ServerKey {
        key: next.key.0.to_vec().into(),
        not_before_ms: next.not_before.0,
        not_after_ms: 0,
        suites: settings.suites_announced.bits(),
    };
    [present].iter().chain(&settings.server_keys_next).map(announced).collect()
}
