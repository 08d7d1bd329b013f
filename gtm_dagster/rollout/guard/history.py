"""The same detector over a long history: in steps, each with the cohorts a live guard would look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np

from gtm_dagster.rollout.guard.cells import HORIZON_SLOTS
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.detector import Trace, trace
from gtm_dagster.rollout.guard.rule import Rule

STEP_SLOTS = 86_400_000_000 // SLOT_US
"""A day a step: a moment is evaluated on the cohorts of six to seven days before it."""
_FIELDS = tuple(field.name for field in fields(Trace))


def as_of(counts: Counts, slot: int, since_slot: int | None = None) -> Counts:
    """The counts as they stood at the start of a slot; cohorts before `since_slot` are left out."""
    folded = () if since_slot is not None else tuple(each for each in counts.folded if each.last_slot < slot)
    first = counts.slot0 if since_slot is None else max(since_slot, counts.slot0)
    known = (counts.conv_slot + counts.conv_age < slot) & (counts.conv_slot >= first)
    return Counts(
        first,
        counts.exposed[:, first - counts.slot0 : max(slot - counts.slot0, 0)],
        counts.conv_slot[known],
        counts.conv_age[known],
        counts.conv_arm[known],
        counts.conv_n[known],
        min(slot * SLOT_US, counts.watermark_us),
        folded,
    )


def trace_history(counts: Counts, rule: Rule, progress: Callable[[int, int], None] | None = None) -> Trace:
    """The verdict at every moment of a history of any length."""
    last = counts.watermark_us // SLOT_US
    if last - counts.slot0 <= HORIZON_SLOTS:
        return trace(counts, rule)
    parts: list[Trace] = []
    ends = [*range(counts.slot0 + HORIZON_SLOTS, last, STEP_SLOTS), last]
    seen_us = -1
    for done, end in enumerate(ends, start=1):
        part = trace(as_of(counts, end, end - HORIZON_SLOTS), rule)
        new = part.times_us > seen_us
        parts.append(Trace(*(getattr(part, name)[new] for name in _FIELDS)))
        seen_us = end * SLOT_US
        if progress:
            progress(done, len(ends))
    return Trace(*(np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS))
