"""Whom the gateway lets in when a backend judges (8.1, 11.8), and what tickets are worth then (5).

Run by with_gateway.py.
"""

import secrets
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import ticket
import wire
from checks import a_device, expect, expect_clear_reply, expect_close, named, test
from client import Client, Closed, now_ms
from stage import REALM, VERDICT_DEADLINE_S, accepted
from wire import CODES, REFUSALS, link, stream


@test
def the_backend_hears_what_the_client_said_and_proved(stage):
    bound, device_key = Ed25519PrivateKey.generate(), secrets.token_bytes(32)
    for suite in (wire.NK, wire.IK_AESGCM):
        is_ik = suite == wire.IK_AESGCM
        one = stage.connect(suite, device_key=device_key if is_ik else None)
        token = stage.name(accepted(b"the backend's word"))
        one.login(token, b"a claim", b"phone", bound=bound, **{"class": 77})
        heard = stage.wait("the question", "authenticate", lambda asked: asked.token == token)
        expect("what it said", (heard.user, heard.device, getattr(heard, "class")) == (b"a claim", b"phone", 77))
        expect("the handshake", (heard.handshake, heard.suite) == (one.h, suite))
        expect("the device key with IK", heard.peer_key == (wire.public_of(device_key) if is_ik else b""))
        expect("its address", heard.address == bytes([127, 0, 0, 1]))
        expect("the only realm", heard.realm == "")
        expect("a deadline", 0 < heard.deadline_ms <= VERDICT_DEADLINE_S * 1_000)
        bound.public_key().verify(heard.signature, wire.binding("token", heard.handshake, heard.token))
        expect("the user is the backend's word", one.welcome.user == b"the backend's word")
        one.close()


@test
def without_a_server_key_the_backend_hears_which_key_was_proved(stage):
    for suite in wire.UNPINNED:
        device_key = secrets.token_bytes(32)
        one = Client(stage.unpinned, None, suite, device_key=device_key)
        token = stage.name(accepted(b"bound"))
        one.login(token, b"", a_device())
        heard = stage.wait("the question", "authenticate", lambda asked: asked.token == token)
        expect("the handshake", (heard.handshake, heard.suite) == (one.h, suite))
        expect("the key that its token has to name", heard.peer_key == wire.public_of(device_key))
        expect("nothing to keep", not one.welcome.tickets and not one.welcome.server_keys)
        expect("an answer", one.request("echo", b"without a key").payload == b"without a key")
        one.close()
    try:
        Client(stage.unpinned, wire.public_of(secrets.token_bytes(32)), wire.NK)
    except wire.Silence:
        return
    expect("who comes with a wrong key hears nothing", False)


@test
def a_token_of_3584_bytes_reaches_the_backend(stage):
    token = secrets.token_bytes(wire.TOKEN_LEN_MAX)
    one = stage.connect()
    one.login(token, b"long")
    stage.wait("the question", "authenticate", lambda asked: asked.token == token)
    one.close()


@test
def a_refusal_reaches_the_client_as_it_is(stage):
    for code, retry_after_ms, stay_away in (
        (99, 0, False),
        (CODES["normal"], 0, False),
        (99, 12_345, True),
        (CODES["banned"], 0, True),
        (CODES["device_refused"], 7, False),
    ):
        verdict = stream.AuthResult(code=code, retry_after_ms=retry_after_ms, do_not_reconnect=stay_away)
        close = stage.refusal(verdict)
        got = close.code, close.retry_after_ms, close.do_not_reconnect
        expect(f"{code}, {retry_after_ms} ms, {stay_away}, got {got}", got == (code, retry_after_ms, stay_away))


@test
def a_refusal_without_a_code_is_auth_failed(stage):
    close = stage.refusal(stream.AuthResult())
    expect(f"auth_failed, got {close.code}", close.code == CODES["auth_failed"])
    expect("a fresh token may be good", not close.do_not_reconnect)


@test
def a_verdict_that_makes_no_sense_is_try_later_for_its_link_alone(stage):
    other = stage.login()
    streams = [service.up() for service in stage.services]
    cases = {
        "no user": {"user": b""},
        "a user of 65 bytes": {"user": bytes(65)},
        "a bound key of 31 bytes": {"bound_key": bytes(31)},
        "a login of 65 bytes": {"login": bytes(65)},
        "a limit class of 33 bytes": {"limit_class": "c" * 33},
    }
    for name, fields in cases.items():
        close = stage.refusal(stream.AuthResult(accepted=True, **{"user": b"somebody", **fields}))
        expect(f"{name}: try_later, got {close.code}", close.code == CODES["try_later"])
        expect(f"{name}: a time to come back, for good", close.retry_after_ms and not close.do_not_reconnect)
    stage.sync()
    expect("the other link lives", other.ping(1) == 1)
    expect("on the same streams", [service.current for service in stage.services] == streams)
    other.close()


