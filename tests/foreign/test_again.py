"""Requests that are sent again, those of a key, and what waits behind them, from both sides (8.4). Run by with_gateway.py."""

import secrets
import socket

from checks import expect, expect_close, named, test
from test_resume import expect_new, expect_resumed
from wire import CODES, REFUSALS, link, stream

# 13.2: what may be sent again. A number that is not listed is treated like `busy`.
MAY_COME_AGAIN = {"busy", "no_backend", "auth", "in_flight", "behind", "rate", "room_limit", "draining"}
UNLISTED = 99
LARGE = 60_000
# What the kernel takes in for a client that does not read: little beside all that is sent.
RECEIVES = 65_536


def ended_by_the_gateway(one):
    one.send_plain(b"\0")
    expect_close(one, "malformed")


ENDS = {
    "moving": lambda one: one.close(CODES["moving"]),
    "a code of its own": lambda one: one.close(99),
    "the end of bytes": lambda one: one.sock.close(),
    "malformed": ended_by_the_gateway,
}


def again(request, **fields):
    """The same request as it is sent again."""
    repeat = link.Request()
    repeat.CopyFrom(request)
    for name, value in {"again": True, **fields}.items():
        setattr(repeat, name, value)
    return repeat


def a_request(one, key=b"", route="echo"):
    return one.request_frame(route, secrets.token_bytes(16), key).request


def held(stage, one, key=b"", route="echo"):
    """A request that is answered when the test does."""
    request = a_request(one, key, route)
    stage.hold(request.payload)
    return request


def under_way(stage, one, *requests):
    one.ask(*requests)
    for request in requests:
        stage.reached(request)


def refuse(stage, request, status=REFUSALS["busy"]):
    stage.answers[request.payload] = stream.Response(refused=True, status=status)


def allow(stage, request):
    del stage.answers[request.payload]


def expect_response(got, outcome, code, payload=b""):
    expect(f"{outcome} {code} {payload[:40]!r}, got {got}", (got.outcome, got.code, got.payload) == (outcome, code, payload))


def expect_answered(one, request, payload=None, status=0):
    expect_response(one.outcome(request), link.ANSWERED, status, request.payload if payload is None else payload)


def expect_refused(one, request, reason):
    expect_response(one.outcome(request), link.REFUSED, REFUSALS[reason])


def expect_sendings(stage, request, *says_again):
    """How often a request has come to the backends, and whether it said `again`."""
    stage.sync()
    got = [sending.again for sending in stage.sendings(request)]
    expect(f"at the backends {list(says_again)}, got {got}", got == list(says_again))


def answered(stage, one, request, *says_again):
    one.ask(request)
    expect_answered(one, request)
    expect_sendings(stage, request, *says_again)


def nothing_comes(stage, one):
    """Waiting for the pong meets no response."""
    stage.sync()
    expect("a pong", one.ping(1) == 1)


def ends(stage, one, end):
    """Comes back when the gateway has seen the end of the link."""
    at = stage.link_id(one)
    end(one)
    stage.wait("LinkDetached", "link_detached", lambda detached: detached.link == at)


def next_link(stage, one, **fields):
    two = stage.come_back(one, **fields)
    expect_resumed(one.session, two)
    return two


def on_another_worker(stage, one):
    """The next link of a client that a worker takes which has not this one."""
    session, this = one.session.id, stage.link_id(one)
    opened = stage.wait("LinkOpened", "link_opened", lambda opened: opened.link == this)
    for _ in range(64):
        one.sock.close()
        one = next_link(stage, one)
        epoch = opened.link_epoch
        opened = stage.wait("LinkOpened", "link_opened", lambda new: new.session == session and new.link_epoch > epoch)
        if opened.link >> 52 != this >> 52:
            return one
    raise AssertionError("all links are on one worker")


# Sent again


