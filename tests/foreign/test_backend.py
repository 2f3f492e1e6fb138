"""What a backend says to a gateway, and what it hears (11, 12). Run by with_gateway.py."""

import secrets
import time

import wire
from checks import UNKNOWN, a_device, expect, expect_clear_reply, expect_close, expect_silence, named, test
from client import STAY_AWAY_MS, Closed, dial
from stage import HELD, REALM, accepted
from wire import CODES, REASONS, UNDELIVERED, link, stream


# Kicks


@test
def a_kick_reaches_the_client_as_it_is(stage):
    at = stage.a_stream()
    for code, stay_away in ((99, False), (99, True), (CODES["banned"], False), (0, False)):
        for by_link in (True, False):
            one = stage.login()
            target = {"link": stage.link_id(one)} if by_link else {"user": one.user}
            at.send(stream.Frame(kick=stream.Kick(code=code, do_not_reconnect=stay_away, **target)))
            try:
                one.receive()
                raise AssertionError("the link goes on")
            except Closed as closed:
                got = closed.code, closed.close.do_not_reconnect
                expect(f"{code} {stay_away}, got {got}", got == (code or CODES["kicked"], stay_away))


@test
def a_kick_of_one_device_leaves_the_others(stage):
    one = stage.login()
    two = stage.login(one.user)
    stage.a_stream().send(stream.Frame(kick=stream.Kick(user=one.user, device=one.device)))
    expect_close(one, "kicked")
    expect("the other device", two.ping(1) == 1)
    two.close()


@test
def a_kick_that_names_none_or_several_is_skipped(stage):
    one = stage.login()
    at, number = stage.a_stream(), stage.link_id(one)
    for kick in (
        stream.Kick(),
        stream.Kick(device=one.device, code=99),
        stream.Kick(link=number, user=one.user),
        stream.Kick(user=bytes(65)),
        stream.Kick(user=one.user, device=bytes(65)),
        stream.Kick(user=one.user, login=bytes(257)),
        stream.Kick(user=one.user, login=b"another"),
        stream.Kick(user=one.user, device=one.device, revoke=True, login=b"another"),
        stream.Kick(user=one.user, realm="elsewhere"),
        stream.Kick(user=b"nobody"),
        stream.Kick(link=1),
    ):
        at.send(stream.Frame(kick=kick))
    at.sync()
    expect("the link lives", one.ping(1) == 1)
    one.close()


# Pushes


@test
def a_push_reaches_its_link_its_user_and_its_device(stage):
    one = stage.login()
    two = stage.login(one.user)
    at, number = stage.a_stream(), stage.link_id(one)
    for payload, ends, fields in (
        (b"link", (one,), {"link": number}),
        (b"user", (one, two), {"user": one.user}),
        (b"device", (two,), {"user": one.user, "device": two.device}),
        (b"the only realm by its name", (one, two), {"user": one.user, "realm": REALM.decode()}),
        (b"every class is at most once", (one,), {"link": number, "class": 77, "ttl_ms": 1}),
        (b"nobody is left out yet", (one,), {"link": number, "except": [number], "coalesce": b"c"}),
    ):
        identity = secrets.token_bytes(16)
        expect("no report", at.report(payload=payload, id=identity, **fields) is None)
        for end in ends:
            push = end.wait_for("push")
            expect(f"{payload}, got {push}", (push.payload, push.id, push.sequence) == (payload, identity, 0))
            expect("its class", getattr(push, "class") == fields.get("class", 0))
    for end in (one, two):
        expect("no other push", end.ping(1) == 1 and not end.pushes)
        end.close()


