"""Sends batches of simulated events to a collector over keep-alive connections: as fast as they are answered, or at a fixed rate.

`python -m benchmarks.http_load URL --seed 7 --events 40000 --batch 50 --connections 16 [--rate 10000]
[--protocol segment]` prepares the bodies, prints `ready`, waits for a line on stdin, sends, and prints one JSON document. At a rate (events a second) each request has
its moment, and its latency counts from that moment, whether or not a connection was free.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_PATHS = {"native": "/ingest", "segment": "/v1/batch"}


class _Counts(msgspec.Struct):
    """What every protocol's answer counts."""

    accepted: int
    duplicates: int
    quarantined: int
    suppressed: int


class Sent(msgspec.Struct, frozen=True):
    """What came of the requests: seconds of wall, latencies in milliseconds, events by what the answers say of them."""

    wall: float
    latencies: list[float]
    statuses: dict[str, int]
    failures: int


def bodies(events: int, batch: int, seed: int, protocol: str = "native") -> list[bytes]:
    """The JSON bodies of `events` events that are valid and unlike each other, `batch` a body, in a protocol's words."""
    from gtm_dagster.simulator.traffic import as_event, simulate

    rows = simulate(events, 30, seed, duplicate_share=0.0, malformed_share=0.0).events
    batches = [
        [_consented(as_event(row)) for row in rows.slice(start, batch).to_pylist()]
        for start in range(0, rows.num_rows, batch)
    ]
    if protocol == "segment":
        return [msgspec.json.encode({"batch": [_message(each) for each in one]}) for one in batches]
    return [msgspec.json.encode(one) for one in batches]


def _message(event: dict[str, Any]) -> dict[str, Any]:
    """The event as a client of Segment words it."""
    context = event["context"]
    campaign = {"name": context.get("campaign"), "source": context.get("source"), "medium": context.get("medium")}
    return {
        "type": "track",
        "messageId": event["event_id"],
        "timestamp": event["timestamp"],
        "userId": event.get("user_id"),
        "anonymousId": event.get("anonymous_id"),
        "event": event["event_name"],
        "properties": event["properties"],
        "channel": "web" if context.get("device_type") == "web" else "server",
        "context": {
            "library": {"name": "analytics-python", "version": "2.4.0"},
            "campaign": {field: value for field, value in campaign.items() if value is not None},
            "page": {"url": context.get("page_url"), "referrer": context.get("referrer")},
            "locale": context.get("locale"),
            "consent": {"categoryPreferences": context["consent"]},
        },
    }


def _consented(event: dict[str, Any]) -> dict[str, Any]:
    return event | {"context": {"consent": {"analytics": True}} | event["context"]}


class _Connection:
    """One keep-alive connection."""

    def __init__(self, url: str, path: str) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname, address.port
        self._head = f"POST {path} HTTP/1.1\r\nhost: {address.netloc}\r\nx-write-key: dev\r\n".encode()

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=2**22)

    async def post(self, body: bytes) -> tuple[bool, bytes]:
        """Whether the answer is 200, and its body."""
        self._writer.write(b"%scontent-length: %d\r\n\r\n%s" % (self._head, len(body), body))
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        answer = await self._reader.readexactly(int(length[1])) if length else b""
        return head.startswith(b"HTTP/1.1 200"), answer

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def send(
    url: str, batches: list[bytes], batch: int, connections: int, rate: float | None, path: str = "/ingest"
) -> Sent:
    """Send every body once."""
    lines = [_Connection(url, path) for _ in range(connections)]
    await asyncio.gather(*[line.open() for line in lines])
    answers: list[bytes] = []
    latencies: list[float] = []
    failures = 0
    waiting = iter(enumerate(batches))
    start = time.perf_counter()

    async def work(line: _Connection) -> None:
        nonlocal failures
        for number, body in waiting:
            due = time.perf_counter()
            if rate is not None:
                due = start + number * batch / rate
                await asyncio.sleep(due - time.perf_counter())
            good, answer = await line.post(body)
            latencies.append((time.perf_counter() - due) * 1000)
            failures += not good
            if good:
                answers.append(answer)

    await asyncio.gather(*[work(line) for line in lines])
    wall = time.perf_counter() - start
    await asyncio.gather(*[line.close() for line in lines])
    counted = [msgspec.json.decode(answer, type=_Counts) for answer in answers]
    statuses = {field: sum(getattr(each, field) for each in counted) for field in _Counts.__struct_fields__}
    return Sent(wall, latencies, statuses, failures)


def main() -> None:
    """Prepare, wait for the word, send, report."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("url")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--events", type=int, default=40_000)
    options.add_argument("--batch", type=int, default=50)
    options.add_argument("--connections", type=int, default=16)
    options.add_argument("--rate", type=float, help="events a second; without it, as fast as they are answered")
    options.add_argument("--protocol", choices=sorted(_PATHS), default="native")
    given = options.parse_args()
    batches = bodies(given.events, given.batch, given.seed, given.protocol)
    print("ready", flush=True)
    sys.stdin.readline()
    sent = asyncio.run(send(given.url, batches, given.batch, given.connections, given.rate, _PATHS[given.protocol]))
    print(msgspec.json.encode(sent).decode(), flush=True)


if __name__ == "__main__":
    main()
