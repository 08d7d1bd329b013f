"""The landing zone: immutable Parquet files by ingest date (UTC date of `received_us`), written once by rename.

A file's name says what it holds (an offset range of a log, or the content of an imported file), so writing the same
batch again is a no-op and a crash between two files is healed by writing the batch again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.eventlog import Position
from gtm_dagster.storage.atomic_write import Drafts
from gtm_dagster.storage.file_lock import FileLock
from gtm_dagster.storage.private_dir import private_dir
from gtm_dagster.warehouse.landing.day_files import DAY_US as DAY_US
from gtm_dagster.warehouse.landing.day_files import DayFiles
from gtm_dagster.warehouse.landing.landed_ids import known_ids
from gtm_dagster.warehouse.landing.manifests import (
    ImportNotes,
    LogRange,
    Manifest,
    encoded,
    log_name,
    log_range,
    manifest_of,
    read_manifest,
)
from gtm_dagster.warehouse.landing.withdrawals import Withdrawn, finish_withdrawals, withdraw, withdrawn_batches


@dataclass(frozen=True)
class LandingFile:
    """One landed Parquet file: path, ingest date, batch name, and the rows its writer says it holds."""

    path: Path
    ingest_date: date
    name: str
    rows: int

    @property
    def key(self) -> str:
        """The file's identity inside the landing zone, the same on every machine."""
        return f"{self.ingest_date.isoformat()}/{self.name}"

    def footer_rows(self) -> int:
        """The rows Parquet itself counts; the books compare them with what the writer says."""
        return int(pq.read_metadata(self.path).num_rows)


