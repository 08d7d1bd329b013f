"""Data: the published tables with their columns and meaning, and one statement of a person's own over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gtm_dagster.dashboard.notices import NotFoundError, Notice, UnavailableError
from gtm_dagster.dashboard.screen import Screen
from gtm_dagster.dashboard.snapshots import Rows
from gtm_dagster.dashboard.view import View
from gtm_dagster.reports.names_in_text import isolated
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.schema import Table, tables

SAMPLE = 20
_DAYS = ("day", "cohort_day", "ingest_date")
"""First columns by which the newest rows stand first."""
_SCHEMAS = ("marts", "core", "ops", "staging")
_THERE = """SELECT schema_name || '.' || table_name, estimated_size FROM duckdb_tables()
WHERE database_name = 'serving' ORDER BY 1"""
_COLUMNS = """SELECT schema_name || '.' || table_name, column_name, data_type FROM duckdb_columns()
WHERE database_name = 'serving' ORDER BY table_name, column_index"""
EXAMPLE = """SELECT conversion_type, currency, model, channel, sum(conversions) AS conversions
FROM marts.channel_attribution
GROUP BY ALL
ORDER BY conversion_type, currency, model, conversions DESC"""
"""Unlike types and models are never added, here neither."""


@dataclass(frozen=True)
class Listed:
    """A published table. `rows` is the engine's estimate; None: the serving copy lacks the table."""

    name: str
    meaning: str
    rows: int | None


@dataclass(frozen=True)
class ListedColumn:
    """A column of a published table; `meaning` is empty for one that no declaration names."""

    name: str
    type: str
    meaning: str


def context(view: View) -> dict[str, Any]:
    """All tables, or one with its columns and first rows; the result of the statement, where there is one."""
    there = dict(view.rows(_THERE).rows)
    declared = {table.name: table for table in tables() if table.served and table.schema != "meta"}
    listed = [
        Listed(name, declared[name].meaning if name in declared else "a table of this deployment's own", there.get(name))
        for name in (*declared, *(name for name in there if name not in declared))
    ]  # fmt: skip
    listed.sort(key=lambda table: _SCHEMAS.index(table.name.partition(".")[0]))
    name = view.selection.more["table"]
    if name and name not in {table.name for table in listed}:
        raise NotFoundError(
            f"there is no table {isolated(name[:80])}; there are {', '.join(table.name for table in listed)}"
        )
    found: dict[str, Any] = {"tables": listed, "table": None, "example": EXAMPLE, "limit": view.settings.dashboard}
    if name:
        found |= _one(view, name, declared.get(name), present=name in there)
    return found | _answer(view, view.selection.more["q"].strip())


def _one(view: View, name: str, declared: Table | None, *, present: bool) -> dict[str, Any]:
    meanings = {column.name: column.meaning for column in declared.columns} if declared else {}
    columns = [
        ListedColumn(column, kind, meanings.get(column, ""))
        for table, column, kind in view.rows(_COLUMNS).rows
        if table == name
    ]
    newest = f"\nORDER BY {columns[0].name} DESC" if columns and columns[0].name in _DAYS else ""
    statement = composed(f"SELECT *\nFROM $name{newest}\nLIMIT {SAMPLE}", name=_quoted(name))
    sample: Rows | None = None
    notice: Notice | None = None
    try:
        sample = view.rows(statement) if present else None
    except UnavailableError as error:
        notice = error.notice
    return {
        "table": name,
        "meaning": declared.meaning if declared else "",
        "checks": declared.checks if declared else (),
        "columns": columns,
        "statement": statement,
        "sample": sample,
        "sample_notice": notice if present else Notice(f"The serving copy has no table {name}.", "gtm refresh"),
    }


def _answer(view: View, statement: str) -> dict[str, Any]:
    """The result of a person's statement, or why there is none."""
    if not statement:
        return {"q": "", "answer": None, "answer_notice": None}
    try:
        assert view.snapshot is not None  # noqa: S101 - the page is not made without one
        answer = view.snapshot.asked(statement, view.settings.dashboard.query_rows)
    except UnavailableError as error:
        return {"q": statement, "answer": None, "answer_notice": error.notice}
    return {"q": statement, "answer": answer, "answer_notice": None}


def _quoted(name: str) -> str:
    """schema.table as SQL; a name of a deployment's own may hold anything."""
    plain = all(part.replace("_", "a").isalnum() and part.isascii() and part.islower() for part in name.split("."))
    if plain:
        return name
    schema, _, table = name.partition(".")
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, table))


SCREEN = Screen(
    name="data",
    path="/data",
    title="Data",
    context=context,
    order=80,
    controls=(),
    more={"table": (), "q": ()},
)
