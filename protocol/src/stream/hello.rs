//! How a stream begins: who the ends are, and the few bytes before the first record.

use std::fmt;

use crate::buffer::Input;
use crate::error::Error;
use crate::limits::{CLEAR_REPLY_LEN, MESSAGE_2_LEN_MAX, MESSAGE_2_PAYLOAD_LEN, PREAMBLE_LEN};
use crate::noise::preamble::{
    ClearReply, Hello, Preamble, Rejection, VERSION, VERSIONS, decode_offer, encode_offer,
};
use crate::noise::{
    CLEAR_SUITE, Gate, Initiator, KeyId, PublicKey, Responder, StaticKey, Suite, Suites, Transport, prologue,
};
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

/// The suites of KK, all of which a backend with a key accepts.
const KK_SUITES: Suites = Suites::of(&[Suite::KkChaChaPoly, Suite::KkAesGcm]);
/// Names the gateway's key in the place of a ticket.
const KEY_ID_LEN: usize = 4;

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

    /// Judges a complete hello. `Ok` carries the records and who it is; what has to be answered is appended to
    /// `out`, a clear reply even in case of an error.
    fn answer(
        &self,
        hello: &Hello<'_>,
        ephemeral: [u8; 32],
        out: &mut Vec<u8>,
    ) -> Result<(Records, Option<PublicKey>), Error> {
        if hello.message_1.is_empty() {
            // There is no tag that could tell whether this is no stranger, hence no clear reply either.
            return if self.clear { Ok((Records::Clear, None)) } else { Err(Error::Suite) };
        }
        let kk = self.kk.as_ref().ok_or(Error::Suite)?;
        let fixed = hello.preamble.fixed();
        if hello.preamble.key_id != kk.key_id
            || !kk.gate.verify(&fixed, hello.ticket, hello.message_1, &hello.preamble.tag)
        {
            return Err(Error::Gate);
        }
        if hello.preamble.version != VERSION {
            out.extend_from_slice(&kk.clear_reply(Rejection::Version));
            return Err(Error::Version);
        }
        let Some(suite) = Suite::from_byte(hello.preamble.suite).filter(|suite| suite.is_stream()) else {
            out.extend_from_slice(&kk.clear_reply(Rejection::Suite));
            return Err(Error::Suite);
        };
        kk.respond(suite, hello, ephemeral, out)
    }
}

impl Kk {
    fn clear_reply(&self, reason: Rejection) -> [u8; CLEAR_REPLY_LEN] {
        ClearReply { reason: reason as u8, versions: VERSIONS, suites: KK_SUITES, key_id: self.key_id }
            .encode()
    }

    fn respond(
        &self,
        suite: Suite,
        hello: &Hello<'_>,
        ephemeral: [u8; 32],
        out: &mut Vec<u8>,
    ) -> Result<(Records, Option<PublicKey>), Error> {
        let prologue = prologue(&hello.preamble.fixed(), hello.ticket);
        let length_at = out.len();
        // A key id of four bytes may belong to several of the configured keys.
        for gateway in self.gateways.iter().filter(|gateway| gateway.key_id().0 == hello.ticket) {
            let responder = Responder {
                suite,
                key: Some(&self.key),
                peer: Some(gateway),
                psk: None,
                prologue: &prologue,
                ephemeral,
            };
            out.extend_from_slice(&[0; 2]);
            match responder.respond(hello.message_1, &encode_offer(VERSIONS, KK_SUITES), out) {
                Ok(secrets) => {
                    let len = u16::try_from(out.len() - length_at - 2).expect("message 2 is short");
                    out[length_at..length_at + 2].copy_from_slice(&len.to_be_bytes());
                    return Ok((Records::Sealed(Transport::new(&secrets)), Some(*gateway)));
                }
                Err(_) => out.truncate(length_at),
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
pub(super) fn dial(mode: &Mode, ephemeral: [u8; 32], out: &mut Vec<u8>) -> Result<Dialled, Error> {
    let mut preamble = Preamble {
        version: VERSION,
        suite: CLEAR_SUITE,
        key_id: KeyId([0; 4]),
        versions: VERSIONS,
        suites: Suites::from_bits(1 << CLEAR_SUITE),
        ticket_len: 0,
        tag: [0; 16],
    };
    let Mode::Kk { suite, local, remote } = mode else {
        Hello { preamble, ticket: &[], message_1: &[] }.encode(out);
        return Ok(Dialled::Open(Records::Clear));
    };
    if !suite.is_stream() {
        return Err(Error::Suite);
    }
    let ticket = local.public().key_id().0;
    preamble.suite = suite.byte();
    preamble.key_id = remote.key_id();
    preamble.suites = Suites::of(&[*suite]);
    preamble.ticket_len = KEY_ID_LEN as u16;
    let prologue = prologue(&preamble.fixed(), &ticket);
    let mut message_1 = Vec::with_capacity(suite.message_1_len());
    let initiator =
        Initiator::create(*suite, Some(local), Some(remote), None, &prologue, ephemeral, &mut message_1)?;
    preamble.tag = Gate::new(remote).tag(&preamble.fixed(), &ticket, &message_1);
    Hello { preamble, ticket: &ticket, message_1: &message_1 }.encode(out);
    Ok(Dialled::Waiting(initiator))
}

/// What [`dial`] leaves behind.
#[derive(Debug)]
pub(super) enum Dialled {
    Waiting(Initiator),
    Open(Records),
}

/// Gathers a hello and answers it: the records and the gateway's key, or `None` if it is not complete yet.
pub(super) fn accept(
    input: &mut Input<'_>,
    access: &Access,
    ephemeral: [u8; 32],
    out: &mut Vec<u8>,
) -> Result<Option<(Records, Option<PublicKey>)>, Error> {
    loop {
        let more = input.unread() > 0;
        if let Some((hello, _)) = Hello::decode(input.gathered())? {
            // Without message 2 a gateway has no keys and can have nothing to say; it gets no answer then.
            if !hello.message_1.is_empty() && more {
                return Err(Error::Early);
            }
            let accepted = access.answer(&hello, ephemeral, out)?;
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

/// Gathers message 2, or the clear reply in its place.
pub(super) fn message_2_complete(input: &mut Input<'_>) -> Result<bool, Error> {
    if !input.gather(2) {
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
    Ok(input.gather(2 + len))
}

/// Reads the message 2 that was gathered.
pub(super) fn finish(initiator: Initiator, input: &mut Input<'_>) -> Result<Records, Error> {
    let mut offer = Vec::with_capacity(MESSAGE_2_PAYLOAD_LEN);
    let secrets = initiator.consume(&input.gathered()[2..], &mut offer)?;
    input.gathered().clear();
    // The suite is configured and never negotiated, so only the version could have been talked down.
    let (versions, _) = decode_offer(&offer).ok_or(Error::Handshake)?;
    if (versions & VERSIONS).checked_ilog2() != Some(VERSION.into()) {
        return Err(Error::Downgrade);
    }
    Ok(Records::Sealed(Transport::new(&secrets)))
}
