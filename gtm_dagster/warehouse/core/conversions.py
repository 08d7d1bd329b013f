"""`core.conversions`: the events that the settings call a conversion, each payment once, with what was given back.

`meta.conversion_events` keeps every event that can be a conversion, and refunds, by payment: an event of a payment decides
about others of it, whosever they are and whenever. Their moments join the affected ranges, so that later steps follow.
"""

from __future__ import annotations

from string import whitespace

import duckdb

from gtm_dagster.taxonomy.absent import ABSENT_IDS
from gtm_dagster.warehouse.affected import (
    SESSIONS,
    add_ranges,
    delete_affected,
    drop_tables,
    drop_views,
    follow_to_end,
    nothing_new,
    take_affected,
    within,
)
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.causes import remember_credit
from gtm_dagster.warehouse.core.conversion_types import matching, write_conversion_types
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.literals import composed, literal, literals
from gtm_dagster.warehouse.results import StepResult, count, unchanged
from gtm_dagster.warehouse.statements import fragment

_STEP = "conversions"
_CHANGED = "SELECT c.* FROM meta.conversion_events c JOIN affected r ON $within"


def build_conversions(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """One row a conversion; one without a value property has NULL, not 0."""
    if nothing_new(con, _STEP):
        return unchanged(con, "core.conversions")
    write_conversion_types(con, ctx.settings.conversions)
    with transaction(con):
        whole = take_affected(con, _STEP)
        _follow_events(con, ctx, whole)
        if not whole:
            remember_credit(con, ctx.settings)
        delete_affected(con, "core.conversions", "conversion_us", whole)
        among = "" if whole else f"JOIN affected r ON {within('k', 'event_us')}"
        rows = fragment("conversions_table", among=among)
        written = con.execute(f"INSERT INTO core.conversions {rows}").fetchall()[0][0]
        result = StepResult(count(con, "core.conversions"), written, count(con, "affected"), whole)
    drop_views(con, "candidates")
    drop_tables(con, "affected", "conversion_types", "candidates_found", "changed_conversions", "linked")
    return result


def _follow_events(con: duckdb.DuckDBPyConnection, ctx: BuildContext, whole: bool) -> None:
    """Bring `meta.conversion_events` up to date, widen `affected` by what the changes decide about, and make `candidates`."""
    among = "" if whole else f"JOIN affected r ON {within('e', 'event_us')}"
    events = fragment(
        "conversion_events",
        among=among,
        matches=matching(ctx.settings.conversions),
        absent=literals(sorted(ABSENT_IDS)),
        blanks=literal(whitespace),
    )
    if whole:
        con.execute("DELETE FROM meta.conversion_events")
        con.execute(f"INSERT INTO meta.conversion_events {events}")
        con.execute("CREATE OR REPLACE TEMP VIEW candidates AS SELECT * FROM meta.conversion_events")
        return
    there = composed(_CHANGED, within=within("c", "event_us"))
    con.execute(f"CREATE OR REPLACE TEMP TABLE changed_conversions AS {there}")
    delete_affected(con, "meta.conversion_events", "event_us", whole)
    con.execute(f"INSERT INTO meta.conversion_events {events}")
    con.execute(f"INSERT INTO changed_conversions {there}")
    _widen(con)
    found = fragment("conversion_candidates", within=within("c", "event_us"))
    con.execute(f"CREATE OR REPLACE TEMP TABLE candidates_found AS {found}")
    con.execute("CREATE OR REPLACE TEMP VIEW candidates AS SELECT * FROM candidates_found")


def _widen(con: duckdb.DuckDBPyConnection) -> None:
    """Add the moments that the changed events decide about to `affected`, and to the log for every later step."""
    con.execute(f"CREATE OR REPLACE TEMP TABLE linked AS {fragment('linked_ranges')}")
    if not count(con, "linked"):
        return
    add_ranges(con, SESSIONS, "SELECT person_no, lo_us, hi_us FROM linked")
    follow_to_end(con, _STEP, SESSIONS)
    con.execute(
        """CREATE OR REPLACE TEMP TABLE affected AS
        SELECT person_no, min(lo_us) AS lo_us, max(hi_us) AS hi_us
        FROM (SELECT * FROM affected UNION ALL SELECT * FROM linked) GROUP BY 1"""
    )
