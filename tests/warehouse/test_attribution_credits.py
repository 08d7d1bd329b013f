"""Credits of the SQL against the plain definition of each model, and the edges of a window."""

import json
import random

import pytest
from warehouse_cases import DAY, MINUTE, START, event, land, random_events, refresh, rows_of, settings_for

from gtm_dagster.attribution.models import TOUCH_MODELS, weights

HOUR = 60 * MINUTE


def test_every_model_equals_its_plain_definition(tmp_path):
    windows = [
        {"model": model, "lookback_hours": hours, **({"weights": [3, 1, 2]} if model == "position_based" else {})}
        for model in TOUCH_MODELS
        for hours in (30, 168)
    ]
    stages = ("signup_completed", "onboarding_completed")
    settings = settings_for(
        tmp_path, GTM_ATTRIBUTION__WINDOWS=json.dumps(windows), GTM_ATTRIBUTION__STAGES=json.dumps(stages)
    )
    land(settings, random_events(random.Random(3), 150), "import-1")
    refresh(settings)
    conversions = rows_of(settings, "SELECT conversion_id, person_id, conversion_us FROM core.conversions")
    sessions = rows_of(
        settings, "SELECT person_id, start_us, session_key, channel, source_us FROM core.sessions ORDER BY start_us"
    )
    events = rows_of(settings, "SELECT person_id, event_us, event_name FROM staging.events")
    found = {
        (c, m, w, s): credit
        for c, m, w, s, credit in rows_of(
            settings, "SELECT conversion_id, model, window_hours, session_key, credit FROM marts.attribution_credits"
        )
    }
    expected = {}
    for conversion, person, at in conversions:
        first = [
            min((us for who, us, name in events if (who, name) == (person, stage) and us <= at), default=None)
            for stage in stages
        ]
        for window in windows:
            model, hours = window["model"], float(window["lookback_hours"])
            touches = [s for s in sessions if s[0] == person and 0 <= at - s[1] <= hours * HOUR]
            known = ["Direct" if t[4] is None or t[4] > at else t[3] for t in touches]
            of_stages = [0] * len(touches)
            for us in first:
                if us is not None and (before := [i for i, t in enumerate(touches) if t[1] <= us]):
                    of_stages[before[-1]] += 1
            shares = weights(
                model, [(at - t[1]) / HOUR for t in touches], 168.0, [channel == "Direct" for channel in known],
                channels=known, stages=of_stages, position_weights=window.get("weights", (0.4, 0.2, 0.4)),
            )  # fmt: skip
            for touch, share in zip(touches, shares, strict=True):
                if share > 0:
                    expected[conversion, model, hours, touch[2]] = pytest.approx(share, abs=1e-9)
            if not touches:
                expected[conversion, model, hours, None] = 1.0
    assert len(conversions) > 10
    assert found == expected


# The age of the touch at the conversion, and the channel that is credited; a person each.
EDGES = {
    "exactly the window counts": (24 * HOUR, "Paid Search"),
    "a microsecond older does not": (24 * HOUR + 1, "(unattributed)"),
    "a touch after the conversion never counts": (-1, "(unattributed)"),
    "at the conversion counts": (0, "Paid Search"),
}


@pytest.fixture(scope="module")
def credits_at_the_edges(tmp_path_factory):
    settings = settings_for(
        tmp_path_factory.mktemp("edges"), GTM_ATTRIBUTION__WINDOWS='[{"model": "last_touch", "lookback_hours": 24}]'
    )
    at = START + 5 * DAY
    rows = []
    for name, (age, _) in EDGES.items():
        rows.append(event(f"paid {name}", at, user_id=name, event_name="payment_completed", device_type="api"))
        rows.append(event(f"touch {name}", at - age, user_id=name, source="google", medium="cpc"))
    land(settings, rows, "import-1")
    refresh(settings)
    sql = """SELECT c.person_id, a.channel, a.credit, a.value
        FROM marts.attribution_credits a JOIN core.conversions c USING (conversion_id)"""
    found = rows_of(settings, sql)
    assert rows_of(settings, "SELECT count(*) FROM marts.attribution_credits") == [(len(found),)] == [(len(EDGES),)]
    return found


@pytest.mark.parametrize("name", EDGES)
def test_window_boundary(credits_at_the_edges, name):
    _, channel = EDGES[name]
    assert [row[1:] for row in credits_at_the_edges if row[0] == name] == [(channel, 1.0, 10.0)]


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


# What the first event of a session names, and the session's source and channel; a person each.
SOURCES = {
    "a search engine refers": ({"referrer": "https://www.google.com/"}, "google", "Organic Search"),
    "the own site is navigation": (
        {"referrer": "https://www.example.com/a", "page_url": "https://shop.example.com/b"}, "direct", "Direct",
    ),
    "a click id names its network": ({"click_id": "gclid=abc"}, "google", "Paid Search"),
    "direct named is direct": ({"source": "direct"}, "direct", "Direct"),
    "nothing": ({}, "direct", "Direct"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sources_of_sessions(tmp_path_factory):
    settings = settings_for(tmp_path_factory.mktemp("sources"))
    rows = [event(name, START, anonymous_id=name, **columns) for name, (columns, _, _) in SOURCES.items()]
    land(settings, rows, "import-1")
    refresh(settings)
    found = rows_of(settings, "SELECT person_id, source, channel FROM core.sessions")
    assert len(found) == len(SOURCES)
    return found


@pytest.mark.parametrize("name", SOURCES)
def test_source_of_a_session(sources_of_sessions, name):
    _, source, channel = SOURCES[name]
    assert [row[1:] for row in sources_of_sessions if row[0] == name] == [(source, channel)]
