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

from gtm_dagster.warehouse.landing.landing_columns import ARROW_SCHEMA, complete
from gtm_dagster.warehouse.landing.manifests import FILE_METADATA

DAY_US = 86_400_000_000
_ROW_GROUP = 122_880
_UNLIKE = {"event_id", "event_us", "received_us", "row_no", "errors", "raw", "sealed"}
_REPEATED = [name for name in ARROW_SCHEMA.names if name not in _UNLIKE]
"""Columns whose values come again: a dictionary makes the others larger, and takes its time."""


class _PathOfDay(Protocol):
    def __call__(self, day: str) -> Path: ...


class DayFiles:
    """Writes tables of landing rows into one file a day; the rows of a day wait in memory until they fill a row group.

    `path_of` names the file of an ISO date. `last` is the last table that had rows, `verdicts` counts rows by verdict.
    """

    def __init__(self, path_of: _PathOfDay) -> None:
        self._path_of = path_of
        self._waiting: dict[str, list[pa.Table]] = {}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self.rows: dict[str, int] = {}
        self.verdicts: dict[str, int] = {}
        self.last: pa.Table | None = None

    def __enter__(self) -> DayFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        if kind is None:
            for day in list(self._waiting):
                self._write(day, whole_groups=False)
        for writer in self._writers.values():
            writer.close()

    def add(self, table: pa.Table) -> None:
        """Take further rows. Raises OSError when the disk refuses."""
        if not table.num_rows:
            return
        self.last = table = complete(table)
        for each in pc.value_counts(table.column("verdict")).to_pylist():
            self.verdicts[each["values"]] = self.verdicts.get(each["values"], 0) + each["counts"]
        for day, part in _by_day(table):
            self._waiting.setdefault(day, []).append(part)
            self.rows[day] = self.rows.get(day, 0) + part.num_rows
        for day in self._waiting.copy():
            self._write(day, whole_groups=True)

    def _write(self, day: str, *, whole_groups: bool) -> None:
        waiting = sum(part.num_rows for part in self._waiting[day])
        count = waiting - waiting % _ROW_GROUP if whole_groups else waiting
        if not count:
            return
        rows = pa.concat_tables(self._waiting.pop(day)).replace_schema_metadata(FILE_METADATA)
        if day not in self._writers:
            self._writers[day] = pq.ParquetWriter(
                self._path_of(day), rows.schema, compression="zstd", use_dictionary=_REPEATED
            )
        self._writers[day].write_table(rows.slice(0, count), row_group_size=_ROW_GROUP)
        if count < waiting:
            self._waiting[day] = [rows.slice(count)]


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
