//! The handshake: two messages, with XX three, and nothing of `snow` survives them but two keys and a hash.
//!
//! ```text
//! Initiator::create ──message 1──► Responder::respond ─► Secrets      XX: Responder::begin
//! Initiator::consume ◄─message 2── (the same call)                        (the same call) ─► Unfinished
//!        └─► Secrets               XX: Initiator::conclude ──message 3──► Unfinished::finish ─► Secrets
//! ```
//!
//! Message 1 carries nothing and causes nothing: whoever recorded it can send it again. The responder's side is
//! live when the first transport record opens.

use snow::params::{
    BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakeModifier, HandshakeModifierList,
    HandshakePattern, HashChoice, NoiseParams,
};
use snow::{Builder, HandshakeState};
use zeroize::{Zeroize, Zeroizing};

use super::keys::{PublicKey, StaticKey};
use super::resolver::{PREPARED, Resolver};
use super::suite::{Cipher, Pattern, Suite};
use crate::error::Error;
use crate::limits::{MESSAGE_2_LEN_MAX, MESSAGE_2_PAYLOAD_LEN, MESSAGE_3_LEN, TAG_LEN};

/// What a finished handshake leaves to one side. Wiped when dropped.
pub struct Secrets {
    /// The suite that was used.
    pub suite: Suite,
    /// Key of the records this side seals.
    pub send: [u8; 32],
    /// Key of the records this side opens.
    pub receive: [u8; 32],
    /// The handshake hash: the same on both sides and unique to this handshake. Not secret.
    pub h: [u8; 32],
    /// The peer's static key: for the responder that of IK, XX and KK, for the initiator the one it called, or met with XX.
    pub peer: Option<PublicKey>,
}

impl Zeroize for Secrets {
    fn zeroize(&mut self) {
        self.send.zeroize();
        self.receive.zeroize();
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({:?}, ***, peer {:?})", self.suite, self.peer)
    }
}

/// The prologue of a handshake: it binds what travelled in the clear before message 1. `fixed` is the preamble
/// without its tag.
#[must_use]
pub fn prologue(fixed: &[u8; 16], ticket: &[u8]) -> Vec<u8> {
    [PROLOGUE_LABEL, fixed, ticket].concat()
}

/// The answering side. It finishes in one call, but with XX.
pub struct Responder<'a> {
    /// The suite the initiator named and this listener allows.
    pub suite: Suite,
    /// Our static key; needed by all suites but those with a ticket.
    pub key: Option<&'a StaticKey>,
    /// The initiator's key, which KK knows beforehand; other suites ignore it.
    pub peer: Option<&'a PublicKey>,
    /// The secret from the ticket; other suites ignore it.
    pub psk: Option<&'a [u8; 32]>,
    /// What [`prologue`] gave.
    pub prologue: &'a [u8],
    /// Fresh random bytes, used for this call only.
    pub ephemeral: [u8; 32],
}

