"""The truth's oracle, on a life small enough to work out by hand, and against slow plain loops on random traffic."""

from collections import defaultdict
from datetime import UTC, datetime

import numpy as np
import pytest

from gtm_dagster.attribution import models, weights
from gtm_dagster.attribution.models import TOUCH_MODELS
from gtm_dagster.channels import classify
from gtm_dagster.simulator import oracle, simulate
from gtm_dagster.simulator.simulated_events import API, CODE, WEB, SimulatedEvents
from gtm_dagster.simulator.visits import DAY, HOUR, arrival_table

END = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)
MINUTE = HOUR // 60
EMAIL = next(index for index, arrival in enumerate(arrival_table()[0]) if arrival.medium == "email")
REFERRED = next(
    index for index, arrival in enumerate(arrival_table()[0]) if arrival.source is None and arrival.referrer
)


def life(*rows):
    """Simulated events of one person from (microseconds, event, arrival or -1, device, amount)."""
    rows = [(*row, WEB, np.nan)[:5] if len(row) == 3 else row for row in rows]
    n = len(rows)
    at, kind, arrival, device, amount = (np.array(column) for column in zip(*rows, strict=True))
    zero = np.zeros(n, dtype=np.int64)
    return SimulatedEvents(
        zero,
        zero,
        at + 100 * DAY,
        np.array([CODE[name] for name in kind]),
        arrival,
        device,
        zero,
        zero,
        amount,
        zero,
        zero,
    )


@pytest.mark.parametrize(
    ("second", "sessions"),
    [
        pytest.param(30 * MINUTE, 1, id="gap-of-exactly-the-timeout-continues"),
        pytest.param(30 * MINUTE + 1, 2, id="a-microsecond-more-starts-anew"),
    ],
)
def test_session_gap(second, sessions):
    events = life((0, "page_viewed", -1), (second, "page_viewed", -1))
    assert len(oracle.sessions_of(events).person) == sessions


@pytest.mark.parametrize(
    ("arrivals", "channel"),
    [
        pytest.param((REFERRED, EMAIL), "Organic Search", id="the-first-event-decides"),
        pytest.param((EMAIL, REFERRED), "Email", id="a-name-stays"),
        pytest.param((-1, EMAIL), "Email", id="a-later-event-names-one"),
        pytest.param((-1, REFERRED), "Direct", id="a-later-referrer-is-no-source"),
    ],
)
def test_the_source_of_a_session(arrivals, channel):
    rows = [(number * MINUTE, "page_viewed", arrival) for number, arrival in enumerate(arrivals)]
    sessions = oracle.sessions_of(life(*rows))
    assert [sessions.channels[code] for code in sessions.channel] == [channel]


@pytest.mark.parametrize(("paid", "channel"), [(1, "Direct"), (MINUTE, "Email")], ids=["before-it", "since-then"])
def test_a_source_counts_from_when_it_is_named(paid, channel):
    events = life(
        (0, "page_viewed", -1), *sorted([(MINUTE, "page_viewed", EMAIL), (paid, "payment_completed", -1, API, 10.0)], key=lambda row: row[0])
    )  # fmt: skip
    rows = oracle.credit(events, oracle.sessions_of(events), [("last_touch", 24.0)])
    assert [row["channel"] for row in rows] == [channel]


def test_server_events_make_no_session():
    events = life((0, "page_viewed", -1), (HOUR, "payment_completed", -1, API, 10.0), (2 * HOUR, "flag_exposed", -1))
    assert list(oracle.sessions_of(events).start_us) == [100 * DAY]


@pytest.mark.parametrize(
    ("age", "channel"),
    [
        pytest.param(24 * HOUR, "Email", id="as-old-as-the-window-counts"),
        pytest.param(24 * HOUR + 1, "(unattributed)", id="a-microsecond-older-does-not"),
        pytest.param(0, "Email", id="the-same-moment-counts"),
    ],
)
def test_lookback_boundaries(age, channel):
    events = life((0, "page_viewed", EMAIL), (age, "payment_completed", -1, API, 10.0))
    rows = oracle.credit(events, oracle.sessions_of(events), [("last_touch", 24.0)])
    assert [(row["channel"], row["conversions"], row["value"]) for row in rows] == [(channel, 1.0, 10.0)]


def test_funnel_is_ordered():
    events = life(
        (0, "onboarding_completed", -1),
        (1, "page_viewed", -1),
        (2, "signup_completed", -1),
        (3, "first_value_reached", -1),
    )
    rows = oracle.funnel(events, np.array([0]), ("Direct",))
    assert [(row["stage"], row["persons"]) for row in rows] == [("acquired", 1), ("signed_up", 1)]


