"""A client of the access gateway, written from protocol/SPEC.md alone."""

import argparse
import json
import os
import secrets
import socket

import wire
from wire import Records, link


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


class Client(Records):
    """One link. The constructor makes the handshake; `login` authenticates."""

    def __init__(self, address, server_key, suite=wire.NK, *, device_key=None, ticket=b"", psk=None, sock=None):
        sock = sock or dial(address)
        bytes_1, noise = wire.hello(suite, server_key, local=device_key, ticket=ticket, psk=psk)
        sock.sendall(bytes_1)
        super().__init__(sock, noise, link.Frame)
        self.versions, self.suites = wire.read_message_2(self.read, noise, suite)
        self.h = noise.get_handshake_hash()
        self.frame_len_max = wire.FRAME_LEN_MAX_DOWN
        self.frame_len_max_up = wire.FRAME_LEN_MAX
        self.record_len_max = wire.RECORD_LEN_MAX_UNAUTHENTICATED
        self.welcome = None
        self.pushes = []
        self.counter = 0

    def auth(self, token, user=b"", device=b"python", **fields):
        return link.Frame(auth=link.Auth(token=token, user=user, device=device, agent="foreign-python/1", **fields))

    def login(self, token, user=b"", device=b"python", behind=()):
        """Authenticates; `behind` are frames to send in the same flight. Returns `Welcome`."""
        self.send(self.auth(token, user, device), *behind)
        frame = self.receive()
        if frame.WhichOneof("kind") != "welcome":
            raise wire.Violation("unexpected")
        self.welcome = frame.welcome
        self.frame_len_max_up = self.welcome.frame_len_max or wire.FRAME_LEN_MAX
        self.record_len_max = self.welcome.record_len_max or 16_384
        return self.welcome

    def receive(self):
        frame = super().receive()
        if frame.WhichOneof("kind") == "close":
            self.sock.close()
            raise Closed(frame.close)
        return frame

    def wait_for(self, kind):
        """The next frame of a kind. Pushes that come before it are kept, unknown frames skipped."""
        while True:
            frame = self.receive()
            found = frame.WhichOneof("kind")
            if found == kind:
                return getattr(frame, kind)
            if found == "push":
                self.pushes.append(frame.push)
            elif found is not None:
                raise wire.Violation(f"expected {kind}, got {found}")

    def request_frame(self, route, payload, key=b""):
        self.counter += 1
        request = link.Request(
            id=secrets.token_bytes(16), route=route, payload=payload, key=key, counter=self.counter
        )
        return link.Frame(request=request)

    def request(self, route, payload, key=b"", plain_max=None):
        """Sends a request and waits for its response."""
        frame = self.request_frame(route, payload, key)
        self.send(frame, plain_max=plain_max)
        response = self.wait_for("response")
        if response.id != frame.request.id:
            raise wire.Violation("the response names another request")
        return response

    def ping(self, nonce):
        self.send(link.Frame(ping=link.Ping(nonce=nonce)))
        return self.wait_for("pong").nonce

    def close(self, code=1):
        self.finish(link.Frame(close=link.Close(code=code)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target-file", required=True, help="the ready file of `gateway dev`")
    parser.add_argument("--suite", type=int, default=wire.NK, choices=[1, 2, 3, 4])
    parser.add_argument("--user", default="python")
    parser.add_argument("--route", default="echo")
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
    print(f"pong {client.ping(7)}")
    client.close()


if __name__ == "__main__":
    main()
