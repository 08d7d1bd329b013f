"""Landed ad spend: `landing/spend/`, a file and a manifest an import, by the day of landing."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.storage.atomic_write import Drafts
from gtm_dagster.warehouse.landing.files import Landing
from gtm_dagster.warehouse.landing.manifests import FILE_METADATA, ImportNotes, Manifest, ReplayNotes, encoded
from gtm_dagster.warehouse.landing.withdrawals import finish_withdrawals
from gtm_dagster.warehouse.landing.writers import writing


class SpendLanding(Landing):
    """The landing zone of spend below the landing zone `folder`; batches are listed and withdrawn as those of events."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Path(folder) / "spend")

    def write(
        self, rows: pa.Table | Iterable[pa.Table], name: str, *,
        file: str | None = None, mapping: str | None = None, write_key: str = "", replay: ReplayNotes | None = None,
    ) -> list[Path]:  # fmt: skip
        """Land `rows` as the batch `name`; returns its path. A landed name is left as it is. Raises OSError."""
        table = rows if isinstance(rows, pa.Table) else pa.concat_tables(rows)
        if self.has(name) or table.num_rows == 0:
            return []
        now = time.time_ns() // 1000
        day = datetime.fromtimestamp(now / 1e6, UTC).date().isoformat()
        path, manifest = self._path(day, name), self._manifest(name)
        notes = ImportNotes(file or "", mapping, write_key, now, replay)
        finish_withdrawals(self.folder)
        with writing(self.folder, name) as journal, Drafts() as drafts:
            part = drafts.of(journal.add(path))
            pq.write_table(table.replace_schema_metadata(FILE_METADATA), part, compression="zstd")
            drafts.rename()
            counted = Manifest(name, {day: table.num_rows}, verdicts={"accepted": table.num_rows}, notes=notes)
            drafts.of(manifest).write_bytes(encoded(counted))
            drafts.rename()
        return [path]

    def marks(self) -> dict[str, int]:
        """The batches in place, each with what tells one landing of it from another; no manifest is opened."""
        finish_withdrawals(self.folder)
        return {name: self._manifest(name).stat().st_mtime_ns for name in self.names()}

    def imported_us(self, name: str) -> int:
        """When the batch `name` was imported, microseconds UTC; the same in a copy of the landing zone."""
        manifest = self.manifest(name)
        return manifest.notes.landed_us if manifest and manifest.notes else self.landed_us(name)

    def rows_in(self, name: str) -> pa.Table:
        """The rows of a landed batch, with the columns of an import of today; those an earlier one lacks are NULL."""
        tables = [pq.read_table(self._path(day, name), partitioning=None) for day in self._days(name)]
        return pa.concat_tables(tables, promote_options="default") if tables else pa.table({})
