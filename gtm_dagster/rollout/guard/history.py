"""The same detector over a long past: judged in steps, each with the cohorts a live guard would have held."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gtm_dagster.rollout.guard.cells import HORIZON_SLOTS
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.detector import Rule, Trace, trace

STEP_SLOTS = 86_400_000_000 // SLOT_US
"""A day a step: a moment is judged on the cohorts of six to seven days before it."""


def as_of(counts: Counts, slot: int, since_slot: int | None = None) -> Counts:
    """The counts as they stood at the start of a slot; cohorts before `since_slot` are left out."""
    first = counts.slot0 if since_slot is None else max(since_slot, counts.slot0)
    kept = (counts.conv_slot + counts.conv_age < slot) & (counts.conv_slot >= first)
    return Counts(
        first,
        counts.exposed[:, first - counts.slot0 : max(slot - counts.slot0, 0)],
        counts.conv_slot[kept],
        counts.conv_age[kept],
        counts.conv_arm[kept],
        counts.conv_n[kept],
        min(slot * SLOT_US, counts.watermark_us),
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
        told = trace(as_of(counts, end, end - HORIZON_SLOTS), rule)
        new = told.times_us > seen_us
        parts.append(
            Trace(
                told.times_us[new], told.log_e[new], told.estimate[new], told.since_us[new], told.above[new],
                told.fires[new],
            )
        )  # fmt: skip
        seen_us = end * SLOT_US
        if progress:
            progress(done, len(ends))
    fields = ("times_us", "log_e", "estimate", "since_us", "above", "fires")
    return Trace(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))
