"""Drives a running gateway with the Python client: `test_foreign.py --target-file FILE` (its ready file).

Prints one line per test and `N passed, N failed`. Every test opens its own links; each read has a deadline.
"""

import argparse
import json
import os
import secrets
import struct
import sys
import time
import traceback

import wire
from client import Client, Closed, dial
from wire import link

TESTS = []
NORMAL, MALFORMED, TOO_LARGE, UNEXPECTED, AUTH_FAILED, RATE_EXCEEDED, REPLACED = 1, 4, 5, 6, 7, 15, 11
NO_ROUTE = 2


class NotRun(Exception):
    """The test has nothing to look at here; the reason is printed."""


def test(function):
    TESTS.append(function)
    return function


class Target:
    """Where the gateway is and how to get in."""

    def __init__(self, ready):
        self.address = ready["listen"]
        self.key = bytes.fromhex(ready["server_key"])
        self.token = ready["token"].encode()
        self.is_loopback = False

    def connect(self, suite=wire.NK, **keys):
        return Client(self.address, self.key, suite, **keys)

    def login(self, suite=wire.NK, **keys):
        client = self.connect(suite, **keys)
        # A device of its own, or the link would replace another test's.
        client.login(self.token, b"foreign", secrets.token_hex(8).encode())
        return client


def expect(what, holds):
    if not holds:
        raise AssertionError(what)


def expect_close(client, code):
    """The next frames end in `Close` with this code, and the gateway sends nothing after it."""
    try:
        while True:
            client.receive()
    except Closed as closed:
        expect(f"close code {code}, got {closed.code}", closed.code == code)


def expect_silence(sock, sent=b""):
    """The gateway closes without a byte."""
    if sent:
        sock.sendall(sent)
    sock.settimeout(15)
    try:
        answer = sock.recv(1)
    except ConnectionResetError:
        answer = b""
    expect(f"silence, got {answer!r}", answer == b"")
    sock.close()


def conversation(target, suite, **keys):
    """The whole way once: echo of several sizes, ping, close."""
    client = target.login(suite, **keys)
    expect("a session id", len(client.welcome.session) == 16)
    expect("the gateway names the user", client.welcome.user == b"foreign")
    low, now, high = client.welcome.heartbeat_min_ms, client.welcome.heartbeat_ms, client.welcome.heartbeat_max_ms
    expect(f"heartbeat {now} within {low}..{high}", low <= now <= high)
    for size in (0, 1, 100, 5_000, 20_000):
        payload = os.urandom(size)
        response = client.request("echo", payload)
        expect(f"answered, got {response.outcome} {response.code}", response.outcome == link.ANSWERED)
        expect("status 0", response.code == 0)
        expect(f"echo of {size} bytes", response.payload == payload)
    for nonce in (0, 1, 2**32 - 1):
        expect("the nonce comes back", client.ping(nonce) == nonce)
    client.close(NORMAL)


@test
def nk_chachapoly_echoes(target):
    conversation(target, wire.NK)


@test
def nk_aesgcm_echoes(target):
    conversation(target, wire.NK_AESGCM)


@test
def ik_chachapoly_echoes(target):
    conversation(target, wire.IK, device_key=os.urandom(32))


@test
def ik_aesgcm_echoes(target):
    conversation(target, wire.IK_AESGCM, device_key=os.urandom(32))


@test
def a_ticket_replaces_the_token(target):
    device = secrets.token_hex(8).encode()
    first = target.connect()
    tickets = first.login(target.token, b"foreign", device).tickets
    first.close(NORMAL)
    if not tickets:
        raise NotRun("the gateway gives no tickets")
    for suite, ticket in zip((wire.TICKET, wire.TICKET_AESGCM), tickets):
        expect("32 bytes of psk", len(ticket.psk) == 32)
        client = target.connect(suite, ticket=ticket.ticket, psk=ticket.psk)
        client.login(b"", b"foreign", device)
        expect("echo", client.request("echo", b"again").payload == b"again")
        client.close(NORMAL)


@test
def a_broken_ticket_meets_silence(target):
    first = target.login()
    tickets = first.welcome.tickets
    first.close(NORMAL)
    if not tickets:
        raise NotRun("the gateway gives no tickets")
    broken = bytearray(tickets[0].ticket)
    broken[-1] ^= 1
    hello, _ = wire.hello(wire.TICKET, target.key, ticket=bytes(broken), psk=tickets[0].psk)
    expect_silence(dial(target.address), hello)


