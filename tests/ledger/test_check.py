"""The checker finds what is planted: `python3 -m unittest discover tests/ledger`."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from check import Check

ALICE, PHONE, TABLET, BOB = "a1", "d1", "d2", "b0"
ONE, TWO, THREE = "01", "02", "03"
S1, S2, S3 = "51", "52", "53"
BOOT = "boot=b.0"


def sha(n):
    return f"{n:02x}" * 32


def line(kind, id="-", user="-", device="-", session="-", sequence="-", sha256="-", who="phone", **more):
    return " ".join([who, kind, id, user, device, session, str(sequence), sha256, *(f"{k}={v}" for k, v in more.items())])


def phone(kind, id="-", sequence="-", sha256="-", session=S1, device=PHONE, user=ALICE, **more):
    return line(kind, id, user, device, session, sequence, sha256, who=f"c-{device}", **more)


def tablet(kind, id="-", sequence="-", sha256="-", session=S2, **more):
    return phone(kind, id, sequence, sha256, session, TABLET, **more)


def pushed(id, sending, payload, device="-", user=ALICE, **more):
    more = {"sending": sending, "class": 1, "stream": "s", "target": "user", **more}
    return line("pushed", id, user, device, sha256=sha(payload), who="backend", **more)


def report(kind, sending, number, device=PHONE, devices=1, **more):
    more = {"sending": sending, "boot": "b.0", "report": number, "devices": devices, **more}
    return line(kind, device=device, who="backend", **more)


def served(id, payload, answer):
    return line("served", id, ALICE, PHONE, S1, sha256=sha(payload), who="backend", answer=sha(answer))


def good():
    """Two devices of one user, two pushes of which the tablet takes one, a link in between, and a request."""
    return {
        "phone": [
            phone("declares", store="file"),
            phone("began"),
            phone("heard", ONE, 1, sha(1)),
            phone("took", ONE, 1),
            phone("heard", TWO, 2, sha(2)),
            phone("lost"),
            phone("went_on"),
            phone("heard", TWO, 2, sha(2)),
            phone("took", TWO, 2),
            phone("asked", "0a", sha256=sha(7)),
            phone("answered", "0a", sha256=sha(8)),
        ],
        "tablet": [
            tablet("declares", store="memory"),
            tablet("began"),
            tablet("heard", ONE, 1, sha(1)),
            tablet("took", ONE, 1),
            tablet("heard", TWO, 2, sha(2)),
        ],
        "backend": [
            pushed(ONE, "n1", 1),
            pushed(TWO, "n2", 2),
            report("delivered", "n1", 1, devices=2),
            report("delivered", "n1", 2, TABLET, devices=2),
            report("delivered", "n2", 3, devices=2),
            report("undelivered", "n2", 4, TABLET, devices=2, reason="window_over"),
            report("undelivered", "n2", 4, TABLET, devices=2, reason="window_over"),
            served("0a", 7, 8),
        ],
    }


def told(sending, outcome="delivered", **more):
    return line("told", who="backend", sending=sending, outcome=outcome, **more)


def timed():
    """A conversation by the libraries of both ends, of which one link and one stream break; times are in milliseconds."""
    return {
        "phone": [
            phone("declares", store="file"),
            phone("began", at=100),
            phone("asked", "0a", sha256=sha(7), at=1_000),
            phone("heard", ONE, 1, sha(1)),
            phone("skipped", ONE, 2),
            phone("took", ONE, 1),
            phone("went_on", at=6_000),
            phone("answered", "0a", sha256=sha(8), at=10_000),
            phone("heard", TWO, 3, sha(2)),
            phone("took", TWO, 3),
        ],
        "backend": [
            line("ready", who="backend", at=50),
            pushed(ONE, "n1", 1, device=PHONE, at=2_000),
            line("received", "0a", ALICE, PHONE, sha256=sha(7), who="backend"),
            line("given_up", who="backend", sending="n1"),
            line("ready", who="backend", at=5_000),
            pushed(ONE, "n2", 1, device=PHONE, at=5_100),
            pushed(TWO, "n3", 2, device=PHONE, at=5_200),
            line("received", "0a", ALICE, PHONE, sha256=sha(7), who="backend"),
            served("0a", 7, 8),
            told("n2", at=10_500),
            told("n3", at=11_000),
        ],
    }


def findings(ledgers, **wanted):
    return Check(ledgers.items(), **wanted).findings


class Planted(unittest.TestCase):
    def found(self, text, **changes):
        """What is found in a good conversation with these changes: the lines of a ledger to drop, and those to put there.

        A change is (at, drop, lines); with `at` None the lines are appended.
        """
        ledgers = good()
        for name, (at, drop, lines) in changes.items():
            ledger = ledgers.setdefault(name, [])
            at = len(ledger) if at is None else at
            ledger[at : at + drop] = lines
        got = findings(ledgers)
        self.assertTrue(any(text in finding for finding in got), f"{text!r} is not in {got}")

    def test_a_good_conversation_has_no_findings(self):
        self.assertEqual(findings(good()), [])

    def test_lines_that_say_nothing(self):
        for broken in ("", "phone took 01", phone("slept"), phone("heard", ONE, 1), report("delivered", "n1", 1, "-")):
            self.found("backend:9: ", backend=(None, 0, [broken]))
        self.found("without store", phone=(0, 1, [phone("declares")]))
        self.found("without report", backend=(2, 1, [report("delivered", "n1", "x")]))

    def test_one_peer_in_two_ledgers(self):
        self.found("two ledgers", tablet=(None, 0, [phone("unknown", "0a")]))

    # Requests

    def test_a_request_without_an_outcome_and_one_with_two(self):
        self.found("has no outcome", phone=(10, 1, []))
        self.found("one outcome more", phone=(None, 0, [phone("unknown", "0a")]))
        self.found("one outcome more", phone=(None, 0, [phone("unknown", "0b")]))

    def test_a_request_that_is_sent_again(self):
        asked, unknown = phone("asked", "0a", sha256=sha(7)), phone("unknown", "0a")
        answered = phone("answered", "0a", sha256=sha(8))
        for good_end in ([asked, answered], [unknown, asked, answered], [answered, asked, answered], [answered, asked, unknown]):
            ledgers = good()
            ledgers["phone"][10:] = good_end
            self.assertEqual(findings(ledgers), [])
        self.found("has no outcome", phone=(10, 1, [answered, asked]))
        self.found("has no outcome", phone=(10, 1, [unknown, asked, asked]))
        self.found("one outcome more", phone=(10, 1, [answered, answered, asked, answered]))
        self.found("was done", phone=(10, 1, [asked, phone("refused", "0a")]))

    def test_an_answer_that_nobody_gave(self):
        self.found("no backend gave", phone=(10, 1, [phone("answered", "0a", sha256=sha(9))]))
        self.found("no backend gave", backend=(7, 1, []))

    def test_work_that_nobody_asked_for_or_that_was_done_twice(self):
        self.found("nobody asked", backend=(7, 1, [served("0b", 7, 8)]))
        self.found("nobody asked", backend=(7, 1, [served("0a", 6, 8)]))
        self.found("done twice", backend=(None, 0, [served("0a", 7, 8)]))

    def test_a_refusal_of_work_that_was_done(self):
        self.found("was done", phone=(10, 1, [phone("refused", "0a")]))
        again = [phone("unknown", "0a"), phone("asked", "0a", sha256=sha(7)), phone("refused", "0a")]
        ledgers = good()
        ledgers["phone"][10:] = again
        self.assertEqual(findings(ledgers), [], "the first asking may have done it")

    # Sessions

    def test_a_session_of_two_owners_or_without_a_beginning(self):
        self.found("another one's", tablet=(None, 0, [tablet("went_on", session=S1)]))
        self.found("did not begin", phone=(1, 1, []))
        self.found("began before", phone=(5, 0, [phone("began")]))

    def test_sequences_with_a_gap_backwards_or_of_two_pushes(self):
        self.found("3 behind 3", phone=(9, 0, [phone("heard", TWO, 3, sha(2)), phone("heard", TWO, 3, sha(2))]))
        self.found("4 behind 2", phone=(9, 0, [phone("heard", TWO, 4, sha(2))]))
        self.found("2 behind 2", phone=(5, 1, []))
        self.found("1 behind 1", phone=(7, 1, [phone("heard", ONE, 1, sha(1))]))
        self.found("was another push", phone=(7, 1, [phone("heard", THREE, 2, sha(2))]))

    def test_a_push_that_comes_again_after_it_was_taken(self):
        self.found("2 behind 2", phone=(9, 0, [phone("lost"), phone("heard", TWO, 2, sha(2))]))

    def test_a_push_that_is_taken_unheard_twice_or_out_of_turn(self):
        self.found("not heard", phone=(9, 0, [phone("took", THREE, 3)]))
        self.found("taken before in this session", phone=(9, 0, [phone("took", TWO, 2)]))
        self.found("2 behind 0", phone=(3, 1, []))
        twice = [phone("heard", TWO, 3, sha(2)), phone("took", TWO, 3)]
        self.found("taken before in this session", phone=(9, 0, twice), backend=(2, 0, [pushed(TWO, "n3", 2)]))

    def test_a_push_that_is_taken_in_two_sessions_where_ids_are_kept(self):
        more = {"session": S3}
        again = [phone("began", **more), phone("heard", ONE, 1, sha(1), **more), phone("took", ONE, 1, **more)]
        late = [pushed(ONE, "n3", 1), report("delivered", "n3", 5)]
        self.found("taken before, phone:4", phone=(None, 0, again), backend=(None, 0, late))
        ledgers = good()
        ledgers["phone"] = [phone("declares", store="memory"), *ledgers["phone"][1:], *again]
        ledgers["backend"] += late
        self.assertEqual(findings(ledgers), [], "nothing keeps them")

    def test_a_push_that_is_known_and_never_was_taken(self):
        self.found("never taken", phone=(8, 1, [phone("knew", TWO, 2)]))

    def test_pushes_of_one_way_that_change_places(self):
        self.found("a later push", backend=(0, 2, [pushed(TWO, "n2", 2), pushed(ONE, "n1", 1)]))
        ledgers = good()
        ledgers["backend"][0:2] = [pushed(TWO, "n2", 2), pushed(ONE, "n1", 1, stream="t")]
        self.assertEqual(findings(ledgers), [], "there is no order between streams")

    # Pushes

    def test_a_push_that_was_another_ones(self):
        to_bob, late = pushed(THREE, "n3", 3, user=BOB), report("undelivered", "n3", 5, "-")
        self.found("nobody pushed", phone=(9, 0, [phone("heard", THREE, 3, sha(3))]), backend=(None, 0, [to_bob, late]))
        to_tablet = pushed(ONE, "n1", 1, device=TABLET)
        self.found("nobody pushed", backend=(0, 1, [to_tablet]))
        self.found("not the bytes", backend=(0, 1, [pushed(ONE, "n1", 9)]))

    def test_a_push_that_multiplies(self):
        self.found("heard 2 times", phone=(9, 0, [phone("heard", TWO, 3, sha(2))]))
        once = pushed(THREE, "n3", 3, **{"class": 0})
        heard = phone("heard", THREE, 0, sha(3))
        self.found("heard 2 times", phone=(9, 0, [heard, heard]), backend=(None, 0, [once]))

    def test_a_push_that_was_not_accepted_and_is_heard(self):
        busy = [pushed(THREE, "n3", 3), report("undelivered", "n3", 0, "-", reason="busy")]
        self.found("nobody pushed", phone=(9, 0, [phone("heard", THREE, 3, sha(3))]), backend=(None, 0, busy))
        ledgers = good()
        ledgers["backend"] += busy
        self.assertEqual(findings(ledgers), [])

    # Reports

    def test_a_sending_without_an_outcome_for_each_device(self):
        self.found("0 outcomes", backend=(None, 0, [pushed(THREE, "n3", 3)]))
        self.found("1 outcomes", backend=(5, 2, []))
        ledgers = good()
        ledgers["backend"] += [pushed(THREE, "n3", 3), line("given_up", who="backend", sending="n3")]
        self.assertEqual(findings(ledgers), [], "nothing more is heard of it")

    def test_a_sending_with_one_outcome_too_many(self):
        self.found("two outcomes for one device", backend=(None, 0, [report("undelivered", "n1", 5, devices=2)]))
        self.found("3 outcomes for 2", backend=(None, 0, [report("undelivered", "n1", 5, "d3", devices=2)]))
        self.found("of so many devices", backend=(None, 0, [report("undelivered", "n1", 5, "d3", devices=3)]))
        self.found("has one report", backend=(None, 0, [report("undelivered", "n1", 0, "-", devices=2)]))

    def test_a_delivery_to_a_device_that_has_not_taken_it(self):
        self.found("has not taken it", backend=(5, 2, [report("delivered", "n2", 4, TABLET, devices=2)]))

    def test_a_device_that_no_report_tells_of(self):
        only_phone = [report("delivered", "n1", 1), report("delivered", "n2", 2), *[report("delivered", "n2", 2)]]
        self.found("no report tells", backend=(2, 5, only_phone))

    def test_reports_of_nothing(self):
        self.found("of no sending", backend=(None, 0, [report("delivered", "n9", 5)]))
        self.found("second sending", backend=(None, 0, [pushed(THREE, "n1", 3)]))

    def test_numbers_of_reports_with_a_gap_or_two_meanings(self):
        self.found("4 reports, the last of which is 6", backend=(5, 2, [report("undelivered", "n2", 6, TABLET, devices=2)]))
        self.found("said something else", backend=(None, 0, [report("delivered", "n2", 4, TABLET, devices=2)]))

    def test_reports_that_are_not_due(self):
        once = {"class": 0}
        twice = [pushed(THREE, "n3", 3, **once), *[report("undelivered", "n3", 0, "-")] * 2]
        self.found("at most once", backend=(None, 0, twice))
        self.found("at most once", backend=(None, 0, [twice[0], report("delivered", "n3", 5)]))
        quiet = [pushed(THREE, "n3", 3, quiet="yes"), report("undelivered", "n3", 5)]
        self.found("no report was wanted", backend=(None, 0, quiet))


class Libraries(unittest.TestCase):
    """What the libraries of both ends say, and what is asked for besides."""

    WANTED = {"complete": True, "within": 5_000, "amplification": 2.0}

    def found(self, text, ledgers, **wanted):
        got = findings(ledgers, **(wanted or self.WANTED))
        self.assertTrue(any(text in finding for finding in got), f"{text!r} is not in {got}")

    def changed(self, name, at, drop, *lines):
        ledgers = timed()
        ledgers[name][at : at + drop] = lines
        return ledgers

    def test_a_good_conversation_has_no_findings(self):
        self.assertEqual(findings(timed(), **self.WANTED), [])

    def test_a_push_that_is_skipped_out_of_turn_or_that_nobody_has_heard(self):
        self.found("3 behind 1", self.changed("phone", 4, 1, phone("skipped", ONE, 3)))
        self.found("1 behind 1", self.changed("phone", 4, 1, phone("skipped", ONE, 1)))
        self.found("3 behind 1", self.changed("phone", 4, 1))
        self.found("skipped: nobody pushed", self.changed("phone", 4, 1, phone("skipped", THREE, 2)))
        ledgers = self.changed("phone", 4, 1, phone("skipped", TWO, 2))
        ledgers["phone"][8:] = []
        self.found("never heard", ledgers)
        self.found("heard 2 times and sent 1", self.changed("backend", 5, 1, line("given_up", who="backend", sending="n2")))

    def test_a_push_that_is_skipped_before_one_that_was_pushed_earlier(self):
        late = pushed(TWO, "n0", 2, device=PHONE, at=1_900)
        ledgers = self.changed("backend", 1, 0, late, line("given_up", who="backend", sending="n0"))
        del ledgers["backend"][ledgers["backend"].index(pushed(TWO, "n3", 2, device=PHONE, at=5_200))]
        self.found("a later push", ledgers)

    def test_an_outcome_that_a_library_gives_twice_of_nothing_or_against_the_client(self):
        self.found("has another outcome", self.changed("backend", 11, 0, told("n3", "unknown", at=11_100)))
        self.found("has another outcome", self.changed("backend", 11, 0, line("given_up", who="backend", sending="n3")))
        self.found("has another outcome", self.changed("backend", 11, 0, report("undelivered", "n3", 1)))
        self.found("of no sending", self.changed("backend", 11, 0, told("n9", at=11_100)))
        self.found("nobody has taken it", self.changed("phone", 9, 1))
        self.found("without outcome", self.changed("backend", 10, 1, told("n3", "perhaps", at=11_000)))

    def test_a_sending_of_which_a_library_says_nothing(self):
        self.found("0 outcomes", self.changed("backend", 10, 1))
        self.assertEqual(findings(self.changed("backend", 9, 1, told("n2", "unknown", at=10_500)), within=5_000), [])

    def test_what_is_asked_or_pushed_and_comes_to_nothing(self):
        refused = phone("refused", "0a")
        ledgers = self.changed("phone", 7, 1, refused)
        del ledgers["backend"][8]
        self.found("phone:3: asked: never answered", ledgers, complete=True)
        self.assertEqual(findings(ledgers), [])
        ledgers = self.changed("phone", 8, 2)
        ledgers["backend"][10] = told("n3", "undelivered", at=11_000)
        self.found("backend:7: pushed: never taken", ledgers, complete=True)
        self.found("backend:7: pushed: never delivered", self.changed("backend", 10, 1, told("n3", "unknown")), complete=True)

    def test_what_takes_longer_than_it_may_after_both_ends_are_there(self):
        self.found("phone:8: answered: 4000 ms after all were there, phone:3", timed(), within=3_999)
        self.found("backend:11: told: 5000 ms after", timed(), within=4_999)
        late = phone("answered", "0a", sha256=sha(8), at=11_001)
        self.found("phone:8: answered: 5001 ms after", self.changed("phone", 7, 1, late))
        self.found("backend:10: told: 5001 ms after", self.changed("backend", 9, 1, told("n2", at=11_001)))
        # What comes later, or to another device, is no excuse.
        self.found("answered: 9000 ms", self.changed("phone", 6, 1, phone("went_on", at=10_001)) | {
            "backend": [one for one in timed()["backend"] if "ready" not in one]
        })
        other = line("released", device=TABLET, who="proxy", at=10_900)
        self.found("told: 5001 ms", self.changed("backend", 9, 1, told("n2", at=11_001)) | {"proxy": [other]})
        for device in (PHONE, "-"):
            freed = {"proxy": [line("released", device=device, who="proxy", at=6_500)]}
            ledgers = self.changed("backend", 9, 1, told("n2", at=11_001)) | freed
            self.assertEqual(findings(ledgers, within=5_000), [], "it was held up")
        slow = self.changed("backend", 9, 1, told("n2", at=11_001))
        slow["phone"][0] = phone("declares", store="file", slow="yes")
        self.assertEqual(findings(slow, within=5_000), [], "it is slow")

    def test_times_that_are_not_said(self):
        self.found("phone:3: asked: without at", self.changed("phone", 2, 1, phone("asked", "0a", sha256=sha(7))))
        self.found("without at", self.changed("phone", 2, 1, phone("asked", "0a", sha256=sha(7), at="soon")))

    def test_requests_that_multiply(self):
        self.found("2 requests received, of which 1 are different", timed(), amplification=1.9)
        none = timed()
        none["backend"] = [one for one in none["backend"] if "received" not in one]
        self.found("no request was received", none, amplification=1.9)


class Program(unittest.TestCase):
    def run_over(self, ledgers, *options):
        with tempfile.TemporaryDirectory() as folder:
            for name, lines in ledgers.items():
                (Path(folder) / name).write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
            program = Path(__file__).with_name("check.py")
            return subprocess.run([sys.executable, program, *options, folder], capture_output=True, check=False, text=True)

    def test_it_says_what_it_looked_at(self):
        done = self.run_over(good())
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("3 ledgers: 2 declares, 2 began, 1 went_on, 1 lost, 5 heard, 3 took", done.stdout)

    def test_it_asks_for_what_its_options_say(self):
        for options in (["--within", "3999"], ["--amplification", "1.9"]):
            self.assertEqual(self.run_over(timed(), "--complete", *options).returncode, 1, options)
        options = ["--complete", "--within", "5000", "--amplification", "2"]
        self.assertEqual(self.run_over(timed(), *options).returncode, 0)
        ledgers = timed()
        ledgers["backend"][10] = told("n3", "unknown", at=11_000)
        self.assertEqual(self.run_over(ledgers, "--complete").returncode, 1)
        self.assertEqual(self.run_over(ledgers).returncode, 0)

    def test_a_finding_and_an_empty_ledger_are_failures(self):
        ledgers = good()
        del ledgers["phone"][10]
        done = self.run_over(ledgers)
        self.assertEqual((done.returncode, done.stdout.splitlines()[0]), (1, "phone:10: asked: has no outcome"))
        self.assertEqual(self.run_over({"empty": []}).returncode, 2)


if __name__ == "__main__":
    unittest.main()
