"""The page of rules: live where they run, published decisions beside it, and an answer for one person."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

from dashboard_cases import LAST, dashboard, publish, settings_in, small

from gtm_dagster.delivery.message_outbox import Message, add_messages
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.runner_rows import store_rules
from gtm_dagster.triggers.sharded.shard_ledger import ShardLedger
from gtm_dagster.triggers.sharded.shard_meta import FAULTS_UNTIL_STOPPED, Meta
from gtm_dagster.triggers.trigger_db import open_trigger_db, trigger_db_path

RULE = Rule("nudge", "trial_started", "event", "email", "nudge.md.j2", "marketing")
NOON = datetime(LAST.year, LAST.month, LAST.day, 12)  # noqa: DTZ001 - as the tables have it
DECISION = {"rule": "nudge", "channel": "email", "decided_wall_at": NOON, "decided_at": NOON, "started_at": NOON}
CELLS = {
    **small(3),
    "marts.trigger_decisions": [
        {**DECISION, "person": "ana", "trigger_event_id": "1", "outcome": "sent", "delivery": "delivered", "decision_seconds": 0.04},
        {**DECISION, "person": "bo", "trigger_event_id": "2", "outcome": "not_sent", "reason": "no_consent"},
    ],
    "marts.trigger_effects": [
        {"rule": "nudge", "goal": "paid", "goal_hours": 24.0, "arm": "message", "persons": 10, "converted": 5, "effect": 0.25},
    ],
}  # fmt: skip


def test_a_person_who_got_nothing_is_told_apart_from_one_who_did(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    publish(settings.serving_path, CELLS)
    with dashboard(settings) as client:
        page = client.get("/triggers").text
        bo, nobody = client.get("/triggers?person=bo").text, client.get("/triggers?person=cy").text
        csv = client.get("/chart/messages_by_day.csv").text.splitlines()
    assert csv[1] == f"{LAST},1,1,0,1"
    assert "the person did not consent to the purpose" in page and "No rule has run yet." in page
    assert "no_consent" in bo.partition("One person")[2]
    assert "No start of <bdi>cy</bdi> is published" in nobody


def test_rules_stand_as_they_run_and_a_stopped_one_says_what_to_do(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    publish(settings.serving_path, small(3))
    with open_trigger_db(trigger_db_path(settings.state_dir)) as con:
        store_rules(con, [RULE])
        con.execute(
            "INSERT INTO occurrences (rule, trigger_event_id, person, key, outcome, started_us, decided_us, wall_us) "
            "VALUES ('nudge', 'e', 'p', '', 'open', ?, ?, ?)",
            [time.time_ns() // 1000] * 3,
        )
        ledger = ShardLedger(con)
        ledger.begin(0)
        stopped = {"nudge": FAULTS_UNTIL_STOPPED}
        ledger.standing({
            0: Meta(faults=stopped, worker="host.1", committed_us=time.time_ns() // 1000, timers=1234),
            1: Meta(worker="host.2", committed_us=1),
        })  # fmt: skip
    with dashboard(settings) as client:
        page = client.get("/triggers").text
    assert "degraded" in page and "gtm trigger resume nudge" in page
    assert "Outbox: empty" in page
    shards = page.partition('aria-label="Shards, table"')[2]
    assert "host.1" in shards and "1,234" in shards and shards.count("silent") == 2, "one, and what to look for"


def test_a_state_of_a_newer_version_is_named(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with open_trigger_db(trigger_db_path(settings.state_dir)) as con:
        con.execute("INSERT INTO migrations VALUES ('9999_tomorrow', '')")
    with dashboard(settings) as client:
        page = client.get("/triggers").text
    assert "The state of the rules cannot be read." in page and "newer" in page


def test_the_newest_messages_are_live_with_how_fast_they_went(tmp_path: Path) -> None:
    settings, now = settings_in(tmp_path), time.time_ns() // 1000
    publish(settings.serving_path, small(3))
    occurrence = (
        "INSERT INTO occurrences (rule, trigger_event_id, person, key, outcome, action_id, started_us, due_us, received_us, "
        "decided_us, wall_us) VALUES (?, ?, ?, '', ?, ?, ?, ?, ?, ?, ?)"
    )
    with closing(open_trigger_db(trigger_db_path(settings.state_dir))) as con, con:
        store_rules(con, [RULE])
        for n in range(25):
            at = now + n * 1_000_000
            con.execute(occurrence, ("nudge", f"e{n}", f"p{n}x", "sent", f"a{n}", at, None, at, at, at + 40_000))
            add_messages(con, [sent(f"a{n}", f"p{n}x", at)])
        con.execute(occurrence, ("nudge", "none", "p99x", "not_sent", None, now, None, now, 2**60, 2**60))
        con.execute("UPDATE outbox SET status = 'delivered', ended_us = received_us + 71000 WHERE action_id = 'a24'")
        con.execute("UPDATE outbox SET attempts = 1, last_error = 'answered 500' WHERE action_id = 'a23'")
        con.execute("DELETE FROM outbox WHERE action_id = 'a22'")
        later = now + 30_000_000
        con.execute(occurrence, ("nudge", "late", "p50x", "sent", "gone", now, later, None, later, later + 2_500_000))
    with dashboard(settings) as client:
        page = client.get("/triggers").text.partition("Newest messages")[2]
    assert "0.040 s" in page and "0.071 s" in page, "from the receipt to the decision, and to the receiver"
    assert "2.500 s late" in page, "a rule that waited: from when it was due"
    assert "1 tried: answered 500" in page
    assert "p24x" in page and "p6x" in page and "p5x" not in page and "p99x" not in page, "the newest twenty"
    assert "not kept" in page


def sent(action_id: str, person: str, at_us: int) -> Message:
    return Message(
        action_id=action_id, rule="nudge", person=person, purpose="service", channel="webhook", target="crm", payload={},
        expires_us=at_us + 10**9, received_us=at_us, decided_us=at_us,
    )  # fmt: skip
