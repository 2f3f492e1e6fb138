"""The client, the backend and their tests among themselves, without a gateway: errors of theirs show here first.

Then test_foreign.py runs as a whole against the gateway of loopback.py.
"""

import os
import re
import secrets
import socket
import struct
import sys
import threading
import warnings
from pathlib import Path

import test_foreign
import wire
from backend import Backend, echo
from loopback import Loopback
from wire import Records, link, stream

SPEC = Path(__file__).resolve().parents[2] / "protocol" / "SPEC.md"


def the_tables_of_the_spec_name_the_fields_of_the_proto_files():
    """Every row `| number | name | type` under a heading of section 9 or 12 is a field of that message."""
    text = SPEC.read_text(encoding="utf-8")
    for schema, section in ((link, 9), (stream, 12)):
        body = text.split(f"\n## {section}. ")[1].split("\n## ")[0]
        found = {}
        for part in body.split("\n### ")[1:]:
            heading = part.splitlines()[0]
            kinds = re.findall(r"(\w+) = (\d+)", heading)
            for name, number in kinds:
                field = next(f for f in schema.Frame.DESCRIPTOR.fields if f.number == int(number))
                assert field.message_type.name == name, f"{heading}: {number} is {field.message_type.name}"
                found[name] = set()
            names = [name for name, _ in kinds]
            for row in re.findall(r"^\|(.*)\|$", part, re.MULTILINE):
                cells = [cell.strip() for cell in row.split("|")]
                if not cells[0].isdigit():
                    first = re.findall(r"[A-Z]\w+", re.sub(r"\(.*\)", "", cells[0]))
                    names = first or names
                    cells = cells[1:]
                if cells[0].isdigit():
                    for name in names:
                        found[name].add((int(cells[0]), cells[1], cells[2].split()[0].rstrip(",:≤")))
        for name, rows in found.items():
            descriptor = getattr(schema, name).DESCRIPTOR
            want = {(f.number, f.name, type_word(f)) for f in descriptor.fields}
            assert rows == want, f"{name}: only in one of both: {sorted(rows ^ want)}"
        kinds = {f.message_type.name for f in schema.Frame.DESCRIPTOR.fields}
        assert set(found) == kinds, f"no heading for {kinds - set(found)}"


def type_word(field):
    """The word that begins the type's cell in the tables."""
    if field.is_repeated:
        return "repeated"
    words = ("bytes", "string", "bool", "uint32", "uint64", "fixed64", "message", "enum")
    return next(word for word in words if getattr(field, f"TYPE_{word.upper()}") == field.type)


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
    steps = []
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
        client.read_message(bytes(server.write_message(struct.pack(">HH", 2, 1 << suite))))
        ends = [Records(None, noise, link.Frame) for noise in (client, server)]
        for sender, receiver in (ends, ends[::-1]):
            for n in range(wire.REKEY_INTERVAL + 10):
                record = sender.seal(b"x")
                receiver.read = Feed(record).read
                receiver.open_record()
            assert receiver.received == sender.sent > wire.REKEY_INTERVAL
            assert receiver.plain == b"x" * receiver.received


class Feed:
    def __init__(self, data):
        self.data = data

    def read(self, count):
        piece, self.data = self.data[:count], self.data[count:]
        return piece


def the_backend_echoes_over_clear_and_kk():
    """Plays the gateway's part of sections 11.1 to 11.5."""
    for suite in (wire.CLEAR, wire.KK, wire.KK_AESGCM):
        near, far = socket.socketpair()
        near.settimeout(10)
        far.settimeout(10)
        key, gateway = secrets.token_bytes(32), secrets.token_bytes(32)
        keys = {}
        if suite != wire.CLEAR:
            keys = {"key": key, "public": wire.public_of(key), "gateway_keys": [wire.public_of(gateway)]}
        thread = threading.Thread(target=lambda: Backend(far, echo, **keys).serve(), daemon=True)
        thread.start()
        noise = None
        if suite == wire.CLEAR:
            near.sendall(wire.fixed_part(wire.CLEAR, b"") + bytes(16))
        else:
            ticket = wire.key_id(wire.public_of(gateway))
            hello, noise = wire.hello(suite, wire.public_of(key), local=gateway, ticket=ticket)
            near.sendall(hello)
            wire.read_message_2(lambda n: wire.read_exactly(near, n), noise, suite)
        records = Records(near, noise, stream.Frame)
        credit = 2 * (4096 + 64)
        hello = stream.Hello(boot_id=bytes(16), gateway="g", credit=credit, frame_len_max=4096)
        records.send(stream.Frame(hello=hello))
        ready = records.receive().ready
        assert ready.routes == ["echo"] and ready.credit > 65_600
        request = stream.Request(call=3, link=9, id=bytes(16), user=b"u", device=b"d", route="echo", trace=77)
        for call in (3, 4):
            request.call, request.payload = call, os.urandom(4000)
            records.send(stream.Frame(request=request), plain_max=5)
            response = records.receive().response
            assert (response.call, response.trace, response.payload) == (call, 77, request.payload)
        # Less than 200 of the credit are left: the next answer must wait until some of it is returned.
        request.call, request.payload = 5, os.urandom(200)
        records.send(stream.Frame(request=request), stream.Frame(ping=stream.Ping(nonce=5)))
        assert records.receive().pong.nonce == 5
        records.send(stream.Frame(credit=stream.Credit(bytes=4064)))
        assert records.receive().response.call == 5
        records.finish(stream.Frame(close=stream.Close(code=1)))
        thread.join(10)
        assert not thread.is_alive()


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
        message_2 = bytes(server.write_message(struct.pack(">HH", versions, suites)))
        feed = Feed(struct.pack(">H", len(message_2)) + message_2)
        try:
            wire.read_message_2(feed.read, client, wire.NK, better)
            accepted = True
        except wire.Violation as broken:
            accepted = broken.error != "downgrade"
        assert accepted == good, f"{versions:x} {suites:x} {better:x}"


def main():
    # The walkthrough fixes its ephemeral keys, and nothing else does.
    warnings.filterwarnings("ignore", "One of ephemeral keypairs is already set")
    for check in (
        the_tables_of_the_spec_name_the_fields_of_the_proto_files,
        the_walkthrough_of_the_spec_is_what_foreign_hands_compute,
        varints_are_cut_where_protobuf_cuts_them,
        the_nonce_of_a_clear_ping_is_where_it_belongs,
        both_directions_renew_their_keys,
        the_client_notices_when_it_was_talked_down,
        the_backend_echoes_over_clear_and_kk,
    ):
        check()
        print(f"ok       {check.__name__}", flush=True)
    print("against the loopback gateway:", flush=True)
    target = test_foreign.Target(Loopback().target())
    target.is_loopback = True
    sys.exit(1 if test_foreign.run(target) else 0)


if __name__ == "__main__":
    main()