@test
def a_push_that_cannot_arrive_is_undelivered_and_the_stream_lives(stage):
    one = stage.login()
    at, number = stage.a_stream(), stage.link_id(one)
    users = [one.user, b"another"]
    for name, reason, fields in (
        ("no target", "malformed", {}),
        ("a device and no user", "malformed", {"device": one.device}),
        ("link and user", "malformed", {"link": number, "user": one.user}),
        ("user and room", "malformed", {"user": one.user, "room": b"r"}),
        ("user and users", "malformed", {"user": one.user, "users": users}),
        ("link and node", "malformed", {"link": number, "node": True}),
        ("a user of 65 bytes", "malformed", {"user": bytes(65)}),
        ("a device of 65 bytes", "malformed", {"user": one.user, "device": bytes(65)}),
        ("an id of 17 bytes", "malformed", {"user": one.user, "id": bytes(17)}),
        ("a room", "unsupported", {"room": b"r"}),
        ("no such users", "no_user", {"users": [secrets.token_bytes(16)]}),
        ("users with an empty one", "malformed", {"users": [one.user, b""]}),
        ("users with one of 65 bytes", "malformed", {"users": [one.user, bytes(65)]}),
        ("users and a room", "malformed", {"users": users, "room": b"r"}),
        ("257 users", "malformed", {"users": [b"%d" % at for at in range(257)]}),
        ("users of another realm", "no_user", {"users": users, "realm": "elsewhere"}),
        ("several rooms", "unsupported", {"rooms": [b"r", b"s"]}),
        ("the node", "unsupported", {"node": True}),
        ("no such link", "no_link", {"link": 1}),
        ("no such user", "no_user", {"user": secrets.token_bytes(16)}),
        ("no such device", "no_user", {"user": one.user, "device": b"another"}),
        ("another realm", "no_user", {"user": one.user, "realm": "elsewhere"}),
    ):
        report = at.report(payload=b"x", **fields)
        expect(f"{name}: a report", report is not None and report.outcome == stream.UNDELIVERED)
        expect(f"{name}: {reason}, got {report.reason}", report.reason == UNDELIVERED[reason])
    report = at.report(payload=b"x", users=[secrets.token_bytes(16)])
    expect(f"of a list the report names the user, got {report.user}", len(report.user) == 16)
    at.push(stream.Push(payload=b"no number, no report", user=bytes(65)))
    at.sync()
    expect("none", stage.find("report", lambda report: report.number == 0) is None)
    expect("nothing came", one.ping(1) == 1 and not one.pushes)
    one.close()


# Requests


@test
def the_backend_hears_who_asks(stage):
    one = stage.login()
    payload = secrets.token_bytes(16)
    frame = one.request_frame("echo", payload, b"k" * 64, again=True)
    one.send(frame)
    expect("the answer", one.wait_for("response").payload == payload)
    heard = stage.wait("the request", "request", lambda request: request.payload == payload)
    expect("who", (heard.user, heard.device, heard.session) == (one.user, one.device, one.welcome.session))
    expect("what", (heard.id, heard.route, heard.key, heard.again) == (frame.request.id, "echo", b"k" * 64, True))
    expect("the only realm", heard.realm == "")
    expect("a call and a deadline", heard.call and heard.deadline_ms)
    one.close()


@test
def statuses_and_refusals_reach_the_client_as_they_are(stage):
    one = stage.login()
    for status, refused, retry_after_ms in ((0, False, 0), (4_294_967_295, False, 5), (1, True, 77), (99, True, 0)):
        payload = secrets.token_bytes(16)
        stage.answers[payload] = stream.Response(status=status, refused=refused, retry_after_ms=retry_after_ms)
        got = one.request("echo", payload)
        expect("the outcome", got.outcome == (link.REFUSED if refused else link.ANSWERED))
        expect("the number", got.code == status)
        expect(f"the pause, got {got.retry_after_ms}", got.retry_after_ms == retry_after_ms)
    one.close()


# Presence


@test
def the_backend_is_told_of_links_and_of_what_was_proved(stage):
    device_key = secrets.token_bytes(32)
    before = time.time() * 1000
    one = stage.login(suite=wire.IK, keys={"device_key": device_key})
    epochs = [(int(before) - 1) << 12]
    for suite in (wire.IK, wire.TICKET):
        end = one
        if suite == wire.TICKET:
            end = stage.by_ticket(one)
            end.login(b"", b"", one.device)
        session = end.welcome.session
        opened = stage.wait("LinkOpened", "link_opened", lambda opened: opened.session == session)
        expect("who", (opened.user, opened.device) == (one.user, one.device))
        expect("how", (opened.suite, opened.origin_suite) == (suite, wire.IK))
        expect("the proved key", opened.peer_key == wire.public_of(device_key))
        expect("where from", (opened.address, opened.port) == (bytes([127, 0, 0, 1]), end.sock.getsockname()[1]))
        expect("not served yet", opened.realm == "")
        expect("a later link of the device", epochs[-1] < opened.link_epoch <= (int(time.time() * 1000) + 1) << 12)
        epochs.append(opened.link_epoch)
        expect("the same link", opened.link == stage.link_id(end))
        stage.a_stream().send(stream.Frame(kick=stream.Kick(link=opened.link, code=99)))
        closed = stage.wait("LinkClosed", "link_closed", lambda closed: closed.session == session)
        expect("the code", (closed.link, closed.user, closed.code) == (opened.link, one.user, 99))
        expect("the same link's", closed.link_epoch == opened.link_epoch)
        end.sock.close()
    end = stage.login()
    session = end.welcome.session
    end.close()
    closed = stage.wait("LinkClosed", "link_closed", lambda closed: closed.session == session)
    expect(f"the client's own code, got {closed.code}", closed.code == CODES["normal"])


# Heartbeat


