//! Who a client is: by token, which is judged here or by a backend, or by ticket.
//!
//! What a token is worth, a provider of `crate::identity` says; `waiting` are those for which it takes work; `verdict` hears backends out, `asked` keeps what they were asked; `ticket` makes
//! tickets for the next connects.

mod asked;
mod ticket;
mod verdict;
mod waiting;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use driver::Token;
use protocol::link::ServerLink;
use protocol::noise::Bound;
use protocol::noise::ticket::Identity as Ticketed;
use protocol::wire::frame::Auth;
use protocol::{CloseCode, DeviceClass};

pub(super) use self::verdict::{Proved, Verdict};
pub(super) use self::waiting::Kept;

use self::asked::Asked;
use self::waiting::Waiting;
use super::acceptors::Acceptors;
use super::settings;
use super::turn::Turn;
use crate::collections::HashKey;
use crate::counters::Counters;
use crate::identity::{Delegated, Development, Good, Opinion, Presented, Provider, Signed};
use crate::session::{Proof, TicketRule};
use crate::tokens::{Binding, Flaw, Verifier};

/// Decides who clients are.
#[derive(Debug)]
pub(super) struct Judge {
    acceptors: Acceptors,
    /// Key of the hash that names logins, the same on all gateways of a group.
    group: HashKey,
    provider: Box<dyn Provider>,
    waiting: Waiting,
    asked: Asked,
}

/// What can be said of a client at once.
#[derive(Debug)]
pub(super) enum Judged<'a> {
    /// It is this user.
    Known {
        /// The user's id.
        user: Cow<'a, [u8]>,
        /// How that was proved.
        proof: Proof,
    },
    /// It is not who it says.
    Refused(CloseCode),
    /// To say that takes work of this length.
    Work(Duration),
    /// A backend has to say who it is.
    Asked,
}

impl Judge {
    /// Nobody is judged yet. `hash` is the key of hashes that attackers must not predict.
    pub(super) fn new(
        settings: &settings::Settings,
        acceptors: Acceptors,
        group: HashKey,
        hash: HashKey,
    ) -> Self {
        let (mut asked_max, mut waiting_max) = (0, 0);
        let provider: Box<dyn Provider> = match &settings.auth {
            settings::Auth::Development { token } => Box::new(Development::new(token.clone())),
            settings::Auth::Delegated { in_flight_max, .. } => {
                asked_max = *in_flight_max;
                Box::new(Delegated)
            }
            settings::Auth::Jwt { verifier, in_flight_max, remembered } => {
                waiting_max = *in_flight_max;
                Box::new(Signed::new(Arc::clone(verifier), *remembered, hash))
            }
        };
        Self { acceptors, group, provider, waiting: Waiting::new(waiting_max), asked: Asked::new(asked_max) }
    }

    /// The server's ends of handshakes.
    pub(super) const fn acceptors(&self) -> &Acceptors {
        &self.acceptors
    }

