"""Whether a guard sees enough: what the stream worker counted beside the evidence, read for the rules of `blindness`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gtm_dagster.rollout.guard.blindness import (
    Seen,
    lost_conversions,
    refused_text,
    silent_control,
    unmatched,
)
from gtm_dagster.rollout.guard.counts import Counts

if TYPE_CHECKING:
    from gtm_dagster.opsstore import GuardRow, OpsStore
    from gtm_dagster.settings import Guard

_HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class Sight:
    """`seen`: since the guard was armed. `blind`: why nothing can be concluded, empty when something can; `notes`: what
    stands beside the reason in any case."""

    seen: Seen
    blind: str = ""
    notes: tuple[str, ...] = ()


def sight_of(store: OpsStore, guard: Guard, row: GuardRow, counts: Counts, supported_since_us: int | None) -> Sight:
    """What the guard sees at the counts' watermark.

    Refused conversions hold the guard when they were too many within the last hour, or since the evidence begins.
    """
    since_us = row.epoch_since_us or 0
    seen = Seen.of(store.records(guard.key, since_us))
    window_us = round(guard.conversion_window_minutes * 60_000_000)
    spans = {"of the last hour": Seen.of(store.records(guard.key, max(since_us, counts.watermark_us - _HOUR_US)))}
    if supported_since_us is not None:
        begin_us = max(since_us, supported_since_us)
        spans["since the evidence begins"] = Seen.of(store.records(guard.key, begin_us))
    blind = (
        unmatched(guard.conversion, counts, window_us, seen)
        or lost_conversions(guard.conversion, spans)
        or silent_control(guard.conversion, counts, window_us)
    )
    refused = refused_text(guard.conversion, seen)
    return Sight(seen, blind, (refused,) if refused and refused not in blind else ())
