#!/usr/bin/env python3
"""Pastes the commands of the documents into terminals, word for word, as a newcomer would, and looks at what comes of it.

    tests/commands/run.py [--picture FILE]

Every ```sh block of the documents is either pasted here or named in OTHERS with the reason. `--picture` draws the chat
of the README.
"""

import html
import os
import pathlib
import pty
import re
import select
import signal
import sys
import textwrap
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What the commands leave in the folder; nothing of it may be there before.
LEFT = ["server.key", "gateway.toml", "token", "ready.json", "admin.sock", "service.sock"]
# Seconds for whatever is not built yet.
BUILD = 900
# Seconds for everything that only has to start.
START = 60

# Blocks that nobody pastes here, by document and first line, and why.
OTHERS = {
    ("README.md", "cargo test --workspace"): "the gate calls it itself",
    (
        "README.md",
        "cargo run --release -p backend --example chat-service -- service.sock",
    ): "the gateway's own tests run every example",
    ("CONTRIBUTING.md", "cargo test --workspace"): "that is the gate",
    ("docs/PERFORMANCE.md", None): "measurements of many minutes, for a machine on which nothing else runs",
    (
        "docs/SECURITY.md",
        "cargo run --release -p gateway -- dev --protect --listen 127.0.0.1:7440 --ready-file ready.json",
    ): "loadgen's own tests start one",
    (
        "docs/SECURITY.md",
        "cargo run --release -p loadgen -- abuse half-open --target-file ready.json --links 15000 --sources 64 --duration 30s --json half-open.json",
    ): "attacks of minutes; loadgen's own tests make each of them, smaller",
    ("docs/CHAT.md", None): "the gate runs the foreign peers by themselves",
}


class Terminal:
    """An interactive shell in a terminal of its own."""

    SHELL = ["bash", "--norc", "--noprofile", "--noediting", "-i"]

    def __init__(self, name, columns=100):
        self.name, self.text, self.seen = name, "", 0
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            # Each command's status appears when the shell asks for the next one.
            os.environ.update(PS1="", PS2="", PROMPT_COMMAND='printf "<<%s>>\\n" "$?"', TERM="xterm", CARGO_TERM_COLOR="never")
            os.execvp(self.SHELL[0], self.SHELL)
        self.paste(f"stty -echo cols {columns} rows 30")
        self.wait("<<0>>", START)
        self.statuses()

    def paste(self, text):
        os.write(self.master, text.encode() + b"\n")

    def read(self, seconds):
        """Takes what there is to read within so many seconds."""
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.text += os.read(self.master, 1 << 16).decode(errors="replace")
            except OSError:
                sys.exit(f"{self.name}: the terminal is gone:\n{self.text[-2000:]}")

    def wait(self, text, seconds):
        """Waits until a text appears that was not there when it was last waited for."""
        end = time.monotonic() + seconds
        while text not in self.text[self.seen :]:
            if time.monotonic() > end:
                sys.exit(f"{self.name}: no {text!r} within {seconds} s:\n{self.text[-3000:]}")
            self.read(0.2)
        self.seen = self.text.index(text, self.seen) + len(text)

    def statuses(self):
        """Statuses of the commands that have ended since this was last asked."""
        found = [int(status) for status in re.findall(r"<<(\d+)>>", self.text)]
        self.text, self.seen = re.sub(r"<<\d+>>\r?\n", "", self.text), 0
        return found

    def run(self, block, expected=(), seconds=START):
        """Pastes a block whose commands all end, and well; what they print has to contain what is expected."""
        self.paste(block)
        self.paste("echo that was all of it")
        self.wait("that was all of it", seconds)
        self.wait("<<", START)
        self.read(0.5)
        printed = self.text
        statuses = self.statuses()
        missing = [text for text in expected if text not in printed]
        if any(statuses) or missing:
            sys.exit(f"{self.name}: {block}\nstatuses {statuses}, missing {missing}:\n{printed[-4000:]}")
        print(f"   {self.name}: ran {len(block.splitlines())} lines", flush=True)
        self.text, self.seen = "", 0

    def start(self, block, expected, seconds):
        """Pastes a block whose last command stays."""
        self.paste(block)
        self.wait(expected, seconds)
        print(f"   {self.name}: {expected!r}", flush=True)

    def interrupt(self):
        """Ctrl-C, and whatever runs has to end well."""
        self.statuses()
        os.write(self.master, b"\x03")
        self.wait("<<", START)
        self.read(0.5)
        statuses = self.statuses()
        if statuses[-1] not in (0, 130):
            sys.exit(f"{self.name}: after Ctrl-C the status is {statuses}")

    def close(self):
        """Ends the shell, and what it started in the background."""
        os.kill(self.pid, signal.SIGHUP)
        os.close(self.master)
        os.waitpid(self.pid, 0)


def blocks(document):
    """All ```sh blocks of a document."""
    return re.findall(r"^```sh\n(.*?)\n```$", (ROOT / document).read_text(), re.M | re.S)


