"""`gtm guard plan`: what a guard can promise at its traffic."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.guard_options import (
    Budget,
    Hold,
    Margin,
    Slower,
    StartRisk,
    Threshold,
    checked,
    declared_for,
    rule_from,
)
from gtm_dagster.commands.guard_plan_metrics import planned_flows, say_metric_plan
from gtm_dagster.commands.output import Invocation, Json, Problem, invocation, progress_bar, say, say_json
from gtm_dagster.commands.table_output import say_table

if TYPE_CHECKING:
    from gtm_dagster.rollout.guard.counts import Counts
    from gtm_dagster.rollout.guard.planner import GuardPlan
    from gtm_dagster.settings import Guard


def _share(value: float) -> str:
    return f"{value:.1%}" if value < 0.1 else f"{value:.0%}"


def plan(
    context: typer.Context,
    visitors_per_minute: Annotated[float | None, typer.Option(help="Visitors of both arms.")] = None,
    split: Annotated[float | None, typer.Option(help="Treated share of the visitors; default 0.5.")] = None,
    base_rate: Annotated[float | None, typer.Option(help="Share of the control that converts.")] = None,
    delay: Annotated[float | None, typer.Option(help="Mean minutes from exposure to conversion; default 0.")] = None,
    flag: Annotated[str | None, typer.Option(help="Take guard and traffic from what is counted for it.")] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=BASE of a further metric of --flag: its share of visitors, or mean as a share of the cap."
        ),
    ] = None,
    promise_drop: Annotated[float | None, typer.Option(help="A drop somebody wants to promise, share of 1.")] = None,
    promise_minutes: Annotated[float | None, typer.Option(help="Minutes it is to be rolled back in.")] = None,
    threshold: Threshold = None,
    hold: Hold = None,
    budget_hours: Budget = None,
    margin: Margin = None,
    slower: Slower = None,
    start_risk: StartRisk = None,
    json: Json = False,
) -> int:
    """What is detectable in 5 minutes, an hour and a day at this traffic. Exit 1: the promise cannot be kept."""
    from gtm_dagster.rollout.guard.guarded_traffic import Traffic, observed_traffic
    from gtm_dagster.rollout.guard.metric_plan import metric_expectations
    from gtm_dagster.rollout.guard.planner import plan as plan_of
    from gtm_dagster.settings import CONVERSION

    here = invocation(context)
    if (promise_drop is None) != (promise_minutes is None):
        raise Problem("--promise-drop and --promise-minutes go together; give both", 2)
    declared = declared_for(here, flag) if flag else None
    if flag and declared is None:
        raise Problem(f"--flag: {flag} has no guard; declare it under [[guards]] in gtm.toml", 2)
    counts = None if declared is None else _counted(here, declared)
    if visitors_per_minute is not None and base_rate is not None:
        traffic = Traffic(visitors_per_minute, 0.5, base_rate)
    elif declared is not None:
        seen = None if counts is None else observed_traffic(counts, declared.conversion_window_minutes)
        if seen is None:
            raise Problem(
                f"{declared.key}: nothing is counted yet; give --visitors-per-minute, --split and --base-rate, "
                f"or arm it (`gtm guard rearm {declared.flag} --reason ...`) and wait for traffic"
            )
        traffic = seen
    else:
        raise Problem("give --visitors-per-minute and --base-rate, or --flag of a guard that has counted some", 2)
    given = (visitors_per_minute, split, base_rate, delay)
    counted = (traffic.visitors_per_minute, traffic.treated_share, traffic.base_rate, traffic.delay_minutes)
    pace, share, rate, late = (old if new is None else new for new, old in zip(given, counted, strict=True))
    checked("--visitors-per-minute", pace, 0 < pace <= 1e6, "a number above 0 and at most 1000000")
    checked("--split", share, 0 <= share <= 1, "a treated share from 0 to 1")
    checked("--base-rate", rate, 0 < rate < 1, "a share between 0 and 1, both excluded")
    checked("--delay", late, 0 <= late <= 10_080, "minutes from 0 to 10080")
    promise = None
    if promise_drop is not None and promise_minutes is not None:
        checked("--promise-drop", promise_drop, 0 < promise_drop <= 1, "a share above 0 and at most 1")
        checked("--promise-minutes", promise_minutes, 0 < promise_minutes < math.inf, "minutes above 0")
        promise = (promise_drop, promise_minutes)
    rule = rule_from(declared, threshold, hold, budget_hours, margin=margin, slower=slower, start_risk=start_risk)
    planned = Traffic(pace, share, rate, late)
    flows = planned_flows(planned, rule, metric or [], counts)
    with progress_bar("planning") as tell:
        figures = plan_of(planned, rule.of_metric(CONVERSION), promise=promise, progress=tell)
        further = metric_expectations(flows, rule) if 0 < share < 1 else ()
    if json:
        by_metric = {each.name: each.stake for each in rule.metrics}
        more = {"stakes": by_metric, "metrics": [asdict(each) for each in further]} if by_metric else {}
        say_json({**asdict(figures), **more})
        return 1 if figures.refused else 0
    _say_plan(figures)
    if rule.metrics:
        shares = ", ".join(f"{each.name} {each.stake:.0%}" for each in rule.metrics)
        say(f"this is of the conversion by its share of the budget ({shares}); of the further metrics:")
        say_metric_plan(further, rule)
    if figures.refused:
        raise Problem(figures.refused)
    return 0


def _counted(here: Invocation, declared: Guard) -> Counts | None:
    """What is counted of a guard's epoch, its further metrics too; None where nothing is."""
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.armed_rule import rule_of
    from gtm_dagster.rollout.control.evaluation import counts_of, store_exists

    if not store_exists(here.settings):
        return None
    with OpsStore.of(here.settings) as store:
        row, watermark = store.guard(declared.key), store.watermark_us(declared.flag)
        if row is None or watermark is None:
            return None
        return counts_of(store, declared.key, row.epoch, watermark, rule_of(store, here.settings, declared, row.epoch))


