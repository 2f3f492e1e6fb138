//! A client is let in.
//!
//! ```text
//! Auth ─► judged here or by a backend ─► claim at the user's owner worker ─► Welcome ─► held frames
//! ```
//!
//! A later `Auth`, which renews the token, goes the same way.
//!
//! Whatever happens in between, the link may have gone by the time an answer comes: results find it by token.

use std::time::Duration;

use driver::{Listener, Token};
use protocol::noise::PublicKey;
use protocol::wire::frame::{self, Auth};
use protocol::wire::proto::link as proto;
use protocol::wire::stream::{AuthResult, Authenticate};
use protocol::{CloseCode, Undelivered, UnixMillis};

use crate::admission::lists::UserId;
use crate::config::NextKey;
use crate::counters::guard::{Guard, Guards};
use crate::directory::churn::Pace;
use crate::directory::claims::{Claim, Claimed, HandOver, Outcome};
use crate::session::{Proof, Session, SessionKey};
use crate::upstream::StreamIndex;
use crate::upstream::route::Affinity;
use crate::worker::busiest::Measure;
use crate::worker::identity::{Judged, Proved, Verdict};
use crate::worker::links::Cause;
use crate::worker::parts::Parts;
use crate::worker::post::Letter;
use crate::worker::reports::Report;
use crate::worker::sessions::{Detached, NotBegun};
use crate::worker::settings::{self, Farewell, Settings};

use super::lists::banned;

impl Parts {
    /// The first frame of a link, or a later one that renews its token.
    pub(super) fn auth(&mut self, token: Token, auth: &Auth<'_>) {
        if self.is_of_another(token, auth) {
            return self.distrust(token, CloseCode::AuthFailed.into());
        }
        self.ask_to_resume(token, auth);
        self.judge(token, auth, false);
    }

    /// There is time for the token that a link has presented.
    pub(super) fn verify(&mut self, token: Token) {
        if let Some(kept) = self.identity.take(token) {
            self.judge(token, &kept.auth(), true);
        }
    }

    fn judge(&mut self, token: Token, auth: &Auth<'_>, may_work: bool) {
        let Some(machine) = self.links.machine(token) else { return };
        match self.identity.judge(&self.turn, machine, auth, may_work) {
            Judged::Known { user, proof } => {
                let (user, device, heartbeat_ms) = (user.into_owned(), auth.device, auth.heartbeat_ms);
                self.proved(token, &user, device, proof, heartbeat_ms);
            }
            Judged::Refused(code) => self.disproved(token, code.into()),
            Judged::Work(cost) => {
                // One token of a link waits at a time: whoever is in must not keep newcomers from being judged.
                if self.identity.is_kept(token) {
                    self.links.glitch(&mut self.turn, token);
                } else if !self.identity.keep(token, auth) {
                    self.links.count_refused(&self.turn, token, Guard::Waiting);
                    self.put_off(token);
                } else if !self.links.wait_in_line(&self.turn, token, cost) {
                    self.identity.take(token);
                    self.links.count_refused(&self.turn, token, Guard::Waiting);
                    self.put_off(token);
                }
            }
            // And one question about it.
            Judged::Asked if self.links.is_live(token) && self.identity.is_asked(token) => {
                self.links.glitch(&mut self.turn, token);
            }
            Judged::Asked => self.ask_backend(token, auth),
        }
    }

    /// Whether a live link says that it is somebody else now: another client, on this link.
    fn is_of_another(&self, token: Token, auth: &Auth<'_>) -> bool {
        let session = self.links.session(token).and_then(|key| self.sessions.get(key));
        self.links.is_live(token)
            && session.is_some_and(|session| {
                session.device() != auth.device || !auth.user.is_empty() && session.user() != auth.user
            })
    }

    /// A client is who it says, on this device: its session begins, or the one it has goes on.
    fn proved(&mut self, token: Token, user: &[u8], device: &[u8], proof: Proof, heartbeat_ms: u32) {
        if self.links.is_live(token) {
            return self.renew(token, user, proof);
        }
        let begun = self.sessions.begin(&mut self.turn, user, device, proof, heartbeat_ms);
        self.claim(token, begun, proof.issued);
    }

    /// A token is not good. A live link goes on as before, until the end of the token it has, unless it keeps presenting such:
    /// each has cost time that is for newcomers.
    fn disproved(&mut self, token: Token, farewell: Farewell) {
        if self.links.is_live(token) {
            self.turn.counters.authentications_failed.add(1);
            self.links.glitch(&mut self.turn, token);
        } else {
            self.distrust(token, farewell);
        }
    }

