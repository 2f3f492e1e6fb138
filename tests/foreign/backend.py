"""A backend of the access gateway, written from protocol/SPEC.md alone: serves the route `echo`.

Over a Unix socket in clear (`--unix PATH`), or over TCP with KK (`--tcp ADDR --key FILE --gateway-key HEX`).
"""

import argparse
import collections
import os
import select
import socket
import struct
import sys
import threading
import time

import wire
from wire import CLEAR, CODES, REFUSALS, Records, Violation, stream

CREDIT = 1 << 20
COST = 64
GLITCHES = 1_000
HELLO_LEN_MAX = 4_096
BALANCE_END = 1 << 63


class Backend(Records):
    """One stream. `serve` runs until it ends; `answer(request)` gives the response to a request.

    `answer` may give None and `respond` be called later, by any thread. `judge(authenticate)` does the same for
    verdicts. A bad field about one link is answered as section 12 says, and the stream goes on.
    """

    def __init__(
        self,
        sock,
        answer,
        *,
        judge=None,
        key=None,
        gateway_keys=(),
        instance=None,
        boot=None,
        credit=CREDIT,
        frame_len_max=wire.FRAME_LEN_MAX,
    ):
        noise = accept(sock, key, gateway_keys)
        super().__init__(sock, noise, stream.Frame)
        self.frame_len_max = frame_len_max
        self.answer = answer
        self.judge = judge or (lambda _: stream.AuthResult())
        self.instance = instance or b"python-%d" % os.getpid()
        self.boot = boot or BOOT
        self.hello = None
        self.balance = 0
        self.waiting = collections.deque()
        self.credit = self.granted = credit
        self.owed = 0
        self.links = {}
        self.detached = {}
        self.served = 0
        self.draining = False
        self.close_code = None
        self.glitches = collections.deque(maxlen=GLITCHES + 1)
        self.lock = threading.RLock()

    def serve(self):
        try:
            while self.close_code is None:
                self.take(self.receive())
        except (wire.Silence, OSError):
            pass
        except Violation as broken:
            if (name := wire.CLOSES.get(broken.error)) is not None:
                self.close_code = CODES[name]
                self.finish(stream.Frame(close=stream.Close(code=self.close_code, text=broken.error)))
        self.sock.close()

    def receive(self):
        """The next frame; sends a heartbeat when nothing comes (11.9)."""
        while (frame := self.take_frame()) is None:
            if not self.readable():
                self.send(stream.Frame(ping=stream.Ping()))
                if not self.readable():
                    raise Violation("heartbeat_timeout")
            self.open_record()
        return frame

    def readable(self):
        interval = (self.hello and self.hello.heartbeat_ms or 5_000) / 1_000
        return bool(select.select([self.sock], [], [], interval)[0])

    def record_len_max_in(self):
        return wire.RECORD_LEN_MAX if self.hello else HELLO_LEN_MAX

    def send_plain(self, plaintext, plain_max=None):
        with self.lock:
            super().send_plain(plaintext, plain_max)

    def take(self, frame):
        kind = frame.WhichOneof("kind")
        if (kind == "hello") != (self.hello is None) and kind != "close":
            raise Violation("unexpected")
        if kind == "hello":
            self.open(frame.hello)
        elif kind == "request":
            self.request(frame.request)
        elif kind == "authenticate":
            self.authenticate(frame.authenticate)
        elif kind == "credit":
            with self.lock:
                if self.balance + frame.credit.bytes >= BALANCE_END:
                    raise Violation("field")
                self.balance += frame.credit.bytes
            self.flush()
        elif kind == "ping":
            self.send(stream.Frame(pong=stream.Pong(nonce=frame.ping.nonce)))
        elif kind == "report":
            self.reported(frame.report)
        elif kind in ("link_opened", "link_detached", "link_closed"):
            self.presence(kind, getattr(frame, kind))
        elif kind == "link_resumed":
            for resumed in frame.link_resumed.links:
                self.forget(resumed.old_link)
        elif kind == "close":
            if len(frame.close.text.encode()) > 128:
                raise Violation("field")
            self.close_code = frame.close.code
        elif kind is None:
            self.glitch()
        elif kind not in FROM_GATEWAY:
            raise Violation("unexpected")
        # Everything else needs no answer from a backend that only echoes.

    def glitch(self):
        """A stream lives for months, so what counts is how many unknown frames one minute has."""
        self.glitches.append(time.monotonic())
        if len(self.glitches) > GLITCHES and self.glitches[-1] - self.glitches[0] < 60:
            raise Violation("glitches")

    def open(self, hello):
        frame_len_max = min(hello.frame_len_max or wire.FRAME_LEN_MAX, wire.FRAME_LEN_MAX_DOWN)
        if (
            len(hello.boot_id) != 16
            or len(hello.gateway.encode()) > 64
            or hello.worker > 4_095
            or frame_len_max < 4_096
            or not 2 * (frame_len_max + COST) <= hello.credit < BALANCE_END
            or hello.heartbeat_ms and not 100 <= hello.heartbeat_ms <= 3_600_000
        ):
            raise Violation("field")
        self.hello = hello
        self.balance = hello.credit
        ready = stream.Ready(instance=self.instance, routes=["echo"], credit=self.credit, boot=self.boot)
        ready.frame_len_max = self.frame_len_max
        self.send(stream.Frame(ready=ready))

    def request(self, request):
        """The credit of a bad one is returned as that of any other. It must have been there (11.4)."""
        cost = len(request.payload) + COST
        with self.lock:
            if cost > self.granted:
                raise Violation("credit")
            self.granted -= cost
            self.owed += cost
        if request.call == 0:
            raise Violation("field")
        self.served += 1
        if not good_request(request):
            response = refused("malformed")
        else:
            response = refused("draining") if self.draining else self.answer(request)
        if response is not None:
            self.respond(request, response)

    def respond(self, request, response):
        response.call = request.call
        response.trace = request.trace
        self.spend(response.payload, stream.Frame(response=response))

    def push(self, push):
        self.spend(push.payload, stream.Frame(push=push))

    def spend(self, payload, frame):
        """Sends a frame that costs credit as soon as there is enough."""
        with self.lock:
            self.waiting.append((len(payload) + COST, frame))
        self.flush()

    def drain(self, deadline_ms=0):
        """Asks for no more; what is here is answered, and what was on its way is refused (11.5)."""
        with self.lock:
            self.draining = True
            self.send(stream.Frame(draining=stream.Draining(deadline_ms=deadline_ms)))

    def leave(self):
        """Says goodbye, from any thread; `serve` reads on until the gateway's end of bytes, which may be here first."""
        with self.lock:
            self.send(stream.Frame(close=stream.Close(code=CODES["normal"])))
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def reported(self, report):
        """One with a number of its own comes again after a redial, until it is acknowledged (11.6)."""
        if report.report:
            self.send(stream.Frame(report_ack=stream.ReportAck(report=report.report)))

    def presence(self, kind, about):
        """Keeps the links that are told, and which of them wait for their session's next one (11.7).

        A bad frame about one is skipped.
        """
        if kind == "link_opened" and good_link_opened(about):
            self.links[about.link] = about
        elif kind == "link_detached" and len(about.session) == 16 and len(about.unacknowledged) <= 64:
            self.detached[about.link] = about
        elif kind == "link_closed" and names_a_link(about):
            self.forget(about.link)

    def forget(self, link):
        self.links.pop(link, None)
        self.detached.pop(link, None)

    def authenticate(self, authenticate):
        if authenticate.call == 0:
            raise Violation("field")
        verdict = self.judge(authenticate) if good_authenticate(authenticate) else stream.AuthResult()
        if verdict is not None:
            self.give(authenticate, verdict)

    def give(self, authenticate, verdict):
        answer = stream.AuthResult()
        answer.CopyFrom(verdict)
        answer.call = authenticate.call
        self.send(stream.Frame(auth_result=answer))

    def flush(self):
        """Sends what the balance allows; what is not covered waits for the next grant."""
        with self.lock:
            frames = []
            if self.owed > self.credit // 4:
                frames.append(stream.Frame(credit=stream.Credit(bytes=self.owed)))
                self.granted += self.owed
                self.owed = 0
            while self.waiting and self.waiting[0][0] <= self.balance:
                cost, frame = self.waiting.popleft()
                self.balance -= cost
                frames.append(frame)
            if frames:
                self.send(*frames)


