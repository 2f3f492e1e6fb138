//! How a stream begins: who the ends are, and the few bytes before the first record.

use std::fmt;
use std::sync::Arc;

use crate::buffer::Input;
use crate::error::Error;
use crate::limits::{CLEAR_REPLY_LEN, PREAMBLE_LEN};
use crate::noise::exchange::{self, Call, Foreign};
use crate::noise::preamble::{ClearReply, Hello, Preamble, Rejection, VERSION, VERSIONS};
use crate::noise::{
    CLEAR_SUITE, Gate, Initiator, KeyId, PublicKey, Responder, StaticKey, Suite, Suites, Transport, prologue,
};
use crate::stream::ephemeral::Ephemeral;
use crate::stream::records::Records;

/// How a gateway opens a stream.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Without encryption: over Unix sockets, and over loopback by explicit opt-in.
    Clear,
    /// Noise KK: each end knows the other's key.
    Kk {
        /// [`Suite::KkChaChaPoly`] or [`Suite::KkAesGcm`].
        suite: Suite,
        /// The gateway's key.
        local: StaticKey,
        /// The backend's key.
        remote: PublicKey,
    },
}

/// Which streams a backend accepts; immutable and shared by all of its streams.
#[derive(Clone, Debug)]
pub struct Access {
    clear: bool,
    kk: Option<Kk>,
}

#[derive(Clone)]
struct Kk {
    key: StaticKey,
    key_id: KeyId,
    gate: Gate,
    gateways: Vec<PublicKey>,
}

impl Access {
    /// Accepts clear streams only. The listener must be a Unix socket, or loopback by explicit opt-in.
    #[must_use]
    pub const fn clear() -> Self {
        Self { clear: true, kk: None }
    }

    /// Accepts KK streams of these gateways only.
    #[must_use]
    pub fn kk(key: StaticKey, gateways: Vec<PublicKey>) -> Self {
        let public = key.public();
        let kk = Kk { key_id: public.key_id(), gate: Gate::new(&public), key, gateways };
        Self { clear: false, kk: Some(kk) }
    }

    /// Judges a complete hello of a suite of ours. `Ok` carries the records and who it is; what has to be answered is
    /// appended to `out`, a clear reply even in case of an error.
    fn answer(
        &self,
        hello: &Hello<'_>,
        ephemeral: &Ephemeral,
        out: &mut Vec<u8>,
    ) -> Result<(Records, Option<PublicKey>), Error> {
        if hello.message_1.is_empty() {
            // There is no tag that could tell whether this is no stranger, hence no clear reply either.
            let Preamble { key_id, tag, .. } = &hello.preamble;
            let is_right =
                hello.preamble.offers_what_it_uses() && *key_id == KeyId::default() && *tag == [0; 16];
            return if self.clear && is_right { Ok((Records::Clear, None)) } else { Err(Error::Suite) };
        }
        let kk = self.kk.as_ref().ok_or(Error::Suite)?;
        let preamble = &hello.preamble;
        let fixed = preamble.fixed();
        if preamble.key_id != kk.key_id
            || !kk.gate.verify(&fixed, hello.ticket, hello.message_1, &preamble.tag)
        {
            return Err(Error::Gate);
        }
        let Some(suite) = preamble.known_suite().filter(|suite| suite.is_stream()) else {
            out.extend_from_slice(&kk.clear_reply(Error::Suite));
            return Err(Error::Suite);
        };
        if !preamble.offers_what_it_uses() {
            return Err(Error::Preamble);
        }
        kk.respond(suite, hello, ephemeral, out)
    }
}

impl Kk {
    /// Suites of streams are configured at both ends and never negotiated, so the reply names none.
    fn clear_reply(&self, error: Error) -> [u8; CLEAR_REPLY_LEN] {
        let reason = if error == Error::Version { Rejection::Version } else { Rejection::Suite } as u8;
        ClearReply { reason, versions: VERSIONS, suites: Suites::NONE, key_id: self.key_id, wait: 0 }.encode()
    }

    fn respond(
        &self,
        suite: Suite,
        hello: &Hello<'_>,
        ephemeral: &Ephemeral,
        out: &mut Vec<u8>,
    ) -> Result<(Records, Option<PublicKey>), Error> {
        let prologue = prologue(&hello.preamble.fixed(), hello.ticket);
        // A key id of four bytes may belong to several of the configured keys.
        for gateway in self.gateways.iter().filter(|gateway| gateway.key_id().0 == hello.ticket) {
            let responder = Responder {
                suite,
                key: Some(&self.key),
                peer: Some(gateway),
                psk: None,
                prologue: &prologue,
                ephemeral: *ephemeral.bytes(),
            };
            if let Ok(secrets) = exchange::answer(responder, hello.message_1, Suites::NONE, out) {
                return Ok((Records::Sealed(Transport::new(&secrets)), Some(*gateway)));
            }
        }
        Err(Error::Handshake)
    }
}

