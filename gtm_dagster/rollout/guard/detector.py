"""The detector: an e-Shiryaev-Roberts statistic over restarts of betting e-processes, and the estimate behind it.

At each restart a new e-process begins; their weighted sum, with weights of 1 an hour, has a mean time to a false alarm
of at least G hours when it is stopped at G, whatever the base rate does (Shin, Ramdas and Rinaldo, "E-detectors",
2022). Half of the weight lies on full hours, half on every fifth minute, so that a break in the middle of an hour is
not diluted by what was healthy before it. The first restart carries a whole hour more, because most broken flows are
broken from the start; the level is raised by that hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from gtm_dagster.rollout.guard.cells import Cells, Floats, cells_of
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, Ints
from gtm_dagster.rollout.guard.e_process import log_e, log_srm
from gtm_dagster.settings import Guard

HOUR_SLOTS = 3_600_000_000 // SLOT_US
RESTART_SLOTS = 300_000_000 // SLOT_US
BETS = (0.86, 0.7, 0.54, 0.25, 0.086)
"""Treated over control rate of each bet, as a share of the null's boundary."""
BET_WEIGHTS = (0.03, 0.20, 0.19, 0.17, 0.41)
"""The stake on each bet, 1 in all: drops of 30 to 90 % are then proven equally close to the bound (docs/benchmarks.md)."""
RECOVERED = log(50.0)
"""Evidence for the best bet that has fallen by this much from its peak says the loss is over."""
SRM_LIMIT = log(1000.0)


@dataclass(frozen=True)
class Rule:
    """What a guard promises. `threshold`: relative drop; `budget_hours`: mean hours between false rollbacks.

    `shares`: (from microseconds UTC, planned treated share) steps in order, empty when the plan is not known.
    """

    window_minutes: float = 60.0
    threshold: float = 0.15
    hold_minutes: float = 5.0
    budget_hours: float = 8760.0
    shares: tuple[tuple[int, float], ...] = ()

    @classmethod
    def of(cls, guard: Guard, sharing: int = 1, shares: Sequence[tuple[int, float]] = ()) -> Rule:
        """The rule of a declared guard; `sharing` guards of one flag share its budget."""
        planned = tuple(shares) or (((0, guard.treated_share),) if guard.treated_share is not None else ())
        return cls(
            guard.conversion_window_minutes,
            guard.threshold,
            guard.hold_minutes,
            guard.budget_hours * max(sharing, 1),
            planned,
        )

    @property
    def margin(self) -> float:
        """The drop that is no harm: half the threshold."""
        return self.threshold / 2.0

    @property
    def log_budget(self) -> float:
        """The level the evidence has to reach."""
        return log(self.budget_hours + 1.0)


@dataclass(frozen=True, eq=False)
class Trace:
    """The verdict at every moment at which a cell became complete.

    `estimate`: relative drop since the supported restart (NaN without control conversions); `above`: the evidence has
    reached its level and since then the estimate stayed at the threshold or over it without recovering; `fires`: above
    without a break for the hold time.
    """

    times_us: Ints
    log_e: Floats
    estimate: Floats
    since_us: Ints
    above: NDArray[np.bool_]
    fires: NDArray[np.bool_]


@dataclass(frozen=True)
class Verdict:
    """What the evidence says at the watermark; logarithms are natural, drops a share of 1, times microseconds UTC.

    Without a closed block of both arms log_e is 0 and the estimate None; without a control conversion too.
    """

    log_e: float
    log_budget: float
    peak_log_e: float
    estimate: float | None
    low: float | None
    high: float | None
    supported_since_us: int | None
    above_since_us: int | None
    above_minutes: float
    control_exposed: int
    control_converted: int
    treated_exposed: int
    treated_converted: int
    blocks: int
    srm_log_e: float
    fires: bool
    reason: str


@dataclass(frozen=True, eq=False)
class EvidencePath:
    """Cumulative evidence by bet, and Mantel-Haenszel sums, after each completion time; index 0 is before the first."""

    slots: Ints
    bets: Floats  # (bets, T + 1)
    above_line: Floats  # (T + 1,) treated hits weighted by the control's share
    below_line: Floats


