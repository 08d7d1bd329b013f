"""`gtm guard backtest`: the guard's detector on past traffic."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.guard_drop import drop_fields, drop_line
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
from gtm_dagster.commands.guard_sight import early_by_arm, early_text
from gtm_dagster.commands.output import (
    Invocation,
    Json,
    Problem,
    invocation,
    progress_bar,
    say,
    say_json,
    utc_time,
)
from gtm_dagster.commands.table_output import Form, ReportFormat, flat, form_of, say_table

if TYPE_CHECKING:
    from gtm_dagster.rollout.control.backtest import Backtest


def _microseconds(name: str, text: str | None) -> int | None:
    """Microseconds UTC of an RFC 3339 time, or of the UTC midnight of a date."""
    if text is None:
        return None
    try:
        day = date.fromisoformat(text) if len(text) == 10 else None
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC) if day else datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError
    except ValueError:
        raise Problem(f"{name}: {text!r} is not a time; give a date, or RFC 3339 with its offset as 2026-03-01T09:30:00Z", 2) from None  # fmt: skip
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)


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
    margin: Margin = None,
    slower: Slower = None,
    start_risk: StartRisk = None,
    table: Annotated[bool, typer.Option("--table", help="Also evidence and estimate at every moment; the rows of --format csv and md.")] = False,
    format: ReportFormat = None,
    json: Json = False,
) -> int:  # fmt: skip
    """The same detector over past events, imported ones too: would it have rolled back, and when? Exit 1: it saw too
    little to say."""
    from gtm_dagster.rollout.control.backtest import backtest as judge
    from gtm_dagster.rollout.control.past_counts import read_past_counts

    form = form_of(format, json, piped=Form.TABLE)
    here = invocation(context)
    conversion = conversion and _event(here, conversion)
    declared = declared_for(here, flag, conversion)
    event = conversion or (declared.conversion if declared else _first_conversion(here))
    rule = rule_from(
        declared, threshold, hold, budget_hours, window, margin=margin, slower=slower, start_risk=start_risk
    )
    begin, end = _microseconds("--since", since), _microseconds("--until", until)
    if begin is not None and end is not None and begin >= end:
        raise Problem(f"--until: {until} is not after --since {since}", 2)
    with progress_bar("reading landed events") as tell:
        keys = declared.write_keys if declared else ()
        past = read_past_counts(
            here.settings, flag, event, rule.window_minutes, begin, end, tell, keys, rule, here.plan.aliases
        )
    with progress_bar("judging") as tell:
        result = judge(past, rule, tell, event)
    if form is not Form.TABLE and form is not Form.JSON:
        say_table(*flat(_ticks(result)), form)
    elif form is Form.JSON:
        say_json(
            {**_document(result, flag, event, table), "missing_link": _missing_link(result, event, rule.window_minutes)}
        )
    else:
        _say_backtest(result, flag, event, table)
        if missing := _missing_link(result, event, rule.window_minutes):
            say(missing)
    return 1 if result.blind else 0


def _event(here: Invocation, name: str) -> str:
    """The plan's own name of the event. Raises Problem (2) for one the plan does not have."""
    from gtm_dagster.settings import SettingsError
    from gtm_dagster.taxonomy.settings_for_plan import event_of

    try:
        return event_of(here.plan, here.plan_name, name)
    except SettingsError as error:
        raise Problem(f"--conversion: {error}", 2) from None


def _first_conversion(here: Invocation) -> str:
    if not here.settings.conversions:
        raise Problem("--conversion: the settings name no conversion; give the event that is one", 2)
    return here.settings.conversions[0].event


