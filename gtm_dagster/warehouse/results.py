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

    @property
    def changed(self) -> bool:
        """Whether the step wrote its table; False: nothing was new."""
        ...


_NOTHING = "nothing: nothing is new"


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
            "rebuilt": "everything" if self.rebuilt else "affected persons only" if self.changed else _NOTHING,
        }

    @property
    def changed(self) -> bool:
        return self.rebuilt or self.persons > 0


@dataclass(frozen=True)
class TableResult:
    """A table that is small and built whole when something is new: its rows, and whether it was built."""

    rows: int
    changed: bool = True

    @property
    def metadata(self) -> dict[str, int | float | str]:
        return {"dagster/row_count": self.rows, "rebuilt": "everything" if self.changed else _NOTHING}


@dataclass(frozen=True)
class CheckResult:
    """One check's outcome; metadata are numbers and short texts."""

    passed: bool
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)


def number(con: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """The one value a query gives."""
    return con.execute(sql).fetchall()[0][0]


def unchanged(con: duckdb.DuckDBPyConnection, table: str) -> StepResult:
    """The result of a step that has nothing to do; DuckDB knows the rows of a table without reading it."""
    return StepResult(count(con, table), 0, 0, rebuilt=False)


def count(con: duckdb.DuckDBPyConnection, relation: str) -> int:
    """Rows of a relation."""
    return int(con.execute(composed("SELECT count(*) FROM $relation", relation=relation)).fetchall()[0][0])
