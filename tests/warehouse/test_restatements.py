"""The restatement log: what a refresh changed of a day that was over, by how much and why, whatever was rebuilt."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from warehouse_cases import DAY, MINUTE, START, event, land, refresh, rows_of, settings_for

from gtm_dagster.settings import Settings
from gtm_dagster.warehouse.landing import Landing

LINEAR = '[{"model": "linear", "lookback_hours": 168}]'
LOG = """SELECT day, conversion_type, currency, model, channel, reason, conversions_before, conversions_after, value_before, value_after
  FROM marts.restatements ORDER BY restatement_no"""
FIRST = date(2026, 1, 2)


def paid(event_id: str, day: int, user: str, amount: float = 10.0, **columns: object) -> dict:
    properties = json.dumps({"amount": amount, "currency": "EUR"})
    moment = START + day * DAY + 12 * 60 * MINUTE
    return event(event_id, moment, user_id=user, event_name="payment_completed", device_type="api", properties=properties, **columns)  # fmt: skip


def visit(event_id: str, day: int, source: str | None = None, hour: float = 9, **columns: object) -> dict:
    medium = "cpc" if source else None
    return event(event_id, START + day * DAY + round(hour * 60) * MINUTE, source=source, medium=medium, **columns)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A payment of day 1 that a search ad brought, and visits until day 3: days 0 to 2 are over."""
    settings = settings_for(tmp_path, GTM_ATTRIBUTION__WINDOWS=LINEAR)
    land(settings, [visit("v", 1, "google", user_id="u"), paid("p", 1, "u"), visit("z", 3, user_id="z"), visit("y", 0, user_id="z")], "import-1")  # fmt: skip
    refresh(settings)
    assert rows_of(settings, LOG) == []
    return settings


def test_a_late_touch_takes_its_share_of_a_day_that_was_over(settings: Settings) -> None:
    land(settings, [visit("late", 1, "newsletter", hour=2, user_id="u")], "import-2")
    refresh(settings)
    cell = (FIRST, "payment_completed", "EUR", "linear")
    assert rows_of(settings, LOG) == [
        (*cell, "Paid Other", "late_event", 0.0, 0.5, 0.0, 5.0),
        (*cell, "Paid Search", "late_event", 1.0, 0.5, 10.0, 5.0),
    ]
