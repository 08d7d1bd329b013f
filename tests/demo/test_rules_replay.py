"""The demo's rules over its traffic: decided as if each event were received when it happened, once, and nothing is sent."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gtm_dagster.admission.record import Record
from gtm_dagster.demo import rules_replay
from gtm_dagster.demo.planted_rules import write_rules
from gtm_dagster.demo.rules_replay import pass_over, replay_rules
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.settings import Settings
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.triggers.rules_file import load_rules
from gtm_dagster.triggers.target_lint import template_problems, templates_beside
from gtm_dagster.triggers.trigger_db import trigger_db_path

HOUR = 3_600_000_000
BEGIN = 1_790_000_000_000_000
EVENTS = (
    ("ana", "checkout_started", 0),
    ("bo", "checkout_started", 1),
    ("bo", "payment_completed", 1.2),  # within the 30 minutes
    ("cy", "page_viewed", 20),  # moves the clock past what ana was waited for
)


def record(person: str, name: str, hours: float) -> Record:
    return Record(
        write_key="dev", event_id=f"{person}-{name}", event_name=name, event_us=BEGIN + round(hours * HOUR),
        received_us=BEGIN + 21 * HOUR, user_id=person, properties="{}", device_type="web",
    )  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    with SqliteEventLog(tmp_path / "events.db") as log:
        log.append([record(*each) for each in EVENTS])
    return Settings(state_dir=tmp_path)


def test_rules_decide_when_it_happened_once_and_what_they_send_is_in_the_feed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = load_plan(None)
    with SqliteEventLog(settings.log_path) as log:
        with monkeypatch.context() as patch:
            patch.setattr(rules_replay, "store_position", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                replay_rules(settings, plan, log)
        first = replay_rules(settings, plan, log)
        assert first == {"sent": 1, "not_sent": 1}, "what was killed on its way left nothing behind"
        assert replay_rules(settings, plan, log) == first
        log.append([record("dan", "checkout_started", 22)])
        pass_over(settings, log)
    with closing(sqlite3.connect(trigger_db_path(settings.state_dir))) as con:
        ((person, status, late_us),) = con.execute("SELECT person, status, decided_us - ? FROM outbox", [BEGIN])
        assert (person, status, late_us) == ("ana", "delivered", HOUR // 2 + 1_000_000)
        assert con.execute("SELECT person, rule FROM feed").fetchall() == [("ana", "checkout_reminder")]
        assert con.execute("SELECT seq FROM position").fetchall() == [(5,)], "the drill's events are passed over"


def test_the_rules_fit_the_packaged_plan_and_reach_nothing_outside(tmp_path: Path) -> None:
    file, plan = write_rules(tmp_path), load_plan(None)
    rules = load_rules(file, plan)
    assert {rule.channel for rule in rules} == {"in_app"}
    assert template_problems(rules, plan, templates_beside(file)) == []
