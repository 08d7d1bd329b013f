"""Each (write_key, event_id) once: which copy stays, what goes, and what changes with it."""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import rebuild_except
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.staging.source_keys import drop_unused_sources
from gtm_dagster.warehouse.statements import fragment

_EVENT_COLUMNS = """event_name, event_us, session_id, properties, source, medium, campaign, term, content, device_type, locale,
  page_url, referrer, click_id, country, region, consent"""
_CONTENT = f"user_id, anonymous_id, {_EVENT_COLUMNS}"
_UNTIMED = _CONTENT.replace(" event_us,", "")
_COMPARED = f"coalesce(original_us, event_us), {_UNTIMED}"


def append_events(con: duckdb.DuckDBPyConnection, ctx: BuildContext, first: bool) -> int:
    """Append the winners of `batch` to `meta.events` and note what changed; returns copies with another content.

    `first`: nothing was staged before, so every step builds its table whole. Leaves `batch_days`, the rows of the batch by
    ingest day and verdict, and `touched_days`, the ingest days whose books change.
    """
    find_copies(con)
    _find_duplicates_of_events(con)
    con.execute(f"CREATE OR REPLACE TEMP TABLE batch_duplicates AS {fragment('batch_duplicates')}")
    conflicts = con.execute(fragment("conflicting_copies")).fetchall()[0][0]
    if conflicts:
        con.execute(f"INSERT INTO meta.conflicts {fragment('conflicting_ids')}")
    con.execute("INSERT INTO meta.duplicates SELECT ingest_date, n FROM batch_duplicates")
    con.execute(f"CREATE OR REPLACE TEMP TABLE batch_days AS {fragment('batch_days')}")
    con.execute(f"CREATE OR REPLACE TEMP TABLE touched_days AS {fragment('touched_days')}")
    con.execute(
        """CREATE OR REPLACE TEMP TABLE losers AS
        SELECT file_path, file_row FROM copies WHERE NOT wins
        UNION ALL SELECT file_path, file_row FROM duplicates_of_events WHERE NOT newer_wins"""
    )
    _find_new_events(con, ctx)
    if not first:
        con.execute(
            """INSERT INTO meta.changed
            SELECT person_no, NULL, anonymous_no, event_us FROM duplicates_of_events WHERE newer_wins"""
        )
        con.execute(f"INSERT INTO meta.changed {fragment('changed_by_new_events')}")
    con.execute(
        """DELETE FROM meta.events USING duplicates_of_events d
        WHERE d.newer_wins AND meta.events.write_key = d.write_key AND meta.events.event_id = d.event_id"""
    )
    con.execute("INSERT INTO meta.events SELECT * EXCLUDE (file_path, file_row) FROM new_events")
    if con.execute("SELECT 1 FROM batch_duplicates LIMIT 1").fetchall():
        drop_unused_sources(con)
    con.execute(f"INSERT INTO meta.alias_events {fragment('new_alias_events')}")
    if first:
        rebuild_except(con)
    return int(conflicts)


def find_copies(con: duckdb.DuckDBPyConnection) -> None:
    """`copies`: the accepted rows of `batch` whose id occurs more than once, and which of them wins."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE repeated_hashes AS {fragment('repeated_hashes')}")
    any_repeated = con.execute("SELECT 1 FROM repeated_hashes LIMIT 1").fetchall()
    statement = fragment(
        "copies", content=_CONTENT, compared=_COMPARED, any_repeated="true" if any_repeated else "false"
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE copies AS {statement}")
    con.execute("DROP TABLE repeated_hashes")


def _find_duplicates_of_events(con: duckdb.DuckDBPyConnection) -> None:
    """`duplicates_of_events`: the content of both copies is read for these rows alone."""
    any_copies = con.execute("SELECT 1 FROM copies LIMIT 1").fetchall()
    but_losers = (
        "ANTI JOIN (SELECT file_path, file_row FROM copies WHERE NOT wins) USING (file_path, file_row)"
        if any_copies
        else ""
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE known_rows AS {fragment('known_rows', but_losers=but_losers)}")
    con.execute(f"CREATE OR REPLACE TEMP TABLE known_events AS {fragment('known_events', content=_EVENT_COLUMNS)}")
    any_known = con.execute("SELECT 1 FROM known_rows LIMIT 1").fetchall()
    statement = fragment(
        "duplicates_of_events", content=_CONTENT, untimed=_UNTIMED, only_if_any="" if any_known else "WHERE false"
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE duplicates_of_events AS {statement}")
    con.execute("DROP TABLE known_rows")
    con.execute("DROP TABLE known_events")


def _find_new_events(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> None:
    zone = ctx.settings.report_timezone
    moment = "make_timestamp(h.event_us)"
    any_losers = con.execute("SELECT 1 FROM losers LIMIT 1").fetchall()
    but_losers = "ANTI JOIN losers USING (file_path, file_row)"  # NOT EXISTS drags all columns through a slower join
    statement = fragment(
        "new_events",
        local_time=moment if zone == "UTC" else f"timezone('{zone}', timezone('UTC', {moment}))",
        but_losers=but_losers if any_losers else "",
        keeps_bots="true" if ctx.settings.sessions.bots == "keep" else "false",
    )
    con.execute(f"CREATE OR REPLACE TEMP VIEW new_events AS {statement}")
