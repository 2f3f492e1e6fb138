"""The conformance vectors of protocol/vectors: what is in there again, computed by these hands."""

import json
import secrets
import socket
from pathlib import Path

import ticket
import wire
from backend import accept, accept_clear
from client import stay_away_ms
from wire import Records, Turned, Violation, link, stream

FOLDER = Path(__file__).resolve().parents[2] / "protocol" / "vectors"


def vectors(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def unhex(case, *names):
    return tuple(bytes.fromhex(case[name]) if case.get(name) else None for name in names)


class Feed:
    """Bytes that pose as a connection: `read` gives them, and then the end of bytes."""

    def __init__(self, data):
        self.data = data

    def read(self, count):
        piece, self.data = self.data[:count], self.data[count:]
        if len(piece) < count:
            raise wire.Silence("end of bytes")
        return piece


def handshakes_come_to_the_same_keys():
    for case in vectors("hellos")["cases"]:
        if case["suite"] == wire.CLEAR:
            the_clear_stream_is_read(case)
            continue
        server, public, initiator = unhex(case, "server_secret", "server_public", "initiator_secret")
        mine, theirs = unhex(case, "initiator_ephemeral_secret", "responder_ephemeral_secret")
        ticket_field, psk, fixed = unhex(case, "ticket", "psk", "fixed")
        suite, versions, suites = case["suite"], *unhex(case["preamble"], "versions", "suites")
        hello, client = wire.hello(
            suite,
            public,
            local=initiator,
            ticket=ticket_field or b"",
            psk=psk,
            ephemeral=mine,
            versions=versions[0],
            suites=int.from_bytes(suites, "big"),
        )
        assert (hello[:16], hello.hex()) == (fixed, case["hello"]), case["name"]
        is_ticket = wire.SUITES[suite][0] == "NNpsk0"
        if is_ticket:
            group_key, realm = bytes.fromhex(case["group_key"]), case["realm"].encode()
            content = ticket.unseal(ticket_field, group_key, realm)
            content.check(int(case["now_ms"]), wire.key_id(public), wire.SUITES)
            assert content.psk == psk
        keys = {"psk": psk} if is_ticket else {"local": server}
        if wire.SUITES[suite][0] == "KK":
            keys["remote"] = wire.public_of(initiator)
        message_1 = hello[-wire.SUITES[suite][2] :]
        noise = wire.Listener.open(suite, fixed, ticket_field or b"", message_1, ephemeral=theirs, **keys)
        message_2 = bytes(noise.write_message(bytes.fromhex(case["offer"])))
        assert message_2.hex() == case["message_2"]
        wire.read_message_2(Feed(bytes.fromhex(case["answer"])).read, client, suite)
        if suite in wire.UNPINNED:
            message_3 = wire.message_3(client)[2:]
            assert message_3.hex() == case["message_3"]
            assert noise.read_message(message_3) == b""
        for end, up, down in ((client, "encrypt", "decrypt"), (noise, "decrypt", "encrypt")):
            assert end.get_handshake_hash().hex() == case["h"]
            states = [getattr(end.noise_protocol, f"cipher_state_{way}") for way in (up, down)]
            assert [state.k.hex() for state in states] == [case["key_up"], case["key_down"]], case["name"]


def the_clear_stream_is_read(case):
    assert (wire.fixed_part(wire.CLEAR, b"") + bytes(16)).hex() == case["hello"]
    for name in ("hello", "ready"):
        records = Records(None, None, stream.Frame)
        record = bytes.fromhex(case[f"record_of_{name}"])
        records.read = Feed(record).read
        records.open_record()
        assert records.seal(bytes(records.plain)) == record
        assert records.take_frame().WhichOneof("kind") == name and not records.plain


def an_end(cipher, key, counter):
    """One direction of a link, in the middle of its life."""
    suite = wire.NK if cipher == "ChaChaPoly" else wire.NK_AESGCM
    private = secrets.token_bytes(32)
    hello, client = wire.hello(suite, wire.public_of(private))
    noise = wire.Listener.open(suite, hello[:16], b"", hello[-48:], local=private)
    client.read_message(bytes(noise.write_message(wire.offer(2, 1 << suite))))
    records = Records(None, client, link.Frame)
    records.sent = records.received = counter
    for state in (client.noise_protocol.cipher_state_encrypt, client.noise_protocol.cipher_state_decrypt):
        state.initialize_key(key)
        state.set_nonce(counter)
    return records


def records_open_and_are_sealed_alike():
    for of_cipher in vectors("records")["ciphers"]:
        cipher = of_cipher["cipher"]
        for case in of_cipher["open"]:
            end = an_end(cipher, bytes.fromhex(case["key"]), int(case["counter"]))
            for record in case["records"]:
                assert end.received == int(record["counter"])
                plaintext, sealed = unhex(record, "plaintext", "record")
                assert end.seal(plaintext) == sealed, case["name"]
                end.plain.clear()
                end.read = Feed(sealed).read
                end.open_record()
                assert end.plain == plaintext, case["name"]
        for case in of_cipher["do_not_open"]:
            end = an_end(cipher, bytes.fromhex(case["key"]), int(case["counter"]))
            end.read = Feed(bytes.fromhex(case["record"])).read
            try:
                end.open_record()
                raise AssertionError(case["name"])
            except Violation as broken:
                answer = broken.error, wire.CLOSES.get(broken.error)
                assert answer == (case["error"], case["close_code"]), f"{case['name']}: {answer}"


def tickets_are_sealed_and_judged_alike():
    said = vectors("tickets")
    group_key, realm, server_key_id = bytes.fromhex(said["group_key"]), said["realm"].encode(), said["server_key_id"]
    here = bytes.fromhex(server_key_id), said["listener_suites"]
    for case in said["good"]:
        fields, sealed = case["fields"], bytes.fromhex(case["ticket"])
        content = ticket.unseal(sealed, group_key, realm)
        for name in ("psk", "server_key_id", "user", "device", "device_key", "bound_key", "limit_class"):
            assert getattr(content, name).hex() == (fields[name] or ""), f"{case['name']}: {name}"
        for name in ("format", "origin_suite", "issued", "auth_time", "login", "token_end", "ticket_end"):
            assert getattr(content, name) == int(fields[name]), f"{case['name']}: {name}"
        assert content.device_class == fields["class"], case["name"]
        assert content.plain().hex() == case["content"]
        assert content.seal(group_key, realm, bytes.fromhex(case["salt"])) == sealed
        assert content.end() == int(case["expires_ms"]), case["name"]
        content.check(int(case["now_ms"]), *here)
        content.check(content.end() - 1, *here)
    for case in said["refused"]:
        try:
            ticket.unseal(bytes.fromhex(case["ticket"]), group_key, realm).check(int(case["now_ms"]), *here)
            raise AssertionError(case["reason"])
        except ticket.Worthless:
            pass


def sessions_are_proved_alike():
    said = vectors("resumptions")
    for case in said["good"] + said["refused"]:
        secret, h, session, proof = unhex(case, "secret", "h", "session", "proof")
        attempt, last_sequence = case["attempt"], int(case["last_sequence"])
        made = wire.session_proof(secret, h, session, attempt, last_sequence)
        assert (made == proof) == (case in said["good"]), case["name"]
        resume = link.Resume(session=session, attempt=attempt, last_sequence=last_sequence, proof=proof)
        assert resume.SerializeToString().hex() == case["resume"], case["name"]


def hellos_are_answered_alike():
    said = vectors("replies")
    for case in said["hellos"]:
        listener = said["listeners"][case["listener"]]
        answer, went_on = answered(case["listener"], listener, bytes.fromhex(case["hello"]))
        assert answer.hex() == case["answer"], f"{case['listener']}, {case['name']}: {answer.hex()}"
        assert went_on == case["meaning"].startswith(("message 2", "accepted")), case["name"]


def answered(kind, listener, hello):
    """What comes back for these bytes, and whether the handshake is good."""
    near, far = socket.socketpair()
    near.sendall(hello)
    # All is there, so what is not there does not come.
    far.setblocking(False)
    try:
        {"link": answer_link, "stream": answer_stream, "clear_stream": answer_clear}[kind](far, listener)
        went_on = True
    except (wire.Silence, Violation, Turned, BlockingIOError):
        went_on = False
    far.close()
    answer = b""
    try:
        while piece := near.recv(4_096):
            answer += piece
    except ConnectionResetError:
        pass  # What was not read; the answer is read first.
    near.close()
    return answer, went_on


def answer_link(sock, said):
    listener = wire.Listener(bytes.fromhex(said["server_secret"]), *said["suites"])
    listener.retired = [bytes.fromhex(said["retired_public"])]
    ephemeral = bytes.fromhex(said["responder_ephemeral_secret"])
    try:
        hello = listener.read_hello(sock)
        suite, _, field, _ = hello
        keys = {"local": listener.private}
        if wire.SUITES[suite][0] == "NNpsk0":
            keys = {"psk": judged(field, listener, said)}
        listener.answer(sock, listener.open(*hello, ephemeral=ephemeral, **keys))
    except Turned as turned:
        sock.sendall(listener.reply(turned.reason))
        raise


def judged(field, listener, said):
    """The psk of a ticket that is good here."""
    try:
        content = ticket.unseal(field, bytes.fromhex(said["group_key"]), said["realm"].encode())
        content.check(int(said["now_ms"]), wire.key_id(listener.public), said["suites"])
    except ticket.Worthless:
        raise Turned("ticket_refused") from None
    return content.psk


def answer_stream(sock, said):
    gateway = bytes.fromhex(said["gateway_public"])
    ephemeral = bytes.fromhex(said["responder_ephemeral_secret"])
    accept(sock, bytes.fromhex(said["server_secret"]), [gateway], ephemeral=ephemeral)


def answer_clear(sock, _):
    accept_clear(sock)


def answers_are_understood_alike():
    said = vectors("replies")
    for case in said["busy"]:
        reply, want = wire.Rejected(bytes.fromhex(case["answer"])), case["clear_reply"]
        assert reply.reason == want["reason"] == wire.REASONS["busy"]
        assert wire.offer(reply.versions, reply.suites).hex() == want["versions"] + want["suites"]
        assert (reply.key_id.hex(), reply.wait_ms) == (want["key_id"], 100 * want["wait"])
        assert stay_away_ms(reply, 0, lambda _: 0) == want["stay_away_ms"]
    said = said["initiator"]
    public, ephemeral = unhex(said, "server_public", "initiator_ephemeral_secret")
    order, suite = said["list_of_preference"], said["suite_in_use"]
    better = wire.suite_set(*order[: order.index(suite)])
    for case in said["answers"]:
        hello, noise = wire.hello(suite, public, ephemeral=ephemeral, suites=wire.suite_set(*order))
        assert hello.hex() == said["hello"]
        error = None
        try:
            wire.read_message_2(Feed(bytes.fromhex(case["answer"])).read, noise, suite, better)
        except Violation as broken:
            error = broken.error
        except wire.Rejected:
            error = "rejected"
        assert error == case["error"], f"{case['name']}: {error}"


ALL = (
    handshakes_come_to_the_same_keys,
    records_open_and_are_sealed_alike,
    tickets_are_sealed_and_judged_alike,
    sessions_are_proved_alike,
    hellos_are_answered_alike,
    answers_are_understood_alike,
)
