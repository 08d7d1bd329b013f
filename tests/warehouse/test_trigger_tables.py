"""What rules decided, as the tables have it: every decision once, what became of its message, and the effect of a holdout."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from warehouse_cases import DAY, START, event, land, refresh, settings_for

from gtm_dagster.attribution.share_intervals import difference_interval, share_interval
from gtm_dagster.delivery.message_outbox import Message, add_messages
from gtm_dagster.settings import Settings
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.runner_rows import store_rules
from gtm_dagster.triggers.trigger_db import open_trigger_db, trigger_db_path
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.publishing import publish
from gtm_dagster.warehouse.serving import query

HOUR = 3_600_000_000
RULE = Rule(
    "nudge", "trial_started", "absent", "email", "nudge.md.j2", "marketing", within_us=DAY,
    absent_event="onboarding_completed", goal="onboarding_completed", goal_within_us=2 * DAY,
)  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path)


def decide(con: sqlite3.Connection, person: str, reason: str | None, at_us: int, **more: Any) -> None:
    """A start of `person` that was decided at `at_us`: sent without a reason."""
    action = f"action-{person}"
    con.execute(
        "INSERT OR REPLACE INTO occurrences (rule, trigger_event_id, person, key, outcome, reason, action_id, started_us, "
        "due_us, received_us, decided_us, wall_us) VALUES ('nudge', ?, ?, '', ?, ?, ?, ?, ?, NULL, ?, ?)",
        (
            f"start-{person}", person, "not_sent" if reason else "sent", reason, None if reason else action,
            at_us - DAY, at_us, at_us, at_us + 2_000_000,
        ),
    )  # fmt: skip
    if reason is None:
        message = Message(
            action_id=action, rule="nudge", person=person, purpose="marketing", channel="email", target="nudge.md.j2",
            payload={}, expires_us=at_us + DAY, received_us=at_us, decided_us=at_us,
        )  # fmt: skip
        add_messages(con, [message])


def rows(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    with opened(settings.warehouse_path, settings) as con:
        return con.execute(statement).fetchall()


DECISIONS = "SELECT person, outcome, reason, delivery, attempts FROM marts.trigger_decisions ORDER BY person"


def test_a_decision_stands_once_and_follows_its_message(settings: Settings) -> None:
    land(settings, [event("e1", START, user_id="a")], "b1")
    refresh(settings)
    assert rows(settings, DECISIONS) == [], "no rule ever ran"
    with open_trigger_db(trigger_db_path(settings.state_dir)) as con:
        decide(con, "a", None, START)
        decide(con, "b", "capped", START + HOUR)
    refresh(settings)
    assert rows(settings, DECISIONS) == [("a", "sent", None, "due", 0), ("b", "not_sent", "capped", None, None)]
    with open_trigger_db(trigger_db_path(settings.state_dir)) as con:
        con.execute("UPDATE outbox SET status = 'delivered', attempts = 2, ended_us = ?", (START + 5_000_000,))
        decide(con, "c", "holdout", START + 60 * DAY)
    refresh(settings)
    assert [row[:4] for row in rows(settings, DECISIONS)] == [
        ("a", "sent", None, "delivered"), ("b", "not_sent", "capped", None), ("c", "not_sent", "holdout", None),
    ]  # fmt: skip
    assert rows(
        settings, "SELECT decision_seconds, delivery_seconds FROM marts.trigger_decisions WHERE person = 'a'"
    ) == [(2.0, 5.0)]


def test_readers_get_decisions_although_no_event_is_new(settings: Settings) -> None:
    land(settings, [event("e1", START, user_id="a")], "b1")
    for person in ("a", "b"):
        with open_trigger_db(trigger_db_path(settings.state_dir)) as con:
            decide(con, person, None, START)
        refresh(settings)
        with opened(settings.warehouse_path, settings) as con:
            assert not publish(con, settings).changed, "the refresh has published it, and nothing is new since"
        assert (person,) in query(settings, "SELECT person FROM marts.trigger_decisions")[1]


def test_rows_that_left_the_state_leave_the_table(settings: Settings) -> None:
    land(settings, [event("e1", START, user_id="a")], "b1")
    with open_trigger_db(trigger_db_path(settings.state_dir)) as con:
        for person in ("a", "b"):
            decide(con, person, None, START)
    refresh(settings)
    with open_trigger_db(trigger_db_path(settings.state_dir)) as con:
        con.execute("DELETE FROM occurrences WHERE person = 'a'")
    refresh(settings)
    assert [row[0] for row in rows(settings, DECISIONS)] == ["b"]
    trigger_db_path(settings.state_dir).unlink()
    refresh(settings)
    assert rows(settings, DECISIONS) == []


def test_the_effect_is_of_persons_whose_time_is_over_by_everything_they_are_known_by(settings: Settings) -> None:
    decided = START + DAY
    events = [event("end", START + 20 * DAY, user_id="z")]
    with open_trigger_db(trigger_db_path(settings.state_dir)) as con:
        store_rules(con, [RULE])
        for n in range(10):  # 10 with a message, 6 reach the goal in time; one more too late, one before
            decide(con, f"m{n}", None, decided)
            if n < 6:
                events.append(event(f"g{n}", decided + HOUR, user_id=f"m{n}", event_name="onboarding_completed"))
        events.append(event("late", decided + 3 * DAY, user_id="m7", event_name="onboarding_completed"))
        events.append(event("early", decided - HOUR, user_id="m8", event_name="onboarding_completed"))
        decide(con, "capped", "capped", decided)  # belongs to those who would have got one
        decide(con, "cancelled", "cancelled", decided)  # nobody would have got one
        for n in range(5):
            decide(con, f"h{n}", "holdout", decided)
        events.append(event("hg", decided + HOUR, user_id="h0", event_name="onboarding_completed"))
        # a browser that became a user: its message is the user's, and so is the goal
        decide(con, "browser", None, decided)
        events.append(event("who", START, user_id="u", anonymous_id="browser"))
        events.append(event("ug", decided + 2 * HOUR, user_id="u", event_name="onboarding_completed"))
        decide(con, "young", None, START + 19 * DAY)
    land(settings, events, "b1")
    refresh(settings)
    found = rows(
        settings,
        "SELECT arm, persons, converted, persons_open, effect, effect_low, effect_high FROM marts.trigger_effects ORDER BY arm",
    )
    message, holdout = found[1], found[0]
    assert message[:4] == ("message", 12, 7, 1)
    assert holdout == ("holdout", 5, 1, 0, None, None, None)
    assert message[4] == pytest.approx(7 / 12 - 1 / 5)
    assert message[5:] == pytest.approx(difference_interval(12, 7, 5, 1))


@pytest.mark.parametrize(
    ("n", "k", "other_n", "other_k", "low", "high"),
    [  # Newcombe 1998, table II, method 10
        (70, 56, 80, 48, 0.0524, 0.3339),
        (10, 9, 10, 3, 0.1705, 0.8090),
        (56, 5, 29, 0, -0.0381, 0.1926),
        (10, 10, 10, 0, 0.6075, 1.0),
    ],
)
def test_the_interval_of_a_difference_is_the_published_one(
    n: int, k: int, other_n: int, other_k: int, low: float, high: float
) -> None:
    assert difference_interval(n, k, other_n, other_k) == pytest.approx((low, high), abs=5e-4)


def test_nothing_known_is_everything_possible() -> None:
    assert share_interval(0, 0) == (0.0, 1.0)
    assert difference_interval(0, 0, 5, 1) == (-1.0, 1.0)
