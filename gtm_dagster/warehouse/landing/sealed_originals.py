"""Sealed originals of quarantined rows: `sealed/<ingest date>/<batch>.parquet`, beside the rows, so that they can end first.

A file has the columns file_key (ingest date and the batch the row landed in), row_no and sealed. A day's folder is removed
whole when `quarantine.days` are over; nothing else of the landing zone, and no table, holds an original.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gtm_dagster.storage.atomic_write import fsync
from gtm_dagster.warehouse.landing.landing_columns import SEALED

FOLDER = "sealed"
SCHEMA = pa.schema([("file_key", pa.string()), ("row_no", pa.int64()), (SEALED, pa.binary())])


def first_kept_day(days: int, now: datetime) -> date:
    """The first UTC ingest day whose originals `quarantine.days` still keeps; with 0 that of tomorrow: none is kept."""
    return now.astimezone(UTC).date() + (timedelta(days=1) if days == 0 else -timedelta(days=days))


def sealed_path(folder: Path, day: str, name: str) -> Path:
    """Where the originals of the rows of one ISO ingest date and batch lie, if it has any."""
    return folder / FOLDER / day / f"{name}.parquet"


def originals_of(rows: pa.Table, file_key: str) -> pa.Table:
    """The originals among `rows`, which may have a column `sealed`."""
    if SEALED not in rows.schema.names or rows.column(SEALED).null_count == rows.num_rows:
        return SCHEMA.empty_table()
    kept = rows.filter(pc.is_valid(rows.column(SEALED)))
    keys = pa.repeat(pa.scalar(file_key, pa.string()), kept.num_rows)
    return pa.table(
        [keys, kept.column("row_no").cast(pa.int64()), kept.column(SEALED).cast(pa.binary())], schema=SCHEMA
    )


def sealed_files(folder: Path, days: Iterable[str]) -> list[Path]:
    """The files with originals of these ISO ingest dates."""
    return sorted(path for day in set(days) for path in (folder / FOLDER / day).glob("[!.]*.parquet"))


def end_sealed(folder: Path, first_kept: date) -> int:
    """Remove the originals of every ingest day before `first_kept`; returns how many days went."""
    days = [path for path in (folder / FOLDER).glob("*") if path.name < first_kept.isoformat()]
    for path in days:
        shutil.rmtree(path)
    if days:
        fsync(folder / FOLDER)
    return len(days)


def has_originals(file: pq.ParquetFile) -> bool:
    """Whether a file of rows, of an earlier version, holds originals itself."""
    place = file.schema_arrow.get_field_index(SEALED)
    if place < 0:
        return False
    metadata = file.metadata
    for group in (metadata.row_group(number) for number in range(metadata.num_row_groups)):
        statistics = group.column(place).statistics
        if statistics is None or not statistics.has_null_count or statistics.null_count < group.num_rows:
            return True
    return False