@test
def a_wrong_gate_tag_meets_silence(target):
    for bit in (0, 127):
        hello, _ = wire.hello(wire.NK, target.key)
        hello = bytearray(hello)
        hello[16 + bit // 8] ^= 1 << bit % 8
        expect_silence(dial(target.address), bytes(hello))


@test
def another_servers_key_meets_silence(target):
    hello, _ = wire.hello(wire.NK, wire.public_of(os.urandom(32)))
    expect_silence(dial(target.address), hello)


@test
def a_message_1_that_does_not_open_meets_silence(target):
    """The tag is right, so the gateway goes as far as the curve."""
    fixed = wire.fixed_part(wire.NK, target.key)
    message_1 = wire.public_of(os.urandom(32)) + bytes(16)
    tag = wire.gate_tag(target.key, fixed, b"", message_1)
    expect_silence(dial(target.address), fixed + tag + struct.pack(">H", 48) + message_1)


@test
def a_ticket_where_the_suite_has_none_meets_silence(target):
    ticket = bytes(16)
    fixed = wire.fixed_part(wire.NK, target.key, ticket)
    noise = wire.handshake(wire.NK, True, fixed, ticket, remote=target.key)
    message_1 = bytes(noise.write_message(b""))
    tag = wire.gate_tag(target.key, fixed, ticket, message_1)
    expect_silence(dial(target.address), fixed + tag + ticket + struct.pack(">H", 48) + message_1)


@test
def bytes_behind_message_1_meet_silence(target):
    hello, _ = wire.hello(wire.NK, target.key)
    expect_silence(dial(target.address), hello + b"\0")


@test
def other_protocols_meet_silence(target):
    for first in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes.fromhex("16030100c8010000c40303") + bytes(200), b"\xac\xce\x55\x0b"):
        expect_silence(dial(target.address), first)


@test
def lengths_of_message_1_are_exact(target):
    fixed = wire.fixed_part(wire.NK, target.key)
    for length in (0, 47, 49, 65_535):
        message_1 = bytes(min(length, 96))
        tag = wire.gate_tag(target.key, fixed, b"", message_1)
        expect_silence(dial(target.address), fixed + tag + struct.pack(">H", length) + message_1)


@test
def an_unknown_suite_gets_the_clear_reply(target):
    for suite in (5, 14, 255):
        fixed = wire.fixed_part(suite, target.key, suites=1 << 5)
        message_1 = os.urandom(32)
        tag = wire.gate_tag(target.key, fixed, b"", message_1)
        sock = dial(target.address)
        sock.sendall(fixed + tag + struct.pack(">H", len(message_1)) + message_1)
        reply = wire.read_exactly(sock, 16)
        expect("magic", reply[:4] == wire.MAGIC)
        rejected = wire.Rejected(reply)
        expect(f"reason 2, got {rejected.reason}", rejected.reason == 2)
        expect("NK is offered", rejected.suites >> wire.NK & 1)
        expect("the current key", rejected.key_id == wire.key_id(target.key))
        expect_silence(sock)


@test
def an_unknown_version_gets_the_clear_reply(target):
    fixed = wire.fixed_part(wire.NK, target.key, version=9)
    message_1 = os.urandom(48)
    tag = wire.gate_tag(target.key, fixed, b"", message_1)
    sock = dial(target.address)
    sock.sendall(fixed + tag + struct.pack(">H", 48) + message_1)
    rejected = wire.Rejected(wire.read_exactly(sock, 16))
    expect(f"reason 1, got {rejected.reason}", rejected.reason == 1)
    expect("version 1 is offered", rejected.versions >> 1 & 1)


@test
def a_hello_in_single_bytes_is_a_hello(target):
    sock = dial(target.address)
    hello, noise = wire.hello(wire.NK, target.key)
    for byte in hello:
        sock.sendall(bytes([byte]))
    wire.read_message_2(lambda n: wire.read_exactly(sock, n), noise, wire.NK)
    sock.close()


@test
def a_wrong_token_is_auth_failed(target):
    client = target.connect()
    client.send(client.auth(b"not the token", b"foreign"))
    expect_close(client, AUTH_FAILED)


@test
def requests_behind_a_failed_auth_are_not_answered(target):
    client = target.connect()
    client.send(client.auth(b"not the token", b"foreign"), client.request_frame("echo", b"never"))
    try:
        while True:
            response = client.wait_for("response")
            expect("at most refused: auth", (response.outcome, response.code) == (link.REFUSED, 4))
    except Closed as closed:
        expect(f"auth_failed, got {closed.code}", closed.code == AUTH_FAILED)


