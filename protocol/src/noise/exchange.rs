//! What travels before the first record, the same on links and streams: a hello one way, message 2 or the clear reply the
//! other.
//!
//! ```text
//! Call::write ──hello──► Hello::decode ─► answer      of a version and suite known here
//!                        Foreign::receive             of others: passed through the gate, and not kept
//! read_answer ◄──message 2─────────────── answer
//!        └─► Secrets, offer, and with XX message 3
//! ```

use ring::hmac;

use super::gate::Gate;
use super::handshake::{Initiator, Responder, Secrets, Unfinished, prologue};
use super::keys::{KeyId, PublicKey, StaticKey};
use super::preamble::{ClearReply, Hello, Preamble, VERSION, VERSIONS, decode_offer, encode_offer};
use super::suite::{Suite, Suites};
use crate::buffer::Input;
use crate::error::Error;
use crate::limits::{
    CLEAR_REPLY_LEN, GATE_TAG_LEN, MESSAGE_1_LEN_MAX_UNKNOWN, MESSAGE_2_LEN_MAX, MESSAGE_3_LEN,
    RECORD_HEADER_LEN,
};

/// How an initiator opens a connection.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The suite to use.
    pub(crate) suite: Suite,
    /// The suites to offer.
    pub(crate) offered: Suites,
    /// The server's key, and its gate; none with XX, and with no other suite.
    pub(crate) server: Option<(&'a PublicKey, &'a Gate)>,
    /// The ticket, or what else the suite puts into its field.
    pub(crate) ticket: &'a [u8],
    /// The secret of a ticket.
    pub(crate) psk: Option<&'a [u8; 32]>,
    /// The initiator's own key, with suites that prove it.
    pub(crate) local: Option<&'a StaticKey>,
    /// Fresh randomness.
    pub(crate) ephemeral: [u8; 32],
}

impl Call<'_> {
    /// Appends the hello.
    ///
    /// # Errors
    /// [`Error::Ticket`] for a ticket too long to be said, [`Error::Suite`] for a server's key where none is known or none
    /// where one is, and those of [`Initiator::create`]. `out` is as before then.
    pub(crate) fn write(self, out: &mut Vec<u8>) -> Result<Initiator, Error> {
        let Self { suite, server, ticket, .. } = self;
        if server.is_none() != suite.is_unpinned() {
            return Err(Error::Suite);
        }
        let mut preamble = Preamble {
            version: VERSION,
            suite: suite.byte(),
            key_id: server.map_or_else(KeyId::default, |(key, _)| key.key_id()),
            versions: VERSIONS,
            suites: self.offered,
            ticket_len: u16::try_from(ticket.len()).map_err(|_| Error::Ticket)?,
            tag: [0; GATE_TAG_LEN],
        };
        let fixed = preamble.fixed();
        let mut message_1 = Vec::with_capacity(suite.message_1_len());
        let remote = server.map(|(key, _)| key).filter(|_| !suite.is_ticket());
        let prologue = prologue(&fixed, ticket);
        let initiator = Initiator::create(
            suite,
            self.local,
            remote,
            self.psk,
            &prologue,
            self.ephemeral,
            &mut message_1,
        )?;
        if let Some((_, gate)) = server {
            preamble.tag = gate.tag(&fixed, ticket, &message_1);
        }
        Hello { preamble, ticket, message_1: &message_1 }.encode(out);
        Ok(initiator)
    }
}

/// Does the curve work of a hello and appends message 2 with its length, and the offer in it.
///
/// # Errors
/// Those of [`Responder::respond`]. `out` is as before then.
pub(crate) fn answer(
    responder: Responder<'_>,
    message_1: &[u8],
    suites: Suites,
    out: &mut Vec<u8>,
) -> Result<Secrets, Error> {
    with_length(out, |out| responder.respond(message_1, &encode_offer(VERSIONS, suites), out))
}

/// The same with XX, where message 3 is to follow.
///
/// # Errors
/// Those of [`Responder::begin`]. `out` is as before then.
pub(crate) fn begin_answer(
    responder: Responder<'_>,
    message_1: &[u8],
    suites: Suites,
    out: &mut Vec<u8>,
) -> Result<Unfinished, Error> {
    with_length(out, |out| responder.begin(message_1, &encode_offer(VERSIONS, suites), out))
}

/// Appends a message with its length before it. On an error `out` is as before.
fn with_length<T>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<T, Error>,
) -> Result<T, Error> {
    let length_at = out.len();
    out.extend_from_slice(&[0; RECORD_HEADER_LEN]);
    let written = write(out).inspect_err(|_| out.truncate(length_at))?;
    let length = u16::try_from(out.len() - length_at - RECORD_HEADER_LEN).expect("the message is short");
    out[length_at..length_at + RECORD_HEADER_LEN].copy_from_slice(&length.to_be_bytes());
    Ok(written)
}

