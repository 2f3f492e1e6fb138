"""Starts a gateway binary for the foreign tests and ends it: `with_gateway.py BINARY`.

First `BINARY dev`, which all of test_foreign.py drives. Then `BINARY run` with backend.py behind it, once over a
clear Unix socket and once over TCP with KK, and one conversation through both.
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

import test_foreign
import wire

HERE = Path(__file__).resolve().parent
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
        target = test_foreign.Target(wait_for("gateway dev", lambda: ready(file), gateway))
        return test_foreign.run(target)


def converse(target):
    test_foreign.conversation(target, wire.NK)


def drive_backend(binary, folder, encrypted, converse=converse):
    """A conversation through `gateway run` to the Python backend."""
    file, config = folder / "run.json", folder / "gateway.toml"
    keys = {name: secrets.token_bytes(32) for name in ("server", "upstream", "backend")}
    for name, key in keys.items():
        path = folder / f"{name}.key"
        path.write_text(key.hex() + "\n", encoding="utf-8")
        path.chmod(0o600)
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
            target = test_foreign.Target({**target, "token": token.stdout.strip()})
            client = target.login()
            # The stream may still be on its way up: refused as long as that lasts, and then answered.
            def answered():
                return client.request("echo", b"by way of python").payload == b"by way of python"
            wait_for("the backend's answer", answered, gateway)
            client.close()
            converse(target)
    print(f"ok       the Python backend answers over {'KK' if encrypted else 'a clear Unix socket'}", flush=True)


CONFIG = """\
[listen]
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


def main():
    binary = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="foreign-") as name:
        folder = Path(name)
        failed = drive_dev(binary, folder)
        for encrypted in (False, True):
            drive_backend(binary, folder, encrypted)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
