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


def _settings(settings: Settings) -> Mapping[str, object]:
    return {"conversions": settings.conversions}


TABLE = Table(
    name="core.conversions",
    meaning="Events the settings call a conversion; value NULL where the event has none.",
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
        CURRENCY,
        CONVERSION_DAY,
        CONVERSION_US,
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
    ),
)
