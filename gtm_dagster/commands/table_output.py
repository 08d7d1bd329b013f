"""How a command prints rows: drawn for a person, CSV for a pipe, Markdown or JSON on request."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import typer

from gtm_dagster.commands.output import Problem, say, say_json
from gtm_dagster.commands.terminal_text import on_one_line


class Form(StrEnum):
    """What rows are printed as."""

    TABLE = "table"
    CSV = "csv"
    MD = "md"
    JSON = "json"


Format = Annotated[
    Form | None,
    typer.Option(
        "--format", help="table, csv, md or json; without it a table on a terminal, csv in a pipe.", show_default=False
    ),
]
ReportFormat = Annotated[
    Form | None,
    typer.Option(
        "--format", help="csv or md: the rows alone; json: as --json; table: the default.", show_default=False
    ),
]


def form_of(format: Form | None, json: bool, *, piped: Form = Form.CSV) -> Form:
    """The form that the two options ask for; without either a table, or `piped` where no terminal reads.

    A report of several parts is text in a pipe too (`piped=Form.TABLE`). Raises Problem (2) for two different wishes.
    """
    if json and format not in (None, Form.JSON):
        raise Problem(f"--json and --format {format} ask for two things: leave one out", 2)
    if json or format is Form.JSON:
        return Form.JSON
    return format or (Form.TABLE if sys.stdout.isatty() else piped)


def records(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """A table as objects keyed by column name; a name that occurs again gets `_2`, `_3`."""
    names: list[str] = []
    for column in columns:
        name, again = column, 2
        while name in names:
            name, again = f"{column}_{again}", again + 1
        names.append(name)
    return [dict(zip(names, row, strict=True)) for row in rows]


def say_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], form: Form = Form.TABLE) -> None:
    """Rows in one of the four forms. A drawn table fits the terminal (80 columns where there is none).

    What steers a terminal is escaped in all, since a pager stands behind many a pipe; JSON gives values as they are.
    """
    if form is Form.JSON:
        say_json(records(columns, rows))
    elif form is Form.CSV:
        from gtm_dagster.reports.csv_text import csv_text

        say(csv_text(columns, rows).removesuffix("\n"))
    elif form is Form.MD:
        say(_markdown(columns, rows))
    else:
        from gtm_dagster.commands.drawn_table import drawn_table

        say(drawn_table(columns, rows, shutil.get_terminal_size().columns))


def flat(documents: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of JSON documents with the same keys: what is nested stays one cell."""
    columns = list(documents[0]) if documents else []
    return columns, [[document[name] for name in columns] for document in documents]


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    numeric = [any(isinstance(row[i], int | float | Decimal) for row in rows) for i in range(len(columns))]
    lines = [columns, ["---:" if right else "---" for right in numeric]]
    return "\n".join(
        "| " + " | ".join(cell if n == 1 else _markdown_cell(cell) for cell in line) + " |"
        for n, line in enumerate([*lines, *rows])
    )


def _markdown_cell(value: Any) -> str:
    """A cell on one line in which nothing is markup."""
    from gtm_dagster.reports.plain_values import plain_text

    text = on_one_line((plain_text(value) or "").replace("\n", " "))
    for character, escaped in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("[", "\\["), ("`", "\\`"), ("*", "\\*")):
        text = text.replace(character, escaped)
    return text
