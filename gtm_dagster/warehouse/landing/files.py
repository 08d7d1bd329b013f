"""The landing zone: immutable Parquet files by ingest date (UTC date of `received_us`), written once by rename.

A file's name says what it holds (an offset range of the log, or the content of an imported file), so writing the same
batch again is a no-op and a crash between two files is healed by writing the batch again.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.admission.record import LANDING_COLUMNS

_ARROW_TYPES = {"str": pa.string(), "int64": pa.int64(), "bytes": pa.binary()}
ARROW_SCHEMA = pa.schema([pa.field(name, _ARROW_TYPES[kind]) for name, kind in LANDING_COLUMNS])
DAY_US = 86_400_000_000
_LOG_NAME = re.compile(r"^log-(\d+)-(\d+)$")


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
    the disk refuses.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def _manifest(self, name: str) -> Path:
        return self.folder / "_batches" / f"{name}.json"

    def _path(self, day: str, name: str) -> Path:
        return self.folder / f"ingest_date={day}" / f"{name}.parquet"

    def has(self, name: str) -> bool:
        """Whether the batch `name` has landed whole."""
        return self._manifest(name).exists()

    def rows_of(self, name: str) -> int:
        """The rows of batch `name`, 0 when it has not landed."""
        return sum(self._days(name).values())

    def landed_us(self, name: str) -> int:
        """When the batch `name` landed, microseconds UTC."""
        return self._manifest(name).stat().st_mtime_ns // 1000

    def write(self, table: pa.Table, name: str) -> list[Path]:
        """Land `table` (the LANDING columns) as batch `name`; returns its paths. A landed name is left as it is."""
        if self.has(name) or table.num_rows == 0:
            return [self._path(day, name) for day in self._days(name)]
        table = table.select(ARROW_SCHEMA.names).cast(ARROW_SCHEMA)
        day_numbers = table.column("received_us").to_numpy() // DAY_US
        manifest = self._manifest(name)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        with self._writing(), _Parts() as parts:
            rows: dict[str, int] = {}
            for day_no in np.unique(day_numbers):
                day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(day_no))).date().isoformat()
                path = self._path(day, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                chosen = table.filter(pa.array(day_numbers == day_no))
                pq.write_table(chosen, parts.of(path), compression="zstd", row_group_size=122_880)
                rows[day] = chosen.num_rows
            parts.rename()
            parts.of(manifest).write_text(json.dumps({"name": name, "days": rows}))
            parts.rename()
        return [self._path(day, name) for day in rows]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Share a kernel lock with every other writer; who finds none beside it removes what dead ones left.

        A part nobody writes any more is a killed writer's. So is a file of log offsets past the landed end: the range
        lands again, perhaps with another end and so under another name. An import's file without a manifest stays,
        importing the same file again completes it.
        """
        with (self.folder / "_batches" / ".writers").open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                self._remove_leftovers()
            fcntl.flock(handle, fcntl.LOCK_SH)
            yield

    def _remove_leftovers(self) -> None:
        for pattern in ("ingest_date=*/.*.part", "_batches/.*.part"):
            for part in self.folder.glob(pattern):
                part.unlink(missing_ok=True)
        end = self.log_end()
        for path in self.folder.glob("ingest_date=*/log-*.parquet"):
            match = _LOG_NAME.match(path.stem)
            if match and int(match.group(1)) > end:
                path.unlink(missing_ok=True)

    def _days(self, name: str) -> dict[str, int]:
        try:
            return dict(json.loads(self._manifest(name).read_text())["days"])
        except FileNotFoundError:
            return {}

    def files(self) -> list[LandingFile]:
        """Every file of every whole batch, oldest ingest date first."""
        found = [
            LandingFile(self._path(day, manifest.stem), date.fromisoformat(day), manifest.stem, rows)
            for manifest in (self.folder / "_batches").glob("*.json")
            if not manifest.name.startswith(".")
            for day, rows in self._days(manifest.stem).items()
        ]
        return sorted(found, key=lambda file: (file.ingest_date, file.name))

    def lend(self, folder: Path, names: Collection[str]) -> None:
        """Make at `folder` a landing zone of these batches alone; their files stay where they are."""
        manifests = folder / "_batches"
        manifests.mkdir(parents=True)
        for name in names:
            for day in self._days(name):
                link = folder / f"ingest_date={day}"
                if not link.is_symlink():
                    link.symlink_to(self.folder / link.name, target_is_directory=True)
            if self.has(name):
                shutil.copyfile(self._manifest(name), manifests / f"{name}.json")

    def log_end(self) -> int:
        """The last log offset that has landed, 0 before the first. The loader goes on behind it."""
        names = [_LOG_NAME.match(path.stem) for path in (self.folder / "_batches").glob("log-*.json")]
        return max((int(match.group(2)) for match in names if match), default=0)


def log_name(first_seq: int, last_seq: int) -> str:
    """The landing name of a range of log offsets, both included."""
    return f"log-{first_seq:015d}-{last_seq:015d}"


class _Parts:
    """Files under temporary names: `rename` makes all of them durable and puts them in place; else they go away."""

    def __init__(self) -> None:
        self._held: dict[Path, Path] = {}

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self._held.values():
            part.unlink(missing_ok=True)

    def of(self, path: Path) -> Path:
        """The temporary name of `path`."""
        return self._held.setdefault(path, path.with_name(f".{path.name}.{os.getpid()}.part"))

    def rename(self) -> None:
        """Every file so far in place, and its folder's entry on disk."""
        for part in self._held.values():
            _fsync(part)
        for path, part in self._held.items():
            part.replace(path)
        for folder in {path.parent for path in self._held}:
            _fsync(folder)
        self._held = {}


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
