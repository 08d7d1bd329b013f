"""A request of events from its bytes to its answer: key, limits, admission, the log's commit; whatever the protocol."""

from __future__ import annotations

import time

from gtm_dagster.admission.single_event import Judge, Judged
from gtm_dagster.collector.body import Receive, read_body, unpack
from gtm_dagster.collector.commits import Appender, committed
from gtm_dagster.collector.headers import Scope, authorized, header
from gtm_dagster.collector.keys import KeyStore
from gtm_dagster.collector.metrics import Metrics
from gtm_dagster.collector.protocols import EventResult, IngestRequest, IngestResult, SenderProtocol
from gtm_dagster.collector.response import RETRY_SECONDS, Refused, Response
from gtm_dagster.eventlog import AppendResult, Record
from gtm_dagster.settings import Collector as Limits

_CONFLICT = {
    "path": "event_id",
    "code": "conflict",
    "message": "another event with other content was stored under this event_id; this one was not",
}


class Ingest:
    """Takes events for one collector. `waiting` counts the events queued for the log; `draining` refuses new ones."""

    def __init__(self, log: Appender, judge: Judge, keys: KeyStore, limits: Limits) -> None:
        self.waiting = 0
        self.draining = False
        self.metrics = Metrics(lambda: self.waiting)
        self._log = log
        self._judge = judge
        self._keys = keys
        self._limits = limits

    async def __call__(self, protocol: SenderProtocol, path: str, scope: Scope, receive: Receive) -> Response:
        """The response to one request of `protocol`. Raises Refused, also 503 when it cannot be made durable now."""
        started = time.perf_counter()
        write_key = authorized(scope, self._keys)
        if self.draining:
            raise Refused(503, "stopping", "the collector is stopping; send it again", RETRY_SECONDS)
        limits = self._limits
        packed = await read_body(
            receive, header(scope, b"content-length"), limits.max_body_bytes, limits.body_timeout_seconds
        )
        body = unpack(packed, limits.max_body_bytes)
        events = protocol.events(IngestRequest(path, body, limits.max_batch_events))
        if self.waiting and self.waiting + len(events) > limits.max_waiting_events:
            raise Refused(503, "queue_full", f"{self.waiting} events wait for the log; send it again", RETRY_SECONDS)
        judged = self._judge(
            events,
            write_key=write_key,
            received_us=time.time_ns() // 1000,
            gates_consent=self._keys.gates_consent(write_key),
        )
        appended = await self._append([one.record for one in judged])
        self.metrics.ack_seconds.observe(time.perf_counter() - started)
        return protocol.response(self._result(judged, appended))

    async def _append(self, records: list[Record]) -> AppendResult:
        self.waiting += len(records)
        try:
            return await committed(lambda: self._log.submit(records))
        finally:
            self.waiting -= len(records)

    def _result(self, judged: list[Judged], appended: AppendResult) -> IngestResult:
        self.metrics.answered(appended.statuses, [error["code"] for one in judged for error in one.errors])
        results = []
        for one, status in zip(judged, appended.statuses, strict=True):
            if status == "conflict":
                results.append(EventResult(one.event_id, "duplicate", [_CONFLICT]))
            else:
                results.append(EventResult(one.event_id, status, one.errors, one.note))
        return IngestResult(results, self._judge.plan.version, str(appended.last_seq))
