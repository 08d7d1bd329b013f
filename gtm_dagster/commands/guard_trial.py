"""The guard's detector on traffic that is drawn, that is past, or that a rollback was decided on."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.guard_options import Budget, Hold, Threshold, declared_for, rule_told
from gtm_dagster.commands.output import Json, Problem, invocation, progress_bar, say, say_json, say_table

if TYPE_CHECKING:
    from gtm_dagster.rollout.control.backtest import Backtest
    from gtm_dagster.rollout.guard.simulate import Outcomes, Simulation


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
    naive: Annotated[bool, typer.Option("--naive", help="Also the rule of rolling 5-minute windows.")] = False,
    json: Json = False,
) -> None:
    """This guard's own detector on drawn traffic: how often it rolls back, and how soon."""
    from gtm_dagster.rollout.guard.simulate import Scenario
    from gtm_dagster.rollout.guard.simulate import simulate as draw_and_judge

    invocation(context)
    rule = rule_told(None, threshold, hold, budget_hours, window)
    steps = _ramp(ramp) if ramp else ()
    try:
        scenario = Scenario(visitors_per_minute, split, base_rate, drop, hours, drop_at, steps, season, delay)
        with progress_bar("simulating") as tell:
            told = draw_and_judge(scenario, rule, runs, seed, naive=naive, progress=tell)
    except ValueError as error:
        raise Problem(str(error), 2) from None
    if json:
        say_json(
            {"runs": told.runs, **_outcomes(told.rollbacks), "evidence": _outcomes(told.evidence),
             "naive": told.naive and _outcomes(told.naive), "naive_min_30": told.naive_30 and _outcomes(told.naive_30),
             "scenario": asdict(scenario), "rule": asdict(rule), "seed": seed}
        )  # fmt: skip
    else:
        _say_simulation(told, drop_at)


def _outcomes(told: Outcomes) -> dict[str, Any]:
    return {
        "rolled_back_share": told.share,
        "median_minutes": told.median_minutes,
        "median_visitors": told.median_visitors,
        "p90_minutes": told.p90_minutes,
        "before_drop_share": told.before_share,
    }


def _say_simulation(told: Simulation, drop_at: float) -> None:
    from gtm_dagster.rollout.guard.planner import duration

    rules = [
        ("guard", told.rollbacks), ("its evidence alone", told.evidence), ("5-minute windows", told.naive),
        ("the same, 30 an arm", told.naive_30),
    ]  # fmt: skip

    def cell(minutes: float | None) -> str:
        return "-" if minutes is None else duration(minutes)

    say_table(
        ("rule", "rolled back", "before the drop", "median", "90 % within", "visitors"),
        [
            (
                name, f"{o.share:.1%} of {told.runs}", f"{o.before_share:.1%}" if drop_at else "-",
                cell(o.median_minutes), cell(o.p90_minutes), "-" if o.median_visitors is None else f"{o.median_visitors:,.0f}",
            )
            for name, o in rules
            if o is not None
        ],
    )  # fmt: skip


def _moment(name: str, text: str | None) -> int | None:
    """Microseconds UTC of an RFC 3339 time, or of the UTC midnight of a date."""
    if text is None:
        return None
    try:
        day = date.fromisoformat(text) if len(text) == 10 else None
        told = datetime(day.year, day.month, day.day, tzinfo=UTC) if day else datetime.fromisoformat(text)
        if told.tzinfo is None:
            raise ValueError
    except ValueError:
        raise Problem(f"{name}: {text!r} is no time; give a date, or RFC 3339 with its offset as 2026-03-01T09:30:00Z", 2) from None  # fmt: skip
    return round((told - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)


def backtest(
    context: typer.Context,
    flag: Annotated[str, typer.Option(help="The flag whose past is judged; it needs no guard yet.")],
    conversion: Annotated[str | None, typer.Option(help="Conversion event. Default: the guard's, else the first of conversions.")] = None,
    since: Annotated[str | None, typer.Option(help="As if armed at this time (RFC 3339 or a date).")] = None,
    until: Annotated[str | None, typer.Option(help="Events before this time.")] = None,
    window: Annotated[float | None, typer.Option(help="Conversion window in minutes. Default: the guard's, else 60.")] = None,
    threshold: Threshold = None,
    hold: Hold = None,
    budget_hours: Budget = None,
    table: Annotated[bool, typer.Option("--table", help="Also evidence and estimate at every moment.")] = False,
    json: Json = False,
) -> None:  # fmt: skip
    """The same detector over past events, imported ones too: would it have rolled back, and when?"""
    from gtm_dagster.rollout.control.backtest import backtest as judge
    from gtm_dagster.rollout.control.past_counts import read_past_counts

    here = invocation(context)
    declared = declared_for(here, flag, conversion)
    event = conversion or (declared.conversion if declared else here.settings.conversions[0].event)
    rule = rule_told(declared, threshold, hold, budget_hours, window)
    begin, end = _moment("--since", since), _moment("--until", until)
    if begin is not None and end is not None and begin >= end:
        raise Problem(f"--until: {until} is not after --since {since}", 2)
    with progress_bar("reading landed events") as tell:
        past = read_past_counts(here.settings, flag, event, rule.window_minutes, begin, end, tell)
    with progress_bar("judging") as tell:
        told = judge(past, rule, tell)
    if json:
        say_json(_backtest_document(told, flag, event, table))
    else:
        _say_backtest(told, flag, event, table)


def _at(us: int | None) -> datetime | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC)


