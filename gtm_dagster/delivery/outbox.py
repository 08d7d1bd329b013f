"""The outbox emptied: what is due is sent, and what a sink refuses is due again later, until it is given up.

A message is leased by one deliverer before it is sent, so two that work at once send it once. One that is killed between
the POST and its mark leaves the lease: when it ends, the message is sent again under the same id.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gtm_dagster.delivery.sinks import sink

if TYPE_CHECKING:
    from gtm_dagster.opsstore import NotificationRow, OpsStore
    from gtm_dagster.settings import Settings

FIRST_WAIT_US = 5_000_000
LONGEST_WAIT_US = 600_000_000
MOST_ATTEMPTS = 150
"""About a day."""
LEASE_US = 60_000_000
ROUND_SECONDS = 20.0
_log = logging.getLogger("gtm_dagster.delivery")


@dataclass(frozen=True)
class Delivery:
    """One attempt: `error` is None when the sink took the message."""

    id: str
    sink: str
    error: str | None


@dataclass
class _Round:
    """What the threads of a round came to."""

    ended: list[Delivery] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)


class Deliverer:
    """Sends what is due, a thread a sink: one that hangs holds up nobody else, and no later round waits for it."""

    def __init__(self, store: OpsStore, settings: Settings, environ: Mapping[str, str] | None = None) -> None:
        self._store = store
        self._settings = settings
        self._environ = os.environ if environ is None else environ
        self._sending: dict[str, threading.Thread] = {}

    def round(self, now_us: int, only: str | None = None, seconds: float = ROUND_SECONDS) -> list[Delivery]:
        """Send what is due (`only` an episode's), for at most so many seconds; returns the attempts that ended.

        What a sink refuses is due again after 5, 10, 20 ... at most 600 s, and given up after MOST_ATTEMPTS. Raises
        OpsStoreError; what was leased then is due again when its lease ends.
        """
        until = time.monotonic() + seconds
        by_sink: dict[str, list[NotificationRow]] = {}
        for note in self._store.due(now_us):
            if only is None or note.episode == only:
                by_sink.setdefault(note.sink, []).append(note)
        work, started = _Round(), []
        for name, notes in by_sink.items():
            before = self._sending.get(name)
            if before is not None and before.is_alive():
                continue
            thread = threading.Thread(
                target=self._send_all, args=(notes, now_us, until, work), name=f"gtm-{name}", daemon=True
            )
            self._sending[name] = thread
            started.append(thread)
            thread.start()
        for thread in started:
            thread.join(max(until - time.monotonic(), 0.0))
        if work.faults:
            raise work.faults[0]
        return sorted(work.ended, key=lambda each: (each.sink, each.id))

    def _send_all(self, notes: Sequence[NotificationRow], now_us: int, until: float, work: _Round) -> None:
        """The messages of one sink, one after the other; what the round has no time for stays due."""
        try:
            for note in notes:
                if time.monotonic() >= until:
                    return
                leased = self._store.lease(note.id, now_us, now_us + LEASE_US)
                if leased is not None:
                    work.ended.append(self._attempt(leased, now_us))
        except Exception as error:  # noqa: BLE001 - raised by the round, in its own thread
            work.faults.append(error)

    def _attempt(self, note: NotificationRow, now_us: int) -> Delivery:
        error = _send(note, self._settings, self._environ)
        if error is None:
            self._store.delivered(note.id, now_us, note.attempts)
        elif note.attempts < MOST_ATTEMPTS:
            self._store.failed(note.id, error, now_us + wait_us(note.attempts - 1), note.attempts)
        elif self._store.failed(note.id, error, None, note.attempts):
            _log.error("message %s to %s is given up after %d attempts: %s", note.id, note.sink, note.attempts, error)
        return Delivery(note.id, note.sink, error)


def deliver_due(
    store: OpsStore, settings: Settings, now_us: int, environ: Mapping[str, str] | None = None, only: str | None = None
) -> list[Delivery]:
    """One round of a Deliverer of its own."""
    return Deliverer(store, settings, environ).round(now_us, only)


def wait_us(attempts: int) -> int:
    """Microseconds until the next attempt, after `attempts` earlier ones and the one that failed now."""
    return min(FIRST_WAIT_US * 2 ** min(attempts, 20), LONGEST_WAIT_US)


def _send(note: NotificationRow, settings: Settings, environ: Mapping[str, str]) -> str | None:
    """Why the sink did not take the message; None when it did."""
    declared = settings.sinks.get(note.sink)
    if declared is None:
        return f"{note.sink} is no longer declared in gtm.toml"
    return sink(declared.kind).send(note, declared, environ)


def not_delivered(store: OpsStore) -> list[NotificationRow]:
    """Messages that were tried and have not arrived."""
    return store.undelivered()


def undelivered_line(notes: Sequence[NotificationRow]) -> str:
    """One line for states and skip reasons; empty when everything arrived."""
    if not notes:
        return ""
    last = notes[-1]
    return f"not delivered: {len(notes)} message(s), {last.sink} {last.last_error} after {last.attempts} attempt(s)"


def given_up(store: OpsStore) -> list[NotificationRow]:
    """Messages that nobody sends any more, oldest first; they are listed for 90 days."""
    return [note for note in store.undelivered() if note.status == "failed"]


def lately(notes: Sequence[NotificationRow], now_us: int) -> bool:
    """Whether one of them was sent for the last time within a day."""
    return any(note.next_us > now_us - 86_400_000_000 for note in notes)


def given_up_lines(notes: Sequence[NotificationRow]) -> list[str]:
    """A line a sink that lost messages; no line when none was given up."""
    by_sink: dict[str, list[NotificationRow]] = {}
    for note in notes:
        by_sink.setdefault(note.sink, []).append(note)
    return [
        f"{name}: {len(lost)} message(s) given up, the last after {lost[-1].attempts} attempts ({lost[-1].last_error}): "
        f"{lost[-1].id}"
        for name, lost in sorted(by_sink.items())
    ]
