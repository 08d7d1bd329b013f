"""A request of events from its bytes to its answer: key, limits, admission, the log's commit; whatever the protocol."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from gtm_dagster.admission.single_event import Judge, Judged
from gtm_dagster.admission.trace_context import trace_id_of
from gtm_dagster.channels.bots import bot_reason
from gtm_dagster.collector.access import Access
from gtm_dagster.collector.body import Receive, Unpacking, check_encoding, read_body, start_of
from gtm_dagster.collector.client_library import sent_with
from gtm_dagster.collector.commits import Commits, Place
from gtm_dagster.collector.headers import Scope, header, headers, query_value
from gtm_dagster.collector.keys import WriteKey
from gtm_dagster.collector.large_bodies import LARGE_BYTES, LARGE_EVENTS, LargeBodies
from gtm_dagster.collector.metrics import Metrics
from gtm_dagster.collector.protocols import EventResult, IngestRequest, IngestResult, SenderProtocol
from gtm_dagster.collector.rate_limits import RateLimits
from gtm_dagster.collector.response import RETRY_SECONDS, Refused, Response
from gtm_dagster.eventlog import AppendResult
from gtm_dagster.settings import Collector as Limits

PROTOCOL_HEADERS = frozenset(
    {b"anonymousid", b"content-type", b"posthog-request-timestamp", b"sentat", b"sp-anonymous"}
)
"""What clients say beside the body; so do all headers that begin with ATTRIBUTE."""
ATTRIBUTE = b"ce-"
_CONFLICT = {
    "path": "event_id",
    "code": "conflict",
    "message": "another event with other content was stored under this event_id; this one was not",
}


class _Origin(NamedTuple):
    """Where a request comes from: its key, the program that sent it, the trace it belongs to, whether its browser sent
    `Sec-GPC: 1`, and its protocol and client library.
    """

    key: WriteKey
    program: str | None
    trace_id: str | None
    gpc: bool
    sent_with: str


def _program(scope: Scope, key: WriteKey) -> str | None:
    """The program whose agent a request carries. Behind a server key that is the agent of the sender's own server."""
    agent = header(scope, b"user-agent") if key.role == "client" else None
    return bot_reason(agent.decode("latin-1"), of_request=True) if agent else None


def _given(scope: Scope) -> dict[str, str]:
    """The headers of a request that a protocol may ask for; of several of one name the first."""
    found: dict[str, str] = {}
    if (sent_at := query_value(scope, "sentAt")) is not None:  # a beacon sends no headers of its own
        found["sentat"] = sent_at
    for name, value in scope["headers"]:
        name = name.lower()
        if name in PROTOCOL_HEADERS or name.startswith(ATTRIBUTE):
            found.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return found


