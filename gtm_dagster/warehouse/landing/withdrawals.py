"""Withdrawing a batch: its files move to `withdrawn/`, where nobody counts them, with who did it, when and why.

The one step that decides is the manifest in place, replaced by one that says `withdrawn`: from then on the batch does
not count. What follows only moves files, and whoever comes next goes on where a killed one stopped: `ID.begun` says that
there is something to look for. The manifest moves last, and stays; the files go some time after staging has followed.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from gtm_dagster.settings.nearest import did_you_mean
from gtm_dagster.storage.atomic_write import fsync, write_whole
from gtm_dagster.storage.file_lock import FileLock
from gtm_dagster.storage.private_dir import private_dir
from gtm_dagster.warehouse.landing.listing import BATCHES, forget_index, look
from gtm_dagster.warehouse.landing.manifests import Manifest, Withdrawal, encoded, read_manifest
from gtm_dagster.warehouse.landing.writers import manifest_path, rows_path, without_readers

FOLDER = "withdrawn"
KEPT = timedelta(days=30)
"""The files of a withdrawn batch stay this long for a warehouse that is restored from a backup and follows again."""
_END = ".begun"


class WithdrawalError(ValueError):
    """The batch cannot be withdrawn; the message names it and the way out."""


@dataclass(frozen=True)
class Withdrawn:
    """A withdrawn batch: its manifest, and its files by ISO ingest date."""

    manifest: Manifest
    files: dict[str, Path]

    @property
    def id(self) -> str:
        """Names this withdrawal; the same batch may land and be withdrawn again."""
        return self.withdrawal.id

    @property
    def withdrawal(self) -> Withdrawal:
        assert self.manifest.withdrawn is not None  # noqa: S101 - `withdrawn_batches` gives no others
        return self.manifest.withdrawn


def withdraw(folder: Path, name: str, *, by: str, reason: str, at_us: int) -> Withdrawn:
    """Withdraw the batch `name` of the landing zone `folder`. Raises WithdrawalError when there is none to withdraw.

    Part of a run would see its files go: the caller holds the warehouse's lock.
    """
    with _alone(folder):
        _finish(folder)
        path = manifest_path(folder, name)
        manifest = read_manifest(path)
        if name.startswith("log-"):
            raise WithdrawalError(f"{name}: holds events of the log, which are not withdrawn; imports are")
        if manifest is None:
            landed = (known.stem for known in path.parent.glob(f"*{path.suffix}") if not known.stem.startswith("log-"))
            raise WithdrawalError(
                f"{name}: no import of this name has landed{did_you_mean(name, landed)}; see `gtm imports list`"
            )
        earlier = len(list((folder / FOLDER).glob(f"{name}.*.json")))
        note = Withdrawal(f"{name}.{earlier + 1}", at_us, by, reason)
        forget_index(folder)
        write_whole(folder / FOLDER / f"{note.id}{_END}", b"", alone=True)
        write_whole(path, encoded(msgspec.structs.replace(manifest, withdrawn=note)), alone=True)
        _finish(folder)
    return next(batch for batch in withdrawn_batches(folder) if batch.id == note.id)


def finish_withdrawals(folder: Path) -> None:
    """Move what a killed withdrawal left in place."""
    kept = folder / FOLDER
    if kept.is_dir() and (any(kept.glob(f"*{_END}")) or not (kept / ".journalled").exists()):
        with _alone(folder):
            _finish(folder)


def withdrawn_batches(folder: Path, but: Collection[str] = ()) -> list[Withdrawn]:
    """Every withdrawn batch but the withdrawals of the ids in `but`, in the order of withdrawing; call
    `finish_withdrawals` before.
    """
    found = []
    for path in (folder / FOLDER).glob("[!.]*.json"):
        manifest = None if path.stem in but else read_manifest(path)
        if manifest is not None and manifest.withdrawn is not None:
            kept = folder / FOLDER / manifest.withdrawn.id
            found.append(Withdrawn(manifest, {day: kept / f"{day}.parquet" for day in manifest.rows}))
    return sorted(found, key=lambda batch: (batch.withdrawal.at_us, batch.id))


def end_withdrawn(folder: Path, followed: Collection[str], now: datetime) -> int:
    """Remove the files of the withdrawals `followed` that are older than KEPT; returns of how many.

    The manifests stay: they say what was withdrawn, by whom and why.
    """
    before = (now - KEPT).timestamp()
    ended = [
        path
        for path in (folder / FOLDER).glob("[!.]*")
        if path.name in followed and path.is_dir() and path.stat().st_mtime < before
    ]
    for path in ended:
        shutil.rmtree(path)
    return len(ended)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Without another withdrawal, and without readers, who would find files gone that they listed."""
    private_dir(folder / BATCHES)
    private_dir(folder / FOLDER)
    with FileLock(folder / BATCHES / ".withdrawing") as lock:
        lock.take()
        with without_readers(folder, None):
            yield


def _begun(folder: Path) -> Iterator[tuple[Path, Manifest]]:
    """Manifests in place that say withdrawn; a batch of the log never is.

    Earlier versions left no note that they had begun, so every manifest is looked at once.
    """
    kept = folder / FOLDER
    if (kept / ".journalled").exists():
        names = [path.name.removesuffix(_END).rpartition(".")[0] for path in kept.glob(f"*{_END}")]
    else:
        names = [name for name in look(folder).names if not name.startswith("log-")]
    for path in (manifest_path(folder, name) for name in names):
        manifest = read_manifest(path)
        if manifest is not None and manifest.withdrawn is not None:
            yield path, manifest


def _finish(folder: Path) -> None:
    for path, manifest in list(_begun(folder)):
        assert manifest.withdrawn is not None  # noqa: S101 - `_begun` gives no others
        kept = folder / FOLDER / manifest.withdrawn.id
        private_dir(kept)
        for day in manifest.rows:
            file = rows_path(folder, day, manifest.name)
            if file.exists():
                file.replace(kept / f"{day}.parquet")
                fsync(file.parent)
        fsync(kept)
        fsync(folder / FOLDER)
        path.replace(folder / FOLDER / f"{manifest.withdrawn.id}.json")
        fsync(folder / FOLDER)
        fsync(path.parent)
    for path in (folder / FOLDER).glob(f"*{_END}"):
        path.unlink()
    (folder / FOLDER / ".journalled").touch()
