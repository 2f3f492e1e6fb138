"""Sections 3 to 7 of protocol/SPEC.md: hello, handshake, records, frames. Both roles, over a socket."""

import hashlib
import hmac
import select
import socket
import struct
from pathlib import Path

from google.protobuf.message import DecodeError
from noise.connection import Keypair, NoiseConnection
from noise.exceptions import NoiseInvalidMessage

import schema

PROTO = Path(__file__).resolve().parents[2] / "protocol" / "proto"
link = schema.load(PROTO / "link.proto")
stream = schema.load(PROTO / "stream.proto")

MAGIC = bytes.fromhex("acce550a")
VERSION = 1
NK, NK_AESGCM, IK, IK_AESGCM = 1, 2, 3, 4
XX, XX_AESGCM = UNPINNED = 5, 6
TICKET, TICKET_AESGCM = 7, 8
KK, KK_AESGCM = 9, 10
CLEAR = 15
#                pattern, cipher, bytes of message 1
SUITES = {
    1: ("NK", "ChaChaPoly", 48),
    2: ("NK", "AESGCM", 48),
    3: ("IK", "ChaChaPoly", 96),
    4: ("IK", "AESGCM", 96),
    5: ("XX", "ChaChaPoly", 32),
    6: ("XX", "AESGCM", 32),
    7: ("NNpsk0", "ChaChaPoly", 48),
    8: ("NNpsk0", "AESGCM", 48),
    9: ("KK", "ChaChaPoly", 48),
    10: ("KK", "AESGCM", 48),
}
# Reasons of the clear reply, 3.2.
REASONS = {"version": 1, "suite": 2, "retired_key": 3, "busy": 4, "ticket_refused": 5}
# 13.1 to 13.3; selftest.py holds them to the text.
CODES = {
    "normal": 1,
    "going_away": 2,
    "moving": 3,
    "malformed": 4,
    "too_large": 5,
    "unexpected": 6,
    "auth_failed": 7,
    "auth_timeout": 8,
    "try_later": 9,
    "heartbeat_timeout": 10,
    "replaced": 11,
    "kicked": 12,
    "banned": 13,
    "slow_reader": 14,
    "rate_exceeded": 15,
    "ack_timeout": 16,
    "link_age": 17,
    "internal": 18,
    "session_ended": 19,
    "token_expired": 20,
    "device_refused": 21,
    "glitches": 22,
    "draining": 23,
}
REFUSALS = {
    "busy": 1,
    "no_route": 2,
    "no_backend": 3,
    "auth": 4,
    "too_large": 5,
    "in_flight": 6,
    "behind": 7,
    "rate": 8,
    "not_allowed": 9,
    "room_limit": 10,
    "draining": 11,
    "malformed": 12,
}
UNDELIVERED = {
    "no_link": 1,
    "no_user": 2,
    "queue_full": 3,
    "link_closed": 4,
    "drained": 5,
    "busy": 6,
    "too_large": 7,
    "expired": 8,
    "gave_up": 9,
    "window_over": 10,
    "gap": 11,
    "coalesced": 12,
    "unsupported": 13,
    "malformed": 14,
}
# What section 15 answers to an error with a `Close`. Any other error is met with silence.
CLOSES = {
    "record_empty": "malformed",
    "record_length": "too_large",
    "frame_empty": "malformed",
    "frame_length": "too_large",
    "frame_encoding": "malformed",
    "field": "malformed",
    "unexpected": "unexpected",
    "credit": "rate_exceeded",
    "glitches": "glitches",
    "auth_failed": "auth_failed",
    "heartbeat_timeout": "heartbeat_timeout",
}
REKEY_INTERVAL = 65_536
TAG_LEN = 16
TICKET_LEN_MAX = 512
TICKET_LEN_MAX_UNKNOWN = 1_024
MESSAGE_LEN_MAX = 4_096
TOKEN_LEN_MAX = 3_584
FRAME_LEN_MAX = 65_536
FRAME_LEN_MAX_DOWN = 1_048_576
RECORD_LEN_MAX = 65_535
RECORD_LEN_MAX_UNAUTHENTICATED = 4_096


class Silence(Exception):
    """The peer closed without having said anything more."""


class Rejected(Exception):
    """The responder answered with the clear reply (3.2). A hint, since anybody on the path can forge it."""

    def __init__(self, reply):
        super().__init__(f"clear reply, reason {reply[5]}")
        self.reason, self.versions = reply[5], reply[6]
        self.suites = int.from_bytes(reply[7:10], "big")
        self.key_id = reply[10:14]
        self.wait_ms = 100 * int.from_bytes(reply[14:], "big")


class Violation(Exception):
    """The peer broke a rule."""

    def __init__(self, error):
        super().__init__(error)
        self.error = error