impl fmt::Debug for Kk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kk")
            .field("key_id", &self.key_id)
            .field("gateways", &self.gateways)
            .finish_non_exhaustive()
    }
}

/// Appends the gateway's hello. Without encryption there are records at once, else after message 2.
pub(super) fn dial(mode: &Mode, ephemeral: &Ephemeral, out: &mut Vec<u8>) -> Result<Dialled, Error> {
    let Mode::Kk { suite, local, remote } = mode else {
        let preamble = Preamble {
            version: VERSION,
            suite: CLEAR_SUITE,
            key_id: KeyId::default(),
            versions: VERSIONS,
            suites: Suites::NONE,
            ticket_len: 0,
            tag: [0; 16],
        };
        Hello { preamble, ticket: &[], message_1: &[] }.encode(out);
        return Ok(Dialled::Open(Records::Clear));
    };
    if !suite.is_stream() {
        return Err(Error::Suite);
    }
    let call = Call {
        suite: *suite,
        offered: Suites::NONE,
        server: Some((remote, &Gate::new(remote))),
        // In the place of a ticket stands which key the gateway has.
        ticket: &local.public().key_id().0,
        psk: None,
        local: Some(local),
        ephemeral: *ephemeral.bytes(),
    };
    call.write(out).map(Dialled::Waiting)
}

/// What [`dial`] leaves behind.
#[derive(Debug)]
pub(super) enum Dialled {
    Waiting(Initiator),
    Open(Records),
}

/// A backend's end of the first bytes: who may come, and how far the hello has.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    access: Arc<Access>,
    ephemeral: Ephemeral,
    /// A hello of a version or suite that is not known here, and what it will be told if it passes the gate.
    foreign: Option<(Box<Foreign>, Error)>,
}

impl Doorkeeper {
    pub(super) const fn new(access: Arc<Access>, ephemeral: Ephemeral) -> Self {
        Self { access, ephemeral, foreign: None }
    }

    /// Gathers a hello and answers it: the records and the gateway's key, or `None` if it is not complete yet.
    pub(super) fn accept(
        &mut self,
        input: &mut Input<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<(Records, Option<PublicKey>)>, Error> {
        if self.foreign.is_none() {
            input.gather(PREAMBLE_LEN);
            let Some(preamble) = Preamble::decode(input.gathered())? else { return Ok(None) };
            if preamble.is_clear() || preamble.known_suite().is_some() {
                return self.accept_known(input, out);
            }
            // Without a key there is no gate that could tell whether this is no stranger.
            let kk = self.access.kk.as_ref().ok_or(Error::Suite)?;
            if preamble.key_id != kk.key_id {
                return Err(Error::Gate);
            }
            let error = if preamble.version == VERSION { Error::Suite } else { Error::Version };
            self.foreign = Some((Box::new(Foreign::new(&preamble, &kk.gate)), error));
            input.gathered().clear();
        }
        let Some((foreign, error)) = &mut self.foreign else { return Ok(None) };
        match (foreign.receive(input.take_unread())?, &self.access.kk) {
            (None, _) => Ok(None),
            (Some(true), Some(kk)) => {
                out.extend_from_slice(&kk.clear_reply(*error));
                Err(*error)
            }
            (Some(_), _) => Err(Error::Gate),
        }
    }

    fn accept_known(
        &self,
        input: &mut Input<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<(Records, Option<PublicKey>)>, Error> {
        loop {
            let more = input.unread() > 0;
            if let Some((hello, _)) = Hello::decode(input.gathered())? {
                // Without message 2 a gateway has no keys and can have nothing to say; it gets no answer then.
                if !hello.message_1.is_empty() && more {
                    return Err(Error::Early);
                }
                let accepted = self.access.answer(&hello, &self.ephemeral, out)?;
                input.gathered().clear();
                return Ok(Some(accepted));
            }
            let wanted = hello_len_so_far(input.gathered());
            if !input.gather(wanted) {
                // The part that came may already show that this is a stranger.
                Hello::decode(input.gathered())?;
                return Ok(None);
            }
        }
    }
}

/// How long a hello is at least, judged by its incomplete beginning.
fn hello_len_so_far(bytes: &[u8]) -> usize {
    let be = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    if bytes.len() < PREAMBLE_LEN {
        return PREAMBLE_LEN;
    }
    let length_at = PREAMBLE_LEN + be(TICKET_LEN_AT);
    if bytes.len() < length_at + 2 { length_at + 2 } else { length_at + 2 + be(length_at) }
}

/// Where the ticket's length stands in a preamble.
const TICKET_LEN_AT: usize = 14;

/// Reads the message 2 that was gathered. The suite is configured and never negotiated, so only the version could have
/// been talked down.
pub(super) fn finish(initiator: Initiator, input: &mut Input<'_>) -> Result<Records, Error> {
    let (secrets, _) = exchange::read_answer(initiator, input, &mut Vec::new())?;
    Ok(Records::Sealed(Transport::new(&secrets)))
}
