"""Landing -> staging: landed files are validated, deduplicated and written in one transaction.

Everything a later step has to look at again is written down in the same transaction (`meta.changed`), so a run killed
between two steps leaves work to do and no damage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from gtm_dagster.admission.record import REQUIRED_COLUMNS
from gtm_dagster.storage.migrations import NEWER, NewerFormatError
from gtm_dagster.taxonomy.conform import ContractBreak
from gtm_dagster.warehouse.affected import drop_tables, drop_views
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import compact, transaction
from gtm_dagster.warehouse.landing import ARROW_SCHEMA, Landing, LandingFile
from gtm_dagster.warehouse.landing.manifests import FORMAT
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.staging.books import write_books
from gtm_dagster.warehouse.staging.deduplication import append_events
from gtm_dagster.warehouse.staging.landed_rows import name_files, number_ids, view_landed
from gtm_dagster.warehouse.staging.source_keys import add_sources
from gtm_dagster.warehouse.staging.staged_files import follow_compaction, note_staged, unstaged_files
from gtm_dagster.warehouse.staging.withdrawal import (
    follow_withdrawals,
    followed_withdrawals,
    new_withdrawals,
    withdrawn_files,
)
from gtm_dagster.warehouse.state import get_state, set_state
from gtm_dagster.warehouse.statements import fragment

_COMPACT_EVERY = 16
"""Stagings after which the small row groups they left are merged. Done by every one, a thousand events more cost a third more."""


@dataclass(frozen=True)
class StageResult:
    """The books of one staging run over the files it read."""

    read: int
    clean: int
    duplicates: int
    quarantined: int
    suppressed: int
    conflicts: int
    files: int
    withdrawn: int = 0
    days: list[str] = field(default_factory=list)

    @property
    def metadata(self) -> dict[str, int | float | str]:
        return {**{k: v for k, v in asdict(self).items() if k != "days"}, "days": len(self.days)}


def fresh_files(
    con: duckdb.DuckDBPyConnection, ctx: BuildContext, gone: Sequence[LandingFile] = ()
) -> list[LandingFile]:
    """Files of the batches that staging has not read, or of a compacted one has read in part; those that are `gone` may
    have landed again.

    Batches that staging knows are not looked into. Raises ContractBreak when a file is not what its writer said,
    NewerFormatError when a later version wrote it.
    """
    fresh = unstaged_files(con, Landing(ctx.settings.landing_dir), gone)
    for file in fresh:
        _check(file)
    return fresh


def _check(file: LandingFile) -> None:
    """Raises ContractBreak or NewerFormatError as `fresh_files`."""
    try:
        with pq.ParquetFile(file.path) as opened:
            rows, found, notes = opened.metadata.num_rows, opened.schema_arrow, opened.metadata.metadata or {}
    except (OSError, pa.ArrowInvalid) as error:
        raise ContractBreak(
            f"{file.path}: cannot be read ({error}); restore it from a backup or remove its batch"
        ) from error
    if rows != file.rows:
        raise ContractBreak(
            f"{file.path}: its manifest says {file.rows} rows, the file holds {rows}; nothing was staged"
        )
    number = int(notes.get(b"gtm_dagster.format", b"1"))
    if number > FORMAT:
        raise NewerFormatError(f"{file.path}: has format {number}; {NEWER} or a later one")
    missing = [name for name in REQUIRED_COLUMNS if name not in found.names]
    if missing:
        raise ContractBreak(f"{file.path}: column {', '.join(missing)} is missing; nothing was staged")
    for column in ARROW_SCHEMA:
        if column.name in found.names and not _same_kind(found.field(column.name).type, column.type):
            raise ContractBreak(
                f"{file.path}: column {column.name} holds {found.field(column.name).type}, not {column.type}; nothing was staged"
            )


def _same_kind(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether DuckDB reads `found` as what the landing zone writes as `wanted`."""
    if pa.types.is_dictionary(found):
        found = found.value_type
    if pa.types.is_null(found):
        return True
    if pa.types.is_string(wanted):
        return pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found)
    if pa.types.is_integer(wanted):
        return pa.types.is_integer(found)
    return pa.types.is_binary(found) or pa.types.is_large_binary(found) or pa.types.is_binary_view(found)


_REFUSED = {"verdict": "'quarantined'", "reason_codes": "f.reason_codes", "errors": "f.errors", "raw": "f.raw"}


