"""Sections 3 to 5 at a running gateway: the gate, the clear reply, tickets. Run by test_foreign.py."""

import os
import secrets
import struct

import wire
from checks import LeftOut, expect, expect_clear_reply, expect_close, expect_silence, pieces, test
from client import dial


@test
def a_ticket_replaces_the_token(target):
    device, tickets = target.with_tickets()
    for suite, ticket in zip((wire.TICKET, wire.TICKET_AESGCM), tickets):
        expect("32 bytes of psk", len(ticket.psk) == 32)
        client = target.connect(suite, ticket=ticket.ticket, psk=ticket.psk)
        client.login(b"", b"foreign", device)
        expect("echo", client.request("echo", b"again").payload == b"again")
        client.close()


@test
def the_user_need_not_be_named_beside_a_ticket(target):
    device, tickets = target.with_tickets()
    client = target.connect(wire.TICKET, ticket=tickets[0].ticket, psk=tickets[0].psk)
    expect("the ticket names the user", client.login(b"", b"", device).user == b"foreign")
    client.close()


@test
def the_length_of_a_ticket_tells_nothing(target):
    lengths = set()
    for user, device in ((b"u", b"d"), (b"u" * 64, secrets.token_hex(32).encode())):
        client = target.connect()
        lengths |= {len(ticket.ticket) for ticket in client.login(target.token, user, device).tickets}
        client.close()
    if not lengths:
        raise LeftOut("the gateway gives no tickets")
    expect(f"356 bytes each, got {lengths}", lengths == {356})


