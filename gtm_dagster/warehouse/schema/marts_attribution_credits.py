"""`marts.attribution_credits`."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from gtm_dagster.attribution.models import TOUCH_MODELS, model
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.literals import composed, literals
from gtm_dagster.warehouse.marts.credits import build_credits
from gtm_dagster.warehouse.results import CheckResult, number
from gtm_dagster.warehouse.schema.shared_columns import (
    CAMPAIGN,
    CONVERSION_ID,
    CONVERSION_US,
    MEDIUM,
    MODEL,
    PERSON_ID,
    PERSON_NO,
    SESSION_KEY,
    SOURCE,
    WINDOW_HOURS,
)
from gtm_dagster.warehouse.schema.table import AMONG_CHANGED, ByPersonAndTime, Check, Column, Table

TOLERANCE = 1e-9


def _settings(settings: Settings) -> Mapping[str, object]:
    return {
        "attribution.windows": settings.attribution.windows,
        "attribution.half_life_hours": settings.attribution.half_life_hours,
        "attribution.stages": settings.attribution.stages,
    }


def _credit_conserves(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    return _conserved(con, ctx, "true")


def _changed_credit_conserves(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    return _conserved(con, ctx, AMONG_CHANGED)


def _conserved(con: duckdb.DuckDBPyConnection, ctx: BuildContext, among: str) -> CheckResult:
    """Where a model gives every channel the whole conversion, the credits of each channel add up to 1."""
    touch_windows = [window for window in ctx.settings.attribution.windows if window.model in TOUCH_MODELS]
    whole = literals(window.label for window in touch_windows if not model(window.model).conserves)
    # To count channels costs several times the sums, so it is asked for where a model wants it alone.
    times = (
        composed("CASE WHEN a.model IN ($whole) THEN count(DISTINCT a.channel) ELSE 1 END", whole=whole)
        if whole
        else "1"
    )
    pairs, credit_off, value_off, largest = con.execute(
        composed(
            """WITH sums AS (
          SELECT a.conversion_id, a.model, a.window_hours, sum(a.credit) AS credit, sum(a.value) AS value,
            $times AS times
          FROM marts.attribution_credits a WHERE $among GROUP BY a.conversion_id, a.model, a.window_hours),
        due AS (
          SELECT c.conversion_id, c.value, s.model, s.window_hours
          FROM core.conversions c CROSS JOIN (SELECT * FROM marts.attribution_status WHERE computed AND model IN ($labels)) s
          WHERE $among)
        SELECT count(*), count(*) FILTER (s.credit IS NULL OR abs(s.credit - s.times) > $tolerance * s.times),
          count(*) FILTER (d.value IS NOT NULL AND abs(s.value - d.value * s.times) > $tolerance * s.times * greatest(1, abs(d.value))),
          coalesce(max(abs(s.credit - s.times)), 0)
        FROM due d LEFT JOIN sums s USING (conversion_id, model, window_hours)""",
            among=among,
            times=times,
            labels=literals(window.label for window in touch_windows) or "NULL",
            tolerance=TOLERANCE,
        )
    ).fetchall()[0]
    stray = int(
        number(
            con,
            composed(
                """SELECT count(*) FROM (SELECT conversion_id FROM marts.attribution_credits WHERE $among)
            ANTI JOIN core.conversions USING (conversion_id)""",
                among=among,
            ),
        )
    )
    return CheckResult(
        credit_off == 0 and value_off == 0 and stray == 0,
        f"{pairs} pairs of conversion and window: {credit_off} whose credit is not 1, {value_off} whose value is not the "
        f"conversion's, {stray} credits of no conversion",
        {
            "pairs": int(pairs),
            "credit_off": int(credit_off),
            "value_off": int(value_off),
            "stray": stray,
            "largest_difference": float(largest),
        },
    )


TABLE = Table(
    name="marts.attribution_credits",
    meaning="Credit of each touch for each conversion, model and window; what no touch earned is (unattributed).",
    columns=(
        CONVERSION_ID,
        MODEL,
        WINDOW_HOURS,
        SESSION_KEY,
        Column("channel", "VARCHAR", "Channel of the touch, or (unattributed)"),
        SOURCE,
        MEDIUM,
        CAMPAIGN,
        Column("credit", "DOUBLE", "Share of 1 of the conversion", digits=9),
        Column("value", "DOUBLE", "Credit times the conversion's value, gross", digits=6),
        Column("net_value", "DOUBLE", "Credit times the conversion's net_value: refunds are taken off", digits=6),
        PERSON_ID,
        CONVERSION_US,
        PERSON_NO,
    ),
    reads=("core.touchpoints", "core.conversions", "marts.attribution_status"),
    step=build_credits,
    settings=_settings,
    changes=ByPersonAndTime("conversion_us", lookback=True),
    checks=(
        Check(
            "credit_conserves",
            "Credits of each conversion and window add up to 1, values to its value; under participation those of each channel.",
            _credit_conserves,
            changed=_changed_credit_conserves,
        ),
    ),
)