    /// Looks at an `Auth`, the first frame of a link or a later one. Work is done only if it `may_work`: when there is time for
    /// it.
    pub(super) fn judge<'a>(
        &mut self,
        turn: &Turn,
        machine: &'a ServerLink,
        auth: &Auth<'a>,
        may_work: bool,
    ) -> Judged<'a> {
        if let Some(ticketed) = machine.identity() {
            return judge_ticket(turn, machine, ticketed, auth);
        }
        let presented = Presented { token: auth.token, user: auth.user, now: turn.wall };
        match self.provider.judge(presented, may_work, &turn.counters) {
            Opinion::Good(good) => self.known(turn, machine, auth, good),
            Opinion::Bad(code) => Judged::Refused(code),
            Opinion::Work(cost) => Judged::Work(cost),
            Opinion::Backend => Judged::Asked,
        }
    }

    /// A good token is its owner's if it is bound to no key, or the client has proved that key. Where nobody has proved to the
    /// client who it talks to, only a token counts that names the key of this handshake: no other link can pass that one on.
    fn known<'a>(&self, turn: &Turn, machine: &ServerLink, auth: &Auth<'a>, good: Good<'a>) -> Judged<'a> {
        let Some((h, suite, peer)) = machine.binding() else { return Judged::Refused(CloseCode::AuthFailed) };
        let tickets = match good.binding {
            None if !suite.is_unpinned() => Some(TicketRule::default()),
            // A link with a ticket would not prove that key.
            Some(Binding::Static(key)) if peer.is_some_and(|peer| peer.0 == key) => None,
            Some(Binding::Signing(key))
                if !suite.is_unpinned() && Bound::Token(auth.token).is_signed(h, &key, auth.signature) =>
            {
                Some(TicketRule { end: None, bound_key: Some(key) })
            }
            _ => {
                turn.counters.token_flaws.of(Flaw::Binding).add(1);
                return Judged::Refused(CloseCode::AuthFailed);
            }
        };
        let login = self.name_of_login(&good.login);
        let proof = Proof {
            login,
            time: turn.wall,
            issued: good.issued,
            expiry: good.expiry,
            tickets,
            class: good.class.or(DeviceClass::of(auth.class)),
            limit_class: limit_class(turn, good.limit_class.as_bytes()),
        };
        Judged::Known { user: good.user, proof }
    }

    /// Keeps an `Auth` until there is time for it, unless too many wait, or another one of its link does.
    pub(super) fn keep(&mut self, link: Token, auth: &Auth<'_>) -> bool {
        self.waiting.keep(link, auth)
    }

    /// Whether an `Auth` of a link waits.
    pub(super) fn is_kept(&self, link: Token) -> bool {
        self.waiting.has(link)
    }

    /// Takes out the `Auth` of a link for which there is time now.
    pub(super) fn take(&mut self, link: Token) -> Option<Kept> {
        self.waiting.take(link)
    }

    /// Tokens are verified by other keys from now on.
    pub(super) fn replace_keys(&mut self, verifier: Arc<Verifier>) {
        self.provider.replace(verifier);
    }

    /// By what claims and tickets know the login of this name: a token's id, or what a backend called it. One without a name has
    /// that of its token.
    pub(super) fn name_of_login(&self, name: &[u8]) -> u64 {
        self.group.hash(name)
    }

    /// Copies what is not counted where it happens.
    pub(super) fn publish(&self, counters: &Counters) {
        counters.authentications_in_flight.set(self.asked.len() as u64);
        counters.tokens_waiting.set(self.waiting.len() as u64);
        counters.tokens_remembered.set(self.provider.remembered() as u64);
    }
}

/// The number of a class of accounts, by its name; zero without one, and for one that the config does not know.
fn limit_class(turn: &Turn, name: &[u8]) -> u8 {
    if name.is_empty() {
        return 0;
    }
    let place = turn.settings.classes.iter().position(|class| class.as_bytes() == name);
    turn.counters.limit_classes_unknown.add(place.is_none().into());
    place.and_then(|place| u8::try_from(place + 1).ok()).unwrap_or(0)
}

/// A ticket replaces the token, not the checks.
fn judge_ticket<'a>(
    turn: &Turn,
    machine: &'a ServerLink,
    ticketed: &'a Ticketed,
    auth: &Auth<'a>,
) -> Judged<'a> {
    let same = auth.device == ticketed.device && (auth.user.is_empty() || auth.user == ticketed.user);
    if !same || !auth.token.is_empty() || !machine.owns_ticket(auth.signature) {
        return Judged::Refused(CloseCode::AuthFailed);
    }
    let Ticketed { login, auth_time: time, token_exp: expiry, end, bound_key, .. } = *ticketed;
    let tickets = Some(TicketRule { end, bound_key });
    let limit_class = limit_class(turn, &ticketed.limit_class);
    let class = ticketed.class;
    let proof = Proof { login, time, issued: time, expiry, tickets, class, limit_class };
    Judged::Known { user: Cow::Borrowed(&ticketed.user), proof }
}

#[cfg(test)]
mod tests;
