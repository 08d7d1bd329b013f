"""The landing zone: immutable Parquet files by ingest date (UTC date of `received_us`), written once by rename.

A file's name says what it holds (an offset range of a log, or the content of an imported file), so writing the same
batch again is a no-op and a crash between two files is healed by writing the batch again.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.eventlog import Position
from gtm_dagster.storage.atomic_write import Drafts
from gtm_dagster.warehouse.landing.day_files import DayFiles
from gtm_dagster.warehouse.landing.landed_ids import known_ids
from gtm_dagster.warehouse.landing.lending import lend
from gtm_dagster.warehouse.landing.listing import covered, last_ranges, look, read_index, write_index
from gtm_dagster.warehouse.landing.manifests import (
    ImportNotes,
    Manifest,
    ReplayNotes,
    encoded,
    log_range,
    manifest_of,
    range_name,
    read_manifest,
)
from gtm_dagster.warehouse.landing.sealed_originals import sealed_path
from gtm_dagster.warehouse.landing.withdrawals import (
    Withdrawn,
    end_withdrawn,
    finish_withdrawals,
    withdraw,
    withdrawn_batches,
)
from gtm_dagster.warehouse.landing.writers import manifest_path, reading, rows_path, writing

_UNINDEXED = 64
"""Manifests that are opened rather than writing the index anew for them."""


@dataclass(frozen=True)
class LandingFile:
    """One landed Parquet file: path, ingest date, batch name, and the rows its writer says it holds.

    `parts`: of a compacted file the rows of each batch it was compacted from, by name. `left_out`: those of them that are
    not to be read.
    """

    path: Path
    ingest_date: date
    name: str
    rows: int
    parts: Mapping[str, int] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """The file's identity inside the landing zone, the same on every machine."""
        return self.key_of(self.name)

    def key_of(self, part: str) -> str:
        """The key that the rows of a part had before it was compacted."""
        return f"{self.ingest_date.isoformat()}/{part}"

    @property
    def wanted_rows(self) -> int:
        """The rows without those that are left out."""
        return self.rows - sum(self.parts[part] for part in self.left_out)

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
        return manifest_path(self.folder, name)

    def _path(self, day: str, name: str) -> Path:
        return rows_path(self.folder, day, name)

    def manifest(self, name: str) -> Manifest | None:
        """The manifest of batch `name`; None when it has not landed, or was withdrawn."""
        manifest = read_manifest(self._manifest(name))
        return None if manifest is None or manifest.withdrawn is not None else manifest

    def names(self) -> list[str]:
        """Names of the batches in place; nothing is opened."""
        return look(self.folder).names

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
        file: str | None = None, mapping: str | None = None, write_key: str = "", replay: ReplayNotes | None = None,
    ) -> list[Path]:  # fmt: skip
        """Land `rows` (the LANDING columns; tables one after another) as batch `name`; returns its paths.

        A landed name is left as it is. Nothing lands when a table cannot be had. `file` (name of the imported file),
        `mapping` (name of its mapping), `write_key` and `replay` are for `gtm imports list`.
        """
        if self._landed(name):
            return [self._path(day, name) for day in self._days(name)]
        tables = [rows] if isinstance(rows, pa.Table) else rows
        notes = None if file is None else ImportNotes(file, mapping, write_key, time.time_ns() // 1000, replay)
        finish_withdrawals(self.folder)
        with writing(self.folder, name) as journal, Drafts() as drafts:
            files = DayFiles(
                name,
                lambda day: drafts.of(journal.add(self._path(day, name))),
                lambda day: drafts.of(journal.add(sealed_path(self.folder, day, name))),
            )
            with files:
                for table in tables:
                    files.add(table)
            if files.last is None:
                return []
            drafts.rename()
            days = dict(sorted(files.rows.items()))
            manifest = manifest_of(name, days, files.last, files.verdicts, notes)
            drafts.of(self._manifest(name)).write_bytes(encoded(manifest))
            drafts.rename()
        return [self._path(day, name) for day in days]

    def _landed(self, name: str) -> bool:
        """Whether the batch has landed whole, by itself or in a compacted one."""
        return self.has(name) or (
            log_range(name) is not None and name in self._replaced([*look(self.folder).names, name])
        )

    def _days(self, name: str) -> dict[str, int]:
        manifest = self.manifest(name)
        return manifest.rows if manifest else {}

    def imports(self) -> list[Manifest]:
        """The manifests of every landed batch that is not of the log, by name."""
        names = [name for name in look(self.folder).names if not name.startswith("log-")]
        return [manifest for name in names if (manifest := self.manifest(name)) is not None]

    def withdraw(self, name: str, *, by: str, reason: str) -> Withdrawn:
        """Withdraw the batch `name`: the next refresh takes its rows back. The caller holds the warehouse's lock.

        Raises WithdrawalError when no import of this name has landed.
        """
        return withdraw(self.folder, name, by=by, reason=reason, at_us=time.time_ns() // 1000)

    def withdrawn(self, but: Collection[str] = ()) -> list[Withdrawn]:
        """Every withdrawn batch, in the order of withdrawing; without the withdrawals of the ids in `but`."""
        finish_withdrawals(self.folder)
        return withdrawn_batches(self.folder, but)

    def end_withdrawn(self, followed: Collection[str]) -> int:
        """Remove the files of withdrawals that staging followed a month ago; returns of how many."""
        return end_withdrawn(self.folder, followed, datetime.now(UTC)) if followed else 0

    def known(self, events: pa.Table) -> pa.Table:
        """What the landed batches know of the accepted rows of `events`: row_no, batch, same, earlier.

        One row for each row of `events` and landed batch that holds its (write_key, event_id) as accepted: `row_no` is
        its place in `events`, `same` says that the contents agree, `earlier` that the landed copy was received before.
        """
        with self.reading() as files:
            return known_ids(events, [(file.path, file.name) for file in files])

    def files(self, but: Collection[str] = (), *, parts: bool = False) -> list[LandingFile]:
        """Every file of every whole batch, oldest ingest date first; without those of the batches named in `but`.

        `parts`: with what a compacted file was compacted from. Whoever opens the files while others may write takes
        `reading` instead.
        """
        with self.reading(but, parts=parts) as files:
            return files

    @contextmanager
    def reading(self, but: Collection[str] = (), *, parts: bool = False) -> Iterator[list[LandingFile]]:
        """As `files`; until the body ends each of them stays where it is."""
        with reading(self.folder):
            names = look(self.folder).names
            replaced = self._replaced(names)
            wanted = [name for name in names if name not in but and name not in replaced]
            index = {} if parts or not wanted else read_index(self.folder)
            files: list[LandingFile] = []
            for name in wanted:
                if name in index:
                    files += self._files_of(name, index[name])
                elif (manifest := self.manifest(name)) is not None:
                    files += self._files_of(name, manifest.rows, manifest.replaces)
            yield sorted(files, key=lambda file: (file.ingest_date, file.name))

    def _files_of(
        self, name: str, rows: dict[str, int], replaces: dict[str, dict[str, int]] | None = None
    ) -> Iterator[LandingFile]:
        for day, n in rows.items():
            parts = {part: days[day] for part, days in (replaces or {}).items() if day in days}
            yield LandingFile(self._path(day, name), date.fromisoformat(day), name, n, parts)

    def _replaced(self, names: Sequence[str]) -> set[str]:
        """Batches that a compacted one replaces, and that a killed compaction left in place."""
        found = set()
        for name, cover in covered(names).items():
            manifest = self.manifest(cover)
            if manifest is not None and name in manifest.replaces:
                found.add(name)
        return found

    def update_index(self) -> None:
        """Write down what the manifests say when many say what is not. The caller holds the warehouse's lock."""
        names, index = look(self.folder).names, read_index(self.folder)
        if len(set(names) ^ set(index)) >= _UNINDEXED:
            rows = {name: index.get(name) or self._days(name) for name in names}
            write_index(self.folder, {name: days for name, days in rows.items() if days})

    def lend(self, folder: Path, names: Collection[str], withdrawals: Collection[str] = ()) -> None:
        """Make at `folder` a landing zone of these batches and withdrawals alone; their files stay where they are.

        A batch of `names` that was withdrawn by none of `withdrawals` is lent as it was before.
        """
        lend(self.folder, folder, self.manifest, look(self.folder).names, names, self.withdrawn(), withdrawals)

    def log_positions(self) -> list[Position]:
        """How far each log has landed that the batches name, by log id; none before the first.

        A log from before logs had an identity has the id "".
        """
        positions = []
        for log_id, last in sorted(last_ranges(look(self.folder).names).items()):
            manifest = read_manifest(self._manifest(range_name(last))) if log_id else None
            received_us = manifest.log.received_us if manifest and manifest.log else None
            positions.append(Position(log_id, last.last_seq, received_us))
        return positions
