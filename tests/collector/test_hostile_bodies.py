"""Bodies that are made to cost, sent to a real collector: ordinary events go on beside them, and memory stays."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from collector_server import Server

BYTES = 4_900_000
MOST_CPU_SECONDS = 15.0
"""For one request; the dearest takes 2 s on the machine this was written on, and the scanner before it took hours."""
SHAPES = {
    "escaped quotes, unclosed": (b'["' + b'\\"' * (BYTES // 2), 400),
    "the same behind good events": (b'[{"a":1},{"a":"' + b'\\"' * (BYTES // 2) + b"}]", 400),
    "letters, unclosed": (b'["' + b"a" * BYTES, 400),
    "events with NaN": (b"[" + b'{"a":NaN},' * (BYTES // 10) + b"{}]", 413),
    "empty lists": (b"[" + b"[]," * (BYTES // 3) + b"[]]", 413),
    "deep brackets": (b"[" * 1_000_000 + b"]" * 1_000_000, 200),
    "open braces": (b"[" + b"{" * BYTES, 400),
    "one event of empty objects": (b'[{"a":[' + b"{}," * (BYTES // 3) + b"{}]}]", 200),
    "one event of nested lists, no JSON": (b"[[" + b"[[[[[]]]]]," * (BYTES // 11) + b"NaN]]", 200),
}
KEYED = b'{"api_key":"dev","batch":['
IN_BODY = {
    "no key, empty objects": (b'{"batch":[' + b"{}," * (BYTES // 3) + b"{}]}", 401),
    "no key, a list with NaN": (b'[{"a":NaN},' + b'{"a":1},' * (BYTES // 8) + b"{}]", 401),
    "no key, an object with NaN": (b'{"a":NaN,"batch":[' + b"{}," * (BYTES // 3) + b"{}]}", 400),
    "no key, escaped quotes, unclosed": (b'{"api_key":"' + b'\\"' * (BYTES // 2), 400),
    "a key that is a list": (b'{"api_key":[' + b"{}," * (BYTES // 3) + b"{}]}", 401),
    "a time that is a list": (b'{"api_key":"dev","sent_at":[' + b"{}," * (BYTES // 3) + b'{}],"batch":[{}]}', 200),
    "too many events": (KEYED + b"{}," * (BYTES // 3) + b"{}]}", 413),
    "one event of empty objects": (KEYED + b'{"a":[' + b"{}," * (BYTES // 3) + b"{}]}]}", 200),
    "deep brackets": (KEYED + b"[" * 1_000_000 + b"]" * 1_000_000 + b"]}", 400),
    "a form of escapes": (b"data=" + b"%2B" * (BYTES // 3), 400),
    "a form of fields": (b"a&" * (BYTES // 2) + b"data=e30", 400),
    "a form of objects": (b"data=" + base64.b64encode(b'{"batch":[' + b"{}," * (BYTES // 5) + b"{}]}"), 401),
}
"""Bodies of the protocol whose key stands in the body: they cost before anyone is known to have sent them."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("hostile"))
    yield running
    began = time.monotonic()
    assert running.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 25


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) / 1000


class Ordinary(threading.Thread):
    """Sends one event after another until `enough`."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.enough = threading.Event()
        self.answered: list[float] = []
        self.statuses: set[int] = set()
        self._url = url

    def run(self) -> None:
        with requests.Session() as session:
            while not self.enough.wait(0.01):
                event = {"event_name": "page_viewed", "anonymous_id": "v", "event_id": f"o{time.time_ns()}"}
                answer = session.post(f"{self._url}/ingest", json=event, headers={"X-Write-Key": "dev"}, timeout=30)
                self.statuses.add(answer.status_code)
                self.answered.append(time.monotonic())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads CPU and memory of a process from /proc")
@pytest.mark.parametrize(
    ("path", "shape", "packed"),
    [("/ingest", shape, packed) for shape in SHAPES for packed in (False, True)]
    + [("/e/", shape, bool(n % 2)) for n, shape in enumerate(IN_BODY)],
    ids=lambda value: {True: "gzip", False: "plain"}.get(value, str(value)),
)
def test_a_body_that_costs_keeps_nobody_waiting(server: Server, path: str, shape: str, packed: bool) -> None:
    body, expected = (SHAPES if path == "/ingest" else IN_BODY)[shape]
    headers = {"X-Write-Key": "dev"} if path == "/ingest" else {}
    sent = gzip.compress(body, 1) if packed else body
    pid = server.process.pid
    memory, used = megabytes(pid), cpu_seconds(pid)
    ordinary = Ordinary(server.url)
    ordinary.start()
    took: list[float] = []
    peak = memory
    for _ in range(3):
        began = time.monotonic()
        answer = requests.post(f"{server.url}{path}", data=sent, headers=headers, timeout=120)
        took.append(time.monotonic() - began)
        peak = max(peak, megabytes(pid))
        assert answer.status_code == expected, answer.text[:300]
        if expected != 200:
            assert {"code", "message"} <= set(json.loads(answer.text))
    ordinary.enough.set()
    ordinary.join(timeout=60)
    assert (cpu_seconds(pid) - used) / 3 < MOST_CPU_SECONDS
    assert peak - memory < 100
    assert ordinary.statuses == {200}
    if min(took) > 1:
        assert len(ordinary.answered) > 3 * len(took), "ordinary events were answered while it was worked on"
