"""A client of the access gateway, written from protocol/SPEC.md alone."""

import argparse
import json
import os
import random
import secrets
import select
import socket
import time

import wire
from wire import Records, link

TICKET_USE_S = 12 * 3_600
FULL_HANDSHAKE_S = 7 * 24 * 3_600
STAY_AWAY_MS = 60_000
PINS_MAX = 8
DOWN = {
    *("close", "welcome", "response", "push", "ack_now", "pong", "joined", "left", "move", "pad", "warning"),
}
RELOGIN = [wire.CODES[name] for name in ("auth_failed", "token_expired", "session_ended")]


def dial(address, timeout=10):
    host, port = address.rsplit(":", 1)
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))
    sock = socket.create_connection((host, int(port)), timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Closed(Exception):
    """The gateway sent `Close`."""

    def __init__(self, close):
        super().__init__(f"close code {close.code} {close.text!r}")
        self.close = close
        self.code = close.code


class Session:
    """What a client keeps of a session while its links come and go (8.2), and how far its pushes have come (8.6)."""

    def __init__(self, welcome):
        self.id, self.secret = welcome.session, welcome.secret
        self.attempt = self.received = self.taken = self.counter = 0

    def count(self):
        """The number of its next request (8.4)."""
        self.counter += 1
        return self.counter

    def resume(self, h):
        """What the next `Auth` says of it. An attempt counts, however it ends."""
        self.attempt += 1
        proof = wire.session_proof(self.secret, h, self.id, self.attempt, self.received)
        return link.Resume(session=self.id, attempt=self.attempt, last_sequence=self.received, proof=proof)

    def hear(self, push):
        """Whether a push is new. One behind a gap counts as not received, so that it comes again in its order."""
        if push.sequence == 0:
            return True
        is_next = push.sequence == self.received + 1
        self.received += is_next
        return is_next

    def lose(self):
        self.received = self.taken


class Store:
    """The ids of pushes that an application has taken, in a file, so that none is taken twice, whatever becomes of sessions."""

    def __init__(self, path):
        self.path = path
        self.ids = set(path.read_text(encoding="ascii").split()) if path.exists() else set()

    def __contains__(self, push):
        return push.id.hex() in self.ids

    def add(self, push):
        self.ids.add(push.id.hex())
        with self.path.open("a", encoding="ascii") as file:
            file.write(push.id.hex() + "\n")


class Client(Records):
    """One link. The constructor makes the handshake; `login` authenticates.

    It acknowledges when it is asked to, unless `is_silent`; `take` says what the application has taken, which it never
    does twice if it has a `store`. `note` is told what was heard and done: an event of tests/ledger/check.py.

    `order` are the suites it is willing to use, best first; those before `suite` are better (4.3).
    """

    def __init__(self, address, server_key, suite=wire.NK, *, device_key=None, ticket=b"", psk=None, order=()):
        sock = dial(address)
        order = list(order) or [suite]
        offered, better = wire.suite_set(*order), wire.suite_set(*order[: order.index(suite)])
        bytes_1, noise = wire.hello(suite, server_key, local=device_key, ticket=ticket, psk=psk, suites=offered)
        sock.sendall(bytes_1)
        self.begin(sock, noise)
        try:
            self.versions, self.suites = wire.read_message_2(self.read, noise, suite, better)
        except Exception:
            sock.close()
            raise
        if suite in wire.UNPINNED:
            sock.sendall(wire.message_3(noise))
        self.suite = suite
        self.server_key = server_key
        self.ticket = ticket
        self.h = noise.get_handshake_hash()

    def begin(self, sock, noise):
        """What holds on every link until `Welcome`, whatever its handshake. The vectors come with one of their own."""
        super().__init__(sock, noise, link.Frame)
        self.frame_len_max = wire.FRAME_LEN_MAX_DOWN
        self.frame_len_max_up = wire.FRAME_LEN_MAX
        self.record_len_max = wire.RECORD_LEN_MAX_UNAUTHENTICATED
        self.welcome = None
        self.session = None
        self.is_silent = False
        self.store = None
        self.note = lambda kind, **fields: None
        self.pushes = []
        self.open = {}

    def auth(self, token, user=b"", device=b"python", bound=None, **fields):
        """`bound` is the Ed25519 key that the token is bound to, or the one that the ticket in use replaces (8.1)."""
        if bound is not None:
            kind, secret = ("ticket", self.ticket) if self.ticket else ("token", token)
            fields["signature"] = bound.sign(wire.binding(kind, self.h, secret))
        fields.setdefault("agent", "foreign-python/1")
        return link.Frame(auth=link.Auth(token=token, user=user, device=device, **fields))

    def login(self, token, user=b"", device=b"python", behind=(), session=None, **fields):
        """Authenticates; `behind` are frames to send in the same flight. Returns `Welcome`.

        `session` is one of an earlier link; `self.session` is then this one or a new one, as the gateway decides.
        """
        if session is not None:
            fields["resume"] = session.resume(self.h)
        self.send(self.auth(token, user, device, **fields), *behind)
        return self.take_welcome(session)

    def take_welcome(self, session=None):
        frame = self.receive()
        if frame.WhichOneof("kind") != "welcome":
            raise wire.Violation("unexpected")
        self.welcome = frame.welcome
        goes_on = session is not None and self.welcome.resumed
        if goes_on and (self.welcome.session != session.id or self.welcome.secret):
            raise wire.Violation("field")
        self.session = session if goes_on else Session(self.welcome)
        self.note("went_on" if goes_on else "began")
        self.frame_len_max_up = self.welcome.frame_len_max or wire.FRAME_LEN_MAX
        self.record_len_max = self.welcome.record_len_max or 16_384
        return self.welcome

    def take_frame(self):
        """The next frame that is not a `Pad`. Raises Closed for `Close`."""
        while (frame := super().take_frame()) is not None:
            kind = frame.WhichOneof("kind")
            if kind is not None and kind not in DOWN:
                raise wire.Violation("unexpected")
            if kind is not None and not within_bounds(kind, getattr(frame, kind)):
                raise wire.Violation("field")
            if kind == "close":
                self.sock.close()
                raise Closed(frame.close)
            if kind != "pad":
                return frame
        return None

    def wait_for(self, kind):
        """The next frame of a kind. Pushes that come before it are kept; what no client of today serves is skipped."""
        while True:
            frame = self.receive()
            found = frame.WhichOneof("kind")
            is_new = found != "push" or self.hear(frame.push)
            if found == kind:
                return getattr(frame, kind)
            if found == "push":
                self.pushes += [frame.push] if is_new else []
            elif found == "ack_now":
                self.asked()
            elif found not in (None, "move", "warning"):
                raise wire.Violation(f"expected {kind}, got {found}")

    def hear(self, push):
        """Whether a push is new to this session."""
        is_new = self.session.hear(push)
        if is_new:
            self.note("heard", push=push)
        return is_new

    def take(self, push):
        """The application takes the next push."""
        if self.store is not None and push in self.store:
            self.note("knew", push=push)
        else:
            if self.store is not None:
                self.store.add(push)
            self.note("took", push=push)
        if push.sequence:
            self.session.taken = push.sequence
            self.acknowledge()

    def lose(self):
        """What the application has not taken is lost, as by a start of the client."""
        self.session.lose()
        self.note("lost")

    def acknowledge(self):
        self.send(link.Frame(ack=link.Ack(taken=self.session.taken, received=self.session.received)))

    def asked(self):
        if not self.is_silent:
            self.acknowledge()

    def request_frame(self, route, payload, key=b"", **fields):
        """A request with the next number of the session; before `Welcome` nobody knows which one that is."""
        fields.setdefault("counter", self.session.count() if self.session else 0)
        request = link.Request(id=secrets.token_bytes(16), route=route, payload=payload, key=key, **fields)
        return link.Frame(request=request)

    def request(self, route, payload, key=b"", plain_max=None, **fields):
        """Sends a request and waits for its response."""
        frame = self.request_frame(route, payload, key, **fields)
        self.ask(frame.request, plain_max=plain_max)
        return self.outcome(frame.request)

    def ask(self, *requests, plain_max=None):
        """Sends requests in one flight."""
        for request in requests:
            self.asks(request)
        self.send(*(link.Frame(request=request) for request in requests), plain_max=plain_max)

    def asks(self, request):
        """A request leaves, perhaps again."""
        self.open[request.id] = request
        self.note("asked", request=request)

    def outcome(self, request=None):
        """The next response: that to this request, or to any open one."""
        response = self.wait_for("response")
        if response.id not in self.open or request is not None and response.id != request.id:
            raise wire.Violation("the response names another request")
        del self.open[response.id]
        self.note("outcome", response=response)
        return response

    def gone(self):
        """The link has ended, and what became of its open requests is not known (8.4). Returns them."""
        requests, self.open = list(self.open.values()), {}
        for request in requests:
            self.note("unknown", request=request)
        return requests

    def ping(self, nonce, heartbeat_ms=0):
        self.send(link.Frame(ping=link.Ping(nonce=nonce, heartbeat_ms=heartbeat_ms)))
        return self.wait_for("pong").nonce

    def stay(self, seconds, first=random.random):
        """Keeps the link alive as 8.3 says; raises Silence when two pings in a row were in vain.

        `first` gives the part of the interval after which the first ping goes out: a random one, so that the pings
        of clients that came at once do not come at once.
        """
        interval = self.welcome.heartbeat_ms / 1_000
        now = time.monotonic()
        end, due, in_vain = now + seconds, now + first() * interval, 0
        while now < end:
            if self.readable(min(due, end) - now):
                in_vain = 0
                self.open_record()
                while (frame := self.take_frame()) is not None:
                    self.keep(frame)
            elif time.monotonic() >= due:
                if in_vain == 2:
                    self.sock.close()
                    raise wire.Silence("two pings in vain")
                self.send(link.Frame(ping=link.Ping()))
                due, in_vain = time.monotonic() + interval, in_vain + 1
            now = time.monotonic()

    def keep(self, frame):
        """Takes what comes while nothing is waited for: pushes, which it has at once, and questions for them."""
        kind = frame.WhichOneof("kind")
        if kind == "push":
            self.pushes += [frame.push] if self.hear(frame.push) else []
        if kind == "ack_now" or kind == "push" and frame.push.sequence:
            self.asked()

    def readable(self, timeout):
        return bool(select.select([self.sock], [], [], timeout)[0])

    def close(self, code=wire.CODES["normal"]):
        self.finish(link.Frame(close=link.Close(code=code)))


def within_bounds(kind, message):
    """Section 9's bounds of what comes down. `Welcome` brings parts that are judged where they are used."""
    if kind == "response":
        return len(message.id) == 16 and not message.compression
    if kind == "push":
        return len(message.id) <= 16 and len(message.room) <= 64 and not message.compression
    if kind in ("joined", "left"):
        return 1 <= len(message.room) <= 64
    if kind == "move":
        return len(message.address.encode()) <= 255
    if kind == "close":
        return len(message.text.encode()) <= 128
    return True


class Pins:
    """The server keys a client trusts for one listener, best first (8.9)."""

    def __init__(self, *keys):
        self.keys = [link.ServerKey(key=key) for key in keys]
        self.left = set()

    def in_turn(self, now_ms):
        """The keys to try: those whose time it is, or the first one, since the clock may be wrong."""
        good = [k for k in self.keys if k.not_before_ms <= now_ms and (not k.not_after_ms or now_ms < k.not_after_ms)]
        return good or self.keys[:1]

    def prove(self, key):
        """A handshake has proved this key: there is no way back to those before it."""
        known = [pin.key for pin in self.keys]
        if key in known:
            self.left.update(known[: known.index(key)])
            self.keys = self.keys[known.index(key) :]

    def learn(self, suite, proved, listed):
        """`Welcome.server_keys` of a link. Only a handshake that proved the pinned key may change anything."""
        if wire.SUITES[suite][0] not in ("NK", "IK"):
            return
        self.prove(proved)
        good = [pin for pin in listed if len(pin.key) == 32 and pin.key not in self.left][:PINS_MAX]
        if good:
            self.keys = good
            self.prove(proved)


def usable(pin, order):
    """The suites of the client's own order that it may use with a key, best first.

    None stands behind one of the key's stored set: a suite that was broken must not be made the only one by leaving
    out the others (8.9).
    """
    stored = [at for at, suite in enumerate(order) if pin.suites >> suite & 1]
    return order[: stored[0] + 1] if stored else order


class Installation:
    """What a client keeps from link to link: pins, tickets, its device. `open` makes the next link.

    `order` are the suites this client uses, best first; with IK it has a device key.
    """

    def __init__(self, address, pins, device, order=(wire.NK,), device_key=None):
        self.address = address
        self.pins = pins
        self.device = device
        self.order = list(order)
        self.device_key = device_key
        self.tickets = []
        self.proved_at = None

    def open(self, token, user=b"", **fields):
        """A link that is authenticated: with a ticket if there is one, else with the token."""
        client = self.by_ticket() or self.by_full_handshake()
        try:
            welcome = client.login(b"" if client.ticket else token, user, self.device, **fields)
        except Closed as closed:
            if closed.code in RELOGIN:
                self.tickets.clear()
            raise
        self.pins.learn(client.suite, client.server_key, welcome.server_keys)
        self.keep_tickets(client)
        return client

    def keep_tickets(self, client):
        """New tickets, each for the cipher of the link it came on."""
        suite = wire.TICKET if wire.SUITES[client.suite][1] == "ChaChaPoly" else wire.TICKET_AESGCM
        for ticket in client.welcome.tickets:
            if 1 <= len(ticket.ticket) <= wire.TICKET_LEN_MAX and len(ticket.psk) == 32:
                self.tickets.append((suite, ticket, time.time()))

    def by_ticket(self):
        """A handshake with a ticket, or None when a full one is due: no good ticket, reason 5, silence.

        A ticket is used once, however that ends; where the clear reply says nothing of it, it is as good as before.
        """
        now = time.time()
        self.tickets = [
            (suite, ticket, came)
            for suite, ticket, came in self.tickets
            if now < min(came + TICKET_USE_S, ticket.expires_ms / 1_000)
        ]
        if not self.tickets or now > self.proved_at + FULL_HANDSHAKE_S:
            return None
        suite, ticket, _ = self.tickets[0]
        key = self.pins.in_turn(now_ms())[0].key
        try:
            client = Client(self.address, key, suite, ticket=ticket.ticket, psk=ticket.psk)
        except wire.Silence:
            client = None
        except wire.Rejected as rejected:
            if rejected.reason != wire.REASONS["ticket_refused"]:
                raise
            client = None
        del self.tickets[0]
        return client

    def by_full_handshake(self):
        """Tries the good keys at this one address, each once, then gives up (8.8).

        A key is retired in favour of another: that one is next if it is held, whether its time has come or not.
        """
        keys, tried, failed = self.pins.in_turn(now_ms()), [], None
        while keys:
            pin = keys.pop(0)
            tried.append(pin)
            try:
                client = self.prove(pin)
            except wire.Silence as silence:
                failed = silence
            except wire.Rejected as rejected:
                if rejected.reason != wire.REASONS["retired_key"]:
                    raise
                failed = rejected
                named = [other for other in self.pins.keys if wire.key_id(other.key) == rejected.key_id]
                keys = [other for other in named if other not in tried]
            else:
                self.pins.prove(pin.key)
                self.proved_at = time.time()
                return client
        raise failed

    def prove(self, pin):
        """A full handshake with one key, with the next suite of the own order when the gateway hints at it.

        The better suites stay in the offer all the same, so that a forged hint shows in message 2 (4.3).
        """
        suites = usable(pin, self.order)
        for suite in suites:
            device_key = self.device_key if wire.SUITES[suite][0] == "IK" else None
            try:
                return Client(self.address, pin.key, suite, device_key=device_key, order=suites)
            except wire.Rejected as rejected:
                if rejected.reason != wire.REASONS["suite"] or suite == suites[-1]:
                    raise


def stay_away_ms(rejected, attempt, random_ms=random.randrange):
    """How long the clear reply `busy` keeps a client away: what it says, a minute at most, and 8.8's random time."""
    return min(rejected.wait_ms, STAY_AWAY_MS) + random_ms(backoff_max_ms(attempt))


def backoff_max_ms(attempt):
    return min(60_000, 500 * 2 ** min(attempt, 7))


def now_ms():
    return int(time.time() * 1_000)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target-file", required=True, help="the ready file of `gateway dev`")
    parser.add_argument("--suite", type=int, default=wire.NK, choices=[1, 2, 3, 4])
    parser.add_argument("--user", default="python")
    parser.add_argument("--route", default="echo")
    parser.add_argument("--stay", type=float, default=0, help="keep the link for so many seconds")
    parser.add_argument("text", nargs="?", default="hello")
    options = parser.parse_args()
    with open(options.target_file, encoding="utf-8") as file:
        target = json.load(file)
    device_key = os.urandom(32) if options.suite in (wire.IK, wire.IK_AESGCM) else None
    client = Client(target["listen"], bytes.fromhex(target["server_key"]), options.suite, device_key=device_key)
    welcome = client.login(target["token"].encode(), options.user.encode())
    print(f"session {welcome.session.hex()}, heartbeat {welcome.heartbeat_ms} ms, user {welcome.user!r}")
    response = client.request(options.route, options.text.encode())
    print(f"outcome {response.outcome}, code {response.code}: {response.payload!r}")
    client.stay(options.stay)
    print(f"pong {client.ping(7)}")
    client.close()


if __name__ == "__main__":
    main()
