"""The rows of one batch as a Parquet file for each ingest date, written while further rows are still to come."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gtm_dagster.warehouse.landing.landing_columns import ROW_COLUMNS, SEALED, complete
from gtm_dagster.warehouse.landing.manifests import BATCH_NAME, FILE_METADATA
from gtm_dagster.warehouse.landing.sealed_originals import originals_of

DAY_US = 86_400_000_000
_ROW_GROUP = 122_880
_SEALED_ROW_GROUP = 8_192
_UNLIKE = {"event_id", "event_us", "received_us", "row_no", "errors", "raw"}
_REPEATED = [name for name in (*ROW_COLUMNS, BATCH_NAME) if name not in _UNLIKE]
"""Columns whose values come again: a dictionary makes the others larger, and takes its time."""


class _PathOfDay(Protocol):
    def __call__(self, day: str) -> Path: ...


class TablesByDay:
    """Writes tables into one file a day; the rows of a day wait in memory until they fill a row group."""

    def __init__(self, path_of: _PathOfDay, row_group: int, repeated: list[str]) -> None:
        self._path_of = path_of
        self._row_group = row_group
        self._repeated = repeated
        self._waiting: dict[str, list[pa.Table]] = {}
        self._writers: dict[str, pq.ParquetWriter] = {}

    def add(self, day: str, part: pa.Table) -> None:
        """Take further rows of an ISO date. Raises OSError when the disk refuses."""
        self._waiting.setdefault(day, []).append(part)
        self._write(day, whole_groups=True)

    def close(self, *, complete: bool) -> None:
        """Close the files; `complete`: after the rows that still wait."""
        if complete:
            for day in list(self._waiting):
                self._write(day, whole_groups=False)
        for writer in self._writers.values():
            writer.close()

    def _write(self, day: str, *, whole_groups: bool) -> None:
        waiting = sum(part.num_rows for part in self._waiting[day])
        count = waiting - waiting % self._row_group if whole_groups else waiting
        if not count:
            return
        rows = pa.concat_tables(self._waiting.pop(day)).replace_schema_metadata(FILE_METADATA)
        if day not in self._writers:
            repeated = [name for name in self._repeated if name in rows.schema.names]
            self._writers[day] = pq.ParquetWriter(
                self._path_of(day), rows.schema, compression="zstd", use_dictionary=repeated
            )
        self._writers[day].write_table(rows.slice(0, count), row_group_size=self._row_group)
        if count < waiting:
            self._waiting[day] = [rows.slice(count)]


class DayFiles:
    """Writes landing rows into one file a day, and the sealed originals among them into another.

    `path_of` and `sealed_path_of` name the files of an ISO date. `last` is the last table that had rows, `verdicts` counts
    rows by verdict.
    """

    def __init__(self, name: str, path_of: _PathOfDay, sealed_path_of: _PathOfDay) -> None:
        self._name = name
        self._files = TablesByDay(path_of, _ROW_GROUP, _REPEATED)
        self._sealed = TablesByDay(sealed_path_of, _SEALED_ROW_GROUP, ["file_key"])
        self.rows: dict[str, int] = {}
        self.verdicts: dict[str, int] = {}
        self.last: pa.Table | None = None

    def __enter__(self) -> DayFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        try:
            self._files.close(complete=kind is None)
        finally:
            self._sealed.close(complete=kind is None)

    def add(self, table: pa.Table) -> None:
        """Take further rows. Raises OSError when the disk refuses."""
        if not table.num_rows:
            return
        rows = complete(table, ROW_COLUMNS)
        if SEALED in table.schema.names:
            rows = rows.append_column(SEALED, table.column(SEALED))
        for each in pc.value_counts(rows.column("verdict")).to_pylist():
            self.verdicts[each["values"]] = self.verdicts.get(each["values"], 0) + each["counts"]
        for day, part in _by_day(rows):
            self.add_day(day, part, self._name)
        self.last = rows.select(ROW_COLUMNS)

    def add_day(self, day: str, part: pa.Table, name: str, columns: list[str] = ROW_COLUMNS) -> None:
        """Take further rows of one day, which landed as the batch `name`."""
        self.rows[day] = self.rows.get(day, 0) + part.num_rows
        self._files.add(day, part.select(columns))
        originals = originals_of(part, f"{day}/{name}")
        if originals.num_rows:
            self.add_originals(day, originals)

    def add_originals(self, day: str, originals: pa.Table) -> None:
        """Take originals whose rows are in the files already."""
        self._sealed.add(day, originals)


def _by_day(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """The rows by ISO date of their receipt, each day's in their order: slices where they come in the order of days."""
    for batch in table.to_batches():
        numbers = batch.column("received_us").to_numpy(zero_copy_only=False) // DAY_US
        rows = pa.Table.from_batches([batch])
        if (numbers[1:] < numbers[:-1]).any():
            order = np.argsort(numbers, kind="stable")
            rows, numbers = rows.take(pa.array(order)), numbers[order]
        starts = [0, *(np.flatnonzero(numbers[1:] != numbers[:-1]) + 1).tolist(), len(numbers)]
        for start, end in itertools.pairwise(starts):
            if end > start:
                moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(numbers[start]))
                yield moment.date().isoformat(), rows.slice(start, end - start)
