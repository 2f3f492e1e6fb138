//! The fixed values of all vectors. In life they are random, except for what follows from others.

use protocol::UnixMillis;
use protocol::link::Rules;
use protocol::noise::ticket::Identity;
use protocol::noise::{PublicKey, StaticKey, Suite, TicketKeys};
use ring::digest::{SHA256, digest};
use std::time::Duration;
use zeroize::Zeroizing;

/// The values of SPEC.md, section 18.
pub(crate) const SERVER_SECRET: [u8; 32] = [0x11; 32];
pub(crate) const INITIATOR_EPHEMERAL: [u8; 32] = [0x22; 32];
pub(crate) const RESPONDER_EPHEMERAL: [u8; 32] = [0x33; 32];

/// The client's own key, with IK.
pub(crate) const DEVICE_SECRET: [u8; 32] = [0x44; 32];
/// The gateway's key on streams, with KK.
pub(crate) const GATEWAY_SECRET: [u8; 32] = [0x55; 32];
/// A server key of yesterday.
pub(crate) const RETIRED_SECRET: [u8; 32] = [0x66; 32];
/// A server key that nobody here knows.
pub(crate) const STRANGE_SECRET: [u8; 32] = [0x77; 32];
/// What nodes of a group seal tickets with.
pub(crate) const GROUP_KEY: [u8; 32] = [0x88; 32];
pub(crate) const SALT: [u8; 16] = [0x99; 16];
pub(crate) const PSK: [u8; 32] = [0xaa; 32];
/// The Ed25519 key of a bound ticket: no signature is made with it here.
pub(crate) const BOUND_KEY: [u8; 32] = [0xbb; 32];
pub(crate) const REALM: &str = "main";
/// 14 November 2023, 22:13:20.
pub(crate) const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

pub(crate) const RULES: Rules = Rules {
    record_len_max: 16_384,
    frame_len_max: 65_536,
    handshake_deadline: Duration::from_secs(5),
    auth_deadline: Duration::from_secs(5),
    glitches_max: 100,
};

pub(crate) fn server_key() -> StaticKey {
    StaticKey::from_secret(SERVER_SECRET)
}

pub(crate) fn public(secret: [u8; 32]) -> PublicKey {
    StaticKey::from_secret(secret).public()
}

/// Bytes of a digest.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    digest(&SHA256, &parts.concat()).as_ref().try_into().expect("a SHA-256 has 32 bytes")
}

pub(crate) fn gate_key(server: &PublicKey) -> [u8; 32] {
    sha256(&[b"access-gateway gate v1", &server.0])
}

pub(crate) fn ticket_keys() -> TicketKeys {
    TicketKeys::new(GROUP_KEY, REALM, NOW)
}

/// What the plainest ticket says.
pub(crate) fn identity() -> Identity {
    Identity {
        psk: Zeroizing::new(PSK),
        origin_suite: Suite::NkChaChaPoly,
        server_key_id: public(SERVER_SECRET).key_id(),
        issued: NOW,
        auth_time: NOW,
        login: 0x0102_0304_0506_0708,
        token_exp: None,
        end: None,
        epoch: 0,
        user: b"alice".to_vec(),
        device: b"phone".to_vec(),
        device_key: None,
        bound_key: None,
        class: protocol::DeviceClass::Unknown,
        limit_class: Vec::new(),
    }
}

/// Seals a ticket that says so.
pub(crate) fn ticket(identity: &Identity) -> Vec<u8> {
    ticket_keys().issue(identity, &SALT).expect("an identity that can be issued")
}
