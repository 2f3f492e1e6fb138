"""The client, the backend and their tests among themselves, without a gateway: errors of theirs show here first.

Then test_foreign.py runs as a whole against the gateway of loopback.py.
"""

import os
import re
import secrets
import socket
import struct
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import chat
import checks
import test_foreign
import vectors
import vectors_frames
import vectors_malformed
import wire
from backend import Backend, echo
from client import Client, Closed, Installation, Pins, Session, Store, stay_away_ms, usable
from loopback import Loopback
from vectors import Feed
from wire import CODES, Records, link, stream

HERE = Path(__file__).resolve().parent
SPEC = HERE.parents[1] / "protocol" / "SPEC.md"
CHAT = HERE.parents[1] / "docs" / "CHAT.md"


def the_tables_of_the_spec_name_the_fields_of_the_proto_files():
    """Every field of every message stands in section 9 or 12, under its heading or in a list within the text."""
    text = SPEC.read_text(encoding="utf-8")
    for schema, section in ((link, 9), (stream, 12)):
        body = text.split(f"\n## {section}. ")[1].split("\n## ")[0]
        found = {}
        for part in body.split("\n### ")[1:]:
            heading, _, part = part.partition("\n")
            kinds = re.findall(r"(\w+) = (\d+)", heading)
            for name, number in kinds:
                field = next(f for f in schema.Frame.DESCRIPTOR.fields if f.number == int(number))
                assert field.message_type.name == name, f"{heading}: {number} is {field.message_type.name}"
                found[name] = set()
            names = [name for name, _ in kinds]
            for nested, fields in re.findall(rf"([A-Z]\w+): ({ITEM}(?:· {ITEM})*)", part):
                assert nested not in found, f"{nested} is described twice"
                found[nested] = set(listed(fields))
            outside = re.sub(rf"[A-Z]\w+: {ITEM}(?:· {ITEM})*", "", part)
            rows = re.findall(r"^\|(.*)\|$", outside, re.MULTILINE)
            for row in rows:
                cells = [cell.strip() for cell in row.split("|")]
                if not re.fullmatch(r"[\d, ]+", cells[0]):
                    first = re.findall(r"[A-Z]\w+", re.sub(r"\(.*\)", "", cells[0]))
                    names = first or names
                    cells = cells[1:]
                if re.fullmatch(r"[\d, ]+", cells[0]):
                    for name in names:
                        found[name].update(fields_of_row(cells, found))
            if not rows and len(kinds) == 1:
                found[kinds[0][0]].update(listed(outside))
        want = {name: {(f.number, f.name, type_word(f)) for f in d.fields} for name, d in messages(schema).items()}
        for name, rows in found.items():
            assert rows == want[name], f"{name}: only in one of both: {sorted(rows ^ want[name])}"
        assert set(found) == set(want), f"not described: {set(want) - set(found)}"


# One field within the text: `number`, name in backticks, type, and what else there is until the next dot or the end.
ITEM = r"\d+ `\w+` [^·|\n]+"


def listed(text):
    """The fields of such a list."""
    return [(int(n), name, word) for n, name, word in re.findall(r"(\d+) `(\w+)` (\w+)", text)]


def fields_of_row(cells, found):
    """The fields of a row; one row may have several, `as in Ban` or each with its type or all of one type."""
    numbers, names = cells[0].split(", "), cells[1].split(", ")
    if cells[2].startswith("as in "):
        return {field for field in found[cells[2].split()[2]] if field[1] in names}
    types = cells[2].split(", ") if len(names) > 1 else [cells[2]]
    words = [type_name.split()[0].rstrip(",:≤") for type_name in types]
    words = [words[0] if word[0].isdigit() else word for word in words]
    return set(zip(map(int, numbers), names, words, strict=True))


def messages(schema):
    """All messages of a file but Frame itself, by name."""
    frame = schema.Frame.DESCRIPTOR
    return {name: d for name, d in frame.file.message_types_by_name.items() if name != frame.name}