class Blocks:
    """The blocks of all documents, each of which has to be used or excused."""

    def __init__(self):
        files = [path for path in ROOT.glob("*.md")] + [path for path in (ROOT / "docs").glob("*.md")]
        names = sorted(str(path.relative_to(ROOT)) for path in files)
        self.unused = [(name, block) for name in names for block in blocks(name) if not self.is_excused(name, block)]

    @staticmethod
    def is_excused(name, block):
        return (name, None) in OTHERS or (name, block.splitlines()[0]) in OTHERS

    def take(self, document, part):
        """The first block of a document that contains this and was not taken yet."""
        for at, (name, block) in enumerate(self.unused):
            if name == document and part in block:
                del self.unused[at]
                return block
        sys.exit(f"{document}: no block with {part!r}")


def try_it(readme, picture):
    """The section of this name: a gateway, and two people who chat."""
    dev = Terminal("dev")
    dev.start(readme("-- dev"), "Ctrl-C ends everything", BUILD)
    chat = readme("client -- chat")
    file = re.search(r"--target-file (\S+) --name alice", dev.text).group(1)
    alice, bob = Terminal("alice", 60), Terminal("bob", 60)
    for terminal, line in zip((alice, bob), chat.splitlines()):
        line = line.replace("FILE", file)
        if line not in dev.text:
            sys.exit(f"dev does not print this line of the README: {line}")
        terminal.start(line, f"(you are {terminal.name};", BUILD)
        terminal.typed = line
    # Both are linked when each has an answer; the first lines may find the other one offline.
    say_until(alice, "bob: hello", bob, "alice: hello")
    say_until(bob, "alice: hi, how are you?", alice, "bob: hi, how are you?")
    if picture:
        draw(pathlib.Path(picture), [alice, bob])
    alice.interrupt()
    bob.interrupt()
    dev.interrupt()
    for terminal in (alice, bob, dev):
        terminal.close()
    print("   two people have chatted", flush=True)


def screen(terminal):
    """What the terminal shows, line by line: the command, and what came after the build."""
    shown = [line.split("\x1b[K")[-1] for line in terminal.text.split("\r\n")]
    first = next(at for at, line in enumerate(shown) if line.startswith("(you are"))
    return textwrap.wrap(f"$ {terminal.typed}", 62, subsequent_indent="    ") + [
        part for line in shown[first:] for part in textwrap.wrap(line, 62) or [""]
    ]


def draw(path, terminals):
    """Draws the terminals side by side."""
    width, line_height, margin = 520, 19, 14
    screens = [screen(terminal) for terminal in terminals]
    height = max(map(len, screens)) * line_height + 2 * margin + 26
    text = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * width + 16}" height="{height}" '
        'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13">'
    ]
    for at, (terminal, lines) in enumerate(zip(terminals, screens)):
        left = at * (width + 16)
        text.append(f'<rect x="{left}" width="{width}" height="{height}" rx="8" fill="#1d2430"/>')
        text.append(f'<text x="{left + margin}" y="22" fill="#8b98a9">{terminal.name}</text>')
        for row, line in enumerate(lines):
            colour = "#8b98a9" if line.startswith(("$", "    ", "(")) else "#e8edf3"
            y = 26 + margin + (row + 1) * line_height - 5
            shown = html.escape(line)
            text.append(f'<text x="{left + margin}" y="{y}" fill="{colour}" xml:space="preserve">{shown}</text>')
    path.write_text("\n".join([*text, "</svg>", ""]))


def say_until(here, line, there, expected):
    end = time.monotonic() + BUILD
    while expected not in there.text:
        if time.monotonic() > end:
            sys.exit(f"{there.name} has not heard {expected!r}:\n{here.text[-1000:]}\n{there.text[-1000:]}")
        here.paste(line)
        for terminal in (here, there) * 5:
            terminal.read(0.2)


def run_your_own(readme):
    """The section of this name: a key, a config, a service, a gateway, a client."""
    first, second = Terminal("gateway"), Terminal("second")
    first.start(readme("keygen"), "ready on 127.0.0.1:7400", BUILD)
    first.wait("all streams are open", START)
    answer = "--token-file token`\r\nhello"
    second.run(readme("-- status"), ["127.0.0.1:7400", f"ready.json {answer}", f" {answer}"], BUILD)
    first.interrupt()
    first.run("kill %1")
    first.close()
    second.close()


def measure_it(readme):
    """The section of this name: a gateway and its load."""
    first, second = Terminal("dev"), Terminal("load")
    first.start(readme("--workers 6"), "Ctrl-C ends everything", BUILD)
    second.run(readme("loadgen -- idle"), ["up 100000  failed 0  lost 0", "CLOSED LOOP, 1 in flight"], BUILD)
    second.run(readme("loadgen -- push"), ["undelivered 0  unknown 0", "CPU per push"], BUILD)
    first.interrupt()
    first.close()
    second.close()


def main():
    picture = sys.argv[sys.argv.index("--picture") + 1] if "--picture" in sys.argv else None
    there = [name for name in LEFT if (ROOT / name).exists()]
    if there:
        sys.exit(f"these files are in the way, as the README makes them: {', '.join(there)}")
    documents = Blocks()

    def readme(part):
        return documents.take("README.md", part)

    try:
        try_it(readme, picture)
        run_your_own(readme)
        measure_it(readme)
    finally:
        for name in LEFT:
            (ROOT / name).unlink(missing_ok=True)
    if documents.unused:
        sys.exit(f"nobody has tried these commands: {documents.unused}")


if __name__ == "__main__":
    main()
