"""Drives a running gateway with the Python client: `test_foreign.py --target-file FILE` (its ready file).

Here is what a link does; the hello before it has test_hello.py.
"""

import argparse
import json
import os
import secrets
import struct
import sys
import time

import chat
import checks
import test_hello
import wire
from checks import UNKNOWN, LeftOut, Target, a_device, expect, expect_close, expect_silence, named, test
from client import Closed, Installation, Pins
from wire import CODES, REFUSALS, link


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
    client.close()


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
def a_wrong_token_is_auth_failed(target):
    client = target.connect()
    client.send(client.auth(b"not the token", b"foreign"))
    expect("a fresh token may be good", not expect_close(client, "auth_failed").do_not_reconnect)


@test
def requests_behind_a_failed_auth_are_not_answered(target):
    client = target.connect()
    client.send(client.auth(b"not the token", b"foreign"), client.request_frame("echo", b"never"))
    try:
        while True:
            response = client.wait_for("response")
            expect("at most refused: auth", (response.outcome, response.code) == (link.REFUSED, REFUSALS["auth"]))
    except Closed as closed:
        expect(f"auth_failed, got {closed.code}", closed.code == CODES["auth_failed"])


@test
def an_auth_out_of_its_bounds_is_malformed(target):
    def resume(session, proof):
        return {"resume": link.Resume(session=session, proof=proof)}

    cases = {
        "no device": {"device": b""},
        "a device of 65 bytes": {"device": bytes(65)},
        "a user of 65 bytes": {"user": bytes(65)},
        "a token of 3,585 bytes": {"token": bytes(wire.TOKEN_LEN_MAX + 1)},
        "an agent of 65 bytes": {"agent": "a" * 65},
        "a signature of 63 bytes": {"signature": bytes(63)},
        "a signature of 65 bytes": {"signature": bytes(65)},
        "a dictionary of 31 bytes": {"dictionary": [bytes(32), bytes(31)]},
        "nine dictionaries": {"dictionary": [bytes(32)] * 9},
        "a session of 15 bytes": resume(bytes(15), bytes(32)),
        "no session": resume(b"", bytes(32)),
        "a proof of 31 bytes": resume(bytes(16), bytes(31)),
        "no proof": resume(bytes(16), b""),
    }
    for name, fields in cases.items():
        client = target.connect()
        client.send(client.auth(**{"token": target.token, "user": b"foreign", **fields}))
        named(name, expect_close, client, "malformed")


@test
def an_auth_within_its_bounds_is_taken(target):
    """What this version does not serve is ignored: the session is new."""
    client = target.connect()
    resume = link.Resume(session=bytes(16), attempt=1, last_sequence=2**64 - 1, proof=bytes(32))
    welcome = client.login(
        target.token,
        b"foreign",
        secrets.token_hex(32).encode(),
        agent="a" * 64,
        resume=resume,
        dictionary=[bytes([n]) * 32 for n in range(8)],
        signature=bytes(64),
        **{"class": 77},
    )
    expect("a new session", not welcome.resumed and len(welcome.secret) == 32)
    expect("no dictionary, no suites, no key set", not (welcome.dictionary or welcome.suites or welcome.key_set))
    expect("no end of a development login", welcome.auth_expires_ms == 0)
    client.close()


@test
def a_token_of_3584_bytes_is_only_wrong(target):
    client = target.connect()
    client.send(client.auth(bytes(wire.TOKEN_LEN_MAX), b"foreign"))
    expect_close(client, "auth_failed")


@test
def a_second_auth_is_held_behind_the_first(target):
    """And ignored then if it is the same user's and device's; nobody else can get in by it."""
    device = a_device()
    client = target.connect()
    again = client.auth(b"not looked at", b"foreign", device)
    client.login(target.token, b"foreign", device, behind=[again])
    expect("the link goes on", client.ping(1) == 1)
    client.send(again)
    expect("with a later one, too", client.ping(2) == 2)
    client.close()
    for user, other in ((b"foreign", b"another"), (b"somebody", device)):
        client = target.connect()
        client.login(target.token, b"foreign", device, behind=[client.auth(target.token, user, other)])
        expect("a fresh token may be good", not expect_close(client, "auth_failed").do_not_reconnect)


@test
def the_first_frame_must_be_auth(target):
    for first in (link.Frame(ping=link.Ping(nonce=1)), link.Frame(ack=link.Ack(taken=1)), link.Frame(pad=link.Pad())):
        client = target.connect()
        client.send(first, client.auth(target.token, b"foreign", a_device()))
        expect_close(client, "unexpected")