    /// A live link has presented a token that is good: if it is the same user's, that is its token now.
    fn renew(&mut self, token: Token, user: &[u8], proof: Proof) {
        let known = self.links.session(token).and_then(|key| Some((key, self.sessions.get(key)?)));
        let Some((key, session)) = known.filter(|(_, session)| session.user() == user) else {
            return self.distrust(token, CloseCode::AuthFailed.into());
        };
        // One at a time, so that the owner's answer is about the token of which the client is told.
        if session.is_renewing() {
            return self.links.glitch(&mut self.turn, token);
        }
        self.sessions.renew(key, &proof);
        // The owner learns which login this is now, and says whether that one was revoked: a client that is told that its new
        // token is good has none that is worth nothing.
        self.send_claim(token, key, proof.issued, false);
    }

    /// The owner has agreed to a token that a live link has presented.
    fn renewed(&mut self, token: Token) {
        let known = self.links.session(token).zip(self.links.listener(token));
        let Some((key, listener)) = known.filter(|&(key, _)| self.sessions.agree(key)) else { return };
        let limit_class = self.sessions.get(key).map_or(0, Session::limit_class);
        self.links.reclass(token, limit_class);
        self.turn.counters.tokens_renewed.add(1);
        self.send_welcome(token, key, listener, Welcome::Renewed);
    }

    /// Ends a link that does not prove who it is.
    fn distrust(&mut self, token: Token, farewell: Farewell) {
        self.links.count_refused(&self.turn, token, Guard::Tokens);
        self.refuse_auth(token, farewell);
    }

    /// Ends a link whose authentication was refused.
    fn refuse_auth(&mut self, token: Token, farewell: Farewell) {
        self.turn.counters.authentications_failed.add(1);
        self.links.mark(token, Cause::Close(farewell));
    }

    /// The user has as many devices as it may have. One whose token is renewed is in already.
    fn refuse_device(&mut self, token: Token) {
        self.links.count_refused(&self.turn, token, Guard::Devices);
        self.refuse_auth(token, CloseCode::DeviceRefused.into());
    }

    /// Asks a client to come back a little later; one that is in stays, with the token it has.
    pub(super) fn put_off(&mut self, token: Token) {
        if self.links.is_live(token) {
            return;
        }
        self.links.mark(token, Cause::Close(CloseCode::TryLater.into()));
    }

