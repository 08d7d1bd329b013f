"""The quarantine as it is now: what staging has, and what has landed since, also before the first refresh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.warehouse.engine import close_off, connect
from gtm_dagster.warehouse.landing import ARROW_SCHEMA, Landing, LandingFile
from gtm_dagster.warehouse.literals import literal
from gtm_dagster.warehouse.serving import WORK_WAIT_SECONDS, QueryError
from gtm_dagster.warehouse.writer_lock import LockHeldError, WarehouseLock

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

_COLUMNS = (
    "write_key", "event_id", "event_name", "reason_codes", "errors", "raw", "received_us", "plan_version", "origin", "row_no",
)  # fmt: skip


@contextmanager
def quarantine_now(settings: Settings, *, sealed: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose table `quarantine` has the rejected rows of every landed batch: the columns of
    staging.quarantine, the sealed originals only on request.

    While a run writes the working file, rows that staging itself refused are not there. Raises QueryError when nothing
    has landed.
    """
    files = Landing(settings.landing_dir).files()
    if not files:
        raise QueryError(
            f"{settings.landing_dir}: nothing has landed yet; run `gtm refresh` first, or `gtm import FILE`"
        )
    columns = ", ".join([*_COLUMNS, *(["sealed"] if sealed else [])])
    con = connect(":memory:", settings)
    try:
        staged = _copy_staged(con, settings, files, columns)
        _add_landed(con, [file for file in files if file.key not in staged], columns)
        close_off(con)
        yield con
    finally:
        con.close()


def _copy_staged(
    con: duckdb.DuckDBPyConnection, settings: Settings, files: list[LandingFile], columns: str
) -> set[str]:
    """Make `quarantine` with the staged rows of `files`; returns the keys of the staged files among them."""
    empty = f"""CREATE OR REPLACE TABLE quarantine AS SELECT {columns}, NULL::VARCHAR AS file_key, NULL::TIMESTAMP AS received_at
        FROM landed_columns LIMIT 0"""
    con.register("landed_columns", ARROW_SCHEMA.empty_table())
    con.execute(empty)
    if not settings.warehouse_path.exists():
        return set()
    keys = pa.table({"file_key": [file.key for file in files]})
    con.register("landed_keys", keys)
    try:
        with WarehouseLock(settings.state_dir).hold("gtm quarantine", WORK_WAIT_SECONDS):
            con.execute(f"ATTACH {literal(settings.warehouse_path)} AS work (READ_ONLY)")
            try:
                con.execute(
                    f"""INSERT INTO quarantine SELECT {columns}, file_key, received_at FROM work.staging.quarantine
                    SEMI JOIN landed_keys USING (file_key)"""
                )
                rows = con.execute(
                    "SELECT file_key FROM work.meta.landing_files SEMI JOIN landed_keys USING (file_key)"
                ).fetchall()
            finally:
                con.execute("DETACH work")
    except (LockHeldError, duckdb.Error):  # a run writes it, or another version wrote it: the files are there
        con.execute(empty)
        return set()
    return {row[0] for row in rows}


def _add_landed(con: duckdb.DuckDBPyConnection, files: list[LandingFile], columns: str) -> None:
    for file in files:
        present = set(pq.read_schema(file.path).names)
        selected = ", ".join(name if name in present else f"NULL AS {name}" for name in columns.split(", "))
        con.execute(
            f"""INSERT INTO quarantine SELECT {selected}, $1, make_timestamp(received_us)
            FROM read_parquet({literal(file.path)}, hive_partitioning = false) WHERE verdict = 'quarantined'""",
            [file.key],
        )