@test
def an_unknown_frame_before_auth_is_skipped(target):
    client = target.connect()
    client.send(UNKNOWN)
    client.login(target.token, b"foreign", a_device())
    client.close()


@test
def pads_behind_auth_are_not_held(target):
    """Eight frames or 4 KiB of others are; these are more in number and in bytes."""
    client = target.connect()
    pads = [client.pad(zeros) for zeros in (0, 1, 100, 3_000)] * 100
    client.login(target.token, b"foreign", a_device(), behind=[*pads, link.Frame(ping=link.Ping(nonce=4))])
    expect("the ping behind them", client.wait_for("pong").nonce == 4)
    client.close()


@test
def pads_are_skipped_and_are_no_glitches(target):
    client = target.login()
    client.send(*[client.pad(n % 7) for n in range(300)], client.pad(60_000))
    client.send(b"\x82\x01\x02\x10\x07")  # with an unknown field
    expect("the link goes on", client.ping(5) == 5)
    client.close()


@test
def a_record_before_welcome_has_4096_bytes_at_most(target):
    client = target.connect()
    client.sock.sendall(struct.pack(">H", 4_097))
    expect_close(client, "too_large")


@test
def frames_may_follow_auth_in_the_same_record(target):
    client = target.connect()
    request = client.request_frame("echo", b"early")
    ping = link.Frame(ping=link.Ping(nonce=5))
    client.login(target.token, b"foreign", a_device(), behind=(request, ping))
    seen = {}
    while len(seen) < 2:
        frame = client.receive()
        seen[frame.WhichOneof("kind")] = frame
    expect("echo", seen["response"].response.payload == b"early")
    expect("pong", seen["pong"].pong.nonce == 5)
    client.close()


@test
def a_frame_may_span_records(target):
    client = target.login()
    expect("one byte per record", client.request("echo", b"x" * 200, plain_max=1).payload == b"x" * 200)
    payload = os.urandom(40_000)
    expect("7 bytes per record", client.request("echo", payload, plain_max=777).payload == payload)
    client.close()


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
    client.close()


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
    expect_close(client, "too_large")


@test
def the_first_frame_is_short(target):
    client = target.connect()
    client.send_plain(wire.varint(4_097))
    expect_close(client, "too_large")


@test
def a_record_above_its_limit_is_too_large(target):
    client = target.login()
    client.sock.sendall(struct.pack(">H", client.record_len_max + 1))
    expect_close(client, "too_large")


@test
def broken_encodings_are_malformed(target):
    ping = link.Ping(nonce=1).SerializeToString()
    kind = bytes([4 << 3 | 2, len(ping)]) + ping
    cases = {
        "frame of length 0": b"\0",
        "two kinds in one frame": wire.framed(kind + kind),
        "another kind beside it": wire.framed(kind + link.Frame(pad=link.Pad()).SerializeToString()),
        "a field over the end": wire.framed(kind[:-1]),
        "a field over the end of its kind": wire.framed(b"\x22\x02\x0a\x05"),
        "a group": wire.framed(bytes([4 << 3 | 3, 4 << 3 | 4])),
        "a group inside a kind": wire.framed(b"\x22\x02\x1b\x1c"),
        "wire type 6": wire.framed(b"\x26"),
        "wire type 7": wire.framed(kind + b"\xf7\x07"),
        "field number 0": wire.framed(b"\x02\x00"),
        "field number 0 inside a kind": wire.framed(b"\x22\x02\x00\x00"),
        "field number 2^29": wire.framed(kind + wire.varint(1 << 32) + b"\x00"),
        "field number 2^29 inside a kind": wire.framed(b"\x22\x06" + wire.varint(1 << 32) + b"\x00"),
        "a length without end": b"\xff" * 10,
        "a length of 11 bytes": b"\x84" + b"\x80" * 9 + b"\x00" + kind,
        "a length above 64 bits": b"\xff" * 9 + b"\x02",
        "a value of 11 bytes": wire.framed(b"\x22\x0c\x08" + b"\x87" + b"\x80" * 9 + b"\x00"),
        "a value above 64 bits": wire.framed(b"\x22\x0b\x08" + b"\xff" * 9 + b"\x02"),
        "a request without id": wire.framed(link.Frame(request=link.Request(route="echo"))),
        "a request without route": wire.framed(link.Frame(request=link.Request(id=bytes(16)))),
        "a route too long": wire.framed(link.Frame(request=link.Request(id=bytes(16), route="r" * 33))),
        "a route that is not UTF-8": wire.framed(b"\x12\x15\x0a\x10" + bytes(16) + b"\x12\x01\xff"),
        "compression 7": wire.framed(link.Frame(request=link.Request(id=bytes(16), route="echo", compression=7))),
        "a room without a name": wire.framed(link.Frame(join=link.Join())),
        "a room too long": wire.framed(link.Frame(leave=link.Leave(room=bytes(65)))),
        "a text too long": wire.framed(link.Frame(close=link.Close(code=1, text="t" * 129))),
        "a key too long": wire.framed(link.Frame(request=link.Request(id=bytes(16), route="echo", key=bytes(65)))),
    }
    for name, plain in cases.items():
        client = target.login()
        client.send_plain(plain)
        named(name, expect_close, client, "malformed")


