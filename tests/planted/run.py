#!/usr/bin/env python3
"""Plants bugs in the logic of the gateway, one at a time, and sees whether the storms find them.

    tests/planted/run.py [--texts] [--all-storms] [--unit] [name ...]

A copy of the sources gets all bugs of bugs.py, each behind a switch that an environment variable turns, so that one
build serves them all. Without any the storms have to be green. With each of them the storm named beside it has to be red,
or any with `--all-storms`; a bug that they miss is a missing test. With `--texts` nothing is built: only whether each bug still has its place is looked at. With `--unit` it is also said which bugs the unit tests
find.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from bugs import BUGS

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPY = ROOT / "target" / "planted"
BUILD = ROOT / "target" / "planted-build"
# Storms to find a bug in, and the seconds after which one that turns in circles counts as found.
SEEDS, PATIENCE = "200", 240
# These plant bugs of their own, or run the same storms again.
SKIPPED = ["--skip", "planted_bugs_are_caught", "--skip", "the_same_seed_gives_the_same_run"]

SWITCH = """//! Which bug is planted in this run.

use std::sync::OnceLock;

/// Whether it is this one.
pub(crate) fn is(name: &str) -> bool {
    static PLANTED: OnceLock<String> = OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("PLANTED").unwrap_or_default()) == name
}
"""


def copy_sources():
    """A copy of what git knows of, with the times of what has not changed, so that little is built anew."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True
    )
    shutil.rmtree(COPY, ignore_errors=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, COPY / name)


def warm():
    """Begins with what the workspace has built already, so that the crates it depends on need not be built again."""
    built = ROOT / "target" / "debug"
    if BUILD.exists() or not built.exists():
        return
    for part in ("deps", "build", ".fingerprint"):
        shutil.copytree(built / part, BUILD / "debug" / part, symlinks=True)


def plant():
    """Puts all bugs into the copy."""
    for name, _, file, right, wrong in BUGS:
        path = COPY / file
        text = path.read_text()
        if text.count(right) != 1:
            sys.exit(f"{name}: the text is {text.count(right)} times in {file}, not once:\n{right}")
        switch = f'crate::planted::is("{name}")'
        path.write_text(text.replace(right, wrong.replace("PLANTED", switch)))
    for crate in sorted({file.split("/src/")[0] for _, _, file, *_ in BUGS}):
        (COPY / crate / "src" / "planted.rs").write_text(SWITCH)
        head = COPY / crate / "src" / "lib.rs"
        lines = head.read_text().splitlines(keepends=True)
        first = next(at for at, line in enumerate(lines) if line.startswith(("mod ", "pub mod ")))
        head.write_text("".join([*lines[:first], "mod planted;\n", *lines[first:]]))


def build(arguments):
    """The test program that these arguments build."""
    command = ["cargo", "test", "--locked", "--no-run", "--message-format=json-render-diagnostics", *arguments]
    # What all crates depend on is built already, as a rule.
    environment = {**os.environ, "CARGO_TARGET_DIR": str(BUILD)}
    done = subprocess.run(command, cwd=COPY, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit("the planted sources do not build")
    artifacts = [json.loads(line) for line in done.stdout.splitlines()]
    programs = [artifact["executable"] for artifact in artifacts if artifact.get("executable")]
    assert len(programs) == 1, programs
    return programs[0]


def is_found(program, crate, bug, words=()):
    """Whether a test program is red with this bug, or turns in circles."""
    environment = {**os.environ, "PLANTED": bug, "SIM_SEEDS": SEEDS, "RUST_BACKTRACE": "0"}
    command = [program, "-q", *words]
    running = subprocess.Popen(
        command,
        cwd=COPY / crate,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = running.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        return True, "turns in circles"
    text = output.decode(errors="replace")
    failed = [line.strip() for line in text.split("\nfailures:\n")[-1].splitlines() if line.startswith("    ")]
    return running.returncode != 0, ", ".join(failed)[:300]


def main():
    words = sys.argv[1:]
    names = [word for word in words if not word.startswith("--")]
    unknown = set(names) - {name for name, *_ in BUGS}
    if unknown:
        sys.exit(f"no such bug: {', '.join(sorted(unknown))}")
    copy_sources()
    if "--texts" in words:
        return plant()
    warm()
    plant()
    storms = build(["-p", "tests", "--test", "storms"])
    units = []
    if "--unit" in words:
        units = [(crate, build(["-p", crate, "--lib"])) for crate in ("gateway", "protocol")]
    found, by = is_found(storms, "tests", "", SKIPPED)
    if found:
        sys.exit(f"without a bug the storms are red: {by}")
    missed = []

    def look_for(bug):
        name, storm, *_ = bug
        since = time.monotonic()
        found, by = is_found(storms, "tests", name, SKIPPED if "--all-storms" in words else [storm])
        lines = [f"{'found ' if found else 'MISSED'} {name} ({time.monotonic() - since:.0f} s): {by}"]
        for crate, program in units:
            noticed, how = is_found(program, crate, name)
            lines.append(f"    {crate}: {how if noticed else 'nothing'}")
        return name, found, lines

    # One storm keeps one processor busy; only that of many seeds keeps all.
    with ThreadPoolExecutor(os.cpu_count()) as lookers:
        for name, found, lines in lookers.map(look_for, [bug for bug in BUGS if not names or bug[0] in names]):
            print("\n".join(lines), flush=True)
            if not found:
                missed.append(name)
    if missed:
        sys.exit(f"{len(missed)} bugs missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
