"""`gtm_delivery_*`: what became of trigger messages, by destination, and what waits or was given up."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gtm_dagster.delivery.attempt import Leased
from gtm_dagster.delivery.message_store import MessageStore
from gtm_dagster.delivery.receivers import IN_APP, name_of
from gtm_dagster.settings.destinations import Destination

SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0)
OUTCOMES = ("delivered", "failed", "refused", "unknown", "suppressed", "expired", "dead")


class MessageCounters:
    """Counts what a worker observes."""

    def __init__(self, registry: CollectorRegistry, destinations: Sequence[Destination] = ()) -> None:
        self._attempts = Counter(
            "gtm_delivery_attempts", "Attempts and last words of trigger messages.", ("destination", "outcome"),
            registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "gtm_delivery_seconds", "Seconds from the receipt of the event to the destination that took the message.",
            ("destination",), registry=registry, buckets=SECONDS,
        )  # fmt: skip
        for name in (*(each.name for each in destinations), IN_APP):
            self._seconds.labels(name)
            for outcome in OUTCOMES:
                self._attempts.labels(name, outcome)

    def observe(self, name: str, outcome: str, message: Leased, at_us: int) -> None:
        """As `worker_wiring.Observe`."""
        self._attempts.labels(name, outcome).inc()
        if outcome == "delivered":
            self._seconds.labels(name).observe(max((at_us - message.received_us) / 1e6, 0.0))


class MessageBacklog(Collector):
    """What waits, since when the oldest message is due, what is dead, which destinations are disabled; read when asked."""

    def __init__(self, path: Path, destinations: Sequence[Destination]) -> None:
        self._path, self._destinations = path, destinations

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families as they stand now; none where the database cannot be read."""
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)) as con:
                store = MessageStore(con)
                waiting, dead, disabled = store.waiting(), store.dead(), store.disabled()
        except sqlite3.Error:
            return
        names = [*(each.name for each in self._destinations), IN_APP]
        waits = dict.fromkeys(names, 0)
        oldest: dict[str, int] = {}
        for channel, target, number, next_us in waiting:
            name = name_of(self._destinations, channel, target)
            waits[name] = waits.get(name, 0) + number
            oldest[name] = min(oldest.get(name, next_us), next_us)
        lost = dict.fromkeys(names, 0)
        for channel, target, number in dead:
            name = name_of(self._destinations, channel, target)
            lost[name] = lost.get(name, 0) + number
        late = {name: us / 1e6 for name, us in oldest.items() if us <= time.time_ns() // 1000}
        yield _gauge("gtm_delivery_waiting", "Messages that wait for their destination.", waits)
        yield _gauge("gtm_delivery_oldest_due_timestamp_seconds", "Since when the oldest message is due.", late)
        yield _gauge("gtm_delivery_dead", "Messages given up in the last 90 days.", lost)
        off = {name: float(name in disabled) for name in names if name != IN_APP}
        yield _gauge("gtm_delivery_disabled", "1 for a destination that wants no more messages.", off)


def _gauge(name: str, words: str, values: dict[str, float] | dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, words, labels=("destination",))
    for destination, value in sorted(values.items()):
        family.add_metric((destination,), value)
    return family
