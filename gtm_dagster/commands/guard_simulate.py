"""`gtm guard simulate`: the guard's detector on drawn traffic."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.guard_metrics import metric_flows, say_metric_simulation
from gtm_dagster.commands.guard_options import (
    Budget,
    Hold,
    Margin,
    Slower,
    StartRisk,
    Threshold,
    declared_for,
    rule_from,
)
from gtm_dagster.commands.output import Json, Problem, invocation, progress_bar, say_json
from gtm_dagster.commands.table_output import Form, Format, flat, form_of, say_table

if TYPE_CHECKING:
    from gtm_dagster.rollout.guard.operating_curve import CurvePoint
    from gtm_dagster.rollout.guard.rule import Rule
    from gtm_dagster.rollout.guard.simulation import Outcomes, Scenario, Simulation


def _ramp(text: str) -> tuple[tuple[float, float], ...]:
    steps = []
    for part in text.split(","):
        hour, _, share = part.partition(":")
        try:
            steps.append((float(hour), float(share)))
        except ValueError:
            raise Problem(f"--ramp: {part!r} is not HOUR:SHARE; write 0:0.02,8:0.10,12:0.5", 2) from None
    return tuple(steps)


def simulate(
    context: typer.Context,
    visitors_per_minute: Annotated[float, typer.Option(help="Visitors of both arms.")],
    split: Annotated[float, typer.Option(help="Treated share of the visitors.")] = 0.5,
    base_rate: Annotated[float, typer.Option(help="Share of the control that converts.")] = 0.2,
    drop: Annotated[float, typer.Option(help="Planted relative drop of the treated arm, share of 1.")] = 0.0,
    hours: Annotated[float, typer.Option(help="Length of a run.")] = 24.0,
    runs: Annotated[int, typer.Option(help="Histories to draw.")] = 200,
    seed: Annotated[int, typer.Option(help="The same seed draws the same traffic.")] = 7,
    ramp: Annotated[str | None, typer.Option(help="Steps HOUR:TREATED_SHARE, as 0:0.02,8:0.10,12:0.5.")] = None,
    season: Annotated[float, typer.Option(help="The base rate swings by this share over a day.")] = 0.0,
    delay: Annotated[float, typer.Option(help="Mean minutes from exposure to conversion; 0 is at once.")] = 0.0,
    drop_at: Annotated[float, typer.Option(help="Hour at which the flow breaks.")] = 0.0,
    window: Annotated[float | None, typer.Option(help="Conversion window in minutes; default 60.")] = None,
    threshold: Threshold = None,
    hold: Hold = None,
    budget_hours: Budget = None,
    margin: Margin = None,
    slower: Slower = None,
    start_risk: StartRisk = None,
    flag: Annotated[
        str | None, typer.Option(help="Take rule and metrics from the declared guard of this flag.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=BASE[:HARM] of a further metric: share of units, or mean a unit as a share of the cap; how much worse."
        ),
    ] = None,
    curve: Annotated[
        bool, typer.Option("--curve", help="Drops of 0 to 30 %: the share rolled back, and when.")
    ] = False,
    naive: Annotated[bool, typer.Option("--naive", help="Also the rule of rolling 5-minute windows.")] = False,
    format: Format = None,
    json: Json = False,
) -> None:
    """This guard's own detector on drawn traffic: how often it rolls back, and how soon."""
    from gtm_dagster.rollout.guard.metric_simulation import simulate_metrics
    from gtm_dagster.rollout.guard.operating_curve import operating_curve
    from gtm_dagster.rollout.guard.simulation import Scenario
    from gtm_dagster.rollout.guard.simulation import simulate as draw_and_judge

    form = form_of(format, json)
    declared = declared_for(invocation(context), flag) if flag else None
    if flag and declared is None:
        raise Problem(f"--flag: {flag} has no guard; declare it under [[guards]] in gtm.toml", 2)
    rule = rule_from(
        declared, threshold, hold, budget_hours, window, margin=margin, slower=slower, start_risk=start_risk
    )
    flows = metric_flows(metric or [])
    if flows and (curve or naive):
        raise Problem("--metric: goes with neither --curve nor --naive; leave one out", 2)
    steps = _ramp(ramp) if ramp else ()
    try:
        scenario = Scenario(visitors_per_minute, split, base_rate, drop, hours, drop_at, steps, season, delay)
        if flows or rule.metrics:
            with progress_bar("simulating") as tell:
                found = simulate_metrics(scenario, rule, flows, runs, seed, tell)
            say_metric_simulation(found, scenario, rule, seed, json)
            return
        if curve:
            with progress_bar("simulating") as tell:
                points = operating_curve(scenario, rule, runs, seed, tell)
            _say_curve(points, scenario, rule, runs, seed, form)
            return
        with progress_bar("simulating") as tell:
            result = draw_and_judge(scenario, rule, runs, seed, naive=naive, progress=tell)
    except ValueError as error:
        raise Problem(str(error), 2) from None
    if form is Form.JSON:
        say_json(
            {"runs": result.runs, **_document(result.rollbacks), "evidence": _document(result.evidence),
             "naive": result.naive and _document(result.naive), "naive_min_30": result.naive_30 and _document(result.naive_30),
             "scenario": asdict(scenario), "rule": rule.to_json(), "seed": seed}
        )  # fmt: skip
    else:
        _say_simulation(result, drop_at, form)


