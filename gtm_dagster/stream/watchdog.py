"""The parts of a deployment watch each other, and people are notified when one is silent, and again when it is back.

A guard decides in the tick of its sensor: a tick that does not end, or a daemon that is gone, can notify nobody. So the
stream worker watches the sensor and the collector, and Dagster's daemon watches the stream worker. Each message goes through
the outbox; what stands is kept in the ops store, so that a restart does not repeat it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests

from gtm_dagster.opsstore import OpsStore
from gtm_dagster.rollout.control.messages import Message, enqueue, moment

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

SILENT_US = 180_000_000
"""A part without a sign of life for this long is silent (3 min); looks come every 15 s."""
LOOK_SECONDS = 15.0
SENSOR, COLLECTOR, STREAM = "conversion_guard", "collector", "stream"
_ANSWER_SECONDS = 5.0
_log = logging.getLogger("gtm_dagster.stream")


@dataclass(frozen=True)
class Part:
    """What a silent part means, and what to do."""

    name: str
    silence: str
    way_out: str


PARTS = {
    part.name: part
    for part in (
        Part(
            SENSOR,
            "the sensor conversion_guard has not looked at the guards: no flag is turned off",
            "is it stopped in the web UI (Automation), and does Dagster's daemon run?",
        ),
        Part(
            COLLECTOR,
            "the collector does not answer: events are refused, and guards see no conversions",
            "is `gtm collect` running, and is there room on its disk?",
        ),
        Part(
            STREAM,
            "the stream worker has not gone on: nothing is counted, and no guard decides",
            "is `gtm stream` running, and what does it log?",
        ),
    )
}


def is_silent(last_us: int | None, began_us: int, now_us: int) -> bool | None:
    """Whether a part is silent; None when that is not known: it never gave a sign, or the watch has just begun."""
    if last_us is None:
        return None
    if now_us - last_us <= SILENT_US:
        return False
    return True if now_us - began_us > SILENT_US else None


class Watchdog:
    """Watches `parts` by their beats in the store; `look` is done every `LOOK_SECONDS` by a thread of its own."""

    def __init__(
        self, store: OpsStore, settings: Settings, parts: Iterable[str], clock: Callable[[], int] | None = None
    ) -> None:
        self._store, self._settings = store, settings
        self._parts = [PARTS[name] for name in parts]
        self._clock = clock or (lambda: time.time_ns() // 1000)
        self._began_us = self._clock()

    def look(self) -> None:
        """Raise an alarm for each part that has become silent, and end those of parts that are back."""
        now_us = self._clock()
        for part in self._parts:
            last_us = self._store.last_beat(part.name)
            silent = is_silent(last_us, self._began_us, now_us)
            if silent and last_us is not None and self._store.raise_alarm(part.name, last_us):
                self._notify(part, "silent", last_us, f"{part.silence} since {moment(last_us)}; {part.way_out}", now_us)
            elif silent is False and (since_us := self._store.end_alarm(part.name)) is not None:
                self._notify(
                    part, "back", since_us, f"{part.name} is back; it was silent since {moment(since_us)}", now_us
                )

    def _notify(self, part: Part, event: str, since_us: int, text: str, now_us: int) -> None:
        _log.error("%s", text)
        figures = {"part": part.name, "silent_since": moment(since_us)}
        message = Message(event, "", f"{self._settings.state_dir}: {text}", figures)
        enqueue(self._store, self._settings, f"watch/{part.name}", f"{event}-{since_us}", message, now_us)


def beat_of_collector(store: OpsStore, settings: Settings) -> None:
    """Ask the running collector of the state directory for a sign of life. One that ended by itself is not missed."""
    try:
        from gtm_dagster.collector.address import ADDRESS_FILE, running_address
    except ImportError:  # the collector's dependencies are not installed here: it runs elsewhere
        return
    if not (settings.state_dir / ADDRESS_FILE).exists():
        store.forget_beat(COLLECTOR)
        return
    address = running_address(settings.state_dir)
    if address is None:
        return
    try:
        alive = requests.get(f"{address}/livez", timeout=_ANSWER_SECONDS).ok
    except requests.RequestException:
        alive = False
    if alive:
        store.beat(COLLECTOR, time.time_ns() // 1000)
