"""`core.paths` against a walk through sessions and conversions, and credit of all paths together made from it."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from profiles import slow_but
from warehouse_cases import DAY, MINUTE, PLAN, START, event, land, random_events, refresh, rows_of, settings_for

from gtm_dagster.warehouse.core.person_paths import ALL_TOUCHES, MOST_TOUCHES
from gtm_dagster.warehouse.verify import verify

HOUR = 60 * MINUTE
WINDOWS = [
    {"model": "markov", "lookback_hours": 200},
    {"model": "markov", "lookback_hours": 200, "name": "second order", "order": 2, "transforms": ["exposure"]},
    {"model": "shapley", "lookback_hours": 100, "without": ["Direct"]},
    {"model": "leave_one_out", "lookback_hours": 48, "channel_hours": {"Organic Social": 300.0}},
    {"model": "last_touch", "lookback_hours": 24},
]


def deployment(folder, windows=WINDOWS, **environ):
    return settings_for(folder, GTM_ATTRIBUTION__WINDOWS=json.dumps(windows), **environ)


def month_of(us):
    return (datetime.fromtimestamp(0, UTC) + timedelta(microseconds=us)).date().replace(day=1)


def spread(rows):
    """The same events over three months, so that persons come back after months without a conversion."""
    return [
        {**row, "event_us": START + (row["event_us"] - START) * 4, "received_us": START + 120 * DAY} for row in rows
    ]


def walked(settings, window):
    """Paths of a window by (month, type, currency, path): conversions, value, nulls; person by person."""
    sessions, conversions = defaultdict(list), defaultdict(list)
    for person, *rest in rows_of(
        settings, "SELECT person_id, start_us, tie_no, end_us, channel, source_us FROM core.sessions"
    ):
        sessions[person].append(rest)
    for person, *rest in rows_of(
        settings, "SELECT person_id, conversion_us, conversion_type, currency, value, day FROM core.conversions"
    ):
        conversions[person].append(rest)
    found = defaultdict(lambda: [0, None, 0])

    def path(person, moment, after=None):
        channels = []
        for start, _, _, channel, source_us in sorted(sessions[person]):
            known = channel if source_us is not None and source_us <= moment else "Direct"
            hours = window.get("channel_hours", {}).get(known, window["lookback_hours"])
            counts = start <= moment and moment - start <= hours * HOUR and known not in window.get("without", ())
            if counts and (after is None or start > after):
                channels.append(known)
        if "exposure" in window.get("transforms", ()):
            channels = [each for at, each in enumerate(channels) if not at or channels[at - 1] != each]
        return " > ".join(channels) or None

    for person, of_person in conversions.items():
        for moment, kind, currency, value, day in of_person:
            entry = found[day.replace(day=1), kind, currency, path(person, moment)]
            entry[0] += 1
            if value is not None:
                entry[1] = (entry[1] or 0) + value
    for person, of_person in sessions.items():
        ends = defaultdict(int)
        for start, _, end, *_ in of_person:
            ends[month_of(start)] = max(ends[month_of(start)], end)
        for month, end in ends.items():
            for kind in ("payment_completed", "signup_completed"):
                mine = [each for each in conversions[person] if each[1] == kind]
                if any(each[4].replace(day=1) == month for each in mine):
                    continue
                before = [each[0] for each in mine if each[0] <= end]
                way = path(person, end, max(before, default=None))
                if way:
                    found[month, kind, None, way][2] += 1
    return dict(found)


def kept(settings, label):
    rows = rows_of(
        settings,
        f"SELECT month, conversion_type, currency, path, conversions, value, nulls FROM core.paths WHERE model = '{label}'",
    )
    return {tuple(row[:4]): [row[4], row[5], row[6]] for row in rows}


@pytest.mark.parametrize("seed", slow_but(1, 3, 4, 5))
def test_paths_equal_a_walk_and_late_batches_a_rebuild(tmp_path, seed):
    rng = random.Random(seed)
    settings = deployment(tmp_path)
    rows = spread(random_events(rng, 90))
    rng.shuffle(rows)
    for part in range(3):
        land(settings, rows[part::3], f"import-{part}")
        refresh(settings)
    for window in WINDOWS[:4]:
        expected = walked(settings, window)
        assert kept(settings, window.get("name", window["model"])) == expected
        assert any(nulls for *_, nulls in expected.values())
    assert kept(settings, ALL_TOUCHES) == walked(settings, {"lookback_hours": 300.0})
    result = verify(settings, PLAN)
    assert result.ok, result.first


@pytest.mark.parametrize("definition", slow_but(1, "tracker", "ua"))
def test_paths_of_events_in_another_time_zone_equal_a_rebuild(tmp_path, definition):
    rng = random.Random(11)
    settings = deployment(
        tmp_path, GTM_ATTRIBUTION__GRAIN="event", GTM_ATTRIBUTION__MAX_TOUCHES="5",
        GTM_SESSIONS__DEFINITION=definition, GTM_REPORT_TIMEZONE="America/New_York",
    )  # fmt: skip
    rows = spread(random_events(rng, 80))
    for part in range(3):
        land(settings, rows[part::3], f"import-{part}")
        refresh(settings)
    result = verify(settings, PLAN)
    assert result.ok, result.first
    assert rows_of(settings, "SELECT sum(conversions) > 0 AND sum(nulls) > 0, max(touches) > 5 FROM core.paths") == [
        (True, True)
    ]


def visit(number, person, day, source, **columns):
    return event(f"v{number}", START + day * DAY, anonymous_id=person, source=source, **columns)


def paid(number, person, day, amount, currency):
    return event(
        f"p{number}", START + day * DAY + HOUR, anonymous_id=person, event_name="payment_completed", device_type="api",
        properties=json.dumps({"amount": amount, "currency": currency}),
    )  # fmt: skip


SHOP = [
    visit(1, "a", 1, "google"), visit(2, "a", 2, "facebook"), paid(1, "a", 2, 30.0, "EUR"),
    visit(3, "b", 1, "google"), paid(2, "b", 1, 10.0, "EUR"),
    visit(4, "c", 1, "facebook"), paid(3, "c", 1, 7.0, "USD"),
    visit(5, "d", 3, "facebook"),
    paid(4, "e", 5, 99.0, "EUR"),  # no session at all
]  # fmt: skip


def test_currencies_are_solved_apart_over_the_same_persons_who_did_not_pay(tmp_path):
    settings = deployment(tmp_path, WINDOWS[:1])
    land(settings, SHOP, "shop")
    refresh(settings)
    found = rows_of(
        settings,
        """SELECT currency, channel, conversions, value, removal_effect, p_conversion FROM marts.data_driven_attribution
        WHERE conversion_type = 'payment_completed' ORDER BY ALL""",
    )
    # EUR: google > facebook, google, and facebook without a payment: 2 of 3 convert. Without google a third comes to
    # facebook, and half of it converts: 1/6 of 2/3 are left. Without facebook: half of the two thirds by google.
    euro = {row[1]: row[2:] for row in found if row[0] == "EUR"}
    assert euro["(unattributed)"] == (1.0, 99.0, None, pytest.approx(2 / 3))
    assert euro["Organic Search"][2] == pytest.approx(0.75)
    assert euro["Organic Social"][2] == pytest.approx(0.5)
    assert sum(row[0] for row in euro.values()) == pytest.approx(3)
    assert sum(row[1] for row in euro.values()) == pytest.approx(139)
    # USD: facebook alone, once with and once without a payment.
    assert [row[1:] for row in found if row[0] == "USD"] == [("Organic Social", 1.0, 7.0, 1.0, 0.5)]


def test_a_person_who_pays_late_is_no_longer_one_who_did_not(tmp_path):
    settings = deployment(tmp_path, WINDOWS[:1])
    land(settings, SHOP, "shop")
    refresh(settings)
    before = rows_of(settings, "SELECT rowid, person_no, path FROM meta.person_paths")
    land(settings, [paid(9, "d", 3, 5.0, "EUR")], "late")
    refresh(settings)
    nulls = "SELECT sum(nulls) FROM core.paths WHERE conversion_type = 'payment_completed' AND model = 'markov'"
    assert rows_of(settings, nulls) == [(0,)]
    after = set(rows_of(settings, "SELECT rowid, person_no, path FROM meta.person_paths"))
    gone = {person for _, person, _ in set(before) - after}
    assert len(gone) == 1, "one person's news wrote the rows of others"
    assert verify(settings, PLAN).ok


def test_long_paths_keep_their_newest_touches(tmp_path):
    settings = deployment(tmp_path, [{"model": "markov", "lookback_hours": 500}])
    sources = ["google", "facebook", None]
    visits = [event(f"v{at}", START + at * HOUR, anonymous_id="a", source=sources[at % 3]) for at in range(150)]
    few = [event(f"w{at}", START + at * HOUR, anonymous_id="b", source=sources[at % 3]) for at in range(21)]
    land(settings, [*visits, *few, paid(1, "a", 10, 1.0, "EUR"), paid(2, "b", 10, 1.0, "EUR")], "visits")
    refresh(settings)
    names = ["Organic Search", "Organic Social", "Direct"]
    walks = {person: [names[at % 3] for at in range(n)] for person, n in (("a", 150), ("b", 21))}
    found = rows_of(
        settings, "SELECT path, touches FROM core.paths WHERE model = 'markov' AND conversions = 1 ORDER BY 2"
    )
    assert found == [(" > ".join(walks["b"]), 21), (" > ".join(walks["a"][-MOST_TOUCHES:]), MOST_TOUCHES)]


def test_the_history_gate_keeps_models_of_all_paths_absent(tmp_path):
    settings = deployment(tmp_path, WINDOWS[:1], GTM_ATTRIBUTION__MIN_HISTORY_DAYS="30")
    land(settings, SHOP, "shop")
    refresh(settings)
    assert rows_of(settings, "SELECT computed FROM marts.attribution_status") == [(False,)]
    assert rows_of(settings, "SELECT count(*) FROM marts.data_driven_attribution") == [(0,)]
    assert rows_of(settings, "SELECT count(*) > 0 FROM core.paths WHERE model = 'markov'") == [(True,)]
    open_gate = deployment(tmp_path, WINDOWS[:1])
    refresh(open_gate)
    assert rows_of(open_gate, "SELECT sum(conversions) FROM marts.data_driven_attribution") == [(pytest.approx(4.0),)]


def test_another_model_on_the_same_paths_is_solved_again(tmp_path):
    settings = deployment(tmp_path, WINDOWS[:1])
    land(settings, SHOP, "shop")
    refresh(settings)
    other = deployment(tmp_path, [{**WINDOWS[0], "removal": "fail"}])
    refresh(other)
    effects = rows_of(
        other,
        "SELECT channel, removal_effect FROM marts.data_driven_attribution WHERE currency = 'EUR' AND removal_effect IS NOT NULL ORDER BY 1",
    )
    assert effects == [("Organic Search", 1.0), ("Organic Social", 0.5)]
