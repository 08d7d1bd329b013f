"""A recorder on loopback: answers from a script, then 200, and remembers every request in order."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gtm_dagster.taxonomy import load_plan
from gtm_dagster.tracking import GtmTracker


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: Any
    at: float

    @property
    def ids(self) -> list[str]:
        return [event["event_id"] for event in self.body]


@dataclass
class Recorder:
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    script: deque[tuple[int, dict[str, str], Any]] = field(default_factory=deque)
    largest: int = 1_000_000
    changed: threading.Condition = field(default_factory=threading.Condition)

    def batches(self) -> list[Request]:
        return [request for request in self.requests if request.path == "/ingest"]

    def beats(self) -> list[Request]:
        return [request for request in self.requests if request.path == "/heartbeat"]

    def answer(self, status: int, headers: dict[str, str] | None = None, body: Any = None) -> None:
        self.script.append((status, headers or {}, body))

    def wait(self, holds: Callable[[], bool], seconds: float = 8.0) -> None:
        with self.changed:
            assert self.changed.wait_for(holds, seconds), [(r.path, len(r.body)) for r in self.requests]

    def take(self, request: Request) -> tuple[int, dict[str, str], Any]:
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
            if request.path == "/heartbeat":
                return 200, {}, {}
            if len(request.body) > self.largest:
                return 413, {}, {"code": "too_large", "message": "fewer"}
            if self.script:
                return self.script.popleft()
        n = len(request.body)
        return 200, {}, {"accepted": n, "duplicates": 0, "quarantined": 0, "suppressed": 0, "results": []}


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))) or "[]")
            status, headers, answer = recorder.take(Request(self.path, dict(self.headers), body, time.monotonic()))
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    recorder.url = f"http://127.0.0.1:{server.server_port}"
    yield recorder
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def make(recorder: Recorder) -> Iterator[Callable[..., GtmTracker]]:
    """Makes trackers of the recorder with quick pauses; closes them at the end."""
    trackers: list[GtmTracker] = []
    plan = load_plan()

    def build(**options: Any) -> GtmTracker:
        options = {"flush_interval": 60.0, "plan": plan, "endpoint": recorder.url, **options}
        tracker = GtmTracker(write_key="key-1", **options)
        tracker.sender.backoff = 0.01
        trackers.append(tracker)
        return tracker

    yield build
    for tracker in trackers:
        tracker.close(0.5)