class Landing:
    """Writes and lists the batches of one landing folder.

    A batch is one file an ingest date and, written last, a manifest: a file without a manifest does not count, so a
    writer killed half-way leaves nothing that anybody reads, and the next one removes it. `write` raises OSError when
    the disk refuses; what reads manifests raises NewerFormatError when a later version wrote one, ContractBreak when
    one is torn.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def _manifest(self, name: str) -> Path:
        return self.folder / "_batches" / f"{name}.json"

    def _path(self, day: str, name: str) -> Path:
        return self.folder / f"ingest_date={day}" / f"{name}.parquet"

    def manifest(self, name: str) -> Manifest | None:
        """The manifest of batch `name`; None when it has not landed, or was withdrawn."""
        manifest = read_manifest(self._manifest(name))
        return None if manifest is None or manifest.withdrawn is not None else manifest

    def has(self, name: str) -> bool:
        """Whether the batch `name` has landed whole."""
        return self.manifest(name) is not None

    def rows_of(self, name: str) -> int:
        """The rows of batch `name`, 0 when it has not landed."""
        return sum(self._days(name).values())

    def landed_us(self, name: str) -> int:
        """When the batch `name` landed, microseconds UTC."""
        return self._manifest(name).stat().st_mtime_ns // 1000

    def write(
        self, rows: pa.Table | Iterable[pa.Table], name: str, *,
        file: str | None = None, mapping: str | None = None, write_key: str = "",
    ) -> list[Path]:  # fmt: skip
        """Land `rows` (the LANDING columns; tables one after another) as batch `name`; returns its paths.

        A landed name is left as it is. Nothing lands when a table cannot be had. `file` (name of the imported file),
        `mapping` (name of its mapping) and `write_key` are for `gtm imports list`.
        """
        if self.has(name):
            return [self._path(day, name) for day in self._days(name)]
        tables = [rows] if isinstance(rows, pa.Table) else rows
        manifest = self._manifest(name)
        private_dir(manifest.parent)
        notes = None if file is None else ImportNotes(file, mapping, write_key, time.time_ns() // 1000)
        with self._writing(), Drafts() as drafts:

            def draft_of(day: str) -> Path:
                path = self._path(day, name)
                private_dir(path.parent)
                return drafts.of(path)

            with DayFiles(draft_of) as files:
                for table in tables:
                    files.add(table)
            if files.last is None:
                return []
            drafts.rename()
            days = dict(sorted(files.rows.items()))
            drafts.of(manifest).write_bytes(encoded(manifest_of(name, days, files.last, files.verdicts, notes)))
            drafts.rename()
        return [self._path(day, name) for day in days]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Share a kernel lock with every other writer; who finds none beside it removes what dead ones left.

        A part nobody writes any more is a killed writer's. So is a file of log offsets past the landed end: the range
        lands again, perhaps with another end and so under another name. An import's file without a manifest stays,
        importing the same file again completes it.
        """
        finish_withdrawals(self.folder)
        with FileLock(self.folder / "_batches" / ".writers") as lock:
            if lock.take(0):
                self._remove_leftovers()
            lock.take(shared=True)
            yield

    def _remove_leftovers(self) -> None:
        for pattern in ("ingest_date=*/.*.part", "_batches/.*.part"):
            for part in self.folder.glob(pattern):
                part.unlink(missing_ok=True)
        ends = {log_id: last.last_seq for log_id, last in self._last_ranges().items()}
        for path in self.folder.glob("ingest_date=*/log-*.parquet"):
            batch = log_range(path.stem)
            if batch is not None and batch.first_seq > ends.get(batch.log_id, 0):
                path.unlink(missing_ok=True)

    def _days(self, name: str) -> dict[str, int]:
        manifest = self.manifest(name)
        return manifest.rows if manifest else {}

    def imports(self) -> list[Manifest]:
        """The manifests of every landed batch that is not of the log, by name."""
        paths = sorted((self.folder / "_batches").glob("*.json"))
        names = [path.stem for path in paths if not path.name.startswith((".", "log-"))]
        return [manifest for name in names if (manifest := self.manifest(name)) is not None]

    def withdraw(self, name: str, *, by: str, reason: str) -> Withdrawn:
        """Withdraw the batch `name`: the next refresh takes its rows back. The caller holds the warehouse's lock.

        Raises WithdrawalError when no import of this name has landed.
        """
        return withdraw(self.folder, name, by=by, reason=reason, at_us=time.time_ns() // 1000)

    def withdrawn(self) -> list[Withdrawn]:
        """Every withdrawn batch, in the order of withdrawing."""
        finish_withdrawals(self.folder)
        return withdrawn_batches(self.folder)

    def known(self, events: pa.Table) -> pa.Table:
        """What the landed batches know of the accepted rows of `events`: row_no, batch, same, earlier.

        One row for each row of `events` and landed batch that holds its (write_key, event_id) as accepted: `row_no` is
        its place in `events`, `same` says that the contents agree, `earlier` that the landed copy was received before.
        """
        return known_ids(events, [(file.path, file.name) for file in self.files()])

    def files(self) -> list[LandingFile]:
        """Every file of every whole batch, oldest ingest date first."""
        files = [
            LandingFile(self._path(day, path.stem), date.fromisoformat(day), path.stem, rows)
            for path in (self.folder / "_batches").glob("*.json")
            if not path.name.startswith(".")
            for day, rows in self._days(path.stem).items()
        ]
        return sorted(files, key=lambda file: (file.ingest_date, file.name))

    def lend(self, folder: Path, names: Collection[str], withdrawals: Collection[str] = ()) -> None:
        """Make at `folder` a landing zone of these batches and withdrawals alone; their files stay where they are.

        A batch of `names` that was withdrawn by none of `withdrawals` is lent as it was before.
        """
        private_dir(folder / "_batches")
        private_dir(folder / "withdrawn")
        back: dict[str, Withdrawn] = {}
        for batch in self.withdrawn():
            if batch.id in withdrawals:
                (folder / "withdrawn" / f"{batch.id}.json").write_bytes(encoded(batch.manifest))
            else:
                back.setdefault(batch.manifest.name, batch)
        for name in names:
            manifest = back[name].manifest if name in back else self.manifest(name)
            if manifest is None:
                continue
            for day in manifest.rows:
                link = folder / f"ingest_date={day}" / f"{name}.parquet"
                private_dir(link.parent)
                link.symlink_to((back[name].files[day] if name in back else self._path(day, name)).absolute())
            lent = msgspec.structs.replace(manifest, withdrawn=None)
            (folder / "_batches" / f"{name}.json").write_bytes(encoded(lent))

    def _last_ranges(self) -> dict[str, LogRange]:
        """Of each log the range that ends last, from the names of the batches."""
        ends: dict[str, LogRange] = {}
        for path in (self.folder / "_batches").glob("log-*.json"):
            batch = log_range(path.stem)
            if batch is not None and (batch.log_id not in ends or batch.last_seq > ends[batch.log_id].last_seq):
                ends[batch.log_id] = batch
        return ends

    def log_positions(self) -> list[Position]:
        """How far each log has landed that the batches name, by log id; none before the first.

        A log from before logs had an identity has the id "".
        """
        positions = []
        for log_id, last in sorted(self._last_ranges().items()):
            manifest = (
                read_manifest(self._manifest(log_name(log_id, last.first_seq, last.last_seq))) if log_id else None
            )
            received_us = manifest.log.received_us if manifest and manifest.log else None
            positions.append(Position(log_id, last.last_seq, received_us))
        return positions
