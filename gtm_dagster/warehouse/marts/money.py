"""`marts.channel_attribution` and `marts.campaign_performance`: what was earned beside what was spent."""

from __future__ import annotations

import duckdb

from gtm_dagster.warehouse.affected import SESSIONS, SPEND
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.marts.whole import Input, whole_table
from gtm_dagster.warehouse.results import TableResult
from gtm_dagster.warehouse.statements import fragment, statement

NEWS = (SESSIONS, SPEND)
_INPUTS: dict[str, Input] = {
    "attribution_credits": "SELECT * FROM marts.attribution_credits",
    "conversions": "SELECT conversion_id, day, conversion_type, currency FROM core.conversions",
    "spend": "SELECT day, source, medium, campaign, channel, currency, cost FROM core.spend",
    "spend_by_type": lambda ctx: statement("spend_by_type"),
}
_RENAMED = {"gross": "value", "net": "net_value", "cost": "spend", "cost_currency": "spend_currency"}

build_channel_attribution = whole_table(
    "marts.channel_attribution", "channel_attribution", inputs=_INPUTS, renamed=_RENAMED, news=NEWS
)
_by_campaign = whole_table(
    "marts.campaign_performance",
    "campaign_performance",
    inputs={
        **_INPUTS,
        "sources": "SELECT source, medium, campaign, channel FROM core.sources",
        "spend_matches": lambda ctx: statement("spend_matches"),
    },
    renamed={
        **{f"row_{name}": name for name in ("source", "medium", "campaign", "channel")},
        **{name: after for name, after in _RENAMED.items() if name != "gross"},
        "gross_value": "value",
    },
    news=NEWS,
    after=lambda con: _name_nearest(con),
)


def build_campaign_performance(con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> TableResult:
    """Credit, value and spend at the grain at which spend is known; unmatched campaigns with the most alike known one."""
    return _by_campaign(con, ctx)


def _name_nearest(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        composed(
            """UPDATE marts.campaign_performance SET nearest_campaign = n.nearest FROM ($nearest) n
            WHERE matched = '(unmatched)' AND marts.campaign_performance.campaign = n.campaign
              AND marts.campaign_performance.source IS NOT DISTINCT FROM n.source
              AND marts.campaign_performance.channel = n.channel""",
            nearest=fragment("nearest_campaigns"),
        )
    )
