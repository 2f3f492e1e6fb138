"""Starts a gateway binary for the foreign tests and ends it: `with_gateway.py BINARY`.

First `BINARY dev`, which all of test_foreign.py drives. Then `BINARY run` with backend.py behind it, once over a
clear Unix socket and once over TCP with KK, and one conversation through both. Last `BINARY run` with the backends of
stage.py, which judge the tokens as well: for test_login.py and test_backend.py; for test_resume.py and
test_delivery.py, with short times to acknowledge; for test_bounds.py, with hardly any time or room; for test_again.py,
with two workers; for test_forgotten.py, with hardly any memory of requests. What all but the first of these write into
ledgers is held against each other by tests/ledger/check.py.
"""

import json
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import checks
import ledger
import stage
import test_again
import test_backend
import test_bounds
import test_delivery
import test_foreign
import test_forgotten
import test_login
import test_resume
import wire
from checks import Target

HERE = Path(__file__).resolve().parent
CHECK = HERE.parent / "ledger" / "check.py"
READY_DEADLINE_S = 30
END_DEADLINE_S = 15


class Process:
    """A child that is ended on the way out, by its own pid."""

    def __init__(self, *command, **options):
        self.child = subprocess.Popen([str(part) for part in command], **options)

    def __enter__(self):
        return self.child

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def wait_for(what, found, child):
    """Asks `found` until it answers. The child's end is the end of waiting."""
    end = time.monotonic() + READY_DEADLINE_S
    while not (answer := found()):
        if child.poll() is not None:
            raise SystemExit(f"{what}: the process ended with {child.returncode}")
        if time.monotonic() > end:
            raise SystemExit(f"{what}: not within {READY_DEADLINE_S} s")
        time.sleep(0.05)
    return answer


def ready(path):
    """The ready file's content, or None while it is not whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def drive_dev(binary, folder):
    file = folder / "dev.json"
    with Process(binary, "dev", "--listen", "127.0.0.1:0", "--workers", 1, "--ready-file", file, cwd=folder) as gateway:
        target = Target(wait_for("gateway dev", lambda: ready(file), gateway))
        drive_chat(file)
        return test_foreign.run(target)


def drive_chat(file):
    """Two processes of the example in docs/CHAT.md, as it is shown there."""
    program = (sys.executable, HERE / "chat.py", "--target-file", file, "--name")
    with Process(*program, "bob", "--count", 1, stdout=subprocess.PIPE, text=True) as bob:
        if bob.stdout.readline() != "listening\n":
            raise SystemExit("chat.py does not listen")
        command = [str(part) for part in (*program, "alice", "bob", "hello")]

        def delivered():
            return subprocess.run(command, capture_output=True, check=True, text=True).stdout == "delivered\n"

        # The service hears of a link a little later than it is there.
        wait_for("the delivery to bob", delivered, bob)
        heard = bob.stdout.readline()
        if heard != "alice: hello\n":
            raise SystemExit(f"bob heard {heard!r}")
    print("ok       two processes of chat.py understand each other", flush=True)


def converse(target):
    test_foreign.conversation(target, wire.NK)


def key_files(folder, **keys):
    for name, key in keys.items():
        path = folder / f"{name}.key"
        path.write_text(key.hex() + "\n", encoding="utf-8")
        path.chmod(0o600)


def drive_backend(binary, folder, encrypted, converse=converse):
    """A conversation through `gateway run` to the Python backend."""
    file, config = folder / "run.json", folder / "gateway.toml"
    keys = {name: secrets.token_bytes(32) for name in ("server", "upstream", "backend")}
    key_files(folder, **keys)
    if encrypted:
        where = f"127.0.0.1:{free_port()}"
        gateway_key = wire.public_of(keys["upstream"]).hex()
        serve = ["--tcp", where, "--key", folder / "backend.key", "--gateway-key", gateway_key]
        endpoint = f'address = "tcp:{where}"\nkey = "{wire.public_of(keys["backend"]).hex()}"'
    else:
        path = folder / "backend.sock"
        serve = ["--unix", path]
        endpoint = f'address = "unix:{path}"\nclear = true'
    config.write_text(CONFIG.format(endpoint=endpoint), encoding="utf-8")
    file.unlink(missing_ok=True)
    with Process(sys.executable, HERE / "backend.py", *serve, stdout=subprocess.PIPE) as backend:
        if backend.stdout.readline() != b"listening\n":
            raise SystemExit("the backend does not listen")
        command = (binary, "run", "--config", config, "--workers", 1, "--ready-file", file)
        with Process(*command, cwd=folder) as gateway:
            target = wait_for("gateway run", lambda: ready(file), gateway)
            token = subprocess.run([binary, "token", "--config", config], capture_output=True, check=True, text=True)
            target = Target({**target, "token": token.stdout.strip()})
            client = target.login()
            # The stream may still be on its way up: refused as long as that lasts, and then answered.
            def answered():
                return client.request("echo", b"by way of python").payload == b"by way of python"
            wait_for("the backend's answer", answered, gateway)
            client.close()
            converse(target)
    print(f"ok       the Python backend answers over {'KK' if encrypted else 'a clear Unix socket'}", flush=True)


CONFIG = """\
[[listener]]
name = "clients"
address = "127.0.0.1:0"

[keys]
server = "server.key"

[auth]
mode = "development"

[[route]]
name = "echo"
endpoints = ["python"]

[[endpoint]]
name = "python"
{endpoint}

[upstream]
key = "upstream.key"

