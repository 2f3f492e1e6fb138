"""The conformance vectors of malformed.json: what ends a link or a stream, and bad fields that leave a stream open."""

import socket

import loopback
import vectors_frames
import wire
from backend import Backend
from client import Client, Closed
from vectors import Feed, unhex, vectors
from wire import Records, Silence, Violation, link, stream

# Left out: what comes to the gateway of a stream, as no Python peer is one. How many these are is printed.
NOBODY_HERE = "gateway"
# Protobuf for Python refuses the whole frame when a string is not UTF-8, so nobody here can name the field. A link ends
# with the code of the file all the same, by the error frame_encoding; a stream ends so, too, where it could go on: 7.2
# allows both. These are held to that.
FRAME_REFUSED = {
    "links": ("Auth.agent is not UTF-8", "Request.route is not UTF-8", "Close.text is not UTF-8"),
    "flawed": ("Request.route is not UTF-8", "Request.realm is not UTF-8"),
}
CREDIT, FRAME_LEN_MAX = 8_320, 4_096
NAMES = {code: name for name, code in wire.CODES.items()}


def links_end_alike():
    said = vectors("malformed")["links"]
    gateway = loopback.Loopback()
    gateway.token = "a token"
    judged = []
    for case in said["cases"]:
        what = f"{case['receiver']}, {case['state']}, {case['name']}"
        auth, welcome = (said[name] if case["state"] in states else "" for name, states in BEFORE.items())
        records = case["records"]
        if case["receiver"] == "client":
            assert case["state"] == "open", f"{what}: nobody here can play that"
            check_plaintext(what, golden()[0], welcome, case)
            found = told_client(bytes.fromhex(welcome + records))
        else:
            check_plaintext(what, golden()[1], auth, case)
            found = told_gateway(gateway, case["state"], bytes.fromhex(auth + records))
        want = case["error"], case["close_code"]
        if case["name"] in FRAME_REFUSED["links"]:
            assert want == ("field", "malformed"), what
            want = "frame_encoding", "malformed"
        assert found == want, f"{what}: {found}"
        judged.append(case)
    report("links", judged, said["cases"])


# The records that went before, and in which states they did.
BEFORE = {"auth": ("deciding", "open"), "welcome": ("open",)}


def golden():
    """Both ends, client first, behind the golden hello."""
    case = vectors("hellos")["cases"][0]
    private, public, offer = unhex(case, "server_secret", "server_public", "offer")
    mine, theirs = unhex(case, "initiator_ephemeral_secret", "responder_ephemeral_secret")
    hello, client = wire.hello(wire.NK, public, ephemeral=mine)
    assert hello.hex() == case["hello"]
    server = wire.Listener.open(wire.NK, hello[:16], b"", hello[-48:], local=private, ephemeral=theirs)
    client.read_message(bytes(server.write_message(offer)))
    return client, server


def check_plaintext(what, noise, before, case):
    """`frames` is what the records hold, if it is there; `before` is the record that went before, or empty."""
    if case["frames"] is None:
        return
    feed = Feed(bytes.fromhex(before + case["records"]))
    records = Records(None, noise, None)
    records.read = feed.read
    if before:
        records.open_record()
        records.plain.clear()
    while feed.data:
        records.open_record()
    assert records.plain.hex() == case["frames"], f"{what}: its plaintext"


class Deciding(loopback.Link):
    """A gateway's end that has read `Auth` and still asks what it is worth."""

    def decide(self, auth):
        pass


def told_client(records):
    """What the client finds in them, behind `Welcome`: error and close code."""
    near, far = a_connection(records)
    end = Client.__new__(Client)
    end.begin(far, golden()[0])
    found = None
    try:
        end.take_welcome()
        while True:
            end.receive()
    except Violation as broken:
        found = broken.error, wire.CLOSES.get(broken.error)
    except (Silence, Closed) as ended:
        found = ended
    near.close()
    far.close()
    return found


def told_gateway(gateway, state, records):
    """What the gateway finds in them, and the code of the `Close` it answers with; None if that is silence."""
    near, far = a_connection(records)
    noise, at_gateway = golden()
    end = (Deciding if state == "deciding" else loopback.Link)(gateway, far, at_gateway, None)
    try:
        end.serve()
        waits = None
    except Silence as silence:
        waits = silence
    far.close()
    text, code = last_close(heard(near, noise, link.Frame))
    assert text in (None, end.error)
    return waits or (end.error, code)


def a_connection(data):
    """Both sockets of one; all that the near end says is said, so nobody waits."""
    near, far = socket.socketpair()
    near.settimeout(10)
    far.settimeout(10)
    near.sendall(data)
    near.shutdown(socket.SHUT_WR)
    return near, far


