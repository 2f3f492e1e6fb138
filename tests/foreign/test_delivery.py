"""Pushes that are to be acknowledged, and their reports, from both sides (8.6, 11.6). Run by with_gateway.py."""

import secrets

from checks import expect, expect_close, test
from test_resume import expect_resumed
from wire import CODES, UNDELIVERED, stream


def expect_push(got, push, sequence, again=False):
    found = got.sequence, got.id, got.payload, getattr(got, "class"), got.again
    expect(f"{sequence} {again}, got {got}", found == (sequence, push.id, push.payload, 1, again))


def expect_delivered(report, one, devices=1):
    found = report.outcome, report.reason, report.device, report.devices, report.report > 0
    expect(f"delivered, got {report}", found == (stream.DELIVERED, 0, one.device, devices, True))


def expect_undelivered(report, reason, devices=1):
    found = report.outcome, report.reason, report.devices
    expect(f"{reason}, got {report}", found == (stream.UNDELIVERED, UNDELIVERED[reason], devices))


def is_told(stage, at, push):
    at.sync()
    return stage.find("report", lambda report: report.number == push.number, on=at) is not None


@test
def a_push_is_received_and_then_taken_and_its_report_acknowledged(stage):
    desktop = 3
    at = stage.services[0].restart()
    one = stage.login(**{"class": desktop})
    push = at.keep(one)
    got = one.wait_for("push")
    expect_push(got, push, 1)
    one.acknowledge()
    expect("read", one.ping(1) == 1)
    expect("nothing is said before it is taken", not is_told(stage, at, push))
    one.take(got)
    report = stage.fate(push)
    expect_delivered(report, one)
    expect(f"the first one, got {report}", (report.report, getattr(report, "class")) == (1, desktop))
    expect("acknowledged, it does not come again", not is_told(stage, stage.services[0].again(), push))
    one.close()


@test
def a_push_to_several_users_is_owed_by_each_of_them(stage):
    one, nobody = stage.login(), secrets.token_bytes(16)
    two, three = stage.login(), stage.login(one.user)
    at = stage.a_stream()
    push = stream.Push(
        number=secrets.randbelow(2**63) + 1, users=[one.user, two.user, nobody], id=secrets.token_bytes(16),
        payload=b"to you", **{"class": 1}
    )
    if stage.ledger:
        for user in push.users:
            stage.ledger.pushed(at, push, user, "users")
    at.push(push)
    for end in (one, two, three):
        got = end.wait_for("push")
        expect_push(got, push, 1)
        end.take(got)
    for user, devices in ((one.user, {one.device, three.device}), (two.user, {two.device})):
        stage.wait(
            "all of its reports", "report",
            lambda report: report.number == push.number and len(fates_of(stage, push, user)) == len(devices), on=at,
        )
        reports = fates_of(stage, push, user)
        expect(f"its devices, got {reports}", {report.device for report in reports} == devices)
        expect("each says how many", all(report.devices == len(devices) for report in reports))
        expect("all took it", all(report.outcome == stream.DELIVERED for report in reports))
    [report] = fates_of(stage, push, nobody)
    expect_undelivered(report, "no_user")
    for end in (one, two, three):
        end.close()


def fates_of(stage, push, user):
    """The reports of a push that are about one of its users."""
    heard = [message for _, kind, message in list(stage.heard) if kind == "report"]
    return [report for report in heard if report.number == push.number and report.user == user]


@test
def parts_of_a_package_come_in_their_order_by_whatever_stream(stage):
    one, name = stage.login(), secrets.token_bytes(16)
    def part(at, index, count=3, **fields):
        package = stream.Package(id=name, index=index, count=count, **fields)
        return at.keep(one, payload=b"part %d" % index, package=package)
    first, second = (service.up() for service in stage.services)
    pushes = [part(first, 2), part(second, 1)]
    first.sync(), second.sync()
    expect("they wait", one.ping(1) == 1 and not one.pushes)
    pushes.append(part(second, 0))
    for index in range(3):
        got = one.wait_for("push")
        expect(f"part {index}, got {got}", (got.payload, got.gap) == (b"part %d" % index, 0))
        one.take(got)
    for push in pushes:
        expect_delivered(stage.fate(push), one)
    one.close()


