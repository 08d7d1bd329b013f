"""Further metrics in `gtm guard simulate`: what is given for each, and what becomes of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from gtm_dagster.commands.output import Problem, say_json
from gtm_dagster.commands.table_output import say_table

if TYPE_CHECKING:
    from gtm_dagster.rollout.guard.metric_simulation import MetricFlow, MetricSimulation
    from gtm_dagster.rollout.guard.rule import Rule
    from gtm_dagster.rollout.guard.simulation import Outcomes, Scenario


def metric_flows(options: list[str]) -> dict[str, MetricFlow]:
    """From NAME=BASE[:HARM] by name. Raises Problem (2) for what is not written so."""
    from gtm_dagster.rollout.guard.metric_simulation import MetricFlow

    found = {}
    for text in options:
        name, _, figures = text.partition("=")
        base, _, harm = figures.partition(":")
        try:
            found[name] = MetricFlow(float(base), float(harm or 0))
        except ValueError:
            raise Problem(f"--metric: {text!r} is not NAME=BASE[:HARM]; write errors=0.01:1.0", 2) from None
    return found


def say_metric_simulation(found: MetricSimulation, scenario: Scenario, rule: Rule, seed: int, json: bool) -> None:
    """A row for the guard, and one for each metric alone."""
    from gtm_dagster.rollout.guard.planner import duration

    rows = {"guard": found.rollbacks, **found.metrics}
    if json:
        say_json(
            {"runs": found.runs, "guard": asdict(found.rollbacks), "metrics": {name: asdict(each) for name, each in found.metrics.items()},
             "scenario": asdict(scenario), "rule": rule.to_json(), "seed": seed}
        )  # fmt: skip
        return

    def cell(minutes: float | None) -> str:
        return "-" if minutes is None else duration(minutes)

    def cells(name: str, each: Outcomes) -> tuple[str, ...]:
        metric = rule.metric(name)
        stake = "-" if metric is None else f"{metric.stake:.0%}"
        share = f"{each.share:.1%} of {found.runs}"
        before = f"{each.before_share:.1%}" if scenario.drop_at_hours else "-"
        return name, stake, share, before, cell(each.median_minutes), cell(each.p90_minutes)

    say_table(
        ("metric", "stake", "rolled back", "before the drop", "median", "90 % within"),
        [cells(name or "conversion", each) for name, each in rows.items()],
    )
