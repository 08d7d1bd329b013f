"""When a guard whose watermark moves on steadily decides: a breach may come to its hold between two moments of a trace."""

from __future__ import annotations

import numpy as np

from gtm_dagster.rollout.guard.detector import Trace


def decided_us(told: Trace, hold_minutes: float, watermark_us: int) -> int | None:
    """The first time (microseconds UTC, up to the watermark) at which the breach had held; None when none did.

    What a trace says at a moment stands until the next one, so at a slow flow the hold runs out in between.
    """
    above = told.above
    if not above.any():
        return None
    edges = np.diff(np.concatenate([[0], above.astype(np.int8), [0]]))
    begins, ends = told.times_us[np.flatnonzero(edges == 1)], np.flatnonzero(edges == -1)
    over = np.append(told.times_us, watermark_us + 1)[ends]
    due = begins + round(hold_minutes * 60_000_000)
    found = np.flatnonzero(due < over)
    return int(due[found[0]]) if len(found) else None
