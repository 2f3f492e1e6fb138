"""A tiny gateway in Python that echoes by itself: what the client and its tests are tried on without the real one.

It follows protocol/SPEC.md where test_foreign.py looks, and no further: development auth, no backends, no limits.
"""

import secrets
import socket
import threading
import time

import wire
from wire import CLOSES, CODES, REFUSALS, Records, Turned, Violation, link

UP = ("auth", "request", "ack", "ping", "join", "leave", "close", "pad")
SUITES = (wire.NK, wire.NK_AESGCM, wire.IK, wire.IK_AESGCM, wire.TICKET, wire.TICKET_AESGCM)
TICKET_LEN, PSK_LEN = 356, 32
TICKET_LIFE_MS = 12 * 3_600_000
GRANT_BYTES = 49_152


class Loopback:
    """Listens on a port of 127.0.0.1 as soon as it is made. `busy_ms` makes it answer with reason 4 instead."""

    def __init__(self, suites=SUITES):
        self.listener = wire.Listener(secrets.token_bytes(32), *suites)
        self.public = self.listener.public
        self.token = secrets.token_hex(16)
        self.server_keys = [link.ServerKey(key=self.public, suites=wire.suite_set(*suites))]
        self.busy_ms = None
        self.tickets = {}
        self.seen = set()
        self.socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    def target(self):
        """What the real gateway writes into its ready file."""
        host, port = self.socket.getsockname()
        return {"listen": f"{host}:{port}", "server_key": self.public.hex(), "token": self.token}

    def accept(self):
        while True:
            sock, _ = self.socket.accept()
            threading.Thread(target=self.run, args=(sock,), daemon=True).start()

    def run(self, sock):
        sock.settimeout(10)
        try:
            Link(self, sock, *self.respond(sock)).serve()
        except Turned as turned:
            sock.sendall(self.listener.reply(turned.reason, self.busy_ms or 0))
        except (wire.Silence, Violation, OSError):
            pass
        sock.close()

    def respond(self, sock):
        """Answers a hello (3.1): the finished handshake, and user and device if a ticket says who it is."""
        hello = self.listener.read_hello(sock)
        suite, _, ticket, message_1 = hello
        if self.busy_ms is not None:
            raise Turned("busy")
        if wire.SUITES[suite][0] != "NNpsk0":
            return self.listener.answer(sock, self.listener.open(*hello, local=self.listener.private)), None
        if message_1 in self.seen:
            raise Violation("replay")
        if ticket not in self.tickets:
            raise Turned("ticket_refused")
        psk, owner = self.tickets[ticket]
        noise = self.listener.open(*hello, psk=psk)
        self.seen.add(message_1)
        return self.listener.answer(sock, noise), owner


class Link(Records):
    """One link, from message 2 to its end."""

    def __init__(self, gateway, sock, noise, owner):
        super().__init__(sock, noise, link.Frame)
        self.gateway = gateway
        self.owner = owner
        self.who = None
        self.frame_len_max = 4_096
        self.glitches = 0
        self.error = None

    def record_len_max_in(self):
        return 16_384 if self.who else wire.RECORD_LEN_MAX_UNAUTHENTICATED

    def serve(self):
        try:
            while self.take(self.receive()):
                pass
        except Violation as broken:
            self.error = broken.error
            if (name := CLOSES.get(broken.error)) is not None:
                self.finish(link.Frame(close=link.Close(code=CODES[name], text=broken.error)))

    def take(self, frame):
        """Handles a frame; whether the link goes on."""
        kind = frame.WhichOneof("kind")
        if kind == "close":
            if len(frame.close.text.encode()) > 128:
                raise Violation("field")
            return False
        if kind is None:
            self.glitches += 1
            if self.glitches > 100:
                raise Violation("glitches")
        elif kind not in UP or kind != "auth" and self.who is None:
            raise Violation("unexpected")
        elif kind == "auth":
            self.auth(frame.auth)
        elif kind == "request":
            self.request(frame.request)
        elif kind == "ping":
            self.send(link.Frame(pong=link.Pong(nonce=frame.ping.nonce)))
        elif kind in ("join", "leave"):
            self.room(kind, getattr(frame, kind))
        return True

    def auth(self, auth):
        if not good_auth(auth):
            raise Violation("field")
        if self.who is not None:
            if (auth.user, auth.device) != self.who:
                raise Violation("auth_failed")
            return
        self.frame_len_max = wire.FRAME_LEN_MAX
        self.decide(auth)

    def decide(self, auth):
        if self.owner is not None:
            good = not auth.token and auth.user in (b"", self.owner[0]) and auth.device == self.owner[1]
        else:
            good = auth.token == self.gateway.token.encode() and auth.user
        if not good:
            raise Violation("auth_failed")
        self.who = self.owner or (auth.user, auth.device)
        now_ms = int(time.time() * 1_000)
        self.send(
            link.Frame(
                welcome=link.Welcome(
                    session=secrets.token_bytes(16),
                    secret=secrets.token_bytes(32),
                    tickets=[self.ticket(now_ms), self.ticket(now_ms)],
                    server_keys=self.gateway.server_keys,
                    grant_requests=32,
                    grant_bytes=GRANT_BYTES,
                    heartbeat_ms=120_000,
                    heartbeat_min_ms=60_000,
                    heartbeat_max_ms=300_000,
                    time_ms=now_ms,
                    frame_len_max=65_536,
                    record_len_max=16_384,
                    user=self.who[0],
                )
            ),
            # A gateway of this version sends none, and a client must skip it all the same.
            self.pad(100),
        )

    def ticket(self, now_ms):
        ticket, psk = secrets.token_bytes(TICKET_LEN), secrets.token_bytes(PSK_LEN)
        self.gateway.tickets[ticket] = psk, self.who
        return link.Ticket(ticket=ticket, psk=psk, expires_ms=now_ms + TICKET_LIFE_MS)

    def request(self, request):
        if len(request.id) != 16 or not 1 <= len(request.route.encode()) <= 32 or len(request.key) > 64:
            raise Violation("field")
        if request.compression:
            raise Violation("field")
        response = link.Response(id=request.id, outcome=link.REFUSED)
        if request.route != "echo":
            response.code = REFUSALS["no_route"]
        elif len(request.payload) + 64 > GRANT_BYTES:
            response.code = REFUSALS["too_large"]
        else:
            response = link.Response(id=request.id, payload=request.payload)
        self.send(link.Frame(response=response))

    def room(self, kind, asked):
        """Rooms are not served yet (2)."""
        if not 1 <= len(asked.room) <= 64:
            raise Violation("field")
        if kind == "join":
            self.send(link.Frame(joined=link.Joined(room=asked.room, code=REFUSALS["no_route"])))
        else:
            self.send(link.Frame(left=link.Left(room=asked.room)))


def good_auth(auth):
    """Section 9's bounds."""
    resume = auth.resume
    return (
        len(auth.token) <= wire.TOKEN_LEN_MAX
        and len(auth.user) <= 64
        and 1 <= len(auth.device) <= 64
        and len(auth.agent.encode()) <= 64
        and len(auth.signature) in (0, 64)
        and len(auth.dictionary) <= 8
        and all(len(dictionary) == 32 for dictionary in auth.dictionary)
        and (not auth.HasField("resume") or good_resume(resume))
    )


def good_resume(resume):
    """The length counts what is unknown in there, too."""
    return resume.ByteSize() <= 128 and len(resume.session) == 16 and len(resume.proof) == 32
