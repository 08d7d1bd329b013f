"""`gtm trigger backtest`: what a rule would have done with the events that landed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, progress_bar, say, say_json, say_prose, utc_time
from gtm_dagster.commands.table_output import Form, ReportFormat, form_of, say_table
from gtm_dagster.commands.trigger_options import RuleName, RulesFile, rule_named, rules_of, rules_path

if TYPE_CHECKING:
    from gtm_dagster.triggers.trigger_backtest import TriggerBacktest

COLUMNS = ("day", "sent", "persons", "held", "capped", "no_consent", "not_sent")
MOST_REASONS = 5


def backtest(
    context: typer.Context,
    rule: RuleName,
    days: Annotated[int, typer.Option(min=1, max=3660, help="Days up to the last landed event.")] = 30,
    file: RulesFile = None,
    format: ReportFormat = None,
    json: Json = False,
) -> int:
    """Run a rule over landed events: how much it sends a day. To how many persons, what waits, and why not more is sent.
    Exit 1: there is nothing to judge by."""
    from gtm_dagster.triggers.past_events import PastError
    from gtm_dagster.triggers.trigger_backtest import backtest_rule

    here = invocation(context)
    form = form_of(format, json, piped=Form.TABLE)
    rules = rules_of(here, rules_path(here, file))
    rule_named(rules, rule)
    try:
        with progress_bar("reading landed events") as tell:
            result = backtest_rule(here.settings, rules, rule, days, tell, here.plan.aliases)
    except PastError as error:
        raise Problem(str(error), 1) from None
    if form is Form.JSON:
        say_json(_document(result, days))
    elif form is Form.TABLE:
        _say(result, days)
    else:
        say_table(COLUMNS, _rows(result), form)
    return 0 if result.events else 1


def _rows(result: TriggerBacktest) -> list[list[Any]]:
    return [[getattr(day, name) for name in COLUMNS] for day in result.days]


def _document(result: TriggerBacktest, days: int) -> dict[str, Any]:
    from gtm_dagster.triggers.outcomes import REASONS

    return {
        "rule": result.rule, "days_asked": days, "since": utc_time(result.since_us), "until": utc_time(result.until_us),
        "events": result.events, "matching": result.matching, "sent": result.sent, "persons": result.persons, "held": result.held,
        "sent_per_day": result.sent / days if result.events else None, "open": result.open,
        "reasons": [{"reason": reason, "n": n, "means": REASONS[reason]} for reason, n in result.reasons],
        "days": [dict(zip(COLUMNS, row, strict=True)) for row in _rows(result)],
        "heartbeats": "not landed: the senders are taken as heard",
    }  # fmt: skip


def _say(result: TriggerBacktest, days: int) -> None:
    from gtm_dagster.triggers.outcomes import REASONS

    if result.since_us is None:
        say_prose("no event has landed: run `gtm refresh` or `gtm import FILE` first")
        return
    if not result.events:
        say(f"{result.rule}: no event that could start it in {days} days")
        return
    say_table(COLUMNS, _rows(result))
    say_prose(
        f"{result.rule}: {result.sent:,} sent to {result.persons:,} persons in {days} days, {result.sent / days:,.1f} a day; "
        f"{result.events:,} events could start it, {result.matching:,} satisfy its conditions; {result.held:,} waited, "
        f"{result.open:,} are still open"
    )
    for reason, count in result.reasons[:MOST_REASONS]:
        say_prose(f"  {count:>7,} {reason}: {REASONS[reason]}")
    say_prose("heartbeats do not land: the senders are taken as heard")


COMMANDS = (Command("trigger backtest", backtest, order=30),)
