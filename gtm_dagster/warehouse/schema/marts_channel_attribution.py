"""`marts.channel_attribution`."""

from __future__ import annotations

from gtm_dagster.warehouse.figures.credit_by_channel import credit_by_channel
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.marts.money import NEWS, build_channel_attribution
from gtm_dagster.warehouse.schema.shared_columns import CONVERSION_DAY, CONVERSION_TYPE, CURRENCY, MODEL, WINDOW_HOURS
from gtm_dagster.warehouse.schema.spend_columns import EARNED_COLUMNS, SPENT_COLUMNS, money_checks
from gtm_dagster.warehouse.schema.table import AMONG_CHANGED, Check, Column, Table, none_of

_NOT_FINITE = """SELECT count(*) FROM (SELECT 1 FROM core.conversions $among
  GROUP BY day, conversion_type, currency HAVING NOT isfinite(sum(value)))"""
_OVERFLOW = "days, types and currencies whose values do not add up to a finite number; their sums are NULL"

TABLE = Table(
    name="marts.channel_attribution",
    meaning="Credited conversions, value and spend by day, type, currency, model, window and channel; each model on its own.",
    columns=(
        CONVERSION_DAY,
        CONVERSION_TYPE,
        CURRENCY,
        MODEL,
        WINDOW_HOURS,
        Column("channel", "VARCHAR", "Channel of the touches and of the spend, or (unattributed)"),
        *EARNED_COLUMNS,
        *SPENT_COLUMNS,
    ),
    reads=("marts.attribution_credits", "core.conversions", "core.spend"),
    step=build_channel_attribution,
    news=NEWS,
    checks=(
        *money_checks("marts.channel_attribution"),
        Check(
            "sums_are_finite",
            "Values of a day, type and currency add up to a finite number; a sum that overflows is NULL, and not added.",
            none_of(composed(_NOT_FINITE, among=""), _OVERFLOW),
            blocking=False,
            severity="WARN",
            changed=none_of(
                composed(
                    _NOT_FINITE,
                    among=composed(
                        "WHERE day IN (SELECT day FROM core.conversions WHERE $among_changed)",
                        among_changed=AMONG_CHANGED,
                    ),
                ),
                _OVERFLOW,
            ),
        ),
        Check(
            "refunds_are_taken_off",
            "Net value is gross value less what was given back, and never above it.",
            none_of(
                """SELECT count(*) FROM marts.channel_attribution
                WHERE refunded < -1e-6 * greatest(1, abs(value))
                  OR abs(value - refunded - net_value) > 1e-6 * greatest(1, abs(value))""",
                "rows whose net value is not gross value less refunds",
            ),
        ),
    ),
    charts=(credit_by_channel,),
)
