"""Messages of triggers reach their destinations: when they are tried again, what ends them, what consent and clocks change."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hostile_servers import Receiver, answering, in_turn
from message_cases import HOUR, SECOND, SECRET, START, bench, message, put, rows, statuses, webhook

from gtm_dagster.delivery.retry_schedule import JITTER, WAITS_SECONDS, Pace, wait_us
from gtm_dagster.delivery.signatures import signature, signing_keys
from gtm_dagster.triggers.consent_at_delivery import refused_meanwhile
from gtm_dagster.triggers.person_profile import Given, Profile
from gtm_dagster.triggers.trigger_tables import SCHEMA


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "triggers.db"


# Scenario T25: what a receiver answers


def test_scenario_25_a_failing_receiver_is_tried_by_the_schedule_under_one_id(path: Path) -> None:
    with Receiver(in_turn(*[answering(500)] * 3, answering(200))) as receiver:
        put(path, message("a1"))
        with bench(path, [webhook("crm", receiver.url)]) as work:
            times = work.run_to(START + 24 * HOUR)
        assert statuses(path) == {"a1": ("delivered", 4, None)}
        gaps = [(later - earlier) / SECOND for earlier, later in pairwise(times)]
        assert [wait <= gap <= wait * (1 + JITTER) for wait, gap in zip((5, 300, 1800), gaps, strict=True)] == [
            True
        ] * 3
        assert set(receiver.ids) == {"a1"}
        stamps = [headers["webhook-timestamp"] for _, headers, _ in receiver.requests]
        assert stamps == [str(time // SECOND) for time in times] and len(set(stamps)) == 4
        for _, headers, body in receiver.requests:
            expected = signature(signing_keys(SECRET), "a1", int(headers["webhook-timestamp"]), body)
            assert headers["webhook-signature"] == expected
        assert [row[:3] for row in rows(path, "SELECT n, outcome, answer, at_us FROM attempts ORDER BY n")] == [
            (1, "failed", 500), (2, "failed", 500), (3, "failed", 500), (4, "delivered", 200),
        ]  # fmt: skip


def test_scenario_25_410_disables_the_destination_with_an_alert(path: Path) -> None:
    with Receiver(answering(410)) as receiver:
        put(path, message("a1"), message("a2", decided_us=START + SECOND))
        with bench(path, [webhook("crm", receiver.url)]) as work:
            work.run_to(START + 24 * HOUR)
            assert [name for name, _ in work.alerts] == ["crm"]
            assert "it takes no more messages and is disabled" in work.alerts[0][1]
        assert len(receiver.requests) == 1
        assert statuses(path) == {
            "a1": ("dead", 1, "answered 410"), "a2": ("dead", 0, "crm is disabled: it answered 410"),
        }  # fmt: skip
        with bench(path, [webhook("crm", receiver.url)]) as later:
            put(path, message("a3"))
            later.round()
        assert len(receiver.requests) == 1, "another process does not ask again either"


def test_an_alert_that_cannot_be_sent_costs_no_message(path: Path) -> None:
    def failing(name: str, words: str) -> None:
        raise RuntimeError("the ops store is gone")

    with Receiver(answering(410)) as receiver:
        put(path, message("a1"))
        with bench(path, [webhook("crm", receiver.url)], alert=failing) as work:
            work.round()
    assert statuses(path) == {"a1": ("dead", 1, "answered 410")}


def test_scenario_25_429_waits_at_least_as_long_as_it_asks_and_so_do_the_others(path: Path) -> None:
    with Receiver(in_turn(answering(429, Retry_After="7"), answering(200))) as receiver:
        put(path, message("a1"))
        with bench(path, [webhook("crm", receiver.url)]) as work:
            work.round()
            put(path, message("a2"))
            work.now_us = START + 6_999_999
            work.round()
            assert len(receiver.requests) == 1, "the destination, not the message, is throttled"
            assert rows(path, "SELECT next_us - ? FROM outbox WHERE action_id = 'a1'", START)[0][0] >= 7 * SECOND
            work.run_to(START + 60 * SECOND)
        assert {status for status, *_ in statuses(path).values()} == {"delivered"}


def test_scenario_25_a_redirect_is_a_failure_and_not_followed(path: Path) -> None:
    with Receiver(answering(302, Location="/ok")) as receiver:
        put(path, message("a1"))
        with bench(path, [webhook("crm", receiver.url)]) as work:
            work.round()
        assert [place for place, _, _ in receiver.requests] == ["/hook"]
    assert statuses(path) == {"a1": ("due", 1, "answered 302")}


def test_what_nobody_takes_is_dead_after_ten_attempts_in_three_days(path: Path) -> None:
    assert 72 <= sum(WAITS_SECONDS) / 3600 <= 84
    with Receiver(answering(500)) as receiver:
        put(path, message("a1"))
        with bench(path, [webhook("crm", receiver.url)]) as work:
            work.run_to(START + 20 * 24 * HOUR)
            assert work.counted[-1] == ("crm", "dead", "a1")
        assert len(receiver.requests) == len(WAITS_SECONDS) + 1
    assert statuses(path) == {"a1": ("dead", 10, "answered 500")}


def test_jitter_keeps_what_failed_together_apart_and_is_the_same_for_the_same_message() -> None:
    waits = {wait_us(f"a{n}", 1) for n in range(100)}
    assert len(waits) > 90 and min(waits) >= 5 * SECOND and max(waits) <= 6 * SECOND
    assert wait_us("a1", 3) == wait_us("a1", 3) and wait_us("a1", 10) is None
    assert wait_us("a1", 1, 100.0) == 100 * SECOND


# Scenario T13: consent between the decision and the sending


def give(path: Path, person: str, *given: Given) -> None:
    with closing(sqlite3.connect(path)) as con:
        con.executescript(SCHEMA)
        with con:
            con.execute(
                "INSERT INTO persons (person, profile) VALUES (?, ?) ON CONFLICT (person) DO UPDATE SET profile = excluded.profile",
                (person, msgspec.msgpack.encode(Profile(given))),
            )


def test_scenario_13b_consent_withdrawn_while_the_receiver_was_down_is_asked_again(path: Path) -> None:
    give(path, "p1", Given(START, False, "marketing"))
    with Receiver(in_turn(answering(503), answering(200))) as receiver:
        put(path, message("a1", purpose="marketing"))
        with bench(path, [webhook("crm", receiver.url)], allowed=refused_meanwhile) as work:
            work.round()
            assert statuses(path)["a1"] == ("due", 1, "answered 503")
            give(path, "p1", Given(START + 300 * SECOND, True, "marketing"))
            work.run_to(START + HOUR)
            assert work.counted[-1] == ("crm", "suppressed", "a1")
        assert len(receiver.requests) == 1, "never called after it was back"
    assert statuses(path) == {"a1": ("suppressed", 1, "consent")}


@pytest.mark.parametrize(
    ("person", "purpose", "sent"),
    [
        ("p1", "marketing", True), ("p1", "analytics", False), ("p1", "service", True), ("nobody", "marketing", False),
        ("nobody", "service", True), ("anonymous", "marketing", True),
    ],
)  # fmt: skip
def test_consent_is_that_of_the_purpose_and_of_whom_the_id_belongs_to_now(
    path: Path, person: str, purpose: str, sent: bool
) -> None:
    give(path, "p1", Given(START, False, "marketing"))
    with closing(sqlite3.connect(path)) as con, con:
        con.execute("INSERT INTO links VALUES ('anonymous', 'p1')")
    with Receiver(answering(200)) as receiver:
        put(path, message("a1", person=person, purpose=purpose))
        with bench(path, [webhook("crm", receiver.url)], allowed=refused_meanwhile) as work:
            work.round()
        assert bool(receiver.requests) is sent


# What ends a message besides


def test_a_message_that_it_is_too_late_for_is_not_sent(path: Path) -> None:
    with Receiver(answering(500)) as receiver:
        put(path, message("a1", expires_us=START + 60 * SECOND), message("late", expires_us=START))
        with bench(path, [webhook("crm", receiver.url)]) as work:
            work.run_to(START + HOUR)
        assert receiver.ids == ["a1", "a1"]
    assert {key: row[0] for key, row in statuses(path).items()} == {"a1": "expired", "late": "expired"}


def test_a_message_of_a_disabled_or_throttled_destination_expires_in_time(path: Path) -> None:
    with Receiver(answering(429, Retry_After="80000")) as receiver:
        put(path, message("a1", expires_us=START + HOUR))
        with bench(path, [webhook("crm", receiver.url)]) as work:
            work.round()
            put(path, message("a2", expires_us=START + HOUR))
            work.now_us = START + 2 * HOUR
            work.round()
            assert len(receiver.requests) == 1
            assert work.counted[1:] == [("crm", "expired", "a1"), ("crm", "expired", "a2")]
    assert {row[0] for row in statuses(path).values()} == {"expired"}


def test_a_message_of_no_declared_destination_waits_for_one(path: Path) -> None:
    with Receiver(answering(200)) as receiver:
        put(path, message("a1", target="crmm"))
        with bench(path, [webhook("crm", receiver.url)]) as work:
            work.round()
            status, attempts, error = statuses(path)["a1"]
            assert (status, attempts) == ("due", 1)
            assert error == "'crmm' is not a destination of kind webhook; did you mean crm? (known: crm); declare it under [[destinations]]"  # fmt: skip
        with bench(path, [webhook("crmm", receiver.url)]) as mended:
            mended.now_us = START + 10 * SECOND
            mended.round()
    assert statuses(path)["a1"][0] == "delivered"


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"secret_env": "OTHER"}, "no secret to sign with: set OTHER"),
        ({"secret_env": "BAD"}, "BAD: secret 1 does not begin with whsec_"),
        ({"url": None, "url_env": "HOOK"}, "no address: set HOOK"),
        ({"allow": ()}, "127.0.0.1 is loopback"),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_sent(path: Path, given: dict[str, object], error: str) -> None:
    with Receiver(answering(200)) as receiver:
        put(path, message("a1"))
        destination = msgspec.structs.replace(webhook("crm", receiver.url), **given)
        with bench(path, [destination], environ={"SECRET": SECRET, "BAD": "geheim"}) as work:
            work.round()
        assert receiver.connections == 0
    assert error in (statuses(path)["a1"][2] or "") and "geheim" not in str(statuses(path))


def test_the_body_says_what_happened_and_to_whom(path: Path) -> None:
    with Receiver(answering(200)) as receiver:
        put(path, message("a1"))
        with bench(path, [webhook("crm", receiver.url)]) as work:
            work.round()
        (_, headers, body) = receiver.requests[0]
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {
        "type": "trigger.nudge", "timestamp": "2026-12-01T00:00:00Z",
        "data": {"rule": "nudge", "person": "p1", "purpose": "service", "key": None, "due_at": "2026-12-01T00:00:00Z",
                 "event": {"id": "e-a1", "name": "trial_started", "properties": {"plan": "pro"}}},
    }  # fmt: skip


# Pace and circuit


def test_a_backlog_drains_at_the_rate_of_the_destination(path: Path) -> None:
    with Receiver(answering(200)) as receiver:
        put(path, *(message(f"a{n:02}") for n in range(12)))
        with bench(path, [webhook("crm", receiver.url, per_second=2.0, in_flight=8)]) as work:
            sent = []
            for tenth in range(51):
                work.now_us = START + tenth * SECOND // 10
                work.round()
                sent.append(len(receiver.requests))
    assert [sent[tenth] for tenth in (0, 4, 5, 10, 20, 50)] == [2, 2, 3, 4, 6, 12]


def test_a_destination_that_fails_five_times_is_left_alone_and_then_asked_once(path: Path) -> None:
    with Receiver(in_turn(*[answering(500)] * 6, answering(200))) as receiver:
        put(path, *(message(f"a{n:02}") for n in range(20)))
        with bench(path, [webhook("crm", receiver.url, in_flight=1)]) as work:
            for _ in range(30):
                work.round()
            assert len(receiver.requests) == 5, "the circuit is open"
            work.now_us = START + 29 * SECOND
            work.round()
            assert len(receiver.requests) == 5
            work.now_us = START + 31 * SECOND
            work.round()
            work.round()
            assert len(receiver.requests) == 6, "one probe, which failed"
            work.now_us = START + 60 * SECOND
            work.round()
            assert len(receiver.requests) == 6, "and the pause is longer"
            work.now_us = START + 92 * SECOND
            for _ in range(30):
                work.round()
            assert len(receiver.requests) > 20, "the probe was answered: the circuit is closed"


@pytest.mark.parametrize(("failures", "pause"), [(5, 30), (6, 60), (9, 480), (10, 600), (1000, 600)])
def test_the_pause_of_an_open_circuit_grows_to_ten_minutes(failures: int, pause: int) -> None:
    pace = Pace(10.0, 4, failures=failures - 1)
    assert pace.failed(START) and pace.open_until_us == START + pause * SECOND


def test_a_message_with_a_fault_of_its_own_does_not_open_the_circuit(path: Path, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "bad.j2").write_text("{{ properties.nothing }}")
    (tmp_path / "templates" / "good.j2").write_text("{{ properties.plan }}")
    with Receiver(answering(200)) as receiver:
        bad = [message(f"b{n}", channel="slack", target="bad.j2", collapse_key=f"k{n}") for n in range(8)]
        put(path, *bad, message("good", channel="slack", target="good.j2"))
        with bench(path, [webhook("sales", receiver.url, kind="slack")]) as work:
            for _ in range(5):
                work.round()
        assert receiver.documents == [{"text": "pro"}]
    assert "'dict object' has no attribute 'nothing'" in (statuses(path)["b1"][2] or "")
