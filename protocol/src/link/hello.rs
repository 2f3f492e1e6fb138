//! The first bytes of a link, judged before any curve operation. SPEC.md, section "Preamble and gate".

use crate::buffer::Input;
use crate::error::Error;
use crate::limits::{CLEAR_REPLY_LEN, HELLO_LEN_MAX};
use crate::noise::preamble::{ClearReply, Hello, Rejection, VERSION, VERSIONS};
use crate::noise::ticket::TicketKeys;
use crate::noise::{Gate, KeyId, PublicKey, StaticKey, Suite, Suites};

/// What the gateway's end needs to judge and answer a hello. Each worker has its own.
#[derive(Debug)]
pub struct Acceptor {
    pub(crate) key: StaticKey,
    key_id: KeyId,
    gate: Gate,
    retired: Vec<(KeyId, Gate)>,
    suites: Suites,
    pub(crate) tickets: Option<TicketKeys>,
}

impl Acceptor {
    /// For a static key, the suites allowed on this listener, public keys that are no longer served but still
    /// recognised, and the keys that tickets are sealed with (without them tickets are refused).
    #[must_use]
    pub fn new(key: StaticKey, suites: Suites, retired: &[PublicKey], tickets: Option<TicketKeys>) -> Self {
        Self {
            key_id: key.public().key_id(),
            gate: Gate::new(&key.public()),
            key,
            retired: retired.iter().map(|public| (public.key_id(), Gate::new(public))).collect(),
            suites,
            tickets,
        }
    }

    /// The key clients must know.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// The keys that tickets are sealed with.
    #[must_use]
    pub const fn tickets(&self) -> Option<&TicketKeys> {
        self.tickets.as_ref()
    }

    /// The same, to rotate them.
    pub const fn tickets_mut(&mut self) -> Option<&mut TicketKeys> {
        self.tickets.as_mut()
    }

    /// The suites allowed.
    #[must_use]
    pub const fn suites(&self) -> Suites {
        self.suites
    }

    /// Checks gate tag, version, suite and key of a complete hello.
    pub(crate) fn judge(&self, hello: &Hello<'_>) -> Result<Suite, Error> {
        let passes = |gate: &Gate| {
            gate.verify(&hello.preamble.fixed(), hello.ticket, hello.message_1, &hello.preamble.tag)
        };
        if hello.preamble.key_id != self.key_id {
            let retired = self.retired.iter().find(|(id, _)| *id == hello.preamble.key_id);
            return Err(if retired.is_some_and(|(_, gate)| passes(gate)) {
                Error::RetiredKey
            } else {
                Error::Gate
            });
        }
        if !passes(&self.gate) {
            return Err(Error::Gate);
        }
        if hello.preamble.version != VERSION {
            return Err(Error::Version);
        }
        match Suite::from_byte(hello.preamble.suite) {
            Some(suite) if self.suites.contains(suite) && !suite.is_stream() => {
                if suite.is_ticket() == hello.ticket.is_empty() { Err(Error::Preamble) } else { Ok(suite) }
            }
            _ => Err(Error::Suite),
        }
    }

    /// The clear reply to a hello that passed the gate but cannot be served.
    pub(crate) fn clear_reply(&self, error: Error) -> Option<[u8; CLEAR_REPLY_LEN]> {
        let reason = match error {
            Error::Version => Rejection::Version,
            Error::Suite => Rejection::Suite,
            Error::RetiredKey => Rejection::RetiredKey,
            _ => return None,
        } as u8;
        Some(ClearReply { reason, versions: VERSIONS, suites: self.suites, key_id: self.key_id }.encode())
    }
}

/// Gathers a hello from the input: whether it is complete. Refuses as soon as a byte shows that it never will be.
pub(crate) fn gather(input: &mut Input<'_>) -> Result<bool, Error> {
    input.gather(HELLO_LEN_MAX);
    let unread = input.unread();
    let gathered = input.gathered();
    match Hello::decode(gathered)? {
        None => Ok(false),
        // Without message 2 the client has no keys and can have nothing to say.
        Some((_, len)) if len < gathered.len() || unread > 0 => Err(Error::Early),
        Some(_) => Ok(true),
    }
}

/// The parts of bytes that [`gather`] found complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Hello<'_>, Error> {
    Hello::decode(bytes)?.map(|(hello, _)| hello).ok_or(Error::Preamble)
}
