"""A gateway with two Python backends behind it that judge and answer as each test says.

with_gateway.py sets it up. Every test has users and tokens of its own.
"""

import secrets
import signal
import threading
import time
from contextlib import contextmanager

import backend
import wire
from checks import a_device, expect
from client import Closed
from wire import stream

WAIT_S = 10
VERDICT_DEADLINE_S = 2
HELD = b"held until the test answers"
REALM = b"foreign"
OPEN = 1


def whose(request):
    """What a backend knows a request by (11.5)."""
    return request.user, request.device, request.id


def accepted(user, **fields):
    return stream.AuthResult(accepted=True, user=user, **fields)


class Scripted(backend.Backend):
    """One stream of a Service. Keeps what it hears for the tests; is open when the gateway has taken its `Ready`."""

    def __init__(self, service, sock, **keys):
        self.service = service
        named = {"instance": service.name, "boot": service.boot}
        super().__init__(sock, self.answer_of, judge=service.stage.verdict, **named, **keys)
        self.is_open = self.has_ended = False
        self.nonce = OPEN

    def answer_of(self, request):
        response = self.service.stage.answer(request)
        if response is None:
            self.service.stage.keep(self, "held", request)
        return response

    def respond(self, request, response):
        if not response.refused:
            response = self.service.stage.done(self, request, response)
        # One answer may be on its way to several calls.
        mine = stream.Response()
        mine.CopyFrom(response)
        super().respond(request, mine)

    def reported(self, report):
        if self.service.stage.ledger:
            self.service.stage.ledger.reported(self, report)
        if not self.service.holds_back:
            super().reported(report)

    def open(self, hello):
        super().open(hello)
        self.send(stream.Frame(ping=stream.Ping(nonce=OPEN)))

    def take(self, frame):
        kind = frame.WhichOneof("kind")
        if kind == "pong" and frame.pong.nonce == OPEN:
            self.is_open = True
            self.service.of_workers[self.hello.worker] = self
        # Kept first, so that a test that is answered finds what it is answered to; but what is kept of a report is acknowledged.
        if kind == "report":
            super().take(frame)
        self.service.stage.keep(self, kind, getattr(frame, kind) if kind else None)
        if kind != "report":
            super().take(frame)

    def serve(self):
        super().serve()
        self.has_ended = True
        self.service.stage.keep(self, "ended", self.close_code or "no word")

    def sync(self):
        """Comes back when the gateway has taken all that was sent so far."""
        self.nonce += 1
        nonce = self.nonce
        self.send(stream.Frame(ping=stream.Ping(nonce=nonce)))
        self.service.stage.wait(f"pong {nonce}", "pong", lambda pong: pong.nonce == nonce, on=self)

    def keep(self, one, by="user", **fields):
        """Pushes to a client what it has to acknowledge. Returns the push."""
        target = {
            "user": lambda: {"user": one.user},
            "device": lambda: {"user": one.user, "device": one.device},
            "link": lambda: {"link": self.service.stage.link_id(one)},
        }[by]()
        fields = {"id": secrets.token_bytes(16), "payload": secrets.token_bytes(40), "class": 1, **target, **fields}
        push = stream.Push(number=secrets.randbelow(2**63) + 1, **fields)
        if self.service.stage.ledger:
            # Parts of a package come in an order of their own.
            target = f"{by}-{push.package.index}" if push.HasField("package") else by
            self.service.stage.ledger.pushed(self, push, one.user, target)
        self.push(push)
        return push

    def report(self, **push):
        """The report of a push, or None if there is none when the gateway has taken the push."""
        number = secrets.randbelow(2**63) + 1
        self.push(stream.Push(number=number, **push))
        self.sync()
        return self.service.stage.find("report", lambda report: report.number == number, on=self)


class Service:
    """An endpoint. Takes one stream after the other, as the gateway dials again after the end of one."""

    def __init__(self, stage, name, listener, **keys):
        self.stage = stage
        self.name = name
        self.listener = listener
        self.keys = keys
        self.boot = secrets.token_bytes(16)
        self.holds_back = False
        self.current = None
        # The last stream of each worker that was open.
        self.of_workers = {}
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            sock, _ = self.listener.accept()
            try:
                scripted = Scripted(self, sock, **self.keys)
            except (wire.Silence, wire.Violation, wire.Turned, OSError):
                sock.close()
                continue
            self.current = scripted
            threading.Thread(target=scripted.serve, daemon=True).start()

    def up(self, behind=None):
        """The stream, as soon as it is open; another one than `behind`."""
        self.stage.wait(f"a stream of {self.name}", "pong", lambda _: self.is_up(behind))
        return self.current

    def again(self):
        """Another stream of the same start."""
        at = self.up()
        at.leave()
        return self.up(behind=at)

    def restart(self):
        """A stream of another start, which has heard of nothing yet."""
        self.boot = secrets.token_bytes(16)
        return self.again()

    def is_up(self, behind):
        current = self.current
        return current not in (None, behind) and current.is_open and not current.has_ended


