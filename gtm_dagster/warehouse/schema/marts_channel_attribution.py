"""`marts.channel_attribution`."""

from __future__ import annotations

from gtm_dagster.warehouse.figures.credit_by_channel import credit_by_channel
from gtm_dagster.warehouse.marts.whole import whole_table
from gtm_dagster.warehouse.schema.shared_columns import CONVERSION_DAY, CONVERSION_TYPE, CURRENCY, MODEL, WINDOW_HOURS
from gtm_dagster.warehouse.schema.table import Column, Table

TABLE = Table(
    name="marts.channel_attribution",
    meaning="Credited conversions and value by day, type, currency, model, window and channel; each model on its own.",
    columns=(
        CONVERSION_DAY,
        CONVERSION_TYPE,
        CURRENCY,
        MODEL,
        WINDOW_HOURS,
        Column("channel", "VARCHAR", "Channel of the touches, or (unattributed)"),
        Column("conversions", "DOUBLE", "Sum of credits", digits=6),
        Column("value", "DOUBLE", "Sum of credited values in `currency`", digits=4),
        Column("spend", "DOUBLE", "NULL without a spend source"),
        Column("cpa", "DOUBLE", "Spend per credited conversion; NULL without spend"),
        Column("roas", "DOUBLE", "Credited value per spend; NULL without spend"),
    ),
    reads=("marts.attribution_credits", "core.conversions"),
    step=whole_table(
        "marts.channel_attribution",
        "channel_attribution",
        inputs={
            "attribution_credits": "SELECT * FROM marts.attribution_credits",
            "conversions": "SELECT * FROM core.conversions",
        },
        renamed={"credited_value": "value"},
    ),
    charts=(credit_by_channel,),
)
