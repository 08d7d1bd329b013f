"""The quarantine as it is now: what staging has, and what has landed since, also before the first refresh."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.warehouse.engine import close_off, connect
from gtm_dagster.warehouse.landing import ARROW_SCHEMA, Landing, LandingFile
from gtm_dagster.warehouse.landing.landing_columns import SEALED
from gtm_dagster.warehouse.landing.manifests import BATCH_NAME
from gtm_dagster.warehouse.landing.sealed_originals import sealed_files
from gtm_dagster.warehouse.landing.writers import reading, rows_path
from gtm_dagster.warehouse.literals import composed, literal, literals
from gtm_dagster.warehouse.quarantine_groups import LOOKED_BACK_US, add_shapes
from gtm_dagster.warehouse.serving import WORK_WAIT_SECONDS, QueryError
from gtm_dagster.warehouse.staging.staged_files import beside, names_of
from gtm_dagster.warehouse.writer_lock import LockHeldError, WarehouseLock

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings

_COLUMNS = (
    "write_key, event_id, event_name, reason_codes, errors, raw, received_us, plan_version, origin, row_no, bot_reason"
)


@contextmanager
def quarantine_now(
    settings: Settings, *, originals: bool = False, accepted: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection whose table `quarantine` has the rejected rows of every landed batch: the columns of
    staging.quarantine and `shape`. With `originals` a table of that name too: file_key, row_no and sealed, as far as they are kept.
    The table `accepted_since` has the write_key and event_id of rows of its last 90 days whose id is accepted from another
    copy, received in the 180 days before the newest one or the 90 after it; without
    `accepted` nobody looks, and it is empty.

    While a run writes the working file, rows that staging itself refused are not there. Raises QueryError when nothing
    has landed.
    """
    landing = Landing(settings.landing_dir)
    names = landing.names()
    if not names:
        raise QueryError(
            f"{settings.landing_dir}: nothing has landed yet; run `gtm refresh` first, or `gtm import FILE`"
        )
    con = connect(":memory:", settings)
    try:
        staged = _copy_staged(con, settings, names)
        with landing.reading(but=names_of(staged), parts=True) as files:
            landed = list(beside(staged, files))
            for file in landed:
                _add_landed(con, file)
            add_shapes(con)
            con.execute("CREATE TABLE accepted_since (write_key VARCHAR, event_id VARCHAR)")
            if accepted:
                _add_accepted(con, settings, landed)
        if originals:
            _add_originals(con, landing)
        close_off(con)
        yield con
    finally:
        con.close()


def _copy_staged(con: duckdb.DuckDBPyConnection, settings: Settings, names: list[str]) -> set[str]:
    """Make `quarantine` with the staged rows of the batches `names`; returns the keys of the staged files.

    A row of the log stays where it is, also when the file it landed in was compacted; a row of an import may have been
    withdrawn since.
    """
    empty = composed(
        """CREATE OR REPLACE TABLE quarantine AS SELECT $columns, NULL::VARCHAR AS file_key, NULL::TIMESTAMP AS received_at
        FROM landed_columns LIMIT 0""",
        columns=_COLUMNS,
    )
    con.register("landed_columns", ARROW_SCHEMA.empty_table())
    con.execute(empty)
    if not settings.warehouse_path.exists():
        return set()
    con.register("landed_names", pa.table({"name": names}))
    try:
        with _attached_work(con, settings):
            con.execute(
                composed(
                    """INSERT INTO quarantine SELECT $columns, file_key, received_at FROM work.staging.quarantine
                    WHERE starts_with(split_part(file_key, '/', 2), 'log-')
                      OR split_part(file_key, '/', 2) IN (SELECT name FROM landed_names)""",
                    columns=_COLUMNS,
                )
            )
            rows = con.execute("SELECT file_key FROM work.meta.landing_files").fetchall()
    except (LockHeldError, duckdb.Error):  # a run writes it, or another version wrote it: the files are there
        con.execute(empty)
        return set()
    return {row[0] for row in rows}


