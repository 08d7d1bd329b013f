"""What the restatement log remembers between refreshes (warehouse/causes.py, marts/restatements.py)."""

from __future__ import annotations

from gtm_dagster.warehouse.schema.shared_columns import (
    CONVERSION_DAY,
    CONVERSION_ID,
    CONVERSION_TYPE,
    CURRENCY,
    MODEL,
    WINDOW_HOURS,
)
from gtm_dagster.warehouse.schema.table import Column, Table

_CHANNEL = ("channel", "VARCHAR", "Channel of the touches, or (unattributed)")
_CELL = tuple(
    (column.name, column.type, column.meaning)
    for column in (CONVERSION_DAY, CONVERSION_TYPE, CURRENCY, MODEL, WINDOW_HOURS)
)


def _remembered(name: str, meaning: str, *columns: tuple[str, str, str], kept: bool = False) -> Table:
    return Table(
        f"meta.{name}", meaning, tuple(Column(*column, local=True) for column in columns), served=False, kept=kept
    )


TABLES = (
    _remembered(
        "restatement_causes",
        "Why persons change, until the restatement log has followed.",
        ("person_no", "BIGINT", "Number of the person"),
        ("cause", "VARCHAR", "withdrawn_import or identity_merge"),
        ("detail", "VARCHAR", "The batches that were withdrawn"),
    ),
    _remembered(
        "replaced_credit",
        "Credit of conversions as it was before their person changed, until the restatement log has followed.",
        (CONVERSION_ID.name, CONVERSION_ID.type, CONVERSION_ID.meaning),
        ("person_no", "BIGINT", "Number of the person it belonged to"),
        *_CELL,
        _CHANNEL,
        ("credit", "DOUBLE", "Sum of the credits of the channel"),
        ("value", "DOUBLE", "Sum of their values"),
        ("net_value", "DOUBLE", "Sum of their net values"),
        ("refunded", "DOUBLE", "Given back of the conversion, whatever the channel"),
    ),
    _remembered(
        "compared_credit",
        "Credit by day as the restatement log saw it last; what a refresh leaves is compared with it.",
        *_CELL,
        _CHANNEL,
        ("conversions", "DOUBLE", "Sum of credits"),
        ("value", "DOUBLE", "Sum of credited values"),
        ("net_value", "DOUBLE", "Sum of credited net values"),
        ("spend", "DOUBLE", "Spend; NULL without any"),
        kept=True,
    ),
    _remembered(
        "restatement_state",
        "One row: what was known when the restatement log followed last.",
        ("first_day", "DATE", "First day with an event; NULL before the first"),
        ("newest_day", "DATE", "Newest day with an event; days before it were over"),
        ("compared_at", "TIMESTAMP", "When, UTC"),
        ("withdrawals", "BIGINT", "Withdrawals followed"),
        ("fingerprints", "VARCHAR", "Settings, rules and statements that decide credit, as JSON"),
        ("last_no", "BIGINT", "Number of the newest row that was ever in the log"),
        ("ended", "BIGINT", "Rows that have left the log for age or number"),
        kept=True,
    ),
)
