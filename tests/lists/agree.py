#!/usr/bin/env python3
"""Compares lookups in lists of addresses with those of Python's `ipaddress`, on 100,000 random cases.

tests/lists/agree.py COVERS [--cases N] [--seed N]

COVERS is the built example `covers` of the gateway. Blocks are written as people do: with bits behind the prefix, mapped, in
upper case. Ends with 1 and the first differences if there are any.
"""

import argparse
import ipaddress
import random
import subprocess
import sys

BLOCKS = 400
MAPPED = 96


def near(rng, bits, anchors):
    """A number of so many bits that has its first ones in common with others, so that blocks and addresses meet."""
    keep = rng.randrange(bits + 1)
    mask = (1 << bits) - (1 << (bits - keep))
    return rng.choice(anchors) & mask | rng.getrandbits(bits) & ~mask & ((1 << bits) - 1)


def canonical(net):
    """What lies within ::ffff:0:0/96 is IPv4."""
    if net.version == 6 and net.prefixlen >= MAPPED and net.network_address.ipv4_mapped:
        return ipaddress.IPv4Network((net.network_address.ipv4_mapped, net.prefixlen - MAPPED))
    return net


def block(rng, anchors):
    """A block as text, with whatever bits behind its prefix."""
    if rng.random() < 0.5:
        return f"{ipaddress.IPv4Address(near(rng, 32, anchors[4]))}/{rng.randrange(33)}"
    if rng.random() < 0.2:
        address = ipaddress.IPv6Address(0xFFFF << 32 | near(rng, 32, anchors[4]))
        return f"{address}/{rng.randrange(80, 129)}"
    text = f"{ipaddress.IPv6Address(near(rng, 128, anchors[6]))}"
    return f"{text.upper() if rng.random() < 0.3 else text}/{rng.randrange(129)}"


def address(rng, anchors):
    kind = rng.random()
    if kind < 0.45:
        return ipaddress.IPv4Address(near(rng, 32, anchors[4]))
    if kind < 0.6:
        return ipaddress.IPv6Address(0xFFFF << 32 | near(rng, 32, anchors[4]))
    return ipaddress.IPv6Address(near(rng, 128, anchors[6]))


def longest(nets, wanted):
    wanted = getattr(wanted, "ipv4_mapped", None) or wanted
    held = [net.prefixlen for net in nets if net.version == wanted.version and wanted in net]
    return str(max(held)) if held else "-"


def one_list(covers, rng, count):
    anchors = {4: [rng.getrandbits(32) for _ in range(6)], 6: [rng.getrandbits(128) for _ in range(6)]}
    # Few lists are so short that most addresses are in none of their blocks.
    texts = [block(rng, anchors) for _ in range(rng.randrange(1, BLOCKS))]
    addresses = [address(rng, anchors) for _ in range(count)]
    said = subprocess.run(
        [covers], input="\n".join(texts) + "\n\n" + "\n".join(map(str, addresses)) + "\n",
        capture_output=True, text=True, check=True,
    ).stdout.split()
    nets = [canonical(ipaddress.ip_network(text, strict=False)) for text in texts]
    return [(str(at), one, other) for at, one, other in zip(addresses, said, (longest(nets, at) for at in addresses), strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("covers")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    given = parser.parse_args()
    rng, each = random.Random(given.seed), 500
    cases = [case for _ in range(given.cases // each) for case in one_list(given.covers, rng, each)]
    differ = [case for case in cases if case[1] != case[2]]
    for at, said, expected in differ[:10]:
        print(f"{at}: {said}, and Python says {expected}")
    unlisted = sum(expected == "-" for _, _, expected in cases)
    print(f"{len(cases)} cases, {len(differ)} differ, {unlisted} on no list, seed {given.seed}")
    # Both answers have to have been tried.
    sys.exit(1 if differ or not len(cases) // 50 < unlisted < len(cases) * 49 // 50 else 0)


if __name__ == "__main__":
    main()