def heard(near, noise, frame_type):
    """All frames that came back."""
    records, frames = Records(near, noise, frame_type), []
    try:
        while True:
            frames.append(records.receive())
    except Silence:
        near.close()
    return frames


def last_close(frames):
    close = frames[-1].close if frames and frames[-1].WhichOneof("kind") == "close" else None
    return (close.text, NAMES[close.code]) if close else (None, None)


def streams_end_alike():
    said = vectors("malformed")["streams"]
    judged = [case for case in said["ends"] if case["receiver"] != NOBODY_HERE]
    for case in judged:
        what = f"{case['state']}, {case['name']}"
        check_plaintext(what, None, "", case)
        end, answers = told_backend(said, case["state"] == "open", bytes.fromhex(case["records"]))
        kinds = [frame.WhichOneof("kind") for frame in answers]
        assert kinds == ["ready", "close"][case["state"] == "opening" :], f"{what}: {kinds}"
        found = last_close(answers)
        assert found == (case["error"], case["close_code"]), f"{what}: {found}"
    report("ends", judged, said["ends"])


def told_backend(said, is_open, records):
    """The backend after these records, and all it answered. The service behind it thinks about requests for ever.

    So it returns no credit meanwhile, and lets in whoever is asked for.
    """
    hello = said["hello"] if is_open else ""
    near, far = a_connection(bytes.fromhex(said["preamble"] + hello) + records)
    end = Backend(
        far,
        lambda _: None,
        judge=lambda _: stream.AuthResult(accepted=True, user=b"alice"),
        instance=b"b-1",
        credit=CREDIT,
        frame_len_max=FRAME_LEN_MAX,
    )
    end.serve()
    return end, heard(near, None, stream.Frame)


def bad_fields_leave_streams_open():
    said = vectors("malformed")["streams"]
    judged = [case for case in said["flawed"] if case["receiver"] != NOBODY_HERE]
    # A link that is there before, and a sign that the stream goes on behind.
    frames = vectors("stream-frames")["frames"]
    opened = next(case for case in frames if case["kind"] == "link_opened" and case["name"] == "all fields")
    opened = vectors_frames.written(stream.Frame, opened)
    ping, pong = stream.Frame(ping=stream.Ping(nonce=7)), stream.Frame(pong=stream.Pong(nonce=7))
    sender = Records(None, None, stream.Frame)
    for case in judged:
        what = case["name"]
        check_plaintext(what, None, "", case)
        records = sender.seal(wire.framed(opened)) + bytes.fromhex(case["records"]) + sender.seal(wire.framed(ping))
        end, (ready, *answers) = told_backend(said, True, records)
        ready.ready.ClearField("boot")
        assert sender.seal(wire.framed(ready)).hex() == said["ready"]
        assert end.links == {opened.link_opened.link: opened.link_opened}, f"{what}: {end.links}"
        named_by, does = int(case["named_by"]), DOES[case["does"]]
        if what in FRAME_REFUSED["flawed"]:
            assert last_close(answers) == ("frame_encoding", "malformed") and len(answers) == 1, f"{what}: {answers}"
        else:
            assert name_of(case) == (case["about"], named_by), what
            assert answers == [*does(named_by), pong], f"{what}: {answers}"
            assert end.owed == CREDIT - end.granted == case["credit_cost"], f"{what}: {end.owed}"
    report("flawed", judged, said["flawed"])


def name_of(case):
    """What the frame of a case is about, and its number."""
    frame = vectors_frames.take(stream.Frame, bytes.fromhex(case["frames"]))
    kind = frame.WhichOneof("kind")
    body = getattr(frame, kind)
    return ("link", body.link) if kind in ("link_opened", "link_detached", "link_closed") else (kind, body.call)


# What the backend answers to what is named so.
DOES = {
    "answers refused with malformed": lambda call: [
        stream.Frame(response=stream.Response(call=call, refused=True, status=wire.REFUSALS["malformed"]))
    ],
    "answers accepted false": lambda call: [stream.Frame(auth_result=stream.AuthResult(call=call))],
    "skips it": lambda _: [],
}


def report(part, judged, cases):
    receivers = [case["receiver"] for case in judged]
    counts = ", ".join(f"{receivers.count(one)} at the {one}" for one in sorted(set(receivers)))
    print(f"         malformed.json, {part}: {counts}")
    if len(judged) < len(cases):
        print(f"           left out: {len(cases) - len(judged)} at the gateway of a stream, which no Python peer is")
    for case in judged:
        if case["name"] in FRAME_REFUSED.get(part, ()):
            print(f"           refused as a whole frame: {case['receiver']}, {case['name']}")


ALL = (
    links_end_alike,
    streams_end_alike,
    bad_fields_leave_streams_open,
)
