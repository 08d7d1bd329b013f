"""The serving copy as readers open it, and the working file while nothing writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import duckdb

from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.literals import literal
from gtm_dagster.warehouse.read_only import only_statement
from gtm_dagster.warehouse.schema import tables
from gtm_dagster.warehouse.writer_lock import LockHeldError, WarehouseLock

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

WORK_WAIT_SECONDS = 2.0
"""How long a query of the working file waits for its writer."""
_NEAR_TABLE = re.compile(r'Did you mean "(\w+)"')
_COMMAND_FOR = {
    "staging.events": "it is not in the serving copy: use `gtm query --work`",
    "staging": "run `gtm refresh`",
    "core": "run `gtm refresh`",
    "marts": "run `gtm refresh`",
    "ops": "run `gtm refresh`",
}


class QueryError(Exception):
    """A query that cannot be answered; the message says what is missing and which command makes it."""


@contextmanager
def reader(
    settings: Settings, *, work: bool = False, owner: str = "gtm query --work"
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The serving copy, or the working file (`work`), as a connection that reads its tables and reaches nothing else.

    Whoever opens the working file keeps its writer out, so such a reader holds the writer's lock as `owner`. Raises
    QueryError when the file is not there or cannot be read, and with the name of who is writing.
    """
    path = settings.warehouse_path if work else settings.serving_path
    if not path.exists():
        raise QueryError(
            f"{path} is not there yet: run `gtm refresh` first (sample data: `gtm demo`, then `gtm query --demo`)"
        )
    lock = WarehouseLock(settings.state_dir).hold(owner, WORK_WAIT_SECONDS) if work else nullcontext()
    try:
        with lock, opened(path, settings, read_only=True, closed=True) as con:
            yield con
    except LockHeldError:
        holder = WarehouseLock(settings.state_dir).holder()
        raise QueryError(
            f"{path} is being written by {holder}; query the serving copy, or try again when it has finished"
        ) from None
    except duckdb.IOException as error:
        raise QueryError(f"{path} cannot be read ({_first_line(error)})") from error


def query(
    settings: Settings,
    sql: str,
    parameters: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    limit: int | None = None,
    work: bool = False,
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns and rows of one statement that only reads, on the serving copy or on the working file (`work`).

    `parameters` fill `$1`, `?` or `$name`; `limit` is the most rows that come back. Raises QueryError with the database's
    own reason, with the command that makes what is missing, or with what the statement would do besides reading.
    """
    with reader(settings, work=work) as con:
        try:
            statement = only_statement(con, sql)
            if isinstance(statement, str):
                raise QueryError(statement)
            cursor = con.execute(statement, parameters or [])
            rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit)
            return [column[0] for column in cursor.description or ()], rows
        except duckdb.CatalogException as error:
            reason = reason_of(error)
            near = "Did you mean" in reason and "staging.events" not in sql.lower()
            raise QueryError(reason if near else f"{reason} ({_way_out(sql)})") from error
        except duckdb.IOException:
            raise
        except duckdb.Error as error:
            raise QueryError(reason_of(error)) from error


def rows_of_tables(settings: Settings) -> dict[str, int]:
    """How many rows each table of the serving copy has, by schema.table; nothing before it is built."""
    if not settings.serving_path.exists():
        return {}
    with reader(settings) as con:
        names = con.execute(
            "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE NOT internal ORDER BY ALL"
        ).fetchall()
        counts = " UNION ALL ".join(f"SELECT {literal(name)}, count(*) FROM {name}" for (name,) in names)  # noqa: S608 - names of our own tables
        return dict(con.execute(counts).fetchall()) if counts else {}


def reason_of(error: Exception) -> str:
    """DuckDB's own first line, and the names that it would have taken instead, of a table with its schema."""
    first, *rest = str(error).strip().splitlines()
    near = [
        line.strip() for line in rest if line.startswith(("Candidate bindings", "Did you mean", "Candidate functions"))
    ]
    return _NEAR_TABLE.sub(_with_schema, " ".join((first, *near)))


def _with_schema(found: re.Match[str]) -> str:
    known = [table.name for table in tables() if table.name.partition(".")[2] == found[1]]
    return f'Did you mean "{known[0] if known else found[1]}"'


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _way_out(sql: str) -> str:
    lowered = sql.lower()
    for name, hint in _COMMAND_FOR.items():
        if f"{name}." in lowered or (name == "staging.events" and name in lowered):
            return hint
    return "tables are named schema.table, e.g. core.sessions, marts.funnel; run `gtm refresh` if it is new"
