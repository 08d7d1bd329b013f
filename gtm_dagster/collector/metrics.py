"""The metrics of a collector process for Prometheus, in a registry of their own.

Every series whose labels are known begins at 0 with the process: `rate` of one that begins with its first event is 0, so
the first failure would alert nobody.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from gtm_dagster.collector.worker_place import Worker
from gtm_dagster.eventlog.group_commit import MAX_PRODUCERS
from gtm_dagster.monitoring import metrics_text, process_registry

STATUSES = ("accepted", "duplicate", "conflict", "quarantined", "suppressed")
ANSWERS = ("200", "400", "401", "403", "405", "413", "429", "500", "503")
"""HTTP statuses of the collector's own paths."""
REASON_CODES = (
    "bad_timestamp", "consent", "drill", "future_timestamp", "invalid", "invalid_json", "invalid_utf8", "lone_surrogate",
    "maximum",
    "minimum", "missing_field", "missing_identity", "missing_property", "not_allowed", "not_finite", "nul",
    "number_out_of_range", "pattern", "personal_data", "placeholder_id", "property_name", "timestamp_out_of_range",
    "timestamp_without_offset", "too_deep", "too_large", "too_long", "too_many_properties", "type", "unknown_event",
    "unknown_field", "unknown_property",
)  # fmt: skip
"""Reasons an event at this door may have; any other counts as `other`."""
OTHER = "other"
SHOWN_PRODUCERS = 50
"""Producers with a series of their own, those known first; the oldest heartbeat is that of all."""
ACK_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BODY_BYTES = (256, 1_000, 4_000, 16_000, 64_000, 256_000, 1_000_000, 5_000_000)


class Metrics(Collector):
    """Counters of one collector process. `waiting` returns how many events wait for the log.

    `worker`: which of several processes this is; then `text` sums over all of them, those that ended included.
    """

    def __init__(
        self,
        waiting: Callable[[], int],
        event_paths: Iterable[str] = (),
        pages: Iterable[str] = (),
        worker: Worker | None = None,
    ) -> None:
        self._worker = worker
        self._waiting_now = waiting
        self.registry = CollectorRegistry() if worker else process_registry("collector")
        self.requests = Counter(
            "gtm_collector_requests", "Requests by path and status.", ("path", "status"), registry=self.registry
        )
        self.events = Counter("gtm_collector_events", "Events by verdict.", ("status",), registry=self.registry)
        self.reasons = Counter(
            "gtm_collector_reasons", "Reasons of quarantined and suppressed events.", ("code",), registry=self.registry
        )
        self.ack_seconds = Histogram(
            "gtm_collector_ack_seconds", "Seconds from a request to its durable answer.", registry=self.registry,
            buckets=ACK_SECONDS,
        )  # fmt: skip
        self.commit_seconds = Histogram(
            "gtm_collector_commit_seconds", "Of them, seconds until the log had them on disk.", registry=self.registry,
            buckets=ACK_SECONDS,
        )  # fmt: skip
        self.request_bytes = Histogram(
            "gtm_collector_request_bytes", "Bytes of a request of events, as they came.", registry=self.registry,
            buckets=BODY_BYTES,
        )  # fmt: skip
        self.limits = Counter(
            "gtm_collector_rate_limited", "Requests beyond the rate of their key.", ("write_key",), registry=self.registry
        )  # fmt: skip
        self._waiting = Gauge(
            "gtm_collector_waiting_events", "Events waiting for the log.", registry=self.registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        if worker is None:
            self._waiting.set_function(waiting)
        for path in (*event_paths, *pages):
            for status in ANSWERS:
                self.requests.labels(path, status)
        self.requests.labels(OTHER, "404")
        for status in STATUSES:
            self.events.labels(status)
        for code in (*REASON_CODES, OTHER):
            self.reasons.labels(code)
        self.shared: list[Collector] = []
        self._beats: dict[str, float] = {}
        self._shown: set[str] = set()
        if worker is None:
            self.registry.register(self)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return metrics_text(self.registry) if self._worker is None else metrics_text(self._of_all(self._worker))

    def _of_all(self, worker: Worker) -> CollectorRegistry:
        self.note_waiting()
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody, str(worker.folder))
        for own in self.shared:
            everybody.register(own)
        return everybody

    def note_waiting(self) -> None:
        """Let the other processes of this collector see how many events wait here."""
        self._waiting.set(self._waiting_now())

    def limited(self, write_key: str) -> None:
        """Count a request beyond the rate of its key."""
        self.limits.labels(write_key).inc()

    def answered(self, statuses: Iterable[str], reasons: Iterable[str]) -> None:
        """Count the events of one request by status, and the codes of their reasons."""
        for status, n in Tally(statuses).items():
            self.events.labels(status).inc(n)
        for code, n in Tally(reasons).items():
            self.reasons.labels(code if code in REASON_CODES else OTHER).inc(n)

    def beat(self, producer: str, closing: bool = False) -> None:
        """Note a heartbeat; `closing` forgets the producer. Beyond MAX_PRODUCERS the one silent for longest is forgotten."""
        self._beats.pop(producer, None)
        if closing:
            self._shown.discard(producer)
            return
        self._beats[producer] = time.time()
        if len(self._beats) > MAX_PRODUCERS:
            silent = next(iter(self._beats))
            del self._beats[silent]
            self._shown.discard(silent)
        if len(self._shown) < SHOWN_PRODUCERS:
            self._shown.add(producer)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """When producers last beat."""
        return heartbeat_families(dict(self._beats), set(self._shown))


def heartbeat_families(beats: dict[str, float], shown: set[str]) -> Iterator[GaugeMetricFamily]:
    """When producers last beat (seconds since 1970), a series each of `shown`. A time and no age: where the process stands
    still, the age goes on growing.
    """
    yield GaugeMetricFamily("gtm_collector_producers", "Producers that send heartbeats.", value=len(beats))
    if beats:
        yield GaugeMetricFamily(
            "gtm_collector_oldest_heartbeat_timestamp_seconds",
            "When the producer that is silent for longest last beat.",
            value=min(beats.values()),
        )
    family = GaugeMetricFamily(
        "gtm_collector_heartbeat_timestamp_seconds",
        f"When a producer last beat; of the first {SHOWN_PRODUCERS}.",
        labels=("producer",),
    )
    for producer, beat_at in beats.items():
        if producer in shown:
            family.add_metric((producer,), beat_at)
    yield family