BOOT = os.urandom(16)
FROM_GATEWAY = {
    *("request", "credit", "ping", "pong", "report", "link_opened", "link_detached", "link_closed", "hello"),
    *("authenticate", "close", "pad", "link_resumed", "draining", "announced"),
    *("room_result", "room_ask", "room_events", "room_count"),
}


def good_request(request):
    """Section 12's bounds of a request."""
    return (
        len(request.id) == 16
        and 1 <= len(request.user) <= 64
        and 1 <= len(request.device) <= 64
        and 1 <= len(request.route.encode()) <= 32
        and len(request.key) <= 64
        and len(request.session) in (0, 16)
        and len(request.realm.encode()) <= 64
    )


def good_authenticate(authenticate):
    """Section 12's bounds of a question for a verdict."""
    return (
        len(authenticate.token) <= wire.TOKEN_LEN_MAX
        and 1 <= len(authenticate.device) <= 64
        and len(authenticate.user) <= 64
        and len(authenticate.handshake) == 32
        and len(authenticate.peer_key) in (0, 32)
        and len(authenticate.address) in (0, 4, 16)
        and len(authenticate.signature) in (0, 64)
        and len(authenticate.realm.encode()) <= 64
    )


def names_a_link(about):
    """Section 12's bounds of what `LinkOpened` and `LinkClosed` have both."""
    return 1 <= len(about.user) <= 64 and 1 <= len(about.device) <= 64 and len(about.session) == 16