def _add_landed(con: duckdb.DuckDBPyConnection, file: LandingFile) -> None:
    present = set(pq.read_schema(file.path).names)
    selected = ", ".join(name if name in present else f"NULL AS {name}" for name in _COLUMNS.split(", "))
    landed_as = BATCH_NAME if file.parts else literal(file.name)
    con.execute(
        composed(
            """INSERT INTO quarantine SELECT $selected, $1 || $landed_as, make_timestamp(received_us)
        FROM read_parquet($literal, hive_partitioning = false)
        WHERE verdict = 'quarantined' AND NOT list_contains($2::VARCHAR[], $landed_as)""",
            selected=selected,
            landed_as=landed_as,
            literal=literal(file.path),
        ),
        [file.key_of(""), sorted(file.left_out)],
    )


def _add_accepted(con: duckdb.DuckDBPyConnection, settings: Settings, landed: list[LandingFile]) -> None:
    """The ids of rows of `quarantine` that are accepted in the files not staged yet, or in the staged events.

    Those of its last days alone, in the events received around these: what is older costs nothing.
    """
    con.execute(
        """CREATE TABLE refused_ids AS SELECT DISTINCT write_key, event_id FROM quarantine
        WHERE event_id IS NOT NULL AND received_us > (SELECT max(received_us) FROM quarantine) - $1""",
        [LOOKED_BACK_US],
    )
    (newest,) = con.execute("SELECT coalesce(max(received_us), 0) FROM quarantine").fetchone() or (0,)
    around = composed(
        "(SELECT write_key, event_id FROM work.staging.events WHERE received_us BETWEEN $first AND $last)",
        first=newest - 2 * LOOKED_BACK_US,
        last=newest + LOOKED_BACK_US,
    )
    found = "SELECT DISTINCT write_key, event_id FROM $source SEMI JOIN refused_ids USING (write_key, event_id)"
    for file in landed:
        left_out = ""
        if file.parts and file.left_out:
            left_out = composed(" AND NOT list_contains([$names], $column)", names=literals(sorted(file.left_out)), column=BATCH_NAME)  # fmt: skip
        source = composed(
            """(SELECT write_key, event_id FROM read_parquet($path, hive_partitioning = false)
            WHERE verdict = 'accepted'$left_out)""",
            path=literal(file.path),
            left_out=left_out,
        )
        con.execute("INSERT INTO accepted_since " + composed(found, source=source))
    if settings.warehouse_path.exists():
        with suppress(LockHeldError, duckdb.Error), _attached_work(con, settings):
            con.execute("INSERT INTO accepted_since " + composed(found, source=around))
    con.execute("CREATE OR REPLACE TABLE accepted_since AS SELECT DISTINCT * FROM accepted_since")


@contextmanager
def _attached_work(con: duckdb.DuckDBPyConnection, settings: Settings) -> Iterator[None]:
    """The working file as `work`, to read. Raises LockHeldError while a run writes it, duckdb.Error when it is no such file."""
    with WarehouseLock(settings.state_dir).hold("gtm quarantine", WORK_WAIT_SECONDS):
        con.execute(f"ATTACH {literal(settings.warehouse_path)} AS work (READ_ONLY)")
        try:
            yield
        finally:
            con.execute("DETACH work")


def _add_originals(con: duckdb.DuckDBPyConnection, landing: Landing) -> None:
    """A landing file of an earlier version that was not written again yet holds its originals itself."""
    con.execute("CREATE TABLE originals (file_key VARCHAR, row_no BIGINT, sealed BLOB)")
    days = [day for (day,) in con.execute("SELECT DISTINCT split_part(file_key, '/', 1) FROM quarantine").fetchall()]
    with reading(landing.folder):
        for path in sealed_files(landing.folder, days):
            con.execute(
                """INSERT INTO originals SELECT file_key, row_no, any_value(sealed) FROM read_parquet($1, hive_partitioning = false)
                SEMI JOIN quarantine USING (file_key, row_no) ANTI JOIN originals USING (file_key, row_no) GROUP BY 1, 2""",
                [str(path)],
            )
        lacking = con.execute(
            "SELECT DISTINCT file_key FROM quarantine ANTI JOIN originals USING (file_key, row_no)"
        ).fetchall()
        for (file_key,) in lacking:
            day, _, name = file_key.partition("/")
            path = rows_path(landing.folder, day, name)
            if path.exists() and SEALED in pq.read_schema(path).names:
                con.execute(
                    """INSERT INTO originals SELECT $1, row_no, any_value(sealed) FROM read_parquet($2, hive_partitioning = false)
                    WHERE sealed IS NOT NULL GROUP BY row_no""",
                    [file_key, str(path)],
                )
