//! Every number of the protocol that both ends must agree on, in one place. Numbers an operator may set are in
//! the gateway's config; here are the bounds they must stay within. SPEC.md, section "Limits".

use std::time::Duration;

/// Bytes of the fixed part of a preamble.
pub const PREAMBLE_LEN: usize = 32;
/// Bytes of the gate tag at the end of the fixed part.
pub const GATE_TAG_LEN: usize = 16;
/// Longest ticket of the suites of this version.
pub const TICKET_LEN_MAX: usize = 512;
/// Longest message 1 of the suites of this version (IK).
pub const MESSAGE_1_LEN_MAX: usize = 96;
/// Longest hello of the suites of this version: preamble, ticket, length, message 1.
pub const HELLO_LEN_MAX: usize = PREAMBLE_LEN + TICKET_LEN_MAX + 2 + MESSAGE_1_LEN_MAX;
/// Longest ticket field of a hello whose version or suite is unknown here.
pub const TICKET_LEN_MAX_UNKNOWN: usize = 1024;
/// Longest message 1 of such a hello: a hybrid of X25519 and a KEM needs up to 3,216 bytes.
pub const MESSAGE_1_LEN_MAX_UNKNOWN: usize = 4096;
/// Bytes of the payload of message 2 that this version defines; more may follow and are ignored.
pub const MESSAGE_2_PAYLOAD_LEN: usize = 4;
/// Longest message 2 an initiator accepts.
pub const MESSAGE_2_LEN_MAX: usize = 4096;
/// Bytes of message 3, which only XX has: a sealed key, and the tag of an empty payload.
pub const MESSAGE_3_LEN: usize = 32 + 16 + 16;
/// Bytes of memory that a handshake of three messages takes at most on the answering side, while it waits for message 3.
pub const UNFINISHED_LEN_MAX: usize = 2048;
/// Bytes of the clear reply to a hello that cannot be served.
pub const CLEAR_REPLY_LEN: usize = 16;

/// Bytes of a record's length field.
pub const RECORD_HEADER_LEN: usize = 2;
/// Bytes of an authentication tag.
pub const TAG_LEN: usize = 16;
/// Longest ciphertext of a record (Noise, section 3).
pub const RECORD_LEN_MAX: usize = 65_535;
/// Longest plaintext of a record.
pub const RECORD_PLAIN_MAX: usize = RECORD_LEN_MAX - TAG_LEN;
/// Longest ciphertext of a record before authentication.
pub const RECORD_LEN_MAX_UNAUTHENTICATED: usize = 4096;
/// Longest ciphertext of an uplink record unless configured otherwise.
pub const RECORD_LEN_MAX_UPLINK: usize = 16 * 1024;
/// Records sealed with one key before it is replaced.
pub const REKEY_INTERVAL: u64 = 1 << 16;

/// Longest frame body unless configured otherwise.
pub const FRAME_LEN_MAX: usize = 64 * 1024;
/// Longest frame body before authentication, whatever is configured: it is a stranger's.
pub const FRAME_LEN_MAX_UNAUTHENTICATED: usize = 4096;
/// The most a frame may ever be configured to.
pub const FRAME_LEN_CEILING: usize = 1024 * 1024;
/// Longest varint on the wire.
pub const VARINT_LEN_MAX: usize = 10;

/// Longest user or device id, in bytes.
pub const ID_LEN_MAX: usize = 64;
/// Bytes of a request id.
pub const REQUEST_ID_LEN: usize = 16;
/// Longest push id, in bytes.
pub const PUSH_ID_LEN_MAX: usize = 16;
/// Longest id of a package that a backend may give, in bytes.
pub const PACKAGE_ID_LEN_MAX: usize = 16;
/// Most users of one push.
pub const USERS_MAX: usize = 256;
/// Bytes of a session id.
pub const SESSION_ID_LEN: usize = 16;
/// Longest name of a route, in bytes.
pub const ROUTE_LEN_MAX: usize = 32;
/// Longest ordering key of a request, in bytes.
pub const KEY_LEN_MAX: usize = 64;
/// Longest room id, in bytes.
pub const ROOM_LEN_MAX: usize = 64;
/// Longest token, in bytes: it shares the first frame with the other fields of `Auth`.
pub const TOKEN_LEN_MAX: usize = 3584;
/// Longest name of a login that is to be revoked.
pub const LOGIN_LEN_MAX: usize = 256;
/// Bytes of a hash and of a public key.
pub const HASH_LEN: usize = 32;
/// Bytes of an Ed25519 signature.
pub const SIGNATURE_LEN: usize = 64;
/// Longest body of a `Resume`.
pub const RESUME_LEN_MAX: usize = 128;
/// Most dictionaries a client names.
pub const DICTIONARIES_MAX: usize = 8;
/// Longest IP address: IPv6.
pub const IP_LEN_MAX: usize = 16;
/// Longest name of a realm, in bytes.
pub const REALM_LEN_MAX: usize = 64;
/// Longest name of a class of accounts, in bytes.
pub const LIMIT_CLASS_LEN_MAX: usize = 32;
/// Longest reason of a ban, in bytes.
pub const BAN_REASON_LEN_MAX: usize = 128;
/// Longest text in a close frame, in bytes.
pub const CLOSE_TEXT_LEN_MAX: usize = 128;
/// Longest agent string, in bytes.
pub const AGENT_LEN_MAX: usize = 64;

