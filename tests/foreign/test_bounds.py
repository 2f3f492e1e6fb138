"""What becomes of pushes where sessions wait for a second only, and one push may be open. Run by with_gateway.py."""

import secrets
import tempfile
from pathlib import Path

from checks import a_device, expect, test
from client import Store
from test_delivery import expect_delivered, expect_push, expect_undelivered
from test_resume import expect_new
from wire import CODES, stream


@test
def a_session_whose_window_is_over_is_owed_nothing_and_its_link_is_closed(stage):
    for code in (CODES["moving"], 99):
        one = stage.login()
        push = stage.a_stream().keep(one)
        one.wait_for("push")
        one.acknowledge()
        opened = stage.wait("LinkOpened", "link_opened", lambda opened: opened.session == one.session.id)
        one.close(code)
        stage.wait("LinkDetached", "link_detached", lambda detached: detached.link == opened.link)
        expect_undelivered(stage.fate(push), "window_over")
        closed = stage.wait("LinkClosed", "link_closed", lambda closed: closed.link == opened.link)
        expect(f"no code has ended it, got {closed.code}", closed.code == 0)
        expect("whose", (closed.user, closed.device, closed.session) == (one.user, one.device, one.session.id))
        two = stage.come_back(one)
        expect_new(one.session, two)
        two.close()


@test
def a_push_without_a_free_slot_is_not_accepted(stage):
    """A slot is free again when what it reported is acknowledged."""
    service = stage.services[0]
    at = service.up()
    service.holds_back = True
    one = stage.login()
    first, second = at.keep(one), at.keep(one)
    got = one.wait_for("push")
    expect_push(got, first, 1)
    report = stage.fate(second)
    expect_undelivered(report, "busy", devices=report.devices)
    expect("not kept", report.report == 0)
    one.take(got)
    report = stage.fate(first)
    expect_delivered(report, one)
    third = at.keep(one)
    expect("nor is one now", stage.fate(third).report == 0)
    other = stage.services[1].up().keep(one)
    got = one.wait_for("push")
    expect_push(got, other, 2)
    one.take(got)
    expect_delivered(stage.fate(other), one)
    service.holds_back = False
    at.send(stream.Frame(report_ack=stream.ReportAck(report=report.report)))
    fourth = at.keep(one)
    got = one.wait_for("push")
    expect_push(got, fourth, 3)
    one.take(got)
    expect_delivered(stage.fate(fourth), one)
    one.close()


@test
def a_session_that_is_owed_all_it_may_be_takes_no_more(stage):
    one, two = stage.login(), stage.login()
    ats = [service.up() for service in stage.services]
    push = ats[0].keep(one)
    got = one.wait_for("push")
    report = stage.fate(ats[1].keep(one))
    expect_undelivered(report, "queue_full")
    expect("kept, and of its device", report.report > 0 and report.device == one.device)
    # Other sessions have room of their own.
    other = ats[1].keep(two)
    two.take(two.wait_for("push"))
    expect_delivered(stage.fate(other), two)
    one.take(got)
    expect_delivered(stage.fate(push), one)
    more = ats[1].keep(one)
    got = one.wait_for("push")
    expect_push(got, more, 2)
    one.take(got)
    expect_delivered(stage.fate(more), one)
    for end in (one, two):
        end.close()


@test
def what_is_stored_and_sent_again_is_taken_once_by_whoever_keeps_its_ids(stage):
    """`UNDELIVERED` is not "never received": here only the acknowledgement was lost (11.6)."""
    at = stage.services[0].up()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "taken"
        one = stage.login(secrets.token_bytes(16), a_device(), store=Store(path))
        push = at.keep(one)
        got = one.wait_for("push")
        one.acknowledge = lambda: None
        one.take(got)
        one.sock.close()
        expect_undelivered(stage.fate(push), "window_over")
        two = stage.login(one.user, one.device, session=one.session, store=Store(path))
        expect_new(one.session, two)
        again = at.keep(two, id=push.id, payload=push.payload)
        got = two.wait_for("push")
        expect_push(got, again, 1)
        expect("it is known", got in two.store)
        two.take(got)
        expect_delivered(stage.fate(again), two)
        expect("kept once", path.read_text(encoding="ascii").split() == [push.id.hex()])
        two.close()
