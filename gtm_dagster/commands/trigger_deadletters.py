"""`gtm trigger deadletters`: messages that were given up."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Invocation, Json, Problem, invocation, utc_time
from gtm_dagster.commands.table_output import Format, form_of, say_table
from gtm_dagster.commands.trigger_options import existing_state

if TYPE_CHECKING:
    import sqlite3

    from gtm_dagster.delivery.dead_letters import DeadLetter

OfRule = Annotated[str | None, typer.Option("--rule", help="Of this rule alone.", show_default=False)]
OfDestination = Annotated[
    str | None, typer.Option("--destination", help="Of this destination alone.", show_default=False)
]
Since = Annotated[
    str | None, typer.Option("--since", help="Given up at or after this time (RFC 3339).", show_default=False)
]
COLUMNS = ("ended_at", "destination", "rule", "status", "attempts", "error", "action_id")


def deadletters(
    context: typer.Context,
    rule: OfRule = None,
    destination: OfDestination = None,
    since: Since = None,
    format: Format = None,
    json: Json = False,
) -> int:
    """Messages that were given up, or expired after they were tried. Exit 1: there are some."""
    here = invocation(context)
    with closing(opened(here)) as con:
        letters = found(here, con, rule, destination, since)
    rows = [
        [utc_time(each.ended_us), each.destination, each.rule, each.status, each.attempts, each.error, each.action_id]
        for each in letters
    ]
    say_table(COLUMNS, rows, form_of(format, json))
    return 1 if letters else 0


def opened(here: Invocation) -> sqlite3.Connection:
    """The trigger database. Raises Problem (1) where there is none."""
    from gtm_dagster.delivery.message_store import open_database

    return open_database(existing_state(here))


def found(
    here: Invocation, con: sqlite3.Connection, rule: str | None, destination: str | None, since: str | None
) -> list[DeadLetter]:
    """The dead letters that are meant. Raises Problem (2) for a time that is none."""
    from gtm_dagster.delivery.dead_letters import dead_letters
    from gtm_dagster.delivery.message_store import MessageStore

    since_us = 0
    if since is not None:
        try:
            moment = datetime.fromisoformat(since)
        except ValueError:
            raise Problem(f"--since: {since!r} is not a time such as 2026-12-01T09:00:00Z", 2) from None
        if moment.tzinfo is None:
            raise Problem(f"--since: {since!r} has no offset; write {since}Z for UTC", 2)
        since_us = round(moment.timestamp() * 1e6)
    return list(
        dead_letters(
            MessageStore(con), here.settings.destinations, rule=rule, destination=destination, since_us=since_us
        )
    )


COMMANDS = (Command("trigger deadletters", deadletters, order=60),)
