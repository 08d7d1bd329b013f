"""Takes a withdrawn batch back: its events go, and copies that had lost to them come back from the other landed files.

Every id that the batch holds is deleted, and deduplicated again among the copies that stay. So nothing needs to know
which copy an event came from, and the result is that of never having landed the batch.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import duckdb

from gtm_dagster.taxonomy.conform import ContractBreak
from gtm_dagster.warehouse.affected import PUBLISH, drop_tables, drop_views, rebuild
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.causes import note_withdrawn
from gtm_dagster.warehouse.landing import Landing, LandingFile, Withdrawn
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.staging.books import write_books
from gtm_dagster.warehouse.staging.deduplication import append_events, find_copies
from gtm_dagster.warehouse.staging.landed_rows import name_files, number_ids, view_landed
from gtm_dagster.warehouse.staging.source_keys import add_sources, drop_unused_sources
from gtm_dagster.warehouse.staging.staged_files import staged_keys
from gtm_dagster.warehouse.statements import fragment


def new_withdrawals(con: duckdb.DuckDBPyConnection, landing: Landing) -> list[Withdrawn]:
    """Withdrawals that staging has not followed, in their order."""
    return landing.withdrawn(but=followed_withdrawals(con))


def followed_withdrawals(con: duckdb.DuckDBPyConnection) -> set[str]:
    """Ids of the withdrawals that staging has followed."""
    return {row[0] for row in con.execute("SELECT DISTINCT withdrawal FROM meta.withdrawals").fetchall()}


def withdrawn_files(con: duckdb.DuckDBPyConnection, withdrawals: list[Withdrawn]) -> list[LandingFile]:
    """The staged files of these batches, where they lie now. A batch withdrawn twice is staged as the first time."""
    first: dict[str, Withdrawn] = {}
    for batch in withdrawals:
        first.setdefault(batch.manifest.name, batch)
    staged = staged_keys(con) if first else set()
    files = [
        LandingFile(path, date.fromisoformat(day), name, batch.manifest.rows[day])
        for name, batch in first.items()
        for day, path in batch.files.items()
    ]
    found = [file for file in files if file.key in staged]
    lost = [file for file in found if not file.path.exists()]
    if lost:
        raise ContractBreak(
            f"{lost[0].path}: is gone, and the warehouse still has the rows of the withdrawn batch {lost[0].name}; "
            "run `gtm refresh --full`"
        )
    return found


def follow_withdrawals(
    con: duckdb.DuckDBPyConnection, ctx: BuildContext, withdrawals: list[Withdrawn], gone: list[LandingFile]
) -> int:
    """Take the staged files `gone` of `withdrawals` back; returns their rows. In the staging transaction."""
    con.executemany(
        "INSERT INTO meta.withdrawals VALUES (?, ?, ?)",
        [[batch.id, day, rows] for batch in withdrawals for day, rows in batch.manifest.rows.items()],
    )
    con.execute("CREATE OR REPLACE TEMP TABLE touched_days (ingest_date DATE)")
    con.execute("CREATE OR REPLACE TEMP TABLE read_days (ingest_date DATE, n BIGINT, suppressed BIGINT)")
    if gone:
        _take_back(con, ctx, gone)
        rebuild(con, PUBLISH)  # rows of the quarantine go, and publishing follows those that come
    days = {date.fromisoformat(day) for batch in withdrawals for day in batch.manifest.rows}
    con.executemany("INSERT INTO touched_days VALUES (?)", [[day] for day in days])
    write_books(con)
    drop_views(con, "batch", "new_events", "source_inputs", "landed")
    drop_tables(
        con, "withdrawn_ids", "id_copies", "batch_files", "copies", "losers", "duplicates_of_events", "batch_duplicates",
        "batch_ids", "batch_sources", "listed_origins", "click_kinds", "batch_days", "touched_days", "read_days", "left_out",
    )  # fmt: skip
    return sum(file.rows for file in gone)


def _take_back(con: duckdb.DuckDBPyConnection, ctx: BuildContext, gone: list[LandingFile]) -> None:
    keys = {file.key for file in gone}
    view_landed(con, gone, ctx.plan)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE withdrawn_ids AS SELECT DISTINCT write_key, event_id FROM landed WHERE verdict = 'accepted'"
    )
    con.execute(f"INSERT INTO read_days {fragment('withdrawn_days')}")
    name_files(con, gone)
    con.execute(f"CREATE OR REPLACE TEMP TABLE id_copies AS {fragment('id_copies', withdrawn='true')}")
    stay = _staged_files(con, ctx, keys)
    if stay:
        view_landed(con, stay, ctx.plan)
        name_files(con, stay)
        con.execute(f"INSERT INTO id_copies {fragment('id_copies', withdrawn='false')}")
    con.execute("CREATE OR REPLACE TEMP VIEW batch AS SELECT * EXCLUDE (withdrawn) FROM id_copies")
    find_copies(con)
    con.execute(
        """INSERT INTO meta.duplicates
        SELECT CAST(make_timestamp(received_us) AS DATE), -count(*) FROM copies WHERE NOT wins GROUP BY 1"""
    )
    con.execute(
        """INSERT INTO meta.changed
        SELECT person_no, NULL, anonymous_no, event_us FROM meta.events SEMI JOIN withdrawn_ids USING (write_key, event_id)"""
    )
    note_withdrawn(con, sorted({file.name for file in gone}))
    for table in ("meta.events", "meta.conflicts"):
        con.execute(
            composed(
                "DELETE FROM $table USING withdrawn_ids w WHERE $table.write_key = w.write_key AND $table.event_id = w.event_id",
                table=table,
            )
        )
    for table in ("staging.quarantine", "meta.landing_files"):
        con.execute(
            composed("DELETE FROM $table WHERE list_contains($1::VARCHAR[], file_key)", table=table), [sorted(keys)]
        )
    con.execute("CREATE OR REPLACE TEMP VIEW batch AS SELECT * EXCLUDE (withdrawn) FROM id_copies WHERE NOT withdrawn")
    add_sources(con, ctx.settings.own_hosts)
    number_ids(con)
    append_events(con, ctx, first=False)
    drop_unused_sources(con)
    con.execute("INSERT INTO touched_days SELECT ingest_date FROM read_days")


def _staged_files(con: duckdb.DuckDBPyConnection, ctx: BuildContext, gone: set[str]) -> list[LandingFile]:
    """The staged files but `gone`; of a compacted one that is staged in part, the other parts are left out."""
    staged = staged_keys(con) - gone
    found = []
    for file in Landing(ctx.settings.landing_dir).files(parts=True):
        parts = {part for part in file.parts if file.key_of(part) in staged}
        if file.key in staged:
            found.append(file)
        elif parts:
            found.append(replace(file, left_out=frozenset(set(file.parts) - parts)))
    return found
