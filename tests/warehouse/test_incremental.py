"""Law 4: whatever the order, the splits and the repeats, the tables are those of one sorted load."""

import random

import pytest
from profiles import slow_but
from warehouse_cases import (
    DAY,
    MINUTE,
    PLAN,
    START,
    event,
    land,
    naive_sessions,
    random_events,
    refresh,
    rows_of,
    settings_for,
    with_copies,
)  # fmt: skip

from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.verify import compare, verify


@pytest.mark.parametrize("definition", slow_but(1, "ua", "ga4", "tracker"))
@pytest.mark.parametrize("seed", slow_but(1, 0, 1))
def test_random_batches_equal_a_rebuild(tmp_path, definition, seed):
    rng = random.Random(seed * 7 + len(definition))
    settings = settings_for(tmp_path, GTM_SESSIONS__DEFINITION=definition)
    rows = with_copies(rng, random_events(rng, rng.choice([60, 180])))
    parts = rng.choice([3, 6])
    for part in range(parts):
        land(settings, rows[part::parts], f"import-{part}")
        refresh(settings)
    result = verify(settings, PLAN)
    assert result.ok, result.first


@pytest.mark.parametrize("seed", slow_but(1, *range(3)))
def test_shuffled_parts_equal_one_sorted_load(tmp_path, seed):
    rng = random.Random(100 + seed)
    rows = random_events(rng, 80)
    once, parts = settings_for(tmp_path / "once"), settings_for(tmp_path / "parts")
    land(once, sorted(rows, key=lambda r: (r["event_us"], r["event_id"])), "import-all")
    refresh(once)
    mixed = [*rows, *rng.sample(rows, 10)]
    rng.shuffle(mixed)
    for part in range(4):
        land(parts, mixed[part::4], f"import-{part}")
        refresh(parts)
    with opened(parts.warehouse_path, parts) as con:
        result = compare(con, once.warehouse_path)
    differing = {table: n for table, n in result.differences.items() if n and table != "staging.books"}
    assert not differing, result.first


@pytest.mark.parametrize("ua", [False, True], ids=["ga4", "ua"])
@pytest.mark.parametrize("seed", slow_but(1, *range(5)))
def test_sessions_equal_a_walk_through_the_events(tmp_path, seed, ua):
    rng = random.Random(500 + seed)
    settings = settings_for(tmp_path, GTM_SESSIONS__DEFINITION="ua" if ua else "ga4")
    land(settings, random_events(rng, 120), "import-all")
    refresh(settings)
    events = rows_of(
        settings,
        """SELECT e.person_id, e.event_us, e.touch_rank, CASE WHEN e.touch_rank IS NOT NULL THEN s.source || s.medium || coalesce(s.campaign, '') END
        FROM staging.events e LEFT JOIN core.sources s USING (source_key) WHERE browsing ORDER BY event_us, event_id""",
    )
    found = rows_of(settings, "SELECT person_id, start_us, end_us, n_events FROM core.sessions ORDER BY 1, 2")
    assert found == sorted(naive_sessions(events, 30 * MINUTE, ua=ua))


def test_a_late_event_merges_two_sessions(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, [event("a", START, anonymous_id="x"), event("b", START + 50 * MINUTE, anonymous_id="x")], "import-1")
    refresh(settings)
    assert rows_of(settings, "SELECT count(*) FROM core.sessions") == [(2,)]
    land(settings, [event("c", START + 25 * MINUTE, anonymous_id="x")], "import-2")
    refresh(settings)
    assert rows_of(settings, "SELECT start_us, n_events FROM core.sessions") == [(START, 3)]


@pytest.mark.slow  # test_visit_boundary.py has these and more in one deployment
@pytest.mark.parametrize(
    ("gap", "sessions"),
    [(30 * MINUTE, 1), (30 * MINUTE + 1, 2)],
    ids=["exactly the timeout stays", "a microsecond more splits"],
)
def test_session_gap_boundary(tmp_path, gap, sessions):
    settings = settings_for(tmp_path)
    land(settings, [event("a", START, anonymous_id="x"), event("b", START + gap, anonymous_id="x")], "import-1")
    refresh(settings)
    assert rows_of(settings, "SELECT count(*) FROM core.sessions") == [(sessions,)]


def test_an_earlier_login_takes_the_anonymous_history_along(tmp_path):
    settings = settings_for(tmp_path)
    land(
        settings,
        [event("a", START, anonymous_id="x"), event("b", START + DAY, anonymous_id="x", user_id="late")],
        "import-1",
    )
    refresh(settings)
    assert rows_of(settings, "SELECT DISTINCT person_id FROM core.sessions") == [("late",)]
    land(settings, [event("c", START + MINUTE, anonymous_id="x", user_id="early")], "import-2")
    refresh(settings)
    people = rows_of(settings, "SELECT person_id, start_us FROM core.sessions ORDER BY 2")
    assert people == [("early", START), ("late", START + DAY)]
    assert verify(settings, PLAN).ok


def test_server_events_and_exposures_never_open_a_session(tmp_path):
    settings = settings_for(tmp_path)
    paid = event("p", START, user_id="u", event_name="payment_completed", device_type="api")
    land(settings, [paid], "import-1")
    refresh(settings)
    assert rows_of(settings, "SELECT count(*) FROM core.sessions") == [(0,)]
    credits = rows_of(settings, "SELECT DISTINCT channel, source, credit, value FROM marts.attribution_credits")
    assert credits == [("(unattributed)", None, 1.0, 10.0)]


def test_a_corrected_copy_received_earlier_wins_and_the_books_still_balance(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, [event("a", START + DAY, anonymous_id="x", received_us=START + 9 * DAY)], "import-1")
    refresh(settings)
    land(settings, [event("a", START, anonymous_id="y", received_us=START + 5 * DAY)], "import-2")
    staged = refresh(settings)
    assert (staged.duplicates, staged.conflicts) == (1, 1)
    assert rows_of(settings, "SELECT person_id, start_us FROM core.sessions") == [("y", START)]
    assert verify(settings, PLAN).ok


def test_a_second_refresh_without_news_changes_nothing(tmp_path):
    settings = settings_for(tmp_path)
    land(settings, random_events(random.Random(1), 50), "import-1")
    refresh(settings)
    before = rows_of(settings, "SELECT * FROM marts.attribution_credits ORDER BY ALL")
    assert refresh(settings).read == 0
    assert rows_of(settings, "SELECT * FROM marts.attribution_credits ORDER BY ALL") == before
