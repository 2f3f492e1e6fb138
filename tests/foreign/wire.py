"""Sections 3 to 7 of protocol/SPEC.md: hello, handshake, records, frames. Both roles, over a socket."""

import hashlib
import hmac
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
TICKET, TICKET_AESGCM = 7, 8
KK, KK_AESGCM = 9, 10
CLEAR = 15
#                pattern, cipher, bytes of message 1
SUITES = {
    1: ("NK", "ChaChaPoly", 48),
    2: ("NK", "AESGCM", 48),
    3: ("IK", "ChaChaPoly", 96),
    4: ("IK", "AESGCM", 96),
    7: ("NNpsk0", "ChaChaPoly", 48),
    8: ("NNpsk0", "AESGCM", 48),
    9: ("KK", "ChaChaPoly", 48),
    10: ("KK", "AESGCM", 48),
}
REKEY_INTERVAL = 65_536
TAG_LEN = 16
FRAME_LEN_MAX = 65_536
FRAME_LEN_MAX_DOWN = 1_048_576
RECORD_LEN_MAX = 65_535
RECORD_LEN_MAX_UNAUTHENTICATED = 4_096


class Silence(Exception):
    """The peer closed without having said anything more."""


class Rejected(Exception):
    """The responder answered with the clear reply."""

    def __init__(self, reply):
        super().__init__(f"clear reply, reason {reply[5]}")
        self.reason = reply[5]
        self.versions, self.suites = struct.unpack(">HH", reply[6:10])
        self.key_id = reply[10:14]


class Violation(Exception):
    """The peer broke a rule."""

    def __init__(self, error):
        super().__init__(error)
        self.error = error


def key_id(public):
    return hashlib.sha256(public).digest()[:4]


def public_of(private):
    """The public key of a private X25519 key."""
    noise = NoiseConnection.from_name(b"Noise_NK_25519_ChaChaPoly_SHA256")
    return noise.noise_protocol.dh_fn.klass.from_private_bytes(private).public_bytes


def fixed_part(suite, public, ticket=b"", version=VERSION, suites=None):
    suites = 1 << suite if suites is None else suites
    head = MAGIC + bytes([version, suite]) + (key_id(public) if suite != CLEAR else bytes(4))
    return head + struct.pack(">HHH", 1 << VERSION, suites, len(ticket))


def gate_tag(public, fixed, ticket, message_1):
    gate_key = hashlib.sha256(b"access-gateway gate v1" + public).digest()
    covered = fixed + ticket + struct.pack(">H", len(message_1)) + message_1
    return hmac.digest(gate_key, covered, "sha256")[:16]


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


def hello(suite, public, *, local=None, ticket=b"", psk=None, **fixed_fields):
    """The bytes of a hello, and the handshake that waits for message 2."""
    fixed = fixed_part(suite, public, ticket, **fixed_fields)
    remote = None if SUITES[suite][0] == "NNpsk0" else public
    noise = handshake(suite, True, fixed, ticket, local=local, remote=remote, psk=psk)
    message_1 = bytes(noise.write_message(b""))
    assert len(message_1) == SUITES[suite][2]
    tag = gate_tag(public, fixed, ticket, message_1)
    return fixed + tag + ticket + struct.pack(">H", len(message_1)) + message_1, noise


def read_message_2(read, noise, suite, better=0):
    """Reads message 2 with `read(n)` and checks the offer in it. Returns versions and suites of the responder.

    `better` is the set of suites the caller would rather have used.
    """
    head = read(2)
    if head == MAGIC[:2]:
        raise Rejected(head + read(14))
    (length,) = struct.unpack(">H", head)
    if not 52 <= length <= 512:
        raise Violation("handshake_length")
    try:
        payload = bytes(noise.read_message(read(length)))
    except Exception as broken:  # noiseprotocol lets several kinds of exceptions through
        raise Violation("handshake") from broken
    versions, suites = struct.unpack(">HH", payload[:4])
    if suites & better or not versions >> VERSION & 1 or not suites >> suite & 1:
        raise Violation("downgrade")
    return versions, suites


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def check_kinds(body, kinds):
    """What protobuf would let through and 7.2 does not: two kinds in one frame, groups, field number 0."""
    at = found = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = body[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(body):
        tag = number()
        field, wire_type = tag >> 3, tag & 7
        if field == 0 or wire_type in (3, 4, 6, 7):
            raise Violation("frame_encoding")
        if wire_type == 0:
            number()
        else:
            length = {1: 8, 5: 4}.get(wire_type) or number()
            at += length
        found += wire_type == 2 and field in kinds
    if found > 1 or at > len(body):
        raise Violation("frame_encoding")


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
        length = 0
        for index, byte in enumerate(self.plain):
            if index == 9 and byte > 1:
                raise Violation("frame_encoding")
            length |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                break
        else:
            return None
        if length == 0:
            raise Violation("frame_empty")
        if length > self.frame_len_max:
            raise Violation("frame_length")
        start = index + 1
        if len(self.plain) < start + length:
            return None
        body = bytes(self.plain[start : start + length])
        del self.plain[: start + length]
        try:
            check_kinds(body, self.frame_type.DESCRIPTOR.fields_by_number)
            return self.frame_type.FromString(body)
        except (DecodeError, IndexError) as broken:
            raise Violation("frame_encoding") from broken

    def receive(self):
        """The next frame. Raises Silence at the end of bytes."""
        while (frame := self.take_frame()) is None:
            self.open_record()
        return frame

    def finish(self, close):
        """Sends `close`, reads until the peer's end of bytes (8.7), closes."""
        self.send(close)
        try:
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(1)
            while self.sock.recv(65_536):
                pass
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
