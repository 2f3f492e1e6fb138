#!/usr/bin/env python3
"""Compares what peers of a gateway say of one conversation: `check.py [OPTION…] FILE|FOLDER…`.

Clients and backends append to a ledger what they promise, hear and do; here the ledgers are held against each other.
Shares no code with whoever writes them. Prints what does not agree, a line each, and then what was looked at; ends
with 1 if anything does not agree, and with 2 if there is nothing to look at.

A ledger is a text file. Each line is one event, in the order in which its writer saw them:

    who event id user device session sequence sha256 [name=value]…

Fields are parted by one space, `-` stands for what an event has not. `who` names the peer, and all lines of one peer,
those of its later starts too, are in one file. id, user, device and session are hex; sha256 is that of the payload.

| event | by | says |
|---|---|---|
| declares | client | `store=file`: its application keeps the ids it took in a file, and takes none twice. Else `memory` |
| began | client | a session, which is new: the `Welcome` of its first link |
| went_on | client | a session, on another link: the `Welcome` of that |
| heard | client | a push that is new to it; sequence 0 is at most once |
| lost | client | what was heard in this session and not taken; it may be heard again |
| took | client | its application has taken a push that was heard; written before it is acknowledged |
| knew | client | a push that was heard, which its application took before by its id; acknowledged all the same |
| skipped | client | a push that its library kept from the application, which has or had this id; acknowledged with those before it |
| asked | client | a request, each time that it is sent |
| answered, refused, unknown | client | what became of it; unknown also where its link ended; answered: sha256 of the answer |
| received | backend | a request, each time that it comes |
| served | backend | it did the work of a request; `answer=` sha256 of the answer |
| pushed | backend | a push to user, or only to device; `sending=` a name of its own for each time that it is sent, `class=`, `stream=`, `target=` whom the push names, `quiet=yes` where it wants no report |
| delivered, undelivered | backend | a report on a sending: `sending=`, `boot=` the backend's start and the gateway's worker, `report=` its own number, `devices=`, and device |
| told | backend | its library says what became of a sending, in place of reports: `sending=`, `outcome=` delivered, undelivered or unknown |
| given_up | backend | nothing will be heard of this `sending=` any more |
| ready | backend | a stream of a gateway is live: its `Ready` was sent |
| released | whoever disturbs | it lets go what it had stopped; device, or everybody |

All events may have `at=`, in milliseconds of one clock. A client that `declares` as `slow=yes` reads too slowly for a time.

Checked, and each violation named:

* Requests: every asking has an outcome behind it, and there are no more of them than askings: what is sent again while it is
  open may have one with the first; what is answered was served, with these bytes to this user; what is refused
  was not; nothing is served twice, or that nobody asked.
* Pushes: what is heard was pushed to this user and device with these bytes, once for each sending at most; in a
  session the sequences are without gap and name one push each; pushes of one stream to one target keep their order.
* Nothing is taken twice in a session, nor in two where ids are kept in a file; what is taken was heard, and what is
  known was taken.
* Reports: every sending of class 1 has one for each device, or is told of once, or is given up; what is delivered was taken by that device;
  what was not accepted is heard by nobody; the numbers of a start count from 1, and one that comes again says the same.

And if it is asked for:

* `--complete`: in the end all that was asked is answered, and all that was pushed of class 1 to a device is taken by it and delivered; and nothing else.
* `--within MS`: a request is answered, and a push of class 1 delivered, so long after it was first asked or pushed, or after its backend's last
  `ready`, its client's last `Welcome` or the last `released` before that, whichever is later. Slow clients have all the time they want.
* `--amplification N`: of each request that is received at all, so many are on average.
"""

import argparse
import re
import sys
from bisect import bisect_right
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