@test
def an_auth_without_device_is_malformed(target):
    client = target.connect()
    client.send(client.auth(target.token, b"foreign", b""))
    expect_close(client, MALFORMED)


@test
def the_first_frame_must_be_auth(target):
    client = target.connect()
    client.send(link.Frame(ping=link.Ping(nonce=1)))
    expect_close(client, UNEXPECTED)


@test
def a_record_before_welcome_has_4096_bytes_at_most(target):
    client = target.connect()
    client.sock.sendall(struct.pack(">H", 4_097))
    expect_close(client, TOO_LARGE)


@test
def frames_may_follow_auth_in_the_same_record(target):
    client = target.connect()
    request = client.request_frame("echo", b"early")
    ping = link.Frame(ping=link.Ping(nonce=5))
    client.login(target.token, b"foreign", secrets.token_hex(8).encode(), behind=(request, ping))
    seen = {}
    while len(seen) < 2:
        frame = client.receive()
        seen[frame.WhichOneof("kind")] = frame
    expect("echo", seen["response"].response.payload == b"early")
    expect("pong", seen["pong"].pong.nonce == 5)
    client.close(NORMAL)


@test
def a_frame_may_span_records(target):
    client = target.login()
    expect("one byte per record", client.request("echo", b"x" * 200, plain_max=1).payload == b"x" * 200)
    payload = os.urandom(40_000)
    expect("7 bytes per record", client.request("echo", payload, plain_max=777).payload == payload)
    client.close(NORMAL)


@test
def a_record_may_hold_many_frames(target):
    client = target.login()
    pings = [link.Frame(ping=link.Ping(nonce=n)) for n in range(20)]
    requests = [client.request_frame("echo", b"%d" % n) for n in range(10)]
    client.send(*pings[:10], *requests, *pings[10:])
    pongs, answers = [], {}
    while len(pongs) < 20 or len(answers) < 10:
        frame = client.receive()
        if frame.WhichOneof("kind") == "pong":
            pongs.append(frame.pong.nonce)
        else:
            answers[frame.response.id] = frame.response.payload
    expect("pongs in order", pongs == list(range(20)))
    expect("each its own answer", answers == {r.request.id: r.request.payload for r in requests})
    client.close(NORMAL)


@test
def the_longest_frame_passes_and_a_longer_one_is_too_large(target):
    client = target.login()
    frame = client.request_frame("echo", b"")
    overhead = len(client.request_frame("echo", bytes(60_000)).SerializeToString()) - 60_000
    frame.request.payload = bytes(client.frame_len_max_up - overhead)
    expect("exactly the limit", len(frame.SerializeToString()) == client.frame_len_max_up)
    client.send(frame)
    response = client.wait_for("response")
    expect("answered, or refused by a shorter stream", (response.outcome, response.code) in ((0, 0), (1, 5)))
    client.send_plain(wire.varint(client.frame_len_max_up + 1))
    expect_close(client, TOO_LARGE)


@test
def the_first_frame_is_short(target):
    client = target.connect()
    client.send_plain(wire.varint(4_097))
    expect_close(client, TOO_LARGE)


@test
def a_record_above_its_limit_is_too_large(target):
    client = target.login()
    client.sock.sendall(struct.pack(">H", client.record_len_max + 1))
    expect_close(client, TOO_LARGE)


@test
def broken_encodings_are_malformed(target):
    ping = link.Ping(nonce=1).SerializeToString()
    kind = bytes([4 << 3 | 2, len(ping)]) + ping
    cases = {
        "frame of length 0": b"\0",
        "two kinds in one frame": wire.framed(kind + kind),
        "a field over the end": wire.framed(kind[:-1]),
        "a group": wire.framed(bytes([4 << 3 | 3, 4 << 3 | 4])),
        "field number 0": wire.framed(b"\x02\x00"),
        "a varint without end": b"\xff" * 10,
        "a request without id": wire.framed(link.Frame(request=link.Request(route="echo"))),
        "a request without route": wire.framed(link.Frame(request=link.Request(id=bytes(16)))),
        "a route too long": wire.framed(link.Frame(request=link.Request(id=bytes(16), route="r" * 33))),
        "a key too long": wire.framed(link.Frame(request=link.Request(id=bytes(16), route="echo", key=bytes(65)))),
    }
    for name, plain in cases.items():
        client = target.login()
        client.send_plain(plain)
        try:
            expect_close(client, MALFORMED)
        except (AssertionError, wire.Silence) as broken:
            raise AssertionError(f"{name}: {broken}") from broken