@test
def a_verdict_that_does_not_come_is_try_later(stage):
    one = stage.connect()
    token = stage.name(None)
    one.send(one.auth(token, b"late"))
    close = expect_close(one, "try_later")
    expect("a time to come back", close.retry_after_ms)
    asked = stage.wait("the question", "authenticate", lambda asked: asked.token == token)
    at = stage.stream_of(asked)
    at.give(asked, accepted(b"late"))
    at.sync()


@test
def nothing_leaves_the_gateway_before_the_verdict(stage):
    """What is held is worked through behind `Welcome`; a second `Auth` is judged then, and not before."""
    one = stage.connect()
    token, payload, device = stage.name(None), secrets.token_bytes(16), a_device()
    end = now_ms() + 3_600_000
    following = stage.name(accepted(b"patient", expires_ms=end))
    held = one.request_frame("echo", payload), one.auth(following, b"patient", device)
    one.send(one.auth(token, b"patient", device), *held, link.Frame(ping=link.Ping(nonce=3)))
    asked = stage.wait("the question", "authenticate", lambda asked: asked.token == token)
    at = stage.stream_of(asked)
    at.sync()
    expect("no request yet", stage.find("request", lambda request: request.payload == payload) is None)
    expect("no word to the client yet", not one.readable(0))
    expect("nor the next question", stage.find("authenticate", lambda asked: asked.token == following) is None)
    at.give(asked, accepted(b"patient"))
    one.take_welcome()
    frames = {frame.WhichOneof("kind"): frame for frame in (one.receive() for _ in range(3))}
    expect(f"behind it what was held, got {set(frames)}", set(frames) == {"response", "pong", "welcome"})
    renewed = frames["welcome"].welcome
    expect("the end of the next token", renewed.auth_expires_ms == end)
    expect("the same session", renewed.resumed and not renewed.secret)
    one.close()


@test
def a_renewal_that_is_refused_changes_nothing(stage):
    end = now_ms() + 3_600_000
    one = stage.login(expires_ms=end)
    token = stage.name(None)
    one.send(one.auth(token, b"", one.device))
    asked = stage.wait("the question", "authenticate", lambda asked: asked.token == token)
    stage.stream_of(asked).give(asked, stream.AuthResult(accepted=False))
    expect("the link lives", one.ping(5) == 5)
    one.send(one.auth(token, b"", b"another device"))
    expect_close(one, "auth_failed")


@test
def a_second_auth_of_somebody_else_is_held_and_fails(stage):
    one = stage.connect()
    token, device = stage.name(None), a_device()
    one.send(one.auth(token, b"patient", device), one.auth(token, b"patient", b"another device"))
    asked = stage.wait("the question", "authenticate", lambda asked: asked.token == token)
    stage.stream_of(asked).give(asked, accepted(b"patient"))
    one.take_welcome()
    expect_close(one, "auth_failed")


@test
def a_refusal_leaves_nothing_of_what_was_held(stage):
    one = stage.connect()
    payload = secrets.token_bytes(16)
    one.send(one.auth(stage.name(stream.AuthResult(code=99)), b"u"), one.request_frame("echo", payload))
    try:
        response = one.wait_for("response")
        expect("at most refused: auth", (response.outcome, response.code) == (link.REFUSED, REFUSALS["auth"]))
        one.receive()
        raise AssertionError("the link goes on")
    except Closed as closed:
        expect(f"99, got {closed.code}", closed.code == 99)
    stage.sync()
    expect("no request", stage.find("request", lambda request: request.payload == payload) is None)


@test
def pads_are_read_while_the_verdict_is_awaited(stage):
    """Far more than the sockets hold between them, so the gateway reads on; of other frames it holds 4 KiB."""
    one = stage.connect()
    token = stage.name(None)
    one.send(one.auth(token, b"padded"))
    asked = stage.wait("the question", "authenticate", lambda asked: asked.token == token)
    one.sock.settimeout(VERDICT_DEADLINE_S)
    for _ in range(4):
        one.send(*[one.pad(4_000)] * 500)
    stage.stream_of(asked).give(asked, accepted(b"padded"))
    one.take_welcome()
    expect("the link goes on", one.ping(1) == 1)
    one.close()


