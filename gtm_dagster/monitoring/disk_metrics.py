"""Sizes of files and the room on their disks, looked at when they are asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class DiskMetrics(Collector):
    """`gtm_disk_free_bytes{store}` of folders by name, and gauges of files' sizes by metric name.

    What is not there has no series: no data is not zero.
    """

    def __init__(self, folders: Mapping[str, Path], files: Mapping[str, tuple[str, Path]] | None = None) -> None:
        self._folders = dict(folders)
        self._files = dict(files or {})

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families as they stand now."""
        free = GaugeMetricFamily("gtm_disk_free_bytes", "Bytes free on the disk of a store.", labels=("store",))
        for name, folder in self._folders.items():
            try:
                free.add_metric((name,), shutil.disk_usage(folder).free)
            except OSError:
                continue
        yield free
        for name, (meaning, path) in self._files.items():
            yield from gauge(name, meaning, partial(_size, path))


def gauge(name: str, meaning: str, value: Callable[[], float | None]) -> Iterator[GaugeMetricFamily]:
    """A gauge without labels; no series where `value` gives None or an OSError."""
    try:
        found = value()
    except OSError:
        found = None
    if found is not None:
        yield GaugeMetricFamily(name, meaning, value=found)


def _size(path: Path) -> float:
    return path.stat().st_size
