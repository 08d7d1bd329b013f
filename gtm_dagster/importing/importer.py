"""`import_file`: one file, whole or not at all, into the landing zone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from gtm_dagster.admission.batch import SCHEMA, Judge, Seals, to_table
from gtm_dagster.importing.documents import judge_lines, table_of_lines
from gtm_dagster.importing.mapping import Mapping
from gtm_dagster.importing.reading import ImportFailed, Rows, kind_of, plain_text, read_bytes, read_csv, read_parquet
from gtm_dagster.importing.shaping import shape
from gtm_dagster.taxonomy import Plan

__all__ = ["ImportFailed", "ImportResult", "import_file"]

Progress = Callable[[int, int], None]
_CHUNK_ROWS = 250_000


class LandingZone(Protocol):
    """Where the rows of an import land (`warehouse.landing.Landing`)."""

    @property
    def folder(self) -> Path:
        """The folder of the landing zone."""
        ...

    def has(self, name: str) -> bool:
        """Whether the batch `name` has landed whole."""
        ...

    def rows_of(self, name: str) -> int:
        """Rows of a landed batch."""
        ...

    def write(self, table: pa.Table, name: str) -> list[Path]:
        """Land `table` as batch `name`; returns its files."""
        ...


@dataclass(frozen=True)
class ImportResult:
    """The books of one import: read = accepted + duplicates + quarantined + suppressed.

    `read` counts events (a mapping may make several of a row) and rows that are none. `duplicates`: accepted events
    whose id came before in the file, or all of `read` when this file was imported before. `ignored`: columns of the file
    that nothing reads.
    """

    read: int
    accepted: int
    duplicates: int
    quarantined: int
    suppressed: int
    files: tuple[Path, ...] = ()
    ignored: tuple[str, ...] = ()


def import_file(
    path: Path, *, landing: LandingZone, plan: Plan, pseudonymize: Callable[[str], str], sealer: Seals, write_key: str,
    mapping: Mapping | None = None, received_us: int | None = None, progress: Progress | None = None,
) -> ImportResult:  # fmt: skip
    """Land the events of a CSV, NDJSON (both also .gz) or Parquet file.

    `received_us` (microseconds UTC; now when None) is the time of arrival of rows that do not tell theirs. `progress` is
    called with (rows done, rows). Raises ImportFailed; then nothing has landed.
    """
    path = Path(path)
    data = read_bytes(path)
    kind = kind_of(path, data)
    name = _batch_name(data, mapping, write_key, plan)
    if landing.has(name):
        return _known(landing, name)
    received_us = received_us if received_us is not None else time.time_ns() // 1000
    judge = Judge(plan, pseudonymize, sealer, write_key)
    ignored: tuple[str, ...] = ()
    try:
        if kind == "ndjson" and mapping is None:
            table = to_table(judge_lines(plain_text(path, data, "utf-8"), judge, received_us, progress))
        else:
            rows = _rows(path, data, kind, mapping)
            events, ignored = shape(path, rows, mapping, write_key, received_us)
            judged = []
            for start in range(0, events.num_rows, _CHUNK_ROWS):
                if progress:
                    progress(start, events.num_rows)
                judged.append(judge.table(events.slice(start, _CHUNK_ROWS)))
            broken = [judge.broken(b.row_no, b.text, (b.error,), received_us) for b in rows.broken]
            table = pa.concat_tables([*judged, to_table(broken)])
    except (pa.ArrowException, UnicodeError, MemoryError, OverflowError) as error:
        raise ImportFailed(f"{path}: cannot be imported ({type(error).__name__}: {error})") from error
    try:
        files = landing.write(table.cast(SCHEMA), name)
    except OSError as error:
        raise ImportFailed(f"{landing.folder}: cannot be written ({error}); nothing was imported") from error
    if progress:
        progress(table.num_rows, table.num_rows)
    return _books(table, tuple(files), ignored)


def _rows(path: Path, data: bytes, kind: str, mapping: Mapping | None) -> Rows:
    told = mapping or Mapping()
    if kind == "csv":
        if mapping is None and {".tsv"} & {suffix.lower() for suffix in path.suffixes}:
            told = Mapping(delimiter="\t")
        return read_csv(path, data, told)
    if kind == "parquet":
        return read_parquet(path, data)
    return table_of_lines(path, plain_text(path, data, told.encoding))


def _batch_name(data: bytes, mapping: Mapping | None, write_key: str, plan: Plan) -> str:
    digest = hashlib.sha256(data)
    for part in (mapping.fingerprint if mapping else "native", write_key, plan.fingerprint):
        digest.update(b"\x00" + part.encode())
    return f"import-{digest.hexdigest()[:16]}"


def _books(table: pa.Table, files: tuple[Path, ...], ignored: tuple[str, ...]) -> ImportResult:
    accepted = table.filter(pc.equal(table.column("verdict"), "accepted")).column("event_id")
    distinct = pc.count_distinct(accepted).as_py() if len(accepted) else 0
    return ImportResult(
        read=table.num_rows,
        accepted=distinct,
        duplicates=len(accepted) - distinct,
        quarantined=table.num_rows - len(accepted),
        suppressed=0,
        files=files,
        ignored=ignored,
    )


def _known(landing: LandingZone, name: str) -> ImportResult:
    rows = landing.rows_of(name)
    return ImportResult(read=rows, accepted=0, duplicates=rows, quarantined=0, suppressed=0)
