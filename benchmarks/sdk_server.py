"""A server on loopback that counts the events of any SDK, and where each SDK is installed."""

from __future__ import annotations

import gzip
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

PEERS = Path(".cache/sdk-peers/bin/python")
OURS = "gtm_dagster"


def python_of(sdk: str) -> str:
    """The interpreter that has `sdk`. Raises SystemExit when the others are not installed."""
    if sdk == OURS:
        return sys.executable
    if not PEERS.exists():
        raise SystemExit(f"{PEERS} is not there; scripts/install-sdk-peers makes it")
    return str(PEERS)


def environment_of(sdk: str) -> dict[str, str]:
    """Without our modules for the others."""
    rest = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**rest, "PYTHONPATH": str(Path.cwd())} if sdk == OURS else rest


class EventCounter:
    """`events` are those of all requests so far; every one is taken."""

    def __init__(self) -> None:
        self.events = 0
        self._changed_at = time.monotonic()
        self._lock = threading.Lock()
        counter = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                number = events_of(self.path, gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
                with counter._lock:
                    counter.events += number
                    counter._changed_at = time.monotonic()
                counts = {"accepted": number, "duplicates": 0, "quarantined": 0, "suppressed": 0, "results": []}
                answer = json.dumps({"status": 1, "success": True, **counts}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:  # a client that ended in the middle of a request is the point
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def settle(self) -> None:
        """Waits until nothing has come for half a second."""
        while time.monotonic() - self._changed_at < 0.5:
            time.sleep(0.05)


def events_of(path: str, body: bytes) -> int:
    """How many events a request of any of the SDKs carries."""
    if path == "/heartbeat" or not body:
        return 0
    document: Any = json.loads(body)
    if isinstance(document, dict):
        document = next((document[key] for key in ("batch", "data") if isinstance(document.get(key), list)), [])
    return len(document)
