"""A receiver of signed webhooks and of Slack's that hangs, fails and drops connections at the first attempt of some messages, and
notes every request; it also says the address of every person.
"""

from __future__ import annotations

import hmac
import json
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gtm_dagster.delivery.signatures import signature, signing_keys

HANG_SECONDS = 7.0
"""Longer than the sender of the drill waits for an answer."""
BEHAVIOURS = ("answers", "fails", "hangs", "drops")
WEIGHTS = (84, 6, 4, 6)


@dataclass(frozen=True)
class Request:
    """A request that was read whole, whatever became of its answer. `start`: the id of the event that the message is about;
    Slack's has no signature and says neither rule nor start but in its words, which are both here.
    """

    webhook_id: str
    rule: str
    start: str
    behaviour: str
    signed: bool


class UnreliableReceiver:
    """`with UnreliableReceiver(secret, attempts, seed) as receiver:` listens on loopback.

    `attempts(webhook_id)` says which attempt a message is at: from the second on the receiver answers 200, so that an
    experiment does not wait for the long pauses of later ones.
    """

    def __init__(self, secret: str, attempts: Callable[[str], int], seed: int) -> None:
        self.requests: list[Request] = []
        keys, rng = signing_keys(secret), random.Random(seed)  # noqa: S311 - misbehaviour, not a secret
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/slack":
                    rule, start = json.loads(body)["text"].split()
                    self._note(self.headers["webhook-id"], rule, start, signed=True)
                    return
                name, stamp = self.headers["webhook-id"], self.headers["webhook-timestamp"]
                signed = hmac.compare_digest(
                    self.headers["webhook-signature"] or "", signature(keys, name, int(stamp), body)
                )
                data = json.loads(body)["data"]
                self._note(name, data["rule"], data["event"]["id"], signed=signed)

            def do_GET(self) -> None:
                body = b'{"email": "drill@example.com"}'
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _note(self, name: str, rule: str, start: str, *, signed: bool) -> None:
                behaviour = rng.choices(BEHAVIOURS, WEIGHTS)[0] if attempts(name) == 1 else "answers"
                receiver.requests.append(Request(name, rule, start, behaviour, signed))
                self._answer(behaviour)

            def _answer(self, behaviour: str) -> None:
                self.close_connection = True
                if behaviour == "hangs":
                    time.sleep(HANG_SECONDS)
                if behaviour in ("hangs", "drops"):
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(500 if behaviour == "fails" else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Not a line a request."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                """A sender that was killed takes no answer."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> UnreliableReceiver:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