@test
def a_hole_in_a_package_is_said_or_costs_what_is_behind_it(stage):
    one = stage.login()
    at = stage.a_stream()
    for on_gap in (0, 1):
        name = secrets.token_bytes(16)
        package = lambda index: stream.Package(id=name, index=index, count=9, on_gap=on_gap)
        pushes = [at.keep(one, package=package(index)) for index in (3, 5)]
        if on_gap:
            for push in pushes:
                expect_undelivered(stage.fate(push), "gap")
        else:
            for push, gap in zip(pushes, (3, 1)):
                got = one.wait_for("push")
                expect(f"a gap of {gap}, got {got}", (got.id, got.gap) == (push.id, gap))
                one.take(got)
        expect_undelivered(stage.fate(at.keep(one, package=package(4))), "gap")
    for wrong in (stream.Package(id=b"", count=1), stream.Package(id=bytes(17), count=1), stream.Package(id=b"p", index=1, count=1)):
        report = at.report(payload=b"x", user=one.user, package=wrong)
        expect(f"malformed, got {report}", report.reason == UNDELIVERED["malformed"])
    expect("no other one", one.ping(1) == 1 and not one.pushes)
    one.close()


@test
def a_push_that_is_not_acknowledged_costs_the_link_and_comes_again(stage):
    one = stage.login()
    one.is_silent = True
    push = stage.a_stream().keep(one)
    expect_push(one.wait_for("push"), push, 1)
    expect("which one", one.wait_for("ack_now").sequence == 1)
    expect("it may come back", not expect_close(one, "ack_timeout").do_not_reconnect)
    # It starts anew, and what its application had not taken is lost.
    one.lose()
    two = stage.come_back(one)
    expect_resumed(one.session, two, last_sequence=1)
    again = two.wait_for("push")
    expect_push(again, push, 1, again=True)
    two.take(again)
    expect_delivered(stage.fate(push), one)
    two.close()


@test
def what_a_client_has_does_not_come_again_and_its_first_ack_tells_what_was_taken(stage):
    one = stage.login()
    at = stage.a_stream()
    first, second = at.keep(one), at.keep(one)
    got = [one.wait_for("push"), one.wait_for("push")]
    one.sock.close()
    two = stage.come_back(one)
    expect_resumed(one.session, two, last_sequence=2)
    third = at.keep(one)
    expect_push(two.wait_for("push"), third, 3)
    expect("no other one", two.ping(1) == 1 and not two.pushes)
    for push in got:
        two.take(push)
    for push in (first, second):
        expect_delivered(stage.fate(push), one)
    expect("not yet", not is_told(stage, at, third))
    two.close()
    expect_undelivered(stage.fate(third), "link_closed")


@test
def what_a_client_says_it_lacks_is_sent_again(stage):
    """It answers what it is asked, with less than was sent: that is a gap, and no silence."""
    one = stage.login()
    push = stage.a_stream().keep(one)
    expect_push(one.wait_for("push"), push, 1)
    one.lose()
    one.wait_for("ack_now")
    one.acknowledge()
    again = one.wait_for("push")
    expect_push(again, push, 1, again=True)
    one.take(again)
    expect_delivered(stage.fate(push), one)
    one.close()


@test
def a_slow_application_is_no_gap(stage):
    """Twice as long as an acknowledgement may take: what is received is not asked for."""
    one = stage.login()
    push = stage.a_stream().keep(one)
    one.stay(2)
    expect("it came once", len(one.pushes) == 1 and one.ping(1) == 1)
    one.take(one.pushes.pop())
    expect_delivered(stage.fate(push), one)
    one.close()


@test
def a_client_that_answers_what_it_is_asked_keeps_its_link(stage):
    one = stage.login()
    push = stage.a_stream().keep(one)
    got = one.wait_for("push")
    expect("it is asked", one.readable(5) and one.ping(1) == 1)
    one.stay(2)
    one.take(got)
    expect_delivered(stage.fate(push), one)
    one.close()


@test
def acks_that_go_back_or_name_what_was_never_sent_change_nothing(stage):
    one = stage.login()
    push = stage.a_stream().keep(one)
    got = one.wait_for("push")
    session = one.session
    for session.taken, session.received in ((9, 9), (0, 2**64 - 1), (2**64 - 1, 2**64 - 1)):
        one.acknowledge()
    session.taken, session.received = 0, 1
    one.acknowledge()
    expect("the link lives", one.ping(1) == 1)
    expect("nothing is taken", not is_told(stage, stage.a_stream(), push))
    one.take(got)
    expect_delivered(stage.fate(push), one)
    session.taken, session.received = 0, 0
    one.acknowledge()
    session.taken, session.received = 1, 1
    expect("it stays so", one.ping(1) == 1)
    one.close()


@test
def every_target_is_counted_in_one_session_and_pushes_at_most_once_in_none(stage):
    one = stage.login()
    at = stage.a_stream()
    for sequence, by in enumerate(("user", "device", "link", "user"), 1):
        push = at.keep(one, by)
        unkept = at.keep(one, **{"class": 0})
        for _ in range(2):
            got = one.wait_for("push")
            if got.sequence:
                expect_push(got, push, sequence)
            else:
                expect("the other one", got.id == unkept.id)
            one.take(got)
        expect_delivered(stage.fate(push), one)
    one.close()