class Ingest:
    """Takes events for one collector; `draining` refuses new ones."""

    def __init__(
        self, commits: Commits, judge: Judge, access: Access, limits: Limits, rates: RateLimits, metrics: Metrics
    ) -> None:
        self.draining = False
        self.metrics = metrics
        self._commits = commits
        self._judge = judge
        self._access = access
        self._limits = limits
        self._rates = rates
        self._large = LargeBodies()

    async def __call__(self, protocol: SenderProtocol, path: str, scope: Scope, receive: Receive) -> Response:
        """The response to one request of `protocol`. Raises Refused, also 503 when it cannot be made durable now."""
        try:
            return await self._taken(protocol, path, scope, receive)
        except Refused as refused:
            if protocol.refusal is not None:
                refused.more = protocol.refusal(refused)
            raise

    async def _taken(self, protocol: SenderProtocol, path: str, scope: Scope, receive: Receive) -> Response:
        started = time.perf_counter()
        in_body = protocol.key_of is not None and not self._access.names_key(scope)
        key = None if in_body else self._access.sender(scope)
        if key is not None:
            self._within_rate(key.name)
        if self.draining:
            raise Refused(503, "stopping", "the collector is stopping; send it again", RETRY_SECONDS)
        check_encoding(headers(scope, b"content-encoding"))
        limits = self._limits
        if scope["method"] == "HEAD":
            raise Refused(
                405, "method_not_allowed", f"{path} stores what it is sent, and a HEAD asks for nothing to happen"
            )
        packed: bytes = scope["query_string"] if protocol.in_query else b""
        with self._large.arriving() as room:
            reading = partial(self._read, protocol, path, scope, key, time.time_ns() // 1000)
            try:
                if not protocol.in_query:
                    packed = await read_body(
                        receive,
                        header(scope, b"content-length"),
                        limits.max_body_bytes,
                        limits.body_timeout_seconds,
                        room,
                    )
                judged, place = await self._judged(reading, packed)
            except Refused as refused:
                if refused.status != 413 or not protocol.keeps_too_large:
                    raise
                start = await start_of(packed, receive, limits.body_timeout_seconds)
                judged, place = self._refused_whole(protocol, path, scope, key, start, refused)
        self.metrics.request_bytes.observe(len(packed))
        del packed
        handed_over = time.perf_counter()
        with place:
            appended = await self._commits.append([one.record for one in judged], place)
        self.metrics.commit_seconds.observe(time.perf_counter() - handed_over)
        self.metrics.ack_seconds.observe(time.perf_counter() - started)
        return protocol.response(self._result(judged, appended))

    async def _judged(
        self, reading: Callable[[Unpacking], tuple[list[bytes], _Origin]], packed: bytes
    ) -> tuple[list[Judged], Place]:
        """The verdicts on the events of a body and their place at the log; a large body is worked on by a worker."""
        unpacking = Unpacking(packed, self._limits.max_body_bytes)
        unpacking.start(LARGE_BYTES + 1)
        found: tuple[list[bytes], _Origin] | None = None
        if unpacking.is_done and unpacking.size <= LARGE_BYTES:
            found = reading(unpacking)
            events, origin = found
            if len(events) <= LARGE_EVENTS:
                place = self._commits.place(len(events), unpacking.size)
                try:
                    return self._verdicts(events, origin), place
                except BaseException:
                    place.leave()
                    raise
        async with self._large.turn():
            if found is None:
                found = await self._large.work(partial(reading, unpacking))
            events, origin = found
            place = self._commits.place(len(events), unpacking.size)
            try:
                return await self._large.work(partial(self._verdicts, events, origin)), place
            except BaseException:
                place.leave()
                raise

    def _read(
        self,
        protocol: SenderProtocol,
        path: str,
        scope: Scope,
        key: WriteKey | None,
        received_us: int,
        unpacking: Unpacking,
    ) -> tuple[list[bytes], _Origin]:
        """The events of a request and where they come from; `key`: None where the body names it."""
        request = self._request(protocol, path, scope, unpacking.text(), received_us)
        if key is None:
            key = self._access.sender(scope, protocol.key_of(request) if protocol.key_of else None)
        # behind a server key the header is of the sender's own server, which passes on what its visitor refused
        gpc = key.role == "client" and (header(scope, b"sec-gpc") or b"").strip() == b"1"
        origin = _Origin(
            key, _program(scope, key), trace_id_of(header(scope, b"traceparent")), gpc, sent_with(protocol.name, scope)
        )
        events = protocol.events(request)
        self._within_rate(key.name, len(events))
        return events, origin

    def _within_rate(self, key: str, events: int | None = None) -> None:
        """Raises Refused 429 when the key may send nothing now, or not so many events."""
        try:
            self._rates.check(key) if events is None else self._rates.take(key, events)
        except Refused:
            self.metrics.limited(key)
            raise

    def _request(
        self, protocol: SenderProtocol, path: str, scope: Scope, text: bytes, received_us: int
    ) -> IngestRequest:
        limits = self._limits
        return IngestRequest(
            path,
            text,
            limits.max_batch_events,
            limits.max_event_bytes,
            _given(scope),
            received_us,
            self._judge.plan,
            protocol.in_query,
        )

    def _refused_whole(
        self, protocol: SenderProtocol, path: str, scope: Scope, key: WriteKey | None, start: bytes, refused: Refused
    ) -> tuple[list[Judged], Place]:
        """The verdict on a request as one event that is too large, and its place; the key may stand in the `start`."""
        received_us = time.time_ns() // 1000
        if key is None:
            request = self._request(protocol, path, scope, start, received_us)
            key = self._access.sender(scope, protocol.key_of(request) if protocol.key_of else None)
        self._within_rate(key.name, 1)
        judged = self._judge.refused_whole(refused.message, write_key=key.name, received_us=received_us, role=key.role)
        return [judged], self._commits.place(1, 0)

    def _verdicts(self, events: list[bytes], origin: _Origin) -> list[Judged]:
        key = origin.key
        return self._judge(
            events,
            write_key=key.name,
            received_us=time.time_ns() // 1000,
            gates_consent=key.gates_consent,
            role=key.role,
            bot_reason=origin.program,
            trace_id=origin.trace_id,
            gpc=origin.gpc,
            sent_with=origin.sent_with,
        )

    def _result(self, judged: list[Judged], appended: AppendResult) -> IngestResult:
        self.metrics.answered(appended.statuses, [error["code"] for one in judged for error in one.errors])
        plan_version = self._judge.plan.version
        offsets = appended.offsets or [None] * len(judged)
        results = []
        for one, status, offset in zip(judged, appended.statuses, offsets, strict=True):
            errors = one.errors
            if status == "conflict":
                status, errors = "duplicate", [_CONFLICT]
            at = None if offset is None else str(offset)
            results.append(EventResult(one.event_id, status, errors, one.note, at, plan_version))
        last = str(appended.last_seq) if appended.last_seq >= 0 else ""  # a topic gives it when it is read
        return IngestResult(results, plan_version, last)