def type_word(field):
    """The word that begins the type's cell in the tables."""
    if field.is_repeated:
        return "repeated"
    words = ("bytes", "string", "bool", "uint32", "uint64", "fixed64", "message", "enum")
    return next(word for word in words if getattr(field, f"TYPE_{word.upper()}") == field.type)


def the_numbers_of_the_spec_are_those_in_use_here():
    """Close codes, refusals, reasons: `| number | name |` of 3.2 and 13."""
    text = SPEC.read_text(encoding="utf-8")
    for heading, numbers in (
        ("3.2", wire.REASONS),
        ("13.1", wire.CODES),
        ("13.2", wire.REFUSALS),
        ("13.3", wire.UNDELIVERED),
    ):
        body = text.split(f"\n### {heading} ")[1].split("\n##")[0]
        rows = re.findall(r"^\| (\d+) \| (\w+) \|", body, re.MULTILINE)
        assert {name: int(number) for number, name in rows} == numbers, heading


def the_errors_of_the_spec_are_answered_as_it_says():
    """Section 15: what has a `Close` of its own, and which."""
    table = SPEC.read_text(encoding="utf-8").split("\n## 15. ")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| (\w+) \|.*\| (.*) \|$", table, re.MULTILINE))
    for error, name in wire.CLOSES.items():
        # A refused token is no error of the encoding and stands in 8.1.
        assert error == "auth_failed" or f"`Close({name})`" in rows[error], error


def the_walkthrough_of_the_spec_is_what_foreign_hands_compute():
    """Every byte of section 18 again, from its keys, with this Noise and this protobuf."""
    steps = walkthrough()
    keys = steps[0]
    public = wire.public_of(keys["server secret"])
    assert public == keys["server public"]
    said = steps[1]
    fixed = wire.fixed_part(wire.NK, public)
    assert (wire.key_id(public), fixed) == (said["key id"], said["fixed"])
    noise = {}
    for name, initiator, fixed_keys in (
        ("client", True, {"remote": public, "ephemeral": keys["client ephemeral secret"]}),
        ("server", False, {"local": keys["server secret"], "ephemeral": keys["server ephemeral secret"]}),
    ):
        noise[name] = wire.handshake(wire.NK, initiator, fixed, b"", **fixed_keys)
    message_1 = bytes(noise["client"].write_message(b""))
    assert message_1 == said["message 1"]
    tag = wire.gate_tag(public, fixed, b"", message_1)
    assert fixed + tag + struct.pack(">H", 48) + message_1 == said["hello"]
    noise["server"].read_message(message_1)
    message_2 = bytes(noise["server"].write_message(steps[2]["offer"]))
    assert struct.pack(">H", len(message_2)) + message_2 == steps[2]["message 2"]
    assert bytes(noise["client"].read_message(message_2)) == steps[2]["offer"]
    assert noise["client"].get_handshake_hash() == steps[2]["h"]
    ends = {name: Records(None, keyed, link.Frame) for name, keyed in noise.items()}
    kinds = []
    for step in steps[3:]:
        up = step["heading"].endswith("up")
        sender, receiver = (ends["client"], ends["server"]) if up else (ends["server"], ends["client"])
        assert sender.seal(step["frames"]) == step["record"], step["heading"]
        receiver.read = Feed(step["record"]).read
        receiver.open_record()
        plain = b""
        while (frame := receiver.take_frame()) is not None:
            kinds.append(frame.WhichOneof("kind"))
            plain += wire.framed(frame)
        assert plain == step["frames"], step["heading"]
    assert kinds == ["auth", "welcome", "ping", "request", "pong", "response", "close"]


def walkthrough():
    """The steps of section 18: names and bytes."""
    text = SPEC.read_text(encoding="utf-8").split("<!-- walkthrough:begin -->")[1]
    steps, name = [], ""
    for line in text.split("```")[1].splitlines()[1:]:
        if line.startswith("# "):
            steps.append({"heading": line})
        elif line:
            name = line[:24].strip() or name
            steps[-1][name] = steps[-1].get(name, b"") + bytes.fromhex(line[24:])
    return steps