def _missing_link(result: Backtest, event: str, minutes: float) -> str | None:
    """Why conversions that were seen are not counted, and what to do; None when some are counted."""
    if result.blind or not result.conversions or result.control_converted or result.treated_converted:
        return None
    if not result.linked:
        return (
            f"{result.conversions:,} {event} were seen and none belongs to an exposed unit: the unit of an exposure is its "
            f"user_id, without one its anonymous_id, and a conversion counts when it carries that same id as user_id or "
            f"anonymous_id. Send both ids with {event} (or expose after login, by the user_id), then evaluate again"
        )
    return (
        f"{result.conversions:,} {event} were seen, {result.linked:,} of exposed units, and none within {minutes:g} minutes "
        f"from the first exposure of its unit: give a longer --window, or look at the times of the events"
    )


def _ticks(result: Backtest) -> list[dict[str, Any]]:
    from gtm_dagster.rollout.control.backtest import ticks

    return [{"at": utc_time(int(row.pop("at_us") or 0)), **row} for row in ticks(result.trace)]


def _document(result: Backtest, flag: str, event: str, table: bool) -> dict[str, Any]:
    document = {
        "flag": flag, "conversion": event, "would_roll_back": result.would_roll_back, "decided_at": utc_time(result.decided_us),
        "estimate": result.verdict.estimate, "low": result.verdict.low, "high": result.verdict.high, **drop_fields(result.verdict), "peak_log_e": result.peak_log_e, "log_budget": result.log_budget,
        "control_exposed": result.control_exposed, "control_converted": result.control_converted,
        "treated_exposed": result.treated_exposed, "treated_converted": result.treated_converted,
        "conversions_seen": result.conversions, "conversions_of_exposed_units": result.linked,
        "client_key_records_left_out": result.left_out, "blind": result.blind or None, "refused": result.refused or None,
        "bots": result.bots or None, "converted_before_exposure": early_by_arm(result.early),
        "metric": result.metric or None,
        "metrics": [{"metric": m.name, "decided_at": utc_time(m.decided_us), "peak_log_e": m.peak_log_e, "log_budget": m.log_budget} for m in result.metrics],
        "first_event_at": utc_time(result.first_us), "last_event_at": utc_time(result.last_us), "reason": result.reason,
    }  # fmt: skip
    return {**document, "ticks": _ticks(result)} if table else document


def _say_backtest(result: Backtest, flag: str, event: str, table: bool) -> None:
    if table:
        rows = [
            (f"{row['at']:%Y-%m-%dT%H:%M:%SZ}", f"{row['log_e']:.2f}", "" if row["estimate"] is None else f"{row['estimate']:.1%}",
             "above" if row["above"] else "")
            for row in _ticks(result)
        ]  # fmt: skip
        say_table(("at", "log e", "drop", ""), rows)
    if result.decided_us is not None:
        say(f"{flag} would have been rolled back at {utc_time(result.decided_us):%Y-%m-%dT%H:%M:%SZ}: {result.reason}")
    elif result.blind:
        say(f"{flag} was not judged, the guard is blind: {result.reason}")
    else:
        say(f"{flag} would not have been rolled back: {result.reason}")
    say(
        f"{event}: control {result.control_converted:,} of {result.control_exposed:,}, treated {result.treated_converted:,} of "
        f"{result.treated_exposed:,}, events from {utc_time(result.first_us):%Y-%m-%dT%H:%M:%SZ} to {utc_time(result.last_us):%Y-%m-%dT%H:%M:%SZ}"
    )
    if drop := drop_line(result.verdict.of_conversion):
        say(drop)
    for metric in result.metrics:
        when = "" if metric.decided_us is None else f", alone at {utc_time(metric.decided_us):%Y-%m-%dT%H:%M:%SZ}"
        say(f"{metric.name}: log e peaked at {metric.peak_log_e:.1f} of {metric.log_budget:.1f}{when}")
    if result.refused:
        say(f"{result.refused}: they are in no count")
    if result.bots:
        say(result.bots)
    if result.early:
        say(early_text(result.early))
    if result.left_out:
        say(f"{result.left_out:,} records of client keys left out; write_keys of the guard names those it believes")


COMMANDS = (Command("guard backtest", backtest, order=40),)