@test
def every_whole_frame_of_a_known_kind_is_a_sign_of_life(stage):
    """Intervals of a second: four links at once show within three what keeps a link and what does not."""
    def one():
        end = stage.connect()
        end.login(secrets.token_bytes(16), b"heart", a_device(), heartbeat_ms=1)
        expect("clamped to the shortest", end.welcome.heartbeat_ms == end.welcome.heartbeat_min_ms == 1_000)
        return end

    pads, pings, unknown, nothing = one(), one(), one(), one()
    for part in range(6):
        pads.send(pads.pad())
        if part < 4:
            unknown.send(UNKNOWN)
        pings.stay(0.5, first=lambda: 0)
    for end in (pads, pings):
        expect("it lives", end.ping(1) == 1)
        end.close()
    for name, end in (("nothing", nothing), ("unknown frames", unknown)):
        expect(f"{name}: closed two seconds after `Auth`", end.readable(0))
        named(name, expect_close, end, "heartbeat_timeout")


@test
def a_ping_may_change_the_interval(stage):
    one = stage.connect()
    welcome = one.login(secrets.token_bytes(16), b"heart", a_device())
    expect("the default", welcome.heartbeat_ms == 60_000)
    expect("at once, clamped", one.ping(1, heartbeat_ms=1) == 1)
    start = time.monotonic()
    expect_close(one, "heartbeat_timeout")
    expect("after twice the interval", 1.9 < time.monotonic() - start < 6)


# Keys, and the gate


@test
def a_gateway_with_too_many_hellos_says_when_to_come_back(stage):
    """They are all there when it goes on, and it makes one handshake per turn; nobody meets silence."""
    waiting = []
    with stage.frozen():
        for _ in range(100):
            hello, noise = wire.hello(wire.NK, stage.target.key)
            waiting.append((dial(stage.target.address), noise))
            waiting[-1][0].sendall(hello)
    busy = 0
    for sock, noise in waiting:
        try:
            wire.read_message_2(lambda count: wire.read_exactly(sock, count), noise, wire.NK)
        except wire.Rejected as rejected:
            expect(f"busy, got {rejected.reason}", rejected.reason == REASONS["busy"])
            expect("a time to come back", 0 < rejected.wait_ms <= STAY_AWAY_MS)
            expect("what it speaks", (rejected.versions, rejected.suites) == (2, stage.target.suites))
            expect("its key", rejected.key_id == wire.key_id(stage.target.key))
            busy += 1
        sock.close()
    expect(f"some of them, got {busy}", 0 < busy < len(waiting))


@test
def the_keys_to_come_are_announced_with_their_time_and_their_suites(stage):
    one = stage.login()
    listed = [(key.key, key.not_before_ms, key.not_after_ms) for key in one.welcome.server_keys]
    expect("the current one first", listed[0][0] == stage.target.key)
    expect("then the next", listed[1:] == [(stage.next_key, 4_102_444_800_000, 0)])
    suites = wire.suite_set(wire.NK, wire.IK, wire.TICKET, wire.TICKET_AESGCM)
    expect("without the one that leaves", {key.suites for key in one.welcome.server_keys} == {suites})
    one.close()


@test
def a_retired_key_is_told_in_clear(stage):
    """Before anything is said of version or suite, and with a good tag only."""
    for suite, version in ((wire.NK, 1), (200, 1), (wire.NK, 2)):
        fixed = wire.fixed_part(suite, stage.retired, version=version, suites=2)
        hello = wire.gated(stage.retired, fixed, b"", bytes(48))
        expect_clear_reply(stage.target, "retired_key", hello)
        hello = wire.gated(stage.target.key, fixed, b"", bytes(48))
        expect_silence(dial(stage.target.address), hello)


# Bans


@test
def a_ban_ends_links_and_keeps_out_until_it_is_lifted(stage):
    at, one = stage.a_stream(), stage.login()
    at.send(stream.Frame(ban=stream.Ban(user=one.user, reason="spam")))
    expect_close(one, "banned")
    at.send(stream.Frame(unban=stream.Unban(user=one.user)))


@test
def a_ban_that_names_none_or_both_or_has_passed_bans_nobody(stage):
    at, one = stage.a_stream(), stage.login()
    for ban in (
        stream.Ban(),
        stream.Ban(user=one.user, prefix=bytes(4), prefix_len=1),
        stream.Ban(user=one.user, prefix_len=8),
        stream.Ban(user=one.user, reason="r" * 129),
        stream.Ban(user=one.user, realm="elsewhere"),
        stream.Ban(user=one.user, until_ms=1),
        stream.Ban(prefix=bytes([192, 0, 2, 0]), prefix_len=33),
    ):
        at.send(stream.Frame(ban=ban))
    other = stage.login()
    at.send(stream.Frame(ban=stream.Ban(user=other.user)))
    expect_close(other, "banned")
    expect("what came before was skipped", one.ping(1) == 1)
    at.send(stream.Frame(unban=stream.Unban(user=other.user)))
    one.close()