def _ticks(told: Backtest) -> list[dict[str, Any]]:
    from gtm_dagster.rollout.control.backtest import ticks

    return [{"at": _at(int(row.pop("at_us") or 0)), **row} for row in ticks(told.trace)]


def _backtest_document(told: Backtest, flag: str, event: str, table: bool) -> dict[str, Any]:
    document = {
        "flag": flag, "conversion": event, "would_roll_back": told.would_roll_back, "decided_at": _at(told.decided_us),
        "estimate": told.estimate, "peak_log_e": told.peak_log_e, "log_budget": told.log_budget,
        "control_exposed": told.control_exposed, "control_converted": told.control_converted,
        "treated_exposed": told.treated_exposed, "treated_converted": told.treated_converted,
        "first_event_at": _at(told.first_us), "last_event_at": _at(told.last_us), "reason": told.reason,
    }  # fmt: skip
    return {**document, "ticks": _ticks(told)} if table else document


def _say_backtest(told: Backtest, flag: str, event: str, table: bool) -> None:
    if table:
        rows = [
            (f"{row['at']:%Y-%m-%dT%H:%M:%SZ}", f"{row['log_e']:.2f}", "" if row["estimate"] is None else f"{row['estimate']:.1%}",
             "above" if row["above"] else "")
            for row in _ticks(told)
        ]  # fmt: skip
        say_table(("at", "log e", "drop", ""), rows)
    if told.decided_us is not None:
        say(f"{flag} would have been rolled back at {_at(told.decided_us):%Y-%m-%dT%H:%M:%SZ}: {told.reason}")
    else:
        say(f"{flag} would not have been rolled back: {told.reason}")
    say(
        f"{event}: control {told.control_converted:,} of {told.control_exposed:,}, treated {told.treated_converted:,} of "
        f"{told.treated_exposed:,}, events from {_at(told.first_us):%Y-%m-%dT%H:%M:%SZ} to {_at(told.last_us):%Y-%m-%dT%H:%M:%SZ}"
        + ("" if told.estimate is None else f", drop {told.estimate:.0%}")
    )


def replay(
    context: typer.Context,
    bundle: Annotated[str, typer.Argument(help="A bundle's file, or the episode of a rollback in the ops store.")],
    json: Json = False,
) -> int:
    """Recompute a rollback's decision from its evidence. Exit 1: it comes out differently."""
    from gtm_dagster.rollout.control import evidence as bundles
    from gtm_dagster.rollout.control.replay import compare

    path = Path(bundle)
    text, intact = (path.read_text(encoding="utf-8"), None) if path.is_file() else _stored_bundle(context, bundle)
    told = compare(bundles.from_json(text), intact)
    document = {**asdict(told), "sha256": bundles.digest(text)}
    if json:
        say_json(document)
    else:
        say(
            f"{told.guard} episode {told.episode}: recorded log e {told.recorded_log_e:.9f}, recomputed {told.log_e:.9f}"
        )
        say("the same decision" if told.same else f"NOT the same: {told.difference}")
    return 0 if told.same else 1


def _stored_bundle(context: typer.Context, episode: str) -> tuple[str, bool | None]:
    """The text of an episode's bundle, and whether it is the one whose digest stands in the guard's history."""
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.evaluation import store_exists
    from gtm_dagster.rollout.control.evidence import digest

    settings = invocation(context).settings
    if store_exists(settings):
        with OpsStore.of(settings) as store:
            row = store.rollback(episode)
            if row is not None and row.bundle:
                sums = [(move.detail or {}).get("bundle_sha256") for move in store.history(row.guard)]
                kept = [told for told in sums if told]
                return row.bundle, digest(row.bundle) in kept and store.check_chain(row.guard) if kept else None
    raise Problem(f"{episode}: neither a file nor an episode with a bundle; gtm guard status names the last one")
