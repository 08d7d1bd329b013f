"""The verdict at the watermark: evidence, estimate with its confidence interval, the test of the split, the reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import exp, log, sqrt
from typing import Any

import numpy as np

from gtm_dagster.rollout.guard.cells import AGE_SHARES, Cells, Floats, window_slots
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.detector import run_starts, traced
from gtm_dagster.rollout.guard.e_process import srm_log_e_value
from gtm_dagster.rollout.guard.log_e_path import BETS
from gtm_dagster.rollout.guard.mean_evidence import mean_interval
from gtm_dagster.rollout.guard.metric_rule import MEAN
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.settings import CONVERSION

SRM_LIMIT = log(1000.0)
"""Log e-value from which on the split is not the planned one (sample ratio mismatch)."""
_SELECTED = 2.6
"""Standard errors of the interval of a range that was found by its evidence; 1.96 covers too little (benchmarks.guard)."""


@dataclass(frozen=True)
class Verdict:
    """What the evidence says at the watermark; logarithms are natural, drops a share of 1, times microseconds UTC.

    `estimate` is the relative drop of a range of cohorts, `low` and `high` its 95 % confidence interval: of those since
    `estimate_since_us`, where the evidence comes from, once there is half of what is needed; before that, of all cohorts of
    the horizon whose outcome is known, both arms by the same age. `range_*`: what is counted in that range. Without a closed block of both arms log_e
    is 0 and the estimate None; without a control conversion too. `above_since_us`: since when the loss has been over the
    threshold, once it is proven. `metric`: whose figures these are, "" in a guard of one; `metrics`: the verdicts of all.
    Where up is bad, `estimate` is the relative rise, and `*_converted` are the units with the event.
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
    estimate_since_us: int | None = None
    range_control: int = 0
    range_control_converted: int = 0
    range_treated: int = 0
    range_treated_converted: int = 0
    metric: str = ""
    metrics: tuple[Verdict, ...] = ()

    def of_metric(self, name: str) -> Verdict:
        """The verdict of one metric; itself where there is none of this name."""
        return next((verdict for verdict in self.metrics if verdict.metric == name), self)

    @property
    def of_conversion(self) -> Verdict:
        """The verdict of the guard's own conversion."""
        return self.of_metric(CONVERSION)

    def to_json(self) -> dict[str, Any]:
        """The verdict as a JSON document; what is of several metrics stands in it when there are some."""
        document = asdict(self)
        for part in (document, *document["metrics"]):
            for name in ("metric", "metrics"):
                if not part[name]:
                    del part[name]
        return document


def detect(counts: Counts, rule: Rule, *, same_age: bool = True) -> Verdict:
    """The verdict at the counts' watermark. `same_age`: False for the estimate of detector 2, which also before there is
    evidence compared the treated arm by the age it is allowed with the control by its own: a slow flow seemed to gain.
    """
    history, index, cells = traced(counts, rule)
    bare = bare_verdict(counts, rule, cells.blocks, rule.log_budget)
    if not len(history.times_us):
        return replace(bare, reason=nothing_yet(bare))
    log_e = float(history.log_e[-1])
    since_us = int(history.since_us[-1])
    recent = log_e >= rule.log_suspicion
    shown = _range(
        cells, counts, int(index.row[-1]) // len(BETS) if recent else -1, since_us if recent else None, same_age
    )
    verdict = replace(
        bare,
        log_e=log_e,
        peak_log_e=float(history.log_e.max()),
        supported_since_us=since_us,
        estimate_since_us=shown.since_us,
        range_control=round(shown.control.sum()),
        range_control_converted=round(shown.control_converted.sum()),
        range_treated=round(shown.treated.sum()),
        range_treated_converted=round(shown.treated_converted.sum()),
    )
    if shown.control_converted.sum() > 0:
        estimate, low, high = _confidence_interval(counts, rule, shown, _SELECTED if recent else 1.96)
        verdict = replace(verdict, estimate=estimate, low=low, high=high)
    if history.above[-1]:
        lasting = history.lasting
        above_since = int(history.times_us[run_starts(lasting)[-1]]) if lasting[-1] else counts.watermark_us
        minutes = (counts.watermark_us - above_since) / 60_000_000
        verdict = replace(
            verdict,
            above_since_us=above_since,
            above_minutes=minutes,
            fires=bool(lasting[-1]) and minutes >= rule.hold_minutes,
        )
    return replace(verdict, reason=reason(verdict, rule))


def bare_verdict(counts: Counts, rule: Rule, blocks: int, log_budget: float) -> Verdict:
    """A verdict of the counts alone, before anything is compared."""
    exposed, converted = counts.exposed_by_arm(), counts.converted_by_arm()
    return Verdict(
        log_e=0.0,
        log_budget=log_budget,
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
        blocks=blocks,
        srm_log_e=srm_log_e(counts, rule),
        fires=False,
        reason="",
    )