@test
def a_repeat_of_a_request_under_way_reaches_no_backend_and_one_response_is_for_both(stage):
    one = stage.login()
    first = held(stage, one)
    under_way(stage, one, first)
    one.ask(again(first), again(first, again=False), again(first, counter=0))
    nothing_comes(stage, one)
    stage.give(first, payload=b"once", status=7)
    expect_answered(one, first, b"once", 7)
    nothing_comes(stage, one)
    expect_sendings(stage, first, False)
    one.close()


@test
def a_repeat_in_the_flight_of_the_first_one_changes_nothing(stage):
    one = stage.login()
    first = held(stage, one)
    one.ask(first, again(first))
    stage.reached(first)
    nothing_comes(stage, one)
    stage.give(first, payload=b"once")
    expect_answered(one, first, b"once")
    nothing_comes(stage, one)
    expect_sendings(stage, first, False)
    one.close()


@test
def an_answered_request_is_answered_from_memory(stage):
    for status, length in ((0, 0), (0, 3_000), (7, 1), (2**32 - 1, LARGE)):
        one = stage.login()
        request = a_request(one)
        answer = secrets.token_bytes(length)
        stage.answers[request.payload] = stream.Response(status=status, payload=answer)
        one.ask(request)
        expect_answered(one, request, answer, status)
        # As the last one of the session, and as one of many.
        for others in (0, 3):
            for _ in range(others):
                one.request("echo", secrets.token_bytes(9))
            for sending in (again(request), again(request, again=False), again(request, counter=0)):
                one.ask(sending)
                expect_answered(one, request, answer, status)
        one.sock.close()
        two = next_link(stage, one)
        nothing_comes(stage, two)
        two.ask(again(request))
        expect_answered(two, request, answer, status)
        expect_sendings(stage, request, False)
        two.close()


@test
def what_is_under_way_when_a_link_ends_goes_on_and_is_answered_when_it_comes_again(stage):
    for name, end in ENDS.items():
        named(name, goes_on, stage, lambda one: ends(stage, one, end))
    named("the old link is half open", goes_on, stage, lambda one: None)


def goes_on(stage, end):
    one = stage.login()
    meanwhile, later, last, unasked = requests = [held(stage, one) for _ in range(4)]
    under_way(stage, one, *requests)
    end(one)
    for request in (meanwhile, unasked):
        stage.give(request, payload=b"meanwhile" + request.payload, status=3)
    two = next_link(stage, one)
    nothing_comes(stage, two)
    stage.give(later, payload=b"later", status=4)
    nothing_comes(stage, two)
    for request, payload, status in ((later, b"later", 4), (meanwhile, b"meanwhile" + meanwhile.payload, 3)):
        two.ask(again(request))
        expect_answered(two, request, payload, status)
    two.ask(again(last))
    nothing_comes(stage, two)
    stage.give(last, payload=b"last", status=5)
    expect_answered(two, last, b"last", 5)
    nothing_comes(stage, two)
    for request in requests:
        expect_sendings(stage, request, False)
    two.close()


@test
def what_is_under_way_goes_on_over_several_links_and_workers(stage):
    one = stage.login()
    asked, silent = requests = [held(stage, one) for _ in range(2)]
    under_way(stage, one, *requests)
    for _ in range(3):
        one = on_another_worker(stage, one)
        one.ask(again(asked))
        nothing_comes(stage, one)
    stage.give(asked, payload=b"to the last of them", status=6)
    expect_answered(one, asked, b"to the last of them", 6)
    one = on_another_worker(stage, one)
    stage.give(silent, payload=b"to whom it was not promised")
    for request, payload, status in ((asked, b"to the last of them", 6), (silent, b"to whom it was not promised", 0)):
        one.ask(again(request))
        expect_answered(one, request, payload, status)
    one = on_another_worker(stage, one)
    nothing_comes(stage, one)
    for request, payload, status in ((asked, b"to the last of them", 6), (silent, b"to whom it was not promised", 0)):
        one.ask(again(request))
        expect_answered(one, request, payload, status)
        expect_sendings(stage, request, False)
    one.close()


