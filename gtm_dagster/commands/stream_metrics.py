"""The metrics page of `gtm stream`, and the side tasks that feed it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gtm_dagster.commands.output import note

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from gtm_dagster.delivery.outbox import Delivery
    from gtm_dagster.eventlog import EventLog
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.settings import Settings
    from gtm_dagster.stream import Worker
    from gtm_dagster.triggers.runner_thread import RunnerThread

GUARDS_SECONDS = 30.0
"""Between two looks at the guards for their metrics."""
Counting = Callable[[list["Delivery"]], None]


@contextmanager
def stream_metrics(
    worker: Worker, log: EventLog, store: OpsStore, settings: Settings, rules: RunnerThread | None = None
) -> Iterator[tuple[dict[str, tuple[float, Callable[[], object]]], Counting, CollectorRegistry | None]]:
    """Serve the metrics until the end of the `with`; yields the side tasks they need, what counts deliveries, the registry.

    Nothing of it where the port is 0, or the collector's dependencies are not installed. An address that is taken is a
    note: the guards are counted all the same.
    """
    where = settings.stream
    if not where.metrics_port:
        yield {}, _nothing, None
        return
    try:
        from gtm_dagster.monitoring import process_registry
        from gtm_dagster.monitoring.disk_metrics import DiskMetrics
        from gtm_dagster.monitoring.metrics_page import metrics_page
        from gtm_dagster.stream.deployment_metrics import DeploymentMetrics
        from gtm_dagster.stream.guard_gauges import GuardMetrics
        from gtm_dagster.stream.worker_metrics import DeliveryMetrics, WorkerMetrics
        from gtm_dagster.triggers.trigger_metrics import TriggerMetrics
    except ImportError as error:
        note(f"no metrics: {error.name} is not installed; pip install 'gtm-dagster[collector]'")
        yield {}, _nothing, None
        return
    registry = process_registry("stream")
    guards = GuardMetrics(store, settings)
    deliveries = DeliveryMetrics(registry)
    for collector in (
        WorkerMetrics(log, store, lambda: worker.rounds, worker.behind),
        guards,
        DeploymentMetrics(store, settings),
        DiskMetrics({"state_dir": settings.state_dir}),
    ):
        registry.register(collector)
    if rules is not None:
        registry.register(TriggerMetrics(rules.figures))
    page = metrics_page(registry, where.metrics_host, where.metrics_port)
    try:
        address = page.__enter__()
    except OSError as error:
        note(
            f"no metrics: {where.metrics_host}:{where.metrics_port} cannot be listened on ({error.strerror}); another "
            "stream worker may have it: give this one another stream.metrics_port, or 0"
        )
        yield {}, _nothing, None
        return
    try:
        note(f"stream: metrics at {address}")
        yield (
            {"guard metrics": (GUARDS_SECONDS, lambda: guards.look(time.time_ns() // 1000))},
            lambda attempts: deliveries.count(attempts, store.put_in_us),
            registry,
        )
    finally:
        page.__exit__(None, None, None)


def _nothing(attempts: list[Delivery]) -> None:
    """No metrics are served: nothing is counted."""
