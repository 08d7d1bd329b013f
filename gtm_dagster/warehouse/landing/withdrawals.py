"""Withdrawing a batch: its files move to `withdrawn/`, where nobody counts them, with who did it, when and why.

The one step that decides is the manifest in place, replaced by one that says `withdrawn`: from then on the batch does
not count. What follows only moves files, and whoever comes next goes on where a killed one stopped. The manifest moves
last.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gtm_dagster.storage.atomic_write import fsync, write_whole
from gtm_dagster.storage.file_lock import FileLock
from gtm_dagster.storage.private_dir import private_dir
from gtm_dagster.warehouse.landing.manifests import Manifest, Withdrawal, encoded, read_manifest

FOLDER = "withdrawn"


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
        path = folder / "_batches" / f"{name}.json"
        manifest = read_manifest(path)
        if name.startswith("log-"):
            raise WithdrawalError(f"{name}: holds events of the log, which are not withdrawn; imports are")
        if manifest is None:
            raise WithdrawalError(f"{name}: no import of this name has landed; see `gtm imports list`")
        earlier = len(list((folder / FOLDER).glob(f"{name}.*.json")))
        note = Withdrawal(f"{name}.{earlier + 1}", at_us, by, reason)
        write_whole(path, encoded(msgspec.structs.replace(manifest, withdrawn=note)), alone=True)
        _finish(folder)
    return next(batch for batch in withdrawn_batches(folder) if batch.id == note.id)


def finish_withdrawals(folder: Path) -> None:
    """Move what a killed withdrawal left in place."""
    if any(_begun(folder)):
        with _alone(folder):
            _finish(folder)


def withdrawn_batches(folder: Path) -> list[Withdrawn]:
    """Every withdrawn batch, in the order of withdrawing; call `finish_withdrawals` before."""
    found = []
    for path in (folder / FOLDER).glob("*.json"):
        manifest = None if path.name.startswith(".") else read_manifest(path)
        if manifest is not None and manifest.withdrawn is not None:
            kept = folder / FOLDER / manifest.withdrawn.id
            found.append(Withdrawn(manifest, {day: kept / f"{day}.parquet" for day in manifest.rows}))
    return sorted(found, key=lambda batch: (batch.withdrawal.at_us, batch.id))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    private_dir(folder / "_batches")
    private_dir(folder / FOLDER)
    with FileLock(folder / "_batches" / ".withdrawing") as lock:
        lock.take()
        yield


def _begun(folder: Path) -> Iterator[tuple[Path, Manifest]]:
    """Manifests in place that say withdrawn; a batch of the log never is."""
    for path in (folder / "_batches").glob("*.json"):
        if not path.name.startswith((".", "log-")):
            manifest = read_manifest(path)
            if manifest is not None and manifest.withdrawn is not None:
                yield path, manifest


def _finish(folder: Path) -> None:
    for path, manifest in list(_begun(folder)):
        assert manifest.withdrawn is not None  # noqa: S101 - `_begun` gives no others
        kept = folder / FOLDER / manifest.withdrawn.id
        private_dir(kept)
        for day in manifest.rows:
            file = folder / f"ingest_date={day}" / f"{manifest.name}.parquet"
            if file.exists():
                file.replace(kept / f"{day}.parquet")
                fsync(file.parent)
        fsync(kept)
        fsync(folder / FOLDER)
        path.replace(folder / FOLDER / f"{manifest.withdrawn.id}.json")
        fsync(folder / FOLDER)
        fsync(path.parent)
