"""Core -> marts: credit, what was computed and why not, channel performance."""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import median

import duckdb

from gtm_dagster.attribution.models import MULTI_TOUCH_MODELS
from gtm_dagster.warehouse.core.steps import (
    HOUR_US,
    StepResult,
    TableResult,
    count,
    drop_scope,
    forget,
    scope_conversions,
    take_scope,
)
from gtm_dagster.warehouse.engine import transaction
from gtm_dagster.warehouse.statements import statement
from gtm_dagster.warehouse.tables import BuildContext, get_state, mark_rebuild, set_state

UNATTRIBUTED = "(unattributed)"
CONSISTENT_SHARE = 0.2


@dataclass(frozen=True)
class ModelStatus:
    """Whether a (model, window) is computed, and the reason in words."""

    model: str
    window_hours: float
    computed: bool
    reason: str


def history_verdict(daily: list[tuple[int, int]], min_days: int) -> tuple[bool, str]:
    """Whether there are `min_days` days of consistent volume; `daily` is (day number, events) for days with events.

    Consistent means: each of the last `min_days` full days (the newest day with events is not full) has at least
    20 % of the median day's events.
    """
    if min_days <= 0:
        return True, "the history gate is off (attribution.min_history_days = 0)"
    if not daily:
        return False, f"no events yet; {min_days} days of consistent volume are needed"
    volume = dict(daily)
    newest = max(volume)
    days = [volume.get(newest - back, 0) for back in range(1, min_days + 1)]
    held = newest - min(volume)
    if held < min_days:
        return (
            False,
            f"{held} full days of history; {min_days} days of consistent volume are needed (attribution.min_history_days)",
        )
    floor = CONSISTENT_SHARE * median(days)
    thin = sum(1 for events in days if events == 0 or events < floor)
    if thin:
        return (
            False,
            f"{thin} of the last {min_days} full days hold less than {CONSISTENT_SHARE:.0%} of the median day's {median(days):g} events (attribution.min_history_days)",
        )
    return True, f"the last {min_days} full days hold consistent volume (median {median(days):g} events a day)"


def model_statuses(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> list[ModelStatus]:
    """The verdict for each window of the settings; single-touch models need no history."""
    daily: list[tuple[int, int]] = con.execute(
        "SELECT CAST(local_day - DATE '1970-01-01' AS INTEGER), count(*) FROM meta.events GROUP BY 1"
    ).fetchall()
    ready, reason = history_verdict(daily, ctx.settings.attribution.min_history_days)
    return [
        ModelStatus(w.model, float(w.lookback_hours), ready, reason)
        if w.model in MULTI_TOUCH_MODELS
        else ModelStatus(w.model, float(w.lookback_hours), True, "a single-touch model needs no history")
        for w in ctx.settings.attribution.windows
    ]


def build_credits(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> StepResult:
    """Credit by touch for each conversion, model and window that the history gate lets through."""
    chosen = [(s.model, s.window_hours) for s in model_statuses(con, ctx) if s.computed]
    half_life_us = round(ctx.settings.attribution.half_life_hours * HOUR_US)
    con.execute(
        "CREATE OR REPLACE TEMP TABLE windows (model VARCHAR, window_hours DOUBLE, window_us BIGINT, half_life_us DOUBLE)"
    )
    for model, hours in chosen:
        con.execute("INSERT INTO windows VALUES (?, ?, ?, ?)", [model, hours, round(hours * HOUR_US), half_life_us])
    with transaction(con):
        if get_state(con, "credited_windows") != json.dumps(chosen):
            mark_rebuild(con, ("credits",))
        whole = take_scope(con, "credits")
        forget(con, ctx, "marts.attribution_credits", whole)
        _number_conversions(con, ctx, whole)
        written = con.execute(
            f"""INSERT INTO marts.attribution_credits
            SELECT n.conversion_id, a.model, a.window_hours, a.session_key, coalesce(s.channel, $1), s.source, s.medium, s.campaign,
              a.credit, a.credit * n.value, n.person_id, n.conversion_us, n.person_no
            FROM ({statement("credits")}) a
            JOIN conversion_numbers n ON n.conversion_no = a.conversion_id
            LEFT JOIN core.sources s ON s.source_key = a.source_key""",
            [UNATTRIBUTED],
        ).fetchall()[0][0]
        set_state(con, "credited_windows", json.dumps(chosen))
        result = StepResult(count(con, "marts.attribution_credits"), written, count(con, "scope"), whole)
    con.execute("DROP VIEW IF EXISTS temp.scope_touchpoints")
    for name in ("windows", "conversion_numbers"):
        con.execute(f"DROP TABLE IF EXISTS temp.{name}")
    drop_scope(con)
    return result


def _number_conversions(con: duckdb.DuckDBPyConnection, ctx: BuildContext, whole: bool) -> None:
    """`scope_conversions` and `scope_touchpoints` for the statement of credits, their conversions as numbers.

    Windows and joins over the ids themselves cost ten times as much; `conversion_numbers` leads back to them.
    """
    scope_conversions(con, ctx, whole, "c.conversion_id, c.person_id, c.person_no, c.conversion_us, c.value")
    con.execute(
        """CREATE OR REPLACE TEMP TABLE conversion_numbers AS
        SELECT row_number() OVER () AS conversion_no, conversion_id, person_id, person_no, conversion_us, value FROM scope_conversions"""
    )
    con.execute(
        "CREATE OR REPLACE TEMP VIEW scope_conversions AS SELECT conversion_no AS conversion_id FROM conversion_numbers"
    )
    con.execute(
        """CREATE OR REPLACE TEMP VIEW scope_touchpoints AS
        SELECT n.conversion_no AS conversion_id, t.session_key, t.touch_us, t.age_us, t.source_key,
          CASE WHEN t.channel = 'Direct' THEN 1 ELSE 0 END AS is_direct
        FROM core.touchpoints t JOIN conversion_numbers n ON n.conversion_id = t.conversion_id"""
    )


def build_attribution_status(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> list[ModelStatus]:
    """Which (model, window) was computed, and why another was not."""
    statuses = model_statuses(con, ctx)
    with transaction(con):
        con.execute("DELETE FROM marts.attribution_status")
        for status in statuses:
            con.execute(
                "INSERT INTO marts.attribution_status VALUES (?, ?, ?, ?)",
                [status.model, status.window_hours, status.computed, status.reason],
            )
    return statuses


def build_channel_attribution(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """Credit by day, conversion type, currency, model, window and channel; spend, cpa and roas are NULL without spend."""
    con.execute("CREATE OR REPLACE TEMP VIEW attribution_credits AS SELECT * FROM marts.attribution_credits")
    con.execute("CREATE OR REPLACE TEMP VIEW conversions AS SELECT * FROM core.conversions")
    with transaction(con):
        con.execute("DELETE FROM marts.channel_attribution")
        written = con.execute(
            f"""INSERT INTO marts.channel_attribution
            SELECT day, conversion_type, currency, model, window_hours, channel, conversions, credited_value, NULL, NULL, NULL
            FROM ({statement("channel_attribution")})"""
        ).fetchall()[0][0]
    con.execute("DROP VIEW temp.attribution_credits")
    con.execute("DROP VIEW temp.conversions")
    return TableResult(written)
