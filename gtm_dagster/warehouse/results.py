"""What a build step and a check answer, as the UI shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import duckdb

from gtm_dagster.warehouse.literals import composed


class Result(Protocol):
    """The answer of a step: numbers and short texts by name."""

    @property
    def metadata(self) -> dict[str, int | float | str]:
        """`dagster/row_count` and what else the step tells."""
        ...


@dataclass(frozen=True)
class StepResult:
    """Rows of the table now, rows written this time, affected persons, and whether the whole table was built."""

    rows: int
    written: int
    persons: int
    rebuilt: bool

    @property
    def metadata(self) -> dict[str, int | float | str]:
        return {
            "dagster/row_count": self.rows,
            "rows_written": self.written,
            "affected_persons": self.persons,
            "rebuilt": "everything" if self.rebuilt else "affected persons only",
        }


@dataclass(frozen=True)
class TableResult:
    """A table that is small and built whole each time: its rows."""

    rows: int

    @property
    def metadata(self) -> dict[str, int | float | str]:
        return {"dagster/row_count": self.rows}


@dataclass(frozen=True)
class CheckResult:
    """One check's outcome; metadata are numbers and short texts."""

    passed: bool
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)


def number(con: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """The one value a query gives."""
    return con.execute(sql).fetchall()[0][0]


def count(con: duckdb.DuckDBPyConnection, relation: str) -> int:
    """Rows of a relation."""
    return int(con.execute(composed("SELECT count(*) FROM $relation", relation=relation)).fetchall()[0][0])
