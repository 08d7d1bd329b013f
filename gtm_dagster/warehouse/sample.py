"""A few rows of a table, as people may see them outside of it: in a run's history, which no erasure reaches.

So nobody is to be found in them: identifiers are cut to their first characters, moments to the minute, and what a sender
can fill freely (properties, addresses, the refused event itself) is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.schema.table import Column, Table

ROWS, COLUMNS, CHARACTERS = 10, 12, 24
"""At most so many rows, columns and characters of a value: every refresh with news writes a sample of each table it changed."""
_FREE = {"properties", "raw", "errors", "page_url", "referrer", "click_id", "consent", "detail"}
_NAMES = {"write_key", "source_key"}
"""What ends like an identifier and names a source."""
_ID_CHARACTERS = 4
_MARKUP = re.compile(r"([\\`*_\[\]<>!~|&])")
"""What Markdown would read as its own: a value may come from anybody."""


@dataclass(frozen=True)
class Sample:
    """Column names, and rows of as many texts; `left_out`: columns of the table that are not among them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int

    @property
    def markdown(self) -> str:
        """The rows as a Markdown table."""
        if not self.rows:
            return "no rows yet"
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        note = f"\n\nand {self.left_out} more columns" if self.left_out else ""
        return "\n".join(f"|{'|'.join(line)}|" for line in lines) + note


def sample_of(con: duckdb.DuckDBPyConnection, table: Table, rows: int = ROWS) -> Sample:
    """Rows of the open working file: the newest ones of a mart that has days, else the first that DuckDB finds."""
    columns = [column for column in table.columns if _shown(column)][:COLUMNS]
    by_day = table.schema == "marts" and columns[0].type == "DATE"
    found = con.execute(
        composed(
            "SELECT $columns FROM $table $order LIMIT $rows",
            columns=", ".join(column.name for column in columns),
            table=table.name,
            order=f"ORDER BY {columns[0].name} DESC" if by_day else "",
            rows=str(rows),
        )
    ).fetchall()
    cells = tuple(tuple(_cell(column, value) for column, value in zip(columns, row, strict=True)) for row in found)
    return Sample(tuple(column.name for column in columns), cells, len(table.columns) - len(columns))


def query_line(table: Table) -> str:
    """The command that shows rows of the table whole."""
    return f'gtm query {"" if table.served else "--work "}"FROM {table.name} LIMIT 10"'


def _shown(column: Column) -> bool:
    return column.name not in _FREE and not column.name.endswith(("_us", "_no"))


def _cell(column: Column, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1 else f"{value:,.2f}"
    if isinstance(value, int):
        return str(value)
    text = " ".join(str(value).split())
    if column.name not in _NAMES and column.name.endswith(("_id", "_key", "unique_value")):
        text = f"{text[:_ID_CHARACTERS]}…"
    elif len(text) > CHARACTERS:
        text = f"{text[: CHARACTERS - 1]}…"
    return _MARKUP.sub(r"\\\1", text)
