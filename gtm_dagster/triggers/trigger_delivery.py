"""The worker that sends the messages of a deployment's rules, wired to its settings, templates and consents."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from gtm_dagster.delivery.message_worker import MessageWorker
from gtm_dagster.delivery.worker_wiring import Observe, Wiring
from gtm_dagster.triggers.consent_at_delivery import refused_meanwhile
from gtm_dagster.triggers.target_lint import templates_beside
from gtm_dagster.triggers.trigger_db import open_trigger_db, trigger_db_path

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

JOIN_SECONDS, MOST_PAUSE = 10.0, 30.0
_log = logging.getLogger("gtm_dagster.delivery")


def message_worker(
    settings: Settings,
    environ: Mapping[str, str],
    alert: Callable[[str, str], None],
    observe: Observe,
    turn: threading.Lock | None = None,
) -> MessageWorker:
    """The worker of a deployment that names a file of rules; `turn` is shared with the rules of this process. Raises TriggerDbError, and ValueError without the file."""
    if settings.triggers_file is None:
        raise ValueError("triggers_file is not set: there is nothing to deliver")
    path = trigger_db_path(settings.state_dir)
    open_trigger_db(path).close()
    wiring = Wiring(
        destinations=settings.destinations, environ=environ, templates=templates_beside(settings.triggers_file),
        allowed=refused_meanwhile, feed_days=settings.feed.days, alert=alert, observe=observe,
        turn=turn or threading.Lock(),
    )  # fmt: skip
    return MessageWorker(path, wiring)


class MessageThread:
    """`with MessageThread(make):` lets the worker that `make` returns send in a thread of its own until the end of the block.

    What fails is tried again, after 1 s and longer every time: whoever else works in this process goes on.
    """

    def __init__(self, make: Callable[[], MessageWorker]) -> None:
        self._make = make
        self._stop = threading.Event()
        self._worker: MessageWorker | None = None
        self._thread = threading.Thread(target=self._run, name="gtm-messages", daemon=True)

    def wake(self) -> None:
        """Look for messages at once; from any thread."""
        if self._worker is not None:
            self._worker.wake()

    def __enter__(self) -> MessageThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.wake()
        self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        pause = 1.0
        while not self._stop.is_set():
            try:
                self._worker = self._make()
            except Exception as error:  # noqa: BLE001 - the thread outlives a fault
                _log.error("messages of triggers: %s; again in %g s", error, pause)
                self._stop.wait(pause)
                pause = min(2 * pause, MOST_PAUSE)
                continue
            try:
                self._worker.run(self._stop)
            finally:
                self._worker.close()
