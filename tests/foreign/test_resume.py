"""Sessions that outlive their links, from both sides (8.2, 8.7, 11.7). Run by with_gateway.py."""

import copy
import secrets

from checks import a_device, expect, expect_close, named, test
from client import Closed
from wire import CODES, link, stream

WINDOW_MS = 120_000


def expect_new(before, one):
    welcome = one.welcome
    expect("not resumed", not welcome.resumed and welcome.last_sequence == 0)
    expect("a new session", welcome.session != before.id and len(welcome.secret) == 32 and welcome.secret != before.secret)


def expect_resumed(before, one, last_sequence=0):
    welcome = one.welcome
    expect(f"resumed, got {welcome}", welcome.resumed and welcome.session == before.id)
    expect("the secret it has holds", not welcome.secret)
    expect(f"{last_sequence}, got {welcome.last_sequence}", welcome.last_sequence == last_sequence)


def refused(come):
    try:
        come()
    except Closed as closed:
        return closed
    raise AssertionError("it is let in")


@test
def a_client_goes_on_over_its_half_open_link_by_a_fresh_login(stage):
    one = stage.login()
    for _ in range(3):
        two = stage.come_back(one)
        expect_resumed(one.session, two)
        close = expect_close(one, "try_later")
        expect("nobody is replaced", not close.do_not_reconnect)
        expect("it is in", two.request("echo", secrets.token_bytes(9)).outcome == link.ANSWERED)
        one = two
    one.close()


@test
def it_goes_on_with_a_ticket_as_with_a_token(stage):
    one = stage.login()
    one.close(CODES["moving"])
    two = stage.by_ticket(one)
    two.login(b"", b"", one.device, session=one.session)
    expect_resumed(one.session, two)
    two.close()


@test
def every_end_but_a_logout_keeps_the_session(stage):
    for name, end in {
        "moving": lambda one: one.close(CODES["moving"]),
        "a code of its own": lambda one: one.close(99),
        "the end of bytes": lambda one: one.sock.close(),
        "malformed": lambda one: (one.send_plain(b"\0"), expect_close(one, "malformed")),
        "a record that does not open": lambda one: one.sock.sendall(b"\0\x20" + bytes(32)),
    }.items():
        one = stage.login()
        end(one)
        two = stage.come_back(one)
        named(name, expect_resumed, one.session, two)
        two.close()


@test
def a_logout_ends_the_session(stage):
    one = stage.login()
    one.close()
    two = stage.come_back(one)
    expect_new(one.session, two)
    two.close()


@test
def a_kick_ends_the_session_whatever_its_code_and_whether_it_has_a_link_or_waits(stage):
    at = stage.a_stream()
    for code in (0, CODES["going_away"], CODES["slow_reader"], 99):
        one = stage.login()
        at.send(stream.Frame(kick=stream.Kick(user=one.user, code=code)))
        refused(one.receive)
        two = stage.come_back(one)
        named(f"code {code}", expect_new, one.session, two)
        two.close(CODES["moving"])
        at.send(stream.Frame(kick=stream.Kick(user=one.user, code=code)))
        at.sync()
        three = stage.come_back(two)
        named(f"code {code}, while it waits", expect_new, two.session, three)
        three.close()


@test
def a_proof_that_does_not_hold_makes_a_new_session(stage):
    def with_bytes(name):
        def change(session):
            value = getattr(session, name)
            setattr(session, name, bytes([value[0] ^ 1]) + value[1:])

        return change

    def beyond(session):
        session.received += 1

    for name, change in {"secret": with_bytes("secret"), "id": with_bytes("id"), "sequence": beyond}.items():
        one = stage.login()
        one.close(CODES["moving"])
        session = copy.copy(one.session)
        change(session)
        two = stage.login(one.user, one.device, session=session)
        named(name, expect_new, one.session, two)
        two.close()


@test
def a_session_is_its_devices_only(stage):
    one = stage.login()
    for user, device in ((one.user, a_device()), (secrets.token_bytes(16), one.device)):
        other = stage.login(user, device, session=copy.copy(one.session))
        expect_new(one.session, other)
        other.close()
    expect("its link lives", one.ping(1) == 1)
    one.close()


@test
def nobody_goes_on_behind_what_it_has_acknowledged_as_taken(stage):
    one = stage.login()
    push = stage.a_stream().keep(one)
    one.take(one.wait_for("push"))
    stage.fate(push)
    one.close(CODES["moving"])
    one.session.received = 0
    two = stage.come_back(one)
    expect_new(one.session, two)
    two.close()