@test
def what_comes_again_in_the_flight_of_auth_is_answered_behind_welcome(stage):
    """Nobody knows yet whose session it is of, so it has no number."""
    one = stage.login()
    before, under = a_request(one), held(stage, one)
    one.ask(before)
    expect_answered(one, before)
    under_way(stage, one, under)
    one.sock.close()
    two = next_link(stage, one, behind=[link.Frame(request=again(request, counter=0)) for request in (before, under)])
    expect_answered(two, before)
    nothing_comes(stage, two)
    stage.give(under, payload=b"once")
    expect_answered(two, under, b"once")
    for request in (before, under):
        expect_sendings(stage, request, False)
    two.close()


@test
def what_was_refused_goes_again_and_says_so_even_where_its_client_does_not(stage):
    one = stage.login()
    for status in (*REFUSALS.values(), UNLISTED):
        for fields in ({}, {"again": False}):
            request = a_request(one)
            refuse(stage, request, status)
            for sending in (request, again(request, **fields)):
                one.ask(sending)
                expect_response(one.outcome(request), link.REFUSED, status)
                one.request("echo", secrets.token_bytes(9))
            allow(stage, request)
            answered(stage, one, again(request, **fields), False, True, True)
            # Now it is answered, and from memory.
            answered(stage, one, again(request), False, True, True)
    one.close()


@test
def what_became_unknown_as_its_stream_broke_goes_again_and_says_so(stage):
    one = stage.login()
    request = held(stage, one)
    under_way(stage, one, request)
    stage.break_stream(stage.reached(request))
    expect_response(one.outcome(request), link.UNKNOWN, 0)
    one.ask(again(request))
    stage.give(request, count=2, payload=b"in the end")
    expect_answered(one, request, b"in the end")
    one.ask(again(request))
    expect_answered(one, request, b"in the end")
    expect_sendings(stage, request, False, True)
    one.close()


@test
def what_became_unknown_between_two_links_goes_again_and_says_so(stage):
    one = stage.login()
    request = held(stage, one)
    under_way(stage, one, request)
    ends(stage, one, ENDS["the end of bytes"])
    stage.break_stream(stage.reached(request))
    two = next_link(stage, one)
    nothing_comes(stage, two)
    two.ask(again(request))
    stage.give(request, count=2, payload=b"in the end")
    expect_answered(two, request, b"in the end")
    expect_sendings(stage, request, False, True)
    two.close()


@test
def an_answer_behind_the_deadline_is_dropped_and_the_backend_gives_it_again(stage):
    one = stage.login()
    request = held(stage, one, route="brief")
    under_way(stage, one, request)
    expect_response(one.outcome(request), link.UNKNOWN, 0)
    stage.give(request, payload=b"late")
    nothing_comes(stage, one)
    one.ask(again(request))
    expect_answered(one, request, b"late")
    expect_sendings(stage, request, False, True)
    one.close()


@test
def repeats_of_what_is_under_way_are_charged_to_nobody(stage):
    one = stage.login()
    requests = [held(stage, one) for _ in range(one.welcome.grant_requests)]
    under_way(stage, one, *requests)
    more = a_request(one)
    for sending in (more, again(more)):
        one.ask(sending)
        expect_refused(one, more, "in_flight")
        one.ask(*map(again, requests))
        nothing_comes(stage, one)
    one.sock.close()
    two = next_link(stage, one)
    two.ask(*map(again, requests))
    nothing_comes(stage, two)
    answered(stage, two, again(more), True)
    for request in requests:
        stage.give(request, payload=request.payload)
        expect_answered(two, request)
        expect_sendings(stage, request, False)
    two.close()