def good_link_opened(opened):
    return (
        names_a_link(opened)
        and len(opened.address) in (0, 4, 16)
        and len(opened.agent.encode()) <= 64
        and len(opened.peer_key) in (0, 32)
        and len(opened.realm.encode()) <= 64
    )


def refused(reason):
    return stream.Response(refused=True, status=REFUSALS[reason])


def accept(sock, key, gateway_keys, ephemeral=None):
    """Answers a hello (3.1, 11.1, 11.2). Returns the finished handshake, None for a clear stream.

    `ephemeral` is given in tests only; else it is random.
    """
    if key is None:
        return accept_clear(sock)
    listener = wire.Listener(key, wire.KK, wire.KK_AESGCM)
    try:
        suite, fixed, ticket, message_1 = listener.read_hello(sock)
    except wire.Turned as turned:
        sock.sendall(listener.reply(turned.reason))
        raise
    remote = next((known for known in gateway_keys if wire.key_id(known) == ticket), None)
    if remote is None:
        raise Violation("gate")
    noise = listener.open(suite, fixed, ticket, message_1, local=key, remote=remote, ephemeral=ephemeral)
    return listener.answer(sock, noise)


def accept_clear(sock):
    """A socket file may be anybody's, so each end looks who the other is; on loopback nobody can."""
    if sock.family == socket.AF_UNIX:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] not in (0, os.geteuid()):
            raise Violation("peer")
    if wire.read_exactly(sock, 32) != wire.fixed_part(CLEAR, b"") + bytes(16):
        raise Violation("preamble")


def echo(request):
    if request.route != "echo":
        return refused("no_route")
    return stream.Response(payload=request.payload)


def run(sock, **keys):
    try:
        Backend(sock, echo, **keys).serve()
    except (wire.Silence, wire.Turned, Violation, OSError) as ended:
        print(f"stream ended: {ended}", file=sys.stderr)
        sock.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--unix", metavar="PATH")
    where.add_argument("--tcp", metavar="HOST:PORT")
    parser.add_argument("--key", help="file with this backend's private key, 64 hex digits (with --tcp)")
    parser.add_argument("--gateway-key", action="append", default=[], help="public key of a gateway (with --tcp)")
    options = parser.parse_args()
    keys = {}
    if options.unix:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(options.unix)
    else:
        host, port = options.tcp.rsplit(":", 1)
        listener = socket.create_server((host, int(port)))
        with open(options.key, encoding="utf-8") as file:
            key = bytes.fromhex(file.read().strip())
        keys = {"key": key, "gateway_keys": [bytes.fromhex(k) for k in options.gateway_key]}
    listener.listen()
    print("listening", flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=run, args=(sock,), kwargs=keys, daemon=True).start()


if __name__ == "__main__":
    main()
