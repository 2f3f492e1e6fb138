"""Chats through the reference service: `chat.py --target-file FILE --name alice bob hello`.

With a receiver and a text it sends one message and says what became of it; without, it prints what comes.
docs/CHAT.md says what the payloads are.
"""

import argparse
import json
import secrets

from client import Client
from wire import REFUSALS, link

DELIVERED, OFFLINE, MALFORMED = 0, 1, 2
STATUSES = {DELIVERED: "delivered", OFFLINE: "not online", MALFORMED: "malformed"}


def request_payload(receiver, text):
    return f"{receiver}\n{text}".encode()


def sender_and_text(push_payload):
    """Only the first line feed parts them: a text may have several lines."""
    sender, text = push_payload.decode().split("\n", 1)
    return sender, text


def send(client, receiver, text):
    """Sends a message; what became of it, in words."""
    response = client.request("chat", request_payload(receiver, text))
    if response.outcome == link.ANSWERED:
        return STATUSES[response.code]
    if response.outcome == link.REFUSED:
        names = {number: name for name, number in REFUSALS.items()}
        return f"refused: {names.get(response.code, response.code)}"
    return "unknown"


def hear(client):
    """Waits for the next message: sender, text. Pings when nothing comes, so that the link stays."""
    while True:
        while (frame := client.take_frame()) is not None:
            if frame.WhichOneof("kind") == "push":
                return sender_and_text(frame.push.payload)
        if client.readable(client.welcome.heartbeat_ms / 1_000):
            client.open_record()
        else:
            client.send(link.Frame(ping=link.Ping()))


def login(target, name):
    client = Client(target["listen"], bytes.fromhex(target["server_key"]))
    # Each program is a device of its own: two links of one device would replace each other.
    client.login(target["token"].encode(), name.encode(), secrets.token_hex(8).encode())
    return client


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target-file", required=True, help="the ready file of `gateway dev`")
    parser.add_argument("--name", required=True, help="who you are")
    parser.add_argument("--count", type=int, default=1, help="how many messages to wait for")
    parser.add_argument("receiver", nargs="?")
    parser.add_argument("text", nargs="?", default="hello")
    options = parser.parse_args()
    with open(options.target_file, encoding="utf-8") as file:
        client = login(json.load(file), options.name)
    if options.receiver:
        print(send(client, options.receiver, options.text), flush=True)
    else:
        print("listening", flush=True)
        for _ in range(options.count):
            print("{}: {}".format(*hear(client)), flush=True)
    client.close()


if __name__ == "__main__":
    main()