def evidence_path(cells: Cells, margin: float) -> EvidencePath:
    """The bets' evidence as the cells become complete, against the null of `margin`."""
    slots, index = np.unique(cells.end_slot, return_inverse=True)
    size = len(slots)
    bets = np.zeros((len(BETS), size + 1))
    for row, share in enumerate(BETS):
        drop = 1.0 - share * (1.0 - margin)
        value = log_e(cells.treated, cells.treated_hits, cells.control, cells.control_hits, cells.rate, drop, margin)
        bets[row, 1:] = np.cumsum(np.bincount(index, value, size))
    units = np.maximum(cells.treated + cells.control, 1.0)
    both = (cells.treated > 0) & (cells.control > 0)
    treated = np.where(both, cells.treated_hits * cells.control / units, 0.0)
    control = np.where(both, cells.control_hits * cells.treated / units, 0.0)
    zero = np.zeros(1)
    return EvidencePath(
        slots,
        bets,
        np.concatenate([zero, np.cumsum(np.bincount(index, treated, size))]),
        np.concatenate([zero, np.cumsum(np.bincount(index, control, size))]),
    )


def _restarts(first: int, last: int) -> tuple[Ints, Floats]:
    """Slots of the restarts from `first` on, and the logarithm of their weights (1 an hour in all)."""
    slots = np.arange(first, last + 1, RESTART_SLOTS, dtype=np.int64)
    fine = 0.5 * RESTART_SLOTS / HOUR_SLOTS
    weights = np.where((slots - first) % HOUR_SLOTS == 0, 0.5 + fine, fine)
    weights[0] += 1.0
    return slots, np.log(weights)


def _trace(counts: Counts, rule: Rule) -> tuple[Trace, Ints, Cells]:
    """The trace, with what the verdict needs besides: where in the path the supported restart lies, and the cells."""
    cells = cells_of(counts, rule.window_minutes)
    path = evidence_path(cells, rule.margin)
    size = len(path.slots)
    none = np.zeros(0, np.int64)
    if not size:
        empty = Trace(none, np.zeros(0), np.zeros(0), none, np.zeros(0, bool), np.zeros(0, bool))
        return empty, none, cells
    restarts, weights = _restarts(counts.slot0, int(path.slots[-1]))
    evidence, estimate = np.zeros(size), np.full(size, np.nan)
    since, start = np.full(size, restarts[0]), np.zeros(size, np.int64)
    above = np.zeros(size, bool)
    first = 0
    while True:
        part = _since_restarts(path, restarts[first:], weights[first:])
        lost = np.nan_to_num(part.estimate, nan=-inf) >= rule.threshold
        # The budget is spent at the first crossing: evidence may dip below the level again while the loss goes on.
        proven = lost & _proven_in_run(part.evidence >= rule.log_budget, lost)
        recovered = _recovered(path, part, proven)
        over = np.flatnonzero(recovered)
        end = part.moment[int(over[0])] + 1 if len(over) else size
        mine = part.moment < end
        at = part.moment[mine]
        evidence[at], estimate[at], above[at] = part.evidence[mine], part.estimate[mine], (proven & ~recovered)[mine]
        since[at], start[at] = part.since[mine], part.start[mine]
        if end == size:
            break
        # A proven loss that has recovered is over: the e-processes that saw it are dropped, which only lowers the sum.
        first = int(np.searchsorted(restarts, path.slots[end - 1], side="left"))
        if first == len(restarts):
            break
    times_us = path.slots * SLOT_US
    fires = _held(path.slots, above, rule.hold_minutes)
    return Trace(times_us, evidence, estimate, since * SLOT_US, above, fires), start, cells


@dataclass(frozen=True, eq=False)
class _Since:
    """Evidence over a set of restarts, at the moments behind the first of them."""

    moment: Ints
    evidence: Floats
    estimate: Floats
    bet: Ints  # the bet with the most evidence from one restart
    since: Ints  # slot of that restart
    start: Ints  # its index in the path