@test
def the_end_of_a_token_is_told(stage):
    end = now_ms() + 3_600_000
    one = stage.login(expires_ms=end)
    expect("when the proof ends", one.welcome.auth_expires_ms == end)
    expect("no ticket outlives it", all(0 < given.expires_ms <= end for given in one.welcome.tickets))
    one.close()
    by_ticket = stage.by_ticket(one)
    expect("nor does a ticket's link", by_ticket.login(b"", b"", one.device).auth_expires_ms == end)
    by_ticket.close()
    one = stage.login()
    expect("no end", one.welcome.auth_expires_ms == 0)
    one.close()


@test
def a_token_past_its_end_is_token_expired(stage):
    close = stage.refusal(accepted(b"late", expires_ms=now_ms() - 1_000))
    expect(f"token_expired, got {close.code}", close.code == CODES["token_expired"])
    expect("a fresh token may be good", not close.do_not_reconnect)


@test
def a_client_that_comes_back_with_its_login_is_not_its_own_rival(stage):
    """Two tokens of one login are one client: only the old link is closed, and for a while."""
    one = stage.login(login=b"login")
    two = stage.login(one.user, one.device, login=b"login")
    expect("come back if you like", not expect_close(one, "try_later").do_not_reconnect)
    by_ticket = stage.by_ticket(one)
    by_ticket.login(b"", b"", one.device)
    expect("nor with a ticket of it", not expect_close(two, "try_later").do_not_reconnect)
    by_ticket.close()


@test
def who_was_replaced_by_another_login_does_not_come_back(stage):
    """Neither with the token that lost nor with a ticket of it."""
    one = stage.login()
    two = stage.login(one.user, one.device)
    expect("do not reconnect", expect_close(one, "replaced").do_not_reconnect)
    again = stage.connect()
    again.send(again.auth(one.token, b"", one.device))
    expect("nor again", expect_close(again, "replaced").do_not_reconnect)
    again = stage.by_ticket(one)
    again.send(again.auth(b"", b"", one.device))
    expect("nor with a ticket", expect_close(again, "replaced").do_not_reconnect)
    expect("the winner stays", two.ping(1) == 1)
    three = stage.login(one.user, one.device)
    expect("a fresh login wins", expect_close(two, "replaced").do_not_reconnect)
    three.close()


# Tickets


@test
def a_login_may_have_no_tickets(stage):
    one = stage.login(no_tickets=True)
    expect("none", not one.welcome.tickets)
    one.close()
    one = stage.login()
    expect("two are usual", len(one.welcome.tickets) == 2)
    one.close()


@test
def a_ticket_without_the_second_signature_is_auth_failed(stage):
    bound, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    one = stage.login(bound=bound, bound_key=bound.public_key().public_bytes_raw())
    one.close()
    for name, signature in (
        ("none", lambda two: b""),
        ("another key's", lambda two: other.sign(wire.binding("ticket", two.h, two.ticket))),
        ("another link's", lambda two: bound.sign(wire.binding("ticket", one.h, two.ticket))),
        ("the token's", lambda two: bound.sign(wire.binding("token", two.h, two.ticket))),
    ):
        two = stage.by_ticket(one)
        two.send(two.auth(b"", b"", one.device, signature=signature(two)))
        close = named(name, expect_close, two, "auth_failed")
        expect("a good one may follow", not close.do_not_reconnect)
    two = stage.by_ticket(one, 1)
    two.login(b"", b"", one.device, bound=bound)
    expect("with it the link opens", two.ping(1) == 1)
    two.close()
    three = stage.connect(wire.TICKET, ticket=two.welcome.tickets[0].ticket, psk=two.welcome.tickets[0].psk)
    three.send(three.auth(b"", b"", one.device))
    named("the next of the chain", expect_close, three, "auth_failed")


@test
def tickets_are_good_for_as_long_as_the_backend_says(stage):
    """Counted from the login: a ticket that a ticket's link got ends no later."""
    life_ms = 1_500
    one = stage.login(ticket_ms=life_ms)
    end = one.welcome.time_ms + life_ms
    expect("they end in time", all(given.expires_ms <= end for given in one.welcome.tickets))
    two = stage.by_ticket(one)
    chained = two.login(b"", b"", one.device).tickets
    expect("so do the next", all(given.expires_ms <= end for given in chained))
    for left in (one, two):
        left.sock.close()
    # What is looked at is the end of a time, so it has to pass.
    time.sleep(max(0, (end - now_ms()) / 1_000) + 0.05)
    for old in (one.welcome.tickets[1], *chained[:1]):
        hello, _ = wire.hello(wire.TICKET, stage.target.key, ticket=old.ticket, psk=old.psk)
        expect_clear_reply(stage.target, "ticket_refused", hello)