HEX = r"(?:[0-9a-f]{2})+"
LINE = re.compile(
    rf"(\S+) ([a-z_]+) (-|{HEX}) (-|{HEX}) (-|{HEX}) (-|{HEX}) (-|\d+) (-|[0-9a-f]{{64}})((?: [a-z]+=\S+)*)"
)
OUTCOMES = ("answered", "refused", "unknown")
WELCOMES = ("began", "went_on")
FATES = ("delivered", "undelivered", "unknown")
REPORTS = ("delivered", "undelivered")
# What an event cannot do without: columns, then names.
NEEDS = {
    "declares": ("user device", "store"),
    "began": ("user device session", ""),
    "went_on": ("user device session", ""),
    "lost": ("user device session", ""),
    "heard": ("id user device session sequence sha256", ""),
    "took": ("id user device session sequence", ""),
    "knew": ("id user device session sequence", ""),
    "skipped": ("id user device session sequence", ""),
    "asked": ("id user device sha256", ""),
    "answered": ("id user device sha256", ""),
    "refused": ("id user device", ""),
    "unknown": ("id user device", ""),
    "received": ("id user device sha256", ""),
    "served": ("id user device sha256", "answer"),
    "pushed": ("id user sha256", "sending class stream target"),
    "delivered": ("device", "sending boot report devices"),
    "undelivered": ("", "sending boot report devices"),
    "told": ("", "sending outcome"),
    "given_up": ("", "sending"),
    "ready": ("", ""),
    "released": ("", ""),
}


class Event(NamedTuple):
    ledger: str
    number: int
    who: str
    kind: str
    id: str
    user: str
    device: str
    session: str
    sequence: int | None
    sha256: str
    more: dict

    @property
    def where(self):
        return f"{self.ledger}:{self.number}"

    @property
    def owner(self):
        return self.user, self.device

    @property
    def at(self):
        return int(self.more["at"])


class Unreadable(Exception):
    """A line that says nothing."""


def read(ledger, number, line):
    where = f"{ledger}:{number}"
    found = LINE.fullmatch(line)
    if found is None or found[2] not in NEEDS:
        raise Unreadable(f"{where}: not an event: {line!r}")
    *columns, more = found.groups()
    columns[6] = None if columns[6] == "-" else int(columns[6])
    event = Event(ledger, number, *columns, dict(pair.split("=", 1) for pair in more.split()))
    fields, names = NEEDS[event.kind]
    lacks = [name for name in fields.split() if getattr(event, name) in ("-", None)]
    lacks += [name for name in names.split() if name not in event.more]
    lacks += [name for name in ("class", "report", "devices", "at") if not event.more.get(name, "0").isdecimal()]
    if event.kind == "told" and event.more.get("outcome") not in FATES:
        lacks.append("outcome")
    if lacks:
        raise Unreadable(f"{where}: {event.kind} without {', '.join(lacks)}")
    return event


