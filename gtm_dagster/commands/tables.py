"""`gtm tables`: what the tables hold, from their declarations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Invocation, Json, Problem, invocation, note, say, say_json, say_prose
from gtm_dagster.commands.table_output import Form, Format, form_of, say_table

if TYPE_CHECKING:
    from gtm_dagster.warehouse.schema import Table


def tables(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="A table, as schema.table; default: all.")] = None,
    format: Format = None,
    json: Json = False,
) -> None:
    """List the tables with their rows and meaning, or one table's columns and checks. Rows are those of the serving copy."""
    from gtm_dagster.warehouse import schema
    from gtm_dagster.warehouse.serving import rows_of_tables

    form = form_of(format, json)
    declared = [table for table in schema.tables() if table.schema != "meta"]
    if name is not None:
        _say_one(_table(name, declared), form, invocation(context))
        return
    rows = rows_of_tables(invocation(context).settings)
    if form is Form.JSON:
        say_json([{**_document(table), "rows": rows.get(table.name)} for table in declared])
        return
    say_table(
        ["table", "rows", "meaning"], [(table.name, rows.get(table.name), table.meaning) for table in declared], form
    )
    if not rows:
        note("nothing is built yet: `gtm refresh`")


def _table(name: str, declared: list[Table]) -> Table:
    """The declared table of this name. Raises Problem (2) with the nearest names."""
    from gtm_dagster.settings.nearest import nearest

    found = next((table for table in declared if table.name == name), None)
    if found is None:
        names = [table.name for table in declared]
        near = nearest(name, names) or nearest(name, names, least=0.0)
        raise Problem(f"{name!r} is not a table; the nearest are {', '.join(near)} (`gtm tables` lists all)", 2)
    return found


def _say_one(table: Table, form: Form, here: Invocation) -> None:
    if form is Form.JSON:
        say_json(_document(table))
        return
    text = say_prose if form is Form.TABLE else note
    text(f"{table.name}: {table.meaning}")
    columns = [(column.name, column.type, column.meaning) for column in table.columns]
    say_table(["column", "type", "meaning"], columns, form)
    for check in table.checks:
        text(f"checked: {check.name}: {check.description}")
    query = f'"SELECT * FROM {table.name} LIMIT 20"'  # noqa: S608 - a line to paste
    (say if form is Form.TABLE else note)(
        here.command(f"gtm query {query}")
        if table.served
        else f"It is in the working file alone: `gtm query --work {query}`"
    )


def _document(table: Table) -> dict[str, Any]:
    return {
        "table": table.name,
        "meaning": table.meaning,
        "reads": list(table.reads),
        "served": table.served,
        "columns": [
            {"name": column.name, "type": column.type, "meaning": column.meaning, "served": column.served}
            for column in table.columns
        ],
        "checks": [
            {"name": check.name, "description": check.description, "severity": check.severity} for check in table.checks
        ],
    }


COMMANDS = (Command("tables", tables, order=85),)