class Turned(Exception):
    """The clear reply is due, for this reason."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = REASONS[reason]


def key_id(public):
    return hashlib.sha256(public).digest()[:4]


def public_of(private):
    """The public key of a private X25519 key."""
    noise = NoiseConnection.from_name(b"Noise_NK_25519_ChaChaPoly_SHA256")
    return noise.noise_protocol.dh_fn.klass.from_private_bytes(private).public_bytes


def suite_set(*suites):
    """A set of suites as its number. Those of streams have no bits."""
    return sum(1 << suite for suite in suites if suite not in (KK, KK_AESGCM, CLEAR))


def offer(versions, suites):
    """Versions and suites as they stand in hello, message 2 and clear reply."""
    return bytes([versions]) + suites.to_bytes(3, "big")


def fixed_part(suite, public, ticket=b"", version=VERSION, versions=1 << VERSION, suites=None):
    if suites is None:
        suites = suite_set(suite) if suite < 24 else 0
    head = MAGIC + bytes([version, suite]) + (bytes(4) if suite in (*UNPINNED, CLEAR) else key_id(public))
    return head + offer(versions, suites) + struct.pack(">H", len(ticket))


def gate_tag(public, fixed, ticket, message_1):
    gate_key = hashlib.sha256(b"access-gateway gate v1" + public).digest()
    covered = fixed + ticket + struct.pack(">H", len(message_1)) + message_1
    return hmac.digest(gate_key, covered, "sha256")[:16]


def gated(public, fixed, ticket, message_1):
    """A whole hello, with the tag it needs."""
    tag = gate_tag(public, fixed, ticket, message_1)
    return fixed + tag + ticket + struct.pack(">H", len(message_1)) + message_1


def binding(kind, h, secret):
    """What the owner of a bound token signs (8.1): `kind` is "token" or "ticket", `secret` the one it uses."""
    return b"access-gateway %s binding v1" % kind.encode() + h + hashlib.sha256(secret).digest()


def session_proof(secret, h, session, attempt, last_sequence):
    """What shows that a link goes on with a session, 8.2."""
    numbers = attempt.to_bytes(4, "big") + last_sequence.to_bytes(8, "big")
    return hmac.digest(secret, b"access-gateway resume v1" + h + session + numbers, "sha256")


def handshake(suite, initiator, fixed, ticket, *, local=None, remote=None, psk=None, ephemeral=None):
    """A Noise handshake that is ready for message 1. `local` and `ephemeral` are private keys, `remote` is public.

    `ephemeral` is given in tests only; else it is random.
    """
    pattern, cipher, _ = SUITES[suite]
    noise = NoiseConnection.from_name(f"Noise_{pattern}_25519_{cipher}_SHA256".encode())
    noise.set_as_initiator() if initiator else noise.set_as_responder()
    noise.set_prologue(b"access-gateway prologue v1" + fixed + ticket)
    if local is not None:
        noise.set_keypair_from_private_bytes(Keypair.STATIC, local)
    if remote is not None:
        noise.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, remote)
    if ephemeral is not None:
        noise.set_keypair_from_private_bytes(Keypair.EPHEMERAL, ephemeral)
    if psk is not None:
        noise.set_psks(psk=psk)
    noise.start_handshake()
    return noise


def hello(suite, public, *, local=None, ticket=b"", psk=None, ephemeral=None, **fixed_fields):
    """The bytes of a hello, and the handshake that waits for message 2."""
    fixed = fixed_part(suite, public, ticket, **fixed_fields)
    remote = None if SUITES[suite][0] in ("NNpsk0", "XX") else public
    noise = handshake(suite, True, fixed, ticket, local=local, remote=remote, psk=psk, ephemeral=ephemeral)
    message_1 = bytes(noise.write_message(b""))
    assert len(message_1) == SUITES[suite][2]
    if suite in UNPINNED:
        return fixed + bytes(16) + struct.pack(">H", len(message_1)) + message_1, noise
    return gated(public, fixed, ticket, message_1), noise


def read_message_2(read, noise, suite, better=0):
    """Reads message 2 with `read(n)` and checks the offer in it. Returns versions and suites of the responder.

    `better` is the set of suites the caller would rather have used and could have. Suites of streams are configured
    and not negotiated. Version 1 is the only one spoken here, so no version is better.
    """
    head = read(2)
    if head == MAGIC[:2]:
        reply = head + read(14)
        raise Rejected(reply) if reply.startswith(MAGIC + b"\x01") else Violation("magic")
    (length,) = struct.unpack(">H", head)
    if not (100 if suite in UNPINNED else 52) <= length <= MESSAGE_LEN_MAX:
        raise Violation("handshake_length")
    try:
        payload = bytes(noise.read_message(read(length)))
    except Silence:
        raise
    except Exception as broken:  # noiseprotocol lets several kinds of exceptions through
        raise Violation("handshake") from broken
    versions, suites = payload[0], int.from_bytes(payload[1:4], "big")
    on_link = suite_set(suite) != 0
    if not versions >> VERSION & 1 or on_link and (suites & better or not suites >> suite & 1):
        raise Violation("downgrade")
    return versions, suites


def message_3(noise):
    """What follows message 2 with XX (4.4)."""
    message = bytes(noise.write_message(b""))
    assert len(message) == 64
    return struct.pack(">H", len(message)) + message


class Listener:
    """A responder's key and what it allows: answers hellos as 3.1 says, for links and for streams."""

    def __init__(self, private, *suites):
        self.private = private
        self.public = public_of(private)
        self.retired = []
        self.allowed = suites
        self.offer = offer(1 << VERSION, suite_set(*suites))

    def reply(self, reason, wait_ms=0):
        return MAGIC + bytes([1, reason]) + self.offer + key_id(self.public) + struct.pack(">H", wait_ms // 100)

    def read_hello(self, sock):
        """Lines 1 to 11: suite, fixed part, ticket field and message 1. Violation stands for silence."""
        def read(count):
            return read_exactly(sock, count)

        fixed = read(1)
        while len(fixed) < 4 and MAGIC.startswith(fixed):
            fixed += read(1)
        if fixed != MAGIC:
            raise Violation("magic")
        fixed, tag = fixed + read(12), read(16)
        version, suite, versions, ticket_len = fixed[4], fixed[5], fixed[10], struct.unpack(">H", fixed[14:])[0]
        lengths = message_1_lengths(version, suite)
        if version == 0 or ticket_len > (TICKET_LEN_MAX if lengths else TICKET_LEN_MAX_UNKNOWN):
            raise Violation("preamble")
        meant = next((key for key in (self.public, *self.retired) if key_id(key) == fixed[6:10]), None)
        if meant is None:
            raise Violation("gate")
        ticket = read(ticket_len)
        (length,) = struct.unpack(">H", read(2))
        low, high = lengths or (1, MESSAGE_LEN_MAX)
        if not low <= length <= high:
            raise Violation("handshake_length")
        message_1 = read(length)
        if select.select([sock], [], [], 0)[0]:
            raise Violation("early")
        if not hmac.compare_digest(tag, gate_tag(meant, fixed, ticket, message_1)):
            raise Violation("gate")
        if meant != self.public:
            raise Turned("retired_key")
        if version != VERSION:
            raise Turned("version")
        if suite not in self.allowed:
            raise Turned("suite")
        bit = suite_set(suite)
        suites = int.from_bytes(fixed[11:14], "big")
        pattern = SUITES[suite][0]
        fits = ticket_len > 0 if pattern == "NNpsk0" else ticket_len == (4 if pattern == "KK" else 0)
        if not versions >> version & 1 or (suites & bit == 0 if bit else suites != 0) or not fits:
            raise Violation("preamble")
        return suite, fixed, ticket, message_1

    @staticmethod
    def open(suite, fixed, ticket, message_1, **keys):
        """Line 15: reads message 1. Returns the handshake that waits for `answer`."""
        noise = handshake(suite, False, fixed, ticket, **keys)
        try:
            noise.read_message(message_1)
        except Exception as broken:  # as above
            raise Violation("handshake") from broken
        return noise

    def answer(self, sock, noise):
        """Line 16: message 2."""
        message_2 = bytes(noise.write_message(self.offer))
        sock.sendall(struct.pack(">H", len(message_2)) + message_2)
        return noise


def message_1_lengths(version, suite):
    """Shortest and longest message 1 of a version and suite that are known, and that means served; else None."""
    if version != VERSION:
        return None
    if suite == CLEAR:
        return 1, 0  # It has none, so no length is right.
    return (SUITES[suite][2],) * 2 if suite in SUITES else None


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data, at):
    """The varint at `at` and where it ends, or None if it is not whole. It need not be the shortest (7.2)."""
    value = 0
    for index, byte in enumerate(data[at : at + 10]):
        if index == 9 and byte > 1:
            raise Violation("frame_encoding")
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    return None


