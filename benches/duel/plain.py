#!/usr/bin/env python3
"""What an encrypted echo through a backend costs the gateway, beside a plain echo on a bare ring.

Rounds are interleaved, so that a machine that slows down slows both; the figure to quote is the median of the
ratios. Needs release builds of gateway, loadgen, benches and driver's example plain_echo, and makes them.

    benches/duel/plain.py --links 1 10 100 1000 --rounds 5 --seconds 4
"""

import argparse
import json
import signal
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RELEASE = ROOT / "target" / "release"
READY_DEADLINE_S = 20


class Server:
    """A server that says in a ready file when it is there, and ends with the block."""

    def __init__(self, ready, *command):
        self.ready = ready
        self.child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)

    def __enter__(self):
        end = time.monotonic() + READY_DEADLINE_S
        while not self.ready.exists():
            if self.child.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"not ready: {self.child.args}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(20)


def plain(target, links, seconds, pin):
    output = subprocess.run(
        [RELEASE / "plain_load", "--target-file", target, "--links", str(links), "--seconds", str(seconds), *pin],
        check=True, capture_output=True, text=True)
    return json.loads(output.stdout)["server"]["cpu_us_per_message"]


def encrypted(target, links, seconds, folder, pin, batch=1):
    result = folder / "result.json"
    subprocess.run(
        [RELEASE / "loadgen", "echo", "--target-file", target, "--links", str(links), "--window", "1", "--workers", "1",
         "--batch", str(batch), "--duration", f"{seconds}s", "--json", result, *pin],
        check=True, capture_output=True)
    return json.loads(result.read_text())["gateway"]["cpu_us_per_message"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--links", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "-p", "gateway", "-p", "loadgen", "-p", "benches"], cwd=ROOT, check=True)
    subprocess.run(["cargo", "build", "--release", "-p", "driver", "--example", "plain_echo"], cwd=ROOT, check=True)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bare, gateway = folder / "plain.json", folder / "gateway.json"
        with Server(bare, RELEASE / "examples/plain_echo", "--listen", "127.0.0.1:0", "--ready-file", bare), \
             Server(gateway, RELEASE / "gateway", "dev", "--listen", "127.0.0.1:0", "--workers", "1", "--ready-file", gateway):
            for links in arguments.links:
                pairs = []
                for _ in range(arguments.rounds):
                    pairs.append((plain(bare, links, arguments.seconds, []),
                                  encrypted(gateway, links, arguments.seconds, folder, [])))
                ratios = [b / a for a, b in pairs]
                row = {"links": links, "plain_us": statistics.median(a for a, _ in pairs),
                       "gateway_us": statistics.median(b for _, b in pairs), "ratio": statistics.median(ratios),
                       "ratio_min": min(ratios), "ratio_max": max(ratios)}
                rows.append(row)
                print(f"{links:>6} links  plain {row['plain_us']:6.2f} µs  gateway {row['gateway_us']:6.2f} µs  "
                      f"ratio {row['ratio']:.2f} ({row['ratio_min']:.2f}–{row['ratio_max']:.2f})", flush=True)
            eight = [encrypted(gateway, 100, arguments.seconds, folder, [], batch=8) for _ in range(arguments.rounds)]
            print(f"   100 links, 8 messages per packet: gateway {statistics.median(eight):.2f} µs per message")
    if arguments.json:
        arguments.json.write_text(json.dumps({"rounds": arguments.rounds, "rows": rows, "batch_8_us": statistics.median(eight)}, indent=2))


if __name__ == "__main__":
    main()
