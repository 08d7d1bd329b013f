"""`core.spend`."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from gtm_dagster.channels.grouping import CHANNELS
from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.affected import SPEND
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.core.spend_by_day import build_spend
from gtm_dagster.warehouse.literals import composed, literals
from gtm_dagster.warehouse.results import CheckResult
from gtm_dagster.warehouse.schema.table import Check, Column, Table


def _settings(settings: Settings) -> Mapping[str, object]:
    return {"report_timezone": settings.report_timezone}


def _known_channel(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> CheckResult:
    rows = con.execute(
        composed(
            "SELECT DISTINCT coalesce(source, channel) FROM core.spend WHERE channel NOT IN ($known) ORDER BY 1 LIMIT 10",
            known=literals(name for name in CHANNELS if name != "Unassigned"),
        )
    ).fetchall()
    names = ", ".join(name for (name,) in rows)
    return CheckResult(not rows, f"spend of no known channel: {names or 'none'}", {"sources": names})


TABLE = Table(
    name="core.spend",
    meaning="What ads cost by report day, as imported (`gtm import --as spend`); of each key the newest import.",
    columns=(
        Column("day", "DATE", "Report time zone; a day of the ad account that lies in two is divided by its hours"),
        Column("account_day", "DATE", "Day of the ad account, in its time zone"),
        Column("write_key", "VARCHAR", "Name of the source of the import"),
        Column("source", "VARCHAR", "By the name visits have; NULL: the spend is of a whole channel"),
        Column("medium", "VARCHAR", "NULL: the import does not say; the channel is then that of cpc"),
        Column("campaign", "VARCHAR", "NULL: the spend is not by campaign"),
        Column("channel", "VARCHAR", "As imported, else that of source, medium and campaign"),
        Column("currency", "VARCHAR", "ISO 4217; amounts of different currencies are never added"),
        Column("cost", "DOUBLE", "Amount in `currency`", digits=6),
        Column("impressions", "DOUBLE", "Share of the day's; NULL where the import does not say", digits=6),
        Column("clicks", "DOUBLE", "Share of the day's; NULL where the import does not say", digits=6),
    ),
    reads=("staging.events",),
    step=build_spend,
    settings=_settings,
    news=(SPEND,),
    checks=(
        Check(
            "spend_has_a_known_channel",
            "Spend is of a channel that visits can have, and it is not Unassigned.",
            _known_channel,
            blocking=False,
            severity="WARN",
        ),
    ),
)