@test
def a_ticket_with_a_flipped_byte_is_refused_in_clear(target):
    _, tickets = target.with_tickets()
    ticket = tickets[0].ticket
    for at in (0, len(ticket) // 2, len(ticket) - 1):
        broken = bytearray(ticket)
        broken[at] ^= 1
        hello, _ = wire.hello(wire.TICKET, target.key, ticket=bytes(broken), psk=tickets[0].psk)
        expect_clear_reply(target, "ticket_refused", hello)
    for other in (b"x", bytes(512)):
        hello, _ = wire.hello(wire.TICKET, target.key, ticket=other, psk=bytes(32))
        expect_clear_reply(target, "ticket_refused", hello)


@test
def a_ticket_with_a_wrong_psk_meets_silence(target):
    _, tickets = target.with_tickets()
    hello, _ = wire.hello(wire.TICKET, target.key, ticket=tickets[0].ticket, psk=bytes(32))
    expect_silence(dial(target.address), hello)


@test
def a_hello_with_a_ticket_is_heard_once(target):
    _, tickets = target.with_tickets()
    hello, noise = wire.hello(wire.TICKET, target.key, ticket=tickets[0].ticket, psk=tickets[0].psk)
    sock = dial(target.address)
    sock.sendall(hello)
    wire.read_message_2(lambda n: wire.read_exactly(sock, n), noise, wire.TICKET)
    sock.close()
    expect_silence(dial(target.address), hello)


@test
def a_ticket_field_that_is_too_long_meets_silence(target):
    ticket = bytes(513)
    fixed = wire.fixed_part(wire.TICKET, target.key, ticket)
    expect_silence(dial(target.address), wire.gated(target.key, fixed, ticket, os.urandom(48)))


@test
def a_ticket_suite_without_a_ticket_meets_silence(target):
    hello, _ = wire.hello(wire.TICKET, target.key, psk=bytes(32))
    expect_silence(dial(target.address), hello)


@test
def a_ticket_is_good_for_its_own_user_and_device_and_without_a_token(target):
    device, tickets = target.with_tickets()
    cases = [(target.token, b"foreign", device), (b"", b"somebody", device), (b"", b"foreign", b"another")]
    for token, user, other in cases:
        client = target.connect(wire.TICKET, ticket=tickets[0].ticket, psk=tickets[0].psk)
        client.send(client.auth(token, user, other))
        close = expect_close(client, "auth_failed")
        expect("the client may come back", not close.do_not_reconnect)


@test
def a_wrong_gate_tag_meets_silence(target):
    for bit in (0, 127):
        hello, _ = wire.hello(wire.NK, target.key)
        hello = bytearray(hello)
        hello[16 + bit // 8] ^= 1 << bit % 8
        expect_silence(dial(target.address), bytes(hello))


@test
def another_servers_key_meets_silence(target):
    hello, _ = wire.hello(wire.NK, wire.public_of(os.urandom(32)))
    expect_silence(dial(target.address), hello)


@test
def a_message_1_that_does_not_open_meets_silence(target):
    """The tag is right, so the gateway goes as far as the curve."""
    fixed = wire.fixed_part(wire.NK, target.key)
    message_1 = wire.public_of(os.urandom(32)) + bytes(16)
    expect_silence(dial(target.address), wire.gated(target.key, fixed, b"", message_1))


@test
def a_ticket_where_the_suite_has_none_meets_silence(target):
    ticket = bytes(16)
    fixed = wire.fixed_part(wire.NK, target.key, ticket)
    noise = wire.handshake(wire.NK, True, fixed, ticket, remote=target.key)
    message_1 = bytes(noise.write_message(b""))
    expect_silence(dial(target.address), wire.gated(target.key, fixed, ticket, message_1))


@test
def what_is_used_and_not_offered_meets_silence(target):
    others = wire.suite_set(wire.NK_AESGCM, wire.IK)
    for fields in ({"versions": 0}, {"versions": 1 << 2}, {"suites": 0}, {"suites": others}):
        hello, _ = wire.hello(wire.NK, target.key, **fields)
        expect_silence(dial(target.address), hello)


@test
def more_versions_and_suites_than_needed_may_be_offered(target):
    """Those of the future among them."""
    hello, noise = wire.hello(wire.NK, target.key, versions=0b1111_1110, suites=0xFE_19FE)
    sock = dial(target.address)
    sock.sendall(hello)
    wire.read_message_2(lambda n: wire.read_exactly(sock, n), noise, wire.NK)
    sock.close()


@test
def bytes_behind_message_1_meet_silence(target):
    hello, _ = wire.hello(wire.NK, target.key)
    expect_silence(dial(target.address), hello + b"\0")


@test
def a_hello_without_a_server_key_meets_silence_where_there_is_one(target):
    for suite in wire.UNPINNED:
        hello, _ = wire.hello(suite, None, local=os.urandom(32))
        expect_silence(dial(target.address), hello)


@test
def other_protocols_meet_silence(target):
    tls = bytes.fromhex("16030100c8010000c40303") + bytes(200)
    proxy = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", bytes.fromhex("0d0a0d0a000d0a515549540a")
    for first in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", tls, *proxy, b"\xac\xce\x55\x0b"):
        expect_silence(dial(target.address), first)


@test
def lengths_of_message_1_are_exact(target):
    fixed = wire.fixed_part(wire.NK, target.key)
    for length in (0, 47, 49, 65_535):
        message_1 = bytes(min(length, 96))
        tag = wire.gate_tag(target.key, fixed, b"", message_1)
        expect_silence(dial(target.address), fixed + tag + struct.pack(">H", length), message_1)


# What comes from the future: version, suite, bytes of the ticket field, bytes of message 1, reason.
FUTURE = (
    (wire.VERSION, 11, 0, 4_096, "suite"),
    (wire.VERSION, 16, 0, 81, "suite"),
    (wire.VERSION, 19, 1_024, 4_096, "suite"),
    (wire.VERSION, 200, 1_024, 4_096, "suite"),
    (wire.VERSION, 255, 0, 1, "suite"),
    (2, wire.NK, 1_024, 4_096, "version"),
    (2, 200, 0, 1, "version"),
    (255, wire.TICKET, 5, 300, "version"),
)


def future_hello(public, version, suite, ticket_len, length):
    """A hello with a good tag, of a client whose sets say nothing that is known today."""
    ticket = os.urandom(ticket_len)
    fixed = wire.fixed_part(suite, public, ticket, version=version, versions=1 << 7, suites=1 << 23)
    return wire.gated(public, fixed, ticket, os.urandom(length))


@test
def clients_from_the_future_get_the_clear_reply(target):
    for version, suite, ticket_len, length, reason in FUTURE:
        expect_clear_reply(target, reason, future_hello(target.key, version, suite, ticket_len, length))


@test
def clients_from_the_future_may_send_their_hello_in_pieces(target):
    for version, suite, ticket_len, length, reason in FUTURE:
        hello = future_hello(target.key, version, suite, ticket_len, length)
        cuts = (3, 4, 16, 31, 32, 33, 32 + ticket_len, 33 + ticket_len, 34 + ticket_len, 2_048, len(hello) - 1)
        expect_clear_reply(target, reason, *pieces(hello, *cuts))


@test
def clients_from_the_future_without_a_good_tag_meet_silence(target):
    """The tag is the last to be looked at, so a wrong bit anywhere in the hello shows in it."""
    for version, suite, ticket_len, length, _ in FUTURE:
        hello = future_hello(target.key, version, suite, ticket_len, length)
        for at in (6, 11, 16, 31, 34, len(hello) - 1):
            broken = bytearray(hello)
            broken[at] ^= 0x80
            expect_silence(dial(target.address), bytes(broken))


@test
def clients_from_the_future_that_mean_another_server_meet_silence(target):
    stranger = wire.public_of(os.urandom(32))
    for future in FUTURE:
        expect_silence(dial(target.address), future_hello(stranger, *future[:4]))


@test
def clients_from_the_future_send_nothing_behind_message_1(target):
    for future in FUTURE:
        expect_silence(dial(target.address), future_hello(target.key, *future[:4]) + b"\0")


@test
def hellos_from_the_future_have_bounds(target):
    """One byte too many, or none, and the rest is not awaited."""
    for version, suite in ((wire.VERSION, 200), (2, wire.NK)):
        for ticket_len, length in ((1_025, 4_096), (65_535, 48), (0, 4_097), (1_024, 4_097), (0, 65_535), (0, 0)):
            ticket = bytes(ticket_len)
            fixed = wire.fixed_part(suite, target.key, ticket, version=version, suites=1 << 23)
            sent = fixed + bytes(16)
            if ticket_len <= 1_024:
                sent += ticket + struct.pack(">H", length)
            expect_silence(dial(target.address), sent)


@test
def version_0_meets_silence(target):
    hello = future_hello(target.key, 0, wire.NK, 0, 48)
    expect_silence(dial(target.address), hello)


@test
def the_suites_of_streams_are_not_allowed_on_a_link(target):
    ticket = os.urandom(4)
    for suite in (wire.KK, wire.KK_AESGCM):
        fixed = wire.fixed_part(suite, target.key, ticket)
        expect_clear_reply(target, "suite", wire.gated(target.key, fixed, ticket, os.urandom(48)))


@test
def a_clear_hello_on_a_link_meets_silence(target):
    clear = wire.fixed_part(wire.CLEAR, b"") + bytes(16)
    expect_silence(dial(target.address), clear + bytes(2))
    fixed = clear[:6] + wire.key_id(target.key) + clear[10:16]
    expect_silence(dial(target.address), wire.gated(target.key, fixed, b"", b"x"))


@test
def a_hello_in_single_bytes_is_a_hello(target):
    sock = dial(target.address)
    hello, noise = wire.hello(wire.NK, target.key)
    for byte in hello:
        sock.sendall(bytes([byte]))
    wire.read_message_2(lambda n: wire.read_exactly(sock, n), noise, wire.NK)
    sock.close()
