"""`gtm trigger test`: a rule on events of a file, decided as fast as they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json
from gtm_dagster.commands.table_output import Form, Format, form_of, say_table
from gtm_dagster.commands.trigger_options import RuleName, RulesFile, outcome_row, rule_named, rules_of, rules_path

COLUMNS = ("at", "person", "outcome", "reason", "detail", "until", "trigger_event", "action_id")
DRAWN = ("at", "person", "outcome", "reason", "until")
"""Columns of the drawn table; the others stand in the other forms."""


def test(
    context: typer.Context,
    rule: RuleName,
    event: Annotated[
        Path, typer.Option("--event", help="NDJSON: events as they are sent to /ingest; received_at too.")
    ],
    file: RulesFile = None,
    format: Format = None,
    json: Json = False,
) -> int:
    """Try a rule on the events of a file. Time runs until nothing is open. Exit 1: an event does not fit the plan."""
    from gtm_dagster.triggers.event_lines import EventLineError, read_event_lines
    from gtm_dagster.triggers.memory_runner import MemoryRunner

    here = invocation(context)
    form = form_of(format, json)
    rules = rules_of(here, rules_path(here, file))
    chosen = rule_named(rules, rule)
    try:
        events = read_event_lines(event, here.plan)
    except EventLineError as error:
        raise Problem(error.problems[0], 1, error.problems[1:]) from None
    runner = MemoryRunner([chosen])
    for each in events:
        runner.receive(each)
    runner.finish()
    rows = [outcome_row(outcome) for outcome in runner.outcomes]
    if form is Form.JSON:
        say_json({"rule": rule, "events": len(events), "outcomes": rows})
        return 0
    columns = DRAWN if form is Form.TABLE else COLUMNS
    if rows or form is not Form.TABLE:
        say_table(columns, [[row[name] for name in columns] for row in rows], form)
    if form is Form.TABLE:
        sent = sum(row["outcome"] == "sent" for row in rows)
        say(f"{rule}: {sent} sent of {len(events)} event{'' if len(events) == 1 else 's'}; nothing was delivered")
    return 0


COMMANDS = (Command("trigger test", test, order=20),)