[admin]
http = "off"
"""


def drive_judges(binary, folder, settings, *modules, workers=1, ledgers=None):
    """Tests with two services, one over a clear Unix socket and one over TCP with KK."""
    folder.mkdir()
    file, config = folder / "judged.json", folder / "judged.toml"
    keys = {name: secrets.token_bytes(32) for name in ("server", "unpinned", "upstream", "backend")}
    world = stage.Stage()
    world.ledger = ledgers
    key_files(folder, tickets=world.group_key, **keys)
    unix, tcp = socket.socket(socket.AF_UNIX), socket.create_server(("127.0.0.1", 0))
    unix.bind(str(folder / "judge.sock"))
    unix.listen()
    encrypted = {"key": keys["backend"], "gateway_keys": [wire.public_of(keys["upstream"])]}
    world.services = [
        stage.Service(world, b"clear", unix),
        stage.Service(world, b"encrypted", tcp, **encrypted),
    ]
    config.write_text(
        JUDGED.format(
            next=world.next_key.hex(),
            retired=world.retired.hex(),
            realm=stage.REALM.decode(),
            deadline=stage.VERDICT_DEADLINE_S,
            unix=folder / "judge.sock",
            tcp="127.0.0.1:%d" % tcp.getsockname()[1],
            key=wire.public_of(keys["backend"]).hex(),
        )
        + settings,
        encoding="utf-8",
    )
    command = (binary, "run", "--config", config, "--workers", workers, "--ready-file", file)
    with Process(*command, cwd=folder) as gateway:
        target = wait_for("gateway run", lambda: ready(file), gateway)
        world.target = Target({**target, "token": "whose user is what it claims"})
        world.target.suites = wire.suite_set(wire.NK, wire.IK, wire.IK_AESGCM, wire.TICKET, wire.TICKET_AESGCM)
        named = {listener["name"]: listener["listen"] for listener in target["listeners"]}
        world.unpinned = named["unpinned"]
        world.gateway = gateway
        for service in world.services:
            wait_for(f"the streams of {service.name}", lambda: len(service.of_workers) == workers, gateway)
        return checks.run(world, "", *modules)


def drive_deliveries(binary, folder, settings, *modules, workers=1):
    """The same, and what both ends wrote down of it."""
    ledgers = ledger.Ledger(folder.with_name(f"{folder.name}-ledgers"))
    failed = drive_judges(binary, folder, settings, *modules, workers=workers, ledgers=ledgers)
    checked = subprocess.run([sys.executable, CHECK, ledgers.folder], check=False)
    return failed + (checked.returncode != 0)


JUDGED = """\
[[listener]]
name = "clients"
address = "127.0.0.1:0"

[[listener]]
name = "unpinned"
address = "127.0.0.1:0"
key = "unpinned.key"
suites = ["XX_ChaChaPoly", "XX_AESGCM"]
handshake_share = 5

[keys]
server = "server.key"
next = ["{next} from 2100-01-01T00:00:00Z"]
retired = ["{retired}"]
tickets = ["tickets.key"]

[suites]
allowed = ["NK_ChaChaPoly", "IK_ChaChaPoly", "IK_AESGCM", "NNpsk0_ChaChaPoly", "NNpsk0_AESGCM"]
leaving = ["IK_AESGCM"]

[admission]
# All clients are of one address, and some are many who prove nothing.
strangers_per_address = 255
accepts_per_address = "100000/s"
[limits]
handshakes_per_turn = 1
handshakes_waiting = 16

[rates]
control_per_link = "10000/s"
frames_per_link = "10000/s"
frames_per_user = "10000/s"
bytes_per_link = "64MiB/s"
bytes_per_user = "64MiB/s"

[heartbeat]
min = "1s"
default = "60s"

[auth]
mode = "delegated"
realm = "{realm}"
route = "login"
deadline = "{deadline}s"

[[route]]
name = "login"
endpoints = ["clear", "encrypted"]

[[route]]
name = "echo"
endpoints = ["clear", "encrypted"]
presence = true

[[endpoint]]
name = "clear"
address = "unix:{unix}"
clear = true
capabilities = ["serve", "push", "kick", "ban", "authenticate"]

[[endpoint]]
name = "encrypted"
address = "tcp:{tcp}"
key = "{key}"
capabilities = ["serve", "push", "kick", "ban", "authenticate"]

[upstream]
key = "upstream.key"
redial_max = "500ms"

[admin]
http = "off"
"""


ACKNOWLEDGED = """
[pushes]
ack_timeout = "1s"
"""

BOUNDED = """
[pushes]
report_slots = 1
session_count = 1
[sessions]
window = "1s"
"""

REPEATED = """
[[route]]
name = "other"
endpoints = ["clear", "encrypted"]

[[route]]
name = "keyed"
endpoints = ["clear", "encrypted"]
balance = "key"

[[route]]
name = "brief"
endpoints = ["clear", "encrypted"]
deadline = "1s"
"""

FORGETFUL = """
[answers]
session_count = 4
bytes = "64KiB"
behind = "1s"
"""


def main():
    binary = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="foreign-") as name:
        folder = Path(name)
        failed = drive_dev(binary, folder)
        for encrypted in (False, True):
            drive_backend(binary, folder, encrypted)
        failed += drive_judges(binary, folder / "judged", "", test_login, test_backend)
        failed += drive_deliveries(binary, folder / "kept", ACKNOWLEDGED, test_resume, test_delivery)
        failed += drive_deliveries(binary, folder / "bound", BOUNDED, test_bounds)
        failed += drive_deliveries(binary, folder / "again", REPEATED, test_again, workers=2)
        failed += drive_deliveries(binary, folder / "forgotten", FORGETFUL, test_forgotten)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