/// Gathers message 3; whether it is complete.
///
/// # Errors
/// [`Error::HandshakeLength`] as soon as its length shows that it is none.
pub(crate) fn gather_last(input: &mut Input<'_>) -> Result<bool, Error> {
    if !input.gather(RECORD_HEADER_LEN) {
        return Ok(false);
    }
    let len = usize::from(u16::from_be_bytes([input.gathered()[0], input.gathered()[1]]));
    if len != MESSAGE_3_LEN {
        return Err(Error::HandshakeLength(len));
    }
    Ok(input.gather(RECORD_HEADER_LEN + len))
}

/// Gathers message 2; whether it is complete.
///
/// # Errors
/// [`Error::Rejected`] when the clear reply stands in its place, [`Error::HandshakeLength`] when it is too long.
pub(crate) fn gather_answer(input: &mut Input<'_>) -> Result<bool, Error> {
    if !input.gather(RECORD_HEADER_LEN) {
        return Ok(false);
    }
    if ClearReply::announced(input.gathered()) == Some(true) {
        input.gather(CLEAR_REPLY_LEN);
        let reply = ClearReply::decode(input.gathered())?;
        return reply.map_or(Ok(false), |reply| Err(Error::Rejected(reply.reason)));
    }
    let len = usize::from(u16::from_be_bytes([input.gathered()[0], input.gathered()[1]]));
    if len > MESSAGE_2_LEN_MAX {
        return Err(Error::HandshakeLength(len));
    }
    Ok(input.gather(RECORD_HEADER_LEN + len))
}

/// Reads the message 2 that [`gather_answer`] found complete: the keys, and the suites the responder speaks. With XX message 3
/// is appended to `out`, with its length; nothing with other suites.
///
/// # Errors
/// Those of [`Initiator::conclude`]; [`Error::Downgrade`] when the responder speaks a higher version that we speak, too,
/// or not the one in use.
pub(crate) fn read_answer(
    initiator: Initiator,
    input: &mut Input<'_>,
    out: &mut Vec<u8>,
) -> Result<(Secrets, Suites), Error> {
    let mut payload = Vec::new();
    let message_2 = &input.gathered()[RECORD_HEADER_LEN..];
    let secrets = if initiator.suite().is_unpinned() {
        with_length(out, |out| initiator.conclude(message_2, &mut payload, out))?
    } else {
        initiator.consume(message_2, &mut payload)?
    };
    input.gathered().clear();
    let (versions, suites) = decode_offer(&payload).ok_or(Error::Handshake)?;
    if (versions & VERSIONS).checked_ilog2() != Some(VERSION.into()) {
        return Err(Error::Downgrade);
    }
    Ok((secrets, suites))
}

/// A hello of a version or suite that is not known here, on its way through the gate. Only its tag is of interest, so
/// that a client from the future gets a clear reply and a stranger none: the bytes are hashed as they come, and none is
/// kept.
#[derive(Clone)]
pub(crate) struct Foreign {
    context: hmac::Context,
    tag: [u8; GATE_TAG_LEN],
    /// Bytes of the ticket field that are still to come.
    ticket: u16,
    /// What has come of the length of message 1.
    length: [u8; 2],
    length_at: u8,
    /// Bytes of message 1 that are still to come, once its length is known.
    message: u16,
}

impl Foreign {
    pub(crate) fn new(preamble: &Preamble, gate: &Gate) -> Self {
        let mut context = gate.context();
        context.update(&preamble.fixed());
        Self {
            context,
            tag: preamble.tag,
            ticket: preamble.ticket_len,
            length: [0; 2],
            length_at: 0,
            message: 0,
        }
    }

    /// Takes bytes behind the preamble. Whether the tag is right, once the hello is complete.
    ///
    /// # Errors
    /// [`Error::HandshakeLength`] for a message 1 of no or too many bytes, [`Error::Early`] for bytes behind it.
    pub(crate) fn receive(&mut self, mut bytes: &[u8]) -> Result<Option<bool>, Error> {
        self.take(&mut bytes, |foreign| &mut foreign.ticket);
        while self.length_at < 2
            && let Some((&byte, rest)) = bytes.split_first()
            && self.ticket == 0
        {
            self.length[usize::from(self.length_at)] = byte;
            self.length_at += 1;
            bytes = rest;
            if self.length_at == 2 {
                self.message = u16::from_be_bytes(self.length);
                let len = usize::from(self.message);
                if !(1..=MESSAGE_1_LEN_MAX_UNKNOWN).contains(&len) {
                    return Err(Error::HandshakeLength(len));
                }
                self.context.update(&self.length);
            }
        }
        self.take(&mut bytes, |foreign| &mut foreign.message);
        if !bytes.is_empty() {
            return Err(Error::Early);
        }
        let is_complete = self.length_at == 2 && self.message == 0;
        Ok(is_complete.then(|| Gate::is_tag(self.context.clone(), &self.tag)))
    }

    /// Hashes as many bytes as are still to come of a part.
    fn take(&mut self, bytes: &mut &[u8], part: impl Fn(&mut Self) -> &mut u16) {
        let len = bytes.len().min(usize::from(*part(self)));
        let (taken, rest) = bytes.split_at(len);
        self.context.update(taken);
        *part(self) -= len as u16;
        *bytes = rest;
    }
}

impl std::fmt::Debug for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Foreign(*** {} and {} to come)", self.ticket, self.message)
    }
}