@test
def varints_need_not_be_the_shortest(target):
    """Lengths, tags and values of up to ten bytes."""
    def long(value, size):
        return bytes((value >> 7 * at & 0x7F) | 0x80 for at in range(size - 1)) + bytes([value >> 7 * (size - 1)])

    client = target.login()
    for size in (2, 5, 6, 10):
        value = long(1 << 3, size) + long(size, size)
        kind = long(4 << 3 | 2, size) + long(len(value), size) + value
        client.send_plain(long(len(kind), size) + kind)
        expect(f"{size} bytes", client.wait_for("pong").nonce == size)
    client.close()


@test
def the_last_of_a_repeated_field_counts_and_large_numbers_are_cut(target):
    client = target.login()
    client.send(b"\x22\x04\x08\x01\x08\x02", b"\x22\x06\x08" + wire.varint(1 << 32 | 3))
    expect("the last", client.wait_for("pong").nonce == 2)
    expect("the low 32 bits", client.wait_for("pong").nonce == 3)
    client.close()


@test
def an_empty_record_is_malformed(target):
    client = target.login()
    client.sock.sendall(client.seal(b""))
    expect_close(client, "malformed")


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
        expect_close(client, "unexpected")


@test
def unknown_frames_and_fields_are_skipped(target):
    client = target.login()
    field = link.Ping(nonce=9).SerializeToString() + b"\xf0\x07\x05"  # field 126, varint
    client.send(UNKNOWN, b"\xf0\x07\x05", bytes([4 << 3 | 2, len(field)]) + field)
    expect("the ping counts", client.wait_for("pong").nonce == 9)
    client.close()


@test
def more_than_100_unknown_frames_are_glitches(target):
    client = target.login()
    client.send(*[UNKNOWN] * 100)
    expect("a hundred are not too many", client.ping(1) == 1)
    client.send(UNKNOWN)
    expect_close(client, "glitches")


@test
def what_is_known_and_not_served_is_no_glitch(target):
    """`Ack` is read and ignored, `Join` and `Leave` are answered: there are no rooms yet."""
    client = target.login()
    client.send(*[link.Frame(ack=link.Ack(taken=n, received=n + 1)) for n in range(300)])
    client.send(link.Frame(join=link.Join(room=b"r")), link.Frame(leave=link.Leave(room=b"r")))
    joined, left = client.wait_for("joined"), client.wait_for("left")
    expect("no such room", (joined.room, joined.code) == (b"r", REFUSALS["no_route"]))
    expect("left", (left.room, left.code) == (b"r", 0))
    client.close()


@test
def an_unknown_route_is_refused(target):
    client = target.login()
    response = client.request("no such route", b"x")
    expect("refused: no_route", (response.outcome, response.code) == (link.REFUSED, REFUSALS["no_route"]))
    expect("the link goes on", client.ping(3) == 3)
    client.close()


@test
def two_open_requests_of_one_id_have_one_answer(target):
    """Once, or once more where the second came behind the answer; which that is nobody can know."""
    client = target.login()
    request = client.request_frame("echo", b"twice")
    client.send(request, request)
    heard = [client.wait_for("response")]
    client.send(link.Frame(ping=link.Ping(nonce=3)))
    while (frame := client.receive()).WhichOneof("kind") != "pong":
        heard.append(frame.response)
    expect(f"one or two, got {len(heard)}", len(heard) in (1, 2))
    for response in heard:
        expect("the id", response.id == request.request.id)
        expect("answered", (response.outcome, response.payload) == (link.ANSWERED, b"twice"))
    client.close()


@test
def what_stands_before_an_error_is_answered(target):
    """All of it in one segment."""
    client = target.login()
    client.send_plain(wire.framed(link.Frame(ping=link.Ping(nonce=7))) + b"\0")
    expect("the pong first", client.wait_for("pong").nonce == 7)
    expect_close(client, "malformed")