def _since_restarts(path: EvidencePath, restarts: Ints, weights: Floats) -> _Since:
    begun = np.searchsorted(path.slots, restarts, side="right")  # a cell complete at the restart came before it
    reached = np.searchsorted(restarts, path.slots, side="left") - 1  # the last restart before each moment
    moment = np.flatnonzero(reached >= 0)
    reached = reached[moment]
    head = weights + np.log(BET_WEIGHTS)[:, None] - path.bets[:, begun]
    level = path.bets[:, moment + 1]
    summed = np.logaddexp.accumulate(head, axis=1)[:, reached] + level
    evidence = np.logaddexp.reduce(summed, axis=0)
    best_head = np.maximum.accumulate(head, axis=1)
    best_restart = np.maximum.accumulate(np.where(head >= best_head, np.arange(len(restarts)), 0), axis=1)
    bet = np.argmax(best_head[:, reached] + level, axis=0)
    restart = best_restart[bet, reached]
    start = begun[restart]
    with np.errstate(divide="ignore", invalid="ignore"):
        treated = path.above_line[moment + 1] - path.above_line[start]
        control = path.below_line[moment + 1] - path.below_line[start]
        estimate = np.where(control > 1e-9, 1.0 - treated / control, np.nan)
    return _Since(moment, evidence, estimate, bet, restarts[restart], start)


