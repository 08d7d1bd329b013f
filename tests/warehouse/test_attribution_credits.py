"""Credits of the SQL against the plain definition of each model, and the edges of a window."""

import random

import pytest
from warehouse_cases import DAY, MINUTE, START, WINDOWS, event, land, random_events, refresh, rows_of, settings_for

from gtm_dagster.attribution.models import weights
from gtm_dagster.warehouse.marts.attribution_status import history_verdict

HOUR = 60 * MINUTE


def test_every_model_equals_its_plain_definition(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, random_events(random.Random(3), 150), "import-1")
    refresh(settings)
    conversions = rows_of(settings, "SELECT conversion_id, person_id, conversion_us FROM core.conversions")
    sessions = rows_of(
        settings, "SELECT person_id, start_us, session_key, channel FROM core.sessions ORDER BY start_us"
    )
    found = {
        (c, m, w, s): credit
        for c, m, w, s, credit in rows_of(
            settings, "SELECT conversion_id, model, window_hours, session_key, credit FROM marts.attribution_credits"
        )
    }
    expected = {}
    for conversion, person, at in conversions:
        for window in WINDOWS:
            model, hours = window["model"], float(window["lookback_hours"])
            touches = [s for s in sessions if s[0] == person and 0 <= at - s[1] <= hours * HOUR]
            shares = weights(model, [(at - t[1]) / HOUR for t in touches], 168.0, [t[3] == "Direct" for t in touches])
            for touch, share in zip(touches, shares, strict=True):
                if share > 0:
                    expected[conversion, model, hours, touch[2]] = pytest.approx(share, abs=1e-9)
            if not touches:
                expected[conversion, model, hours, None] = 1.0
    assert len(conversions) > 10
    assert found == expected


@pytest.mark.parametrize(
    ("age", "channel"),
    [(24 * HOUR, "Paid Search"), (24 * HOUR + 1, "(unattributed)"), (-1, "(unattributed)"), (0, "Paid Search")],
    ids=[
        "exactly the window counts",
        "a microsecond older does not",
        "a touch after the conversion never counts",
        "at the conversion counts",
    ],
)
def test_window_boundary(tmp_path, age, channel):
    settings = settings_for(tmp_path, GTM_ATTRIBUTION__WINDOWS='[{"model": "last_touch", "lookback_hours": 24}]')
    paid = event("p", START + 5 * DAY, user_id="u", event_name="payment_completed", device_type="api")
    touch = event("t", START + 5 * DAY - age, user_id="u", source="google", medium="cpc")
    land(settings, [paid, touch], "import-1")
    refresh(settings)
    assert rows_of(settings, "SELECT channel, credit, value FROM marts.attribution_credits") == [(channel, 1.0, 10.0)]


@pytest.mark.parametrize(
    ("daily", "ready", "words"),
    [
        ([], False, "no events yet"),
        ([(d, 100) for d in range(31)], True, "30 full days"),
        ([(d, 100) for d in range(30)], False, "29 full days of history"),
        ([(d, 100) for d in range(31) if d != 12], False, "1 of the last 30 full days"),
        ([(d, 19 if d == 7 else 100) for d in range(31)], False, "1 of the last 30"),
        ([(d, 20 if d == 7 else 100) for d in range(31)], True, "consistent"),
    ],
    ids=[
        "empty",
        "30 full days and a day begun",
        "a day short",
        "a day without events",
        "a day below a fifth of the median",
        "a fifth is enough",
    ],
)
def test_history_gate(daily, ready, words):
    verdict, reason = history_verdict(daily, 30)
    assert verdict is ready
    assert words in reason


def test_gated_models_are_absent_with_a_reason(tmp_path):
    settings = settings_for(tmp_path, GTM_ATTRIBUTION__MIN_HISTORY_DAYS="30")
    land(settings, random_events(random.Random(3), 40), "import-1")
    refresh(settings)
    models = {row[0] for row in rows_of(settings, "SELECT DISTINCT model FROM marts.attribution_credits")}
    assert models == {"first_touch", "last_touch", "last_non_direct"}
    reasons = dict(rows_of(settings, "SELECT model, reason FROM marts.attribution_status WHERE NOT computed"))
    assert set(reasons) == {"linear", "position_based", "time_decay", "inverse_age"}
    assert all("attribution.min_history_days" in reason for reason in reasons.values())


def test_a_conversion_without_a_value_property_has_no_value(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, [event("s", START, anonymous_id="x", event_name="signup_completed")], "import-1")
    refresh(settings)
    assert rows_of(settings, "SELECT value FROM core.conversions") == [(None,)]
    assert rows_of(settings, "SELECT DISTINCT value FROM marts.channel_attribution") == [(None,)]


def test_funnel_is_ordered_and_retention_counts_periods(tmp_path):
    settings = settings_for(
        tmp_path, GTM_FUNNEL__STEPS='["page_viewed", "signup_completed"]', GTM_RETENTION__UNIT="week"
    )
    rows = [
        event("a1", START, user_id="a"), event("a2", START + MINUTE, user_id="a", event_name="signup_completed"),
        event("b1", START, user_id="b", event_name="signup_completed"), event("b2", START + MINUTE, user_id="b"),
        event("a3", START + 8 * DAY, user_id="a"),
    ]  # fmt: skip
    land(settings, rows, "import-1")
    refresh(settings)
    assert rows_of(
        settings, "SELECT stage, sum(persons)::INT FROM marts.funnel GROUP BY 1, stage_no ORDER BY stage_no"
    ) == [("page_viewed", 2), ("signup_completed", 1)]
    assert rows_of(settings, "SELECT period, persons, retained FROM marts.retention ORDER BY 1") == [
        (0, 2, 2),
        (1, 2, 1),
    ]


@pytest.mark.parametrize(
    ("columns", "source", "channel"),
    [
        ({"referrer": "https://www.google.com/"}, "google", "Organic Search"),
        ({"referrer": "https://www.example.com/a", "page_url": "https://shop.example.com/b"}, "direct", "Direct"),
        ({"click_id": "gclid=abc"}, "google", "Paid Search"),
        ({"source": "direct"}, "direct", "Direct"),
        ({}, "direct", "Direct"),
    ],
    ids=[
        "a search engine refers",
        "the own site is navigation",
        "a click id names its network",
        "direct said is direct",
        "nothing",
    ],
)
def test_source_of_a_session(tmp_path, columns, source, channel):
    settings = settings_for(tmp_path)
    land(settings, [event("a", START, anonymous_id="x", **columns)], "import-1")
    refresh(settings)
    assert rows_of(settings, "SELECT source, channel FROM core.sessions") == [(source, channel)]