@test
def each_device_has_a_report_of_its_own(stage):
    one = stage.login()
    two = stage.login(one.user)
    at = stage.a_stream()
    push = at.keep(one)
    for end in (one, two):
        got = end.wait_for("push")
        expect_push(got, push, 1)
        if end is one:
            end.take(got)
            expect_delivered(stage.fate(push), one, devices=2)
    two.close()
    report = stage.wait("the other report", "report", lambda said: (said.number, said.device) == (push.number, two.device))
    expect_undelivered(report, "link_closed", devices=2)
    one.close()


@test
def a_user_without_a_device_has_one_report(stage):
    class Nobody:
        user, device = secrets.token_bytes(16), b"no device"

    at = stage.a_stream()
    for by in ("user", "device"):
        report = stage.fate(at.keep(Nobody, by))
        expect_undelivered(report, "no_user")
        expect("which is kept", report.report > 0)


@test
def a_session_that_waits_is_owed_what_comes_meanwhile_in_its_order(stage):
    one = stage.login()
    at = stage.a_stream()
    pushes = [at.keep(one)]
    got = one.wait_for("push")
    one.close(CODES["moving"])
    pushes += [at.keep(one) for _ in range(20)]
    at.sync()
    two = stage.come_back(one)
    two.take(got)
    pushes += [at.keep(one) for _ in range(20)]
    for sequence, push in enumerate(pushes[1:], 2):
        got = two.wait_for("push")
        expect_push(got, push, sequence)
        two.take(got)
    for push in pushes:
        expect_delivered(stage.fate(push), one)
    two.close()


@test
def a_push_whose_time_is_over_is_undelivered_whether_it_was_sent_or_not(stage):
    one = stage.login()
    at = stage.a_stream()
    sent = at.keep(one, ttl_ms=300)
    got = one.wait_for("push")
    one.acknowledge()
    expect_undelivered(stage.fate(sent), "expired")
    one.take(got)
    one.close(CODES["moving"])
    never = at.keep(one, ttl_ms=300)
    expect_undelivered(stage.fate(never), "expired")
    last = at.keep(one)
    two = stage.come_back(one)
    got = two.wait_for("push")
    # The one that was sent keeps its place, and the other one never had any.
    expect_push(got, last, 2)
    two.take(got)
    expect_delivered(stage.fate(last), one)
    stage.sync()
    with stage.changed:
        said = [report for _, kind, report in stage.heard if kind == "report" and report.number == sent.number]
    expect("one outcome, though it was taken in the end", len(said) == 1)
    two.close()


@test
def a_start_of_a_backend_hears_again_what_it_has_not_acknowledged_and_another_one_does_not(stage):
    service = stage.services[1]
    at = service.restart()
    service.holds_back = True
    one = stage.login()
    pushes = [at.keep(one) for _ in range(3)]
    for _ in pushes:
        one.take(one.wait_for("push"))
    said = [stage.fate(push, on=at) for push in pushes]
    expect("from 1 on", [report.report for report in said] == [1, 2, 3])
    at.send(stream.Frame(report_ack=stream.ReportAck(report=1)))
    at.sync()
    at = service.again()
    again = [stage.fate(push, on=at) for push in pushes[1:]]
    expect(f"the same, got {again}", again == said[1:])
    expect("but the first", not is_told(stage, at, pushes[0]))
    open_one = at.keep(one)
    got = one.wait_for("push")
    one.acknowledge()
    stage.ledger.given_up(at, open_one)
    at.sync()
    service.holds_back = False
    at = service.restart()
    one.take(got)
    expect("read", one.ping(1) == 1)
    for push in (*pushes, open_one):
        expect("nothing for another start", not is_told(stage, at, push))
    first = at.keep(one)
    one.take(one.wait_for("push"))
    expect("it begins at 1", stage.fate(first).report == 1)
    one.close()


@test
def a_bad_field_of_a_push_is_malformed_and_needs_no_acknowledgement(stage):
    one = stage.login()
    at = stage.a_stream()
    for fields in ({}, {"user": bytes(65)}, {"user": one.user, "link": 1}, {"user": one.user, "id": bytes(17)}):
        report = at.report(**{"class": 1}, payload=b"x", **fields)
        expect_undelivered(report, "malformed", devices=report.devices)
        expect("not kept", report.report == 0)
    push = at.keep(one)
    got = one.wait_for("push")
    at.push(push)
    at.sync()
    report = stage.fate(push)
    expect("the number of an open push", report.report == 0)
    expect_undelivered(report, "malformed", devices=report.devices)
    one.take(got)
    expect("the open one goes its way", stage.wait("a report", "report", lambda said: said.number == push.number and said.report))
    one.close()
