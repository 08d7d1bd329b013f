"""Clients of a collector that come in crowds, are slow, or never stop: and an ordinary sender that measures its waits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from gtm_dagster.chaos.malformed_http import event
from gtm_dagster.chaos.processes import Child
from gtm_dagster.chaos.raw_http import ANSWER_SECONDS, connect, host_of, request

PAUSE_SECONDS = 0.02


class OrdinarySender:
    """`with OrdinarySender(url, "name") as sender:` one event after the other; `waits` in seconds, `acked` ids."""

    def __init__(self, url: str, name: str) -> None:
        self.waits: list[float] = []
        self.acked: list[str] = []
        self.answers: Counter[int] = Counter()
        self._url, self._name = url, name
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self) -> OrdinarySender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(60)

    @property
    def longest(self) -> float:
        """The longest wait so far, in seconds."""
        return max(self.waits, default=0.0)

    def _send(self) -> None:
        number = 0
        with requests.Session() as session:
            while not self._enough.wait(PAUSE_SECONDS):
                number += 1
                one = event(f"{self._name}-{number}")
                began = time.monotonic()
                try:
                    answer = session.post(f"{self._url}/ingest", json=one, headers={"X-Write-Key": "dev"}, timeout=60)
                except requests.RequestException:
                    self.answers[0] += 1
                    self.waits.append(time.monotonic() - began)
                    continue
                self.waits.append(time.monotonic() - began)
                self.answers[answer.status_code] += 1
                if answer.status_code == 200:
                    self.acked.append(str(one["event_id"]))


def resident_mb(child: Child) -> float | None:
    """Memory of a process in MB, None where the system does not show it."""
    try:
        lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), None)


def crowd(url: str, name: str, clients: int, idle: int) -> Counter[int]:
    """Answers by status of `clients` connections that all send an event at once, beside `idle` silent ones (0: none)."""
    return asyncio.run(_crowd(url, name, clients, idle))


async def _crowd(url: str, name: str, clients: int, idle: int) -> Counter[int]:
    host, _, port = host_of(url).rpartition(":")
    silent = []
    for _ in range(idle):
        with contextlib.suppress(OSError):
            silent.append((await asyncio.open_connection(host, int(port)))[1])

    async def one(number: int) -> int:
        try:
            async with asyncio.timeout(60):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(request(url, json.dumps(event(f"{name}-{number}")).encode()))
                status = (await reader.readline()).split(b" ")
                await reader.read()
                writer.close()
                return int(status[1])
        except (OSError, TimeoutError, IndexError, ValueError):
            return 0

    statuses = await asyncio.gather(*(one(number) for number in range(clients)))
    for writer in silent:
        writer.close()
    return Counter(statuses)


def slow_clients(url: str) -> dict[str, float]:
    """Seconds until the collector was rid of each kind of slow client; ANSWER_SECONDS when it never was."""
    body = json.dumps(event("slow")).encode()
    head, _, _ = request(url, body).partition(b"\r\n\r\n")
    chunked = request(url, b"", headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
    kinds: dict[str, tuple[bytes, bytes]] = {
        "silence": (b"", b""), "header drip": (b"POST /ingest HTTP/1.1\r\n", b"X"), "no end of headers": (head, b""),
        "body drip": (head + b"\r\n\r\n", b"a"), "body that stops": (head + b"\r\n\r\n" + body[:10], b""),
        "chunk drip": (chunked, b"1\r\na\r\n"), "chunk that stops": (chunked + b"100\r\nabc", b""), "half a request line": (b"POST /ing", b""),
    }  # fmt: skip
    with ThreadPoolExecutor(len(kinds)) as pool:
        seconds = pool.map(lambda kind: _rid_of(url, *kind), kinds.values())
        return dict(zip(kinds, seconds, strict=True))


def _rid_of(url: str, first: bytes, drip: bytes) -> float:
    began = time.monotonic()
    with connect(url, 0.5) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(first)
            while time.monotonic() - began < ANSWER_SECONDS:
                if drip:
                    connection.sendall(drip)
                try:
                    if not connection.recv(65_536):
                        return time.monotonic() - began
                except TimeoutError:
                    continue
                return time.monotonic() - began  # answered; an answer to a request that is not complete is a refusal
            return ANSWER_SECONDS
    return time.monotonic() - began


def bad_requests(url: str, amount: int, threads: int = 4) -> Counter[int]:
    """Answers by status to `amount` requests that are refused for an ordinary reason, on kept connections."""
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(lambda _: _bad_requests(url, amount // threads), range(threads))
        return sum(parts, Counter())


def _bad_requests(url: str, amount: int) -> Counter[int]:
    answers: Counter[int] = Counter()
    kinds: list[tuple[str, str, dict[str, str], bytes]] = [
        ("POST", "/ingest", {"X-Write-Key": "nobody"}, b"{}"), ("POST", "/ingest", {"X-Write-Key": "dev"}, b"[{"), ("POST", "/nothing", {}, b""),
        ("PUT", "/ingest", {}, b"x"), ("POST", "/ingest", {"X-Write-Key": "dev"}, b""), ("POST", "/heartbeat", {"X-Write-Key": "dev"}, b"[]"),
        ("POST", "/ingest", {"X-Write-Key": "dev", "Content-Encoding": "gzip"}, b"\x1f\x8bxx"), ("GET", "/nothing/%00", {}, b""),
    ]  # fmt: skip
    with requests.Session() as session:
        for number in range(amount):
            answers[_status(session, url, *kinds[number % len(kinds)])] += 1
    return answers


def _status(session: requests.Session, url: str, method: str, path: str, headers: dict[str, str], body: bytes) -> int:
    """The status of the answer, 0 for none: sent once more where the kept connection was just closed (RFC 9112, 9.3.1)."""
    for _ in range(2):
        try:
            return session.request(method, url + path, headers=headers, data=body, timeout=30).status_code
        except requests.ConnectionError:
            continue
        except requests.RequestException:
            break
    return 0


def more_connections() -> int:
    """Let this process and those it starts open as many connections as the system allows; returns how many."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 8_192) if hard > 0 else 8_192
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return soft