def _apply_verdicts(con: duckdb.DuckDBPyConnection, refused: int) -> None:
    """`batch`: the landed rows with the contract's verdict in place of the writer's, where it refuses."""
    body = "SELECT * FROM landed"
    if refused:
        replaced = ", ".join(
            f"CASE WHEN f.file_row IS NULL THEN l.{name} ELSE {sql} END AS {name}" for name, sql in _REFUSED.items()
        )
        body = composed(
            """SELECT l.* EXCLUDE ($refused), $replaced
            FROM landed l LEFT JOIN refused f ON f.file_path = l.file_path AND f.file_row = l.file_row""",
            refused=", ".join(_REFUSED),
            replaced=replaced,
        )
    con.execute(f"CREATE OR REPLACE TEMP VIEW batch AS {body}")


def stage(
    con: duckdb.DuckDBPyConnection, ctx: BuildContext, progress: Callable[[int, int], None] | None = None
) -> StageResult:
    """Read every landed file that is not staged yet into `meta.events` and `staging.quarantine`.

    Before that, takes back what was withdrawn. One transaction; on any error nothing is written. The files are read where
    they lie, once for each question, so memory does not grow with the batch. A row is judged by the plan version it carries; rows of another version are
    judged again only in a full rebuild. Raises ContractBreak when a file breaks the contract of the batch (missing
    column, wrong type, a row count that is not the writer's).
    """
    landing = Landing(ctx.settings.landing_dir)
    follow_compaction(con, landing)
    withdrawals = new_withdrawals(con, landing)
    gone = withdrawn_files(con, withdrawals)
    files = fresh_files(con, ctx, gone)
    landing.end_withdrawn(followed_withdrawals(con))
    if not files and not withdrawals:
        return StageResult(0, 0, 0, 0, 0, 0, 0)
    with transaction(con):
        withdrawn = follow_withdrawals(con, ctx, withdrawals, gone) if withdrawals else 0
        staged = _stage_files(con, ctx, files, progress) if files else StageResult(0, 0, 0, 0, 0, 0, 0)
    if staged.files and int(get_state(con, "stagings") or 0) % _COMPACT_EVERY == 0:
        compact(con)
    return replace(staged, withdrawn=withdrawn)


def _stage_files(
    con: duckdb.DuckDBPyConnection,
    ctx: BuildContext,
    files: list[LandingFile],
    progress: Callable[[int, int], None] | None,
) -> StageResult:
    """As `stage`, for files that are new; in its transaction."""
    from gtm_dagster.warehouse.staging.contract import judge  # pandas and pandera: half a second where nothing is new

    total = sum(file.wanted_rows for file in files)
    first = not con.execute("SELECT 1 FROM meta.landing_files LIMIT 1").fetchall()
    if progress:
        progress(0, total)
    wanted = [file for file in files if file.wanted_rows]
    view_landed(con, wanted, ctx.plan)
    name_files(con, wanted)
    _apply_verdicts(con, judge(con, ctx.plan, "landed", ctx.full))
    add_sources(con, ctx.settings.own_hosts)
    number_ids(con)
    con.execute(f"INSERT INTO staging.quarantine {fragment('new_quarantine')}")
    conflicts = append_events(con, ctx, first)
    stagings = int(get_state(con, "stagings") or 0) + 1
    set_state(con, "stagings", str(stagings))
    note_staged(con, files)
    days = [str(row[0]) for row in con.execute("SELECT DISTINCT ingest_date FROM touched_days ORDER BY 1").fetchall()]
    con.execute(f"CREATE OR REPLACE TEMP TABLE read_days AS {fragment('read_days')}")
    write_books(con)
    verdicts = dict(con.execute("SELECT verdict, sum(n)::BIGINT FROM batch_days GROUP BY 1").fetchall())
    rows = sum(verdicts.values())
    if rows != total:
        raise ContractBreak(
            f"{total} rows were promised by {len(files)} landed files, {rows} were read; nothing was staged"
        )
    lost = con.execute("SELECT coalesce(sum(n), 0)::BIGINT FROM batch_duplicates").fetchall()[0][0]
    drop_views(con, "new_events", "source_inputs", "batch", "landed")
    drop_tables(
        con, "batch_sources", "listed_origins", "click_kinds", "refused", "copies", "losers", "duplicates_of_events",
        "batch_duplicates", "batch_ids", "batch_days", "touched_days", "batch_files", "read_days", "left_out",
    )  # fmt: skip
    if progress:
        progress(total, total)
    return StageResult(
        read=rows, clean=verdicts.get("accepted", 0) - lost, duplicates=lost, quarantined=verdicts.get("quarantined", 0),
        suppressed=verdicts.get("suppressed", 0), conflicts=conflicts, files=len(files), days=days,
    )  # fmt: skip
