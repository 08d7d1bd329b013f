"""What only a live runner has: a first start, a file of rules that changes, faults, people who pause, a log that is replaced."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from live_cases import LiveCase, record, views
from msgspec.structs import replace
from trigger_cases import R1, R2, R3, SECOND, actions, event, reasons, us

from gtm_dagster.storage.migrations import NewerFormatError
from gtm_dagster.triggers import trigger_db
from gtm_dagster.triggers.message_payload import MOST_BYTES
from gtm_dagster.triggers.rules_watch import RulesWatch
from gtm_dagster.triggers.runner_rows import set_status
from gtm_dagster.triggers.trigger_db import open_trigger_db, reading_trigger_db

EVERY = "\n  every: {on: pricing_viewed, purpose: service, do: {webhook: w}}\n"
MINUTE = 60 * SECOND


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


def test_decisions_of_an_older_version_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "triggers.db"
    monkeypatch.setattr(trigger_db, "MIGRATIONS", trigger_db.MIGRATIONS[:3])
    con = open_trigger_db(path)
    columns = [row[1] for row in con.execute("PRAGMA table_info(occurrences)")]
    names = ", ".join(columns)
    row = tuple(f"{name} {n}" for n, name in enumerate(columns))
    con.execute(f"INSERT INTO occurrences ({names}) VALUES ({', '.join('?' * len(row))})", row)
    con.close()
    monkeypatch.undo()
    con = open_trigger_db(path)
    assert con.execute(f"SELECT {names} FROM occurrences").fetchall() == [row]
    assert {name for (name,) in con.execute("SELECT name FROM sqlite_master WHERE tbl_name = 'occurrences'")} == {
        "occurrences", "occurrences_person", "occurrences_decided", "occurrences_pending", "occurrences_sent",
    }  # fmt: skip
    con.close()


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


def test_the_log_is_kept_for_the_triggers_and_not_for_ever(live: Callable[..., LiveCase]) -> None:
    case = live(EVERY)
    case.receive(views(1)[0])
    assert case.log.committed("triggers") == 1


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