impl Responder<'_> {
    /// Reads message 1 and appends message 2 with `payload_2` to `out`, without a length before it.
    ///
    /// # Errors
    /// [`Error::HandshakeLength`] if message 1 has not exactly its suite's length or `payload_2` does not fit,
    /// [`Error::Suite`] if the suite needs a key that was not given, or a third message, [`Error::Handshake`] if message 1 does
    /// not open. `out` is as before then.
    pub fn respond(self, message_1: &[u8], payload_2: &[u8], out: &mut Vec<u8>) -> Result<Secrets, Error> {
        if self.suite.is_unpinned() {
            return Err(Error::Suite);
        }
        self.check(message_1)?;
        let start = out.len();
        let suite = self.suite;
        let state = self.run(message_1, &mut [], payload_2, out)?;
        finish(suite, Role::Responder, state).inspect_err(|_| out.truncate(start))
    }

    /// The same with XX, where the keys come with message 3.
    ///
    /// # Errors
    /// Those of [`Responder::respond`], and [`Error::Suite`] with any other pattern. `out` is as before then.
    pub fn begin(self, message_1: &[u8], payload_2: &[u8], out: &mut Vec<u8>) -> Result<Unfinished, Error> {
        if !self.suite.is_unpinned() {
            return Err(Error::Suite);
        }
        self.check(message_1)?;
        let suite = self.suite;
        let state = Box::new(self.run(message_1, &mut [], payload_2, out)?);
        Ok(Unfinished { suite, state })
    }

    fn check(&self, message_1: &[u8]) -> Result<(), Error> {
        let fits = message_1.len() == self.suite.message_1_len();
        if fits { Ok(()) } else { Err(Error::HandshakeLength(message_1.len())) }
    }

    /// What both do, for a message 1 that carries as much payload as `payload_1` has room for. The product has none, the
    /// published vectors do.
    pub(super) fn run(
        self,
        message_1: &[u8],
        payload_1: &mut [u8],
        payload_2: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<HandshakeState, Error> {
        let len_2 = message_2_head(self.suite) + payload_2.len() + 16;
        if len_2 > MESSAGE_2_LEN_MAX {
            return Err(Error::HandshakeLength(len_2));
        }
        let material =
            Material { local: self.key, remote: self.peer, psk: self.psk, prologue: self.prologue };
        let mut state = start(self.suite, Role::Responder, &material, self.ephemeral)?;
        state.read_message(message_1, payload_1).map_err(|_| Error::Handshake)?;
        let start = out.len();
        out.resize(start + len_2, 0);
        match state.write_message(payload_2, &mut out[start..]) {
            Ok(_) => Ok(state),
            Err(_) => {
                out.truncate(start);
                Err(Error::Handshake)
            }
        }
    }
}

/// A handshake of three messages on the answering side, between message 2 and message 3. It takes
/// [`UNFINISHED_LEN_MAX`](crate::limits::UNFINISHED_LEN_MAX) bytes of memory at most, so whoever keeps some bounds their number.
#[must_use]
pub struct Unfinished {
    suite: Suite,
    state: Box<HandshakeState>,
}

impl Unfinished {
    /// The suite it is of.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// Reads message 3, which has an empty payload.
    ///
    /// # Errors
    /// [`Error::HandshakeLength`] if it has not exactly [`MESSAGE_3_LEN`] bytes, [`Error::Handshake`] if it does not open.
    pub fn finish(mut self, message_3: &[u8]) -> Result<Secrets, Error> {
        if message_3.len() != MESSAGE_3_LEN {
            return Err(Error::HandshakeLength(message_3.len()));
        }
        self.state.read_message(message_3, &mut []).map_err(|_| Error::Handshake)?;
        finish(self.suite, Role::Responder, *self.state)
    }
}

impl std::fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unfinished({:?}, ***)", self.suite)
    }
}

/// Bytes of message 2 before its payload: the ephemeral key, and with XX the sealed static one.
const fn message_2_head(suite: Suite) -> usize {
    if suite.is_unpinned() { 32 + 32 + 16 } else { 32 }
}

/// The asking side, between its message 1 and the answer.
pub struct Initiator {
    suite: Suite,
    state: Box<HandshakeState>,
}

impl Initiator {
    /// Appends message 1 to `out`, without a length before it. `local` is needed by IK, XX and KK, `remote` by all
    /// suites but XX and those with a ticket, `psk` by those; `ephemeral` are fresh random bytes, used for this handshake
    /// only.
    ///
    /// # Errors
    /// [`Error::Suite`] if the suite needs a key that was not given, [`Error::Handshake`] if `remote` is a point of
    /// low order. `out` is as before then.
    pub fn create(
        suite: Suite,
        local: Option<&StaticKey>,
        remote: Option<&PublicKey>,
        psk: Option<&[u8; 32]>,
        prologue: &[u8],
        ephemeral: [u8; 32],
        out: &mut Vec<u8>,
    ) -> Result<Self, Error> {
        Self::run(suite, &Material { local, remote, psk, prologue }, ephemeral, &[], out)
    }

