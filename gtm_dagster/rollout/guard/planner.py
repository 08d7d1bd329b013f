"""What a guard may promise at its traffic; a promise beyond it is refused before anybody relies on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import TypeVar

from gtm_dagster.rollout.guard.bounds import (
    LATENCY_MINUTES,
    minimum_detectable_effect,
    minutes_to_proof,
    smallest_where,
    visitors_needed,
)
from gtm_dagster.rollout.guard.guarded_traffic import Traffic
from gtm_dagster.rollout.guard.rule import Rule

HORIZONS = (5.0, 60.0, 1440.0)
DROPS = (0.15, 0.20, 0.30, 0.50, 0.90)
HOLD_BACKS = (0.05, 0.10, 0.20, 0.50)
_LOWEST, _HIGHEST = 0.1, 0.9
_Figure = TypeVar("_Figure")


@dataclass(frozen=True)
class Horizon:
    """The smallest drop proven within `minutes` of a break, and the smallest rolled back by then (hold included)."""

    minutes: float
    provable_drop: float | None
    rolled_back_drop: float | None


@dataclass(frozen=True)
class Expectation:
    """What becomes of one drop: minutes to the rollback at the median and in 9 of 10 cases, of a break at any time.

    `start_minutes`: the median of a flow that is broken from the first minute of its epoch or ramp step.
    `bound_visitors`: what no test can do without; `visitors`: what this guard needs on the way; `lost_conversions`:
    conversions the treated arm loses until then. None: not within ten years.
    """

    drop: float
    median_minutes: float | None
    start_minutes: float | None
    p90_minutes: float | None
    visitors: int | None
    bound_visitors: int | None
    lost_conversions: float | None


@dataclass(frozen=True)
class Promise:
    """A drop promised to be rolled back within minutes: whether it can be kept in 9 of 10 cases, and what it takes."""

    drop: float
    minutes: float
    kept: bool
    reason: str
    needed_visitors_per_minute: float | None
    needed_minutes: float | None


@dataclass(frozen=True)
class GuardPlan:
    """What a guard can promise. `refused`: why it must not be relied on as asked; `advice`: what would serve better."""

    traffic: Traffic
    threshold: float
    hold_minutes: float
    budget_hours: float
    start_risk: float
    horizons: tuple[Horizon, ...]
    expectations: tuple[Expectation, ...]
    promise: Promise | None
    advice: tuple[str, ...]
    refused: str | None


def plan(
    traffic: Traffic,
    rule: Rule,
    *,
    promise: tuple[float, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> GuardPlan:
    """What this guard proves within 5 minutes, an hour and a day, and how long each drop runs; `promise`: (drop, minutes).

    `progress` is called with the figures that are there and their number.
    """
    planner = _Planner(traffic, rule)
    alone = not 0.0 < traffic.treated_share < 1.0
    steps = count(1)

    def ready(figure: _Figure) -> _Figure:
        if progress is not None:
            progress(next(steps), len(HORIZONS) + len(DROPS) + 2)
        return figure

    promised = ready(None if promise is None else planner.promise(*promise))
    refused = None
    if alone:
        arm = "control" if traffic.treated_share >= 1 else "treated"
        refused = f"there is no {arm} arm at a treated share of {traffic.treated_share:g}: nothing can be compared; keep 5 to 50 % of the visitors in each arm"
    elif promised is not None and not promised.kept:
        refused = promised.reason
    return GuardPlan(
        traffic=traffic,
        threshold=rule.threshold,
        hold_minutes=rule.hold_minutes,
        budget_hours=rule.budget_hours,
        start_risk=rule.start_risk,
        horizons=tuple(ready(planner.horizon(minutes)) for minutes in HORIZONS),
        expectations=tuple(ready(planner.expectation(drop)) for drop in DROPS),
        promise=promised,
        advice=ready(tuple(planner.advice())),
        refused=refused,
    )


@dataclass(frozen=True)
class _Planner:
    """A guard at its traffic."""

    traffic: Traffic
    rule: Rule

    def minutes(
        self,
        drop: float,
        quantile: float,
        share: float | None = None,
        pace: float | None = None,
        at_start: bool = False,
    ) -> float | None:
        """Minutes to the rollback at another split or pace where one is given; a loss lasts at least the hold."""
        if drop < self.rule.threshold:
            return None
        proven = minutes_to_proof(
            self.traffic.base_rate, self.traffic.visitors_per_minute if pace is None else pace,
            self.traffic.treated_share if share is None else share, drop, self.rule,
            delay_minutes=self.traffic.delay_minutes, quantile=quantile, at_start=at_start,
        )  # fmt: skip
        return None if proven is None else max(proven, self._least_minutes)

    @property
    def _least_minutes(self) -> float:
        return self.rule.hold_minutes + 2 * LATENCY_MINUTES

    def horizon(self, minutes: float) -> Horizon:
        def drop_within(span: float) -> float | None:
            if span <= 0:
                return None
            return minimum_detectable_effect(
                self.traffic.base_rate, self.traffic.visitors_per_minute, self.traffic.treated_share, span, self.rule,
                delay_minutes=self.traffic.delay_minutes,
            )  # fmt: skip

        return Horizon(minutes, drop_within(minutes), drop_within(minutes if minutes >= self._least_minutes else 0.0))

    def expectation(self, drop: float) -> Expectation:
        pace, share = self.traffic.visitors_per_minute, self.traffic.treated_share
        median = self.minutes(drop, 0.5)
        visitors = None if median is None else pace * median
        bound = visitors_needed(self.traffic.base_rate, drop, share, self.rule.log_budget)
        return Expectation(
            drop=drop,
            median_minutes=median,
            start_minutes=self.minutes(drop, 0.5, at_start=True),
            p90_minutes=self.minutes(drop, 0.9),
            visitors=None if visitors is None else math.ceil(visitors),
            bound_visitors=math.ceil(bound) if math.isfinite(bound) else None,
            lost_conversions=None if visitors is None else visitors * share * self.traffic.base_rate * drop,
        )

    def promise(self, drop: float, minutes: float) -> Promise:
        needed = self.minutes(drop, 0.9)
        kept = needed is not None and needed <= minutes
        pace = self._pace(drop, minutes)
        reason = "" if kept else self._why_not(drop, minutes, needed, pace)
        return Promise(drop, minutes, kept, reason, pace, needed)

    def _pace(self, drop: float, minutes: float) -> float | None:
        """Visitors a minute that keep the promise; None when no traffic can."""
        here = self.traffic
        if drop < self.rule.threshold or minutes < self._least_minutes:
            return None

        def kept(log_pace: float) -> bool:
            needed = self.minutes(drop, 0.9, pace=math.exp(log_pace))
            return needed is not None and needed <= minutes

        found = smallest_where(kept, math.log(1e-3), math.log(1e9)) if 0 < here.treated_share < 1 else None
        return None if found is None else math.exp(found)

    def _why_not(self, drop: float, minutes: float, needed: float | None, pace: float | None) -> str:
        refusal = f"a drop of {drop:.0%} cannot be rolled back within {minutes:g} minutes"
        if drop < self.rule.threshold:
            return f"{refusal}: it is below the threshold of {self.rule.threshold:.0%}; lower the threshold"
        here = self.traffic
        ways = []
        if minutes < self._least_minutes:
            hold = f"a loss has to last {self.rule.hold_minutes:g} minutes before anything is done"
            bare = replace(self, rule=replace(self.rule, hold_minutes=0.0))._pace(drop, minutes)
            more = "" if bare is None else f", and without the hold {_rounded_up(bare):,} visitors a minute are needed"
            return f"{refusal}: {hold}; at {here.visitors_per_minute:g} a minute it takes {duration(needed)}{more}"
        if pace is not None:
            ways.append(f"{_rounded_up(pace):,} visitors a minute instead of {here.visitors_per_minute:g}")
        if needed is not None:
            ways.append(f"{duration(needed)} instead of {minutes:g} minutes")
        seen = minimum_detectable_effect(
            here.base_rate, here.visitors_per_minute, here.treated_share, minutes, self.rule,
            delay_minutes=here.delay_minutes,
        )  # fmt: skip
        least = (
            "not even a dead flow is proven by then"
            if seen is None
            else f"a drop of {percent_up(seen)} is the least by then"
        )
        bound = visitors_needed(here.base_rate, drop, here.treated_share, self.rule.log_budget)
        limit = ""
        if math.isfinite(bound) and bound > here.visitors_per_minute * minutes:
            limit = f" (no test could: {math.ceil(bound):,} visitors carry the proof, {here.visitors_per_minute * minutes:,.0f} come)"
        return f"{refusal}{limit}; it takes {' or '.join(ways) or 'more than any traffic'}; {least}"

    def advice(self) -> list[str]:
        """What another split would do; empty when the split is fair."""
        share = self.traffic.treated_share
        if _LOWEST < share < _HIGHEST:
            return []
        drop = max(0.30, self.rule.threshold)
        if share >= _HIGHEST:
            options = [
                f"{part:.0%} held back: {duration(self.minutes(drop, 0.5, share=1.0 - part))}"
                for part in HOLD_BACKS
                if 1.0 - part < share
            ]
            return [
                f"hold visitors back while the flow is guarded; a drop of {drop:.0%} then takes, " + ", ".join(options)
            ]
        now, even = self.minutes(drop, 0.5), self.minutes(drop, 0.5, share=0.5)
        return [
            f"{share:.0%} treated exposes few visitors to harm but is slow: a drop of {drop:.0%} takes {duration(now)}, "
            f"at an even split {duration(even)}; do not raise the share before the guard could have seen a drop at this one"
        ]


def _rounded_up(value: float) -> int:
    """To two digits, upwards."""
    step = 10 ** max(math.floor(math.log10(max(value, 1.0))) - 1, 0)
    return math.ceil(value / step) * step


def percent_up(drop: float) -> str:
    """A least drop in words: the next whole percent, for the one below is not reached."""
    return f"{math.ceil(100 * drop - 1e-6)}%"


def duration(minutes: float | None) -> str:
    """Minutes in words."""
    if minutes is None:
        return "not within ten years"
    if minutes < 90:
        return f"{minutes:.0f} minutes" if minutes >= 10 else f"{minutes:.1f} minutes"
    if minutes < 48 * 60:
        return f"{minutes / 60:.1f} hours"
    return f"{minutes / 1440:.1f} days"