def _document(outcomes: Outcomes) -> dict[str, Any]:
    return {
        "rolled_back_share": outcomes.share,
        "rolled_back_share_error": outcomes.share_error,
        "median_minutes": outcomes.median_minutes,
        "median_minutes_error": outcomes.median_error,
        "median_visitors": outcomes.median_visitors,
        "p90_minutes": outcomes.p90_minutes,
        "before_drop_share": outcomes.before_share,
    }


def _say_simulation(result: Simulation, drop_at: float, form: Form) -> None:
    from gtm_dagster.rollout.guard.planner import duration

    rules = [
        ("guard", result.rollbacks), ("its evidence alone", result.evidence), ("5-minute windows", result.naive),
        ("the same, 30 an arm", result.naive_30),
    ]  # fmt: skip

    if form is not Form.TABLE:
        say_table(
            *flat([{"rule": name, "runs": result.runs, **_document(o)} for name, o in rules if o is not None]), form
        )
        return

    def cell(minutes: float | None) -> str:
        return "-" if minutes is None else duration(minutes)

    say_table(
        ("rule", "rolled back", "before the drop", "median", "90 % within", "visitors"),
        [
            (
                name, f"{o.share:.1%} of {result.runs}", f"{o.before_share:.1%}" if drop_at else "-",
                cell(o.median_minutes), cell(o.p90_minutes), "-" if o.median_visitors is None else f"{o.median_visitors:,.0f}",
            )
            for name, o in rules
            if o is not None
        ],
    )  # fmt: skip


def _say_curve(points: list[CurvePoint], scenario: Scenario, rule: Rule, runs: int, seed: int, form: Form) -> None:
    from gtm_dagster.rollout.guard.planner import duration

    if form is Form.JSON:
        flow = {name: value for name, value in asdict(scenario).items() if name != "drop"}
        say_json({"runs": runs, "curve": [asdict(point) for point in points], "scenario": flow, "rule": rule.to_json(), "seed": seed})  # fmt: skip
        return
    if form is not Form.TABLE:
        say_table(*flat([asdict(point) for point in points]), form)
        return
    say_table(
        ("drop", f"rolled back in {scenario.hours - scenario.drop_at_hours:g} h", "median"),
        [
            (
                f"{p.drop:.0%}",
                f"{p.share:.1%} +- {p.share_error:.1%}",
                "-" if p.median_minutes is None
                else duration(p.median_minutes) + ("" if p.median_error is None else f" +- {duration(p.median_error)}"),
            )
            for p in points
        ],
    )  # fmt: skip


COMMANDS = (Command("guard simulate", simulate, order=30),)
