"""What requests that are made to cost do to everybody else: a real `gtm collect` on loopback.

`python -m benchmarks.hostile_bodies [--checkout DIR] [--times 4]`: each shape of body, 5 MB of it and the same as gzip, is
sent several times in a row; meanwhile an ordinary event is sent every 20 ms. A row of the table: the answer, CPU seconds of
the server a request, the longest and the median wait of the ordinary events, and by how much the server's memory grew above
what it was before. The wait is wall time of a machine that the senders use too.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from benchmarks.collector import COLLECT, Subject, cpu_of, serving
from benchmarks.measuring import machine

BYTES = 4_999_000
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_PAUSE = 0.02


def _filled(start: bytes, unit: bytes, end: bytes = b"") -> bytes:
    return start + unit * ((BYTES - len(start) - len(end)) // len(unit)) + end


SHAPES: dict[str, bytes] = {
    "nothing hostile": b"[]",
    "a string of escaped quotes that never closes": _filled(b'["', b'\\"'),
    "the same behind good elements, brackets closed": _filled(b'[{"a":1},{"a":"', b'\\"', b"}]"),
    "a string of letters that never closes": _filled(b'["', b"a"),
    "a string of backslashes": _filled(b'["', b"\\"),
    "events with NaN": _filled(b"[", b'{"a":NaN},', b"{}]"),
    "5,000 events with NaN": b"[" + b",".join([b'{"a":NaN,"b":"' + b"x" * 950 + b'"}'] * 5000) + b"]",
    "empty lists": _filled(b"[", b"[],", b"[]]"),
    "numbers": _filled(b"[", b"1,", b"1]"),
    "commas": _filled(b"[", b",", b"]"),
    "deep brackets": b"[" * (BYTES // 2) + b"]" * (BYTES // 2),
    "open braces": b"[" + b"{" * (BYTES - 1),
    "deep objects": b'{"a":' * (BYTES // 6) + b"1" + b"}" * (BYTES // 6),
    "one event of empty objects": _filled(b'[{"a":[', b"{},", b"{}]}]"),
    "one event of nested lists, no JSON": _filled(b"[[", b"[[[[[]]]]],", b"NaN]]"),
    "lists of 60 kB, deep": _filled(b"[", b"[" * 30_000 + b"]" * 30_000 + b",", b"1]"),
    "5,000 events that break the plan": b"[" + b",".join([b'{"event_name":"x' + b"y" * 950 + b'"}'] * 5000) + b"]",
    "5,000 empty events": b"[" + b",".join([b"{}"] * 5000) + b"]",
    "one number of 5 MB": _filled(b"[", b"9", b"]"),
    "blanks": _filled(b"[", b" ", b"]"),
}


@dataclass(frozen=True)
class Measured:
    """Milliseconds, megabytes, CPU seconds of the server a request, and the answers."""

    title: str
    answers: str
    cpu: float
    longest: float
    middle: float
    grown: float


def memory_of(pid: int) -> float:
    """Resident megabytes of a process."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1000 if found else 0.0


class _Line:
    """One keep-alive connection; opened again after the server closed it."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes) -> int:
        """The status of the answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._address.hostname, self._address.port)
        reader, writer = self._streams
        head = f"POST /ingest HTTP/1.1\r\nhost: {self._address.netloc}\r\nx-write-key: dev\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(answer)
        await reader.readexactly(int(length[1]) if length else 0)
        if b"connection: close" in answer.lower():
            await self.close()
        return int(answer.split()[1])

    async def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _probe(url: str, waits: list[float], memory: list[float], pid: int, until: asyncio.Event) -> None:
    line, number = _Line(url), 0
    while not until.is_set():
        number += 1
        event = {"event_id": f"p{time.time_ns()}-{number}", "event_name": "page_viewed", "anonymous_id": "v"}
        event["context"] = {"consent": {"analytics": True}}  # type: ignore[assignment]
        started = time.perf_counter()
        status = await line.post(json.dumps(event).encode())
        waits.append((time.perf_counter() - started) * 1000)
        memory.append(memory_of(pid))
        if status != 200:
            raise RuntimeError(f"an ordinary event was answered {status}")
        await asyncio.sleep(_PAUSE)
    await line.close()


async def _ready(url: str) -> None:
    for _ in range(500):
        try:
            await _Line(url).post(b"[]")
        except ConnectionError:
            await asyncio.sleep(0.02)
        else:
            return
    raise RuntimeError("the collector never answered")


async def measure(pid: int, url: str, title: str, body: bytes, times: int) -> Measured:
    """Send `body` so many times in a row, and ordinary events beside it."""
    waits: list[float] = []
    memory: list[float] = []
    until = asyncio.Event()
    before, used = memory_of(pid), cpu_of(pid)
    probing = asyncio.create_task(_probe(url, waits, memory, pid, until))
    line, statuses = _Line(url), []
    await asyncio.sleep(_PAUSE * 3)
    for _ in range(times):
        statuses.append(await line.post(body))
    await asyncio.sleep(_PAUSE * 3)
    until.set()
    await probing
    await line.close()
    answers = " ".join(str(status) for status in sorted(set(statuses)))
    cpu = (cpu_of(pid) - used) / times
    return Measured(title, answers, cpu, max(waits), median(waits), max(memory) - before)


def report(rows: list[Measured]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| body | answer | CPU s a request | longest wait ms | median wait ms | memory + MB |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for each in rows:
        lines.append(
            f"| {each.title} | {each.answers} | {each.cpu:.2f} | {each.longest:.0f} | {each.middle:.1f} | {each.grown:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--times", type=int, default=4, help="how often each body is sent in a row")
    options.add_argument("--checkout", type=Path, help="the collector of this checkout")
    options.add_argument("--only", help="shapes whose name contains this")
    given = options.parse_args()
    subject = Subject("`gtm collect`", COLLECT, *([given.checkout] if given.checkout else []))
    print(machine(("granian", "msgspec")) + "\n", flush=True)
    rows = []
    with serving(subject) as (pid, url):
        asyncio.run(_ready(url))
        for title, body in SHAPES.items():
            if given.only is None or given.only in title:
                for kind, sent in (("", body), (" (gzip)", gzip.compress(body, 1))):
                    rows.append(asyncio.run(measure(pid, url, title + kind, sent, given.times)))
    print(report(rows))


if __name__ == "__main__":
    main()
