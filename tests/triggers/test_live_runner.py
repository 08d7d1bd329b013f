"""What only a live runner has: a first start, a file of rules that changes, faults, people who pause, a log that is replaced."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_cases import LiveCase, record
from msgspec.structs import replace
from trigger_cases import R1, R2, R3, SECOND, actions, event, reasons, rules, us

from gtm_dagster.eventlog import Heartbeat, LogChangedError
from gtm_dagster.storage.migrations import NewerFormatError
from gtm_dagster.triggers import rule_engine
from gtm_dagster.triggers.commit_lag import CommitLag
from gtm_dagster.triggers.heard_keys import heard_keys
from gtm_dagster.triggers.live_runner import FAULTS_UNTIL_DEGRADED
from gtm_dagster.triggers.message_payload import MOST_BYTES
from gtm_dagster.triggers.rules_watch import RulesWatch
from gtm_dagster.triggers.runner_rows import rule_statuses, set_status
from gtm_dagster.triggers.trigger_db import open_trigger_db, reading_trigger_db
from gtm_dagster.triggers.trigger_event import TriggerEvent
from gtm_dagster.triggers.trigger_metrics import TriggerMetrics

EVERY = "\n  every: {on: pricing_viewed, purpose: service, do: {webhook: w}}\n"
MINUTE = 60 * SECOND


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Callable[..., LiveCase]]:
    """A case over `events.db` and `triggers.db` of one folder; a second call goes on with them."""
    cases: list[LiveCase] = []

    def make(*texts: str, **options: Any) -> LiveCase:
        cases.append(LiveCase(tmp_path, rules(*texts), **options))
        return cases[-1]

    yield make
    for case in cases:
        case.close()


def views(n: int, first: str = "10:00", person: str = "p1") -> list[TriggerEvent]:
    begin = us(first)
    return [
        replace(
            event("pricing_viewed", first, person, event_id=f"{person} {first} {number}"),
            at_us=begin + number * SECOND,
            received_us=begin + number * SECOND,
        )
        for number in range(n)
    ]


def test_the_file_is_private_and_one_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "triggers.db"
    con = open_trigger_db(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    con.execute("INSERT INTO migrations VALUES ('9999_later', '')")
    con.close()
    with pytest.raises(NewerFormatError, match="migration 9999_later"):
        open_trigger_db(path)
    with pytest.raises(NewerFormatError), reading_trigger_db(path):
        pass


def test_a_first_start_begins_at_the_end_of_the_log(tmp_path: Path, live: Callable[..., LiveCase]) -> None:
    first = live(EVERY)
    first.runner.close()
    (tmp_path / "triggers.db").unlink()
    first.log.append([record(each) for each in views(5)])
    first.now_us = us("10:01")
    first.runner = first._new()
    first.runner.drain()
    assert first.rows() == [] and first.runner.position is not None and first.runner.position.seq == 5
    first.receive(views(1, "10:02")[0])
    assert len(actions(first)) == 1


def test_a_warm_start_fills_states_and_sends_nothing_for_the_past(
    tmp_path: Path, live: Callable[..., LiveCase]
) -> None:
    case = live(EVERY, R1, R2)
    case.runner.close()
    (tmp_path / "triggers.db").unlink()
    old = event("trial_started", "09:00", "old")
    for each in (event("trial_started", "01:00", "older"), old, *views(2, "11:59:40")):
        case.log.append([record(each)])
    case.now_us = us("12:00")
    case.options["warm_us"] = 4 * 3600 * SECOND
    case.runner = case._new()
    case.runner.drain()
    assert case.messages() == [] and not any(row["outcome"] == "sent" for row in case.rows())
    case.receive(views(1, "12:00:01")[0])
    assert sorted(row["rule"] for row in case.messages()) == ["every", "pricing"], (
        "two of the three views are of the past"
    )
    assert reasons(case) == [("p1", "warm_up")] * 2
    case.advance(us("12-02 12:00"))
    assert ("old", old.event_id) in [(person, start) for person, start, _ in actions(case)]
    assert "older" not in [person for person, _, _ in actions(case)], "it was received before the time to warm up with"


def test_a_message_says_what_the_plan_calls_plain_and_nothing_of_the_person(live: Callable[..., LiveCase]) -> None:
    case = live("\n  r: {on: trial_started, servers: true, purpose: service, do: {slack: s}}\n")
    started = event("trial_started", "09:00", plan="pro", trial_days=14, nickname="ann@example.com")
    case.receive(replace(started, trace_id="a" * 32))
    (message,) = case.messages()
    payload = json.loads(message["payload"])
    assert payload["event"]["properties"] == {"plan": "pro", "trial_days": 14}
    assert payload["event"]["name"] == "trial_started" and payload["event"]["at"].startswith("2026-12-01T09:00:00")
    assert payload["trace_id"] == "a" * 32 and payload["traceparent"].startswith(f"00-{'a' * 32}-")
    assert "ann@example.com" not in str(case.messages()) + str(case.rows())
    assert (message["person"], message["status"], message["received_us"]) == ("p1", "due", started.received_us)


def test_a_message_has_at_most_20_kb_and_says_what_it_left_out(live: Callable[..., LiveCase]) -> None:
    case = live("\n  r: {on: trial_started, purpose: service, do: {slack: s}}\n")
    case.receive(event("trial_started", "09:00", plan="p" * (MOST_BYTES + 1), trial_days=14))
    (message,) = case.messages()
    assert len(message["payload"].encode()) <= MOST_BYTES
    assert json.loads(message["payload"])["event"] | {"at": 0, "received_at": 0, "id": 0} == {
        "id": 0, "name": "trial_started", "at": 0, "received_at": 0, "properties": {"trial_days": 14}, "left_out": ["plan"],
    }  # fmt: skip


def test_the_start_of_an_absence_is_in_its_message_a_day_later(live: Callable[..., LiveCase]) -> None:
    case = live(R3)
    case.receive(event("checkout_started", "10:00", cart_id="c1", cart_value=12.5))
    case.restart()
    case.advance(us("10:40"))
    (message,) = case.messages()
    payload = json.loads(message["payload"])
    assert (payload["key"], payload["event"]["name"]) == ("c1", "checkout_started")


def test_a_restart_finds_a_changed_file_and_keeps_the_rules_of_a_broken_one(tmp_path: Path, live: Callable[..., LiveCase]) -> None:  # fmt: skip
    case = live(EVERY)
    path = tmp_path / "triggers.yaml"
    path.write_text("rules:" + EVERY)
    case.watched = RulesWatch(path, case.watched.plan)  # type: ignore[assignment]
    case.restart()
    case.receive(views(1)[0])
    path.write_text("rules:\n  every: {on: nothing_of_the_plan}\n")
    case.receive(views(1, "10:01")[0])
    with reading_trigger_db(tmp_path / "triggers.db") as con:
        (error,) = con.execute("SELECT value FROM runner WHERE name = 'rules_error'").fetchone()
    assert "triggers.yaml line 2" in error and len(actions(case)) == 2
    case.restart()
    case.receive(views(1, "10:02")[0])
    assert len(actions(case)) == 3, "the rules that ran go on, also in a new process"
    path.write_text("rules:" + EVERY.replace("webhook: w", "webhook: other"))
    case.receive(views(1, "10:03")[0])
    assert [row["target"] for row in sorted(case.messages(), key=lambda row: row["decided_us"])] == [
        "w",
        "w",
        "w",
        "other",
    ]
    assert case.runner._con.execute("SELECT * FROM runner WHERE name = 'rules_error'").fetchall() == []


def test_a_paused_rule_sends_nothing_and_what_it_would_have_sent_stays_unsent(tmp_path: Path, live: Callable[..., LiveCase]) -> None:  # fmt: skip
    case = live(EVERY)
    other = open_trigger_db(tmp_path / "triggers.db")
    set_status(other, "every", "paused")
    case.receive(views(1)[0])
    set_status(other, "every", "active")
    other.close()
    case.receive(views(1, "10:01")[0])
    assert reasons(case) == [("p1", "paused")] and len(actions(case)) == 1


def raises_for(person: str, step: Callable[..., Any]) -> Callable[..., Any]:
    def raising(rule: Any, state: Any, input: Any, now: int) -> Any:
        if rule.name == "every" and getattr(input, "user_id", None) == person:
            raise ZeroDivisionError("boom")
        return step(rule, state, input, now)

    return raising


def test_a_rule_that_raises_is_recorded_stopped_at_last_and_holds_up_nobody(
    live: Callable[..., LiveCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rule_engine, "step", raises_for("bad", rule_engine.step))
    case = live(EVERY, R2)
    for number, each in enumerate(views(FAULTS_UNTIL_DEGRADED, person="bad")):
        case.receive(each)
        case.receive(views(1, f"10:1{number}", "good")[0])
    status, faults = rule_statuses(case.runner._con)["every"]
    assert (status, faults) == ("degraded", FAULTS_UNTIL_DEGRADED)
    assert [row[0:2] for row in case.runner._con.execute("SELECT rule, person FROM faults")] == [
        ("every", "bad")
    ] * faults
    assert len([person for person, _, _ in actions(case) if person == "good"]) > 3, (
        "the other rules and persons went on"
    )
    assert ("bad", "bad 10:00 2") in [(person, start) for person, start, _ in actions(case)], "of the rule that counts"
    before = len(actions(case))
    case.receive(views(1, "12:00", "good")[0])
    assert len(actions(case)) == before, "it is stopped"
    set_status(case.runner._con, "every", "active")
    case.receive(views(1, "12:01", "good")[0])
    assert len(actions(case)) == before + 1


def test_what_is_open_for_a_person_whose_rule_raised_is_not_claimed(
    live: Callable[..., LiveCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = live(R1)
    case.receive(event("trial_started", "09:00"))
    real = rule_engine.step
    broken = [True]

    def raising(rule: Any, state: Any, input: Any, now: int) -> Any:
        if broken[0]:
            raise ZeroDivisionError("boom")
        return real(rule, state, input, now)

    monkeypatch.setattr(rule_engine, "step", raising)
    case.receive(event("onboarding_completed", "10:00"))
    broken[0] = False
    case.advance(us("12-03 00:00"))
    assert actions(case) == [] and reasons(case) == [("p1", "fault")]


def test_a_log_that_does_not_go_on_from_the_position_moves_nothing_before_a_person_accepts_it(
    tmp_path: Path, live: Callable[..., LiveCase]
) -> None:
    case = live(EVERY)
    case.receive(views(1)[0])
    case.close()
    for name in ("events.db", "events.db-wal", "events.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(LogChangedError, match="another log took its place"):
        live(EVERY)


def test_three_days_asleep_is_no_burst(live: Callable[..., LiveCase]) -> None:
    case = live(R3.replace("expires: 2h", "expires: 30d"))
    for number in range(40):
        case.receive(replace(event("checkout_started", "10:00", f"u{number}", cart_id="c"), received_us=us("10:00:01")))
    case.resume([], us("12-04 10:00"))
    waits = sorted(row["next_us"] - row["decided_us"] for row in case.messages())
    assert waits == [number * 100_000 for number in range(40)], "ten a second of a channel"


def test_worth_nothing_any_more_after_three_days_asleep(live: Callable[..., LiveCase]) -> None:
    case = live(R3)
    case.receive(event("checkout_started", "10:00", cart_id="c"))
    case.resume([], us("12-04 10:00"))
    assert (case.messages(), reasons(case)) == ([], [("p1", "expired")])


def test_two_rules_wait_for_the_keys_that_report_their_own_cancelling_events(live: Callable[..., LiveCase]) -> None:
    case = live(R1, R3)
    for key, name in (("trials", "onboarding_completed"), ("shop", "payment_completed")):
        case.receive(replace(event(name, "08:00", f"somebody of {key}"), write_key=key))
    case.receive(event("checkout_started", "09:00", cart_id="c"))
    case.receive(event("trial_started", "09:00", "p2"))
    for minute in range(60):  # the shop is silent from 09:10 on
        at = us("09:00") + minute * MINUTE
        case.advance(at)
        case.log.beat("trials", at, at, write_key="trials")
        if minute < 10:
            case.log.beat("shop", at, at, write_key="shop")
        case.work()
    assert case.runner.figures.blind == {"checkout": True, "onboarding_nudge": False}
    (held,) = [row for row in case.rows() if row["outcome"] == "held"]
    assert (held["rule"], held["reason"]) == ("checkout", "blind")


def test_blind_before_a_sender_that_beats_was_heard_again_after_a_restart(live: Callable[..., LiveCase]) -> None:
    case = live(R3)
    case.heartbeat(us("09:59"))
    case.receive(event("checkout_started", "10:00", cart_id="c"))
    case.resume([], us("11:00"))
    assert actions(case) == [] and case.rows()[0]["reason"] == "blind", "the collector was not heard since 09:59"
    case.heartbeat(us("11:01"))
    case.advance(us("11:10"))
    assert [at for _, _, at in actions(case)] == [us("11:03")], "heard again, and a grace for what it had kept"


def test_a_producer_with_events_in_its_spool_has_not_said_everything() -> None:
    def beat(producer: str, ts: int, received: int, skew: int | None = None) -> Heartbeat:
        return Heartbeat(producer, ts * MINUTE, received * MINUTE, "k", None if skew is None else skew * MINUTE)

    assert heard_keys([beat("a", 100, 100), beat("b", 70, 100)]) == {"k": 70 * MINUTE}
    assert heard_keys([beat("a", 100, 100), beat("gone", 30, 30)]) == {"k": 100 * MINUTE}
    assert heard_keys([beat("a", 90, 100, skew=10)]) == {"k": 100 * MINUTE}
    assert heard_keys([beat("a", 100, 100, skew=-10)]) == {"k": 100 * MINUTE}


def test_the_log_is_kept_for_the_triggers_and_not_for_ever(live: Callable[..., LiveCase]) -> None:
    case = live(EVERY)
    case.receive(views(1)[0])
    assert case.log.committed("triggers") == 1


def test_a_timer_waits_for_the_time_a_commit_may_take(live: Callable[..., LiveCase]) -> None:
    case = live(R3)
    case.receive(event("checkout_started", "10:00", cart_id="c"))
    due_us = us("10:32")
    case.now_us = due_us + case.runner.lag.us - 1
    case.work()
    late = replace(event("payment_completed", "10:31", amount=1, currency="EUR"), received_us=due_us - 1)
    case.log.append([record(late)])
    case.now_us += 1
    case.work()
    assert actions(case) == [] and reasons(case) == [("p1", "cancelled")]


@pytest.mark.parametrize(
    ("servers", "purpose", "sends"),
    [(False, "marketing", 0), (True, "marketing", 1), (False, "service", 1)],
    ids=["not by default", "the rule says so", "what a person asked for"],
)
def test_events_of_a_server_start_marketing_where_a_rule_says_so(
    live: Callable[..., LiveCase], servers: bool, purpose: str, sends: int
) -> None:
    said = "servers: true, " if servers else ""
    case = live(f"\n  r: {{on: trial_started, {said}purpose: {purpose}, do: {{slack: s}}}}\n")
    case.receive(replace(event("trial_started", "09:00"), context={"device_type": "api"}))
    assert len(actions(case)) == sends and (sends == 1 or reasons(case) == [("p1", "server_event")])


def test_old_decisions_end_and_open_ones_stay(live: Callable[..., LiveCase]) -> None:
    from gtm_dagster.triggers.runner_rows import end_old_rows

    case = live(EVERY, R1)
    case.receive(event("trial_started", "09:00"))
    case.receive(views(1)[0])
    assert end_old_rows(case.runner._con, us("12-20 00:00"), 100) == 1
    assert [row["outcome"] for row in case.rows()] == ["open"]


def test_a_slow_disk_makes_timers_later_and_not_wrong() -> None:
    lag = CommitLag()
    assert lag.us == 50_000
    for seen, expected in ((10_000, 50_000), (400_000, 800_000), (20_000, 800_000), (9_000_000, 5_000_000)):
        lag.see(seen)
        assert lag.us == expected


def test_metrics_say_what_was_decided_and_how_the_rules_stand(live: Callable[..., LiveCase]) -> None:
    case = live(EVERY, R1, R3)
    case.heartbeat(us("09:00"))
    case.receive(event("trial_started", "09:00:30"))
    case.receive(views(1, "09:00:40")[0])
    set_status(case.runner._con, "checkout", "paused")
    case.runner.figures.error = "disk full"
    case.advance(us("09:05"))
    case.runner.figures._count_at = 0.0
    case.work()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in TriggerMetrics(case.runner.figures).collect()
        for sample in family.samples
    }
    expected = {
        ("gtm_trigger_events_total",): 2, ("gtm_trigger_actions_total", "every", "webhook"): 1,
        ("gtm_trigger_open", "onboarding_nudge"): 1, ("gtm_trigger_held", "every"): 0,
        ("gtm_trigger_paused", "checkout"): 1, ("gtm_trigger_degraded", "checkout"): 0,
        ("gtm_trigger_blind", "onboarding_nudge"): 1, ("gtm_trigger_decision_seconds_count",): 1,
        ("gtm_trigger_failing",): 1, ("gtm_trigger_rules_broken",): 0, ("gtm_trigger_lag_events",): 0,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    assert ("gtm_trigger_blind", "every") not in found, "it waits for nobody"
