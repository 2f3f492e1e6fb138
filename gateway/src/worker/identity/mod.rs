//! Who a client is: by development token, by ticket, or by the word of a backend.
//!
//! `ticket` makes tickets for the next connects, `verdict` hears backends out, `asked` keeps what they were asked.

mod asked;
mod ticket;
mod verdict;

use protocol::link::ServerLink;
use protocol::noise::ticket::Identity as Ticketed;
use protocol::wire::frame::Auth;

pub(super) use self::verdict::{Proved, Verdict};

use self::asked::Asked;
use super::acceptors::Acceptors;
use super::settings;
use super::turn::Turn;
use crate::collections::HashKey;
use crate::counters::Counters;
use crate::session::{Proof, TicketRule};

/// Decides who clients are.
#[derive(Debug)]
pub(super) struct Judge {
    acceptors: Acceptors,
    /// Key of the hash that names logins, the same on all gateways of a group.
    group: HashKey,
    asked: Asked,
}

/// What can be said of a client at once.
#[derive(Debug)]
pub(super) enum Judged<'a> {
    /// It is this user.
    Known {
        /// The user's id.
        user: &'a [u8],
        /// How that was proved.
        proof: Proof,
    },
    /// It is not who it says.
    Refused,
    /// A backend has to say who it is.
    Asked,
}

impl Judge {
    /// Nobody is judged yet.
    pub(super) fn new(settings: &settings::Settings, acceptors: Acceptors, group: HashKey) -> Self {
        Self { acceptors, group, asked: Asked::new(settings.auth.in_flight_max()) }
    }

    /// The server's ends of handshakes.
    pub(super) const fn acceptors(&self) -> &Acceptors {
        &self.acceptors
    }

    /// Looks at the first frame of a link.
    pub(super) fn judge<'a>(&self, turn: &Turn, machine: &'a ServerLink, auth: &Auth<'a>) -> Judged<'a> {
        if let Some(ticketed) = machine.identity() {
            return judge_ticket(machine, ticketed, auth);
        }
        match &turn.settings.auth {
            settings::Auth::Development { token } if !token.matches(auth.token) => Judged::Refused,
            settings::Auth::Development { .. } => {
                let login = self.login(auth.token);
                let tickets = Some(TicketRule::default());
                let proof = Proof { login, time: turn.wall, expiry: None, tickets };
                Judged::Known { user: auth.user, proof }
            }
            settings::Auth::Delegated { .. } => Judged::Asked,
        }
    }

    /// The name of the login that a token proves, or that its judge gave it.
    fn login(&self, token: &[u8]) -> u64 {
        self.group.hash(token)
    }

    /// Copies what is not counted where it happens.
    pub(super) fn publish(&self, counters: &Counters) {
        counters.authentications_in_flight.set(self.asked.len() as u64);
    }
}

/// A ticket replaces the token, not the checks.
fn judge_ticket<'a>(machine: &'a ServerLink, ticketed: &'a Ticketed, auth: &Auth<'a>) -> Judged<'a> {
    let same = auth.device == ticketed.device && (auth.user.is_empty() || auth.user == ticketed.user);
    if !same || !auth.token.is_empty() || !machine.owns_ticket(auth.signature) {
        return Judged::Refused;
    }
    let Ticketed { login, auth_time: time, token_exp: expiry, end, bound_key, .. } = *ticketed;
    let proof = Proof { login, time, expiry, tickets: Some(TicketRule { end, bound_key }) };
    Judged::Known { user: &ticketed.user, proof }
}

#[cfg(test)]
mod tests;
