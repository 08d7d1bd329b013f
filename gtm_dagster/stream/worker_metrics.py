"""What the stream worker counts itself: how far it is in the log, and what became of messages it sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gtm_dagster.delivery.outbox import Delivery
from gtm_dagster.delivery.sinks import kinds
from gtm_dagster.eventlog import EventLog, EventLogError, Spooling
from gtm_dagster.opsstore import OpsStore, OpsStoreError
from gtm_dagster.stream.log_tail import CONSUMER
from gtm_dagster.warehouse.landing.from_log import CONSUMER as LOADER

DELIVERY_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0)
READERS = (CONSUMER, LOADER)
"""Who reads the log: this worker, and the loader."""
DELIVERED, REFUSED = "delivered", "refused"


class DeliveryMetrics:
    """Counters of messages by kind of sink; an attempt that is refused is due again, or given up at last."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "gtm_outbox_deliveries", "Attempts to deliver a message.", ("kind", "outcome"), registry=registry
        )
        self._seconds = Histogram(
            "gtm_outbox_delivery_seconds", "Seconds from the message in the outbox to the sink that took it.", ("kind",),
            registry=registry, buckets=DELIVERY_SECONDS,
        )  # fmt: skip
        for kind in kinds():
            self._seconds.labels(kind)
            for outcome in (DELIVERED, REFUSED):
                self._attempts.labels(kind, outcome)

    def count(self, attempts: Iterable[Delivery], created_us: Callable[[str], int | None]) -> None:
        """Count a round's attempts; `created_us` says when a message was put into the outbox (microseconds UTC)."""
        for attempt in attempts:
            kind = attempt.sink.partition("[")[0]
            if kind not in kinds():
                continue
            self._attempts.labels(kind, REFUSED if attempt.error else DELIVERED).inc()
            at_us = None if attempt.error else created_us(attempt.id)
            if at_us is not None:
                self._seconds.labels(kind).observe(max(time.time() - at_us / 1e6, 0.0))


class WorkerMetrics(Collector):
    """How far the worker is: offset, records behind the log's head, the receipt of what it counted last, and its rounds."""

    def __init__(
        self, log: EventLog, store: OpsStore, rounds: Callable[[], int], behind: Callable[[], list[str]]
    ) -> None:
        self._log, self._store, self._rounds, self._behind = log, store, rounds, behind

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The families as they stand now; no figure of what cannot be read."""
        yield GaugeMetricFamily("gtm_stream_parts_behind", "Guards whose counts are behind.", value=len(self._behind()))
        yield CounterMetricFamily(
            "gtm_stream_rounds", "Rounds that came to their end since the start.", value=self._rounds()
        )
        try:
            at = self._store.positions().get(CONSUMER)
            head = self._log.last_seq()
            lags = {name: self._log.partition_lag(name) for name in READERS} if isinstance(self._log, Spooling) else {}
        except (OpsStoreError, EventLogError):
            return
        offset = 0 if at is None else at.seq
        yield GaugeMetricFamily("gtm_stream_offset", "Offset of the record counted last.", value=offset)
        yield GaugeMetricFamily("gtm_stream_lag_events", "Records in the log behind it.", value=max(head - offset, 0))
        if lags:
            behind = GaugeMetricFamily(
                "gtm_eventlog_partition_lag_events",
                "Records of a partition of the topic behind what a reader has committed.",
                labels=("reader", "partition"),
            )
            for reader, parts in lags.items():
                for part, n in parts.items():
                    behind.add_metric((reader, str(part)), n)
            yield behind
        if at is not None and at.received_us is not None:
            yield GaugeMetricFamily(
                "gtm_stream_position_timestamp_seconds",
                "When the record counted last was received.",
                value=at.received_us / 1e6,
            )
