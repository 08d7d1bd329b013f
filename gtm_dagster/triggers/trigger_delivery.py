"""The worker that sends the messages of a deployment's rules, wired to its settings, templates and consents."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gtm_dagster.delivery.message_outbox import trigger_database
from gtm_dagster.delivery.message_worker import MessageWorker
from gtm_dagster.delivery.worker_wiring import Observe, Wiring
from gtm_dagster.triggers.consent_at_delivery import refused_meanwhile
from gtm_dagster.triggers.target_lint import templates_beside
from gtm_dagster.triggers.trigger_db import open_trigger_db

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings


def message_worker(
    settings: Settings, environ: Mapping[str, str], alert: Callable[[str, str], None], observe: Observe
) -> MessageWorker:
    """The worker of a deployment that names a file of rules. Raises TriggerDbError, and ValueError without the file."""
    if settings.triggers_file is None:
        raise ValueError("triggers_file is not set: there is nothing to deliver")
    path = trigger_database(settings)
    open_trigger_db(path).close()
    wiring = Wiring(
        destinations=settings.destinations, environ=environ, templates=templates_beside(settings.triggers_file),
        allowed=refused_meanwhile, feed_days=settings.feed.days, alert=alert, observe=observe,
    )  # fmt: skip
    return MessageWorker(path, wiring)


@contextmanager
def delivering(worker: MessageWorker) -> Iterator[Callable[[], None]]:
    """Let `worker` send in a thread of its own until the end of the `with`; yields what wakes it at once."""
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,), name="gtm-messages", daemon=True)
    thread.start()
    try:
        yield worker.wake
    finally:
        stop.set()
        worker.wake()
        thread.join(10.0)
        if not thread.is_alive():
            worker.close()
