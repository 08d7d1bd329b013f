"""`marts.campaign_performance`."""

from __future__ import annotations

from gtm_dagster.warehouse.marts.money import NEWS, build_campaign_performance
from gtm_dagster.warehouse.schema.shared_columns import CONVERSION_DAY, CONVERSION_TYPE, CURRENCY, MODEL, WINDOW_HOURS
from gtm_dagster.warehouse.schema.spend_columns import EARNED_COLUMNS, SPENT_COLUMNS, money_checks
from gtm_dagster.warehouse.schema.table import Column, Table

TABLE = Table(
    name="marts.campaign_performance",
    meaning="Credited conversions, value and spend by day at the grain at which spend is known; spend that nothing matches is a row of its own.",
    columns=(
        CONVERSION_DAY,
        CONVERSION_TYPE,
        CURRENCY,
        MODEL,
        WINDOW_HOURS,
        Column(
            "source",
            "VARCHAR",
            "Of the touches and the spend; NULL: the spend is of a whole channel, or nothing earned it",
        ),
        Column("medium", "VARCHAR", "NULL: the spend does not say"),
        Column("campaign", "VARCHAR", "NULL: the spend is not by campaign"),
        Column("channel", "VARCHAR", "Of the spend, else of the touches; or (unattributed)"),
        Column(
            "matched",
            "VARCHAR",
            "Finest grain at which there is spend for these touches: campaign, medium, source or channel; (unmatched): spend "
            "whose names no visit has; NULL: touches without spend",
        ),
        *EARNED_COLUMNS,
        *SPENT_COLUMNS,
        Column("nearest_campaign", "VARCHAR", "Of unmatched spend: the most alike campaign that visits have"),
    ),
    reads=("marts.attribution_credits", "core.conversions", "core.spend"),
    step=build_campaign_performance,
    news=NEWS,
    checks=money_checks("marts.campaign_performance", "campaign_"),
)
