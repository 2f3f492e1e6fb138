"""Tickets as gateways see them (section 5 of protocol/SPEC.md): what nodes that share a group key must agree on."""

import hashlib
import hmac
import secrets
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import wire

FORMAT = 1
CONTENT_LEN = 320
TICKET_LEN = 4 + 16 + CONTENT_LEN + wire.TAG_LEN
HOUR_MS = 3_600_000
LIFE_MS, CHAIN_MS, SKEW_MS = 12 * HOUR_MS, 7 * 24 * HOUR_MS, 60_000
HEAD = struct.Struct(">B32sB4sQQQQQI")
DEVICE_KEY, BOUND_KEY, CLASSES = 1, 2, 4


class Worthless(Exception):
    """The ticket is worth nothing here, 5."""


@dataclass
class Content:
    """Times are Unix ms; an end of 0 is none."""

    psk: bytes
    server_key_id: bytes
    user: bytes
    device: bytes
    issued: int
    auth_time: int
    login: int = 1
    origin_suite: int = wire.NK
    token_end: int = 0
    ticket_end: int = 0
    device_key: bytes = b""
    bound_key: bytes = b""
    device_class: int = 0
    limit_class: bytes = b""
    format: int = FORMAT

    def plain(self):
        times = self.issued, self.auth_time, self.login, self.token_end, self.ticket_end
        head = HEAD.pack(self.format, self.psk, self.origin_suite, self.server_key_id, *times, 0)
        names = b"".join(bytes([len(name)]) + name for name in (self.user, self.device))
        flags = DEVICE_KEY * bool(self.device_key) | BOUND_KEY * bool(self.bound_key)
        classes = b""
        if self.device_class or self.limit_class:
            flags |= CLASSES
            classes = bytes([self.device_class, len(self.limit_class)]) + self.limit_class
        keys = self.device_key + self.bound_key
        return (head + names + bytes([flags]) + keys + classes).ljust(CONTENT_LEN, b"\0")

    def seal(self, group_key, realm, salt=None):
        """The ticket. `salt` is given in tests only; else it is random."""
        salt = salt or secrets.token_bytes(16)
        named = group_key_id(group_key) + salt
        return named + AESGCM(sealing_key(group_key, realm, salt)).encrypt(bytes(12), self.plain(), named)

    def end(self):
        """The moment from which the ticket is no longer good."""
        ends = self.issued + LIFE_MS, self.auth_time + CHAIN_MS, self.token_end, self.ticket_end
        return min(end for end in ends if end)

    def check(self, now_ms, server_key_id, allowed):
        """Whether it is worth something on this listener now; raises Worthless."""
        if self.server_key_id != server_key_id:
            raise Worthless("another server key")
        if self.origin_suite not in allowed or wire.SUITES[self.origin_suite][0] not in ("NK", "IK"):
            raise Worthless("its chain began with a suite that is not allowed")
        if self.issued > now_ms + SKEW_MS or now_ms >= self.end():
            raise Worthless("its time is not now")


def unseal(ticket, group_key, realm):
    """What is in a ticket. Every byte of it has its place; raises Worthless."""
    named, sealed = ticket[:20], ticket[20:]
    if len(ticket) != TICKET_LEN or named[:4] != group_key_id(group_key):
        raise Worthless("no key opens it")
    try:
        plain = AESGCM(sealing_key(group_key, realm, named[4:])).decrypt(bytes(12), sealed, named)
    except InvalidTag as broken:
        raise Worthless("it does not open") from broken
    version, psk, origin_suite, server_key_id, *times, _ = HEAD.unpack(plain[: HEAD.size])
    rest = plain[HEAD.size :]

    def take(count):
        nonlocal rest
        taken, rest = rest[:count], rest[count:]
        return taken

    user = take(take(1)[0])
    device = take(take(1)[0])
    flags = (take(1) or b"\0")[0]
    content = Content(
        psk,
        server_key_id,
        user,
        device,
        *times[:3],
        origin_suite,
        *times[3:],
        device_key=take(32) if flags & DEVICE_KEY else b"",
        bound_key=take(32) if flags & BOUND_KEY else b"",
        device_class=(take(1) or b"\0")[0] if flags & CLASSES else 0,
        limit_class=take((take(1) or b"\0")[0]) if flags & CLASSES else b"",
        format=version,
    )
    names_fit = all(1 <= len(name) <= 64 for name in (user, device))
    # With IK, and with IK only, the device key is there.
    is_ik = wire.SUITES.get(origin_suite, ("",))[0] == "IK"
    classes_fit = content.device_class <= 5 and len(content.limit_class) <= 32
    if version != FORMAT or not names_fit or not classes_fit or is_ik != bool(content.device_key) or content.plain() != plain:
        raise Worthless("its content breaks the rules")
    return content


def group_key_id(group_key):
    return hashlib.sha256(b"access-gateway ticket key id v1" + group_key).digest()[:4]


def sealing_key(group_key, realm, salt):
    covered = b"access-gateway ticket v1" + hashlib.sha256(realm).digest() + salt
    return hmac.digest(group_key, covered, "sha256")
