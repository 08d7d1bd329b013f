"""The ASGI app: POST /ingest and /heartbeat, GET /livez, /readyz, /metrics and /plan."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Future
from datetime import datetime
from typing import Any, Protocol

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gtm_dagster.admission.event import Judge, Judged
from gtm_dagster.collector.body import Disconnected, Receive, Refused, read_body, split, unpack
from gtm_dagster.collector.keys import KeyStore, KeyStoreError
from gtm_dagster.collector.metrics import Metrics
from gtm_dagster.eventlog import AppendResult, EventLogError, Record
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.settings import Collector as Limits
from gtm_dagster.taxonomy import Plan

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

COMMIT_SECONDS = 30.0
"""Longest wait for the log's commit; after it the answer is 503, and a resend is a duplicate if the commit came later."""
READY_SECONDS = 5.0
RETRY_SECONDS = 1
_JSON = b"application/json"
_log = logging.getLogger("gtm_dagster.collector")


BEAT_SECONDS = 10.0
"""Between the collector's own heartbeats."""
PRODUCER = "collector"
"""The collector's own name among the producers; nobody else may beat under it."""
_RESERVED = ("stream/",)


class Appender(Protocol):
    """The part of an event log the collector needs."""

    def submit(self, records: list[Record]) -> Future[AppendResult]:
        """Queue an append; the future is done when it is durable."""
        ...

    def submit_beat(
        self, producer: str, ts_us: int, received_us: int, closing: bool = False, instance: str = ""
    ) -> Future[bool]:
        """Queue a heartbeat; the future is done when it is durable, False when there are too many producers."""
        ...


class Heartbeat(msgspec.Struct):
    """A producer has delivered everything that happened up to `ts`; `sent_at` is what its clock shows as it says so.

    Both are RFC 3339 texts or seconds since 1970. Without `ts`: everything until now. `instance` tells apart the
    processes of one producer; `closing` is the last word of one that ends cleanly and holds nothing back.
    """

    producer: str
    ts: str | int | float | None = None
    sent_at: str | int | float | None = None
    instance: str = ""
    closing: bool = False