def varints_are_cut_where_protobuf_cuts_them():
    for value, want in ((0, "00"), (127, "7f"), (128, "8001"), (65_537, "818004")):
        assert wire.varint(value).hex() == want


def the_nonce_of_a_clear_ping_is_where_it_belongs():
    """A ping of the nonce 0 has three bytes with its length."""
    assert wire.framed(link.Frame(ping=link.Ping())).hex() == "022200"
    assert wire.framed(link.Frame(ping=link.Ping(nonce=7))).hex() == "0422020807"


def both_directions_renew_their_keys():
    """70,000 records each way through one pair of handshakes."""
    for suite in (wire.NK, wire.NK_AESGCM):
        private = secrets.token_bytes(32)
        hello, client = wire.hello(suite, wire.public_of(private))
        server = wire.handshake(suite, False, hello[:16], b"", local=private)
        server.read_message(hello[-48:])
        client.read_message(bytes(server.write_message(wire.offer(2, 1 << suite))))
        ends = [Records(None, noise, link.Frame) for noise in (client, server)]
        for sender, receiver in (ends, ends[::-1]):
            for n in range(wire.REKEY_INTERVAL + 10):
                record = sender.seal(b"x")
                receiver.read = Feed(record).read
                receiver.open_record()
            assert receiver.received == sender.sent > wire.REKEY_INTERVAL
            assert receiver.plain == b"x" * receiver.received


class Near(Records):
    """The gateway's end of a stream to a Backend that runs beside it; `opened` says hello and waits for ready."""

    def __init__(self, suite=wire.CLEAR, **hello_fields):
        near, far = socket.socketpair()
        near.settimeout(10)
        far.settimeout(10)
        key, gateway = secrets.token_bytes(32), secrets.token_bytes(32)
        keys = {} if suite == wire.CLEAR else {"key": key, "gateway_keys": [wire.public_of(gateway)]}
        self.thread = threading.Thread(target=self.run_backend, args=(far, keys), daemon=True)
        self.thread.start()
        noise = None
        if suite == wire.CLEAR:
            near.sendall(wire.fixed_part(wire.CLEAR, b"") + bytes(16))
        else:
            ticket = wire.key_id(wire.public_of(gateway))
            fields = {"local": gateway, "ticket": ticket, **hello_fields}
            hello, noise = wire.hello(suite, wire.public_of(key), **fields)
            near.sendall(hello)
            wire.read_message_2(lambda n: wire.read_exactly(near, n), noise, suite)
        super().__init__(near, noise, stream.Frame)

    @staticmethod
    def run_backend(sock, keys):
        try:
            Backend(sock, echo, **keys).serve()
        except (wire.Violation, wire.Turned):
            sock.close()

    def opened(self, **fields):
        hello = {"boot_id": bytes(16), "gateway": "g", "credit": 2 * (4096 + 64), "frame_len_max": 4096, **fields}
        self.send(stream.Frame(hello=stream.Hello(**hello)))
        self.ready = self.receive().ready
        return self

    def close(self):
        self.finish(stream.Frame(close=stream.Close(code=CODES["normal"])))
        self.thread.join(10)
        assert not self.thread.is_alive()

    def expect_close(self, name):
        frame = self.receive()
        assert frame.close.code == CODES[name], f"{name}, got {frame}"
        self.sock.close()


def a_request(**fields):
    good = {"link": 9, "id": bytes(16), "user": b"u", "device": b"d", "route": "echo", "trace": 77}
    return stream.Frame(request=stream.Request(**{**good, **fields}))