# The simulator plants no stages, and a data-driven model has no shares of one conversion.
PLANTED = [name for name in TOUCH_MODELS if not models.model(name).needs_stages]
WINDOWS = [(model, hours) for model in PLANTED for hours in (24.0, 168.0)] + [("inverse_age", 72.0)]


def test_credit_and_sessions_equal_plain_loops_over_the_rows():
    """From the table alone: persons by their ids, sessions and touches one event at a time."""
    traffic = simulate(8_000, 31, 5, END, windows=WINDOWS)
    rows = {
        row["event_id"]: row for row, label in zip(traffic.events.to_pylist(), traffic.label, strict=True) if label < 2
    }
    owner = {row["anonymous_id"]: row["user_id"] for row in rows.values() if row["user_id"] and row["anonymous_id"]}
    lives = defaultdict(list)
    for row in rows.values():
        lives[row["user_id"] or owner.get(row["anonymous_id"]) or row["anonymous_id"]].append(row)
    assert len(lives) == traffic.truth["persons"]

    total, count = defaultdict(float), 0
    for events_of_person in lives.values():
        events_of_person.sort(key=lambda row: (row["timestamp"], row["event_id"]))
        sessions, last = [], None
        for row in events_of_person:
            if row["device_type"] == "api" or row["event_name"] == "flag_exposed":
                continue
            first = last is None or (row["timestamp"] - last).total_seconds() > 1800
            if first:
                sessions.append([row["timestamp"], None, None])
            last = row["timestamp"]
            touch = classify(row["source"], row["medium"], row["campaign"], row["referrer"], row["click_id"])
            if sessions[-1][1] is None and (touch.rank == 1 or (first and touch.rank == 2)):
                sessions[-1][1:] = touch, row["timestamp"]
        count += len(sessions)
        for row in events_of_person:
            if row["event_name"] not in ("signup_completed", "payment_completed"):
                continue
            for model, hours in WINDOWS:
                ages = [
                    ((row["timestamp"] - start).total_seconds() / 3600, touch if touch and known <= row["timestamp"] else None)
                    for start, touch, known in sessions
                ]  # fmt: skip
                ages = [(age, touch.channel if touch else "Direct") for age, touch in ages if 0 <= age <= hours]
                channels = [channel for _, channel in ages]
                is_direct = [channel == "Direct" for channel in channels]
                shares = weights(model, [age for age, _ in ages], is_direct=is_direct, channels=channels)
                for (_, channel), share in zip(ages, shares, strict=True):
                    total[row["event_name"], model, hours, channel] += share
                if not ages:
                    total[row["event_name"], model, hours, "(unattributed)"] += 1
    assert count == traffic.truth["sessions"]

    planted = defaultdict(float)
    for row in traffic.truth["credit"]:
        planted[row["conversion_type"], row["model"], row["window_hours"], row["channel"]] += row["conversions"]
    assert planted == pytest.approx({key: value for key, value in total.items() if value}, abs=1e-9)


def test_every_window_holds_every_conversion_once():
    windows = [window for window in WINDOWS if models.model(window[0]).conserves]
    truth = simulate(8_000, 31, 5, END, windows=windows).truth
    sums = defaultdict(lambda: [0.0, 0.0])
    for row in truth["credit"]:
        cell = sums[row["conversion_type"], row["model"], row["window_hours"]]
        cell[0] += row["conversions"]
        cell[1] += row["value"] or 0.0
    for kind in ("signup_completed", "payment_completed"):
        of_kind = [cell for (name, _, _), cell in sums.items() if name == kind]
        assert len(of_kind) == len(windows)
        assert of_kind == pytest.approx(np.array([of_kind[0]] * len(windows)))
    revenue = sum(sum(row["revenue"].values()) for row in truth["channels"].values())
    assert sums["payment_completed", "first_touch", 24.0][1] == pytest.approx(revenue)


def test_retention_starts_full_and_has_every_week():
    rows = simulate(8_000, 31, 5, END).truth["retention"]
    cohorts = sorted({row["cohort"] for row in rows})
    assert all(datetime.fromisoformat(cohort).weekday() == 0 for cohort in cohorts)
    for number, cohort in enumerate(cohorts):
        mine = [row for row in rows if row["cohort"] == cohort]
        assert [row["period"] for row in mine] == list(range(len(cohorts) - number))
        assert mine[0]["retained"] == mine[0]["persons"]
