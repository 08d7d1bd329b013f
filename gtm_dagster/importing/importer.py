"""`import_file`: one file, whole or not at all, into the landing zone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from gtm_dagster.admission.batch import SCHEMA, Judge, Seals, to_table
from gtm_dagster.admission.write_key import NAME_RULE, is_write_key
from gtm_dagster.importing.mapping import Mapping
from gtm_dagster.importing.ndjson import judge_lines, table_of_lines
from gtm_dagster.importing.reading import ImportFailed, Rows, kind_of, plain_text, read_bytes, read_csv, read_parquet
from gtm_dagster.importing.result import ImportResult, known_of, result_of
from gtm_dagster.importing.shaping import shape
from gtm_dagster.privacy.consent import REQUIRED, ConsentPolicy
from gtm_dagster.taxonomy import Plan

__all__ = ["ImportFailed", "ImportResult", "LandingZone", "import_file"]

Progress = Callable[[int, int], None]
_CHUNK_ROWS = 250_000


class LandingZone(Protocol):
    """What an import needs of the landing zone it is given (`warehouse.landing.Landing` is one). Batches are immutable."""

    @property
    def folder(self) -> Path:
        """Where the batches land; messages name it."""
        ...

    def has(self, name: str) -> bool:
        """Whether the batch `name` has landed whole."""
        ...

    def rows_of(self, name: str) -> int:
        """Rows of the batch `name`, 0 when it has not landed."""
        ...

    def write(
        self, table: pa.Table, name: str, *, file: str | None = None, mapping: str | None = None, write_key: str = ""
    ) -> list[Path]:
        """Land `table` (the landing columns) as the batch `name`, whole or not at all; returns its files.

        `file`, `mapping` and `write_key` are kept beside it. Raises OSError when the disk refuses.
        """
        ...

    def known(self, events: pa.Table) -> pa.Table:
        """One row for each accepted row of `events` and landed batch that has its id as accepted.

        `row_no`: its place in `events`. `batch`: name. `same`: the contents agree. `earlier`: the landed copy was received
        before it.
        """
        ...


def import_file(
    path: Path, *, landing: LandingZone, plan: Plan, pseudonymize: Callable[[str], str], sealer: Seals, write_key: str,
    mapping: Mapping | None = None, mapping_name: str | None = None, received_us: int | None = None,
    progress: Progress | None = None, dry_run: bool = False, consent: ConsentPolicy = REQUIRED, gates_consent: bool = False,
) -> ImportResult:  # fmt: skip
    """Land the events of a CSV, NDJSON (both also .gz) or Parquet file in `landing`, as one batch.

    The batch is named by the file's bytes, the mapping, the write key, the plan and the consent asked for: the same import again lands nothing.
    `received_us` (microseconds UTC; now when None) is the receipt of rows that do not carry their own. `progress` is
    called with (rows done, rows). `mapping_name` is for lists of imports. `dry_run`: say what would become of the rows,
    and land nothing. `consent`: what the deployment asks for; `gates_consent`: the rows' sender asked for it. Raises ImportFailed; then nothing has landed.
    """
    if not is_write_key(write_key):
        raise ImportFailed(f"write key {write_key!r}: {NAME_RULE}")
    path = Path(path)
    data = read_bytes(path)
    kind = kind_of(path, data)
    name = _batch_name(data, mapping, write_key, plan, consent, gates_consent)
    if landing.has(name) and not dry_run:
        rows = landing.rows_of(name)
        return ImportResult(rows, 0, duplicates=rows, quarantined=0, suppressed=0, name=name, known_before=True)
    received_us = received_us if received_us is not None else time.time_ns() // 1000
    judge = Judge(plan, pseudonymize, sealer, write_key, consent, gates_consent)
    ignored: tuple[str, ...] = ()
    try:
        if kind == "ndjson" and mapping is None:
            table = to_table(judge_lines(plain_text(path, data, "utf-8"), judge, received_us, progress))
        else:
            table, ignored = _judge_rows(path, _rows(path, data, kind, mapping), mapping, judge, received_us, progress)
    except (pa.ArrowException, UnicodeError, MemoryError, OverflowError) as error:
        raise ImportFailed(f"{path}: cannot be imported ({type(error).__name__}: {error})") from error
    table = table.cast(SCHEMA)
    known = known_of(table, landing.known(table))
    try:
        files = [] if dry_run else landing.write(table, name, file=path.name, mapping=mapping_name, write_key=write_key)
    except OSError as error:
        raise ImportFailed(f"{landing.folder}: cannot be written ({error}); nothing was imported") from error
    if progress:
        progress(table.num_rows, table.num_rows)
    return result_of(
        table, known, files=tuple(files), ignored=ignored, name=name, known_before=landing.has(name) and dry_run
    )


def _rows(path: Path, data: bytes, kind: str, mapping: Mapping | None) -> Rows:
    """The rows of a file of this kind; without a mapping, a .tsv file is delimited by tabs."""
    if kind == "parquet":
        return read_parquet(path, data)
    is_tsv = mapping is None and ".tsv" in {suffix.lower() for suffix in path.suffixes}
    layout = mapping or (Mapping(delimiter="\t") if is_tsv else Mapping())
    if kind == "csv":
        return read_csv(path, data, layout)
    return table_of_lines(path, plain_text(path, data, layout.encoding))


def _judge_rows(
    path: Path, rows: Rows, mapping: Mapping | None, judge: Judge, received_us: int, progress: Progress | None
) -> tuple[pa.Table, tuple[str, ...]]:
    """(landing rows, ignored columns) of a table of rows, judged in chunks: progress shows and memory is bounded."""
    events, ignored = shape(path, rows, mapping, judge.write_key, received_us)
    tables = []
    for start in range(0, events.num_rows, _CHUNK_ROWS):
        if progress:
            progress(start, events.num_rows)
        tables.append(judge.table(events.slice(start, _CHUNK_ROWS)))
    broken = [judge.broken(row.row_no, row.text, (row.error,), received_us) for row in rows.broken]
    return pa.concat_tables([*tables, to_table(broken)]), ignored


def _batch_name(
    data: bytes, mapping: Mapping | None, write_key: str, plan: Plan, consent: ConsentPolicy, gates_consent: bool
) -> str:
    digest = hashlib.sha256(data)
    asked = f"{sorted(consent.modes.items())} {gates_consent}"
    for part in (mapping.fingerprint if mapping else "native", write_key, plan.fingerprint, asked):
        digest.update(b"\x00" + part.encode())
    return f"import-{digest.hexdigest()[:16]}"