    /// Asks the route's backend for a verdict.
    fn ask_backend(&mut self, token: Token, auth: &Auth<'_>) {
        let settings::Auth::Delegated { route, deadline, .. } = &self.turn.settings.auth else { return };
        let deadline = *deadline;
        let requests = &self.requests;
        let affinity = Affinity { user: self.streams.hash(auth.token), key: None, held_by: None };
        let chosen = self
            .streams
            .find(route)
            .and_then(|route| self.streams.choose(route, affinity, |stream| requests.load(stream)));
        let Ok(stream) = chosen else { return self.put_off(token) };
        let Some(call) = self.identity.ask(token, stream, auth, self.turn.now + deadline) else {
            return self.put_off(token);
        };
        let (Some(peer), Some(machine)) = (self.links.peer(token), self.links.machine(token)) else { return };
        let Some((handshake, suite, peer_key)) = machine.binding() else { return };
        let ask = Authenticate {
            call,
            link: self.link_id(token).number(),
            token: auth.token,
            device: auth.device,
            user: auth.user,
            handshake,
            peer_key: peer_key.map_or(&[], |PublicKey(key)| key),
            suite: suite.byte().into(),
            address: peer.octets(),
            deadline_ms: u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX),
            signature: auth.signature,
            class: auth.class,
            realm: "",
        };
        self.streams.authenticate(stream, &ask);
    }

    /// A backend's verdict.
    pub(super) fn judged(&mut self, stream: StreamIndex, result: &AuthResult<'_>) {
        let Some(Verdict { link, outcome }) = self.identity.verdict(&self.turn, stream, result) else {
            return;
        };
        self.streams.answered(stream);
        if !self.links.is_authenticating(link) && !self.links.is_live(link) {
            return;
        }
        match outcome {
            Ok(Proved { device, heartbeat_ms, proof }) => {
                self.proved(link, result.user, &device, proof, heartbeat_ms);
            }
            Err(farewell) => self.disproved(link, farewell),
        }
    }

    /// A session has begun: its device is claimed at the user's owner.
    fn claim(&mut self, token: Token, begun: Result<SessionKey, NotBegun>, issued: UnixMillis) {
        match begun {
            Ok(session) => {
                self.links.attach(token, session);
                let known = self.links.listener(token).zip(self.sessions.get(session));
                let refuses =
                    |(by, session): (_, &Session)| self.door.refuses(&self.turn, by, session.user());
                if let Some(until) = known.and_then(refuses) {
                    return self.refuse_auth(token, banned(until, self.turn.now));
                }
                self.send_claim(token, session, issued, true);
            }
            Err(NotBegun::User) => self.distrust(token, CloseCode::AuthFailed.into()),
            Err(NotBegun::Full) => self.put_off(token),
        }
    }

    /// Claims the device of a session at the user's owner, at its login or when it has another token.
    fn send_claim(&mut self, token: Token, session: SessionKey, issued: UnixMillis, is_login: bool) {
        let on_trial = self.on_trial(token);
        if let Some((owner, claim)) = self.sessions.claim_of(session, self.link_id(token)) {
            let login_time = issued.min(claim.login_time);
            let is_login = is_login && !self.is_exempt(token);
            let claim = Claim { login_time, is_login, on_trial, ..claim };
            let claim = if self.links.is_live(token) { claim } else { self.sessions.enter(session, claim) };
            self.letters.send(&self.turn, owner, Letter::Claim(claim));
        }
    }

    /// Owner's side: the claim that comes last has the device. The loser is told to go before the winner hears anything.
    pub(super) fn decide_claim(&mut self, claim: &Claim) {
        let claimed = self.sessions.claim(claim, self.turn.now, self.turn.wall);
        if let (Outcome::Resumed { from }, Some(asked)) = (claimed.outcome, claim.resume) {
            let letter = Letter::HandOver(HandOver { from, asked, claimed });
            return self.letters.send(&self.turn, from.worker(), letter);
        }
        if let Outcome::Replaced { loser, same_login, .. } = claimed.outcome {
            // The link of a client that has come back is dead, or the client's first try was the slower one and has just
            // taken over from its second: then nobody else is there, and it must not stay away.
            let is_itself = same_login && self.turn.settings.auth.names_logins();
            let code = if is_itself { CloseCode::TryLater } else { CloseCode::Replaced };
            let farewell = Farewell::from(code);
            if self.own(loser).is_some() {
                self.end_own(loser, farewell);
            } else {
                self.letters.send(&self.turn, loser.worker(), Letter::End { link: loser, farewell });
            }
        }
        // By letter even to this very worker: the loser is buried first.
        self.letters.send(&self.turn, claim.link.worker(), Letter::Claimed(claimed));
    }

    /// The owner has answered.
    pub(super) fn claimed(&mut self, claimed: &Claimed) {
        let Some(token) = self.own(claimed.link) else { return };
        if let Some((session, Some(_), _)) = self.sessions.answered(claimed.link) {
            // Its claim went with it, but for this answer.
            let ended = Detached::unseen(claimed.link, session);
            return self.end_session(&ended, None, Undelivered::LinkClosed);
        }
        self.note_pace(token, claimed);
        if let Some(listener) = self.links.listener(token).filter(|_| claimed.is_one_too_many) {
            self.turn.kept_out(listener).on_trial.of(Guard::Devices).add(1);
        }
        match claimed.outcome {
            Outcome::TooOften => self.put_off(token),
            Outcome::NoMoreDevices => self.refuse_device(token),
            Outcome::Granted | Outcome::Replaced { .. } if self.links.is_live(token) => self.renewed(token),
            Outcome::Granted | Outcome::Replaced { .. } => self.welcome(token, claimed),
            Outcome::Resumed { .. } => self.welcome(token, claimed),
            Outcome::Outrun => {
                self.turn.counters.sessions_outrun.add(1);
                self.links.mark(token, Cause::Close(CloseCode::TryLater.into()));
            }
            Outcome::Superseded => self.links.mark(token, Cause::Close(CloseCode::Replaced.into())),
            Outcome::Revoked => self.distrust(token, CloseCode::AuthFailed.into()),
        }
    }

    /// Whether a link comes from this machine, where such are exempt from limits.
    fn is_exempt(&self, token: Token) -> bool {
        self.turn.settings.loopback_exempt && self.links.is_local(token)
    }

    /// Which guards are on trial where a link came in.
    fn on_trial(&self, token: Token) -> Guards {
        let listener = self.links.listener(token);
        let settings = listener.map(|by| &self.turn.settings.listeners[usize::from(by.0)]);
        settings.map_or(Guards::NONE, |settings| settings.addresses.on_trial)
    }

    /// Counts a login that is one too many, and tells control of users that never stop.
    fn note_pace(&mut self, token: Token, claimed: &Claimed) {
        let Some(listener) = self.links.listener(token).filter(|_| claimed.pace != Pace::Fine) else {
            return;
        };
        let counted = self.turn.kept_out(listener);
        if claimed.outcome != Outcome::TooOften {
            return counted.on_trial.of(Guard::LoginsPerUser).add(1);
        }
        counted.refused.of(Guard::LoginsPerUser).add(1);
        let session = self.links.session(token).and_then(|key| self.sessions.get(key));
        let user =
            session.filter(|_| claimed.pace == Pace::Flood).and_then(|session| UserId::of(session.user()));
        if let Some(user) = user {
            // It comes again if it finds no room.
            let _told = self.turn.reports.tell(Report::LoginFlood(user));
        }
    }

    /// The claim stands: the link is live, and what the client sent behind its `Auth` is read.
    fn welcome(&mut self, token: Token, claimed: &Claimed) {
        if !self.links.is_authenticating(token) {
            return;
        }
        let Some((key, listener)) = self.links.session(token).zip(self.links.listener(token)) else { return };
        self.turn.counters.authentications.add(1);
        self.sessions.number(key, claimed.epoch);
        let welcome = match claimed.outcome {
            Outcome::Resumed { .. } => Welcome::Resumed,
            _ => Welcome::New,
        };
        self.send_welcome(token, key, listener, welcome);
        if !self.is_exempt(token) {
            let class = self.sessions.get(key).map_or(0, Session::limit_class);
            self.links.meter(&self.turn, token, class);
            let address = self.links.peer(token).and_then(|peer| peer.ip());
            let of_address = self.door.percent(address, self.turn.now);
            self.links.throttle(&self.turn, token, claimed.percent, of_address);
        }
        self.door.welcome(&self.turn, token, listener);
        if let Some(session) = self.sessions.get(key) {
            self.busiest.user(&self.turn, Measure::Accepts, session.user(), 1);
        }
        self.announce_opened(token);
        self.feed(token);
        self.read(token, &mut []);
    }

    /// Tells a client what it was granted, and until when: at its login, or again when its token was renewed.
    fn send_welcome(&mut self, token: Token, key: SessionKey, listener: Listener, why: Welcome) {
        let rule = self.sessions.take_ticket_rule(key);
        let (Some(machine), Some(session)) = (self.links.machine(token), self.sessions.get(key)) else {
            return;
        };
        let tickets = rule.map_or_else(Vec::new, |rule| {
            self.identity.tickets(&mut self.turn, listener, machine, session, rule)
        });
        // A client to which nothing was proved keeps no keys.
        let is_pinned = machine.binding().is_some_and(|(_, suite, _)| !suite.is_unpinned());
        let present = is_pinned.then(|| self.identity.acceptors().of(listener).public());
        let mut welcome = proto::Welcome {
            time_ms: self.turn.wall.0,
            tickets,
            ..welcome(&self.turn.settings, listener, present, session)
        };
        if why == Welcome::Resumed {
            welcome.last_sequence = self.sessions.last_sent(key);
        }
        match why {
            Welcome::New => welcome.secret = self.sessions.secret_of(session).to_vec().into(),
            Welcome::Resumed | Welcome::Renewed => welcome.resumed = true,
        }
        let heartbeat = Duration::from_millis(session.heartbeat_ms().into());
        let end = session.token_expiry();
        if why == Welcome::Renewed {
            self.links.send_with(&mut self.turn, token, 0, |out| frame::encode_welcome(&welcome, out));
        } else {
            let encode = |out: &mut Vec<u8>| frame::encode_welcome(&welcome, out);
            self.links.welcome(&mut self.turn, token, heartbeat, encode);
        }
        welcome.wipe();
        self.links.expires(&self.turn, token, end);
    }
}