class Check:
    """All ledgers together. `findings` is what does not agree."""

    def __init__(self, ledgers, complete=False, within=None, amplification=None):
        """`ledgers` are pairs: a name, and its lines. `within` is in milliseconds."""
        self.findings = []
        self.events = defaultdict(list)
        self.homes = {}
        for name, lines in ledgers:
            for number, line in enumerate(lines, 1):
                try:
                    self.sort_in(name, read(name, number, line))
                except Unreadable as broken:
                    self.findings.append(str(broken))
        self.sendings = self.by_sending()
        self.requests()
        self.sessions()
        self.deliveries()
        self.stores()
        self.reports()
        if complete:
            self.complete()
        if within is not None:
            self.within(within)
        if amplification is not None:
            self.amplification(amplification)

    def sort_in(self, name, event):
        self.events[event.kind].append(event)
        if self.homes.setdefault(event.who, name) != name:
            self.find(event, f"{event.who} writes to two ledgers")

    def find(self, event, text):
        self.findings.append(f"{event.where}: {event.kind}: {text}")

    def of(self, *kinds):
        """Events of these kinds; those of one ledger in their order."""
        events = [event for kind in kinds for event in self.events[kind]]
        return sorted(events, key=lambda event: (event.ledger, event.number))

    def by_sending(self):
        found = {}
        for pushed in self.of("pushed"):
            if found.setdefault(pushed.more["sending"], pushed) is not pushed:
                self.find(pushed, "a second sending of this name")
        return found

    # Requests

    def requests(self):
        asked, served = defaultdict(list), {}
        for event in self.of("asked"):
            asked[event.owner, event.id].append(event)
        for event in self.of("served"):
            key = event.owner, event.id
            if served.setdefault(key, event) is not event:
                self.find(event, "the work is done twice")
            if all(ask.sha256 != event.sha256 for ask in asked.get(key, ())):
                self.find(event, "nobody asked for this")
        told = defaultdict(list)
        for event in self.of("asked", *OUTCOMES):
            told[event.owner, event.id].append(event)
        for key, events in told.items():
            self.outcomes(events, served.get(key))

    def outcomes(self, events, served):
        """Of one request, in the order of its client."""
        owed, ends = 0, [event for event in events if event.kind != "asked"]
        for event in events:
            owed += 1 if event.kind == "asked" else -1
            if owed < 0:
                self.find(event, "one outcome more than askings")
        if events[-1].kind == "asked":
            self.find(events[-1], "has no outcome")
        for end in ends:
            if end.kind == "answered" and (served is None or served.more["answer"] != end.sha256):
                self.find(end, "no backend gave this answer")
        if served and ends and all(end.kind == "refused" for end in ends):
            self.find(ends[-1], "the work was done")

    # Sessions

    def sessions(self):
        held, pushed = defaultdict(list), defaultdict(list)
        for event in self.of("began", "went_on", "lost", "heard", "took", "knew", "skipped"):
            held[event.session].append(event)
        for sending in self.sendings.values():
            pushed[sending.user].append(sending)
        for events in held.values():
            for event in events:
                if event.owner != events[0].owner:
                    self.find(event, "the session is another one's")
            if events[0].kind != "began":
                self.find(events[0], "the session did not begin")
            self.sequences(events)
            self.order([event for event in events if event.kind in ("heard", "skipped")], pushed)

    def sequences(self, events):
        received = taken = 0
        places, heard, ids, skipped = {}, set(), set(), set()
        for event in events:
            if event.kind == "began" and event is not events[0]:
                self.find(event, "the session began before")
            elif event.kind == "lost":
                received = taken
            elif event.kind == "heard":
                heard.add((event.sequence, event.id))
                if not event.sequence:
                    continue
                if places.setdefault(event.sequence, (event.id, event.sha256)) != (event.id, event.sha256):
                    self.find(event, f"{event.sequence} was another push")
                if event.sequence != received + 1:
                    self.find(event, f"{event.sequence} behind {received}")
                received = event.sequence
            elif event.kind == "skipped":
                if event.sequence != received + 1:
                    self.find(event, f"{event.sequence} behind {received}")
                received = event.sequence
                skipped.add(received)
            elif event.kind in ("took", "knew"):
                if (event.sequence, event.id) not in heard:
                    self.find(event, "not heard")
                if event.kind == "took" and event.id in ids:
                    self.find(event, "taken before in this session")
                ids.add(event.id)
                if event.sequence:
                    while taken + 1 in skipped:
                        taken += 1
                    if event.sequence != taken + 1:
                        self.find(event, f"{event.sequence} behind {taken}")
                    taken = event.sequence

    def order(self, heard, sendings):
        """Each push of a way has to stand behind the one heard before it. What was sent twice may stand for either.

        `sendings` are those to each user, in their order."""
        ways, first, seen = defaultdict(lambda: defaultdict(list)), {}, set()
        for user in {event.user for event in heard}:
            for at, pushed in enumerate(sendings[user]):
                more = pushed.more
                ways[more["stream"], more["target"], more["class"]][pushed.id].append(at)
        for event in heard:
            if event.sequence and event.sequence in seen:
                continue
            seen.add(event.sequence)
            fits = [(way, places[event.id]) for way, places in ways.items() if event.id in places]
            if len(fits) != 1:
                # On several ways it came by any of them, and says nothing of their order.
                continue
            way, places = fits[0]
            behind = [at for at in places if at > first.get(way, -1)]
            if behind:
                first[way] = behind[0]
            else:
                self.find(event, "a later push of its stream to this target was heard before")

    # Pushes and who hears them

    def deliveries(self):
        refused = {event.more["sending"] for event in self.of("undelivered") if event.more["report"] == "0"}
        pushed = defaultdict(list)
        for name, event in self.sendings.items():
            if not (event.more["class"] == "1" and name in refused):
                pushed[event.id].append(event)
        places = defaultdict(list)
        for event in self.of("heard", "skipped"):
            here = [one for one in pushed[event.id] if one.user == event.user and one.device in ("-", event.device)]
            if not here:
                self.find(event, "nobody pushed this to it")
            elif event.kind == "heard" and all(one.sha256 != event.sha256 for one in here):
                self.find(event, "these are not the bytes that were pushed")
            mine = places[event.owner, event.id]
            if not event.sequence or (event.session, event.sequence) not in mine:
                mine.append((event.session, event.sequence))
            if here and len(mine) > len(here):
                self.find(event, f"heard {len(mine)} times and sent {len(here)} times")

    def stores(self):
        keep = {event.owner for event in self.of("declares") if event.more["store"] == "file"}
        taken = {}
        for event in self.of("took"):
            before = taken.setdefault((event.owner, event.id), event)
            if event.owner in keep and before.session != event.session:
                self.find(event, f"taken before, {before.where}")
        for event in self.of("knew"):
            if (event.owner, event.id) not in taken:
                self.find(event, "never taken")
        heard = {(event.owner, event.id) for event in self.of("heard")}
        for event in self.of("skipped"):
            if (event.owner, event.id) not in heard:
                self.find(event, "never heard")

    # Reports

    def reports(self):
        took = {(event.owner, event.id): event for event in self.of("took")}
        numbers, by_sending = defaultdict(dict), defaultdict(list)
        for event in self.of(*REPORTS):
            sending = self.sendings.get(event.more["sending"])
            number = int(event.more["report"])
            said = event.kind, event.device, sorted(event.more.items())
            before = numbers[event.more["boot"]].get(number) if number else None
            if before not in (None, said):
                self.find(event, f"report {number} said something else")
            if before is not None:
                continue
            if number:
                numbers[event.more["boot"]][number] = said
            if sending is None:
                self.find(event, "of no sending")
                continue
            by_sending[event.more["sending"]].append(event)
            if event.kind == "delivered" and ((sending.user, event.device), sending.id) not in took:
                self.find(event, "that device has not taken it")
        for boot, known in numbers.items():
            if max(known) != len(known):
                self.findings.append(f"{boot}: {len(known)} reports, the last of which is {max(known)}")
        given_up = {event.more["sending"] for event in self.of("given_up")}
        settled = self.settled({(user, id) for (user, _), id in took})
        told = set()
        for name, sending in self.sendings.items():
            if name in settled:
                if by_sending[name] or name in given_up:
                    self.find(settled[name], "has another outcome")
                told.add((sending.user, None, sending.id))
                continue
            self.fate(sending, by_sending[name], name in given_up)
            told.update((sending.user, report.device, sending.id) for report in by_sending[name])
            if name in given_up or "quiet" in sending.more:
                told.add((sending.user, None, sending.id))
        for event in took.values():
            if event.sequence and not told & {(event.user, device, event.id) for device in (event.device, None)}:
                self.find(event, "no report tells of this device")

    def settled(self, took):
        """What libraries say of sendings. `took` are users and ids."""
        settled = {}
        for event in self.of("told"):
            sending = self.sendings.get(event.more["sending"])
            if sending is None:
                self.find(event, "of no sending")
            elif settled.setdefault(event.more["sending"], event) is not event:
                self.find(event, "has another outcome")
            elif event.more["outcome"] == "delivered" and (sending.user, sending.id) not in took:
                self.find(event, "nobody has taken it")
        return settled

    def fate(self, sending, reports, is_given_up):
        devices = [event.device for event in reports]
        if "quiet" in sending.more:
            if reports:
                self.find(reports[0], "no report was wanted")
            return
        if sending.more["class"] != "1":
            if len(reports) > 1 or any(event.kind == "delivered" for event in reports):
                self.find(reports[-1], "too much of a push that is sent at most once")
            return
        twice = [device for device, count in Counter(devices).items() if count > 1 and device != "-"]
        owed = {event.more["devices"] for event in reports if event.more["report"] != "0"}
        if twice:
            self.find(reports[-1], f"two outcomes for one device: {twice}")
        elif len(owed) > 1:
            self.find(reports[-1], f"of so many devices: {sorted(owed)}")
        elif len(reports) > 1 and any(event.more["report"] == "0" for event in reports):
            self.find(reports[-1], "one that was not accepted has one report")
        elif owed and len(reports) > int(min(owed)):
            self.find(reports[-1], f"{len(reports)} outcomes for {min(owed)} devices")
        elif not is_given_up and (not reports or owed and len(reports) < int(min(owed))):
            self.find(sending, f"{len(reports)} outcomes, and no more is heard")

    # What is asked for

    def to_devices(self):
        """Users and devices, and what was pushed to each of them that must be acknowledged: the first sending of each id."""
        first = {}
        for pushed in self.sendings.values():
            if pushed.device != "-" and pushed.more["class"] == "1":
                first.setdefault((pushed.owner, pushed.id), pushed)
        return first

    def delivered(self):
        """When it was told first that an id has come to its user and device."""
        first = {}
        for told in self.of("told"):
            sending = self.sendings.get(told.more["sending"])
            if sending is not None and told.more["outcome"] == "delivered":
                first.setdefault((sending.owner, sending.id), told)
        return first

    def complete(self):
        answered = {(event.owner, event.id) for event in self.of("answered")}
        for event in {(event.owner, event.id): event for event in self.of("asked")}.values():
            if (event.owner, event.id) not in answered:
                self.find(event, "never answered")
        took = {(event.owner, event.id) for event in self.of("took")}
        delivered = self.delivered()
        for key, event in self.to_devices().items():
            if key not in took:
                self.find(event, "never taken")
            elif key not in delivered:
                self.find(event, "never delivered")

    def within(self, most):
        timed = self.of("asked", "answered", "pushed", "told", "ready", "released", *WELCOMES)
        untimed = [event for event in timed if "at" not in event.more]
        for event in untimed:
            self.find(event, "without at")
        if untimed:
            return
        ready = [event.at for event in self.of("ready")]
        ups = defaultdict(list)
        for event in self.of("released", *WELCOMES):
            ups[event.device].append(event.at)
        everybody = sorted(ready + ups.pop("-", []))
        ups = {device: sorted(times) for device, times in ups.items()}
        slow = {event.owner for event in self.of("declares") if event.more.get("slow") == "yes"}
        answered = {(event.owner, event.id): event for event in self.of("answered")}
        asked = {}
        for event in self.of("asked"):
            asked.setdefault((event.owner, event.id), event)
        for begun, ended in ((asked, answered), (self.to_devices(), self.delivered())):
            for key, first in begun.items():
                last = ended.get(key)
                if last is None or first.owner in slow:
                    continue
                since = max(first.at, latest(everybody, last.at), latest(ups.get(first.device, ()), last.at))
                if last.at - since > most:
                    self.find(last, f"{last.at - since} ms after all were there, {first.where}")

    def amplification(self, most):
        received = [(event.owner, event.id) for event in self.of("received")]
        different = len(set(received))
        if not different:
            self.findings.append("no request was received")
        elif len(received) > most * different:
            self.findings.append(f"{len(received)} requests received, of which {different} are different")

    def summary(self):
        counts = {kind: len(events) for kind, events in self.events.items() if events}
        return ", ".join(f"{counts[kind]} {kind}" for kind in NEEDS if kind in counts)


def latest(times, until):
    """The last of the sorted times that is not later; 0 if there is none."""
    at = bisect_right(times, until)
    return times[at - 1] if at else 0


def files(paths):
    for path in map(Path, paths):
        yield from sorted(path.iterdir()) if path.is_dir() else [path]


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--complete", action="store_true")
    options.add_argument("--within", type=int)
    options.add_argument("--amplification", type=float)
    options.add_argument("paths", nargs="*")
    options = options.parse_args()
    ledgers = [(path.name, path.read_text(encoding="ascii").splitlines()) for path in files(options.paths)]
    if not any(lines for _, lines in ledgers):
        print("no events; the head of this file says what is looked at", file=sys.stderr)
        sys.exit(2)
    check = Check(ledgers, options.complete, options.within, options.amplification)
    for finding in check.findings:
        print(finding)
    print(f"{len(ledgers)} ledgers: {check.summary()}; {len(check.findings)} findings")
    sys.exit(1 if check.findings else 0)


if __name__ == "__main__":
    main()
