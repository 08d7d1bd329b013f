"""The metrics every long-lived process exports: version, memory, processor time, open files, garbage collection."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""Media type of `metrics_text`."""

# A second series for each counter, with its time of creation; nothing here reads it.
disable_created_metrics()  # type: ignore[no-untyped-call]


def process_registry(process: str) -> CollectorRegistry:
    """A registry with `process_*`, `python_*` and `gtm_build_info{version, process}`.

    `process`: collector, stream or dashboard. Register own metrics in it and answer a scrape with `metrics_text`.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    Info("gtm_build", "Version of gtm-dagster, and which of its processes this is.", registry=registry).info(
        {"version": installed_version(), "process": process}
    )
    return registry


def metrics_text(registry: CollectorRegistry) -> bytes:
    """All metrics of a registry in Prometheus' text format."""
    return generate_latest(registry)


def installed_version() -> str:
    """The version of gtm-dagster, or unknown."""
    try:
        return version("gtm-dagster")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
