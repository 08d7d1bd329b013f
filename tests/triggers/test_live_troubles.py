"""What goes wrong around a live runner: rules that raise, senders that are silent, a slow disk, a log that is replaced, days of sleep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live_cases import FixedRules, LiveCase, record, views
from msgspec.structs import replace
from trigger_cases import R1, R2, R3, SECOND, actions, event, reasons, rules, us

from gtm_dagster.chaos.processes import until
from gtm_dagster.eventlog import Heartbeat, LogChangedError
from gtm_dagster.eventlog.receipts import Receipts
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.triggers import rule_engine
from gtm_dagster.triggers.commit_lag import CommitLag
from gtm_dagster.triggers.heard_keys import heard_keys
from gtm_dagster.triggers.live_runner import FAULTS_UNTIL_DEGRADED, LiveRunner, machine_clock
from gtm_dagster.triggers.runner_rows import rule_statuses, set_status
from gtm_dagster.triggers.runner_thread import RunnerThread
from gtm_dagster.triggers.trigger_db import TriggerDbError
from gtm_dagster.triggers.trigger_metrics import TriggerMetrics

EVERY = "\n  every: {on: pricing_viewed, purpose: service, do: {webhook: w}}\n"
MINUTE = 60 * SECOND


def raises_for(person: str, step: Callable[..., Any]) -> Callable[..., Any]:
    def raising(rule: Any, state: Any, input: Any, now: int) -> Any:
        if rule.name == "every" and getattr(getattr(input, "event", input), "user_id", None) == person:
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


def test_a_timer_waits_for_what_was_received_before_it_and_is_not_committed(live: Callable[..., LiveCase]) -> None:
    case = live(R3)
    case.receive(event("checkout_started", "10:00", cart_id="c"))
    case.receive(event("checkout_started", "10:00", person="p2", cart_id="d"))
    due_us = us("10:32")
    late = replace(event("payment_completed", "10:31", amount=1, currency="EUR"), received_us=due_us - 1)
    case.now_us = due_us - 1
    case.work()
    of_a_process = Receipts(case.log.path, clock=lambda: due_us - 1)
    with of_a_process.receiving():
        case.now_us = due_us + SECOND
        case.log.append([record(event("page_viewed", "10:32:00"))])  # another process was faster
        case.work()
        assert actions(case) == []
        case.log.append([record(late)])
        case.work()
        assert actions(case) == [] and reasons(case) == [("p1", "cancelled")]
    case.work()
    assert [person for person, _, _ in actions(case)] == ["p2"]
    of_a_process.close()


def test_a_timer_between_two_records_waits_for_the_one_received_first(live: Callable[..., LiveCase]) -> None:
    case = live(R3)
    case.receive(event("checkout_started", "10:00", cart_id="c"))
    due_us = us("10:32")
    late = replace(event("payment_completed", "10:31", amount=1, currency="EUR"), received_us=due_us - 1)
    case.now_us = due_us + 2 * SECOND
    case.log.append([record(event("page_viewed", "10:32:01")), record(late)])
    case.work()
    assert actions(case) == [] and reasons(case) == [("p1", "cancelled")]


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


def test_a_thread_outlives_a_failure_and_follows_the_log(tmp_path: Path) -> None:
    attempts: list[int] = []
    with SqliteEventLog(tmp_path / "events.db") as log:

        def make() -> LiveRunner:
            attempts.append(1)
            if len(attempts) == 1:
                raise TriggerDbError("the disk is full")
            return LiveRunner(log, log.path, tmp_path / "triggers.db", FixedRules(rules(EVERY)))  # type: ignore[arg-type]

        with RunnerThread(make) as thread:
            assert until(lambda: thread.figures.error == "the disk is full", 30)
            assert until(lambda: bool(thread.figures.statuses), 60), "it was tried again"
            now = machine_clock()
            log.append([record(replace(views(1)[0], at_us=now, received_us=now))])
            assert until(lambda: sum(thread.figures.actions.values()) == 1, 60)
            assert thread.figures.error is None
        assert log.committed("triggers") == 1