    /// The same with a payload in message 1. The product has none, the published vectors do.
    pub(super) fn run(
        suite: Suite,
        material: &Material<'_>,
        ephemeral: [u8; 32],
        payload_1: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Self, Error> {
        let mut state = Box::new(start(suite, Role::Initiator, material, ephemeral)?);
        let start = out.len();
        // snow wants room for a tag even where there is none, as in message 1 of XX.
        out.resize(start + suite.message_1_len() + payload_1.len() + TAG_LEN, 0);
        match state.write_message(payload_1, &mut out[start..]) {
            Ok(len) => {
                out.truncate(start + len);
                Ok(Self { suite, state })
            }
            Err(_) => {
                out.truncate(start);
                Err(Error::Handshake)
            }
        }
    }

    /// The suite it is of.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// Reads message 2 and appends its payload to `payload`.
    ///
    /// # Errors
    /// [`Error::HandshakeLength`] if it is shorter than its defined payload or longer than
    /// [`MESSAGE_2_LEN_MAX`], [`Error::Handshake`] if it does not open, [`Error::Suite`] if message 3 is to follow. `payload`
    /// is as before then.
    pub fn consume(self, message_2: &[u8], payload: &mut Vec<u8>) -> Result<Secrets, Error> {
        if self.suite.is_unpinned() {
            return Err(Error::Suite);
        }
        self.conclude(message_2, payload, &mut Vec::new())
    }

    /// The same with any suite: message 3, if there is one, is appended to `out`, without a length before it.
    ///
    /// # Errors
    /// Those of [`Initiator::consume`] but for the last. `payload` and `out` are as before then.
    pub fn conclude(
        self,
        message_2: &[u8],
        payload: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<Secrets, Error> {
        self.run_on(message_2, payload, &[], out)
    }

    /// The same with a payload in message 3. The product has none, the published vectors do.
    pub(super) fn run_on(
        self,
        message_2: &[u8],
        payload: &mut Vec<u8>,
        payload_3: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Secrets, Error> {
        let head = message_2_head(self.suite) + 16;
        if !(head + MESSAGE_2_PAYLOAD_LEN..=MESSAGE_2_LEN_MAX).contains(&message_2.len()) {
            return Err(Error::HandshakeLength(message_2.len()));
        }
        let Self { suite, mut state } = self;
        let (start, start_3) = (payload.len(), out.len());
        payload.resize(start + message_2.len() - head, 0);
        let mut write_on = || {
            state.read_message(message_2, &mut payload[start..])?;
            if !state.is_handshake_finished() {
                out.resize(start_3 + MESSAGE_3_LEN + payload_3.len(), 0);
                state.write_message(payload_3, &mut out[start_3..])?;
            }
            Ok(())
        };
        let finished = write_on()
            .map_err(|_: snow::Error| Error::Handshake)
            .and_then(|()| finish(suite, Role::Initiator, *state));
        if finished.is_err() {
            payload.truncate(start);
            out.truncate(start_3);
        }
        finished
    }
}

impl std::fmt::Debug for Initiator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Initiator({:?}, ***)", self.suite)
    }
}

/// What one side brings into a handshake beside its ephemeral key.
pub(super) struct Material<'a> {
    pub(super) local: Option<&'a StaticKey>,
    pub(super) remote: Option<&'a PublicKey>,
    pub(super) psk: Option<&'a [u8; 32]>,
    pub(super) prologue: &'a [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Initiator,
    Responder,
}

