"""`marts.attribution_credits`: credit by touch for each conversion, model and window."""

from __future__ import annotations

import json

import duckdb

from gtm_dagster.warehouse.affected import (
    HOUR_US,
    affected_conversions,
    delete_affected,
    drop_tables,
    drop_views,
    longest_window_us,
    nothing_new,
    rebuild,
    take_affected,
)
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.results import StepResult, count, unchanged
from gtm_dagster.warehouse.state import get_state, set_state
from gtm_dagster.warehouse.statements import fragment, statement


def build_credits(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """Credit by touch for each conversion, model and window that the history gate lets through."""
    windows = con.execute(
        "SELECT model, window_hours FROM marts.attribution_status WHERE computed ORDER BY rowid"
    ).fetchall()
    as_before = get_state(con, "credited_windows") == json.dumps(windows)
    if as_before and nothing_new(con, "attribution_credits"):
        return unchanged(con, "marts.attribution_credits")
    half_life_us = round(ctx.settings.attribution.half_life_hours * HOUR_US)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE windows (model VARCHAR, window_hours DOUBLE, window_us BIGINT, half_life_us DOUBLE)"
    )
    for model, hours in windows:
        con.execute("INSERT INTO windows VALUES (?, ?, ?, ?)", [model, hours, round(hours * HOUR_US), half_life_us])
    with transaction(con):
        if not as_before:
            rebuild(con, "attribution_credits", "channel_attribution")
        whole = take_affected(con, "attribution_credits")
        delete_affected(con, "marts.attribution_credits", "conversion_us", whole, longest_window_us(ctx.settings))
        _number_conversions(con, ctx, whole)
        rows = fragment("credits_table", credits=statement("credits"))
        written = con.execute(f"INSERT INTO marts.attribution_credits {rows}").fetchall()[0][0]
        set_state(con, "credited_windows", json.dumps(windows))
        result = StepResult(count(con, "marts.attribution_credits"), written, count(con, "affected"), whole)
    drop_views(con, "conversion_moments", "conversion_touches")
    drop_tables(con, "affected", "windows", "conversion_numbers")
    return result


def _number_conversions(con: duckdb.DuckDBPyConnection, ctx: BuildContext, whole: bool) -> None:
    """`conversion_moments` and `conversion_touches` for the statement of credits, their conversions as numbers.

    Windows and joins over the ids themselves cost ten times as much; `conversion_numbers` leads back to them.
    """
    affected_conversions(
        con, ctx.settings, whole, "c.conversion_id, c.person_id, c.person_no, c.conversion_us, c.value, c.net_value"
    )
    con.execute(
        """CREATE OR REPLACE TEMP TABLE conversion_numbers AS
        SELECT row_number() OVER () AS conversion_no, conversion_id, person_id, person_no, conversion_us, value, net_value FROM conversion_moments"""
    )
    con.execute(
        "CREATE OR REPLACE TEMP VIEW conversion_moments AS SELECT conversion_no AS conversion_id FROM conversion_numbers"
    )
    con.execute(
        """CREATE OR REPLACE TEMP VIEW conversion_touches AS
        SELECT n.conversion_no AS conversion_id, t.session_key, t.touch_us, t.tie_no, t.age_us, t.source_key,
          CASE WHEN t.channel = 'Direct' THEN 1 ELSE 0 END AS is_direct
        FROM core.touchpoints t JOIN conversion_numbers n ON n.conversion_id = t.conversion_id"""
    )
