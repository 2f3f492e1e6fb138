"""Requests that come again where hardly any are remembered, and none for long (8.4, 14.2). Run by with_gateway.py."""

import secrets
import time

from checks import expect, test
from stage import WAIT_S
from test_again import (
    ENDS,
    a_request,
    again,
    allow,
    answered,
    ends,
    expect_answered,
    expect_refused,
    expect_response,
    expect_sendings,
    held,
    next_link,
    nothing_comes,
    refuse,
    under_way,
)
from wire import REFUSALS, link, stream

ANSWERED_BEFORE = 1
# What with_gateway.py sets: answers of a session, and an eighth of the bytes of all.
COUNT = 4
KEPT_MAX = 8_192


@test
def an_answer_that_is_too_large_to_be_kept_is_unknown_afterwards_and_nothing_is_done_twice(stage):
    one = stage.login()
    request = a_request(one)
    answer = secrets.token_bytes(KEPT_MAX + 1_000)
    stage.answers[request.payload] = stream.Response(payload=answer)
    one.ask(request)
    expect_answered(one, request, answer)
    for sending in (again(request), again(request, again=False)):
        one.ask(sending)
        expect_response(one.outcome(request), link.UNKNOWN, ANSWERED_BEFORE)
    one.sock.close()
    two = next_link(stage, one)
    two.ask(again(request))
    expect_response(two.outcome(request), link.UNKNOWN, ANSWERED_BEFORE)
    expect_sendings(stage, request, False)
    two.close()


@test
def one_that_comes_while_there_is_no_link_is_unknown_too(stage):
    one = stage.login()
    large, small = held(stage, one), held(stage, one)
    under_way(stage, one, large, small)
    ends(stage, one, ENDS["moving"])
    stage.give(large, payload=bytes(KEPT_MAX + 1_000))
    stage.give(small, payload=bytes(KEPT_MAX // 2))
    two = next_link(stage, one)
    nothing_comes(stage, two)
    two.ask(again(large))
    expect_response(two.outcome(large), link.UNKNOWN, ANSWERED_BEFORE)
    two.ask(again(small))
    expect_answered(two, small, bytes(KEPT_MAX // 2))
    for request in (large, small):
        expect_sendings(stage, request, False)
    two.close()


@test
def one_that_is_too_large_to_be_kept_is_for_all_sendings_that_wait_for_it(stage):
    one = stage.login()
    request = held(stage, one)
    under_way(stage, one, request)
    one.sock.close()
    two = next_link(stage, one)
    two.ask(again(request))
    nothing_comes(stage, two)
    stage.give(request, payload=bytes(KEPT_MAX + 1_000))
    expect_answered(two, request, bytes(KEPT_MAX + 1_000))
    expect_sendings(stage, request, False)
    two.close()


@test
def one_that_is_older_than_what_is_remembered_goes_again_and_its_number_says_so(stage):
    one = stage.login()
    never_sent = a_request(one)
    requests = [a_request(one) for _ in range(3 * COUNT)]
    for request in requests:
        answered(stage, one, request, False)
    for request in requests[-COUNT:]:
        answered(stage, one, again(request), False)
    for request, fields in ((requests[0], {"again": False}), (requests[1], {})):
        answered(stage, one, again(request, **fields), False, True)
    # Whatever has an old number may have been here before, as far as the gateway knows.
    answered(stage, one, never_sent, True)
    answered(stage, one, a_request(one), False)
    one.close()


@test
def what_no_answer_is_kept_of_is_not_done_twice(stage):
    """Other sessions take the room. Whether a request or only its answer is forgotten is the gateway's affair."""
    one = stage.login()
    request = a_request(one)
    answer = secrets.token_bytes(KEPT_MAX - 1_000)
    stage.answers[request.payload] = stream.Response(payload=answer)
    one.ask(request)
    expect_answered(one, request, answer)
    others = [stage.login() for _ in range(3)]
    for other in others:
        for _ in range(COUNT):
            payload = secrets.token_bytes(KEPT_MAX - 1_000)
            expect("answered", other.request("echo", payload).payload == payload)
    one.ask(again(request))
    response = one.outcome(request)
    if response.outcome == link.UNKNOWN:
        expect_response(response, link.UNKNOWN, ANSWERED_BEFORE)
        expect_sendings(stage, request, False)
    else:
        expect_response(response, link.ANSWERED, 0, answer)
        expect_sendings(stage, request, False, True)
    for end in (one, *others):
        end.close()


@test
def later_ones_of_a_key_wait_for_a_refused_one_only_so_long(stage):
    one = stage.login()
    a, b = (a_request(one, b"key") for _ in range(2))
    refuse(stage, a)
    one.ask(a)
    expect_refused(one, a, "busy")
    end = time.monotonic() + WAIT_S
    one.ask(b)
    while (response := one.outcome(b)).outcome == link.REFUSED:
        expect(f"behind, got {response}", response.code == REFUSALS["behind"])
        expect(f"it goes within {WAIT_S} s", time.monotonic() < end)
        time.sleep(0.05)
        one.ask(again(b))
    expect_response(response, link.ANSWERED, 0, b.payload)
    allow(stage, a)
    answered(stage, one, again(a), False, True)
    one.close()


@test
def only_so_many_that_have_to_come_again_hold_others_back(stage):
    one = stage.login()
    firsts = [a_request(one, b"key %d" % number) for number in range(2 * COUNT)]
    for request in firsts:
        refuse(stage, request)
        one.ask(request)
        expect_refused(one, request, "busy")
    later = [a_request(one, request.key) for request in firsts]
    one.ask(*later)
    outcomes = [one.outcome() for _ in later]
    behind = [response for response in outcomes if response.outcome == link.REFUSED]
    expect(f"behind, got {behind}", all(response.code == REFUSALS["behind"] for response in behind))
    expect(f"at most {COUNT}, got {len(behind)}", len(behind) <= COUNT)
    one.close()
