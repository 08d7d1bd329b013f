"""`core.touchpoints`: the sessions before each conversion."""

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
from gtm_dagster.warehouse.results import StepResult, count, unchanged
from gtm_dagster.warehouse.statements import fragment, statement


def build_touchpoints(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """The sessions within the longest lookback before each conversion: `0 <= age <= window`."""
    if nothing_new(con, "touchpoints"):
        return unchanged(con, "core.touchpoints")
    with transaction(con):
        whole = take_affected(con, "touchpoints")
        delete_affected(con, "core.touchpoints", "conversion_us", whole, longest_window_us(ctx.settings))
        affected_conversions(con, ctx.settings, whole, "c.conversion_id, c.person_no AS person_id, c.conversion_us")
        among = "" if whole else "WHERE person_no IN (SELECT person_no FROM affected)"
        con.execute(
            composed(
                "CREATE OR REPLACE TEMP VIEW session_starts AS SELECT session_key, person_no AS person_id, start_us, tie_no, source_key, source_us FROM core.sessions $among",
                among=among,
            )
        )
        pairs = statement("touchpoints", longest_us=longest_window_us(ctx.settings))
        written = con.execute(
            f"INSERT INTO core.touchpoints {fragment('touchpoints_table', touchpoints=pairs)}"
        ).fetchall()[0][0]
        result = StepResult(count(con, "core.touchpoints"), written, count(con, "affected"), whole)
    drop_views(con, "conversion_moments", "session_starts")
    drop_tables(con, "affected")
    return result
