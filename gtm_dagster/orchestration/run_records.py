"""Dagster's runs and ticks of a laptop, opened where their tables are there without loading all of Dagster's migrations.

Same files, same tables: whoever opens them with Dagster's storage reads what these write. A file that is missing is a copy
of an empty one, which Dagster's own storage makes once a process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Self, cast

from dagster._core.storage.runs.sqlite import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite import create_db_conn_string
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.pool import NullPool

from gtm_dagster.storage.atomic_write import write_once


class OpenedRunStorage(SqliteRunStorage):
    """`SqliteRunStorage` for `runs.db`."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> OpenedRunStorage:
        return cls.from_local(inst_data=inst_data, **config_value)

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        """As Dagster's own, which makes the tables where a file lacks them."""
        copy_where_missing(Path(base_dir, "runs.db"), _empty_runs)
        if _is_made(base_dir, "runs", "instance_info"):
            return cls(create_db_conn_string(base_dir, "runs"), inst_data)
        return super().from_local(base_dir, inst_data)


class OpenedScheduleStorage(SqliteScheduleStorage):
    """`SqliteScheduleStorage` for `schedules.db`."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> OpenedScheduleStorage:
        return cls.from_local(inst_data=inst_data, **config_value)

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        """As Dagster's own, which makes the tables where a file lacks them."""
        copy_where_missing(Path(base_dir, "schedules.db"), _empty_schedules)
        if _is_made(base_dir, "schedules", "job_ticks"):
            return cls(create_db_conn_string(base_dir, "schedules"), inst_data)
        return cast(Self, super().from_local(base_dir, inst_data))


def copy_where_missing(path: Path, empty: Callable[[], bytes]) -> None:
    """Write the bytes of an empty file to `path` where no file is. Of two processes one is first, and its rows stay."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_once(path, empty(), durable=False)


@cache
def _empty_runs() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        SqliteRunStorage.from_local(folder)
        return Path(folder, "runs.db").read_bytes()


@cache
def _empty_schedules() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        SqliteScheduleStorage.from_local(folder)
        return Path(folder, "schedules.db").read_bytes()


def has_tables(engine: Engine, table: str = "alembic_version") -> bool:
    """Whether Dagster has made its tables in the file, `table` among them; it notes their revision last."""
    with engine.connect() as con:
        return (
            inspect(con).has_table("alembic_version")
            and bool(con.execute(text("SELECT 1 FROM alembic_version")).all())
            and inspect(con).has_table(table)
        )


def _is_made(base_dir: str, name: str, table: str) -> bool:
    return has_tables(create_engine(create_db_conn_string(base_dir, name), poolclass=NullPool), table)
