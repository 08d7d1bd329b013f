"""`marts.daily`: each figure on its own day and in its own row, in the report time zone; nothing is added that is unlike."""

import pytest
from warehouse_cases import DAY, START, event, land, refresh, rows_of, settings_for

HOUR = 3_600_000_000
PAID = {"event_name": "payment_completed", "user_id": "u"}


def daily(settings):
    return rows_of(
        settings,
        """SELECT day::VARCHAR, conversion_type, currency, visitors, sessions, sign_ups, conversions, value, unattributed,
        unattributed_share FROM marts.daily ORDER BY ALL NULLS FIRST""",
    )


def test_a_day_is_one_row_of_visitors_and_one_for_each_type_and_currency(tmp_path):
    settings = settings_for(tmp_path)
    euro = '{"amount": 5.5, "currency": "EUR"}'
    land(
        settings,
        [
            event("a", START, anonymous_id="x"),
            event("b", START + HOUR, anonymous_id="x"),
            event("c", START + HOUR, anonymous_id="y"),
            event("s", START + HOUR, anonymous_id="y", event_name="signup_completed", user_id="u"),
            event("p", START + 2 * HOUR, **PAID),
            event("q", START + 2 * HOUR, **PAID, properties=euro),
            event("r", START + DAY, **{**PAID, "user_id": "nobody"}, device_type="api"),
        ],
        "one",
    )
    refresh(settings)
    assert daily(settings) == [
        ("2026-01-01", None, None, 2, 4, 1, None, None, None, None),
        ("2026-01-01", "payment_completed", "EUR", None, None, None, 1, 5.5, 0, 0.0),
        ("2026-01-01", "payment_completed", "USD", None, None, None, 1, 10.0, 0, 0.0),
        ("2026-01-01", "signup_completed", None, None, None, None, 1, None, 0, 0.0),
        ("2026-01-02", "payment_completed", "USD", None, None, None, 1, 10.0, 1, 1.0),
    ]


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        pytest.param("UTC", "2026-01-01", id="UTC"),
        pytest.param("Asia/Tokyo", "2026-01-02", id="nine hours ahead: after its midnight"),
        pytest.param("America/New_York", "2026-01-01", id="five hours behind"),
    ],
)
def test_the_day_is_that_of_the_report_time_zone(tmp_path, zone, day):
    settings = settings_for(tmp_path, GTM_REPORT_TIMEZONE=zone)
    land(settings, [event("a", START + 20 * HOUR, anonymous_id="x")], "one")
    refresh(settings)
    assert daily(settings) == [(day, None, None, 1, 1, 0, None, None, None, None)]


def test_without_events_there_is_no_day(tmp_path):
    settings = settings_for(tmp_path)
    refresh(settings)
    assert daily(settings) == []
