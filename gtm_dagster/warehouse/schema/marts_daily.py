"""`marts.daily`."""

from __future__ import annotations

from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.figures.figure import BarChart
from gtm_dagster.warehouse.figures.last_full_day import last_full_day
from gtm_dagster.warehouse.literals import composed, literal
from gtm_dagster.warehouse.marts.whole import whole_table
from gtm_dagster.warehouse.schema.table import Check, Column, Table, none_of

SIGN_UP = "signup_completed"


def _day_sessions(ctx: BuildContext) -> str:
    zone = ctx.settings.report_timezone
    local = "session_start" if zone == "UTC" else f"timezone('{zone}', timezone('UTC', session_start))"
    return composed("SELECT CAST($local AS DATE) AS day, person_id FROM core.sessions", local=local)


TABLE = Table(
    name="marts.daily",
    meaning="The day at a glance: visitors, sessions, sign-ups, and conversions with their value by type and currency.",
    columns=(
        Column("day", "DATE", "Report time zone; a session counts on the day it starts"),
        Column("conversion_type", "VARCHAR", "Converting event; NULL in the row of visitors, sessions and sign-ups"),
        Column("currency", "VARCHAR", "ISO 4217, as sent; NULL where the type has no value"),
        Column("visitors", "BIGINT", "Distinct persons with a session; NULL in rows of a conversion type"),
        Column("sessions", "BIGINT", "Sessions; NULL in rows of a conversion type"),
        Column("sign_ups", "BIGINT", f"Distinct persons with `{SIGN_UP}`; NULL in rows of a conversion type"),
        Column("conversions", "BIGINT", "Conversions of the type; NULL in the row of visitors"),
        Column("value", "DOUBLE", "Their value in `currency`; NULL where there is none", digits=4),
        Column("unattributed", "BIGINT", "Conversions without a session in the longest lookback before them"),
        Column("unattributed_share", "DOUBLE", "`unattributed` / `conversions`, share of 1", digits=9),
    ),
    reads=("staging.events", "core.sessions", "core.conversions", "core.touchpoints"),
    step=whole_table(
        "marts.daily",
        "daily",
        inputs={
            "day_sessions": _day_sessions,
            "day_sign_ups": composed(
                "SELECT local_day AS day, person_no AS person_id FROM meta.events WHERE event_name = $sign_up",
                sign_up=literal(SIGN_UP),
            ),
            "conversions": "SELECT conversion_id, day, conversion_type, currency, value FROM core.conversions",
            "touchpoints": "SELECT conversion_id FROM core.touchpoints",
        },
        renamed={"type_name": "conversion_type", "currency_code": "currency", "total_value": "value"},
    ),
    checks=(
        Check(
            "days_cover_sessions_and_conversions",
            "Sessions and conversions of all days are those of core.",
            none_of(
                """SELECT abs(coalesce(sum(sessions), 0) - (SELECT count(*) FROM core.sessions))
                  + abs(coalesce(sum(conversions), 0) - (SELECT count(*) FROM core.conversions)) FROM marts.daily""",
                "sessions or conversions are missing or counted twice",
            ),
        ),
    ),
    charts=(
        BarChart(
            "Visitors by day: the newest 30 days (report time zone)",
            "SELECT strftime(day, '%m-%d'), visitors FROM marts.daily WHERE conversion_type IS NULL ORDER BY day DESC LIMIT 30",
        ),
    ),
    trends=last_full_day,
)