@test
def an_attempt_that_is_not_larger_is_told_to_try_later(stage):
    one = stage.login()
    one.session.attempt = 6
    two = stage.come_back(one)
    for waits in (False, True):
        for last in (6, 5):
            session = copy.copy(one.session)
            session.attempt = last
            closed = refused(lambda: stage.login(one.user, one.device, session=session))
            got = closed.code, closed.close.do_not_reconnect
            expect(f"attempt {last + 1} again, got {got}", got == (CODES["try_later"], False))
        if waits:
            break
        expect("the link lives", two.ping(1) == 1)
        two.close(CODES["moving"])
    three = stage.come_back(two)
    expect_resumed(one.session, three)
    three.close()


@test
def who_is_not_let_in_ends_no_session(stage):
    one = stage.login()
    push = stage.a_stream().keep(one)
    expect("heard", one.wait_for("push").id == push.id)
    for waits in (False, True):
        for code in (CODES["auth_failed"], 99):
            session = copy.copy(one.session)
            intruder = stage.connect()
            token = stage.name(stream.AuthResult(code=code))
            closed = refused(lambda: intruder.login(token, b"", one.device, session=session))
            expect(f"{code}, got {closed.code}", closed.code == code)
        if not waits:
            expect("its link lives", one.ping(1) == 1)
            one.close(CODES["moving"])
    one.lose()
    two = stage.come_back(one)
    expect_resumed(one.session, two, last_sequence=1)
    two.take(two.wait_for("push"))
    expect("delivered", stage.fate(push).outcome == stream.DELIVERED)
    two.close()


@test
def a_session_whose_device_another_login_has_taken_is_over_for_good(stage):
    one = stage.login()
    two = stage.login(one.user, one.device)
    expect("it is told", expect_close(one, "replaced").do_not_reconnect)
    closed = refused(lambda: stage.come_back(one))
    expect(f"replaced, got {closed.code}", closed.code == CODES["replaced"] and closed.close.do_not_reconnect)
    expect("the other one lives", two.ping(1) == 1)
    two.close()


# What backends hear of it


@test
def backends_are_told_that_a_session_waits_for_what_and_that_it_goes_on(stage):
    one = stage.login()
    session, before = one.session.id, one.welcome.time_ms
    opened = stage.wait("LinkOpened", "link_opened", lambda opened: opened.session == session)
    told = stage.stream_of(opened)
    ats = [service.up() for service in stage.services]
    pushes = {at: [at.keep(one) for _ in range(2)] for at in ats}
    heard = [one.wait_for("push") for _ in range(4)]
    one.acknowledge()
    one.sock.close()
    for at in ats:
        detached = stage.wait("LinkDetached", "link_detached", lambda detached: detached.session == session, on=at)
        expect("which link", (detached.link, detached.link_epoch) == (opened.link, opened.link_epoch))
        numbers = [push.number for push in pushes[at]]
        expect(f"its own pushes, got {detached}", list(detached.unacknowledged) == numbers)
        expect("all of them", detached.unacknowledged_count == 2)
        left = detached.until_ms - before
        expect(f"until its time is over, got {left} ms", WINDOW_MS <= left <= WINDOW_MS + 60_000)
    expect("it waits", opened.link in told.links and opened.link in told.detached)
    two = stage.come_back(one)
    expect_resumed(one.session, two, last_sequence=4)

    def names_it(frame):
        return any(resumed.old_link == opened.link for resumed in frame.links)

    resumed = stage.wait("LinkResumed", "link_resumed", names_it, on=told)
    new = next(resumed for resumed in resumed.links if resumed.old_link == opened.link)
    again = stage.wait("LinkOpened", "link_opened", lambda again: again.session == session and again is not opened)
    expect("of the new link", (new.link, new.link_epoch) == (again.link, again.link_epoch))
    expect("which is a later one", again.link != opened.link and again.link_epoch > opened.link_epoch)
    expect("the client's", again.link == stage.link_id(two))
    stage.sync()
    expect("it waits no more", opened.link not in told.links and opened.link not in told.detached)
    for push in heard:
        two.take(push)
    for push in sum(pushes.values(), []):
        expect("delivered", stage.fate(push).outcome == stream.DELIVERED)
    two.close()
    closed = stage.wait("LinkClosed", "link_closed", lambda closed: closed.session == session)
    expect("only the last link is closed", (closed.link, closed.code) == (again.link, CODES["normal"]))


@test
def a_kick_of_a_session_that_waits_closes_its_link_for_the_backend(stage):
    one = stage.login()
    opened = stage.wait("LinkOpened", "link_opened", lambda opened: opened.session == one.session.id)
    one.close(CODES["moving"])
    stage.wait("LinkDetached", "link_detached", lambda detached: detached.link == opened.link)
    stage.a_stream().send(stream.Frame(kick=stream.Kick(user=one.user, code=99)))
    closed = stage.wait("LinkClosed", "link_closed", lambda closed: closed.link == opened.link)
    expect(f"the kick's code, got {closed.code}", (closed.session, closed.code) == (one.session.id, 99))
