"""A backend of the access gateway, written from protocol/SPEC.md alone: serves the route `echo`.

Over a Unix socket in clear (`--unix PATH`), or over TCP with KK (`--tcp ADDR --key FILE --gateway-key HEX`).
"""

import argparse
import os
import socket
import struct
import sys
import threading

import wire
from wire import CLEAR, Records, stream

CREDIT = 1 << 20
COST = 64


class Backend(Records):
    """One stream. `serve` runs until it ends; `answer(request)` gives the response to a request."""

    def __init__(self, sock, answer, *, key=None, public=None, gateway_keys=()):
        noise = accept(sock, key, public, gateway_keys)
        super().__init__(sock, noise, stream.Frame)
        self.answer = answer
        self.hello = None
        self.balance = 0
        self.waiting = []
        self.owed = 0
        self.served = 0
        self.close_code = None

    def serve(self):
        try:
            while self.close_code is None:
                self.take(self.receive())
        except wire.Silence:
            pass
        except wire.Violation as broken:
            if broken.error != "record":
                code = 5 if broken.error.endswith("length") else 4
                self.finish(stream.Frame(close=stream.Close(code=code, text=broken.error)))
        self.sock.close()

    def take(self, frame):
        kind = frame.WhichOneof("kind")
        if self.hello is None and kind != "hello" and kind != "close":
            return self.fail(6, f"{kind} before hello")
        if kind == "hello":
            self.open(frame.hello)
        elif kind == "request":
            self.respond(frame.request)
        elif kind == "credit":
            self.balance += frame.credit.bytes
            self.flush()
        elif kind == "ping":
            self.send(stream.Frame(pong=stream.Pong(nonce=frame.ping.nonce)))
        elif kind == "close":
            self.close_code = frame.close.code
        # Everything else needs no answer from a backend that only echoes.

    def open(self, hello):
        if self.hello is not None:
            return self.fail(6, "a second hello")
        self.hello = hello
        self.balance = hello.credit
        ready = stream.Ready(instance=b"python-%d" % os.getpid(), routes=["echo"], credit=CREDIT)
        self.send(stream.Frame(ready=ready))

    def respond(self, request):
        response = self.answer(request)
        response.call = request.call
        response.trace = request.trace
        self.served += 1
        self.owed += len(request.payload) + COST
        self.waiting.append(response)
        self.flush()

    def flush(self):
        frames = []
        if self.owed > CREDIT // 4:
            frames.append(stream.Frame(credit=stream.Credit(bytes=self.owed)))
            self.owed = 0
        while self.waiting and len(self.waiting[0].payload) + COST <= self.balance:
            response = self.waiting.pop(0)
            self.balance -= len(response.payload) + COST
            frames.append(stream.Frame(response=response))
        if frames:
            self.send(*frames)

    def fail(self, code, text):
        self.close_code = code
        self.finish(stream.Frame(close=stream.Close(code=code, text=text)))


def accept(sock, key, public, gateway_keys):
    """Answers a hello (3.1, 11.1, 11.2). Returns the finished handshake, None for a clear stream."""
    preamble = wire.read_exactly(sock, 32)
    fixed, tag = preamble[:16], preamble[16:]
    if fixed[:4] != wire.MAGIC:
        raise wire.Violation("magic")
    if key is None:
        if fixed != wire.fixed_part(CLEAR, b"", suites=1 << CLEAR) or tag != bytes(16):
            raise wire.Violation("preamble")
        return None
    suite, (ticket_len,) = fixed[5], struct.unpack(">H", fixed[14:])
    if fixed[4] != 1 or suite not in (wire.KK, wire.KK_AESGCM) or ticket_len != 4:
        raise wire.Violation("preamble")
    ticket = wire.read_exactly(sock, 4)
    (length,) = struct.unpack(">H", wire.read_exactly(sock, 2))
    if length != wire.SUITES[suite][2]:
        raise wire.Violation("handshake_length")
    message_1 = wire.read_exactly(sock, length)
    if fixed[6:10] != wire.key_id(public) or tag != wire.gate_tag(public, fixed, ticket, message_1):
        raise wire.Violation("gate")
    remote = next((known for known in gateway_keys if wire.key_id(known) == ticket), None)
    if remote is None:
        raise wire.Violation("gate")
    noise = wire.handshake(suite, False, fixed, ticket, local=key, remote=remote)
    noise.read_message(message_1)
    suites = 1 << wire.KK | 1 << wire.KK_AESGCM
    message_2 = bytes(noise.write_message(struct.pack(">HH", 1 << wire.VERSION, suites)))
    sock.sendall(struct.pack(">H", len(message_2)) + message_2)
    return noise


def echo(request):
    if request.route != "echo":
        return stream.Response(refused=True, status=2)
    return stream.Response(payload=request.payload)


def run(sock, **keys):
    try:
        Backend(sock, echo, **keys).serve()
    except (wire.Silence, wire.Violation, OSError) as ended:
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
        keys = {"key": key, "public": wire.public_of(key), "gateway_keys": [bytes.fromhex(k) for k in options.gateway_key]}
    listener.listen()
    print("listening", flush=True)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=run, args=(sock,), kwargs=keys, daemon=True).start()


if __name__ == "__main__":
    main()