/// Builds snow's state with exactly what the pattern needs, so that a key given for nothing changes nothing.
pub(super) fn start(
    suite: Suite,
    role: Role,
    material: &Material<'_>,
    ephemeral: [u8; 32],
) -> Result<HandshakeState, Error> {
    let ephemeral = Zeroizing::new(ephemeral);
    let pattern = suite.pattern();
    let needs_local = match (pattern, role) {
        (Pattern::Nk, Role::Initiator) | (Pattern::Nnpsk0, _) => false,
        (Pattern::Nk, Role::Responder) | (Pattern::Ik | Pattern::Xx | Pattern::Kk, _) => true,
    };
    let needs_remote = match (pattern, role) {
        (Pattern::Nk | Pattern::Ik, Role::Responder) | (Pattern::Xx | Pattern::Nnpsk0, _) => false,
        (Pattern::Nk | Pattern::Ik, Role::Initiator) | (Pattern::Kk, _) => true,
    };
    let local = material.local.filter(|_| needs_local);
    let remote = material.remote.filter(|_| needs_remote);
    let psk = material.psk.filter(|_| suite.is_ticket());
    if local.is_some() != needs_local
        || remote.is_some() != needs_remote
        || psk.is_some() != suite.is_ticket()
    {
        return Err(Error::Suite);
    }
    let build = || {
        let mut builder = Builder::with_resolver(params(suite), Box::new(Resolver::new(local, *ephemeral)))
            .prologue(material.prologue)?;
        if local.is_some() {
            builder = builder.local_private_key(PREPARED)?;
        }
        if let Some(remote) = remote {
            builder = builder.remote_public_key(&remote.0)?;
        }
        if let Some(psk) = psk {
            builder = builder.psk(0, psk)?;
        }
        match role {
            Role::Initiator => builder.build_initiator(),
            Role::Responder => builder.build_responder(),
        }
    };
    build().map_err(|_: snow::Error| Error::Handshake)
}

/// Takes the keys out. h is copied before the split, and only a finished handshake is split.
pub(super) fn finish(suite: Suite, role: Role, mut state: HandshakeState) -> Result<Secrets, Error> {
    if !state.is_handshake_finished() {
        return Err(Error::Handshake);
    }
    let h = *state.get_handshake_hash().first_chunk().ok_or(Error::Handshake)?;
    let peer = state.get_remote_static().and_then(<[u8]>::first_chunk).copied().map(PublicKey);
    let keys = Zeroizing::new(state.dangerously_get_raw_split());
    let (send, receive) = match role {
        Role::Initiator => (keys.0, keys.1),
        Role::Responder => (keys.1, keys.0),
    };
    Ok(Secrets { suite, send, receive, h, peer })
}

/// The suite in snow's words, without parsing its name.
fn params(suite: Suite) -> NoiseParams {
    let (pattern, modifiers) = match suite.pattern() {
        Pattern::Nk => (HandshakePattern::NK, vec![]),
        Pattern::Ik => (HandshakePattern::IK, vec![]),
        Pattern::Xx => (HandshakePattern::XX, vec![]),
        Pattern::Nnpsk0 => (HandshakePattern::NN, vec![HandshakeModifier::Psk(0)]),
        Pattern::Kk => (HandshakePattern::KK, vec![]),
    };
    let cipher = match suite.cipher() {
        Cipher::ChaChaPoly => CipherChoice::ChaChaPoly,
        Cipher::AesGcm => CipherChoice::AESGCM,
    };
    NoiseParams::new(
        suite.name().to_owned(),
        BaseChoice::Noise,
        HandshakeChoice { pattern, modifiers: HandshakeModifierList { list: modifiers } },
        DHChoice::Curve25519,
        cipher,
        HashChoice::SHA256,
    )
}

/// What a prologue begins with.
const PROLOGUE_LABEL: &[u8] = b"access-gateway prologue v1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_handshake_leaves_is_wiped() {
        let (send, receive) = ([1; 32], [2; 32]);
        let mut secrets = Secrets { suite: Suite::NkAesGcm, send, receive, h: [3; 32], peer: None };
        secrets.zeroize();
        assert_eq!([secrets.send, secrets.receive], [[0; 32]; 2]);
        assert!(std::mem::needs_drop::<Secrets>(), "which does the same");
    }
}
