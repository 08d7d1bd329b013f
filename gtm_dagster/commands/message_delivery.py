"""What `gtm stream` and `gtm deliver` share: the worker of trigger messages, whose alerts go out through `[[notify]]`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threading import Lock

    from prometheus_client import CollectorRegistry

    from gtm_dagster.delivery.message_worker import MessageWorker
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.settings import Settings


def worker_maker(
    settings: Settings, store: OpsStore, registry: CollectorRegistry | None, turn: Lock | None = None
) -> Callable[[], MessageWorker]:
    """What makes the deployment's worker of trigger messages; its counts are registered in `registry`, if there is one.

    `turn` is held by whoever writes to triggers.db in this process.
    """
    from gtm_dagster.delivery.worker_wiring import unobserved
    from gtm_dagster.rollout.control.messages import Message, enqueue
    from gtm_dagster.triggers.trigger_db import trigger_db_path
    from gtm_dagster.triggers.trigger_delivery import message_worker

    def alert(name: str, words: str) -> None:
        now_us = time.time_ns() // 1000
        enqueue(store, settings, f"destination:{name}", f"disabled:{now_us}", Message("destination_disabled", name, words, {}), now_us)  # fmt: skip

    observe = unobserved
    if registry is not None:
        from gtm_dagster.delivery.delivery_metrics import MessageBacklog, MessageCounters

        observe = MessageCounters(registry, settings.destinations).observe
        registry.register(MessageBacklog(trigger_db_path(settings.state_dir), settings.destinations))
    return lambda: message_worker(settings, os.environ, alert, observe, turn)
