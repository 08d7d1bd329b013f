"""Landed ad spend: `landing/spend/`, a file and a manifest an import, by the day of landing."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.storage.atomic_write import Drafts
from gtm_dagster.warehouse.engine import in_memory
from gtm_dagster.warehouse.landing.files import Landing
from gtm_dagster.warehouse.landing.manifests import FILE_METADATA, ImportNotes, Manifest, encoded
from gtm_dagster.warehouse.landing.withdrawals import finish_withdrawals
from gtm_dagster.warehouse.landing.writers import writing
from gtm_dagster.warehouse.literals import composed, literals

_KEY = "write_key, day, source, medium, campaign, currency"


class SpendLanding(Landing):
    """The landing zone of spend below the landing zone `folder`; batches are listed and withdrawn as those of events."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Path(folder) / "spend")

    def write(
        self, rows: pa.Table | Iterable[pa.Table], name: str, *,
        file: str | None = None, mapping: str | None = None, write_key: str = "",
    ) -> list[Path]:  # fmt: skip
        """Land `rows` as the batch `name`; returns its path. A landed name is left as it is. Raises OSError."""
        table = rows if isinstance(rows, pa.Table) else pa.concat_tables(rows)
        if self.has(name) or table.num_rows == 0:
            return []
        now = time.time_ns() // 1000
        day = datetime.fromtimestamp(now / 1e6, UTC).date().isoformat()
        path, manifest = self._path(day, name), self._manifest(name)
        notes = ImportNotes(file or "", mapping, write_key, now)
        finish_withdrawals(self.folder)
        with writing(self.folder, name) as journal, Drafts() as drafts:
            part = drafts.of(journal.add(path))
            pq.write_table(table.replace_schema_metadata(FILE_METADATA), part, compression="zstd")
            drafts.rename()
            counted = Manifest(name, {day: table.num_rows}, verdicts={"accepted": table.num_rows}, notes=notes)
            drafts.of(manifest).write_bytes(encoded(counted))
            drafts.rename()
        return [path]

    def spend(self) -> pa.Table:
        """The spend that counts: of each (write key, day, source, medium, campaign, currency) the newest import, in which
        equal rows add up. Columns: those six, channel, cost, impressions, clicks.
        """
        files = [(str(file.path), self._landed_us(file.name)) for file in self.files()]
        if not files:
            return pa.table({name: [] for name in (*_KEY.split(", "), "channel", "cost", "impressions", "clicks")})
        with in_memory() as con:
            landed = pa.table({"file_path": [path for path, _ in files], "landed_us": [us for _, us in files]})
            con.register("landed", landed)
            result: pa.Table = con.sql(
                composed(
                    """SELECT $key, min(channel) AS channel, sum(cost) AS cost, sum(impressions)::BIGINT AS impressions,
                  sum(clicks)::BIGINT AS clicks
                FROM (
                  SELECT s.*, rank() OVER (PARTITION BY $key ORDER BY l.landed_us DESC, l.file_path DESC) AS place
                  FROM read_parquet([$literals], filename = true, hive_partitioning = false) s
                  JOIN landed l ON l.file_path = s.filename)
                WHERE place = 1
                GROUP BY $key
                ORDER BY ALL""",
                    key=_KEY,
                    literals=literals(path for path, _ in files),
                )
            ).to_arrow_table()
        return result

    def _landed_us(self, name: str) -> int:
        manifest = self.manifest(name)
        return manifest.notes.landed_us if manifest and manifest.notes else self.landed_us(name)