/// Frames held while a link's authentication is under way.
pub const HELD_FRAMES_MAX: usize = 8;
/// Bytes held while a link's authentication is under way.
pub const HELD_BYTES_MAX: usize = 4096;

/// What a payload frame costs in stream credit beyond its payload, so that empty payloads are not free.
pub const CREDIT_OVERHEAD: u64 = 64;

/// The largest number of a worker, as link ids have 12 bits for it. Section 11.7.
pub const WORKER_MAX: u32 = 4_095;

/// Plaintext of a stream's record, roughly: a record is ended at the first frame that begins behind it. Long enough
/// that its tag costs nothing, short enough that little is copied when a chunk ends inside it.
pub const STREAM_RECORD_PLAIN: usize = 16 * 1024;
/// The shortest frame bound an end of a stream may announce: everything but payload fits below it.
pub const STREAM_FRAME_LEN_MIN: usize = 4096;
/// What a stream's frame bound of 0 stands for.
pub const STREAM_FRAME_LEN_DEFAULT: usize = 64 * 1024;
/// Unknown frames a stream takes within a minute.
pub const STREAM_GLITCHES_MAX: u32 = 1000;
/// Most numbers of pushes that are named when a link is lost.
pub const UNACKNOWLEDGED_MAX: usize = 64;
/// Most links of one frame that says which others took their places: each takes at most 31 bytes, and the shortest frame
/// bound of a peer must hold them.
pub const RESUMED_MAX: usize = 128;
/// Shortest heartbeat interval of a stream.
pub const STREAM_HEARTBEAT_MIN: Duration = Duration::from_millis(100);
/// What a stream's heartbeat interval of 0 stands for.
pub const STREAM_HEARTBEAT_DEFAULT: Duration = Duration::from_secs(5);
/// Most routes one backend serves.
pub const ROUTES_MAX: usize = 64;
/// Longest name of a gateway, in bytes.
pub const GATEWAY_NAME_LEN_MAX: usize = 64;
/// Longest name of a backend's process, in bytes.
pub const INSTANCE_LEN_MAX: usize = 64;
/// Bytes of the boot id of a gateway or backend.
pub const BOOT_ID_LEN: usize = 16;

/// Shortest heartbeat interval a gateway may be configured to.
pub const HEARTBEAT_MIN: Duration = Duration::from_secs(1);
/// Longest heartbeat interval a gateway may be configured to.
pub const HEARTBEAT_MAX: Duration = Duration::from_secs(3600);
/// How long input is discarded after a close frame was sealed.
pub const LINGER_MAX: Duration = Duration::from_secs(1);
/// How many bytes of input are discarded after a close frame was sealed.
pub const LINGER_BYTES_MAX: usize = 64 * 1024;

/// What one unit of a clear reply's wish stands for.
pub const BUSY_UNIT: Duration = Duration::from_millis(100);
/// The longest such wish a client heeds.
pub const BUSY_MAX: Duration = Duration::from_secs(60);
/// How long a rejected hello's socket is kept for its clear reply to leave.
pub const HANDSHAKE_LINGER: Duration = Duration::from_millis(200);

const _: () = assert!(HELLO_LEN_MAX <= 1024, "a hello fits a small pool buffer");
const _: () = assert!(RESUMED_MAX * 31 + 8 <= STREAM_FRAME_LEN_MIN);
const _: () = assert!(FRAME_LEN_MAX <= FRAME_LEN_CEILING);
const _: () = assert!(RECORD_LEN_MAX_UPLINK <= RECORD_LEN_MAX);