@test
def users_and_prefixes_are_throttled_by_whoever_may_ban(stage):
    at, one = stage.a_stream(), stage.login()
    mapped = bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1])
    for throttle in (
        stream.Throttle(user=one.user, percent=50),
        stream.Throttle(prefix=bytes([127, 0, 0, 0]), prefix_len=8, percent=60),
        stream.Throttle(prefix=mapped, prefix_len=128, percent=70, until_ms=1 << 62),
        stream.Throttle(prefix=b"\x20\x01\x0d\xb8" + bytes(12), prefix_len=32, percent=1),
        stream.Throttle(prefix=bytes([127, 0, 0, 1]), prefix_len=32, percent=1, until_ms=1),
        stream.Throttle(prefix=bytes([127, 0, 0, 0]), prefix_len=8, percent=100),
        stream.Throttle(user=one.user, percent=100),
    ):
        at.send(stream.Frame(throttle=throttle))
    at.sync()
    expect("the stream lives", stage.services[0].current is at)
    expect("slower, and served", one.ping(1) == 1)
    one.close()


# Streams


@test
def a_stream_skips_pads_and_what_is_not_served(stage):
    at = stage.a_stream()
    frames = [
        *(at.pad(zeros) for zeros in (0, 1, 1_000)),
        stream.Frame(ban=stream.Ban(prefix=bytes(3))),
        stream.Frame(unban=stream.Unban(user=bytes(65))),
        stream.Frame(throttle=stream.Throttle(percent=101)),
        stream.Frame(join=stream.Join(room=bytes(65))),
        stream.Frame(leave=stream.Leave(realm="r" * 65)),
        stream.Frame(end_session=stream.EndSession(session=b"x")),
        stream.Frame(report_ack=stream.ReportAck(report=1)),
        stream.Frame(room_answer=stream.RoomAnswer(call=7)),
    ]
    at.send(*frames * 150)
    at.sync()
    expect("the stream lives", stage.services[0].current is at)


@test
def an_answer_to_nobody_is_dropped(stage):
    at = stage.a_stream()
    for call in (0, 1 << 63):
        at.spend(b"", stream.Frame(response=stream.Response(call=call)))
        at.give(stream.Authenticate(call=call), accepted(b"nobody"))
    at.sync()
    expect("the stream lives", stage.services[0].current is at)


@test
def what_is_not_about_one_link_ends_a_stream(stage):
    ping = stream.Frame(ping=stream.Ping(nonce=1)).SerializeToString()
    for name, frame in {
        "two kinds": ping + ping,
        "a group": b"\x2b\x2c",
        "a second Ready": stream.Frame(ready=stream.Ready(instance=b"i", credit=1 << 20)),
        "the gateway's own frame": stream.Frame(link_opened=stream.LinkOpened(link=1)),
    }.items():
        at = stage.a_stream()
        at.send(frame)
        stage.wait(f"{name}: the end of the stream", "ended", lambda _: True, on=at)
        stage.services[0].up(behind=at)


@test
def more_than_a_thousand_unknown_frames_within_a_minute_end_a_stream(stage):
    at = stage.a_stream()
    at.send(*[UNKNOWN] * 1_000)
    at.sync()
    at.send(UNKNOWN)
    stage.wait("the end of the stream", "ended", lambda _: True, on=at)
    expect("glitches, if anything is said", at.close_code in (None, CODES["glitches"]))
    stage.services[0].up(behind=at)


@test
def a_backend_that_drains_gets_no_more_and_still_answers(stage):
    one = stage.login()
    held = one.request_frame("echo", HELD)
    one.send(held)
    request = stage.wait("the request", "request", lambda request: request.id == held.request.id)
    at = stage.stream_of(request)
    other = next(service for service in stage.services if service is not at.service)
    other.up()
    at.drain(60_000)
    at.sync()
    for n in range(20):
        expect("answered", one.request("echo", b"%d" % n).payload == b"%d" % n)
    two = stage.login()
    asked = stage.wait("the question", "authenticate", lambda asked: asked.token == two.token)
    expect("new ones go to the other", stage.stream_of(asked) is other.current)
    payload = secrets.token_bytes(16)
    one.request("echo", payload)
    heard = stage.wait("a new request", "request", lambda request: request.payload == payload)
    expect("by way of the other", stage.stream_of(heard) is other.current)
    at.respond(request, stream.Response(payload=b"at last"))
    response = one.wait_for("response")
    expect("what was under way is answered", (response.id, response.payload) == (held.request.id, b"at last"))
    at.leave()
    at.service.up(behind=at)
    for end in (one, two):
        end.close()
