"""A tiny gateway in Python that echoes by itself: what the client and its tests are tried on without the real one.

It follows protocol/SPEC.md where test_foreign.py looks, and no further: development auth, no backends, no limits.
"""

import secrets
import select
import socket
import struct
import threading

import wire
from wire import Records, Violation, link

CODES = {
    "record_empty": 4,
    "frame_empty": 4,
    "frame_encoding": 4,
    "field": 4,
    "record_length": 5,
    "frame_length": 5,
    "unexpected": 6,
    "auth_failed": 7,
    "glitches": 15,
}
UP = ("auth", "request", "ack", "ping", "join", "leave", "close")
TICKET_PSK_LEN = 32


class Loopback:
    """Listens on a port of 127.0.0.1 as soon as it is made."""

    def __init__(self):
        self.private = secrets.token_bytes(32)
        self.public = wire.public_of(self.private)
        self.token = secrets.token_hex(16)
        self.suites = sum(1 << suite for suite in (1, 2, 3, 4, 7, 8))
        self.tickets = {}
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    def target(self):
        """What the real gateway writes into its ready file."""
        host, port = self.listener.getsockname()
        return {"listen": f"{host}:{port}", "server_key": self.public.hex(), "token": self.token}

    def accept(self):
        while True:
            sock, _ = self.listener.accept()
            threading.Thread(target=self.run, args=(sock,), daemon=True).start()

    def run(self, sock):
        sock.settimeout(10)
        try:
            if (noise := self.respond(sock)) is not None:
                Link(self, sock, noise).serve()
        except (wire.Silence, Violation, OSError):
            pass
        sock.close()

    def respond(self, sock):
        """Answers a hello (3.1): the finished handshake, or None after the clear reply. Raises for silence."""
        preamble = sock.recv(4, socket.MSG_PEEK)
        if not wire.MAGIC.startswith(preamble[:4]):
            raise Violation("magic")
        preamble = wire.read_exactly(sock, 32)
        fixed, tag, version, suite = preamble[:16], preamble[16:], preamble[4], preamble[5]
        (ticket_len,) = struct.unpack(">H", fixed[14:])
        if version == 0 or ticket_len > 320:
            raise Violation("preamble")
        ticket = wire.read_exactly(sock, ticket_len)
        (length,) = struct.unpack(">H", wire.read_exactly(sock, 2))
        known = version == 1 and suite in wire.SUITES
        if length != wire.SUITES[suite][2] if known else not 1 <= length <= 96:
            raise Violation("handshake_length")
        message_1 = wire.read_exactly(sock, length)
        if fixed[6:10] != wire.key_id(self.public) or tag != wire.gate_tag(self.public, fixed, ticket, message_1):
            raise Violation("gate")
        if version != 1 or not self.suites >> suite & 1:
            reason = 1 if version != 1 else 2
            offer = struct.pack(">HH", 1 << 1, self.suites)
            sock.sendall(wire.MAGIC + bytes([1, reason]) + offer + wire.key_id(self.public) + bytes(2))
            return None
        psk = self.tickets.get(ticket)
        is_ticket = wire.SUITES[suite][0] == "NNpsk0"
        if is_ticket != (ticket_len > 0) or is_ticket and psk is None:
            raise Violation("ticket")
        if select.select([sock], [], [], 0)[0]:
            raise Violation("early")
        noise = wire.handshake(suite, False, fixed, ticket, local=None if is_ticket else self.private, psk=psk)
        try:
            noise.read_message(message_1)
        except Exception as broken:
            raise Violation("handshake") from broken
        message_2 = bytes(noise.write_message(struct.pack(">HH", 1 << 1, self.suites)))
        sock.sendall(struct.pack(">H", len(message_2)) + message_2)
        noise.by_ticket = is_ticket
        return noise


class Link(Records):
    """One link, from message 2 to its end."""

    def __init__(self, gateway, sock, noise):
        super().__init__(sock, noise, link.Frame)
        self.gateway = gateway
        self.open = False
        self.frame_len_max = 4_096
        self.glitches = 0

    def record_len_max_in(self):
        return 16_384 if self.open else wire.RECORD_LEN_MAX_UNAUTHENTICATED

    def serve(self):
        try:
            while self.take(self.receive()):
                pass
        except Violation as broken:
            if broken.error in CODES:
                close = link.Close(code=CODES[broken.error], text=broken.error)
                self.finish(link.Frame(close=close))

    def take(self, frame):
        """Handles a frame; whether the link goes on."""
        kind = frame.WhichOneof("kind")
        if kind == "close":
            return False
        if kind is None and self.open:
            self.glitches += 1
            if self.glitches > 100:
                raise Violation("glitches")
        elif kind not in UP or (kind == "auth") == self.open:
            raise Violation("unexpected")
        elif kind == "auth":
            self.auth(frame.auth)
        elif kind == "request":
            self.request(frame.request)
        elif kind == "ping":
            self.send(link.Frame(pong=link.Pong(nonce=frame.ping.nonce)))
        return True

    def auth(self, auth):
        if not 1 <= len(auth.device) <= 64 or len(auth.user) > 64 or len(auth.token) > 2048:
            raise Violation("field")
        good = self.noise.by_ticket if not auth.token else auth.token == self.gateway.token.encode() and auth.user
        if not good:
            raise Violation("auth_failed")
        self.open = True
        self.frame_len_max = wire.FRAME_LEN_MAX
        tickets = [self.ticket(), self.ticket()]
        self.send(
            link.Frame(
                welcome=link.Welcome(
                    session=secrets.token_bytes(16),
                    secret=secrets.token_bytes(32),
                    tickets=tickets,
                    server_keys=[link.ServerKey(key=self.gateway.public)],
                    grant_requests=32,
                    grant_bytes=262_144,
                    heartbeat_ms=120_000,
                    heartbeat_min_ms=60_000,
                    heartbeat_max_ms=300_000,
                    frame_len_max=65_536,
                    record_len_max=16_384,
                    user=auth.user,
                )
            )
        )

    def ticket(self):
        ticket, psk = secrets.token_bytes(100), secrets.token_bytes(TICKET_PSK_LEN)
        self.gateway.tickets[ticket] = psk
        return link.Ticket(ticket=ticket, psk=psk)

    def request(self, request):
        if len(request.id) != 16 or not 1 <= len(request.route.encode()) <= 32 or len(request.key) > 64:
            raise Violation("field")
        if request.route == "echo":
            response = link.Response(id=request.id, payload=request.payload)
        else:
            response = link.Response(id=request.id, outcome=link.REFUSED, code=2)
        self.send(link.Frame(response=response))