def _say_plan(figures: GuardPlan) -> None:
    from gtm_dagster.rollout.guard.planner import duration, percent_up

    traffic = figures.traffic
    say(
        f"{traffic.visitors_per_minute:g} visitors a minute, {_share(traffic.treated_share)} of them treated, base rate {_share(traffic.base_rate)}; "
        f"threshold {figures.threshold:.0%}, hold {figures.hold_minutes:g} min, one false rollback in {figures.budget_hours:g} h and {figures.start_risk:.1%} at a start"
    )

    def least(drop: float | None) -> str:
        return "nothing" if drop is None else f"{percent_up(drop)} or more"

    for line in figures.advice:
        say(line)
    if not 0 < traffic.treated_share < 1:
        return
    say_table(
        ("within", "drop proven", "drop rolled back"),
        [(duration(h.minutes), least(h.provable_drop), least(h.rolled_back_drop)) for h in figures.horizons],
    )
    say_table(
        ("drop", "broken at start", "at any time", "in 9 of 10 cases", "visitors", "least of any test", "conversions lost"),
        [
            (
                f"{e.drop:.0%}",
                "below the threshold" if e.drop < figures.threshold else duration(e.start_minutes),
                "-" if e.drop < figures.threshold else duration(e.median_minutes),
                "-" if e.drop < figures.threshold else duration(e.p90_minutes),
                f"{e.visitors:,}" if e.visitors is not None else "-",
                f"{e.bound_visitors:,}" if e.bound_visitors is not None else "-",
                f"{e.lost_conversions:,.0f}" if e.lost_conversions is not None else "-",
            )
            for e in figures.expectations
        ],
    )  # fmt: skip
    if figures.promise is not None and figures.promise.kept and figures.promise.needed_minutes is not None:
        say(f"the promise can be kept: 9 of 10 drops of {figures.promise.drop:.0%} are rolled back within {duration(figures.promise.needed_minutes)}")  # fmt: skip


COMMANDS = (Command("guard plan", plan, order=10),)