@dataclass(frozen=True, eq=False)
class _Range:
    """The cells of both arms a drop is estimated from, and the time from which on their units were exposed."""

    since_us: int
    treated: Floats
    treated_converted: Floats
    control: Floats
    control_converted: Floats


def _range(cells: Cells, counts: Counts, age: int, since_us: int | None, same_age: bool) -> _Range:
    """Complete cells of one age; without `since_us` those of the horizon, with the control by the treated arm's age."""
    number = age % len(AGE_SHARES)
    mine = (cells.age == number) & (cells.end_slot * SLOT_US <= counts.watermark_us)
    mine &= (cells.treated > 0) & (cells.control > 0)
    if since_us is not None:
        mine &= cells.first_slot * SLOT_US >= since_us
    begin = (
        since_us
        if since_us is not None
        else int(cells.first_slot[mine].min(initial=counts.watermark_us // SLOT_US)) * SLOT_US
    )
    of_control = cells.control_later if since_us is None and same_age else cells.control_converted
    return _Range(begin, cells.treated[mine], cells.treated_converted[mine], cells.control[mine], of_control[mine])


def _confidence_interval(counts: Counts, rule: Rule, shown: _Range, z: float) -> tuple[float, float, float]:
    if rule.figure != MEAN:
        return _share_interval(shown, z)
    parts = (shown.treated, shown.treated_converted, shown.control, shown.control_converted)
    until = counts.watermark_us // SLOT_US - window_slots(rule.window_minutes)
    return mean_interval(counts, parts, shown.since_us, until, z)


def _share_interval(cells: _Range, z: float) -> tuple[float, float, float]:
    """The relative drop and its interval: Greenland and Robins' variance of the Mantel-Haenszel ratio (1985).

    Without a treated conversion: the exact limit from the control's conversions alone (rule of three, conditional).
    """
    nt, nc, kt, kc = cells.treated, cells.control, cells.treated_converted, cells.control_converted
    units = nt + nc
    treated, control = float((kt * nc / units).sum()), float((kc * nt / units).sum())
    if treated == 0.0:
        converting = kc > 0
        share = float(np.average(nt[converting] / units[converting], weights=kc[converting]))
        most = 1.0 - 0.025 ** (1.0 / float(kc.sum()))
        ratio = most / max(1.0 - most, 1e-12) * (1.0 - share) / share
        return 1.0, 1.0 - ratio, 1.0
    spread = float((((kt + kc) * nt * nc) / units**2 - kt * kc / units).sum())
    error = sqrt(max(spread, 0.0) / (treated * control))
    ratio = treated / control
    return 1.0 - ratio, 1.0 - ratio * exp(z * error), 1.0 - ratio * exp(-z * error)


def srm_log_e(counts: Counts, rule: Rule) -> float:
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


def nothing_yet(verdict: Verdict) -> str:
    if verdict.control_exposed == 0 and verdict.treated_exposed == 0:
        return "no exposures counted yet"
    if verdict.control_exposed == 0 or verdict.treated_exposed == 0:
        missing, other = ("control", verdict.treated_exposed)
        if verdict.treated_exposed == 0:
            missing, other = ("treated", verdict.control_exposed)
        return f"no {missing} units yet ({other} of the other arm): nothing to compare with"
    return f"{verdict.treated_exposed} treated and {verdict.control_exposed} control units: no block of both arms is complete"


def change_and_interval(estimate: float, low: float | None, high: float | None) -> tuple[str, str]:
    """`lost 20%` and ` (95 %: 5% to 34%)` of a relative drop; of a rise both are of the gain: `gained 11%`, ` (95 %: -1% to 24%)`."""
    lost = estimate >= 0
    if low is None or high is None:
        between = ""
    else:
        between = f" (95 %: {low:.0%} to {high:.0%})" if lost else f" (95 %: {0.0 - high:.0%} to {0.0 - low:.0%})"
    return f"lost {estimate:.0%}" if lost else f"gained {-estimate:.0%}", between


def reason(verdict: Verdict, rule: Rule, event: str = "") -> str:
    """The verdict in words; `event`: what is compared, where it is not the guard's conversion."""
    evidence = f"evidence {verdict.log_e:.1f} of {verdict.log_budget:.1f} needed"
    noun = event or "conversions"
    if verdict.estimate is None and verdict.control_converted:
        young = f"{verdict.control_converted} control {noun}, none of a block whose outcome is known yet"
        return f"{young}; {evidence}"
    if verdict.estimate is None:
        return f"no control {event or 'conversion'} to compare with; {evidence}"
    word, between = change_and_interval(verdict.estimate, verdict.low, verdict.high)
    comparison = f"treated {word} of the control's {event or 'conversion'}{between}, {evidence}"
    if verdict.above_since_us is None:
        return comparison
    return (
        f"{comparison}, above {rule.threshold:.0%} for {verdict.above_minutes:.1f} min ({rule.hold_minutes:g} needed)"
    )