def _recovered(path: EvidencePath, part: _Since, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where the best bet's evidence has fallen from its peak since the supported restart by more than RECOVERED."""
    found = np.zeros(len(where), bool)
    chosen = np.flatnonzero(where)
    for row, begin in {(int(part.bet[i]), int(part.start[i])) for i in chosen}:
        level = path.bets[row, begin:]
        fallen = np.maximum.accumulate(level) - level >= RECOVERED
        mine = chosen[(part.bet[chosen] == row) & (part.start[chosen] == begin)]
        found[mine] = fallen[part.moment[mine] + 1 - begin]
    return found


def _proven_in_run(proven: NDArray[np.bool_], lost: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where the evidence has reached its level since the loss began without a break."""
    reached = np.maximum.accumulate(np.where(proven & lost, np.arange(len(lost)), -1))
    return lost & (reached >= _since(lost))


def _held(slots: Ints, above: NDArray[np.bool_], hold_minutes: float) -> NDArray[np.bool_]:
    since = _since(above)
    held = (slots - slots[since]) * (SLOT_US / 60_000_000) >= hold_minutes
    return above & held


def _since(above: NDArray[np.bool_]) -> Ints:
    """Index of the first moment of the unbroken run each moment lies in (itself where not above)."""
    index = np.arange(len(above))
    begins = above & ~np.concatenate([[False], above[:-1]])
    run = np.maximum.accumulate(np.where(begins, index, 0))
    return np.where(above, run, index)


def trace(counts: Counts, rule: Rule) -> Trace:
    """The verdict at every moment, for simulation, backtest and pictures."""
    return _trace(counts, rule)[0]


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


def detect(counts: Counts, rule: Rule) -> Verdict:
    """The verdict at the counts' watermark."""
    told, start, cells = _trace(counts, rule)
    exposed = counts.exposed.sum(axis=1)
    converted = np.bincount(counts.conv_arm, counts.conv_n, 2).astype(np.int64)
    bare = Verdict(
        log_e=0.0,
        log_budget=rule.log_budget,
        peak_log_e=0.0,
        estimate=None,
        low=None,
        high=None,
        supported_since_us=None,
        above_since_us=None,
        above_minutes=0.0,
        control_exposed=int(exposed[0]),
        control_converted=int(converted[0]),
        treated_exposed=int(exposed[1]),
        treated_converted=int(converted[1]),
        blocks=cells.blocks,
        srm_log_e=_srm(counts, rule),
        fires=False,
        reason="",
    )
    if not len(told.times_us):
        return replace(bare, reason=_nothing_yet(bare))
    estimate = float(told.estimate[-1])
    since_us = int(told.since_us[-1])
    known = not np.isnan(estimate)
    low, high = _interval(cells, int(start[-1]), told.times_us) if known else (None, None)
    verdict = replace(
        bare,
        log_e=float(told.log_e[-1]),
        peak_log_e=float(told.log_e.max()),
        estimate=estimate if known else None,
        low=low,
        high=high,
        supported_since_us=since_us,
    )
    if told.above[-1]:
        above_since = int(told.times_us[_since(told.above)[-1]])
        minutes = (counts.watermark_us - above_since) / 60_000_000
        verdict = replace(
            verdict, above_since_us=above_since, above_minutes=minutes, fires=minutes >= rule.hold_minutes
        )
    return replace(verdict, reason=_reason(verdict, rule))


def _interval(cells: Cells, start: int, times_us: Ints) -> tuple[float, float]:
    """95 % interval of the drop since a restart: Greenland and Robins' variance of the Mantel-Haenszel ratio (1985).

    Without a treated conversion: the exact limit from the control's conversions alone (rule of three, conditional).
    """
    after = cells.end_slot * SLOT_US >= times_us[start]
    both = after & (cells.treated > 0) & (cells.control > 0)
    nt, nc, kt, kc = (v[both] for v in (cells.treated, cells.control, cells.treated_hits, cells.control_hits))
    units = nt + nc
    treated, control = float((kt * nc / units).sum()), float((kc * nt / units).sum())
    if treated == 0.0:
        hits = kc > 0
        share = float(np.average(nt[hits] / units[hits], weights=kc[hits]))
        most = 1.0 - 0.025 ** (1.0 / float(kc.sum()))
        ratio = most / max(1.0 - most, 1e-12) * (1.0 - share) / share
        return 1.0 - ratio, 1.0
    spread = float((((kt + kc) * nt * nc) / units**2 - kt * kc / units).sum())
    error = sqrt(max(spread, 0.0) / (treated * control))
    ratio = treated / control
    return 1.0 - ratio * exp(1.96 * error), 1.0 - ratio * exp(-1.96 * error)


def _srm(counts: Counts, rule: Rule) -> float:
    """Log e-value that the split is not the planned one, over the steps of the plan; 0 without a plan."""
    if not rule.shares or not counts.exposed.shape[1]:
        return 0.0
    slots = counts.slot0 + np.arange(counts.exposed.shape[1])
    total = 0.0
    ends = [step[0] for step in rule.shares[1:]] + [None]
    for (since_us, share), until_us in zip(rule.shares, ends, strict=True):
        # A slot in which the plan changed belongs to neither step.
        inside = slots * SLOT_US >= since_us
        if until_us is not None:
            inside &= (slots + 1) * SLOT_US <= until_us
        control, treated = counts.exposed[:, inside].sum(axis=1)
        if 0.0 < share < 1.0:
            total += log_srm(int(treated), int(control), share)
    return total


def _nothing_yet(verdict: Verdict) -> str:
    if verdict.control_exposed == 0 and verdict.treated_exposed == 0:
        return "no exposures counted yet"
    if verdict.control_exposed == 0 or verdict.treated_exposed == 0:
        missing, other = ("control", verdict.treated_exposed)
        if verdict.treated_exposed == 0:
            missing, other = ("treated", verdict.control_exposed)
        return f"no {missing} units yet ({other} of the other arm): nothing to compare with"
    return f"{verdict.treated_exposed} treated and {verdict.control_exposed} control units: no block of both arms is complete"


def _reason(verdict: Verdict, rule: Rule) -> str:
    evidence = f"log e {verdict.log_e:.1f} of {verdict.log_budget:.1f}"
    if verdict.estimate is None:
        return f"no control conversion to compare with; {evidence}"
    word = f"lost {verdict.estimate:.0%}" if verdict.estimate >= 0 else f"gained {-verdict.estimate:.0%}"
    between = f" (95 %: {verdict.low:.0%} to {verdict.high:.0%})" if verdict.low is not None else ""
    told = f"treated {word} of the control's conversion{between}, {evidence}"
    if verdict.above_since_us is None:
        return told
    return f"{told}, above {rule.threshold:.0%} for {verdict.above_minutes:.1f} of {rule.hold_minutes:g} min"
