"""`gtm tables`: what the tables hold, from their declarations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.output import Json, Problem, say, say_json, say_table

if TYPE_CHECKING:
    from gtm_dagster.warehouse.schema import Table


def tables(
    name: Annotated[str | None, typer.Argument(help="A table, as schema.table; default: all.")] = None,
    json: Json = False,
) -> None:
    """List the tables with their meaning, or one table's columns and checks."""
    from gtm_dagster.warehouse import schema

    declared = [table for table in schema.tables() if table.schema != "meta"]
    if name is not None:
        found = next((table for table in declared if table.name == name), None)
        if found is None:
            known = ", ".join(table.name for table in declared)
            raise Problem(f"{name!r} is not a table; there are {known}", 2)
        if json:
            say_json(_document(found))
        else:
            _say_one(found)
    elif json:
        say_json([_document(table) for table in declared])
    else:
        say_table(["table", "meaning"], [(table.name, table.meaning) for table in declared])


def _say_one(table: Table) -> None:
    say(f"{table.name}: {table.meaning}")
    say_table(["column", "type", "meaning"], [(column.name, column.type, column.meaning) for column in table.columns])
    for check in table.checks:
        say(f"checked: {check.name}: {check.description}")
    if not table.served:
        say(f'It is in the working file alone: gtm query --work "SELECT * FROM {table.name} LIMIT 20"')  # noqa: S608 - a line to paste
    else:
        say(f'gtm query "SELECT * FROM {table.name} LIMIT 20"')  # noqa: S608 - a line to paste


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
