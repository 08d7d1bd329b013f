"""The metrics of a collector process for Prometheus, in a registry of their own."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gtm_dagster.eventlog.group_commit import MAX_PRODUCERS


class Metrics(Collector):
    """Counters of one collector process. `waiting` returns how many events wait for the log."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "gtm_collector_requests", "Requests by path and status.", ("path", "status"), registry=self.registry
        )
        self.events = Counter("gtm_collector_events", "Events by verdict.", ("status",), registry=self.registry)
        self.reasons = Counter(
            "gtm_collector_reasons", "Reasons of quarantined and suppressed events.", ("code",), registry=self.registry
        )
        self.ack_seconds = Histogram(
            "gtm_collector_ack_seconds", "Seconds from a request to its durable answer.", registry=self.registry
        )
        Gauge("gtm_collector_waiting_events", "Events waiting for the log.", registry=self.registry).set_function(
            waiting
        )
        self._beats: dict[str, float] = {}
        self.registry.register(self)

    def answered(self, statuses: Iterable[str], reasons: Iterable[str]) -> None:
        """Count the events of one request by status, and the codes of their reasons."""
        for family, names in ((self.events, statuses), (self.reasons, reasons)):
            for name, n in Tally(names).items():
                family.labels(name).inc(n)

    def beat(self, producer: str, closing: bool = False) -> None:
        """Note a heartbeat; `closing` forgets the producer. Beyond MAX_PRODUCERS the one silent for longest is forgotten."""
        self._beats.pop(producer, None)
        if not closing:
            self._beats[producer] = time.monotonic()
            if len(self._beats) > MAX_PRODUCERS:
                del self._beats[next(iter(self._beats))]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The age of each producer's last heartbeat in seconds."""
        family = GaugeMetricFamily(
            "gtm_collector_heartbeat_age_seconds", "Seconds since a producer's heartbeat.", labels=("producer",)
        )
        now = time.monotonic()
        for producer, beat_at in list(self._beats.items()):
            family.add_metric((producer,), now - beat_at)
        yield family
