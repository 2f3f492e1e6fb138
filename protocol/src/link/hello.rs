//! The first bytes of a link, judged before any curve operation. SPEC.md, section "Preamble and gate".

use crate::buffer::Input;
use crate::error::Error;
use crate::limits::{CLEAR_REPLY_LEN, GATE_TAG_LEN, HELLO_LEN_MAX, PREAMBLE_LEN};
use crate::noise::exchange::Foreign;
use crate::noise::preamble::{ClearReply, Hello, Preamble, Rejection, VERSION, VERSIONS};
use crate::noise::ticket::{Identity, TicketKeys};
use crate::noise::{Cipher, Gate, KeyId, PublicKey, StaticKey, Suite, Suites};
use crate::time::UnixMillis;

/// What the gateway's end needs to judge and answer a hello. Each worker has its own.
#[derive(Debug)]
pub struct Acceptor {
    pub(crate) key: StaticKey,
    key_id: KeyId,
    gate: Gate,
    retired: Vec<(KeyId, Gate)>,
    suites: Suites,
    tickets: Option<TicketKeys>,
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

    /// Whether a client that has a link of this cipher could use a ticket here.
    #[must_use]
    pub const fn takes_tickets(&self, cipher: Cipher) -> bool {
        self.tickets.is_some() && self.suites.contains(Suite::of_ticket(cipher))
    }

    /// What the owner of a good ticket said when it was proved, as far as it is worth anything on this listener: issued
    /// under the key clients must know now, and begun with a suite that is allowed.
    ///
    /// # Errors
    /// [`Error::Ticket`].
    pub(crate) fn open_ticket(&self, ticket: &[u8], wall: UnixMillis) -> Result<Identity, Error> {
        let identity = self.tickets.as_ref().ok_or(Error::Ticket)?.open(ticket, wall)?;
        let holds = identity.server_key_id == self.key_id && self.suites.contains(identity.origin_suite);
        if holds { Ok(identity) } else { Err(Error::Ticket) }
    }

    /// The gate of a current or retired key, and whether it is retired.
    fn gate(&self, id: KeyId) -> Option<(&Gate, bool)> {
        if id == self.key_id {
            return Some((&self.gate, false));
        }
        self.retired.iter().find(|(retired, _)| *retired == id).map(|(_, gate)| (gate, true))
    }

    /// Whether this hello need not know the key: it is of a suite where nobody does, and no other suite is served here, so that
    /// nothing is shown of a key that others know.
    fn is_ungated(&self, preamble: &Preamble) -> bool {
        self.suites.are_unpinned() && preamble.known_suite().is_some_and(Suite::is_unpinned)
    }

    /// Checks gate tag, version, suite and key of a complete hello of a suite of ours.
    pub(crate) fn judge(&self, hello: &Hello<'_>) -> Result<Suite, Error> {
        let Hello { preamble, ticket, message_1 } = hello;
        if self.is_ungated(preamble) {
            return self.judge_ungated(preamble);
        }
        let (gate, _) = self.gate(preamble.key_id).ok_or(Error::Gate)?;
        if !gate.verify(&preamble.fixed(), ticket, message_1, &preamble.tag) {
            return Err(Error::Gate);
        }
        if let Some(error) = self.unservable(preamble) {
            return Err(error);
        }
        let suite = preamble.known_suite().ok_or(Error::Suite)?;
        if !preamble.offers_what_it_uses() || suite.is_ticket() == ticket.is_empty() {
            return Err(Error::Preamble);
        }
        Ok(suite)
    }

    /// The same where there is no gate: key id and tag are zeros.
    fn judge_ungated(&self, preamble: &Preamble) -> Result<Suite, Error> {
        let suite =
            preamble.known_suite().filter(|suite| self.suites.contains(*suite)).ok_or(Error::Suite)?;
        let is_blank = preamble.key_id == KeyId::default() && preamble.tag == [0; GATE_TAG_LEN];
        if !is_blank || !preamble.offers_what_it_uses() || preamble.ticket_len != 0 {
            return Err(Error::Preamble);
        }
        Ok(suite)
    }