def the_backend_echoes_over_clear_and_kk():
    """Plays the gateway's part of sections 11.1 to 11.5."""
    for suite in (wire.CLEAR, wire.KK, wire.KK_AESGCM):
        near = Near(suite).opened()
        assert near.ready.routes == ["echo"] and near.ready.credit > 65_600
        for call in (3, 4):
            payload = os.urandom(4000)
            near.send(a_request(call=call, payload=payload), plain_max=5)
            response = near.receive().response
            assert (response.call, response.trace, response.payload) == (call, 77, payload)
        # Less than 200 of the credit are left: the next answer must wait until some of it is returned.
        near.send(a_request(call=5, payload=bytes(200)), stream.Frame(ping=stream.Ping(nonce=5)))
        assert near.receive().pong.nonce == 5
        near.send(stream.Frame(credit=stream.Credit(bytes=4064)))
        assert near.receive().response.call == 5
        near.close()


def the_backend_lives_on_with_a_bad_field_about_one_link():
    """Section 12. `Pad` frames are skipped on the way, and unknown ones up to a thousand in a minute."""
    near = Near().opened()
    bad = [{"id": bytes(15)}, {"user": b""}, {"device": bytes(65)}, {"key": bytes(65)}, {"session": bytes(1)}]
    for call, fields in enumerate(bad, 1):
        near.send(near.pad(call), a_request(call=call, **fields))
        response = near.receive().response
        assert (response.call, response.refused, response.status) == (call, True, wire.REFUSALS["malformed"])
    question = stream.Authenticate(call=8, device=b"d", handshake=bytes(31))
    near.send(stream.Frame(authenticate=question))
    result = near.receive().auth_result
    assert result.call == 8 and not result.accepted
    near.send(*[b"\xf2\x07\x03abc"] * 1_000, stream.Frame(ping=stream.Ping(nonce=1)))
    assert near.receive().pong.nonce == 1
    near.send(b"\xf2\x07\x03abc")
    near.expect_close("glitches")


def the_backend_acknowledges_reports_that_have_a_number_of_their_own():
    near = Near().opened()
    for number in (7, 0, 8):
        near.send(stream.Frame(report=stream.Report(number=1, report=number, device=b"d", devices=1)))
    near.send(stream.Frame(ping=stream.Ping(nonce=1)))
    frames = [near.receive() for _ in range(3)]
    assert [frame.report_ack.report for frame in frames[:2]] == [7, 8] and frames[2].pong.nonce == 1
    near.close()


def a_session_goes_on_from_the_last_push_that_came_in_order():
    session = Session(link.Welcome(session=bytes(16), secret=bytes(32)))
    pushes = [link.Push(sequence=sequence) for sequence in (1, 0, 2, 4, 2, 0, 3, 4)]
    assert [session.hear(push) for push in pushes] == [True, True, True, False, False, True, True, True]
    h = secrets.token_bytes(32)
    for attempt in (1, 2):
        resume = session.resume(h)
        assert (resume.session, resume.attempt, resume.last_sequence) == (bytes(16), attempt, 4)
        assert resume.proof == wire.session_proof(bytes(32), h, bytes(16), attempt, 4)
    session.taken = 3
    session.lose()
    assert session.resume(h).last_sequence == 3 and session.hear(pushes[-1])


def the_ids_that_an_application_took_outlive_it():
    with tempfile.TemporaryDirectory() as folder:
        path, push = Path(folder) / "taken", link.Push(id=b"id")
        store = Store(path)
        assert push not in store
        store.add(push)
        assert push in store and push in Store(path) and link.Push(id=b"other") not in Store(path)


def the_backend_ends_a_stream_that_breaks_its_rules():
    """A bad `Hello` among them: that one is not about one link."""
    for name, frame in (
        ("malformed", a_request(call=0)),
        ("malformed", stream.Frame(authenticate=stream.Authenticate(device=b"d", handshake=bytes(32)))),
        ("malformed", stream.Frame(ping=stream.Ping(nonce=1)).SerializeToString() * 2),
        ("unexpected", stream.Frame(ready=stream.Ready())),
        ("unexpected", stream.Frame(hello=stream.Hello())),
    ):
        near = Near().opened()
        near.send(frame)
        near.expect_close(name)
    small = stream.Hello(boot_id=bytes(16), credit=2 * (4096 + 64) - 1, frame_len_max=4096)
    for name, frame in (
        ("malformed", stream.Frame(hello=small)),
        ("malformed", stream.Frame(hello=stream.Hello(credit=1 << 20))),
        ("unexpected", stream.Frame(pad=stream.Pad())),
        ("unexpected", b"\xf2\x07\x03abc"),
    ):
        near = Near()
        near.send(frame)
        near.expect_close(name)


