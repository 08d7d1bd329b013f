"""`gtm query`: one read-only query on the tables."""

from __future__ import annotations

import sys
from math import isinf
from typing import Annotated

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, invocation, note, progress_bar
from gtm_dagster.commands.table_output import Form, Format, form_of, say_table

NOT_COMPUTED = "SELECT model, window_hours, reason FROM marts.attribution_status WHERE NOT computed ORDER BY ALL"


def query(
    context: typer.Context,
    sql: Annotated[str, typer.Argument(help='One SELECT, or "-" to read it from stdin.')],
    work: Annotated[
        bool, typer.Option("--work", help="Read the working file (staging.events too) while nothing writes.")
    ] = False,
    format: Format = None,
    json: Json = False,
) -> None:
    """Run one statement that reads, on the serving copy: SELECT, WITH, FROM, DESCRIBE, SHOW, SUMMARIZE or EXPLAIN.

    It reaches the tables alone: no files, network, extensions or settings. For a join with a file of your own, attach
    serving.duckdb READ_ONLY in a DuckDB of your own.
    """
    from gtm_dagster.warehouse.serving import query as ask

    form = form_of(format, json)
    text = sys.stdin.read() if sql == "-" else sql
    if not text.strip():
        raise Problem('the query is empty; try `gtm query "SELECT * FROM marts.funnel"`', 2)
    settings = invocation(context).settings
    with progress_bar("querying"):
        columns, rows = ask(settings, text, work=work)
    if not rows and any(table in text.lower() for table in ("attribution_credits", "channel_attribution")):
        absent = ask(settings, NOT_COMPUTED, work=work)[1]
        note("no rows" + (": these models are not computed, see marts.attribution_status" if absent else ""))
        for model, hours, reason in absent:
            note(f"  {model} {hours:g} h: {reason}")
    if not rows and text.lower().split()[:2] == ["show", "tables"]:
        note("tables lie in schemas: `gtm tables` lists them, or SHOW ALL TABLES")
    if form is Form.JSON:
        overflown = sum(1 for row in rows for cell in row if isinstance(cell, float) and isinf(cell))
        if overflown:
            note(f"{overflown} infinite value{'s' if overflown > 1 else ''} printed as null: JSON has no infinity")
    say_table(columns, rows, form)


COMMANDS = (Command("query", query, order=80),)
