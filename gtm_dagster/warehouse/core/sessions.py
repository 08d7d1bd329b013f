"""`core.sessions`: the sessions of the affected visits, and the source of each person's first one.

A visit is affected when it holds a changed moment or lies within one timeout of one. Outside of these visits nothing can
change, so building them anew gives what a full rebuild gives, and costs what the batch costs.
"""

from __future__ import annotations

import duckdb

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.affected import (
    EVENTS,
    SESSIONS,
    add_ranges,
    delete_affected,
    drop_tables,
    drop_views,
    nothing_new,
    rebuild_except,
    take_affected,
    within,
)
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.core.identities import IDENTITIES
from gtm_dagster.warehouse.core.local_days import local_time
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.results import StepResult, count, unchanged
from gtm_dagster.warehouse.statements import fragment, statement

_FAR = 8_000_000_000_000_000_000
ARRIVAL = """CASE WHEN e.touch_rank IS NOT NULL
    THEN CAST(hash(s.source, s.medium, s.campaign, e.term, e.content, e.click_id) // 2 AS BIGINT) END"""
"""What tells one arrival of a visit from another under `ua`: a number of all that names where somebody came from.
Of events `e` and their row `s` of core.sources."""
ARRIVAL_SOURCES = "LEFT JOIN core.sources s ON s.source_key = e.source_key"


def build_sessions(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """Sessions of the affected visits, by the definition of the settings."""
    if nothing_new(con, "sessions", EVENTS):
        return unchanged(con, "core.sessions")
    definition = ctx.settings.sessions.definition
    timeout_us = round(ctx.settings.sessions.timeout_minutes * 60_000_000)
    with transaction(con):
        whole = take_affected(con, "sessions", EVENTS)
        if not whole:
            con.execute("CREATE OR REPLACE TEMP TABLE changed AS SELECT * FROM affected")
            if definition == "tracker":  # a session id may name moments far apart: the whole history is affected
                con.execute(
                    "CREATE OR REPLACE TEMP TABLE affected AS SELECT person_no, $1::BIGINT AS lo_us, $2::BIGINT AS hi_us FROM changed",
                    [-_FAR, _FAR],
                )
            else:
                con.execute(
                    f"CREATE OR REPLACE TEMP TABLE affected AS {fragment('visits_of_changes', timeout_us=str(timeout_us))}"
                )
        _browsing_events(con, whole, definition)
        delete_affected(con, "core.sessions", "start_us", whole)
        con.execute(f"CREATE OR REPLACE TEMP TABLE session_rows AS {_sessions_of(definition, timeout_us)}")
        written = con.execute(f"INSERT INTO core.sessions {fragment('sessions_table')}").fetchall()[0][0]
        _remember_origins(con, ctx.settings, whole)
        if whole:
            rebuild_except(con, IDENTITIES, "sessions")
        else:
            add_ranges(con, SESSIONS, "SELECT person_no, lo_us, hi_us FROM affected")
        result = StepResult(count(con, "core.sessions"), written, count(con, "affected"), whole)
    drop_views(con, "browsing_events")
    drop_tables(con, "affected", "changed", "session_rows", "affected_events", "disputed_events")
    return result


def _browsing_events(con: duckdb.DuckDBPyConnection, whole: bool, definition: str) -> None:
    """`browsing_events` for the statements of sessions: the affected browsing events, narrow, their persons as numbers.

    Ids of events are read only where order can matter: when a part is built, of the events that share their moment with
    an event that says something else.
    """
    arrives = definition == "ua"  # term, content and click id are read for nobody else
    parts = {
        "arrival": ARRIVAL if arrives else "CAST(NULL AS BIGINT)",
        "sources": ARRIVAL_SOURCES if arrives else "",
    }
    if whole:
        con.execute(f"CREATE OR REPLACE TEMP VIEW browsing_events AS {fragment('browsing_events_all', **parts)}")
        return
    events = fragment("affected_events", within=within("e", "event_us"), **parts)
    con.execute(f"CREATE OR REPLACE TEMP TABLE affected_events AS {events}")
    con.execute(f"CREATE OR REPLACE TEMP TABLE disputed_events AS {fragment('disputed_events')}")
    con.execute(
        """CREATE OR REPLACE TEMP VIEW browsing_events AS
        SELECT a.* EXCLUDE (event_row), i.event_id, i.write_key FROM affected_events a LEFT JOIN disputed_events i ON i.event_row = a.event_row"""
    )


def _remember_origins(con: duckdb.DuckDBPyConnection, settings: Settings, whole: bool) -> None:
    """`meta.person_origin`: start, day and source of each person's first session, written again for the affected persons.

    Funnel and retention read it for everybody. The affected ranges hold a part of a person's sessions, so the table is
    read for them; when all sessions were built just now, those rows are read.
    """
    among = "" if whole else "WHERE person_no IN (SELECT person_no FROM affected)"
    con.execute(composed("DELETE FROM meta.person_origin $among", among=among))
    sessions = (
        "SELECT person_id, source_key, start_us, tie_no FROM session_rows"
        if whole
        else composed(
            "SELECT person_no AS person_id, source_key, start_us, tie_no FROM core.sessions $among", among=among
        )
    )
    con.execute(f"CREATE OR REPLACE TEMP VIEW sessions AS {sessions}")
    con.execute("CREATE OR REPLACE TEMP VIEW sources AS SELECT * FROM core.sources")
    origins = fragment(
        "person_origin_table", origins=statement("person_origin"), local_time=local_time(settings, "o.start_us")
    )
    con.execute(f"INSERT INTO meta.person_origin {origins}")
    con.execute("DROP VIEW temp.sessions")
    con.execute("DROP VIEW temp.sources")


def _sessions_of(definition: str, timeout_us: int) -> str:
    """The statement that makes sessions of `browsing_events` under a definition; only `ua` splits inside a visit."""
    if definition == "tracker":
        return statement("sessions_tracker")
    if definition == "ua":
        return statement("sessions", timeout_us=timeout_us, split_midnight=1, split_campaign=1)
    return statement("sessions_unsplit", timeout_us=timeout_us)
