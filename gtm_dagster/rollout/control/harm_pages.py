"""People are notified of proven harm that rolls nothing back, once an epoch, and the guard's history says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gtm_dagster.rollout.control.messages import Message, enqueue
from gtm_dagster.rollout.guard.decide import ARMED

if TYPE_CHECKING:
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.guard_context import GuardContext

HARM = "HARM"
"""What a guard's second line pages for: harm is proven, of any size above its margin."""
PAGED = "paged_epoch"
"""In the detail of a move that only records that people were notified of harm."""


def page_harm(context: GuardContext, epoch: int, occurrence: str, message: Message) -> bool:
    """Store the message and record it; False when the epoch was paged for before, or is over.

    The message comes first and has the epoch in its id: whoever is killed in between is followed by one that stores no second.
    """
    row = context.row
    if row.state != ARMED or row.epoch != epoch or harm_paged_us(context.store, context.guard.key, epoch) is not None:
        return False
    enqueue(context.store, context.settings, occurrence, HARM.lower(), message, context.now_us())
    detail: dict[str, Any] = {PAGED: epoch}
    context.move(row, ARMED, message.text, **detail)
    return True


def harm_paged_us(store: OpsStore, key: str, epoch: int) -> int | None:
    """When people were notified of harm in an epoch, microseconds UTC; None when they were not."""
    moves = (move for move in store.history(key) if (move.detail or {}).get(PAGED) == epoch)
    return next((move.at_us for move in moves), None)
