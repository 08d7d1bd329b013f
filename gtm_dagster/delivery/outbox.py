"""The outbox emptied: what is due is sent, and what a sink refuses is due again later, so that no message is lost."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gtm_dagster.delivery.sinks import sink

if TYPE_CHECKING:
    from gtm_dagster.opsstore import NotificationRow, OpsStore
    from gtm_dagster.settings import Settings

FIRST_WAIT_US = 5_000_000
LONGEST_WAIT_US = 600_000_000


@dataclass(frozen=True)
class Delivery:
    """One attempt: `error` is None when the sink took the message."""

    id: str
    sink: str
    error: str | None


def deliver_due(
    store: OpsStore, settings: Settings, now_us: int, environ: Mapping[str, str] | None = None, only: str | None = None
) -> list[Delivery]:
    """Send what is due (`only` an episode's); what a sink refuses is due again after 5, 10, 20 ... at most 600 s."""
    environ = os.environ if environ is None else environ
    deliveries = []
    for note in store.due(now_us):
        if only is not None and note.episode != only:
            continue
        error = _send(note, settings, environ)
        if error is None:
            store.delivered(note.id, now_us)
        else:
            store.failed(note.id, error, now_us + wait_us(note.attempts))
        deliveries.append(Delivery(note.id, note.sink, error))
    return deliveries


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
    return [note for note in store.notifications() if note.status != "delivered" and note.attempts]


def undelivered_line(notes: Sequence[NotificationRow]) -> str:
    """One line for states and skip reasons; empty when everything arrived."""
    if not notes:
        return ""
    last = notes[-1]
    return f"not delivered: {len(notes)} message(s), {last.sink} {last.last_error} after {last.attempts} attempt(s)"