class Answer(msgspec.Struct, frozen=True):
    """A response before it is sent."""

    status: int
    body: bytes
    content_type: bytes = _JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Collector:
    """The ASGI application. `draining` refuses new events with 503 while those in flight are finished."""

    def __init__(self, log: Appender, judge: Judge, keys: KeyStore, limits: Limits) -> None:
        self.draining = False
        self.in_flight = 0
        self._log = log
        self._judge = judge
        self._keys = keys
        self._limits = limits
        self._waiting = 0
        self._plan: bytes | None = None
        self.metrics = Metrics(lambda: self._waiting)
        self._routes: dict[str, dict[str, Callable[[Scope, Receive], Awaitable[Answer]]]] = {
            "/ingest": {"POST": self._ingest},
            "/heartbeat": {"POST": self._heartbeat},
            "/livez": {"GET": self._livez},
            "/readyz": {"GET": self._readyz},
            "/metrics": {"GET": self._metrics},
            "/plan": {"GET": self._plan_schema},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope of ASGI."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        self.in_flight += 1
        try:
            await self._respond(scope, receive, send)
        finally:
            self.in_flight -= 1

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].rstrip("/") or "/"
        try:
            answer = await self._route(path, scope, receive)
        except Disconnected:
            return
        except Refused as refused:
            answer = _error(refused)
        except KeyStoreError as error:
            _log.error("%s", error)
            answer = _error(Refused(503, "keys_unreadable", "the write keys cannot be read; send it again", 30))
        except Exception:  # noqa: BLE001 - the edge of the program: a fault is answered and logged, the server lives on
            _log.exception("fault while answering %s", path)
            answer = _error(Refused(500, "internal", "the collector failed on this request; see its log"))
        self.metrics.requests.labels(path if path in self._routes else "other", str(answer.status)).inc()
        headers = [
            (b"content-type", answer.content_type),
            (b"content-length", str(len(answer.body)).encode()),
            *answer.headers,
        ]
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _route(self, path: str, scope: Scope, receive: Receive) -> Answer:
        handlers = self._routes.get(path)
        if handlers is None:
            known = ", ".join(self._routes)
            raise Refused(404, "not_found", f"there is nothing at this path; known: {known}")
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        handler = handlers.get(method)
        if handler is None:
            allowed = ", ".join(handlers)
            refused = _error(Refused(405, "method_not_allowed", f"{path} takes {allowed}"))
            return msgspec.structs.replace(refused, headers=((b"allow", allowed.encode()),))
        return await handler(scope, receive)

    # Events

    async def _ingest(self, scope: Scope, receive: Receive) -> Answer:
        started = time.perf_counter()
        write_key = self._authorized(scope)
        if self.draining:
            raise Refused(503, "stopping", "the collector is stopping; send it again", RETRY_SECONDS)
        limits = self._limits
        packed = await read_body(
            receive, _header(scope, b"content-length"), limits.max_body_bytes, limits.body_timeout_seconds
        )
        events = split(unpack(packed, limits.max_body_bytes), limits.max_batch_events)
        if self._waiting and self._waiting + len(events) > limits.max_waiting_events:
            raise Refused(503, "queue_full", f"{self._waiting} events wait for the log; send it again", RETRY_SECONDS)
        judged = self._judge(events, write_key=write_key, received_us=time.time_ns() // 1000)
        stored = await self._commit([one.record for one in judged])
        self.metrics.ack_seconds.observe(time.perf_counter() - started)
        return self._told(judged, stored)

    async def _commit(self, records: list[Record]) -> AppendResult:
        self._waiting += len(records)
        try:
            future = self._log.submit(records)
            # Shielded: a cancelled request must not cancel a future the log's writer is about to complete.
            async with asyncio.timeout(COMMIT_SECONDS):
                return await asyncio.shield(asyncio.wrap_future(future))
        except EventLogError as error:
            _log.error("%s", error)
            raise Refused(503, "log_unavailable", "the event log cannot be written; send it again", 5) from None
        except TimeoutError:
            _log.error("no commit within %g s", COMMIT_SECONDS)
            raise Refused(503, "log_slow", "the event log is too slow; send it again", 5) from None
        finally:
            self._waiting -= len(records)

    def _told(self, judged: list[Judged], stored: AppendResult) -> Answer:
        counts = {"accepted": 0, "duplicate": 0, "quarantined": 0, "suppressed": 0}
        results = []
        for one, status in zip(judged, stored.statuses, strict=True):
            told, errors = status, one.errors
            if status == "conflict":
                told, errors = "duplicate", [_CONFLICT]
            counts[told] += 1
            self.metrics.events.labels(status).inc()
            for error in one.errors:
                self.metrics.reasons.labels(error["code"]).inc()
            results.append({"event_id": one.event_id, "status": told, "errors": errors})
        body = {
            "accepted": counts["accepted"],
            "duplicates": counts["duplicate"],
            "quarantined": counts["quarantined"],
            "suppressed": counts["suppressed"],
            "results": results,
            "plan_version": self._judge.plan.version,
            "offset": str(stored.last_seq),
        }
        return Answer(200, msgspec.json.encode(body))

    def _authorized(self, scope: Scope) -> str:
        secret = _secret(scope)
        if not secret:
            raise Refused(401, "no_key", "send a write key as X-Write-Key, as a Bearer token or as the Basic user")
        name = self._keys.name_of(secret)
        if name is None:
            raise Refused(401, "bad_key", "this write key opens nothing here; `gtm keys list` shows those that do")
        return name

    # Everything else

    async def _heartbeat(self, scope: Scope, receive: Receive) -> Answer:
        self._authorized(scope)
        declared = _header(scope, b"content-length")
        body = await read_body(receive, declared, 4096, self._limits.body_timeout_seconds)
        try:
            beat = msgspec.json.decode(body, type=Heartbeat)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise Refused(400, "unparseable", f"send {{producer, ts}} as JSON: {error}") from None
        if not 0 < len(beat.producer) <= 128 or len(beat.instance) > 128:
            raise Refused(400, "bad_producer", "producer is a name of 1 to 128 characters, instance of at most 128")
        if beat.producer == PRODUCER or beat.producer.startswith(_RESERVED):
            raise Refused(400, "bad_producer", f"producer {beat.producer!r} is a name of this deployment; take another")
        received_us = time.time_ns() // 1000
        ts_us = _delivered_us(beat, received_us)
        if not await self._beaten(beat.producer, ts_us, received_us, beat.closing, beat.instance):
            raise Refused(429, "too_many_producers", "too many producers send heartbeats; use stable names", 60)
        self.metrics.beat(beat.producer, closing=beat.closing)
        return Answer(200, b'{"status":"ok"}')

    async def _beaten(self, *beat: Any) -> bool:
        try:
            future = self._log.submit_beat(*beat)
            async with asyncio.timeout(COMMIT_SECONDS):
                return await asyncio.shield(asyncio.wrap_future(future))
        except EventLogError as error:
            _log.error("%s", error)
            raise Refused(503, "log_unavailable", "the event log cannot be written; send it again", 5) from None
        except TimeoutError:
            _log.error("no commit of a heartbeat within %g s", COMMIT_SECONDS)
            raise Refused(503, "log_slow", "the event log is too slow; send it again", 5) from None

    async def keep_beating(self) -> None:
        """Store the collector's own heartbeat every BEAT_SECONDS: without it a quiet source looks like a dead one."""
        while True:
            now_us = time.time_ns() // 1000
            try:
                await self._beaten(PRODUCER, now_us, now_us)
                self.metrics.beat(PRODUCER)
            except Refused:
                pass  # logged; the watermark stands still until the log takes a beat again
            await asyncio.sleep(BEAT_SECONDS)

    async def _livez(self, scope: Scope, receive: Receive) -> Answer:
        return Answer(200, b'{"status":"ok"}')

    async def _readyz(self, scope: Scope, receive: Receive) -> Answer:
        if self.draining:
            raise Refused(503, "stopping", "the collector is stopping", RETRY_SECONDS)
        try:
            async with asyncio.timeout(READY_SECONDS):
                await asyncio.shield(asyncio.wrap_future(self._log.submit([])))
        except EventLogError as error:
            _log.error("%s", error)
            raise Refused(503, "log_unavailable", "the event log cannot be written", 5) from None
        except TimeoutError:
            raise Refused(503, "log_slow", f"the event log did not commit within {READY_SECONDS:g} s", 5) from None
        return Answer(200, b'{"status":"ready"}')

    async def _metrics(self, scope: Scope, receive: Receive) -> Answer:
        return Answer(200, generate_latest(self.metrics.registry), CONTENT_TYPE_LATEST.encode())

    async def _plan_schema(self, scope: Scope, receive: Receive) -> Answer:
        if self._plan is None:
            self._plan = msgspec.json.encode(self._judge.plan.json_schema())
        return Answer(200, self._plan)


_CONFLICT = {
    "path": "event_id",
    "code": "conflict",
    "message": "another event with other content was stored under this event_id; this one was not",
}


def create_app(
    *,
    log: Appender,
    plan: Plan,
    pseudonymize: Callable[[str], str],
    sealer: Sealer,
    keys: KeyStore,
    limits: Limits,
) -> Collector:
    """The collector as an ASGI app. The caller opens and closes `log`; `limits` is the settings' section collector."""
    judge = Judge(plan, pseudonymize, sealer, limits.max_event_bytes)
    return Collector(log, judge, keys, limits)


def _error(refused: Refused) -> Answer:
    headers: list[tuple[bytes, bytes]] = []
    if refused.retry_after is not None:
        headers.append((b"retry-after", str(refused.retry_after).encode()))
    if refused.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="gtm"'))
    if refused.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    body = msgspec.json.encode({"code": refused.code, "message": refused.message})
    return Answer(refused.status, body, headers=tuple(headers))


def _moment_us(field: str, told: str | int | float) -> int:
    """Microseconds UTC of a RFC 3339 text or of seconds since 1970."""
    try:
        if isinstance(told, str):
            moment = datetime.fromisoformat(told)
            if moment.tzinfo is None:
                raise ValueError("it has no offset")
            seconds = moment.timestamp()
        else:
            seconds = float(told)
        if not 0 <= seconds < 4_102_444_800:
            raise ValueError("it is not between 1970 and 2099")
    except (ValueError, OverflowError) as error:
        raise Refused(
            400, "bad_ts", f"{field} is a time like 2026-03-01T10:00:00Z or seconds since 1970: {error}"
        ) from None
    return round(seconds * 1_000_000)


def _delivered_us(beat: Heartbeat, received_us: int) -> int:
    """Up to when the producer has delivered, not after now. A clock that runs ahead does not hide what it still holds."""
    if beat.ts is None:
        return received_us
    ts_us = _moment_us("ts", beat.ts)
    held_us = 0 if beat.sent_at is None else max(0, _moment_us("sent_at", beat.sent_at) - ts_us)
    return min(ts_us, received_us - held_us)


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key.lower() == name), None)


def _secret(scope: Scope) -> str | None:
    told = _header(scope, b"x-write-key")
    if told is not None:
        return told.decode("latin-1").strip()
    scheme, _, rest = (_header(scope, b"authorization") or b"").strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return rest.decode("latin-1").strip()
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).partition(b":")[0].decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
