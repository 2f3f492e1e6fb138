//! Tickets of earlier links: each opens one later link without a token. SPEC.md, section 5.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use protocol::Time;
use protocol::limits::TICKET_LEN_MAX;
use protocol::noise::ticket::TICKET_LIFETIME;
use protocol::noise::{Cipher, Suite, Suites};
use protocol::wire::proto::link::Welcome;
use zeroize::Zeroizing;

/// A ticket and its secret.
pub(crate) struct Ticket {
    pub(crate) ticket: Bytes,
    pub(crate) psk: Zeroizing<[u8; 32]>,
    /// With the cipher of the link it came from: the gateway allows that one.
    pub(crate) suite: Suite,
    /// On our own clock, so that a wrong wall clock at this end does no harm.
    pub(crate) until: Time,
}

/// Unused tickets, newest first.
#[derive(Debug, Default)]
pub(crate) struct Tickets(VecDeque<Ticket>);

/// The most that are kept: those of two links.
pub(crate) const TICKETS_MAX: usize = 4;

impl Tickets {
    /// Keeps the tickets of a `Welcome` on a link of this cipher, and skips those out of bounds.
    pub(crate) fn learn(&mut self, welcome: &Welcome, cipher: Cipher, now: Time) {
        let suite = Suite::of_ticket(cipher);
        for ticket in &welcome.tickets {
            let left = ticket.expires_ms.saturating_sub(welcome.time_ms);
            let psk = ticket.psk.as_ref().try_into().map(Zeroizing::new);
            if let (Ok(psk), 1..=TICKET_LEN_MAX, 1..) = (psk, ticket.ticket.len(), left) {
                // Whatever the gateway says: the thief of a secret can pose as the gateway for as long as it is used.
                let until = now + Duration::from_millis(left).min(TICKET_LIFETIME);
                // Copied, or it would keep the memory of the whole Welcome.
                let ticket = Bytes::copy_from_slice(&ticket.ticket);
                self.0.push_front(Ticket { ticket, psk, suite, until });
            }
        }
        self.0.truncate(TICKETS_MAX);
    }

    /// The newest ticket that is still good; it is not taken again.
    pub(crate) fn take(&mut self, now: Time) -> Option<Ticket> {
        self.0.retain(|ticket| now < ticket.until);
        self.0.pop_front()
    }

    /// All of them, newest first.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Ticket> {
        self.0.iter()
    }

    /// One that was kept, and is older than those that are here.
    pub(crate) fn restore(&mut self, ticket: Ticket) {
        self.0.push_back(ticket);
        self.0.truncate(TICKETS_MAX);
    }

    /// Takes back a ticket that no gateway has used.
    pub(crate) fn put_back(&mut self, ticket: Ticket) {
        self.0.push_front(ticket);
        self.0.truncate(TICKETS_MAX);
    }

    /// Forgets those of suites that the gateway does not speak, as it has said on a link that proved its key.
    pub(crate) fn keep(&mut self, offered: Suites) {
        self.0.retain(|ticket| offered.contains(ticket.suite));
    }

    /// Forgets all of them.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket(*** until {:?})", self.until)
    }
}

#[cfg(test)]
mod tests {
    use protocol::wire::proto::link;

    use super::*;

    const CIPHER: Cipher = Cipher::ChaChaPoly;

    fn welcome(tickets: &[(usize, usize, u64)]) -> Welcome {
        let ticket = |&(name, psk, expires_ms): &(usize, usize, u64)| link::Ticket {
            ticket: vec![7; name].into(),
            psk: vec![1; psk].into(),
            expires_ms,
        };
        Welcome { tickets: tickets.iter().map(ticket).collect(), time_ms: 1_000, ..Welcome::default() }
    }

    #[test]
    fn each_is_taken_once_while_it_is_good() {
        let mut tickets = Tickets::default();
        tickets.learn(&welcome(&[(10, 32, 1_500), (11, 32, 3_000)]), CIPHER, Time::ZERO);
        let at = |millis| Time::ZERO + Duration::from_millis(millis);
        assert_eq!(tickets.take(at(499)).map(|ticket| ticket.ticket.len()), Some(11));
        assert!(tickets.take(at(500)).is_none(), "the other one is over");
    }

    #[test]
    fn none_lives_longer_than_half_a_day_whatever_was_said() {
        let mut tickets = Tickets::default();
        tickets.learn(&welcome(&[(9, 32, u64::MAX)]), CIPHER, Time::ZERO);
        assert!(tickets.take(Time::ZERO + TICKET_LIFETIME).is_none());
    }

    #[test]
    fn those_of_suites_that_are_not_offered_any_more_are_forgotten() {
        let mut tickets = Tickets::default();
        tickets.learn(&welcome(&[(9, 32, 9_000)]), Cipher::AesGcm, Time::ZERO);
        tickets.learn(&welcome(&[(10, 32, 9_000)]), Cipher::ChaChaPoly, Time::ZERO);
        tickets.keep(Suites::of(&[Suite::Nnpsk0AesGcm]));
        assert_eq!(tickets.take(Time::ZERO).map(|ticket| ticket.ticket.len()), Some(9));
        assert!(tickets.take(Time::ZERO).is_none());
    }

    #[test]
    fn those_out_of_bounds_are_skipped_and_only_a_few_are_kept() {
        let mut tickets = Tickets::default();
        let wrong = welcome(&[(0, 32, 9_000), (513, 32, 9_000), (9, 31, 9_000), (9, 32, 1_000)]);
        tickets.learn(&wrong, CIPHER, Time::ZERO);
        assert!(tickets.take(Time::ZERO).is_none());
        for _ in 0..10 {
            tickets.learn(&welcome(&[(9, 32, 9_000), (10, 32, 9_000)]), CIPHER, Time::ZERO);
        }
        assert_eq!(tickets.0.len(), TICKETS_MAX);
    }
}
