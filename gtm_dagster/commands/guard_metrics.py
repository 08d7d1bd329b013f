"""The metrics of a guard in words and figures, live and simulated, and the segments of its units, which decide nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gtm_dagster.commands.output import Problem, say_json, utc_time
from gtm_dagster.commands.table_output import say_table

if TYPE_CHECKING:
    from gtm_dagster.rollout.guard.metric_rule import MetricRule
    from gtm_dagster.rollout.guard.metric_simulation import MetricFlow, MetricSimulation
    from gtm_dagster.rollout.guard.rule import Rule
    from gtm_dagster.rollout.guard.simulation import Outcomes, Scenario
    from gtm_dagster.rollout.guard.verdict import Verdict

MOST_SEGMENTS = 6
"""Segments of a kind that are shown; the smaller ones are pooled."""
OTHER = "(other)"

Segment = tuple[str, str, str, int, int]
"""(kind, segment, arm, exposed, converted)."""


def metric_cells(verdict: Verdict, metric: MetricRule) -> tuple[str, ...]:
    """A row of a table: metric, what is bad, its change, evidence, and both arms."""
    word = "fall" if metric.bad == "down" else "rise"
    change = (
        "-" if verdict.estimate is None else f"{-verdict.estimate if metric.bad == 'down' else verdict.estimate:+.0%}"
    )
    return (
        metric.name, f"{word} of {metric.threshold:.0%}", change, f"{verdict.log_e:.1f} of {verdict.log_budget:.1f}",
        _figure(verdict.control_converted, verdict.control_exposed, metric),
        _figure(verdict.treated_converted, verdict.treated_exposed, metric),
    )  # fmt: skip


METRIC_COLUMNS = ("metric", "rolled back at", "change", "evidence", "control", "treated")


def _figure(converted: float, exposed: int, metric: MetricRule) -> str:
    if metric.cap is None:
        return f"{converted:,}/{exposed:,}"
    return "-" if not exposed else f"{converted / exposed:,.4g} a unit"


def metric_rows(verdict: Verdict | None, rule: Rule) -> list[tuple[str, ...]]:
    """A row of METRIC_COLUMNS a metric; [] for a guard of one."""
    if verdict is None or not verdict.metrics:
        return []
    return [metric_cells(verdict.of_metric(metric.name), metric) for metric in rule.metrics]


def metric_documents(verdict: Verdict | None, rule: Rule) -> list[dict[str, Any]]:
    """For --json: what each metric is judged by and how it stands; [] for a guard of one."""
    if verdict is None or not verdict.metrics:
        return []
    names = (
        "log_e", "log_budget", "peak_log_e", "estimate", "low", "high", "above_minutes", "fires", "reason", "control_exposed",
        "control_converted", "treated_exposed", "treated_converted",
    )  # fmt: skip
    return [
        {
            "metric": metric.name, "event": metric.event, "value": metric.value, "cap": metric.cap, "limit": metric.limit,
            "bad": metric.bad, "threshold": metric.threshold, "margin": metric.margin, "stake": metric.stake,
            **{name: getattr(verdict.of_metric(metric.name), name) for name in names},
        }
        for metric in rule.metrics
    ]  # fmt: skip


def page_line(verdict: Verdict, paged_us: int | None) -> str:
    """Where the line stands that only notifies people."""
    metric = f" by {verdict.metric}" if verdict.metric else ""
    state = f"evidence {verdict.log_e:.1f} of {verdict.log_budget:.1f}{metric}"
    when = "proven" if verdict.fires else "not proven"
    if paged_us is not None:
        when = f"people were notified at {utc_time(paged_us):%Y-%m-%dT%H:%M:%SZ}"
    return f"any harm (pages only): {when}, {state}"


def page_document(verdict: Verdict | None, paged_us: int | None) -> dict[str, Any] | None:
    """For --json; None for a guard without such a line."""
    if verdict is None:
        return None
    names = ("log_e", "log_budget", "estimate", "low", "high", "fires")
    figures = {name: getattr(verdict, name) for name in names}
    return {"metric": verdict.metric or None, **figures, "notified_at": utc_time(paged_us)}


def segment_rows(segments: list[Segment]) -> dict[str, list[dict[str, Any]]]:
    """By kind, at most MOST_SEGMENTS rows and one of all others: both arms' exposed and converted units, the most first."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for kind, name, arm, exposed, converted in segments:
        row = found.setdefault(kind, {}).setdefault(name, dict.fromkeys(_NUMBERS, 0))
        word = "treated" if arm == "treatment" else "control"
        row[f"{word}_exposed"] += exposed
        row[f"{word}_converted"] += converted
    return {kind: _largest(rows) for kind, rows in found.items()}


_NUMBERS = ("control_exposed", "control_converted", "treated_exposed", "treated_converted")


def _largest(rows: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    def size(name: str) -> tuple[bool, int, str]:
        return name == OTHER, -rows[name]["control_exposed"] - rows[name]["treated_exposed"], name

    names = sorted(rows, key=size)
    shown = [name for name in names[:MOST_SEGMENTS] if name != OTHER]
    rest = [name for name in names if name not in shown]
    pooled = {number: sum(rows[name][number] for name in rest) for number in _NUMBERS}
    return [{"segment": name, **rows[name]} for name in shown] + ([{"segment": OTHER, **pooled}] if rest else [])


def segment_lines(segments: list[Segment]) -> list[str]:
    """A line a kind with more than one segment."""
    lines = []
    for kind, rows in segment_rows(segments).items():
        if len(rows) < 2:
            continue
        parts = [f"{row['segment']} {_rate(row, 'treated')} against {_rate(row, 'control')}" for row in rows]
        lines.append(f"by {kind}, treated against control (shown, decides nothing): {'; '.join(parts)}")
    return lines


def _rate(row: dict[str, Any], arm: str) -> str:
    exposed = row[f"{arm}_exposed"]
    return "-" if not exposed else f"{row[f'{arm}_converted'] / exposed:.1%} of {exposed:,}"


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
