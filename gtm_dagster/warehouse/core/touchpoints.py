"""`core.touchpoints`: the touches before each conversion, sessions or single events."""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import (
    affected_conversions,
    delete_affected,
    drop_tables,
    drop_views,
    longest_window_us,
    nothing_new,
    take_affected,
)
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.marts.window_rules import lookbacks
from gtm_dagster.warehouse.results import StepResult, count, unchanged
from gtm_dagster.warehouse.statements import fragment, statement


def build_touchpoints(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """The touches within the longest lookback before each conversion: `0 <= age <= window`, the newest `max_touches`."""
    if nothing_new(con, "touchpoints"):
        return unchanged(con, "core.touchpoints")
    attribution = ctx.settings.attribution
    with transaction(con):
        whole = take_affected(con, "touchpoints")
        delete_affected(con, "core.touchpoints", "conversion_us", whole, longest_window_us(ctx.settings))
        # Row numbers stand for the ids of conversions and sessions, which cost ten times as much to sort and to join.
        affected_conversions(
            con, ctx.settings, whole, "c.rowid AS conversion_id, c.person_no AS person_id, c.conversion_us"
        )
        find_touches(con, ctx, whole)
        con.execute(f"CREATE OR REPLACE TEMP TABLE lookbacks AS {lookbacks(ctx.settings).query}")
        pairs = statement("touchpoints", max_touches=attribution.max_touches)
        written = con.execute(
            f"INSERT INTO core.touchpoints {fragment('touchpoints_table', touchpoints=pairs)}"
        ).fetchall()[0][0]
        result = StepResult(count(con, "core.touchpoints"), written, count(con, "affected"), whole)
    drop_touches(con, ctx)
    drop_views(con, "conversion_moments")
    drop_tables(con, "affected", "lookbacks")
    return result


def drop_touches(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> None:
    """Drop what `find_touches` made."""
    drop_views(con, "session_starts", "browsing_events")
    session = ctx.settings.attribution.grain == "session"
    con.execute("DROP VIEW IF EXISTS temp.touches" if session else "DROP TABLE IF EXISTS temp.touches")


def find_touches(con: duckdb.DuckDBPyConnection, ctx: BuildContext, whole: bool) -> None:
    """`touches` for the statement of touchpoints: sessions, or the browsing events of the persons of conversion_moments."""
    among = "" if whole else "WHERE person_no IN (SELECT person_no FROM affected)"
    if ctx.settings.attribution.grain == "session":
        con.execute(
            composed(
                """CREATE OR REPLACE TEMP VIEW touches AS
                SELECT rowid AS session_key, person_no AS person_id, start_us AS touch_us, tie_no, source_key, source_us
                FROM core.sessions $among""",
                among=among,
            )
        )
        return
    persons = "person_no IN (SELECT person_id FROM conversion_moments)"
    con.execute(
        composed(
            """CREATE OR REPLACE TEMP VIEW session_starts AS
            SELECT rowid AS session_key, person_no AS person_id, start_us, end_us, session_id FROM core.sessions WHERE $persons""",
            persons=persons,
        )
    )
    con.execute(
        composed(
            """CREATE OR REPLACE TEMP VIEW browsing_events AS
            SELECT person_no AS person_id, event_us, event_id, write_key, session_id, source_key, touch_rank
            FROM meta.events WHERE browsing AND $persons""",
            persons=persons,
        )
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE touches AS {statement(event_statement(ctx.settings.sessions.definition))}"
    )


def event_statement(definition: str) -> str:
    """The statement of touches where every event is one, under a definition of sessions."""
    return "event_touches_tracker" if definition == "tracker" else "event_touches"
