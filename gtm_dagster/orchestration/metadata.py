"""Library results and declarations as Dagster metadata: numbers as numbers, column schemas, small pictures that show in place."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from gtm_dagster.reports.drawing import png, small_svg
from gtm_dagster.warehouse import statements
from gtm_dagster.warehouse.figures.figure import Bar, Bars, Figure
from gtm_dagster.warehouse.sample import query_line, sample_of
from gtm_dagster.warehouse.schema.table import Table
from gtm_dagster.warehouse.source_code import statements_of
from gtm_dagster.warehouse.staging.books import BookRow
from gtm_dagster.warehouse.state import first_of_day

BOOK_DAYS = 14
"""Ingest days of the books that a materialisation shows; `gtm query "FROM staging.books"` has all."""


def column_schema(table: Table) -> dg.TableSchema:
    """The columns of a table as they are declared."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(column.name, column.type.lower(), description=column.meaning) for column in table.columns
        ]
    )


def definition_of(table: Table, *modules: str) -> dict[str, Any]:
    """Metadata of a table before anything ran: name, columns, and the code that makes it (its step, or `modules`)."""
    made_by = modules or ((table.step.__module__,) if table.step is not None else ())
    return {
        "dagster/table_name": table.name,
        "dagster/column_schema": column_schema(table),
        **code_references(*made_by, declared=table),
    }


def code_references(*modules: str, declared: Table | None = None) -> dict[str, dg.CodeReferencesMetadataValue]:
    """The statements that the modules, or a table's declaration, name, and the modules: files that the UI opens in an editor."""
    names = {name for module in modules for name in statements_of(module)}
    if declared is not None:
        names |= {declared.table} & set(statements.all_names())
    files = [(path, path.name) for path in map(statements.path_of, sorted(names))]
    files += [(path, path.name) for module in modules if (path := Path(str(import_module(module).__file__)))]
    if not files:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # of Dagster's class of what its UI has shown since 1.7
        references: list[dg.LocalFileCodeReference | dg.UrlCodeReference] = [
            dg.LocalFileCodeReference(file_path=str(path), line_number=1, label=label) for path, label in files
        ]
        return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=references)}


def description_of(table: Table) -> str:
    """What the table holds, and the command that shows it."""
    return f"{table.meaning}\n\n`{query_line(table)}`"


def figures_of(values: Mapping[str, int | float | str], seconds: float) -> dict[str, Any]:
    """What a step answers, with the names that every table has: `new_rows` where it counts them, and `seconds`."""
    shown: dict[str, Any] = {
        {"rows_written": "new_rows"}.get(name, name): dg.MetadataValue.md(value)
        if isinstance(value, str) and "\n" in value
        else value
        for name, value in values.items()
    }
    return {**shown, "seconds": round(seconds, 3)}


def sample_when_due(
    con: duckdb.DuckDBPyConnection, table: Table, *, changed: bool
) -> dict[str, dg.MarkdownMetadataValue]:
    """Ten rows of the table, in which nobody is to be found: when it changed, and once a UTC day when it did not."""
    if not changed and not first_of_day(con, f"sample of {table.name}"):
        return {}
    # Behind a link: in its place among the metadata there is room for three columns.
    return {"sample": dg.MetadataValue.md(sample_of(con, table).markdown.ljust(small_svg.INLINE_LIMIT))}


def books_table(days: Sequence[BookRow]) -> dg.MarkdownMetadataValue:
    """The books of the newest ingest days, newest first; the older ones in one row."""
    newest, older = list(reversed(days[-BOOK_DAYS:])), days[:-BOOK_DAYS]
    rows = [_book(row.ingest_date.isoformat(), [row]) for row in newest]
    rows += [_book(f"{len(older)} earlier", older)] if older else []
    head = "|ingest day|raw|clean|duplicates|quarantined|suppressed|balanced|\n|---|--:|--:|--:|--:|--:|---|"
    return dg.MetadataValue.md("\n".join([head, *rows]))


def _book(label: str, rows: Sequence[BookRow]) -> str:
    sums = [
        sum(getattr(row, name) for row in rows) for name in ("raw", "clean", "duplicates", "quarantined", "suppressed")
    ]
    balanced = "yes" if all(row.balanced for row in rows) else "NO"
    return f"|{label}|{'|'.join(f'{number:,}' for number in sums)}|{balanced}|"


def bars_of(title: str, rows: Sequence[tuple[str, float]]) -> Bars:
    """Bars of (label, number) under a title."""
    return Bars(title, tuple(Bar(label, value) for label, value in rows))


def inline(figure: Figure) -> dg.MarkdownMetadataValue:
    """The figure as a small SVG that is shown in place."""
    return dg.MetadataValue.md(small_svg.inline(figure))


def picture(figure: Figure) -> dg.MarkdownMetadataValue:
    """The figure at full size as a PNG, behind a link in the UI."""
    return dg.MetadataValue.md(png.picture(figure))
