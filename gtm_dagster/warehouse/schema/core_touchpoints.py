"""`core.touchpoints`."""

from __future__ import annotations

from collections.abc import Mapping

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.core.touchpoints import build_touchpoints
from gtm_dagster.warehouse.figures.ways_to_convert import ways_to_convert
from gtm_dagster.warehouse.schema.shared_columns import (
    CONVERSION_ID,
    CONVERSION_US,
    PERSON_ID,
    PERSON_NO,
    SESSION_KEY,
    SOURCE_COLUMNS,
    SOURCE_KEY,
)
from gtm_dagster.warehouse.schema.table import ByPersonAndTime, Check, Column, Table, none_of


def _settings(settings: Settings) -> Mapping[str, object]:
    attribution = settings.attribution
    return {
        "attribution.windows": attribution.windows,
        "attribution.max_touches": attribution.max_touches,
        "attribution.grain": attribution.grain,
    }


TABLE = Table(
    name="core.touchpoints",
    meaning="Touches of the same person at most the longest lookback before a conversion, never after it: sessions, or browsing events; the source is what was known at the conversion. Kept are the newest ones (attribution.max_touches) and the oldest in each lookback.",
    columns=(
        CONVERSION_ID,
        SESSION_KEY,
        Column("touch_time", "TIMESTAMP", "Start of the session, or time of the event, UTC"),
        Column("age_hours", "DOUBLE", "Hours from the touch to the conversion"),
        *SOURCE_COLUMNS,
        PERSON_ID,
        CONVERSION_US,
        Column("touch_us", "BIGINT", "touch_time in microseconds UTC"),
        Column("age_us", "BIGINT", "Microseconds from the touch to the conversion"),
        SOURCE_KEY,
        Column("tie_no", "BIGINT", "Place among the touches of the same touch_us, by their first event's id"),
        Column("n_touches", "BIGINT", "Touches of the conversion in the longest lookback, kept or not"),
        Column("is_truncated", "BOOLEAN", "Touches of the conversion are left out, more than attribution.max_touches"),
        PERSON_NO,
    ),
    reads=("core.sessions", "core.conversions"),
    step=build_touchpoints,
    settings=_settings,
    changes=ByPersonAndTime("conversion_us", lookback=True),
    charts=(ways_to_convert,),
    checks=(
        Check(
            "touch_precedes_conversion",
            "No touch lies after its conversion.",
            none_of("SELECT count(*) FROM core.touchpoints WHERE age_us < 0", "touches after the conversion"),
        ),
    ),
)
