"""The serving copy: what readers open. Published by copy, fsync and rename, so a reader never sees half of it."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.lock import LockHeldError, WarehouseLock
from gtm_dagster.warehouse.rollbacks import copy_rollbacks
from gtm_dagster.warehouse.tables import NUMBERS, create

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

WORK_WAIT_SECONDS = 2.0
"""How long a query of the working file waits for its writer."""
_SERVED = ("core", "marts", "ops")
_MADE_BY = {
    "staging.events": "it is not in the serving copy: use `gtm query --work`",
    "staging": "run `gtm refresh`",
    "core": "run `gtm refresh`",
    "marts": "run `gtm refresh`",
    "ops": "run `gtm refresh`",
}


class QueryError(Exception):
    """A query that cannot be answered; the message says what is missing and which command makes it."""


@dataclass(frozen=True)
class Published:
    """What was published: tables, rows over all tables, bytes of the file."""

    tables: int
    rows: int
    bytes: int


def publish(con: duckdb.DuckDBPyConnection, settings: Settings) -> Published:
    """Copy core, marts, ops, the books and the quarantine (without sealed originals) from the open working file.

    `ops.rollbacks` comes from the ops store. The caller holds the writer's lock, so whatever other publishers left
    half-written belongs to dead ones and is removed. A failed attempt gives its room back.
    """
    target = settings.serving_path
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    _remove_parts(settings)
    try:
        tables, rows = _copy(con, settings, part)
        handle = os.open(part, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        part.replace(target)
    except BaseException:
        _remove_parts(settings)
        raise
    return Published(tables, rows, target.stat().st_size)


def _remove_parts(settings: Settings) -> None:
    """Remove half-written copies, and the write-ahead logs DuckDB keeps beside them."""
    target = settings.serving_path
    for part in target.parent.glob(f".{target.name}.*.part*"):
        part.unlink(missing_ok=True)


def _copy(con: duckdb.DuckDBPyConnection, settings: Settings, part: Path) -> tuple[int, int]:
    """Write what is served to the new file `part`; returns its tables and their rows."""
    create(con)
    version = settings.warehouse.storage_compatibility_version
    tables = con.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = current_database() AND NOT temporary AND schema_name IN ('core', 'marts', 'ops') ORDER BY 1, 2"
    ).fetchall()
    rows = 0
    con.execute(f"ATTACH '{part}' AS serving (STORAGE_VERSION '{version}')")
    try:
        for schema in (*_SERVED, "staging"):
            con.execute(f"CREATE SCHEMA serving.{schema}")
        for schema, table in [*tables, ("staging", "books")]:
            columns = f"COLUMNS(lambda c: c NOT IN {NUMBERS!r})"
            told = con.execute(f"CREATE TABLE serving.{schema}.{table} AS SELECT {columns} FROM {schema}.{table}")
            rows += told.fetchall()[0][0]
        rows += copy_rollbacks(con, settings, "serving.ops.rollbacks")
        rows += con.execute(
            "CREATE TABLE serving.staging.quarantine AS SELECT * EXCLUDE (sealed) FROM staging.quarantine"
        ).fetchall()[0][0]
    finally:
        con.execute("DETACH serving")
    return len(tables) + 3, rows


def query(settings: Settings, sql: str, *, work: bool = False) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Run one read-only query on the serving copy, or on the working file (`work`) while nothing writes it.

    Whoever opens the working file keeps its writer out, so such a query holds the writer's lock. Raises QueryError with
    the database's own reason, with the command that makes what is missing, or with the name of who is writing.
    """
    path = settings.warehouse_path if work else settings.serving_path
    if not path.exists():
        raise QueryError(f"{path} is not there yet: run `gtm refresh` first (or `gtm demo` for sample data)")
    lock = WarehouseLock(settings.state_dir).held("gtm query --work", WORK_WAIT_SECONDS) if work else nullcontext()
    try:
        with lock, opened(path, settings, read_only=True) as con:
            cursor = con.execute(sql)
            if cursor.description is None:
                return [], []
            return [column[0] for column in cursor.description], cursor.fetchall()
    except LockHeldError:
        holder = WarehouseLock(settings.state_dir).holder()
        raise QueryError(
            f"{path} is being written by {holder}; query the serving copy, or try again when it has finished"
        ) from None
    except duckdb.CatalogException as error:
        raise QueryError(f"{_first_line(error)} ({_way_out(sql)})") from error
    except duckdb.IOException as error:
        raise QueryError(f"{path} cannot be read ({_first_line(error)})") from error
    except duckdb.Error as error:
        raise QueryError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _way_out(sql: str) -> str:
    lowered = sql.lower()
    for name, hint in _MADE_BY.items():
        if f"{name}." in lowered or (name == "staging.events" and name in lowered):
            return hint
    return "tables are named schema.table, e.g. core.sessions, marts.funnel; run `gtm refresh` if it is new"
