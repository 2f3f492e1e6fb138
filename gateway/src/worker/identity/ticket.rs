//! Tickets for the next connects of a link's device.

use driver::Listener;
use protocol::UnixMillis;
use protocol::link::{Acceptor, ServerLink};
use protocol::noise::ticket::Identity as Ticketed;
use protocol::wire::proto::link::Ticket;
use zeroize::Zeroizing;

use super::Judge;
use crate::config::Secret;
use crate::session::{Session, TicketRule};
use crate::worker::turn::Turn;

/// Tickets a welcome carries: one to use, one in case its use fails.
const TICKETS: usize = 2;

impl Judge {
    /// Tickets for a link that is let in, by the rule of its login. A chain of tickets keeps the time of the login it
    /// began with.
    pub(in crate::worker) fn tickets(
        &mut self,
        turn: &mut Turn,
        listener: Listener,
        machine: &ServerLink,
        session: &Session,
        rule: TicketRule,
    ) -> Vec<Ticket> {
        self.acceptors.advance_tickets(turn.wall);
        let acceptor = self.acceptors.of(listener);
        let cipher = machine.binding().map(|(_, suite, _)| suite.cipher());
        // What would be refused when it is used is not given out.
        if !cipher.is_some_and(|cipher| acceptor.takes_tickets(cipher)) {
            return Vec::new();
        }
        (0..TICKETS).map_while(|_| issue(turn, acceptor, machine, session, rule)).collect()
    }

    /// A new group key was made; see [`Acceptors::rotate_tickets`](crate::worker::acceptors::Acceptors).
    pub(in crate::worker) fn rotate_tickets(&mut self, key: &Secret, wall: UnixMillis) {
        self.acceptors.rotate_tickets(key, wall);
    }
}

/// The name of the account's class: another gateway of the group may know it by another number.
fn class_name(turn: &Turn, session: &Session) -> Vec<u8> {
    let place = usize::from(session.limit_class()).checked_sub(1);
    let name = place.and_then(|place| turn.settings.classes.get(place));
    name.map_or_else(Vec::new, |name| name.clone().into_bytes())
}

fn issue(
    turn: &mut Turn,
    acceptor: &Acceptor,
    machine: &ServerLink,
    session: &Session,
    rule: TicketRule,
) -> Option<Ticket> {
    let mut psk = Zeroizing::new([0; 32]);
    turn.fill(&mut *psk);
    let salt = turn.random();
    let (_, _, device_key) = machine.binding()?;
    let identity = Ticketed {
        psk,
        origin_suite: machine.origin()?,
        server_key_id: acceptor.public().key_id(),
        issued: turn.wall,
        auth_time: session.login(),
        login: session.proof(),
        token_exp: session.token_expiry(),
        end: rule.end,
        epoch: 0,
        user: session.user().to_vec(),
        device: session.device().to_vec(),
        device_key: device_key.copied(),
        bound_key: rule.bound_key,
        class: session.class(),
        limit_class: class_name(turn, session),
    };
    Some(Ticket {
        ticket: acceptor.tickets()?.issue(&identity, &salt).ok()?.into(),
        psk: identity.psk.to_vec().into(),
        expires_ms: identity.expires().0,
    })
}
