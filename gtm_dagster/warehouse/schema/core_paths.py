"""`core.paths`."""

from __future__ import annotations

from collections.abc import Mapping

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.core.person_paths import ALL_TOUCHES, MOST_TOUCHES, SEPARATOR, build_paths, path_windows
from gtm_dagster.warehouse.schema.shared_columns import CONVERSION_TYPE, WINDOW_HOURS
from gtm_dagster.warehouse.schema.table import Check, Column, Table, none_of


def _settings(settings: Settings) -> Mapping[str, object]:
    attribution = settings.attribution
    return {
        "attribution.windows (paths)": path_windows(settings),
        "attribution.max_touches": attribution.max_touches,
        "attribution.grain": attribution.grain,
        "conversions": [kind.event for kind in settings.conversions],
    }


TABLE = Table(
    name="core.paths",
    meaning=f"Distinct paths of channels by month, type and currency: how often they converted, and how often a person of the month came by one and did not convert in it. Under `{ALL_TOUCHES}`, and under the rules of each data-driven window.",
    columns=(
        Column(
            "month", "DATE", "First day of the month (report time zone) of the conversion, or of the visits without one"
        ),
        CONVERSION_TYPE,
        Column(
            "currency",
            "VARCHAR",
            "ISO 4217, as sent; NULL for paths that did not convert, which count for every currency",
        ),
        Column("model", "VARCHAR", f"Window whose touches count; `{ALL_TOUCHES}`: all within the longest lookback"),
        WINDOW_HOURS,
        Column("path", "VARCHAR", f"Channels, oldest touch first, joined by `{SEPARATOR}`; NULL where no touch counts"),
        Column("touches", "BIGINT", f"Touches of the path: its newest, at most {MOST_TOUCHES}"),
        Column("conversions", "BIGINT", "Conversions by this path"),
        Column("value", "DOUBLE", "Their value in `currency`; NULL where there is none", digits=4),
        Column(
            "nulls",
            "BIGINT",
            "Persons without a conversion of the type in the month; their path begins behind the last one before",
        ),
    ),
    reads=("core.sessions", "core.conversions", "core.touchpoints"),
    step=build_paths,
    settings=_settings,
    checks=(
        Check(
            "every_conversion_has_one_path",
            "Conversions by month, type, currency and window are those of core.conversions.",
            none_of(
                """SELECT count(*) FROM (
                  SELECT CAST(date_trunc('month', day) AS DATE) AS month, conversion_type, currency, model, window_hours, count(*) AS n
                  FROM core.conversions CROSS JOIN (SELECT DISTINCT model, window_hours FROM core.paths) GROUP BY ALL) c
                FULL JOIN (
                  SELECT month, conversion_type, currency, model, window_hours, sum(conversions) AS n
                  FROM core.paths GROUP BY ALL HAVING sum(conversions) > 0) p
                ON (c.month, c.conversion_type, c.model, c.window_hours) = (p.month, p.conversion_type, p.model, p.window_hours)
                  AND c.currency IS NOT DISTINCT FROM p.currency
                WHERE c.n IS DISTINCT FROM p.n""",
                "months whose conversions are not those of the paths",
            ),
        ),
    ),
)
