"""Heartbeats: up to when each producer has delivered its events; the collector is a producer too."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import time
from datetime import datetime

import msgspec

from gtm_dagster import eventlog
from gtm_dagster.collector.access import Access
from gtm_dagster.collector.body import Receive, check_encoding, read_body
from gtm_dagster.collector.commits import Commits
from gtm_dagster.collector.headers import Scope, header, headers
from gtm_dagster.collector.metrics import Metrics
from gtm_dagster.collector.response import Refused, Response

BEAT_SECONDS = 10.0
"""Between the collector's own heartbeats."""
PRODUCER = "collector"
"""The collector's own name among the producers; nobody else may beat under it."""
_RESERVED = ("stream/",)
_MAX_BODY_BYTES = 4096
_SOMEBODYS = re.compile(
    r"@|%40"  # an e-mail address
    r"|(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])"  # IPv4
    r"|(?:[0-9a-f]{0,4}:){3,}"  # IPv6
    r"|\A\+?[\d()./-]{7,}\Z|\+\d[\d()./-]{6,}",  # a phone number
    re.IGNORECASE,
)


class Heartbeat(msgspec.Struct):
    """A producer has delivered everything that happened up to `ts`; `sent_at` is its own clock at that moment.

    Both are RFC 3339 texts or seconds since 1970. Without `ts`: everything until now. `instance` tells apart the
    processes of one producer; `closing` is the last heartbeat of one that ends cleanly, with nothing left to deliver.
    """

    producer: str
    ts: str | int | float | None = None
    sent_at: str | int | float | None = None
    instance: str = ""
    closing: bool = False


class Heartbeats:
    """Stores the producers' heartbeats, and the collector's own, as `instance` of it."""

    def __init__(
        self, commits: Commits, access: Access, metrics: Metrics, body_timeout_seconds: float, instance: str = ""
    ) -> None:
        self._commits = commits
        self._access = access
        self._metrics = metrics
        self._instance = instance
        self._body_timeout_seconds = body_timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive) -> Response:
        """The response to POST /heartbeat, after its commit. Raises Refused."""
        key = self._access.server(scope)
        check_encoding(headers(scope, b"content-encoding"))
        declared = header(scope, b"content-length")
        body = await read_body(receive, declared, _MAX_BODY_BYTES, self._body_timeout_seconds)
        try:
            beat = msgspec.json.decode(body, type=Heartbeat)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Refused(400, "unparseable", f"send {{producer, ts}} as JSON: {error}") from None
        if not is_program_name(beat.producer) or (beat.instance and not is_program_name(beat.instance)):
            raise Refused(
                400,
                "bad_producer",
                "producer is the name of a program or host, of 1 to 128 characters without blanks, instance one of at most "
                "128; e-mail addresses, IP addresses and phone numbers are not taken",
            )
        if beat.producer == PRODUCER or beat.producer.startswith(_RESERVED):
            raise Refused(400, "bad_producer", f"producer {beat.producer!r} is a name of this deployment; take another")
        received_us = time.time_ns() // 1000
        if not await self._store(beat, _delivered_us(beat, received_us), received_us, key.name):
            raise Refused(429, "too_many_producers", "too many producers send heartbeats; use stable names", 60)
        self._metrics.beat(beat.producer, closing=beat.closing)
        return Response(200, b'{"status":"ok"}')

    async def keep_beating(self) -> None:
        """Store the collector's own heartbeat every BEAT_SECONDS: without it a quiet source looks like a dead one."""
        own = Heartbeat(PRODUCER, instance=self._instance)
        while True:
            now_us = time.time_ns() // 1000
            try:
                await self._store(own, now_us, now_us)
                self._metrics.beat(PRODUCER)
            except Refused:
                pass  # logged; the watermark stands still until the log takes a beat again
            await asyncio.sleep(BEAT_SECONDS)

    async def _store(self, beat: Heartbeat, ts_us: int, received_us: int, write_key: str = "") -> bool:
        skew_us = None if beat.sent_at is None else received_us - moment_us("sent_at", beat.sent_at)
        stored = eventlog.Heartbeat(beat.producer, ts_us, received_us, write_key, skew_us)
        return await self._commits.beat(stored, beat.closing, beat.instance)


def is_program_name(name: str) -> bool:
    """Whether a name can be shown and kept: 1 to 128 characters without blanks, and nobody's address or number."""
    return (
        0 < len(name) <= 128
        and name.isprintable()
        and not any(letter.isspace() for letter in name)
        and not _SOMEBODYS.search(name)
        and not _is_address(name)
    )


def _is_address(name: str) -> bool:
    bare = name.strip("[]").partition("%")[0]
    for text in (name, bare, name.rpartition("]:")[0].strip("[]")):
        try:
            ipaddress.ip_address(text)
        except ValueError:
            continue
        return True
    return False


def _delivered_us(beat: Heartbeat, received_us: int) -> int:
    """Up to when the producer has delivered, not after now. A clock that runs ahead hides no event that still waits."""
    if beat.ts is None:
        return received_us
    ts_us = moment_us("ts", beat.ts)
    behind_us = 0 if beat.sent_at is None else max(0, moment_us("sent_at", beat.sent_at) - ts_us)
    return min(ts_us, received_us - behind_us)


def moment_us(field: str, value: str | int | float) -> int:
    """Microseconds UTC of a RFC 3339 text or of seconds since 1970."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise ValueError("it has no offset")
            seconds = moment.timestamp()
        else:
            seconds = float(value)
        if not 0 <= seconds < 4_102_444_800:
            raise ValueError("it is not between 1970 and 2099")
    except (ValueError, OverflowError) as error:
        raise Refused(
            400, "bad_ts", f"{field} is a time like 2026-03-01T10:00:00Z or seconds since 1970: {error}"
        ) from None
    return round(seconds * 1_000_000)
