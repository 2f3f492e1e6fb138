"""What the tests share: where the gateway is, what they expect of it, and how they are run.

Prints one line per test and `N passed, N failed`. Every test opens its own links; each read has a deadline.
"""

import secrets
import time
import traceback

import wire
from client import Client, Closed, dial
from wire import CODES, REASONS

UNKNOWN = b"\xf2\x07\x03abc"  # a frame of kind 126


class LeftOut(Exception):
    """The test has nothing to look at here; the reason is printed."""


def test(function):
    """Marks a test. The name says what it looks at."""
    function.is_test = True
    return function


def marked(modules):
    """The tests of these modules, in their order."""
    for module in modules:
        for function in list(vars(module).values()):
            if getattr(function, "is_test", False) and function.__module__ == module.__name__:
                yield function


class Target:
    """Where the gateway is and how to get in."""

    def __init__(self, ready):
        self.address = ready["listen"]
        self.key = bytes.fromhex(ready["server_key"])
        self.token = ready["token"].encode()
        self.is_loopback = False
        self.suites = wire.suite_set(wire.NK, wire.NK_AESGCM, wire.IK, wire.IK_AESGCM, wire.TICKET, wire.TICKET_AESGCM)

    def connect(self, suite=wire.NK, **keys):
        return Client(self.address, self.key, suite, **keys)

    def login(self, suite=wire.NK, **keys):
        client = self.connect(suite, **keys)
        # A device of its own, or the link would replace another test's.
        client.login(self.token, b"foreign", a_device())
        return client

    def with_tickets(self, suite=wire.NK, **keys):
        """Tickets of a login that is over: device, tickets."""
        device = a_device()
        client = self.connect(suite, **keys)
        tickets = client.login(self.token, b"foreign", device).tickets
        client.close()
        if not tickets:
            raise LeftOut("the gateway gives no tickets")
        return device, tickets


def a_device():
    return secrets.token_hex(8).encode()


def expect(what, holds):
    if not holds:
        raise AssertionError(what)


def named(name, check, *arguments, **fields):
    """The check of one case out of many, whose name then stands in what failed."""
    try:
        return check(*arguments, **fields)
    except (AssertionError, Closed, wire.Silence, wire.Violation, TimeoutError) as broken:
        raise AssertionError(f"{name}: {broken!r}") from broken


def expect_close(client, name):
    """The next frames end in `Close` with this code; returns it."""
    code = CODES[name]
    try:
        while True:
            client.receive()
    except Closed as closed:
        expect(f"close code {code}, got {closed.code}", closed.code == code)
        return closed.close


def expect_silence(sock, *sent):
    """The gateway closes without a byte; it may do so before it has read all the pieces of `sent`."""
    sock.settimeout(15)
    try:
        for piece in sent:
            sock.sendall(piece)
        answer = sock.recv(1)
    except (ConnectionResetError, BrokenPipeError):
        answer = b""
    expect(f"silence, got {answer!r}", answer == b"")
    sock.close()


def expect_clear_reply(target, reason, *sent):
    """The gateway answers exactly what 3.2 says, byte by byte, and closes."""
    sock = dial(target.address)
    for piece in sent:
        sock.sendall(piece)
    reply = wire.read_exactly(sock, 16)
    offer = wire.offer(1 << wire.VERSION, target.suites)
    want = wire.MAGIC + bytes([1, REASONS[reason]]) + offer + wire.key_id(target.key) + bytes(2)
    expect(f"{want.hex()}, got {reply.hex()}", reply == want)
    expect_silence(sock)


def pieces(data, *cuts):
    """The bytes, cut at these places."""
    ends = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in zip(ends, ends[1:])]


def run(target, only, *modules):
    """Runs the tests of these modules whose name contains `only`; returns how many failed."""
    passed = failed = 0
    for function in marked(modules):
        if only not in function.__name__:
            continue
        start = time.monotonic()
        try:
            function(target)
        except LeftOut as reason:
            print(f"left out: {function.__name__}: {reason}", flush=True)
            continue
        except Exception:
            failed += 1
            print(f"FAILED   {function.__name__}", flush=True)
            traceback.print_exc(limit=-6)
        else:
            passed += 1
            print(f"ok       {function.__name__} ({time.monotonic() - start:.2f} s)", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    return failed
