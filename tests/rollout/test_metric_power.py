"""What a step of a ramp could have shown of further metrics, held against the detector itself."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from acting_cases import GUARD

from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.guarded_traffic import Traffic
from gtm_dagster.rollout.guard.metric_power import (
    LEAST_RISING,
    MetricTraffic,
    metric_traffic,
    minutes_to_metric_proof,
)
from gtm_dagster.rollout.guard.metric_simulation import MetricFlow, draw_metrics
from gtm_dagster.rollout.guard.ramp_power import POWER, step_power, suspected_until
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.simulation import Scenario
from gtm_dagster.settings import CONVERSION, GuardMetric

METRICS = (
    GuardMetric("errors", "error", "churn_flagged"),
    GuardMetric("revenue", "value", "payment_completed", value="amount", cap=200.0),
)
RULE = Rule.of(msgspec.structs.replace(GUARD, conversion_window_minutes=20, metrics=METRICS))
HEALTHY = {"errors": MetricFlow(0.02), "revenue": MetricFlow(0.06)}
MINUTE = 60_000_000


def flow(base: float = 0.02, share: float = 0.25, pace: float = 100.0, spread: float = 1.0) -> MetricTraffic:
    return MetricTraffic(Traffic(pace, share, base), spread)


def counts(seed: int, hours: float, share: float = 0.25, pace: float = 100, **flows: MetricFlow) -> Counts:
    scenario = Scenario(pace, split=share, hours=hours)
    return draw_metrics(scenario, RULE, HEALTHY | flows, np.random.default_rng(seed))


@pytest.mark.parametrize("name", ["errors", "revenue", CONVERSION])
def test_more_traffic_more_harm_and_an_even_split_are_seen_sooner(name):
    harm = {"errors": 2.0}.get(name, 0.5)
    plain = minutes_to_metric_proof(flow(), RULE, name, harm)
    for better in (flow(pace=200), flow(base=0.04), flow(share=0.5)):
        assert minutes_to_metric_proof(better, RULE, name, harm) < plain
    assert minutes_to_metric_proof(flow(), RULE, name, harm * 1.5) < plain
    assert minutes_to_metric_proof(flow(), RULE, name, harm, quantile=0.9) > plain


def test_a_mean_waits_for_the_window_and_less_for_values_that_differ_less():
    wide, narrow = (minutes_to_metric_proof(flow(0.06, spread=spread), RULE, "revenue", 0.5) for spread in (1.0, 0.3))
    assert RULE.window_minutes < narrow < wide


def test_a_metric_of_a_third_of_the_budget_takes_longer_than_it_would_alone():
    alone = replace(RULE, metrics=())
    assert minutes_to_metric_proof(flow(0.2), RULE, CONVERSION, 0.3) > minutes_to_metric_proof(
        flow(0.2), alone, CONVERSION, 0.3
    )


def test_traffic_is_read_from_the_counts():
    seen = counts(1, 12)
    errors, revenue = (metric_traffic(seen, RULE, name) for name in ("errors", "revenue"))
    assert errors is not None and errors.traffic.base_rate == pytest.approx(0.02, rel=0.15) and errors.spread == 1
    assert revenue is not None and revenue.traffic.base_rate == pytest.approx(0.06, rel=0.1)
    assert 0.2 < revenue.spread < 0.6, "those who buy spend alike, most buy nothing"
    assert errors.traffic.visitors_per_minute == pytest.approx(100, rel=0.05)


def test_a_control_without_any_error_is_taken_for_one_in_a_thousand_and_without_any_revenue_for_unknown():
    seen = counts(1, 2)
    none = replace(seen, metrics={})
    errors = metric_traffic(none, RULE, "errors")
    assert errors is not None and errors.traffic.base_rate == LEAST_RISING
    assert metric_traffic(none, RULE, "revenue") is None
    assert step_power(none, RULE, 0.25, 0, 0.3, metric="revenue") is None


def test_the_least_visible_rise_falls_with_time_and_may_be_above_one():
    visible = []
    for hours in (1.0, 6.0, 48.0):
        power = step_power(counts(1, hours), RULE, 0.25, 0, 0.5, metric="errors")
        assert power is not None and power.rises
        visible.append(power.visible() or math.inf)
    assert visible == sorted(visible, reverse=True) and visible[0] > 1 > visible[-1] >= 0.5


def test_suspicion_of_one_metric_is_none_of_the_others():
    broken = counts(2, 6, errors=MetricFlow(0.02, 9.0))
    assert suspected_until(broken, RULE, 0, "errors") is not None
    assert suspected_until(broken, RULE, 0, "revenue") is None and suspected_until(broken, RULE, 0) is None


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("name", "harm", "share"),
    [
        ("errors", 1.0, 0.25),
        ("errors", 3.0, 0.05),
        ("revenue", 0.3, 0.25),
        ("revenue", 0.5, 0.05),
        (CONVERSION, 0.3, 0.25),
    ],
)
def test_harm_that_would_have_been_seen_is_suspected_in_four_of_five_cases(name, harm, share):
    runs, suspected = 60, 0
    base = {"errors": 0.02, "revenue": 0.06}.get(name, 0.2)
    spread = metric_traffic(counts(0, 12, share), RULE, name)
    assert spread is not None
    needed = minutes_to_metric_proof(
        MetricTraffic(Traffic(100, share, base), spread.spread), RULE, name, harm, quantile=POWER, at_start=True
    )
    assert needed is not None
    for seed in range(runs):
        scenario = Scenario(100, split=share, hours=needed / 60, drop=harm if name == CONVERSION else 0.0)
        flows = HEALTHY | ({name: MetricFlow(base, harm)} if name != CONVERSION else {})
        seen = draw_metrics(scenario, RULE, flows, np.random.default_rng(seed))
        assert seen.watermark_us == pytest.approx(needed * MINUTE, abs=SLOT_US)
        suspected += suspected_until(seen, RULE, -1, name) is not None
    assert suspected / runs >= POWER - 2 * (POWER * (1 - POWER) / runs) ** 0.5
