"""Cells as evidence of detector 1 counts them: a block of units of both arms, at one age since exposure, still at risk.

Nothing is decided by it any more; `hazard_detector` recomputes what was.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gtm_dagster.rollout.guard.cells import HORIZON_SLOTS, age_edges, block_ends
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, Ints

_PRIOR_UNITS, _PRIOR_RATE, _PRIOR_LATER = 8.0, 0.05, 0.01

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HazardCells:
    """Complete cells in order of completion.

    `end_slot`: the slot at whose start the cell is complete. `treated`, `control`: units at risk; `*_converted`: those
    that converted at this age. `control_rate`: the control's rate at this age, estimated from earlier blocks.
    """

    end_slot: Ints
    treated: Floats
    treated_converted: Floats
    control: Floats
    control_converted: Floats
    control_rate: Floats
    blocks: int


def hazard_cells_of(counts: Counts, window_minutes: float) -> HazardCells:
    """The cells that are complete at the counts' watermark."""
    now = counts.watermark_us // SLOT_US
    skip = max(now - HORIZON_SLOTS - counts.slot0, 0)
    exposed = counts.exposed[:, skip:]
    slot0 = counts.slot0 + skip
    ends = block_ends(exposed)
    edges = age_edges(window_minutes)
    if not len(ends):
        empty = np.zeros(0)
        return HazardCells(np.zeros(0, np.int64), empty, empty, empty, empty, empty, 0)
    units = np.add.reduceat(exposed[:, : ends[-1] + 1], np.append(0, ends[:-1] + 1), axis=1).astype(np.float64)
    converted = np.zeros((2, len(ends), len(edges) - 1))
    slot = counts.conv_slot - slot0
    block = np.searchsorted(ends, slot)
    inside = (slot >= 0) & (block < len(ends))
    bin_ = np.clip(np.searchsorted(edges, counts.conv_age, side="right") - 1, 0, len(edges) - 2)
    np.add.at(converted, (counts.conv_arm[inside], block[inside], bin_[inside]), counts.conv_n[inside])
    before = np.cumsum(converted, axis=2) - converted
    at_risk = np.maximum(units[:, :, None] - before, converted)
    # The control's conversions at this age in earlier blocks; a prior worth eight units keeps the first bets sane. Most
    # convert at once: a high prior at the later ages would cost evidence.
    earlier_converted = np.cumsum(converted[0], axis=0) - converted[0]
    earlier_units = np.cumsum(at_risk[0], axis=0) - at_risk[0]
    prior = np.where(np.arange(len(edges) - 1) == 0, _PRIOR_RATE, _PRIOR_LATER)
    control_rate = (earlier_converted + _PRIOR_UNITS * prior) / (earlier_units + _PRIOR_UNITS)
    end_slot = (ends + slot0 + 1)[:, None] + edges[1:][None, :]
    complete = np.flatnonzero((end_slot <= now).ravel())
    order = complete[np.argsort(end_slot.ravel()[complete], kind="stable")]
    return HazardCells(
        end_slot.ravel()[order],
        at_risk[1].ravel()[order],
        converted[1].ravel()[order],
        at_risk[0].ravel()[order],
        converted[0].ravel()[order],
        control_rate.ravel()[order],
        len(ends),
    )
