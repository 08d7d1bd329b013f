"""The serving copy as readers open it, and the working file while nothing writes it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import duckdb

from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.writer_lock import LockHeldError, WarehouseLock

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

WORK_WAIT_SECONDS = 2.0
"""How long a query of the working file waits for its writer."""
_COMMAND_FOR = {
    "staging.events": "it is not in the serving copy: use `gtm query --work`",
    "staging": "run `gtm refresh`",
    "core": "run `gtm refresh`",
    "marts": "run `gtm refresh`",
    "ops": "run `gtm refresh`",
}


class QueryError(Exception):
    """A query that cannot be answered; the message says what is missing and which command makes it."""


def query(settings: Settings, sql: str, *, work: bool = False) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Run one read-only query on the serving copy, or on the working file (`work`) while nothing writes it.

    Whoever opens the working file keeps its writer out, so such a query holds the writer's lock. Raises QueryError with
    the database's own reason, with the command that makes what is missing, or with the name of who is writing.
    """
    path = settings.warehouse_path if work else settings.serving_path
    if not path.exists():
        raise QueryError(
            f"{path} is not there yet: run `gtm refresh` first (sample data: `gtm demo`, then `gtm query --demo`)"
        )
    lock = WarehouseLock(settings.state_dir).hold("gtm query --work", WORK_WAIT_SECONDS) if work else nullcontext()
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
    for name, hint in _COMMAND_FOR.items():
        if f"{name}." in lowered or (name == "staging.events" and name in lowered):
            return hint
    return "tables are named schema.table, e.g. core.sessions, marts.funnel; run `gtm refresh` if it is new"
