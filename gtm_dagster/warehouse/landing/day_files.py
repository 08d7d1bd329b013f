"""The rows of one batch as a Parquet file for each ingest date, written while further rows are still to come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gtm_dagster.warehouse.landing.landing_columns import complete
from gtm_dagster.warehouse.landing.manifests import FILE_METADATA

DAY_US = 86_400_000_000
_ROW_GROUP = 122_880


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
        day_numbers = table.column("received_us").to_numpy() // DAY_US
        numbers = np.unique(day_numbers)
        for number in numbers:
            day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(number))).date().isoformat()
            part = table if len(numbers) == 1 else table.filter(pa.array(day_numbers == number))
            self._waiting.setdefault(day, []).append(part)
            self.rows[day] = self.rows.get(day, 0) + part.num_rows
            self._write(day, whole_groups=True)

    def _write(self, day: str, *, whole_groups: bool) -> None:
        waiting = sum(part.num_rows for part in self._waiting[day])
        count = waiting - waiting % _ROW_GROUP if whole_groups else waiting
        if not count:
            return
        rows = pa.concat_tables(self._waiting.pop(day)).replace_schema_metadata(FILE_METADATA)
        if day not in self._writers:
            self._writers[day] = pq.ParquetWriter(self._path_of(day), rows.schema, compression="zstd")
        self._writers[day].write_table(rows.slice(0, count), row_group_size=_ROW_GROUP)
        if count < waiting:
            self._waiting[day] = [rows.slice(count)]