def plain_fields(body):
    """The fields of a message: number, wire type, and the value or the bytes."""
    at = 0

    def number():
        nonlocal at
        found = read_varint(body, at)
        if found is None:
            raise Violation("frame_encoding")
        value, at = found
        return value

    while at < len(body):
        tag = number()
        field, wire_type = tag >> 3, tag & 7
        if not 1 <= field < 1 << 29 or wire_type in (3, 4, 6, 7):
            raise Violation("frame_encoding")
        if wire_type == 0:
            yield field, wire_type, number()
            continue
        length = {1: 8, 5: 4}.get(wire_type)
        if length is None:
            length = number()
        if length > len(body) - at:
            raise Violation("frame_encoding")
        yield field, wire_type, bytes(body[at : at + length])
        at += length


def shortest(body, descriptor):
    """The same message with the shortest varints: protobuf takes tags and lengths of five bytes, 7.2 of ten.

    Looks at all that 7.2 forbids and protobuf lets through, such as groups inside a kind.
    """
    out = bytearray()
    for field, wire_type, value in plain_fields(body):
        out += varint(field << 3 | wire_type)
        if wire_type == 0:
            out += varint(value)
            continue
        if wire_type == 2:
            known = descriptor.fields_by_number.get(field)
            if known is not None and known.message_type is not None:
                value = shortest(value, known.message_type)
            out += varint(len(value))
        out += value
    return bytes(out)