@test
def a_new_session_remembers_nothing(stage):
    one = stage.login()
    before, busy, under = a_request(one), a_request(one, b"key"), held(stage, one, b"other")
    one.ask(before)
    expect_answered(one, before)
    refuse(stage, busy)
    one.ask(busy)
    expect_refused(one, busy, "busy")
    under_way(stage, one, under)
    one.close(CODES["moving"])
    one.gone()
    two = stage.login(one.user, one.device)
    expect_new(one.session, two)
    # What was refused on the session before holds nothing back here, and what is under way nothing either.
    for key in (b"key", b"other"):
        answered(stage, two, a_request(two, key), False)
    allow(stage, busy)
    for request in (before, busy):
        answered(stage, two, again(request, counter=two.session.count()), False, True)
    two.ask(again(under, counter=two.session.count()))
    stage.reached(under, 2)
    for count in (1, 2):
        stage.give(under, count=count, payload=b"once")
    expect_answered(two, under, b"once")
    nothing_comes(stage, two)
    two.close()


# Many answers at once


def read_all(one, requests, answers):
    left = {request.id: request for request in requests}
    while left:
        response = one.outcome()
        request = left.pop(response.id)
        expect_response(response, link.ANSWERED, 0, answers[request.payload])


@test
def many_large_answers_at_once_make_no_slow_reader_of_a_client_that_reads(stage):
    one = stage.login()
    one.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVES)
    answers = {}
    # Nobody has read anything while all of them come.
    first = [held(stage, one) for _ in range(20)]
    under_way(stage, one, *first)
    for request in first:
        answers[request.payload] = secrets.token_bytes(LARGE)
        stage.give(request, payload=answers[request.payload])
    read_all(one, first, answers)
    expect("the link lives", one.ping(1) == 1)
    # Here there is no link while they come.
    second = [held(stage, one) for _ in range(20)]
    under_way(stage, one, *second)
    ends(stage, one, ENDS["the end of bytes"])
    for request in second:
        answers[request.payload] = secrets.token_bytes(LARGE)
        stage.give(request, payload=answers[request.payload])
    one = next_link(stage, one)
    for _ in range(2):
        one = on_another_worker(stage, one)
        one.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVES)
        one.ask(*map(again, first + second))
        read_all(one, first + second, answers)
        expect("the link lives", one.ping(1) == 1)
    for request in first + second:
        expect_sendings(stage, request, False)
    one.close()


# Order and behind


@test
def requests_of_a_key_reach_the_backend_in_their_order(stage):
    one = stage.login()
    for route in ("echo", "keyed"):
        requests = [a_request(one, b"key", route) for _ in range(24)]
        one.ask(*requests)
        for _ in requests:
            one.outcome()
        expect_order(stage, one, route, *requests)
    one.close()


def expect_order(stage, one, route, *requests):
    """Requests of the key `key`, as they came to the backends."""
    stage.sync()
    heard = [heard for heard in stage.all_heard("request") if (heard.user, heard.route, heard.key) == (one.user, route, b"key")]
    got, want = ([sending.id.hex()[:8] for sending in sendings] for sendings in (heard, requests))
    expect(f"in the order {want}, got {got}", got == want)


@test
def later_ones_of_a_key_are_behind_a_refused_one_until_it_comes_again_and_then_in_their_order(stage):
    for route in ("echo", "keyed"):
        named(route, are_behind, stage, stage.login(), route)


def are_behind(stage, one, route):
    a, b, c = (a_request(one, b"key", route) for _ in range(3))
    refuse(stage, a)
    one.ask(a)
    expect_refused(one, a, "busy")
    for request in (b, c):
        one.ask(request)
        expect_refused(one, request, "behind")
    for key, on in ((b"another key", route), (b"", route), (b"key", "other")):
        answered(stage, one, a_request(one, key, on), False)
    allow(stage, a)
    for request in (c, b):
        one.ask(again(request))
        expect_refused(one, request, "behind")
    answered(stage, one, again(a), False, True)
    one.ask(again(c))
    expect_refused(one, c, "behind")
    d = a_request(one, b"key", route)
    one.ask(d)
    expect_refused(one, d, "behind")
    one.ask(again(b), again(c), again(d))
    for _ in range(3):
        expect("answered", one.outcome().outcome == link.ANSWERED)
    for request in (b, c, d):
        expect_sendings(stage, request, True)
    e = a_request(one, b"key", route)
    answered(stage, one, e, False)
    expect_order(stage, one, route, a, a, b, c, d, e)
    one.close()


