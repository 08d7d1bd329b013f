"""`core.conversions`."""

from __future__ import annotations

from collections.abc import Mapping

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.core.conversions import build_conversions
from gtm_dagster.warehouse.literals import composed
from gtm_dagster.warehouse.schema.shared_columns import (
    CONVERSION_DAY,
    CONVERSION_ID,
    CONVERSION_TYPE,
    CONVERSION_US,
    CURRENCY,
    PERSON_ID,
    PERSON_NO,
)
from gtm_dagster.warehouse.schema.table import AMONG_CHANGED, ByPersonAndTime, Check, Column, Table, none_of

_COUNTED_TWICE = (
    "SELECT count(*) FROM (SELECT 1 FROM core.conversions {among} GROUP BY conversion_id HAVING count(*) > 1)"
)

_UNIQUE_TWICE = """SELECT count(*) FROM (SELECT 1 FROM core.conversions WHERE unique_value IS NOT NULL {among}
  GROUP BY conversion_type, unique_value HAVING count(*) > 1)"""


def _settings(settings: Settings) -> Mapping[str, object]:
    return {"conversions": settings.conversions}


TABLE = Table(
    name="core.conversions",
    meaning="Events the settings call a conversion, each payment once; value NULL where the event has none.",
    columns=(
        CONVERSION_ID,
        PERSON_ID,
        Column("conversion_time", "TIMESTAMP", "UTC"),
        CONVERSION_TYPE,
        Column(
            "value",
            "DOUBLE",
            "As the event says, gross: refunds are not taken off; in `currency`; NULL where there is no finite number, never 0 for unknown",
        ),
        Column("refunded", "DOUBLE", "Given back of `value` so far, from 0 to `value`; NULL where value is", digits=6),
        Column("net_value", "DOUBLE", "`value` less `refunded`, in the day of the conversion", digits=6),
        CURRENCY,
        CONVERSION_DAY,
        CONVERSION_US,
        Column(
            "unique_value",
            "VARCHAR",
            "The value of the settings' `unique` property, such as a payment id; NULL without",
        ),
        Column(
            "n_events",
            "BIGINT",
            "Events that say it: above 1 where several have one payment id; the earliest is counted",
        ),
        Column("value_is_no_number", "BOOLEAN", "The event has a value that is no finite number; `value` is NULL then"),
        PERSON_NO,
    ),
    reads=("staging.events", "core.identities", "core.sessions"),
    step=build_conversions,
    settings=_settings,
    changes=ByPersonAndTime("conversion_us"),
    checks=(
        Check(
            "unique_conversion_id",
            "A conversion is counted once.",
            none_of(_COUNTED_TWICE.format(among=""), "conversions counted twice"),
            changed=none_of(
                _COUNTED_TWICE.format(
                    among=composed(
                        "WHERE conversion_id IN (SELECT conversion_id FROM core.conversions WHERE $among_changed)",
                        among_changed=AMONG_CHANGED,
                    )
                ),
                "conversions of changed persons counted twice",
            ),
        ),
        Check(
            "values_are_numbers",
            "The value of a conversion is a finite number where there is one.",
            none_of(
                "SELECT count(*) FROM core.conversions WHERE value_is_no_number",
                "conversions with a value that is no finite number; they count without a value",
            ),
            blocking=False,
            severity="WARN",
        ),
        Check(
            "unique_values_count_once",
            "Of a conversion type no two conversions have one value of its `unique` property.",
            none_of(_UNIQUE_TWICE.format(among=""), "payments that count more than once"),
            changed=none_of(
                _UNIQUE_TWICE.format(
                    among=composed(
                        """AND unique_value IN (SELECT unique_value FROM core.conversions
                        WHERE unique_value IS NOT NULL AND $among_changed)""",
                        among_changed=AMONG_CHANGED,
                    )
                ),
                "payments of changed persons that count more than once",
            ),
        ),
        Check(
            "conversions_arrive_once",
            "No payment is said by two events; the earliest counts, the others are counted here.",
            none_of(
                "SELECT coalesce(sum(n_events - 1), 0) FROM core.conversions WHERE n_events > 1",
                "events that say a payment once more (one payment_id by two events); they are no conversions",
            ),
            blocking=False,
            severity="WARN",
        ),
        Check(
            "refunds_within_value",
            "What is given back of a conversion lies between 0 and its value, and net_value is the rest.",
            none_of(
                """SELECT count(*) FROM core.conversions
                WHERE refunded NOT BETWEEN 0 AND greatest(value, 0) OR net_value IS DISTINCT FROM value - refunded
                  OR (value IS NULL) <> (refunded IS NULL)""",
                "conversions whose refunds are below 0 or above the value",
            ),
        ),
    ),
)
