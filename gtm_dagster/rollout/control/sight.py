"""Whether a guard sees enough: what the stream worker counted beside the evidence, read for the rules of `blindness`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gtm_dagster.rollout.control.messages import moment
from gtm_dagster.rollout.guard.blindness import (
    Seen,
    lost_conversions,
    refused_text,
    silent_control,
    unmatched,
)
from gtm_dagster.rollout.guard.by_arm import ByArm, lopsided, refused_by_arm
from gtm_dagster.rollout.guard.counts import Counts

if TYPE_CHECKING:
    from gtm_dagster.opsstore import GuardRow, OpsStore
    from gtm_dagster.opsstore.stream_positions import Waiting
    from gtm_dagster.settings import Guard

_HOUR_US = 3_600_000_000
_SKEW_US = 60_000_000
"""A clock that is off by this much is said beside the reason (1 min)."""


@dataclass(frozen=True)
class Sight:
    """`seen` and `by_arm`: since the guard was armed. `blind`: why nothing can be concluded, empty when something can; `notes`: what
    stands beside the reason in any case."""

    seen: Seen
    by_arm: ByArm
    blind: str = ""
    notes: tuple[str, ...] = ()


def sight_of(
    store: OpsStore, guard: Guard, row: GuardRow, counts: Counts, threshold: float, supported_since_us: int | None
) -> Sight:
    """What the guard sees at the counts' watermark.

    Refused records hold the guard when they were too many, or too many of one arm, within the last hour or since the
    evidence begins.
    """
    since_us = row.epoch_since_us or 0
    records = store.records(guard.key, since_us)
    seen, by_arm = Seen.of(records), ByArm.of(records)
    window_us = round(guard.conversion_window_minutes * 60_000_000)
    spans = {"of the last hour": store.records(guard.key, max(since_us, counts.watermark_us - _HOUR_US))}
    if supported_since_us is not None:
        spans["since the evidence begins"] = store.records(guard.key, max(since_us, supported_since_us))
    blind = (
        unmatched(guard.conversion, counts, window_us, seen)
        or lost_conversions(guard.conversion, {span: Seen.of(each) for span, each in spans.items()})
        or lopsided(guard.conversion, {span: ByArm.of(each) for span, each in spans.items()}, threshold)
        or silent_control(guard.conversion, counts, window_us)
    )
    notes = (refused_text(guard.conversion, seen), refused_by_arm(guard.conversion, by_arm))
    return Sight(seen, by_arm, blind, tuple(note for note in notes if note and note not in blind))


def notes_about(waiting: Waiting) -> tuple[str, ...]:
    """What to know of the producers that serve a guard: who vanished since when, who is far behind, whose clock is off."""
    notes = [
        f"{row.name} is silent since {moment(row.received_us)} and not waited for any more, so its events may be missing; "
        f"`gtm guard forget {row.name}` ends this notice"
        for row in waiting.vanished
    ]
    notes += [
        f"{row.name} says it has sent only what happened up to {moment(row.ts_us)}, and is not waited for"
        for row in waiting.late
    ]
    notes += [
        f"the clock of {row.name} is {abs(row.skew_us) / 60_000_000:.0f} minutes {'behind' if row.skew_us > 0 else 'ahead'}"
        for row in (*waiting.awaited, *waiting.late)
        if row.skew_us is not None and abs(row.skew_us) >= _SKEW_US
    ]
    return tuple(notes)
