"""The one place that opens DuckDB, so that all connections of a process agree on their configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings


_CHECKPOINT_AT = "256MB"
"""Write-ahead log that may wait: columns that several steps of a refresh touch are written into the file once."""
_VACUUM_TASKS = 100
"""What DuckDB itself allows a checkpoint."""

_DAMAGED = ("not a valid DuckDB database file", "Could not read enough bytes", "Corrupt database file")

_CLOSED = {
    "python_enable_replacements": False,  # FROM x would read a variable of this program
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "allow_persistent_secrets": False,
    "allowed_configs": ["TimeZone", "preserve_insertion_order", "enable_progress_bar"],  # what `connect` sets for each
    "enable_external_access": False,  # the open database and its temporary files stay reachable: big queries spill
    "lock_configuration": True,
}
"""What closes files, network, extensions and settings, in the order in which it can be set."""


def connect(
    path: Path | str, settings: Settings, *, read_only: bool = False, closed: bool = False
) -> duckdb.DuckDBPyConnection:
    """Open `path` in UTC with the deployment's memory limit, threads and storage version.

    A checkpoint does not merge small row groups unless `compact` says so. `closed`: as after `close_off`.
    """
    config: dict[str, Any] = {name: str(value) for name, value in _CLOSED.items()} if closed else {}
    if not read_only:
        config["checkpoint_threshold"] = _CHECKPOINT_AT
        config["max_vacuum_tasks"] = 0
        config["storage_compatibility_version"] = settings.warehouse.storage_compatibility_version
    if settings.warehouse.memory_limit:
        config["memory_limit"] = settings.warehouse.memory_limit
    if settings.warehouse.threads:
        config["threads"] = settings.warehouse.threads
    try:
        con = duckdb.connect(str(path), read_only=read_only, config=config)
    except duckdb.IOException as error:
        if Path(path) != settings.warehouse_path or not any(words in str(error) for words in _DAMAGED):
            raise
        raise duckdb.IOException(
            f"{path} is damaged: move it away and run `gtm refresh`, which makes it again from the landing files ({error})"
        ) from error
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET preserve_insertion_order = false")
    con.execute("SET enable_progress_bar = false")
    return con


def compact(con: duckdb.DuckDBPyConnection) -> None:
    """From here on checkpoints merge small row groups: up to 120,000 rows of every table are written again for it."""
    con.execute(f"SET max_vacuum_tasks = {_VACUUM_TASKS}")


def in_memory() -> duckdb.DuckDBPyConnection:
    """A connection to nothing on disk, for a look at what is declared; the caller closes it."""
    return duckdb.connect()


def close_off(con: duckdb.DuckDBPyConnection) -> None:
    """From here on `con` reaches no file but its own, no network and no extension, and no statement can change that."""
    for name, value in _CLOSED.items():
        con.execute(f"SET {name} = {value}")


@contextmanager
def opened(
    path: Path | str, settings: Settings, *, read_only: bool = False, closed: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that ends whatever happens inside."""
    con = connect(path, settings, read_only=read_only, closed=closed)
    try:
        yield con
    finally:
        con.close()


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All or nothing: COMMIT at the end, ROLLBACK when the body raises."""
    con.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        con.execute("ROLLBACK")
        raise
    con.execute("COMMIT")
