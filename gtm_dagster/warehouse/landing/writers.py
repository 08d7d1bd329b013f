"""Who writes a landing zone and who reads it, as kernel locks; and what a killed writer leaves, which the next one removes.

Writers share a lock: they write batches of different names. Whoever finds no other writer removes what killed ones left.
Readers share another lock for as long as they read; files that readers may have listed go under it alone.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from glob import escape
from pathlib import Path

from gtm_dagster.storage.atomic_write import fsync
from gtm_dagster.storage.file_lock import FileLock
from gtm_dagster.storage.private_dir import private_dir
from gtm_dagster.warehouse.landing.listing import BATCHES, JOURNAL_END, look
from gtm_dagster.warehouse.landing.manifests import LogRange, Manifest, log_range, read_manifest
from gtm_dagster.warehouse.landing.sealed_originals import sealed_path

_WHOLE_SWEEP_EVERY = timedelta(days=1)
_ORPHAN_KEPT = timedelta(days=1)
"""A file of an import without a manifest: importing the same file again writes it again, so nobody misses it."""


def manifest_path(folder: Path, name: str) -> Path:
    return folder / BATCHES / f"{name}.json"


def rows_path(folder: Path, day: str, name: str) -> Path:
    """The file of the rows of one ISO ingest date and batch."""
    return folder / f"ingest_date={day}" / f"{name}.parquet"


class Journal:
    """Names every file of a batch before it is there, so that nobody has to look for what a killed writer left."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._path = folder / BATCHES / f".{name}.{os.getpid()}.{secrets.token_hex(4)}{JOURNAL_END}"
        self._path.write_text(f"{name}\n")
        self._paths: list[Path] = []

    def add(self, path: Path) -> Path:
        """Note that `path` is about to be written, and make its folder; returns it."""
        with self._path.open("a") as file:
            file.write(f"{path.relative_to(self._folder)}\n")
        self._paths.append(path)
        private_dir(path.parent)
        return path

    def undo(self) -> None:
        """Remove what was put in place; nobody else may write a batch of this name."""
        for path in self._paths:
            path.unlink(missing_ok=True)

    def close(self, *, succeeded: bool) -> None:
        """Forget the journal, unless files without a manifest are left: then the next one who is alone sees to them."""
        if succeeded or not any(path.exists() for path in self._paths):
            self._path.unlink(missing_ok=True)


@contextmanager
def writing(folder: Path, name: str) -> Iterator[Journal]:
    """Write the batch `name` beside other writers, after removing what dead ones left."""
    private_dir(folder / BATCHES)
    with FileLock(folder / BATCHES / ".writers") as lock:
        if lock.take(0):
            _sweep(folder, lock)
        lock.take(shared=True)
        journal = Journal(folder, name)
        try:
            yield journal
        except BaseException:
            with suppress(OSError):
                journal.close(succeeded=False)
            raise
        journal.close(succeeded=True)


def sweep(folder: Path) -> None:
    """Remove what killed writers left, unless somebody writes now."""
    if (folder / BATCHES).is_dir():
        with FileLock(folder / BATCHES / ".writers") as lock:
            if lock.take(0):
                _sweep(folder, lock)


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Keep every file that is in place now, until the body ends; who may not write to the folder reads without."""
    lock = None
    if (folder / BATCHES).is_dir():
        with suppress(OSError):
            lock = FileLock(folder / BATCHES / ".readers")
    if lock is None:
        yield
        return
    with lock:
        lock.take(shared=True)
        yield


@contextmanager
def without_readers(folder: Path, wait_s: float | None) -> Iterator[bool]:
    """Whether nobody reads, and then nobody begins until the body ends; waits `wait_s` seconds, None for ever."""
    private_dir(folder / BATCHES)
    with FileLock(folder / BATCHES / ".readers") as lock:
        yield lock.take(wait_s)


def remove_replaced(folder: Path, manifest: Manifest) -> None:
    """Remove the batches that a compacted one replaces; its manifest is in place, and nobody reads."""
    for name in manifest.replaces:
        manifest_path(folder, name).unlink(missing_ok=True)
    fsync(folder / BATCHES)
    for name, rows in manifest.replaces.items():
        for day in rows:
            rows_path(folder, day, name).unlink(missing_ok=True)
            sealed_path(folder, day, name).unlink(missing_ok=True)


def _sweep(folder: Path, lock: FileLock) -> None:
    """What journals name goes at every sweep, whatever else lies about once a day: that looks at every folder."""
    seen = look(folder)
    for journal in seen.journals:
        _clear(folder, folder / BATCHES / journal)
    now = datetime.now(UTC)
    try:
        last = datetime.fromisoformat(os.pread(lock.descriptor, 100, 0).decode())
    except ValueError:
        last = datetime.min.replace(tzinfo=UTC)
    if now - last >= _WHOLE_SWEEP_EVERY:
        _remove_orphans(folder, seen.names, now)
        os.ftruncate(lock.descriptor, 0)
        os.pwrite(lock.descriptor, now.isoformat().encode(), 0)


def _clear(folder: Path, journal: Path) -> None:
    name, *paths = journal.read_text().splitlines() or [""]
    manifest = read_manifest(manifest_path(folder, name)) if name else None
    for path in [manifest_path(folder, name), *(folder / line for line in paths)]:
        for part in path.parent.glob(f".{escape(path.name)}.*.part"):
            if part != journal:
                part.unlink(missing_ok=True)
    if manifest is None:
        for line in paths:
            (folder / line).unlink(missing_ok=True)
    elif manifest.replaces:
        with without_readers(folder, 0) as free:
            if not free:
                return
            remove_replaced(folder, manifest)
    journal.unlink(missing_ok=True)


def _remove_orphans(folder: Path, names: list[str], now: datetime) -> None:
    """Half-written files, and files of no batch.

    Of a log those past the landed end (the range lands again, perhaps under another name) and those whose offsets other
    batches hold; others of a log stay, their manifest may have been lost. Of an import those of a day ago.
    """
    for pattern in ("ingest_date=*/.*.part", f"{BATCHES}/.*.part", "sealed/*/.*.part"):
        for part in folder.glob(pattern):
            if not part.name.endswith(JOURNAL_END):
                part.unlink(missing_ok=True)
    counted = set(names)
    uncounted = [path for path in folder.glob("ingest_date=*/*.parquet") if path.stem not in counted]
    if not uncounted:
        return
    ranges: dict[str, list[LogRange]] = {}
    for batch in map(log_range, names):
        if batch is not None:
            ranges.setdefault(batch.log_id, []).append(batch)
    for path in uncounted:
        this = log_range(path.stem)
        if this is None:
            is_left = now.timestamp() - path.stat().st_mtime > _ORPHAN_KEPT.total_seconds()
        else:
            landed = ranges.get(this.log_id, [])
            is_past = all(batch.last_seq < this.first_seq for batch in landed)
            is_left = is_past or any(batch.first_seq <= this.first_seq <= batch.last_seq for batch in landed)
        if is_left:
            path.unlink(missing_ok=True)
