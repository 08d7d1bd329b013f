"""The verdict at the watermark: evidence, estimate with its confidence interval, the test of the split, the reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log, sqrt

import numpy as np

from gtm_dagster.rollout.guard.cells import Cells
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, Ints
from gtm_dagster.rollout.guard.detector import run_starts, traced
from gtm_dagster.rollout.guard.e_process import srm_log_e_value
from gtm_dagster.rollout.guard.rule import Rule

SRM_LIMIT = log(1000.0)
"""Log e-value from which on the split is not the planned one (sample ratio mismatch)."""


@dataclass(frozen=True)
class Verdict:
    """What the evidence says at the watermark; logarithms are natural, drops a share of 1, times microseconds UTC.

    `estimate` is the relative drop, `low` and `high` its 95 % confidence interval. Without a closed block of both arms
    log_e is 0 and the estimate None; without a control conversion too.
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


def detect(counts: Counts, rule: Rule) -> Verdict:
    """The verdict at the counts' watermark."""
    history, start, cells = traced(counts, rule)
    exposed, converted = counts.exposed_by_arm(), counts.converted_by_arm()
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
        control_exposed=exposed[0],
        control_converted=converted[0],
        treated_exposed=exposed[1],
        treated_converted=converted[1],
        blocks=cells.blocks,
        srm_log_e=_srm_log_e(counts, rule),
        fires=False,
        reason="",
    )
    if not len(history.times_us):
        return replace(bare, reason=_nothing_yet(bare))
    estimate = float(history.estimate[-1])
    known = not np.isnan(estimate)
    low, high = _confidence_interval(cells, int(start[-1]), history.times_us) if known else (None, None)
    verdict = replace(
        bare,
        log_e=float(history.log_e[-1]),
        peak_log_e=float(history.log_e.max()),
        estimate=estimate if known else None,
        low=low,
        high=high,
        supported_since_us=int(history.since_us[-1]),
    )
    if history.above[-1]:
        above_since = int(history.times_us[run_starts(history.above)[-1]])
        minutes = (counts.watermark_us - above_since) / 60_000_000
        verdict = replace(
            verdict, above_since_us=above_since, above_minutes=minutes, fires=minutes >= rule.hold_minutes
        )
    return replace(verdict, reason=_reason(verdict, rule))


def _confidence_interval(cells: Cells, start: int, times_us: Ints) -> tuple[float, float]:
    """95 % interval of the drop since a restart: Greenland and Robins' variance of the Mantel-Haenszel ratio (1985).

    Without a treated conversion: the exact limit from the control's conversions alone (rule of three, conditional).
    """
    after = cells.end_slot * SLOT_US >= times_us[start]
    both = after & (cells.treated > 0) & (cells.control > 0)
    columns = (cells.treated, cells.control, cells.treated_converted, cells.control_converted)
    nt, nc, kt, kc = (column[both] for column in columns)
    units = nt + nc
    treated, control = float((kt * nc / units).sum()), float((kc * nt / units).sum())
    if treated == 0.0:
        converting = kc > 0
        share = float(np.average(nt[converting] / units[converting], weights=kc[converting]))
        most = 1.0 - 0.025 ** (1.0 / float(kc.sum()))
        ratio = most / max(1.0 - most, 1e-12) * (1.0 - share) / share
        return 1.0 - ratio, 1.0
    spread = float((((kt + kc) * nt * nc) / units**2 - kt * kc / units).sum())
    error = sqrt(max(spread, 0.0) / (treated * control))
    ratio = treated / control
    return 1.0 - ratio * exp(1.96 * error), 1.0 - ratio * exp(-1.96 * error)


def _srm_log_e(counts: Counts, rule: Rule) -> float:
    """Log e-value that the split is not the planned one, over the steps of the plan; 0 without a plan."""
    if not rule.shares or not sum(counts.exposed_by_arm()):
        return 0.0
    total = 0.0
    ends = [step[0] for step in rule.shares[1:]] + [None]
    for (since_us, share), until_us in zip(rule.shares, ends, strict=True):
        # A slot in which the plan changed belongs to neither step.
        control, treated = counts.exposed_between(since_us, until_us)
        if 0.0 < share < 1.0:
            total += srm_log_e_value(treated, control, share)
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
    comparison = f"treated {word} of the control's conversion{between}, {evidence}"
    if verdict.above_since_us is None:
        return comparison
    return f"{comparison}, above {rule.threshold:.0%} for {verdict.above_minutes:.1f} of {rule.hold_minutes:g} min"
