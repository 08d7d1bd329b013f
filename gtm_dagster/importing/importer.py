"""`import_file`: one file, whole or not at all, into the landing zone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol, TypeVar

import pyarrow as pa

from gtm_dagster.admission.batch import SCHEMA, Judge, Seals, to_table
from gtm_dagster.admission.write_key import NAME_RULE, is_write_key
from gtm_dagster.importing.file_bytes import ImportFailed, SourceFile, find_file
from gtm_dagster.importing.file_rows import Rows
from gtm_dagster.importing.mapping import Mapping
from gtm_dagster.importing.native_lines import judge_part, native_parts
from gtm_dagster.importing.reading import kind_of, read_rows
from gtm_dagster.importing.result import ImportResult, Tally
from gtm_dagster.importing.shaping import Shaper
from gtm_dagster.importing.working_ahead import working_ahead
from gtm_dagster.privacy.consent import REQUIRED, ConsentPolicy
from gtm_dagster.privacy.masking import UndeclaredText
from gtm_dagster.taxonomy import Plan

__all__ = ["ImportFailed", "ImportResult", "LandingZone", "import_file"]

Progress = Callable[[int, int], None]
Judged = tuple[pa.Table, float]
"""Landing rows of a part of a file, and the share of the file that is through with it."""
T = TypeVar("T")


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
        self, rows: Iterable[pa.Table], name: str, *,
        file: str | None = None, mapping: str | None = None, write_key: str = "",
    ) -> list[Path]:  # fmt: skip
        """Land the tables `rows` (the landing columns) as the batch `name`, whole or not at all; returns its files.

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
    undeclared_text: UndeclaredText = "token",
) -> ImportResult:  # fmt: skip
    """Land the events of a CSV, NDJSON (both also .gz) or Parquet file in `landing`, as one batch.

    The batch is named by the file's bytes, the mapping, the write key, the plan and the consent asked for: the same import again lands nothing.
    `received_us` (microseconds UTC; now when None) is the receipt of rows that do not carry their own. `progress` is
    called with (rows done, rows). `mapping_name` is for lists of imports. `dry_run`: say what would become of the rows,
    and land nothing. `consent`: what the deployment asks for; `gates_consent`: the rows' sender asked for it;
    `undeclared_text`: which texts land that the plan does not declare. Raises ImportFailed; then nothing has landed.
    """
    if not is_write_key(write_key):
        raise ImportFailed(f"write key {write_key!r}: {NAME_RULE}")
    path = Path(path)
    source = find_file(path)
    kind = kind_of(source)
    name = _batch_name(source, mapping, write_key, plan, consent, gates_consent, undeclared_text)
    if landing.has(name) and not dry_run:
        rows = landing.rows_of(name)
        return ImportResult(rows, 0, duplicates=rows, quarantined=0, suppressed=0, name=name, known_before=True)
    received_us = received_us if received_us is not None else time.time_ns() // 1000
    judge = Judge(plan, pseudonymize, sealer, write_key, consent, gates_consent, undeclared_text)
    tally = Tally(landing.known)
    shaper = Shaper(path, mapping, write_key, received_us)
    try:
        if kind == "ndjson" and (mapping is None or mapping.keeps_columns):
            parts = _judged_lines(source, mapping.encoding if mapping else "utf-8", judge, received_us)
        else:
            parts = _judged_rows(source, read_rows(source, kind, mapping), shaper, judge, received_us)
        tables = _counted(parts, source, tally, progress)
        if dry_run:
            files: list[Path] = []
            for _ in tables:
                pass
        else:
            files = landing.write(tables, name, file=path.name, mapping=mapping_name, write_key=write_key)
    except (pa.ArrowException, UnicodeError, MemoryError, OverflowError) as error:
        raise ImportFailed(f"{path}: cannot be imported ({type(error).__name__}: {error})") from error
    except OSError as error:
        raise ImportFailed(f"{landing.folder}: cannot be written ({error}); nothing was imported") from error
    return tally.result(
        files=tuple(files),
        ignored=shaper.ignored,
        hints=shaper.hints,
        name=name,
        known_before=landing.has(name) and dry_run,
    )


def _judged_lines(source: SourceFile, encoding: str, judge: Judge, received_us: int) -> Iterator[Judged]:
    """The landing rows of native NDJSON, a part of the file at a time."""
    lines = native_parts(source, judge.write_key, received_us, encoding)
    with closing(working_ahead(_with_share(lines, source))) as parts:
        for part, share in parts:
            yield judge_part(part, judge, received_us), share


def _judged_rows(
    source: SourceFile, rows: Iterator[Rows], shaper: Shaper, judge: Judge, received_us: int
) -> Iterator[Judged]:
    """The landing rows of tables of rows, a part of the file at a time."""
    shaped = ((shaper.shape(part), part.broken) for part in rows)
    with closing(working_ahead(_with_share(shaped, source))) as parts:
        for (events, broken), share in parts:
            refused = [judge.broken(row.row_no, row.text, (row.error,), received_us) for row in broken]
            yield pa.concat_tables([judge.table(events), to_table(refused)]), share
    shaper.check()


def _with_share(parts: Iterator[T], source: SourceFile) -> Iterator[tuple[T, float]]:
    """The parts, each with the share of the file that is through with it."""
    for part in parts:
        yield part, source.done


def _counted(
    parts: Iterator[Judged], source: SourceFile, tally: Tally, progress: Progress | None
) -> Iterator[pa.Table]:
    """The tables as the landing zone takes them, counted; `progress` learns the rows so far and, about, of all."""
    done = 0
    with closing(working_ahead(parts)) as judged:
        for part, share in judged:
            table = part.cast(SCHEMA)
            tally.add(table)
            done += table.num_rows
            if progress and share:
                progress(done, max(done, int(done / share)))
            yield table
    source.check_unchanged()
    tally.look_up()
    if progress:
        progress(done, done)


def _batch_name(
    source: SourceFile, mapping: Mapping | None, write_key: str, plan: Plan, consent: ConsentPolicy, gates_consent: bool,
    undeclared_text: UndeclaredText,
) -> str:  # fmt: skip
    digest = source.sha256()
    asked = f"{sorted(consent.modes.items())} {gates_consent}"
    if undeclared_text != "token":
        asked += f" {undeclared_text}"
    for part in (mapping.fingerprint if mapping else "native", write_key, plan.fingerprint, asked):
        digest.update(b"\x00" + part.encode())
    return f"import-{digest.hexdigest()[:16]}"
