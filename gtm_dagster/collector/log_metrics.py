"""The event log as the collector's metrics show it: how far it goes, and what it takes on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gtm_dagster.collector.shared_log import SharedLog
from gtm_dagster.eventlog import EventLog, EventLogError, Spooling
from gtm_dagster.monitoring.disk_metrics import DiskMetrics
from gtm_dagster.settings import Settings


class LogMetrics(Collector):
    """`gtm_eventlog_head_offset`, its bytes and those of its write-ahead log, and the room on its disk."""

    def __init__(self, log: EventLog, path: Path) -> None:
        self._log = log
        self._disk = DiskMetrics(
            {"eventlog": path.parent},
            {
                "gtm_eventlog_bytes": ("Bytes of the event log.", path),
                "gtm_eventlog_wal_bytes": ("Bytes of its write-ahead log.", path.with_name(f"{path.name}-wal")),
            },
        )

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families as they stand now; no head where the log cannot be read."""
        try:
            head = self._log.last_seq()
        except EventLogError:
            pass
        else:
            yield GaugeMetricFamily("gtm_eventlog_head_offset", "Offset of the newest record.", value=head)
        yield from self._disk.collect()


class SpoolMetrics(Collector):
    """Of a log that is a topic: whether the broker takes events, what waits for it on this disk, and the room there.

    `broker_fault`: of the process that writes the log.
    """

    def __init__(self, log: Spooling, folder: Path, broker_fault: Callable[[], str | None]) -> None:
        self._log = log
        self._broker_fault = broker_fault
        self._disk = DiskMetrics(
            {"eventlog": folder}, {"gtm_eventlog_spool_bytes": ("Bytes of the spool.", folder / "spool.db")}
        )

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families as they stand now; the broker is not asked: it may be away."""
        try:
            waiting = self._log.spooled()
        except EventLogError:
            pass
        else:
            yield GaugeMetricFamily("gtm_eventlog_spooled_events", "Events that wait for the broker.", value=waiting)
        up = self._broker_fault() is None
        yield GaugeMetricFamily("gtm_eventlog_broker_up", "1 while the broker takes events.", value=int(up))
        yield from self._disk.collect()


def log_metrics(log: EventLog, settings: Settings, shared: SharedLog | None = None) -> Collector:
    """The metrics of the log of these settings; `shared`: by which a worker appends."""
    if isinstance(log, Spooling):
        return SpoolMetrics(log, log.folder, log.broker_fault if shared is None else shared.broker_fault)
    return LogMetrics(log, settings.log_path)
