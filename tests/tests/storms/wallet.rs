//! The tickets of a client, and what becomes of a link that is opened with a bad one.

use std::time::Duration;

use driver::sim::Rng;
use protocol::UnixMillis;
use protocol::noise::ticket::{CLOCK_SKEW_MAX, Identity, TICKET_LIFETIME, TicketKeys};
use protocol::noise::{StaticKey, Suite};
use protocol::wire::proto::link;

use crate::settings::{GROUP, REALM, SERVER};

/// How a client uses a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Use {
    /// As it is meant.
    Plain,
    /// As it is meant, and keeps it for another time.
    Again,
    /// With somebody else's name in `Auth`.
    OtherUser,
    /// On another device.
    OtherDevice,
    /// With a bit of it turned over.
    Garbled,
    /// With a bit of its secret turned over.
    OtherSecret,
    /// One that was issued a lifetime ago.
    Expired,
    /// One that will be issued later than clocks may differ.
    Early,
    /// One of another group of gateways.
    Foreign,
}

impl Use {
    pub(crate) const ALL: [Self; 9] = [
        Self::Plain,
        Self::Again,
        Self::OtherUser,
        Self::OtherDevice,
        Self::Garbled,
        Self::OtherSecret,
        Self::Expired,
        Self::Early,
        Self::Foreign,
    ];

    /// Whether there is no handshake.
    pub(crate) fn is_bad(self) -> bool {
        self >= Self::Garbled
    }

    /// Whether the answer to the hello is silence. To the other bad ones it is the clear reply.
    pub(crate) fn is_silent(self) -> bool {
        self == Self::OtherSecret
    }

    /// Whether `Auth` is refused.
    pub(crate) fn is_lie(self) -> bool {
        matches!(self, Self::OtherUser | Self::OtherDevice)
    }
}

/// A ticket with its secret.
#[derive(Clone)]
pub(crate) struct Ticket {
    pub(crate) ticket: Vec<u8>,
    pub(crate) psk: [u8; 32],
    /// Until when it is good, as the gateway says.
    expires_ms: u64,
}

/// Unused tickets of the last welcome.
#[derive(Default)]
pub(crate) struct Wallet(Vec<Ticket>);

impl Wallet {
    /// A welcome's tickets take the place of those before.
    pub(crate) fn fill(&mut self, tickets: &[link::Ticket]) {
        let kept = |ticket: &link::Ticket| Ticket {
            ticket: ticket.ticket.to_vec(),
            psk: (&*ticket.psk).try_into().expect("a secret has 32 bytes"),
            expires_ms: ticket.expires_ms,
        };
        self.0 = tickets.iter().map(kept).collect();
    }

    /// Takes a ticket, to use it as it is meant.
    pub(crate) fn take_plain(&mut self) -> Option<(Ticket, Use)> {
        Some((self.0.pop()?, Use::Plain))
    }

    /// Takes a ticket, if there is one and the client wants to use it.
    pub(crate) fn take(&mut self, user: &str, wall: UnixMillis, rng: &mut Rng) -> Option<(Ticket, Use)> {
        // One that ends soon may have ended when the hello arrives.
        self.0.retain(|ticket| ticket.expires_ms > wall.0 + millis(Duration::from_mins(1)));
        if self.0.is_empty() || rng.one_in(4) {
            return None;
        }
        let how = if rng.one_in(2) { Use::ALL[rng.below(Use::ALL.len())] } else { Use::Plain };
        let mut ticket = if how == Use::Again { self.0.last()?.clone() } else { self.0.pop()? };
        let turned = 1 << rng.below(8);
        match how {
            Use::Plain | Use::Again | Use::OtherUser | Use::OtherDevice => {}
            Use::Garbled => {
                let place = rng.below(ticket.ticket.len());
                ticket.ticket[place] ^= turned;
            }
            Use::OtherSecret => ticket.psk[rng.below(32)] ^= turned,
            Use::Expired => ticket = forged(GROUP, user, UnixMillis(wall.0 - millis(TICKET_LIFETIME))),
            Use::Early => {
                // The clock goes on before the hello arrives, by less than a minute in a storm.
                let ahead = millis(CLOCK_SKEW_MAX + Duration::from_mins(10));
                ticket = forged(GROUP, user, UnixMillis(wall.0 + ahead));
            }
            Use::Foreign => ticket = forged([7; 32], user, wall),
        }
        Some((ticket, how))
    }
}

/// A ticket as a gateway with this group key would have issued it.
fn forged(group: [u8; 32], user: &str, issued: UnixMillis) -> Ticket {
    let psk = [3; 32];
    let identity = Identity {
        psk: psk.into(),
        origin_suite: Suite::NkAesGcm,
        server_key_id: StaticKey::from_secret(SERVER).public().key_id(),
        issued,
        auth_time: issued,
        login: 0,
        token_exp: None,
        end: None,
        epoch: 0,
        user: user.into(),
        device: b"device".to_vec(),
        device_key: None,
        bound_key: None,
        class: protocol::DeviceClass::Unknown,
        limit_class: Vec::new(),
    };
    let keys = TicketKeys::new(group, REALM, issued);
    let ticket = keys.issue(&identity, &[6; 16]).expect("the identity is whole");
    Ticket { ticket, psk, expires_ms: u64::MAX }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("hours fit")
}
