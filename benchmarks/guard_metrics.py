"""A guard of several metrics on drawn traffic: false rollbacks of all together, and how soon each harm is seen.

`python -m benchmarks.guard_metrics --runs 40` prints the tables of docs/guard.md; `benchmarks.guard` prints them too.
"""

from __future__ import annotations

import argparse

from benchmarks.guard_nulls import RAMP, share_of
from gtm_dagster.rollout.guard.metric_simulation import MetricFlow, MetricSimulation, simulate_metrics
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.simulation import Outcomes, Scenario
from gtm_dagster.settings import Guard, GuardMetric

METRICS = (
    GuardMetric("errors", "error", "checkout_failed"),
    GuardMetric("revenue", "value", "payment_completed", value="amount", cap=200.0),
)
DEFAULT = Rule.of(Guard("checkout-v2", "payment_completed", metrics=METRICS))
FAST = Rule.of(
    Guard("checkout-v2", "payment_completed", margin=0.0, start_risk=0.04, budget_hours=2400.0, metrics=METRICS)
)
"""5 % false rollbacks in the first day."""
HEALTHY = {"errors": MetricFlow(0.02), "revenue": MetricFlow(0.06)}
NULLS = (
    ("10 a minute", Scenario(10), HEALTHY),
    ("100 a minute", Scenario(100), HEALTHY),
    ("10 a minute, base 5 %, few errors", Scenario(10, base_rate=0.05), {"errors": MetricFlow(0.002), "revenue": MetricFlow(0.015)}),
    ("10 a minute, values of wide spread", Scenario(10), HEALTHY | {"revenue": MetricFlow(0.06, spread=1.5)}),
    ("10 a minute, values that hardly differ", Scenario(10), HEALTHY | {"revenue": MetricFlow(0.06, spread=0.1)}),
    ("10 a minute, ramp 2-10-50 %, season -30 %", Scenario(10, split=0.02, ramp=RAMP, season=-0.3), HEALTHY),
)  # fmt: skip
HARMS = (
    ("a loss of 30 % of conversions", 0.3, {}),
    ("a loss of 50 % of conversions", 0.5, {}),
    ("errors twice as many", 0.0, {"errors": MetricFlow(0.02, 1.0)}),
    ("errors four times as many", 0.0, {"errors": MetricFlow(0.02, 3.0)}),
    ("errors ten times as many", 0.0, {"errors": MetricFlow(0.02, 9.0)}),
    ("a loss of 30 % of revenue a payment", 0.0, {"revenue": MetricFlow(0.06, 0.3)}),
    ("a loss of 50 % of revenue a payment", 0.0, {"revenue": MetricFlow(0.06, 0.5)}),
    ("a loss of 50 %, values of wide spread", 0.0, {"revenue": MetricFlow(0.06, 0.5, spread=1.5)}),
    ("no revenue, as many payments", 0.0, {"revenue": MetricFlow(0.06, 1.0)}),
)


def false_rollbacks(runs: int) -> None:
    """The share of unchanged flows that any of the metrics rolled back within a day."""
    print("\n| nothing differs, for a day | guard | margin 0, 5 % a day | of it conversion | errors | revenue |")
    print("|---|---|---|---|---|---|")
    for name, scenario, flows in NULLS:
        found = [simulate_metrics(scenario, rule, flows, runs, 3) for rule in (DEFAULT, FAST)]
        parts = [share_of(found[1].metrics[each]) for each in ("conversion", "errors", "revenue")]
        print(
            f"| {name} | {share_of(found[0].rollbacks)} | {share_of(found[1].rollbacks)} | {' | '.join(parts)} |",
            flush=True,
        )


def detection(runs: int) -> None:
    """Minutes from the start to the rollback, the hold of five minutes included, and the metric that fired."""
    print("\n| 100 a minute, base 20 %, errors 2 % | guard | margin 0, 5 % a day | by |\n|---|---|---|---|")
    for name, drop, flows in HARMS:
        scenario = Scenario(100, drop=drop, hours=12)
        found = [simulate_metrics(scenario, rule, HEALTHY | flows, runs, 5) for rule in (DEFAULT, FAST)]
        print(
            f"| {name} | {_median(found[0].rollbacks)} | {_median(found[1].rollbacks)} | {_by(found[0])} |", flush=True
        )


def _median(found: Outcomes) -> str:
    return (
        share_of(found)
        if found.median_minutes is None
        else f"{found.median_minutes:.0f} ± {found.median_error or 0:.0f} min"
    )


def _by(found: MetricSimulation) -> str:
    return ", ".join(f"{name} {each.share:.0%}" for name, each in found.metrics.items() if each.share > 0) or "-"


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=40)
    given = options.parse_args()
    detection(given.runs)
    false_rollbacks(given.runs)


if __name__ == "__main__":
    main()
