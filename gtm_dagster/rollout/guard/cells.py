"""From counts to cells: a block of concurrent units of both arms, at one age since exposure, still at risk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, Ints

_MIN_ARM = 8
"""A block closes when both arms hold this many units, or earlier when it is split as the traffic so far."""
_UNEVEN = 0.03
"""The share of its information that a block may lose by another split than the traffic's, to close early."""
_PRIOR_ARM = 5
"""Units an arm that stand for the traffic before there is any: half and half."""
HORIZON_SLOTS = 7 * 24 * 60 * 60 * 1_000_000 // SLOT_US
"""Older cohorts are left out: seven days in slots."""
_EDGE_MINUTES = (0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50)
_PRIOR_UNITS, _PRIOR_RATE, _PRIOR_LATER = 8.0, 0.05, 0.01

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cells:
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


def age_edges(window_minutes: float) -> Ints:
    """Edges of the age bins in slots, from 0 to the window: a quarter of a minute at first, wider later."""
    window = max(-(-round(window_minutes * 60_000_000) // SLOT_US), 1)
    edges = [round(minutes * 60_000_000 / SLOT_US) for minutes in _EDGE_MINUTES]
    step = 60 * 60_000_000 // SLOT_US // 2
    edges += list(range(60 * 60_000_000 // SLOT_US, window, step))
    return np.array([0, *(edge for edge in edges if edge < window), window], dtype=np.int64)


def _block_ends(exposed: Ints) -> list[int]:
    """Index of the last slot of each block: a rule on exposures alone, so the bets stay valid.

    A unit in a block of treated share w brings information in proportion to w (1 - w). That is concave: blocks that scatter
    around the share s of the traffic lose (w - s)^2 / (s (1 - s)) of it. Small blocks scatter most, large ones wait longest.
    """
    ends: list[int] = []
    control = treated = 0
    filled = np.flatnonzero(exposed.any(axis=0))
    controls = np.cumsum(exposed[0, filled]) + _PRIOR_ARM
    shares = 1.0 - controls / (controls + np.cumsum(exposed[1, filled]) + _PRIOR_ARM)
    columns = (filled, exposed[0, filled], exposed[1, filled], shares)
    for slot, c, t, share in zip(*(column.tolist() for column in columns), strict=True):
        control += c
        treated += t
        smaller = min(control, treated)
        if smaller and (
            smaller >= _MIN_ARM or (treated / (control + treated) - share) ** 2 <= _UNEVEN * share * (1.0 - share)
        ):
            ends.append(slot)
            control = treated = 0
    return ends


def cells_of(counts: Counts, window_minutes: float) -> Cells:
    """The cells that are complete at the counts' watermark."""
    now = counts.watermark_us // SLOT_US
    skip = max(now - HORIZON_SLOTS - counts.slot0, 0)
    exposed = counts.exposed[:, skip:]
    slot0 = counts.slot0 + skip
    ends = np.array(_block_ends(exposed), dtype=np.int64)
    edges = age_edges(window_minutes)
    if not len(ends):
        empty = np.zeros(0)
        return Cells(np.zeros(0, np.int64), empty, empty, empty, empty, empty, 0)
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
    return Cells(
        end_slot.ravel()[order],
        at_risk[1].ravel()[order],
        converted[1].ravel()[order],
        at_risk[0].ravel()[order],
        converted[0].ravel()[order],
        control_rate.ravel()[order],
        len(ends),
    )