/// Why a client is told what it was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Welcome {
    /// Its session begins.
    New,
    /// Its session goes on with this link.
    Resumed,
    /// It has another token.
    Renewed,
}

/// A welcome, but for what belongs to the moment.
fn welcome(
    settings: &Settings,
    listener: Listener,
    present: Option<PublicKey>,
    session: &Session,
) -> proto::Welcome {
    let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    let bytes = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    proto::Welcome {
        session: session.id().to_vec().into(),
        grant_requests: session.grant().requests,
        grant_bytes: session.grant().bytes,
        heartbeat_ms: session.heartbeat_ms(),
        heartbeat_min_ms: millis(settings.heartbeat.min),
        heartbeat_max_ms: millis(settings.heartbeat.max),
        frame_len_max: bytes(settings.rules.frame_len_max),
        record_len_max: bytes(settings.rules.record_len_max),
        user: session.user().to_vec().into(),
        server_keys: present.map_or_else(Vec::new, |present| server_keys(settings, listener, present)),
        auth_expires_ms: session.token_expiry().map_or(0, |end| end.0),
        ..proto::Welcome::default()
    }
}

/// The present key and those to come, without an end: a key is over when the gateway retires it.
fn server_keys(settings: &Settings, listener: Listener, present: PublicKey) -> Vec<proto::ServerKey> {
    let listener = &settings.listeners[usize::from(listener.0)];
    let present = NextKey { key: present, not_before: UnixMillis(0) };
    let announced = |next: &NextKey| proto::ServerKey {
        key: next.key.0.to_vec().into(),
        not_before_ms: next.not_before.0,
        not_after_ms: 0,
        suites: listener.suites_announced.bits(),
    };
    [present].iter().chain(&listener.server_keys_next).map(announced).collect()
}