def parse(body, frame_type):
    """The frame in `body`, which holds one known kind at most."""
    kinds = frame_type.DESCRIPTOR.fields_by_number
    found = [field for field, wire_type, _ in plain_fields(body) if wire_type == 2 and field in kinds]
    if len(found) > 1:
        raise Violation("frame_encoding")
    try:
        return frame_type.FromString(shortest(body, frame_type.DESCRIPTOR))
    except DecodeError as broken:
        raise Violation("frame_encoding") from broken


def framed(frame):
    """Length and body of a frame: a protobuf message, or bytes that pose as one."""
    body = frame if isinstance(frame, bytes) else frame.SerializeToString()
    return varint(len(body)) + body


class Records:
    """Records and frames over a connected socket. `noise` is a finished handshake, or None for clear streams."""

    def __init__(self, sock, noise, frame_type):
        self.sock = sock
        self.noise = noise
        self.frame_type = frame_type
        self.sent = 0
        self.received = 0
        self.plain = bytearray()
        self.frame_len_max = FRAME_LEN_MAX  # of what comes in
        self.record_len_max = RECORD_LEN_MAX
        self.tag_len = TAG_LEN if noise else 0

    def seal(self, plaintext):
        """One record, header and all."""
        if self.noise:
            if self.sent and self.sent % REKEY_INTERVAL == 0:
                self.noise.rekey_outbound_cipher()
            plaintext = self.noise.encrypt(plaintext)
        self.sent += 1
        return struct.pack(">H", len(plaintext)) + plaintext

    def send_plain(self, plaintext, plain_max=None):
        """Seals bytes of the frame stream, cut into records of at most `plain_max` bytes, and sends them at once."""
        size = plain_max or self.record_len_max - self.tag_len
        pieces = [plaintext[at : at + size] for at in range(0, len(plaintext), size)]
        self.sock.sendall(b"".join(self.seal(bytes(piece)) for piece in pieces))

    def send(self, *frames, plain_max=None):
        self.send_plain(b"".join(framed(frame) for frame in frames), plain_max)

    def pad(self, zeros=0):
        """A `Pad` frame of so many zeros."""
        frame = self.frame_type()
        frame.pad.zeros = bytes(zeros)
        frame.pad.SetInParent()
        return frame

    def read(self, count):
        return read_exactly(self.sock, count)

    def open_record(self):
        (length,) = struct.unpack(">H", self.read(2))
        if length <= self.tag_len:
            raise Violation("record_empty")
        if length > self.record_len_max_in():
            raise Violation("record_length")
        record = self.read(length)
        if self.noise:
            if self.received and self.received % REKEY_INTERVAL == 0:
                self.noise.rekey_inbound_cipher()
            try:
                record = self.noise.decrypt(record)
            except NoiseInvalidMessage as broken:
                raise Violation("record") from broken
        self.received += 1
        self.plain += record

    def record_len_max_in(self):
        return RECORD_LEN_MAX

    def take_frame(self):
        """The next whole frame of what is opened, or None."""
        found = read_varint(self.plain, 0)
        if found is None:
            return None
        length, start = found
        if length == 0:
            raise Violation("frame_empty")
        if length > self.frame_len_max:
            raise Violation("frame_length")
        if len(self.plain) < start + length:
            return None
        body = bytes(self.plain[start : start + length])
        del self.plain[: start + length]
        return parse(body, self.frame_type)

    def receive(self):
        """The next frame. Raises Silence at the end of bytes."""
        while (frame := self.take_frame()) is None:
            self.open_record()
        return frame

    def finish(self, close):
        """Sends `close`, reads until the peer's end of bytes (8.7), closes."""
        try:
            self.send(close)
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(1)
            left = 65_536
            while left > 0 and (piece := self.sock.recv(left)):
                left -= len(piece)
        except OSError:
            pass
        self.sock.close()


def read_exactly(sock, count):
    data = bytearray()
    while len(data) < count:
        try:
            piece = sock.recv(count - len(data))
        except ConnectionResetError:
            piece = b""
        if not piece:
            raise Silence(f"end of bytes after {len(data)} of {count}")
        data += piece
    return bytes(data)
