"""`marts.channel_attribution`."""

from __future__ import annotations

from gtm_dagster.warehouse.figures.figure import BarChart
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
    charts=(
        BarChart(
            "conversions by channel, first model",
            """SELECT channel, sum(conversions) FROM marts.channel_attribution
        WHERE (model, window_hours) = (SELECT (model, window_hours) FROM marts.attribution_status WHERE computed ORDER BY rowid LIMIT 1)
        GROUP BY 1 ORDER BY 2 DESC LIMIT 12""",
        ),
    ),
)
