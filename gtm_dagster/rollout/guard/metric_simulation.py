"""Drawn traffic for a guard of several metrics: which of them acts, how often and how soon.

The conversion is drawn as `simulation` does; this adds the further metrics, which happen at once, and counts outcomes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.counts import Outcomes as Counted
from gtm_dagster.rollout.guard.judge import metric_names, metric_trace
from gtm_dagster.rollout.guard.mean_evidence import LEVELS
from gtm_dagster.rollout.guard.metric_rule import MEAN, UP, MetricRule
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.simulation import PER_HOUR, Outcomes, Scenario, draw, outcomes


@dataclass(frozen=True)
class MetricFlow:
    """How a further metric behaves. `base`: of the control, the share of units with the event, or the mean value a unit as
    a share of the cap; `harm`: how much worse the treated arm is from the break on, relative (a loss of 0.3, a rise of 1.0).

    Values are those of converted units, log-normal with the standard deviation `spread` of their logarithm, cut at the cap.
    """

    base: float
    harm: float = 0.0
    spread: float = 0.6


@dataclass(frozen=True)
class MetricSimulation:
    """What became of `runs`: of the guard, and of each metric alone, by name."""

    runs: int
    rollbacks: Outcomes
    metrics: Mapping[str, Outcomes]


def check_flows(flows: Mapping[str, MetricFlow], rule: Rule, scenario: Scenario) -> None:
    """Raises ValueError naming the metric, the value and what is allowed."""
    further = {metric.name: metric for metric in rule.metrics[1:]}
    for name, flow in flows.items():
        if name not in further:
            known = ", ".join(further) or "none is declared; add [[guards.metrics]]"
            raise ValueError(f"metric: {name!r} is not a further metric of this guard; known: {known}")
        highest = scenario.base_rate * 0.9 if further[name].figure == MEAN else 1.0
        if not 0 < flow.base < highest:
            what = (
                "as a share of the cap, below 0.9 of the base rate,"
                if further[name].figure == MEAN
                else "as a share of units"
            )
            raise ValueError(
                f"metric: {name}={flow.base:g} is not allowed; give its figure {what} above 0 and below {highest:g}"
            )
        worst = 1.0 / flow.base - 1.0 if further[name].bad == UP else 1.0
        if not 0 <= flow.harm <= worst:
            raise ValueError(f"metric: a change of {flow.harm:g} of {name} is not allowed; give 0 to {worst:g}")


def draw_metrics(scenario: Scenario, rule: Rule, flows: Mapping[str, MetricFlow], rng: np.random.Generator) -> Counts:
    """One history with the further metrics that `flows` name; those it does not name have no event."""
    counts = draw(scenario, rule.window_minutes, rng)
    broken = np.arange(counts.exposed.shape[1]) >= round(scenario.drop_at_hours * PER_HOUR)
    found = {}
    for metric in rule.metrics[1:]:
        flow = flows.get(metric.name)
        if flow is not None:
            found[metric.name] = (_values if metric.figure == MEAN else _events)(
                counts, metric, flow, broken, scenario, rng
            )
    return replace(counts, metrics=found)


def _factor(metric: MetricRule, flow: MetricFlow) -> float:
    return 1.0 + flow.harm if metric.bad == UP else 1.0 - flow.harm


def _events(
    counts: Counts,
    metric: MetricRule,
    flow: MetricFlow,
    broken: NDArray[np.bool_],
    _: Scenario,
    rng: np.random.Generator,
) -> Counted:
    rates = flow.base * np.array([np.ones(len(broken)), np.where(broken, _factor(metric, flow), 1.0)])
    hits = rng.binomial(counts.exposed, rates)
    arm, slot = np.nonzero(hits)
    return Counted(slot + counts.slot0, np.zeros(len(slot), np.int64), arm, hits[arm, slot])


def _values(
    counts: Counts, metric: MetricRule, flow: MetricFlow, broken: NDArray[np.bool_], scenario: Scenario, rng: np.random.Generator
) -> Counted:  # fmt: skip
    slot, arm = np.repeat(counts.conv_slot, counts.conv_n), np.repeat(counts.conv_arm, counts.conv_n)
    mean = flow.base / scenario.base_rate
    value = mean * rng.lognormal(-(flow.spread**2) / 2, flow.spread, len(slot))
    value *= np.where((arm == 1) & broken[slot - counts.slot0], _factor(metric, flow), 1.0)
    level = np.rint(np.clip(value, 0.0, 1.0) * LEVELS).astype(np.int64)
    some = level > 0
    return Counted(slot[some], level[some], arm[some], np.ones(int(some.sum()), np.int64))


def simulate_metrics(
    scenario: Scenario,
    rule: Rule,
    flows: Mapping[str, MetricFlow],
    runs: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> MetricSimulation:
    """Draw `runs` histories and evaluate each; the same seed gives the same result. Raises ValueError."""
    check_flows(flows, rule, scenario)
    names = [name for name in metric_names(rule) if name in ("", "conversion") or name in flows]
    fired: dict[str, list[int | None]] = {name: [] for name in names}
    visitors: list[NDArray[np.int64]] = []
    break_slot = round(scenario.drop_at_hours * PER_HOUR)
    for done, child in enumerate(np.random.SeedSequence(seed).spawn(runs), start=1):
        counts = draw_metrics(scenario, rule, flows, np.random.default_rng(child))
        for name in names:
            fired[name].append(metric_trace(counts, rule, name)[1])
        visitors.append(np.append(0, np.cumsum(counts.exposed.sum(axis=0)[break_slot:])))
        if progress:
            progress(done, runs)
    first = [min((at for at in each if at is not None), default=None) for each in zip(*fired.values(), strict=True)]
    break_us = break_slot * SLOT_US
    return MetricSimulation(
        runs,
        outcomes(first, visitors, break_us),
        {name: outcomes(times, visitors, break_us) for name, times in fired.items()},
    )
