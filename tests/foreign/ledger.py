"""Writes down what clients and backends promise, hear and do, as tests/ledger/check.py reads it."""

import hashlib
import threading

from wire import UNDELIVERED, link, stream

OUTCOMES = {link.ANSWERED: "answered", link.REFUSED: "refused", link.UNKNOWN: "unknown"}
REASONS = {number: name for name, number in UNDELIVERED.items()}


def sha256(payload):
    return hashlib.sha256(payload).hexdigest()


class Ledger:
    """Appends to a file of its own for each peer, below `folder`."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder = folder
        self.lock = threading.Lock()

    def write(self, who, kind, *, id=b"", user=b"", device=b"", session=b"", sequence="-", payload=None, **more):
        columns = [field.hex() or "-" for field in (id, user, device, session)]
        more = [f"{name}={value}" for name, value in more.items()]
        line = [who, kind, *columns, str(sequence), "-" if payload is None else sha256(payload), *more]
        with self.lock, (self.folder / who).open("a", encoding="ascii") as file:
            file.write(" ".join(line) + "\n")

    def client(self, one):
        """What a client calls with all that is to be written down. Its user and device are known."""
        who = f"client-{one.device.hex()}"
        self.write(who, "declares", user=one.user, device=one.device, store="file" if one.store else "memory")

        def note(kind, push=None, request=None, response=None):
            fields = {"user": one.user, "device": one.device, "session": one.session.id if one.session else b""}
            if push is not None:
                fields |= {"id": push.id, "sequence": push.sequence, "payload": push.payload}
            if request is not None:
                fields |= {"id": request.id, "payload": request.payload if kind == "asked" else None}
            if response is not None:
                kind = OUTCOMES[response.outcome]
                fields |= {"id": response.id, "payload": response.payload}
            self.write(who, kind, **fields)

        return note

    def pushed(self, at, push, user, target):
        """`user` is whose the target is, and `target` its kind, for the order of those that name it alike."""
        of = user if push.users else b""
        named = {"sending": sending(at, push.number, of), "class": getattr(push, "class"), "stream": id(at), "target": target}
        fields = {"id": push.id, "user": user, "device": push.device, "payload": push.payload}
        self.write(name_of(at), "pushed", **fields, **named)

    def reported(self, at, report):
        if report.reason == UNDELIVERED["malformed"]:
            # It was no push, whosever number it had.
            return
        kind = {stream.DELIVERED: "delivered", stream.UNDELIVERED: "undelivered"}[report.outcome]
        boot = f"{at.boot.hex()}.{at.hello.worker}"
        more = {"sending": sending(at, report.number, report.user), "boot": boot, "report": report.report, "devices": report.devices}
        if report.reason:
            more["reason"] = REASONS[report.reason]
        self.write(name_of(at), kind, device=report.device, **more)

    def given_up(self, at, push):
        self.write(name_of(at), "given_up", sending=sending(at, push.number))

    def served(self, at, request, response):
        fields = {name: getattr(request, name) for name in ("id", "user", "device", "session", "payload")}
        self.write(name_of(at), "served", **fields, answer=sha256(response.payload))


def name_of(at):
    return f"backend-{at.instance.decode()}"


def sending(at, number, user=b""):
    """Of a push to several users each is a sending of its own."""
    of_user = f".{user.hex()}" if user else ""
    return f"{at.boot.hex()}.{number}{of_user}"