def the_backend_answers_a_gateway_of_the_future_and_no_other():
    """Streams name no suites; a set of them is as wrong as a suite of links, and each has its own answer."""
    for suite in (wire.KK, wire.KK_AESGCM):
        try:
            Near(suite, suites=1 << suite)
            raise AssertionError("suites in the hello of a stream")
        except wire.Silence:
            pass
    key = secrets.token_bytes(32)
    public = wire.public_of(key)
    for version, suite, reason in ((2, wire.KK, "version"), (1, wire.NK, "suite"), (1, 200, "suite")):
        near, far = socket.socketpair()
        threading.Thread(target=Near.run_backend, args=(far, {"key": key}), daemon=True).start()
        fixed = wire.fixed_part(suite, public, version=version, suites=0)
        near.sendall(wire.gated(public, fixed, b"", bytes(48)))
        want = wire.MAGIC + bytes([1, wire.REASONS[reason], 1 << 1, 0, 0, 0]) + wire.key_id(public) + bytes(2)
        assert wire.read_exactly(near, 16) == want
        near.close()


def the_client_notices_when_it_was_talked_down():
    """An offer without what is in use, or with a suite the client prefers; more versions are nothing to it."""
    nk, ik = 1 << wire.NK, 1 << wire.IK
    for versions, suites, better, good in (
        (2, nk, 0, True),
        (2 | 4, nk | ik, 0, True),
        (2, nk, ik, True),
        (2, nk | ik, ik, False),
        (2, ik, 0, False),
        (0, nk, 0, False),
    ):
        private = secrets.token_bytes(32)
        hello, client = wire.hello(wire.NK, wire.public_of(private), suites=nk | better)
        server = wire.handshake(wire.NK, False, hello[:16], b"", local=private)
        server.read_message(hello[-48:])
        message_2 = bytes(server.write_message(wire.offer(versions, suites)))
        feed = Feed(struct.pack(">H", len(message_2)) + message_2)
        try:
            wire.read_message_2(feed.read, client, wire.NK, better)
            accepted = True
        except wire.Violation as broken:
            accepted = broken.error != "downgrade"
        assert accepted == good, f"{versions:x} {suites:x} {better:x}"


def pins_change_only_by_what_proved_them():
    """8.9, line by line."""
    a, b, c, d = (bytes([n]) * 32 for n in range(4))

    def pins_after(first, *learnt):
        pins = Pins(*first)
        for suite, proved, listed in learnt:
            pins.learn(suite, proved, [link.ServerKey(key=key) for key in listed])
        return [pin.key for pin in pins.keys]

    assert pins_after([a, b], (wire.NK, a, [a, c])) == [a, c], "the list replaces"
    assert pins_after([a, b], (wire.IK_AESGCM, a, [a, c])) == [a, c]
    assert pins_after([a, b], (wire.TICKET, a, [a, c])) == [a, b], "a psk proves no key"
    assert pins_after([a, b], (wire.NK, a, [])) == [a, b], "the last key is never dropped"
    assert pins_after([a, b], (wire.NK, a, [b"short", bytes(33)])) == [a, b]
    assert pins_after([a], (wire.NK, a, [b"short", a, b])) == [a, b]
    assert pins_after([a, b, c], (wire.NK, b, [])) == [b, c], "no way back"
    assert pins_after([a, b, c], (wire.NK, b, [a, b, d])) == [b, d], "nor by a list"
    assert len(pins_after([a], (wire.NK, a, [bytes([n]) * 32 for n in range(20)]))) == 8