    /// Why a hello that has passed the gate can't be served, for all that its preamble says.
    fn unservable(&self, preamble: &Preamble) -> Option<Error> {
        if preamble.key_id != self.key_id {
            return Some(Error::RetiredKey);
        }
        if preamble.version != VERSION {
            return Some(Error::Version);
        }
        let allowed = preamble.known_suite().is_some_and(|suite| self.suites.contains(suite));
        (!allowed).then_some(Error::Suite)
    }

    /// The clear reply to a hello that passed the gate but cannot be served.
    pub(crate) fn clear_reply(&self, error: Error) -> Option<[u8; CLEAR_REPLY_LEN]> {
        let reason = match error {
            Error::Version => Rejection::Version,
            Error::Suite => Rejection::Suite,
            Error::RetiredKey => Rejection::RetiredKey,
            Error::Ticket => Rejection::TicketRefused,
            _ => return None,
        };
        Some(self.reply(reason, 0).encode())
    }

    /// The clear reply that asks a client to come back after `wait` units of [`crate::limits::BUSY_UNIT`].
    pub(crate) fn busy(&self, wait: u16) -> [u8; CLEAR_REPLY_LEN] {
        self.reply(Rejection::Busy, wait).encode()
    }

    fn reply(&self, reason: Rejection, wait: u16) -> ClearReply {
        ClearReply {
            reason: reason as u8,
            versions: VERSIONS,
            suites: self.suites,
            key_id: self.key_id,
            wait,
        }
    }
}

/// How far the first bytes of a link have come.
#[derive(Debug)]
pub(crate) enum Gathered {
    /// More has to come.
    Part,
    /// A hello of a version and suite of ours is there.
    Whole,
    /// What follows the preamble goes through the gate and is not kept.
    Foreign(Box<Reading>),
}

/// A hello of a version or suite that is not served here, on its way through the gate.
#[derive(Debug)]
pub(crate) struct Reading {
    hello: Foreign,
    /// What it will be told if it passes.
    error: Error,
}

impl Reading {
    /// Reads on: `Ok(false)` until the hello is complete.
    ///
    /// # Errors
    /// Always, once it is: why it is not served, or [`Error::Gate`].
    pub(crate) fn receive(&mut self, input: &mut Input<'_>) -> Result<bool, Error> {
        match self.hello.receive(input.take_unread())? {
            None => Ok(false),
            Some(true) => Err(self.error),
            Some(false) => Err(Error::Gate),
        }
    }
}

/// Gathers a hello from the input. Refuses as soon as a byte shows that it never will be one.
pub(crate) fn gather(input: &mut Input<'_>, acceptor: &Acceptor) -> Result<Gathered, Error> {
    input.gather(PREAMBLE_LEN);
    let Some(preamble) = Preamble::decode(input.gathered())? else { return Ok(Gathered::Part) };
    // No tag tells whether a clear hello is an owner of the key's or a stranger's, so it hears nothing.
    if preamble.is_clear() {
        return Err(Error::Gate);
    }
    if preamble.known_suite().is_none() {
        let (gate, _) = acceptor.gate(preamble.key_id).ok_or(Error::Gate)?;
        let error = acceptor.unservable(&preamble).unwrap_or(Error::Suite);
        input.gathered().clear();
        return Ok(Gathered::Foreign(Box::new(Reading { hello: Foreign::new(&preamble, gate), error })));
    }
    input.gather(HELLO_LEN_MAX);
    let unread = input.unread();
    let gathered = input.gathered();
    match Hello::decode(gathered)? {
        None => Ok(Gathered::Part),
        // Without message 2 the client has no keys and can have nothing to say.
        Some((_, len)) if len < gathered.len() || unread > 0 => Err(Error::Early),
        Some(_) => Ok(Gathered::Whole),
    }
}

/// The parts of bytes that [`gather`] found complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Hello<'_>, Error> {
    Hello::decode(bytes)?.map(|(hello, _)| hello).ok_or(Error::Preamble)
}
