"""From counts to cells: a block of concurrent units of both arms, and how many of them have converted by an age.

The treated arm may be slower: a cell compares the control's conversions by an age with the treated arm's by a later one
(`allowed_ages`). What a cell is made of depends on the day of its block and the day before it alone, so a cell is the
same whenever one looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, Ints

_MIN_ARM = 8
"""A block closes when both arms hold this many units, or earlier when it is split as the traffic so far."""
_UNEVEN = 0.03
"""The share of its information that a block may lose by another split than the traffic's, to close early."""
_PRIOR_ARM = 5
"""Units an arm that stand for the traffic before there is any: half and half."""
DAY_SLOTS = 24 * 60 * 60 * 1_000_000 // SLOT_US
HORIZON_SLOTS = 7 * DAY_SLOTS
"""Older cohorts are left out: seven days in slots."""
_EDGE_MINUTES = (0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50)
SLOWER_TIMES = 5
"""A treated conversion may take so many times as long as the control's and is no loss (docs/guard.md)."""
AGE_SHARES = (0.3, 0.7, 0.95)
"""The ages at which cells are taken: by them so much of the control's conversions has come, as far as is known."""
FIRST_MINUTES = (0.25, 4.0, 15.0)
"""The ages at which cells are taken until there is something to know: the ages of conversions are those of early ones at
first. They hold for SLOWER_TIMES as long, and until some conversions are known."""
_KNOWN = 20
_PRIOR_UNITS, _PRIOR_RATE = 8.0, 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cells:
    """Complete cells in order of completion, those of one age in the order of their blocks.

    `first_slot`: the block's first slot. `end_slot`: the slot at whose start the cell is complete. `age`: which of AGE_SHARES it is taken at, from 0. `treated`,
    `control`: units; `*_converted`: those that converted by the age, the treated ones by the allowed age; `early`: treated
    ones that converted by the control's age; `control_later`: control ones that did by the allowed age. `early_slot`: when `early` is known. `control_rate`: the share of control units
    that convert by the age, estimated from earlier blocks. `begins`: where the blocks begin, known or not, and what is left
    over of each day; `known`, `known_early` (ages by begins): the slots at which all that begun until there is complete.
    """

    first_slot: Ints
    end_slot: Ints
    age: Ints
    treated: Floats
    treated_converted: Floats
    control: Floats
    control_converted: Floats
    control_rate: Floats
    early_slot: Ints
    early: Floats
    control_later: Floats
    blocks: int
    begins: Ints
    known: Ints
    known_early: Ints