def a_content(stage, **fields):
    """A ticket of another node that has the group key."""
    now = now_ms()
    good = {"psk": secrets.token_bytes(32), "server_key_id": wire.key_id(stage.target.key)}
    good |= {"issued": now, "auth_time": now, "user": secrets.token_bytes(16), "device": b"elsewhere"}
    return ticket.Content(**{**good, **fields})


@test
def tickets_of_nodes_that_share_the_group_key_are_taken(stage):
    now, hour = now_ms(), 3_600_000
    bound = Ed25519PrivateKey.generate()
    for name, fields in {
        "today": {},
        "names as long as they may be": {"user": secrets.token_bytes(64), "device": secrets.token_bytes(64)},
        "a clock that is half a minute ahead": {"issued": now + 30_000, "auth_time": now + 30_000},
        "nearly over": {"issued": now - 11 * hour, "auth_time": now - 6 * 24 * hour},
        "ends to come": {"token_end": now + hour, "ticket_end": now + hour},
        "IK and its device key": {"origin_suite": wire.IK, "device_key": bytes([7]) * 32},
        "bound": {"bound_key": bound.public_key().public_bytes_raw()},
    }.items():
        content = a_content(stage, **fields)
        sealed = content.seal(stage.group_key, REALM)
        one = stage.connect(wire.TICKET_AESGCM, ticket=sealed, psk=content.psk)
        signed_by = bound if content.bound_key else None
        welcome = named(name, one.login, b"", b"", content.device, bound=signed_by)
        expect(f"{name}: the user", welcome.user == content.user)
        expect(f"{name}: the end of the token", welcome.auth_expires_ms == content.token_end)
        one.close()


@test
def tickets_that_are_worth_nothing_here_are_refused_in_clear(stage):
    now, hour = now_ms(), 3_600_000
    other = wire.public_of(secrets.token_bytes(32))
    for name, fields, group_key, realm in (
        ("another group key", {}, secrets.token_bytes(32), REALM),
        ("another realm", {}, stage.group_key, b"elsewhere"),
        ("another server key", {"server_key_id": wire.key_id(other)}, stage.group_key, REALM),
        ("a key that is retired", {"server_key_id": wire.key_id(stage.retired)}, stage.group_key, REALM),
        ("the future", {"issued": now + 120_000, "auth_time": now + 120_000}, stage.group_key, REALM),
        ("13 hours ago", {"issued": now - 13 * hour, "auth_time": now - 13 * hour}, stage.group_key, REALM),
        ("a chain of 7 days", {"auth_time": now - 7 * 24 * hour - 1_000}, stage.group_key, REALM),
        ("the token's end", {"token_end": now - 1_000}, stage.group_key, REALM),
        ("the tickets' end", {"ticket_end": now - 1_000}, stage.group_key, REALM),
        ("a suite that is not allowed here", {"origin_suite": wire.NK_AESGCM}, stage.group_key, REALM),
        ("another format", {"format": 2}, stage.group_key, REALM),
        ("IK without its device key", {"origin_suite": wire.IK}, stage.group_key, REALM),
    ):
        content = a_content(stage, **fields)
        hello, _ = wire.hello(wire.TICKET, stage.target.key, ticket=content.seal(group_key, realm), psk=content.psk)
        named(name, expect_clear_reply, stage.target, "ticket_refused", hello)


@test
def what_the_gateway_seals_is_laid_out_as_the_text_says(stage):
    device_key, bound = secrets.token_bytes(32), Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    end = now_ms() + 3_600_000
    ik = {"suite": wire.IK, "keys": {"device_key": device_key}}
    bounds = {"bound_key": bound}
    for fields in ({}, {"expires_ms": end}, {"ticket_ms": 60_000}, bounds, ik, {**bounds, **ik}):
        start = now_ms()
        one = stage.login(secrets.token_bytes(64), secrets.token_bytes(64), **fields)
        contents = [ticket.unseal(given.ticket, stage.group_key, REALM) for given in one.welcome.tickets]
        expect("each its own psk", contents[0].psk != contents[1].psk)
        for got, given in zip(contents, one.welcome.tickets):
            suite = fields.get("suite", wire.NK)
            expect("who", (got.user, got.device, got.psk) == (one.user, one.device, given.psk))
            expect("suite", got.origin_suite == suite)
            expect("server key", got.server_key_id == wire.key_id(stage.target.key))
            expect("what the client is told", got.end() == given.expires_ms)
            expect("when", start <= got.auth_time <= got.issued <= now_ms())
            expect("the token's end", got.token_end == fields.get("expires_ms", 0))
            ends = got.auth_time + 60_000 if "ticket_ms" in fields else 0
            expect("the tickets' end", got.ticket_end == ends)
            expect("keys", (got.device_key != b"", got.bound_key) == (suite == wire.IK, fields.get("bound_key", b"")))
            expect("the device key", got.device_key in (b"", wire.public_of(device_key)))
        one.close()


