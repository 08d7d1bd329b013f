"""What a guard can promise of its further metrics at its traffic: how long each size of harm runs until the rollback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gtm_dagster.rollout.guard.metric_power import MetricTraffic, minutes_to_metric_proof
from gtm_dagster.rollout.guard.metric_rule import UP, MetricRule
from gtm_dagster.rollout.guard.rule import Rule

LOSSES, RISES = (0.3, 0.5, 1.0), (1.0, 3.0, 9.0)
"""Harms that are planned beside a metric's own threshold: 1.0 is all of it, or twice as much."""


@dataclass(frozen=True)
class MetricExpectation:
    """What becomes of one size of harm (share of 1): minutes to the rollback, hold included; None: not within ten years.

    `start_minutes`: the median of a flow that is broken from its start; `median_minutes`, `p90_minutes`: of a break at any
    time. `base`: of the control, a share of visitors or a mean as a share of the cap.
    """

    metric: str
    bad: str
    base: float
    harm: float
    start_minutes: float | None
    median_minutes: float | None
    p90_minutes: float | None


def metric_expectations(flows: Mapping[str, MetricTraffic], rule: Rule) -> tuple[MetricExpectation, ...]:
    """The expectations of the metrics that `flows` has, by name, each from its threshold on."""
    return tuple(
        MetricExpectation(
            metric.name, metric.bad, flows[metric.name].traffic.base_rate, harm,
            minutes_to_metric_proof(flows[metric.name], rule, metric.name, harm, at_start=True),
            minutes_to_metric_proof(flows[metric.name], rule, metric.name, harm),
            minutes_to_metric_proof(flows[metric.name], rule, metric.name, harm, quantile=0.9),
        )
        for metric in rule.metrics[1:]
        if metric.name in flows
        for harm in _harms(metric)
    )  # fmt: skip


def _harms(metric: MetricRule) -> tuple[float, ...]:
    further = RISES if metric.bad == UP else LOSSES
    return (metric.threshold, *(harm for harm in further if harm > metric.threshold))
