"""`gtm trigger status`: how the live rules stand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, invocation, say, say_json, say_prose
from gtm_dagster.commands.table_output import say_table
from gtm_dagster.commands.trigger_options import trigger_state

if TYPE_CHECKING:
    from gtm_dagster.triggers.trigger_status import TriggerStatus

COLUMNS = ("rule", "status", "open", "held", "sent", "not_sent")
MOST_REASONS = 4


def status(context: typer.Context, json: Json = False) -> int:
    """Each rule, what waits, what was sent today (UTC) and why the rest was not, the outbox, how far the worker is.
    Exit 1: a rule is stopped, the file of rules is broken, or messages were given up."""
    from gtm_dagster.triggers.trigger_db import trigger_db_path
    from gtm_dagster.triggers.trigger_status import trigger_status

    settings = invocation(context).settings
    path = trigger_db_path(settings.state_dir)
    if not path.exists():
        if json:
            say_json({"rules": [], "ran": False})
        else:
            say("no rule has run yet: name a file of rules in triggers_file and start gtm stream")
        return 0
    with trigger_state(path):
        found = trigger_status(path, settings.log_path, time.time_ns() // 1000)
    if json:
        import msgspec

        say_json({"ran": True, **msgspec.to_builtins(found)})
    else:
        _say(found)
    return 0 if found.is_well else 1


def _say(found: TriggerStatus) -> None:
    cells: list[list[Any]] = [
        [each.rule, each.status, each.open, each.held, each.sent, sum(each.not_sent.values())] for each in found.rules
    ]
    say_table(COLUMNS, cells)
    for each in found.rules:
        if each.not_sent:
            reasons = [f"{reason} {n}" for reason, n in list(each.not_sent.items())[:MOST_REASONS]]
            say_prose(f"{each.rule}: not sent today: {', '.join(reasons)}")
        if each.blind:
            say_prose(f"{each.rule}: blind: nobody is heard who would report its cancelling event, so it waits")
        if each.faults:
            say_prose(f"{each.rule}: raised {each.faults} times; once it is mended: gtm trigger resume {each.rule}")
    outbox = ", ".join(f"{n:,} {status}" for status, n in sorted(found.outbox.items())) or "empty"
    say(f"outbox: {outbox}")
    if found.offset is None:
        say("the worker has not begun")
    elif found.lag_events is None:
        say(f"offset {found.offset}; the event log cannot be read")
    else:
        seconds = "" if found.lag_seconds is None else f", {found.lag_seconds:,.1f} s"
        say(f"offset {found.offset}, {found.lag_events:,} records behind the log's end{seconds}")
    if found.warming:
        say("filling states from the past: nothing is sent before the log's end is reached")
    if found.rules_error:
        say_prose(f"PROBLEM older rules run, since the file cannot be used: {found.rules_error}")


COMMANDS = (Command("trigger status", status, order=40),)