@test
def a_kick_may_make_the_tickets_of_a_user_worthless(stage):
    one = stage.login()
    stage.revoke(one)
    expect_close(one, "kicked")
    for index in range(2):
        two = stage.by_ticket(one, index)
        two.send(two.auth(b"", b"", one.device))
        expect("a fresh token may be good", not expect_close(two, "auth_failed").do_not_reconnect)
    again = stage.login(one.user, one.device)
    again.close()
    two = stage.by_ticket(again)
    two.login(b"", b"", one.device)
    expect("a later login is another", two.ping(1) == 1)
    two.close()


@test
def a_revocation_holds_for_a_user_without_a_link(stage):
    one = stage.login()
    one.close()
    stage.revoke(one)
    two = stage.by_ticket(one)
    two.send(two.auth(b"", b"", one.device))
    expect_close(two, "auth_failed")


@test
def a_revocation_holds_for_a_login_of_its_own_millisecond(stage):
    """The client had its `Welcome` before the kick was sent, so its login was before; a few of these are that near."""
    for _ in range(20):
        one = stage.login()
        stage.a_stream().send(stream.Frame(kick=stream.Kick(user=one.user, revoke=True)))
        expect_close(one, "kicked")
        two = stage.by_ticket(one)
        two.send(two.auth(b"", b"", one.device))
        two.sock.settimeout(1)
        named("no way back in", expect_close, two, "auth_failed")


@test
def a_kick_may_end_one_login_and_make_it_worthless_on_all_devices(stage):
    user, login = secrets.token_bytes(16), {"login": b"stolen"}
    one, again = stage.login(user, **login), stage.login(user, **login)
    other, namesake = stage.login(user, login=b"other"), stage.login(**login)
    at = stage.a_stream()
    # Its device and the flag say nothing beside the login.
    at.send(stream.Frame(kick=stream.Kick(user=user, device=other.device, revoke=True, code=99, **login)))
    for of_login in (one, again):
        try:
            of_login.receive()
            raise AssertionError("the link goes on")
        except Closed as closed:
            expect(f"the kick's code, got {closed.code}", closed.code == 99)
    for name, innocent in (("another login of the user", other), ("a login of that name of somebody else", namesake)):
        expect(f"{name} goes on", innocent.ping(1) == 1)
        innocent.close()
        back = stage.by_ticket(innocent)
        back.login(b"", b"", innocent.device)
        expect(f"{name} comes back", back.ping(1) == 1)
        back.close()
    for of_login in (one, again):
        back = stage.by_ticket(of_login)
        back.send(back.auth(b"", b"", of_login.device))
        expect_close(back, "auth_failed")
        # The backend still takes its token for a good one, and the gateway does not.
        back = stage.connect()
        back.send(back.auth(of_login.token, b"", of_login.device))
        expect("a fresh token may be good", not expect_close(back, "auth_failed").do_not_reconnect)
    stage.login(user, one.device, login=b"third").close()


@test
def a_link_that_renews_with_a_token_of_a_revoked_login_ends_without_a_welcome(stage):
    one = stage.login(login=b"first")
    at = stage.a_stream()
    at.send(stream.Frame(kick=stream.Kick(user=one.user, login=b"x" * 256)))
    at.sync()
    expect("it is in by another", one.ping(1) == 1)
    at.send(stream.Frame(kick=stream.Kick(user=one.user, login=b"second")))
    at.sync()
    one.send(one.auth(stage.name(accepted(one.user, login=b"second")), b"", one.device))
    expect_close(one, "auth_failed")


@test
def a_kick_alone_leaves_the_tickets_good(stage):
    one = stage.login()
    stage.a_stream().send(stream.Frame(kick=stream.Kick(user=one.user)))
    expect_close(one, "kicked")
    two = stage.by_ticket(one)
    two.login(b"", b"", one.device)
    two.close()