class Stage:
    """A gateway and its two services, and what they have heard."""

    def __init__(self):
        self.changed = threading.Condition()
        self.heard = []
        self.verdicts = {}
        self.answers = {}
        self.held = {HELD}
        self.results = {}
        self.services = []
        self.ledger = None
        self.target = None
        # Where clients come without a server key.
        self.unpinned = None
        self.gateway = None
        self.group_key = secrets.token_bytes(32)
        self.retired, self.next_key = (wire.public_of(secrets.token_bytes(32)) for _ in range(2))

    # What the services do, on the threads of their streams.

    def keep(self, at, kind, message):
        with self.changed:
            self.heard.append((at, kind, message))
            self.changed.notify_all()

    def verdict(self, authenticate):
        """A token that no test has named is anybody's who claims a user; None leaves the answer to the test."""
        return self.verdicts.get(authenticate.token, accepted(authenticate.user or b"anybody"))

    def answer(self, request):
        """What was done before is answered as it was (11.5)."""
        if (before := self.results.get(whose(request))) is not None:
            return before
        if request.payload in self.held:
            return None
        return self.answers.get(request.payload) or stream.Response(payload=request.payload)

    def done(self, at, request, response):
        """The work of a request is done, unless it was before. Returns its answer."""
        with self.changed:
            if whose(request) not in self.results:
                self.results[whose(request)] = response
                if self.ledger:
                    self.ledger.served(at, request, response)
            return self.results[whose(request)]

    # What the tests do.

    def find(self, kind, matches, on=None):
        with self.changed:
            return self.found(kind, matches, on)

    def found(self, kind, matches, on):
        for at, what, message in self.heard:
            if what == kind and (on is None or at is on) and matches(message):
                return message
        return None

    def wait(self, what, kind, matches, on=None):
        """The first message of this kind that matches, within a bounded time."""
        with self.changed:
            end = time.monotonic() + WAIT_S
            while (message := self.found(kind, matches, on)) is None:
                self.changed.wait(max(0, end - time.monotonic()))
                expect(f"{what} within {WAIT_S} s", time.monotonic() < end)
            return message

    def stream_of(self, message):
        """The stream a message came on."""
        with self.changed:
            return next(at for at, _, heard in self.heard if heard is message)

    def a_stream(self):
        return self.services[0].up()

    def sync(self):
        """Comes back when the gateway has taken all that both services have sent, and they all that it had sent them."""
        for service in self.services:
            service.up()
            for at in list(service.of_workers.values()):
                if not at.has_ended:
                    at.sync()

    def hold(self, *payloads):
        """Requests with these payloads are answered when the test does."""
        self.held.update(payloads)

    def sendings(self, request):
        """How a client's request has come to the services: once, if all is well."""
        return [heard for heard in self.all_heard("request") if heard.id == request.id]

    def all_heard(self, kind):
        """Messages of this kind, as they came."""
        with self.changed:
            return [heard for _, found, heard in self.heard if found == kind]

    def reached(self, request, count=1):
        """The `count`th time that a client's request comes to a service."""
        with self.changed:
            found = lambda: len(self.sendings(request)) >= count
            expect(f"request {request.payload[:40]!r} within {WAIT_S} s", self.changed.wait_for(found, WAIT_S))
            return self.sendings(request)[count - 1]

    def break_stream(self, heard):
        """Ends the stream that this message came on. Comes back when the gateway's worker has another one."""
        at = self.stream_of(heard)
        at.leave()
        worker, of_workers = at.hello.worker, at.service.of_workers
        self.wait("another stream", "pong", lambda _: of_workers[worker] is not at)

    def give(self, request, *, count=1, **response):
        """Answers a request that is held. Comes back when the gateway has the answer."""
        heard = self.reached(request, count)
        at = self.stream_of(heard)
        self.wait("it is held", "held", lambda held: held.call == heard.call, on=at)
        at.respond(heard, stream.Response(**response))
        at.sync()

    def name(self, verdict):
        """A token that gets this verdict."""
        token = secrets.token_bytes(16)
        self.verdicts[token] = verdict
        return token

    @contextmanager
    def frozen(self):
        """The gateway stands still meanwhile."""
        self.gateway.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.gateway.send_signal(signal.SIGCONT)

    def connect(self, suite=wire.NK, **keys):
        return self.target.connect(suite, **keys)

    def login(self, user=None, device=None, suite=wire.NK, keys=None, session=None, store=None, behind=(), **fields):
        """A link of a user by a login of its own, with a session of an earlier one if it likes.

        `behind` are requests in the flight of `Auth`; `fields` are its verdict's, and `bound` as in Client.auth.
        """
        bound = fields.pop("bound", None)
        user = user or secrets.token_bytes(16)
        one = self.connect(suite, **(keys or {}))
        one.user, one.device, one.token = user, device or a_device(), self.name(accepted(user, **fields))
        one.store = store
        if self.ledger:
            one.note = self.ledger.client(one)
        for frame in behind:
            one.asks(frame.request)
        one.login(one.token, b"", one.device, bound=bound, session=session, behind=behind)
        return one

    def come_back(self, one, **fields):
        """The next link of a client, by a fresh login, with its session. What was open on the last one is not known."""
        one.gone()
        return self.login(one.user, one.device, session=one.session, store=one.store, **fields)

    def fate(self, push, on=None):
        """The report on a push."""
        return self.wait("a report", "report", lambda report: report.number == push.number, on=on)

    def by_ticket(self, one, index=0):
        """The handshake of the next link of a client, with one of its tickets."""
        ticket = one.welcome.tickets[index]
        return self.connect(wire.TICKET, ticket=ticket.ticket, psk=ticket.psk)

    def revoke(self, one):
        """A kick that revokes."""
        at = self.a_stream()
        at.send(stream.Frame(kick=stream.Kick(user=one.user, revoke=True)))
        at.sync()

    def link_id(self, one):
        """The gateway's name of a link, out of a request."""
        payload = secrets.token_bytes(16)
        one.request("echo", payload)
        return self.wait("the request", "request", lambda request: request.payload == payload).link

    def refusal(self, verdict):
        """What a client hears whose token gets this verdict."""
        one = self.connect()
        one.send(one.auth(self.name(verdict), b"a claim", a_device()))
        try:
            one.receive()
        except Closed as closed:
            return closed.close
        raise AssertionError("the client is let in")