@test
def all_that_were_behind_may_come_again_in_one_flight(stage):
    one = stage.login()
    a, b, c = requests = [a_request(one, b"key") for _ in range(3)]
    refuse(stage, a)
    for request, reason in ((a, "busy"), (b, "behind"), (c, "behind")):
        one.ask(request)
        expect_refused(one, request, reason)
    allow(stage, a)
    one.ask(*map(again, requests))
    for _ in requests:
        expect("answered", one.outcome().outcome == link.ANSWERED)
    expect_order(stage, one, "echo", a, a, b, c)
    one.close()


@test
def one_that_has_come_again_holds_nothing_back_before_it_is_answered(stage):
    one = stage.login()
    a, b = (a_request(one, b"key") for _ in range(2))
    refuse(stage, a)
    for request, reason in ((a, "busy"), (b, "behind")):
        one.ask(request)
        expect_refused(one, request, reason)
    stage.hold(a.payload)
    one.ask(again(a), again(b))
    expect_answered(one, b)
    stage.give(a, count=2, payload=b"at last")
    expect_answered(one, a, b"at last")
    one.close()


@test
def one_that_is_refused_again_holds_back_again(stage):
    one = stage.login()
    a, b = (a_request(one, b"key") for _ in range(2))
    refuse(stage, a)
    for sending in (a, again(a)):
        one.ask(sending)
        expect_refused(one, a, "busy")
        one.ask(again(b))
        expect_refused(one, b, "behind")
    allow(stage, a)
    answered(stage, one, again(a), False, True, True)
    answered(stage, one, again(b), True)
    one.close()


@test
def those_that_are_under_way_already_are_not_called_back(stage):
    one = stage.login()
    a, b = (held(stage, one, b"key") for _ in range(2))
    c = a_request(one, b"key")
    under_way(stage, one, a, b)
    stage.give(a, refused=True, status=REFUSALS["busy"])
    expect_refused(one, a, "busy")
    stage.give(b, payload=b"on its way")
    expect_answered(one, b, b"on its way")
    one.ask(c)
    expect_refused(one, c, "behind")
    one.ask(again(a))
    stage.give(a, count=2, payload=b"at last")
    expect_answered(one, a, b"at last")
    answered(stage, one, again(c), True)
    one.close()


@test
def an_unknown_one_holds_back_as_a_refused_one_does(stage):
    one = stage.login()
    a, b = held(stage, one, b"key"), a_request(one, b"key")
    under_way(stage, one, a)
    stage.break_stream(stage.reached(a))
    expect_response(one.outcome(a), link.UNKNOWN, 0)
    one.ask(b)
    expect_refused(one, b, "behind")
    answered(stage, one, a_request(one), False)
    one.ask(again(a))
    stage.give(a, count=2, payload=b"at last")
    expect_answered(one, a, b"at last")
    answered(stage, one, again(b), True)
    one.close()


@test
def what_is_refused_for_good_holds_nothing_back(stage):
    one = stage.login()
    for name, status in {**REFUSALS, "unlisted": UNLISTED}.items():
        named(name, holds_back, stage, one, status, name in MAY_COME_AGAIN or name == "unlisted")
    one.close()