@test
def an_empty_record_is_malformed(target):
    client = target.login()
    client.sock.sendall(client.seal(b""))
    expect_close(client, MALFORMED)


@test
def a_record_that_does_not_open_ends_in_silence(target):
    client = target.login()
    record = bytearray(client.seal(wire.framed(link.Frame(ping=link.Ping(nonce=1)))))
    record[-1] ^= 1
    expect_silence(client.sock, bytes(record))


@test
def a_repeated_record_ends_in_silence(target):
    client = target.login()
    record = client.seal(wire.framed(link.Frame(ping=link.Ping(nonce=1))))
    client.sock.sendall(record)
    expect("the first counts", client.wait_for("pong").nonce == 1)
    expect_silence(client.sock, record)


@test
def a_frame_of_the_other_direction_is_unexpected(target):
    for frame in (link.Frame(pong=link.Pong(nonce=1)), link.Frame(push=link.Push(payload=b"x"))):
        client = target.login()
        client.send(frame)
        expect_close(client, UNEXPECTED)


@test
def unknown_frames_and_fields_are_skipped(target):
    client = target.login()
    unknown = b"\xf2\x07\x03abc"  # field 126, bytes
    field = link.Ping(nonce=9).SerializeToString() + b"\xf0\x07\x05"  # field 126, varint
    client.send(unknown, bytes([4 << 3 | 2, len(field)]) + field)
    expect("the ping counts", client.wait_for("pong").nonce == 9)
    client.close(NORMAL)


@test
def too_many_unknown_frames_are_rate_exceeded(target):
    client = target.login()
    client.send(*[b"\xf2\x07\x03abc"] * 101)
    expect_close(client, RATE_EXCEEDED)


@test
def an_unknown_route_is_refused(target):
    client = target.login()
    response = client.request("no such route", b"x")
    expect("refused: no_route", (response.outcome, response.code) == (link.REFUSED, NO_ROUTE))
    expect("the link goes on", client.ping(3) == 3)
    client.close(NORMAL)


@test
def a_second_login_of_the_device_replaces_the_first(target):
    if target.is_loopback:
        raise NotRun("the loopback gateway has no claims")
    device = secrets.token_hex(8).encode()
    first, second = target.connect(), target.connect()
    first.login(target.token, b"foreign", device)
    second.login(target.token, b"foreign", device)
    try:
        first.receive()
        raise AssertionError("the first link goes on")
    except Closed as closed:
        expect(f"replaced, got {closed.code}", closed.code == REPLACED)
        expect("do not reconnect", closed.close.do_not_reconnect)
    expect("the second goes on", second.ping(1) == 1)
    second.close(NORMAL)


@test
def keys_are_renewed_after_65536_records(target):
    """Upwards 65,600 records in a few writes; the pongs come in fewer records down."""
    client = target.login()
    ping = wire.framed(link.Frame(ping=link.Ping(nonce=7)))
    left = wire.REKEY_INTERVAL + 64
    while left:
        count = min(left, 1_000)
        client.sock.sendall(b"".join(client.seal(ping) for _ in range(count)))
        for _ in range(count):
            expect("pong", client.wait_for("pong").nonce == 7)
        left -= count
    expect("the key was renewed", client.sent > wire.REKEY_INTERVAL)
    client.close(NORMAL)


def run(target, only=""):
    """Runs all tests whose name contains `only`; returns how many failed."""
    passed = failed = 0
    for function in TESTS:
        if only not in function.__name__:
            continue
        start = time.monotonic()
        try:
            function(target)
        except NotRun as reason:
            print(f"NOT RUN: {function.__name__}: {reason}", flush=True)
            continue
        except Exception:
            failed += 1
            print(f"FAILED   {function.__name__}", flush=True)
            traceback.print_exc(limit=-3)
        else:
            passed += 1
            print(f"ok       {function.__name__} ({time.monotonic() - start:.2f} s)", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target-file", required=True)
    parser.add_argument("--only", default="", help="run the tests whose name contains this")
    options = parser.parse_args()
    with open(options.target_file, encoding="utf-8") as file:
        target = Target(json.load(file))
    sys.exit(1 if run(target, options.only) else 0)


if __name__ == "__main__":
    main()
