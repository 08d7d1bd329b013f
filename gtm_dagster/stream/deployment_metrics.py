"""What no process of its own can be asked for: the outbox, the last refresh, its checks and books, the serving copy.

A refresh is over before a scrape comes. What it left in the state directory and the ops store is exported here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gtm_dagster.delivery.sinks import kinds
from gtm_dagster.monitoring.disk_metrics import gauge
from gtm_dagster.opsstore import OpsStore, OpsStoreError
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.last_refresh import LastRefresh, declared_checks, last_refresh


class DeploymentMetrics(Collector):
    """Everything is read when it is asked for; what cannot be read has no series."""

    def __init__(self, store: OpsStore, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._checks = declared_checks()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families as they stand now."""
        try:
            yield from self._outbox()
        except OpsStoreError:
            pass
        serving = self._settings.serving_path
        yield from gauge(
            "gtm_serving_published_timestamp_seconds",
            "When the serving copy last changed.",
            lambda: serving.stat().st_mtime,
        )
        yield from gauge("gtm_serving_bytes", "Bytes of the serving copy.", lambda: serving.stat().st_size)
        last = last_refresh(self._settings)
        if last is not None:
            yield from self._refresh(last)

    def _outbox(self) -> Iterator[GaugeMetricFamily]:
        backlog = self._store.backlog()
        pending = GaugeMetricFamily("gtm_outbox_pending", "Messages that wait for their sink.", labels=("kind",))
        oldest = GaugeMetricFamily(
            "gtm_outbox_oldest_timestamp_seconds", "When the oldest of them was put in.", labels=("kind",)
        )
        lost = GaugeMetricFamily("gtm_outbox_given_up", "Messages given up in the last 90 days.", labels=("kind",))
        lost_at = GaugeMetricFamily(
            "gtm_outbox_last_given_up_timestamp_seconds", "When one was last given up.", labels=("kind",)
        )
        for kind in kinds():
            here = [row for row in backlog if row.sink.partition("[")[0] == kind]
            pending.add_metric((kind,), sum(row.pending for row in here))
            lost.add_metric((kind,), sum(row.given_up for row in here))
            if began := [row.oldest_us for row in here if row.oldest_us is not None]:
                oldest.add_metric((kind,), min(began) / 1e6)
            if ended := [row.given_up_us for row in here if row.given_up_us is not None]:
                lost_at.add_metric((kind,), max(ended) / 1e6)
        yield from (pending, oldest, lost, lost_at)

    def _refresh(self, last: LastRefresh) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily(
            "gtm_refresh_last_success_timestamp_seconds", "When a refresh last published.", value=last.finished_at
        )
        yield GaugeMetricFamily("gtm_refresh_duration_seconds", "How long it took.", value=last.seconds)
        failed = GaugeMetricFamily(
            "gtm_check_failed", "1 for a check that did not hold.", labels=("table", "check", "severity")
        )
        not_held = set(last.failed_checks)
        for table, check, severity in self._checks:
            failed.add_metric((table, check, severity), float(f"{table}: {check}" in not_held))
        yield failed
        books = GaugeMetricFamily(
            "gtm_books_difference", "Rows of an ingest day (UTC) that no book holds, or that two hold.", labels=("day",)
        )
        today = datetime.now(UTC).date()
        for name, day in (("today", today), ("yesterday", today - timedelta(days=1))):
            difference = last.books_difference.get(day.isoformat())
            if difference is not None:
                books.add_metric((name,), difference)
        yield books
