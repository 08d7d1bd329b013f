"""`marts.restatements`."""

from __future__ import annotations

from gtm_dagster.warehouse.marts.money import NEWS
from gtm_dagster.warehouse.marts.restatements import KEPT_DAYS, KEPT_ROWS, build_restatements
from gtm_dagster.warehouse.schema.shared_columns import CONVERSION_TYPE, CURRENCY, MODEL, WINDOW_HOURS
from gtm_dagster.warehouse.schema.table import ByNumber, Column, Table

TABLE = Table(
    name="marts.restatements",
    meaning=(
        "What refreshes changed of the credit of days that were over, and why: a row a cell of marts.channel_attribution "
        "and reason. Rebuilds keep it; rows of a cell in one refresh lead from one to the next. "
        f"Kept for {KEPT_DAYS} days and {KEPT_ROWS:,} rows."
    ),
    columns=(
        Column("restatement_no", "BIGINT", "Number of the row, rising; those before the first have left", local=True),
        Column("refreshed_at", "TIMESTAMP", "The refresh that changed it, UTC", local=True),
        Column("previous_at", "TIMESTAMP", "The refresh that left what was before, UTC", local=True),
        Column(
            "day", "DATE", "Day of the conversions, report time zone; it was over at the refresh before", local=True
        ),
        *(
            Column(each.name, each.type, each.meaning, local=True)
            for each in (CONVERSION_TYPE, CURRENCY, MODEL, WINDOW_HOURS)
        ),
        Column("channel", "VARCHAR", "Channel of the touches, or (unattributed)", local=True),
        Column(
            "reason",
            "VARCHAR",
            "rule_change (settings, plan, channel lists, statements), withdrawn_import, refund, identity_merge or late_event, "
            "what has several to the first of them; spend_import of spend, come or withdrawn",
            local=True,
        ),
        Column("conversions_before", "DOUBLE", "Credited conversions before this reason", local=True),
        Column("conversions_after", "DOUBLE", "Credited conversions after it", local=True),
        Column(
            "value_before",
            "DOUBLE",
            "Credited value before this reason, in `currency`; NULL where the type has none",
            local=True,
        ),
        Column("value_after", "DOUBLE", "Credited value after it", local=True),
        Column("net_before", "DOUBLE", "Credited net value before this reason; refunds are taken off", local=True),
        Column("net_after", "DOUBLE", "Credited net value after it", local=True),
        Column(
            "spend_before", "DOUBLE", "Spend of the cell before, the same for every model; NULL without any", local=True
        ),
        Column("spend_after", "DOUBLE", "Spend after it", local=True),
        Column(
            "detail",
            "VARCHAR",
            "Which rules changed, or which batches were withdrawn; NULL for the other reasons",
            local=True,
        ),
    ),
    reads=("marts.channel_attribution",),
    step=build_restatements,
    news=NEWS,
    changes=ByNumber("restatement_no"),
    kept=True,
)