def keys_have_their_time_and_a_wrong_clock_locks_nobody_out():
    pins = Pins()
    pins.keys = [
        link.ServerKey(key=bytes(32), not_after_ms=100),
        link.ServerKey(key=bytes(32), not_before_ms=100, not_after_ms=200),
        link.ServerKey(key=bytes(32), not_before_ms=150),
    ]
    for now_ms, want in ((0, [0]), (99, [0]), (100, [1]), (150, [1, 2]), (200, [2])):
        assert pins.in_turn(now_ms) == [pins.keys[n] for n in want], now_ms
    del pins.keys[2]
    assert pins.in_turn(500) == pins.keys[:1]


def the_stored_suites_of_a_key_leave_nothing_worse():
    order = [wire.IK, wire.NK, wire.NK_AESGCM]
    for stored, want in (
        (wire.suite_set(), order),
        (wire.suite_set(wire.NK_AESGCM, 19), order),
        (wire.suite_set(wire.NK, wire.NK_AESGCM), order[:2]),
        (wire.suite_set(wire.IK, wire.NK), order[:1]),
    ):
        assert usable(link.ServerKey(suites=stored), order) == want


def the_client_follows_a_hint_down_its_own_list_and_no_further():
    gateway = Loopback((wire.NK, wire.TICKET))
    target = gateway.target()

    def app():
        return Installation(target["listen"], Pins(gateway.public), b"d", [wire.IK, wire.NK], secrets.token_bytes(32))

    client = app().open(gateway.token.encode(), b"u")
    assert client.suite == wire.NK
    client.close()
    knows = app()
    knows.pins.keys[0].suites = wire.suite_set(wire.IK, wire.NK)
    try:
        knows.open(gateway.token.encode(), b"u")
        raise AssertionError("talked down to NK")
    except wire.Rejected as rejected:
        assert rejected.reason == wire.REASONS["suite"]
    # The hint was forged: the gateway serves IK, and says so where nobody can change it.
    gateway.listener.offer = wire.offer(2, wire.suite_set(wire.IK, wire.NK, wire.TICKET))
    try:
        app().open(gateway.token.encode(), b"u")
        raise AssertionError("not noticed")
    except wire.Violation as broken:
        assert broken.error == "downgrade"


def a_retired_key_leads_to_the_next_that_is_held_and_to_no_other():
    """Even if its time has not come, since the clock may be wrong; and not round and round."""
    gateway = Loopback()
    old, stranger = (wire.public_of(secrets.token_bytes(32)) for _ in range(2))
    gateway.listener.retired = [old, stranger]

    def app(*keys):
        app = Installation(gateway.target()["listen"], Pins(*keys), b"d")
        app.pins.keys[-1].not_before_ms = 1 << 62
        return app

    both = app(old, gateway.public)
    both.open(gateway.token.encode(), b"u").close()
    assert [pin.key for pin in both.pins.keys] == [gateway.public]
    try:
        app(old, stranger).open(gateway.token.encode(), b"u")
        raise AssertionError("none of them is the gateway's")
    except wire.Rejected as rejected:
        assert rejected.reason == wire.REASONS["retired_key"]


def a_busy_gateway_keeps_the_client_away_and_costs_no_ticket():
    gateway = Loopback()
    app = Installation(gateway.target()["listen"], Pins(gateway.public), b"d")
    app.open(gateway.token.encode(), b"u").close()
    tickets, gateway.busy_ms = list(app.tickets), 700_000
    try:
        app.open(gateway.token.encode(), b"u")
        raise AssertionError("a full handshake instead")
    except wire.Rejected as rejected:
        assert (rejected.reason, rejected.wait_ms) == (wire.REASONS["busy"], 700_000)
        assert stay_away_ms(rejected, 3, lambda bound: bound) == 60_000 + 4_000
    gateway.busy_ms = None
    assert app.tickets == tickets and len(tickets) == 2
    client = app.open(gateway.token.encode(), b"u")
    assert client.ticket and client.ticket == tickets[0][1].ticket
    client.close()