def holds_back(stage, one, status, does):
    key = secrets.token_bytes(8)
    a, b = (a_request(one, key) for _ in range(2))
    refuse(stage, a, status)
    one.ask(a)
    expect_response(one.outcome(a), link.REFUSED, status)
    if not does:
        answered(stage, one, b, False)
        return
    one.ask(b)
    expect_refused(one, b, "behind")
    allow(stage, a)
    answered(stage, one, again(a), False, True)
    answered(stage, one, again(b), True)


@test
def what_the_gateway_refuses_holds_back_where_it_may_come_again(stage):
    one = stage.login()
    for _ in range(2):
        lost = a_request(one, b"key", "no such route")
        one.ask(lost)
        expect_refused(one, lost, "no_route")
    requests = [held(stage, one) for _ in range(one.welcome.grant_requests)]
    under_way(stage, one, *requests)
    a, b = (a_request(one, b"key") for _ in range(2))
    one.ask(a)
    expect_refused(one, a, "in_flight")
    for request in requests:
        stage.give(request, payload=request.payload)
        expect_answered(one, request)
    one.ask(b)
    expect_refused(one, b, "behind")
    answered(stage, one, again(a), True)
    answered(stage, one, again(b), True)
    one.close()


@test
def what_was_refused_on_one_link_holds_back_on_the_next(stage):
    one = stage.login()
    a, b = (a_request(one, b"key") for _ in range(2))
    refuse(stage, a)
    one.ask(a)
    expect_refused(one, a, "busy")
    two = on_another_worker(stage, one)
    two.ask(b)
    expect_refused(two, b, "behind")
    three = on_another_worker(stage, two)
    three.ask(again(b))
    expect_refused(three, b, "behind")
    allow(stage, a)
    answered(stage, three, again(a), False, True)
    answered(stage, three, again(b), True)
    three.close()


@test
def one_of_a_key_waits_for_what_the_link_before_has_under_way(stage):
    def on_the_same_worker(stage, one):
        ends(stage, one, ENDS["the end of bytes"])
        return next_link(stage, one)

    for come_back in (on_the_same_worker, on_another_worker):
        for asks_again in (False, True):
            named(f"{come_back.__name__} {asks_again}", waits_for_it, stage, come_back, asks_again)


def waits_for_it(stage, come_back, asks_again):
    one = stage.login()
    a = held(stage, one, b"key")
    under_way(stage, one, a)
    two = come_back(stage, one)
    b, c = (a_request(two, b"key") for _ in range(2))
    two.ask(b, c)
    if asks_again:
        two.ask(again(a))
    nothing_comes(stage, two)
    for request in (b, c):
        expect_sendings(stage, request)
    other = [a_request(two, b"another key"), a_request(two)]
    for request in other:
        two.ask(request)
        expect_answered(two, request)
    stage.give(a, payload=b"the first")
    got = {response.id: response for response in (two.outcome() for _ in range(2 + asks_again))}
    for request in (b, c):
        expect_response(got[request.id], link.ANSWERED, 0, request.payload)
    if not asks_again:
        two.ask(again(a))
        got[a.id] = two.outcome(a)
    expect_response(got[a.id], link.ANSWERED, 0, b"the first")
    expect_order(stage, two, "echo", a, b, c)
    two.close()


@test
def one_of_a_key_does_not_wait_for_ever(stage):
    """What it waits for is unknown in the end, and has to come again first."""
    one = stage.login()
    a = held(stage, one, b"key", "brief")
    under_way(stage, one, a)
    one.sock.close()
    two = next_link(stage, one)
    b = a_request(two, b"key", "brief")
    two.ask(b)
    response = two.outcome(b)
    expect(f"refused, got {response}", response.outcome == link.REFUSED)
    expect(f"busy or behind, got {response}", response.code in (REFUSALS["busy"], REFUSALS["behind"]))
    expect_sendings(stage, b)
    stage.held.discard(a.payload)
    two.ask(again(a))
    expect_answered(two, a)
    answered(stage, two, again(b), True)
    expect_order(stage, two, "brief", a, a, b)
    two.close()
