"""What the metrics of several processes at one port show beside the sums of their counters."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from gtm_dagster.collector.metrics import SHOWN_PRODUCERS, heartbeat_families
from gtm_dagster.eventlog import EventLog, EventLogError
from gtm_dagster.monitoring import installed_version


class WorkerMetrics(Collector):
    """The version, how many workers there should be, and the producers' heartbeats as the log has them."""

    def __init__(self, log: EventLog, workers: int) -> None:
        self._log = log
        self._workers = workers

    def collect(self) -> Iterator[GaugeMetricFamily | InfoMetricFamily]:
        """The families as they stand now; no heartbeats where the log cannot be read."""
        build = {"version": installed_version(), "process": "collector"}
        yield InfoMetricFamily("gtm_build", "Version of gtm-dagster, and which of its processes this is.", value=build)
        yield GaugeMetricFamily("gtm_collector_workers", "Processes that serve the port.", value=self._workers)
        try:
            beats = {beat.producer: beat.received_us / 1e6 for beat in self._log.heartbeats()}
        except EventLogError:
            return
        yield from heartbeat_families(beats, set(list(beats)[:SHOWN_PRODUCERS]))