def a_client_without_a_good_login_forgets_its_tickets():
    gateway = Loopback()
    app = Installation(gateway.target()["listen"], Pins(gateway.public), b"d")
    app.open(gateway.token.encode(), b"u").close()
    try:
        app.open(b"not needed", b"somebody else")
        raise AssertionError("the ticket is another user's")
    except Closed as closed:
        assert closed.code == CODES["auth_failed"]
    assert not app.tickets


def the_client_pings_and_gives_up_after_two_in_vain():
    """8.3, with a heartbeat of 50 ms and nobody who answers."""
    gateway = Loopback()
    client = Client(gateway.target()["listen"], gateway.public)
    client.login(gateway.token.encode(), b"u")
    client.welcome.heartbeat_ms = 50
    client.stay(0.3, first=lambda: 0)
    client.close()
    client.sock, deaf = socket.socketpair()
    try:
        client.stay(10, first=lambda: 0)
        raise AssertionError("nobody answered")
    except wire.Silence:
        pass
    deaf.close()


def the_chat_document_shows_the_program_as_it_is():
    shown = CHAT.read_text(encoding="utf-8").split("```python\n", 1)[1].split("```\n", 1)[0]
    assert shown == (HERE / "chat.py").read_text(encoding="utf-8")


def a_chat_payload_is_a_name_a_line_feed_and_a_text():
    assert chat.request_payload("böb", "two\nlines") == b"b\xc3\xb6b\ntwo\nlines"
    assert chat.sender_and_text(b"alice\ntwo\nlines") == ("alice", "two\nlines")


def main():
    # The walkthrough and the vectors fix their ephemeral keys, and nothing else does.
    warnings.filterwarnings("ignore", "One of ephemeral keypairs is already set")
    for check in (
        the_tables_of_the_spec_name_the_fields_of_the_proto_files,
        the_numbers_of_the_spec_are_those_in_use_here,
        the_errors_of_the_spec_are_answered_as_it_says,
        the_walkthrough_of_the_spec_is_what_foreign_hands_compute,
        varints_are_cut_where_protobuf_cuts_them,
        the_nonce_of_a_clear_ping_is_where_it_belongs,
        both_directions_renew_their_keys,
        the_client_notices_when_it_was_talked_down,
        pins_change_only_by_what_proved_them,
        keys_have_their_time_and_a_wrong_clock_locks_nobody_out,
        the_stored_suites_of_a_key_leave_nothing_worse,
        the_client_follows_a_hint_down_its_own_list_and_no_further,
        a_retired_key_leads_to_the_next_that_is_held_and_to_no_other,
        a_busy_gateway_keeps_the_client_away_and_costs_no_ticket,
        a_client_without_a_good_login_forgets_its_tickets,
        the_client_pings_and_gives_up_after_two_in_vain,
        the_chat_document_shows_the_program_as_it_is,
        a_chat_payload_is_a_name_a_line_feed_and_a_text,
        the_backend_echoes_over_clear_and_kk,
        the_backend_lives_on_with_a_bad_field_about_one_link,
        the_backend_acknowledges_reports_that_have_a_number_of_their_own,
        a_session_goes_on_from_the_last_push_that_came_in_order,
        the_ids_that_an_application_took_outlive_it,
        the_backend_ends_a_stream_that_breaks_its_rules,
        the_backend_answers_a_gateway_of_the_future_and_no_other,
        *vectors.ALL,
        *vectors_frames.ALL,
        *vectors_malformed.ALL,
    ):
        check()
        print(f"ok       {check.__name__}", flush=True)
    print("against the loopback gateway:", flush=True)
    target = checks.Target(Loopback().target())
    target.is_loopback = True
    sys.exit(1 if test_foreign.run(target) else 0)


if __name__ == "__main__":
    main()
