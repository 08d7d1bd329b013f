"""Closed ingest days of the log become one batch each: few files stay, however often somebody refreshes.

The compacted batch is named by the offsets it holds, as every batch of the log; its manifest says what it replaces, and a
column names the batch each row landed in. It counts when its manifest is in place; then those it replaces go. Whoever
sees both reads the rows once, and who comes after a killed compaction removes the rest. Imports keep their files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.storage.atomic_write import Drafts, write_whole
from gtm_dagster.warehouse.landing.day_files import DayFiles
from gtm_dagster.warehouse.landing.landing_columns import ARROW_SCHEMA, ROW_COLUMNS, SEALED, complete
from gtm_dagster.warehouse.landing.listing import BATCHES, look
from gtm_dagster.warehouse.landing.manifests import (
    BATCH_NAME,
    LogRange,
    Manifest,
    encoded,
    log_range,
    range_name,
    read_manifest,
)
from gtm_dagster.warehouse.landing.sealed_originals import has_originals, sealed_path
from gtm_dagster.warehouse.landing.writers import (
    manifest_path,
    remove_replaced,
    rows_path,
    without_readers,
    writing,
)

CLOSED_AFTER = timedelta(hours=1)
"""How long after its end a UTC day counts as closed: no batch of it is still being written."""
_BUDGET_S = 5.0
"""Seconds after which the rest waits for the next refresh; a piece of work that has begun is finished."""
_SMALL_ROWS = 250_000
"""Batches from here on are files of a good size by themselves."""
_MOST_ROWS = 2_000_000
"""Rows of one compacted batch: some seconds of work."""
_WAIT_S = 2.0
_ROW_FIELDS = [ARROW_SCHEMA.field(name) for name in ROW_COLUMNS]


@dataclass(frozen=True)
class Tidied:
    """`batches` of the log became `into`; `unsealed`: files of earlier versions that were written again without the
    sealed originals in them. `finished`: nothing is left to do.
    """

    batches: int = 0
    into: int = 0
    unsealed: int = 0
    finished: bool = True


def tidy_closed_days(folder: Path, first_kept: date, now: datetime, budget_s: float = _BUDGET_S) -> Tidied:
    """Compact the ingest days that have closed since the last time, the oldest first.

    The caller holds the warehouse's lock. Sealed originals from before `first_kept` are left out. Batches beside one whose
    file cannot be read are left as they are.
    """
    deadline = time.monotonic() + budget_s
    last_closed = (now.astimezone(UTC) - CLOSED_AFTER).date() - timedelta(days=1)
    done = _tidied_until(folder)
    days = sorted(path.name.partition("=")[2] for path in folder.glob("ingest_date=*"))
    batches = into = unsealed = 0
    for day in (day for day in days if done < day <= last_closed.isoformat()):
        counted = set(look(folder).names)
        names = sorted(path.stem for path in (folder / f"ingest_date={day}").glob("*.parquet") if path.stem in counted)
        groups = list(_groups(folder, day, names))
        for group in groups:
            if (batches or unsealed) and time.monotonic() > deadline:
                return Tidied(batches, into, unsealed, finished=False)
            try:
                if not _compact(folder, group, first_kept):
                    return Tidied(batches, into, unsealed, finished=False)
            except _BrokenError:
                continue
            batches, into = batches + len(group), into + 1
        compacted = {manifest.name for group in groups for manifest in group}
        for name in names:
            if name not in compacted and _holds_originals(rows_path(folder, day, name)):
                if (batches or unsealed) and time.monotonic() > deadline:
                    return Tidied(batches, into, unsealed, finished=False)
                if not _unseal(folder, day, name, first_kept):
                    return Tidied(batches, into, unsealed, finished=False)
                unsealed += 1
        write_whole(folder / BATCHES / ".tidied", day.encode(), alone=True)
    return Tidied(batches, into, unsealed)


def _tidied_until(folder: Path) -> str:
    """The last ISO ingest date that was looked at; of one that got further rows since, the few files stay."""
    try:
        return date.fromisoformat((folder / BATCHES / ".tidied").read_text()).isoformat()
    except (FileNotFoundError, ValueError):
        return ""


def _groups(folder: Path, day: str, names: list[str]) -> Iterator[list[Manifest]]:
    """Batches of the log that end on `day`, follow one another without a gap and are many small ones."""
    group: list[Manifest] = []
    for manifest in _candidates(folder, day, names):
        if group and not _follows(group, manifest):
            yield from [group] if len(group) > 1 else []
            group = []
        if sum(manifest.rows.values()) < _SMALL_ROWS:
            group.append(manifest)
    if len(group) > 1:
        yield group


def _candidates(folder: Path, day: str, names: list[str]) -> list[Manifest]:
    found = []
    for name in names:
        manifest = read_manifest(manifest_path(folder, name)) if log_range(name) is not None else None
        if manifest is not None and not manifest.replaces and max(manifest.rows) == day:
            found.append(manifest)
    return sorted(found, key=lambda manifest: (_range(manifest).log_id, _range(manifest).first_seq))


def _follows(group: list[Manifest], manifest: Manifest) -> bool:
    last, this = _range(group[-1]), _range(manifest)
    rows = sum(sum(each.rows.values()) for each in (*group, manifest))
    return last.log_id == this.log_id and last.last_seq + 1 == this.first_seq and rows <= _MOST_ROWS


def _range(manifest: Manifest) -> LogRange:
    batch = log_range(manifest.name)
    assert batch is not None  # noqa: S101 - candidates are batches of the log
    return batch


class _BrokenError(Exception):
    """A file does not hold the rows that its manifest says; whoever reads it next says what is wrong with it."""


def _compact(folder: Path, group: list[Manifest], first_kept: date) -> bool:
    """Replace the batches of `group` by one; False when readers keep them."""
    first, last = _range(group[0]), _range(group[-1])
    name = range_name(LogRange(first.log_id, first.first_seq, last.last_seq))
    with without_readers(folder, 0) as free:
        if not free:
            return False
    with writing(folder, name) as journal, Drafts() as drafts:
        files = DayFiles(
            name,
            lambda day: drafts.of(journal.add(rows_path(folder, day, name))),
            lambda day: drafts.of(journal.add(sealed_path(folder, day, name))),
        )
        with files:
            for manifest in group:
                for day in sorted(manifest.rows):
                    _add(files, folder, manifest, day, first_kept)
        drafts.rename()
        received_us = group[-1].log.received_us if group[-1].log else None
        manifest = Manifest(
            name, dict(sorted(files.rows.items())), columns=[*ROW_COLUMNS, BATCH_NAME],
            log=LogRange(first.log_id, first.first_seq, last.last_seq, received_us),
            replaces={each.name: each.rows for each in group},
        )  # fmt: skip
        with without_readers(folder, _WAIT_S) as free:
            if not free:
                journal.undo()
                return False
            drafts.of(manifest_path(folder, name)).write_bytes(encoded(manifest))
            drafts.rename()
            remove_replaced(folder, manifest)
    return True


def _add(files: DayFiles, folder: Path, manifest: Manifest, day: str, first_kept: date) -> None:
    name = manifest.name
    rows = _rows(rows_path(folder, day, name))
    if rows.num_rows != manifest.rows[day]:
        raise _BrokenError
    is_kept = day >= first_kept.isoformat()
    part = rows.select(ROW_COLUMNS) if set(_ROW_FIELDS) <= set(rows.schema) else complete(rows, ROW_COLUMNS)
    part = part.append_column(BATCH_NAME, pa.repeat(pa.scalar(name, pa.string()), part.num_rows))
    if is_kept and SEALED in rows.schema.names:
        part = part.append_column(SEALED, rows.column(SEALED))
    files.add_day(day, part, name, [*ROW_COLUMNS, BATCH_NAME])
    path = sealed_path(folder, day, name)
    if is_kept and path.exists():
        files.add_originals(day, _rows(path))


def _rows(path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            return file.read(use_threads=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise _BrokenError from error


def _holds_originals(path: Path) -> bool:
    try:
        with pq.ParquetFile(path) as file:
            return has_originals(file)
    except (OSError, pa.ArrowInvalid):
        return False


def _unseal(folder: Path, day: str, name: str, first_kept: date) -> bool:
    """Write a file of an earlier version again without the originals in it, which go to their own file; False when
    readers keep it.
    """
    path = rows_path(folder, day, name)
    with writing(folder, name) as journal, Drafts() as originals, Drafts() as drafts:
        files = DayFiles(
            name,
            lambda day: drafts.of(journal.add(rows_path(folder, day, name))),
            lambda day: originals.of(journal.add(sealed_path(folder, day, name))),
        )
        with pq.ParquetFile(path) as file, files:
            columns = [column for column in file.schema_arrow.names if column != SEALED]
            for batch in file.iter_batches(batch_size=50_000):
                rows = pa.Table.from_batches([batch])
                if day < first_kept.isoformat():
                    rows = rows.drop_columns([SEALED])
                files.add_day(day, rows, name, columns)
        with without_readers(folder, _WAIT_S) as free:
            if free:
                originals.rename()
                drafts.rename()
    return free
