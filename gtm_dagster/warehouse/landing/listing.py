"""What a landing zone holds, from the names in `_batches` and from an index of what the manifests say.

A manifest never changes but by withdrawing its batch, so what one says is written down once: whoever lists the files
opens the manifests of newer batches alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from gtm_dagster.storage.atomic_write import write_whole
from gtm_dagster.warehouse.landing.manifests import LogRange, log_range

BATCHES = "_batches"
JOURNAL_END = ".writing.part"
_VERSION = 1


class Look(msgspec.Struct, frozen=True):
    """Names of the batches with a manifest in place, and journals of writers (of living ones, and of killed ones)."""

    names: list[str]
    journals: list[str]


class _Index(msgspec.Struct, frozen=True):
    version: int
    rows: dict[str, dict[str, int]]


def look(folder: Path) -> Look:
    """One look at the names; nothing is opened."""
    names, journals = [], []
    try:
        with os.scandir(folder / BATCHES) as entries:
            for entry in entries:
                if entry.name.endswith(JOURNAL_END):
                    journals.append(entry.name)
                elif entry.name.endswith(".json") and not entry.name.startswith("."):
                    names.append(entry.name.removesuffix(".json"))
    except FileNotFoundError:
        pass
    return Look(sorted(names), sorted(journals))


def last_ranges(names: Iterable[str]) -> dict[str, LogRange]:
    """Of each log, by its id, the range that ends last."""
    ends: dict[str, LogRange] = {}
    for name in names:
        batch = log_range(name)
        if batch is not None and (batch.log_id not in ends or batch.last_seq > ends[batch.log_id].last_seq):
            ends[batch.log_id] = batch
    return ends


def covered(names: Iterable[str]) -> dict[str, str]:
    """Batches of a log whose offsets another batch holds too, with the name of that one: it was compacted from them."""
    ranges = sorted(
        (batch.log_id, batch.first_seq, -batch.last_seq, name)
        for name in names
        if (batch := log_range(name)) is not None
    )
    found: dict[str, str] = {}
    log_id, last, cover = None, 0, ""
    for of, _, negative_last, name in ranges:
        if of == log_id and -negative_last <= last:
            found[name] = cover
        else:
            log_id, last, cover = of, -negative_last, name
    return found


def read_index(folder: Path) -> dict[str, dict[str, int]]:
    """Rows by ISO ingest date by name of the batch, as far as they are written down."""
    try:
        index = msgspec.json.decode((folder / BATCHES / ".index").read_bytes(), type=_Index)
    except (FileNotFoundError, msgspec.DecodeError):
        return {}
    return index.rows if index.version == _VERSION else {}


def write_index(folder: Path, rows: dict[str, dict[str, int]]) -> None:
    """Write the index anew. The caller holds the warehouse's lock, as does who withdraws a batch."""
    write_whole(folder / BATCHES / ".index", msgspec.json.encode(_Index(_VERSION, rows)), durable=False, alone=True)


def forget_index(folder: Path) -> None:
    """A manifest changes: nothing that is written down counts."""
    (folder / BATCHES / ".index").unlink(missing_ok=True)