@test
def a_request_above_the_whole_grant_is_too_large(target):
    """A gateway that grants what the longest frame costs never has to say so."""
    client = target.login()
    grant = client.welcome.grant_bytes
    above = client.request_frame("echo", bytes(grant - 63))
    if len(above.SerializeToString()) > client.frame_len_max_up:
        raise LeftOut("the grant is longer than a frame")
    client.send(above)
    response = client.wait_for("response")
    got = response.outcome, response.code
    expect(f"refused: too_large, got {got}", got == (link.REFUSED, REFUSALS["too_large"]))
    expect("exactly the grant", client.request("echo", bytes(grant - 64)).outcome == link.ANSWERED)
    client.close()


@test
def a_second_login_of_the_device_replaces_the_first(target):
    if target.is_loopback:
        raise LeftOut("the loopback gateway has no claims")
    device = a_device()
    first, second = target.connect(), target.connect()
    first.login(target.token, b"foreign", device)
    second.login(target.token, b"foreign", device)
    expect("do not reconnect", expect_close(first, "replaced").do_not_reconnect)
    expect("the second goes on", second.ping(1) == 1)
    second.close()


@test
def a_client_learns_the_keys_of_its_server(target):
    """8.9: the list replaces what came with the app, and only a link that proved the pinned key may change it."""
    stranger = wire.public_of(os.urandom(32))
    app = Installation(target.address, Pins(stranger, target.key), a_device())
    app.open(target.token, b"foreign").close()
    expect("the server's own list", [pin.key for pin in app.pins.keys] == [target.key])
    expect("suites are said", app.pins.keys[0].suites == target.suites)
    if not app.tickets:
        raise LeftOut("the gateway gives no tickets")
    app.pins.keys.append(link.ServerKey(key=stranger))
    client = app.open(target.token, b"foreign")
    client.close()
    expect("by ticket", client.ticket and len(client.welcome.server_keys) == 1)
    expect("no pin has changed", len(app.pins.keys) == 2)


@test
def a_client_with_a_bad_ticket_makes_a_full_handshake_at_once(target):
    app = Installation(target.address, Pins(target.key), a_device())
    app.open(target.token, b"foreign").close()
    if not app.tickets:
        raise LeftOut("the gateway gives no tickets")
    for field in ("ticket", "psk"):
        suite, ticket, came = app.tickets[0]
        broken = link.Ticket(ticket=ticket.ticket, psk=ticket.psk, expires_ms=ticket.expires_ms)
        setattr(broken, field, bytes(len(getattr(broken, field))))
        app.tickets[0] = suite, broken, came
        client = app.open(target.token, b"foreign")
        expect("a full handshake", not client.ticket and client.suite == wire.NK)
        client.close()


@test
def two_people_chat_as_the_document_says(target):
    """docs/CHAT.md: what the reference service makes of a request, each of its statuses, and the push."""
    name = secrets.token_hex(4)
    client = target.connect()
    client.login(target.token, f"alice-{name}".encode(), a_device())
    first = chat.send(client, f"bob-{name}", "hello")
    if first == "refused: no_route":
        raise LeftOut("the gateway has no route to a reference service")
    expect(f"nobody there, got {first}", first == "not online")
    links = [target.connect() for _ in range(2)]
    for link_of_bob in links:
        link_of_bob.login(target.token, f"bob-{name}".encode(), a_device())
    # The service hears of links a little later than they are there.
    end = time.monotonic() + 10
    while (told := chat.send(client, f"bob-{name}", "are you there?")) != "delivered":
        expect(f"he is online, got {told}", told == "not online" and time.monotonic() < end)
    text = "two\nlines: and \u00f6"
    request = client.request_frame("chat", chat.request_payload(f"bob-{name}", text))
    client.send(request)
    response = client.wait_for("response")
    expect("delivered", (response.outcome, response.code) == (link.ANSWERED, chat.DELIVERED))
    expect("no payload", response.payload == b"")
    for link_of_bob in links:
        while (push := link_of_bob.wait_for("push")).id != request.request.id:
            pass
        expect("who and what", chat.sender_and_text(push.payload) == (f"alice-{name}", text))
        link_of_bob.close()
    for payload in (b"bob", b"bob\n", b"\nhello", b"b ob\nhello", b"b:ob\nhello", b"\xff\nhello", b""):
        response = client.request("chat", payload)
        expect(f"{payload} is malformed", (response.outcome, response.code) == (link.ANSWERED, chat.MALFORMED))
    client.close()


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
    client.close()


def run(target, only=""):
    return checks.run(target, only, sys.modules[__name__], test_hello)


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