def window_slots(window_minutes: float) -> int:
    """The conversion window in slots."""
    return max(-(-round(window_minutes * 60_000_000) // SLOT_US), 1)


def age_edges(window_minutes: float) -> Ints:
    """Edges of the age bins in slots, from 0 to the window: a quarter of a minute at first, wider later."""
    window = window_slots(window_minutes)
    edges = [round(minutes * 60_000_000 / SLOT_US) for minutes in _EDGE_MINUTES]
    step = 60 * 60_000_000 // SLOT_US // 2
    edges += list(range(60 * 60_000_000 // SLOT_US, window, step))
    return np.array([0, *(edge for edge in edges if edge < window), window], dtype=np.int64)


def allowed_ages(ages: Ints, slower_minutes: float, window_minutes: float) -> Ints:
    """By when the treated arm must have converted as many as the control by `ages` (slots): `slower_minutes` later or at
    SLOWER_TIMES the age, whichever is later, and the window at the latest. 0 minutes: by the same age, later is a loss.
    """
    if slower_minutes == 0:
        return ages
    later = ages + round(slower_minutes * 60_000_000 / SLOT_US)
    allowed: Ints = np.minimum(np.maximum(later, SLOWER_TIMES * ages), window_slots(window_minutes))
    return allowed


def block_ends(exposed: Ints) -> Ints:
    """Index of the last slot of each block: a rule on exposures alone, so the bets stay valid.

    A unit in a block of treated share w brings information in proportion to w (1 - w). That is concave: blocks that scatter
    around the share s of the traffic lose (w - s)^2 / (s (1 - s)) of it. Small blocks scatter most, large ones wait longest.
    """
    filled = np.flatnonzero(exposed.any(axis=0))
    control, treated = exposed[:, filled]
    controls = np.cumsum(control) + _PRIOR_ARM
    shares = 1.0 - controls / (controls + np.cumsum(treated) + _PRIOR_ARM)
    smaller = np.minimum(control, treated)
    uneven = treated / (control + treated) - shares
    # Most slots of a busy flow are a block each: the others alone are walked through one by one.
    ends = (smaller >= _MIN_ARM) | ((smaller > 0) & (uneven * uneven <= _UNEVEN * shares * (1.0 - shares)))
    columns = control.tolist(), treated.tolist(), shares.tolist()
    size, after = len(filled), 0
    for begin in np.flatnonzero(~ends).tolist():
        if begin < after:
            continue
        c = t = 0
        for at in range(begin, size):
            c += columns[0][at]
            t += columns[1][at]
            least, share = min(c, t), columns[2][at]
            off = t / (c + t) - share
            ends[at] = least > 0 and (least >= _MIN_ARM or off * off <= _UNEVEN * share * (1.0 - share))
            if ends[at]:
                break
        after = at + 1
    found: Ints = filled[ends]
    return found


@lru_cache(maxsize=1)
def nothing() -> Cells:
    """No cells."""
    none, empty = np.zeros(0, np.int64), np.zeros(0)
    no_ages = np.zeros((len(AGE_SHARES), 0), np.int64)
    return Cells(none, none, none, empty, empty, empty, empty, empty, none, empty, empty, 0, none, no_ages, no_ages)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks in order: first and last slot (absolute), day since the epoch's first slot, units by arm.

    `rest`: where what is left over of each day begins, and `rest_end` where that day ends.
    """

    first: Ints
    last: Ints
    day: Ints
    units: Floats  # (2, blocks)
    rest: Ints
    rest_end: Ints


def blocks_of(counts: Counts, first_day: int, now_slot: int) -> Blocks:
    """Every day up to that of `now_slot` has blocks of its own; what is left over at a day's end is in none."""
    origin = counts.first_slot
    firsts, lasts, days, units, rest = [], [], [], [], []
    numbers = range(first_day, max((now_slot - 1 - origin) // DAY_SLOTS, first_day - 1) + 1)
    for day in numbers:
        begin = max(origin + day * DAY_SLOTS, counts.slot0)
        exposed = counts.exposed[:, begin - counts.slot0 : max(origin + (day + 1) * DAY_SLOTS - counts.slot0, 0)]
        ends = block_ends(exposed)
        rest.append(begin + int(ends[-1]) + 1 if len(ends) else begin)
        if len(ends):
            first = begin + int(np.flatnonzero(exposed.any(axis=0))[0])  # whether or not slots before it are there
            firsts.append(np.append(first, begin + ends[:-1] + 1))
            lasts.append(begin + ends)
            days.append(np.full(len(ends), day))
            units.append(np.add.reduceat(exposed[:, : ends[-1] + 1], np.append(0, ends[:-1] + 1), axis=1))
    if not lasts:
        none = np.zeros(0, np.int64)
        return Blocks(none, none, none, np.zeros((2, 0)), none, none)
    return Blocks(
        np.concatenate(firsts), np.concatenate(lasts), np.concatenate(days), np.concatenate(units, 1).astype(np.float64),
        np.array(rest, np.int64), origin + (np.array(numbers, np.int64) + 1) * DAY_SLOTS,
    )  # fmt: skip


def cells_of(
    counts: Counts, window_minutes: float, slower_minutes: float, first_day: int = 0, now_slot: int | None = None
) -> Cells:
    """The cells of which something is known at the start of `now_slot` (default: the counts' watermark), of the days since
    the epoch's first slot from `first_day` on.
    """
    now = counts.watermark_us // SLOT_US if now_slot is None else now_slot
    blocks = blocks_of(counts, first_day, now)
    size = len(blocks.last)
    if not size:
        return nothing()
    edges = age_edges(window_minutes)[1:]
    allowed = allowed_ages(edges, slower_minutes, window_minutes)
    # Few of a year's conversions lie in a week.
    near = np.flatnonzero((counts.conv_slot >= blocks.first[0]) & (counts.conv_slot <= blocks.last[-1]))
    block = np.searchsorted(blocks.last, counts.conv_slot[near])
    inside = counts.conv_slot[near] >= blocks.first[block]
    near, block = near[inside], block[inside]
    arm, n, age = counts.conv_arm[near], counts.conv_n[near], counts.conv_age[near]

    def converted_in(of_arm: int, by: Ints) -> Floats:
        """(ages, blocks): units of the arm that converted after the age before and by each age."""
        mine = arm == of_arm
        ages = len(by) + 1
        at = np.searchsorted(by, age[mine], side="right") * size + block[mine]
        counted: Floats = np.bincount(at, n[mine], ages * size).astype(np.float64, copy=False)
        return counted.reshape(ages, size)[:-1]

    control_in = converted_in(0, edges)
    control, treated, early = (
        np.cumsum(some, axis=0) for some in (control_in, converted_in(1, allowed), converted_in(1, edges))
    )
    of_control = np.flatnonzero(arm == 0)
    begin = np.searchsorted(blocks.day, blocks.day - 1)  # what is known of a day: itself so far and the day before it
    chosen_age = _ages(blocks, control_in, edges, begin)
    rows: list[tuple[Ints | Floats, ...]] = []
    index = np.arange(size)
    for number in range(len(AGE_SHARES)):
        at = chosen_age[number]
        rate = _earlier_rate(control[at, index], blocks.units[0], begin)
        later = of_control[age[of_control] < allowed[at][block[of_control]]]
        control_later = np.bincount(block[later], n[later], size)
        # Evidence is multiplied in the order of blocks: one that is known sooner waits for those before it.
        end_slot = np.maximum.accumulate(blocks.last + 1 + allowed[at])
        early_slot = np.maximum.accumulate(blocks.last + 1 + edges[at])
        rows.append((end_slot, np.full(size, number), treated[at, index], control[at, index], rate, early_slot, early[at, index], control_later))  # fmt: skip
    begins = np.concatenate([blocks.first, blocks.rest])
    in_order = np.argsort(begins, kind="stable")
    known, known_early = (
        np.array([np.maximum.accumulate(np.append(row[at], blocks.rest_end)[in_order]) for row in rows])
        for at in (0, 5)
    )
    end_slot, number_, treated_, control_, rate_, early_slot_, early_, later_ = (np.concatenate(column) for column in zip(*rows, strict=True))  # fmt: skip
    units = np.tile(blocks.units, len(AGE_SHARES))
    order = np.argsort(end_slot, kind="stable")
    order = order[early_slot_[order] <= now]
    return Cells(
        np.tile(blocks.first, len(AGE_SHARES))[order], end_slot[order], number_[order], units[1, order], treated_[order], units[0, order], control_[order], rate_[order],
        early_slot_[order], early_[order], later_[order], size, begins[in_order], known, known_early,
    )  # fmt: skip


def _ages(blocks: Blocks, control_in: Floats, edges: Ints, begin: Ints) -> list[Ints]:
    """For each of AGE_SHARES the index of the age at which each block is taken, from what is known when it begins.

    `control_in` (ages, blocks): control units that converted after the age before and by each age.
    """
    size = len(blocks.last)
    total = np.zeros((len(edges), size))
    for number, edge in enumerate(edges):
        if control_in[number].any():
            until = np.concatenate([[0.0], np.cumsum(control_in[number])])
            complete = np.searchsorted(blocks.last + 1 + edge, blocks.first, side="right")
            total[number] = until[np.maximum(complete, begin)] - until[begin]
    total = np.cumsum(total, axis=0)
    of_all = total[-1]
    elapsed = blocks.first - blocks.first[begin]
    found = []
    for share, minutes in zip(AGE_SHARES, FIRST_MINUTES, strict=True):
        first_age = min(int(np.searchsorted(edges, minutes * 60_000_000 / SLOT_US)), len(edges) - 1)
        learned = (of_all >= _KNOWN) & (elapsed >= SLOWER_TIMES * edges[first_age])
        found.append(np.where(learned, np.argmax(total >= share * of_all, axis=0), first_age))
    return found


def _earlier_rate(converted: Floats, units: Floats, begin: Ints) -> Floats:
    """The share of control units that convert, from the blocks before each one; a prior worth eight units keeps the first
    bets sane.
    """
    index = np.arange(len(units))
    converted_before = np.concatenate([[0.0], np.cumsum(converted)])
    units_before = np.concatenate([[0.0], np.cumsum(units)])
    some = converted_before[index] - converted_before[begin]
    of = units_before[index] - units_before[begin]
    rate: Floats = (some + _PRIOR_UNITS * _PRIOR_RATE) / (of + _PRIOR_UNITS)
    return rate
