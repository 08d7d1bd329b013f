"""GD-18: a guard is decided by the rule it was armed with; what gtm.toml says meanwhile waits for the next arming."""

from __future__ import annotations

import json

import msgspec
import pytest
from acting_cases import EPISODE, GUARD, armed, broken, plant, settings_for, start_of, through

from gtm_dagster.opsstore import OpsStore
from gtm_dagster.rollout.control.armed_rule import differences, rule_of, to_store, window_minutes
from gtm_dagster.rollout.control.arming import claim_by_hand, rearm
from gtm_dagster.rollout.control.evaluation import evaluate
from gtm_dagster.rollout.control.evidence import from_json
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.settings import Guard

OTHER = msgspec.structs.replace(GUARD, conversion="signup_completed")
EDITS = [
    ("a lower threshold would test the past again", {"threshold": 0.05}, ["threshold 0.15 is now 0.05"]),
    ("a shorter hold", {"hold_minutes": 1}, ["hold_minutes 5 is now 1"]),
    ("a smaller budget", {"budget_hours": 480}, ["budget_hours 8760 is now 480"]),
    ("another window", {"conversion_window_minutes": 30}, ["conversion_window_minutes 60 is now 30"]),
    ("two at once", {"threshold": 0.2, "hold_minutes": 9}, ["hold_minutes 5 is now 9", "threshold 0.15 is now 0.2"]),
    ("what is no part of the rule", {"dry_run": True}, []),
]


@pytest.mark.parametrize(("edit", "lines"), [case[1:] for case in EDITS], ids=[case[0] for case in EDITS])
def test_gd_18_an_edit_of_an_armed_guard_decides_nothing_until_it_is_armed_again(tmp_path, store, edit, lines):
    armed(settings_for(tmp_path), store, broken(factor=1.0))
    edited = msgspec.structs.replace(GUARD, **edit)
    settings = settings_for(tmp_path, edited)
    now = rule_of(store, settings, edited, 1)
    assert now == Rule.of(GUARD, 1, store.shares(GUARD.key))
    shown = [str(each) for each in differences(store, settings, edited, 1)]
    assert set(lines) <= set(shown), "what follows from a setting may differ with it"
    assert bool(shown) == bool(lines)


def test_gd_18_arming_again_takes_the_edit_and_keeps_the_rule_of_the_epoch_before(tmp_path, store):
    context, _ = armed(settings_for(tmp_path), store, broken(factor=1.0))
    edited = msgspec.structs.replace(GUARD, threshold=0.3)
    settings = settings_for(tmp_path, edited)
    rearm(with_guard(context, settings, edited), "ana", "a wider threshold")
    assert [rule_of(store, settings, edited, epoch).threshold for epoch in (1, 2)] == [0.15, 0.3]
    assert differences(store, settings, edited, 2) == []
    recorded = [(move.detail or {})["rule"]["threshold"] for move in store.history(GUARD.key)]
    assert recorded == [0.15, 0.3] and store.check_chain(GUARD.key), "the history says by which rule"


def with_guard(context, settings, guard):
    return type(context)(context.store, settings, guard, context.writer)


def test_gd_18_a_second_guard_of_the_flag_does_not_change_the_level_of_the_first(tmp_path, store):
    armed(settings_for(tmp_path), store, broken(factor=1.0))
    settings = settings_for(tmp_path, GUARD, OTHER)
    assert rule_of(store, settings, GUARD, 1).budget_hours == 8760
    assert [str(each) for each in differences(store, settings, GUARD, 1)] == ["guards of this flag 1 is now 2"]


def test_gd_18_of_guards_that_share_a_budget_the_numbers_of_gtm_toml_are_shown(tmp_path, store):
    settings = settings_for(tmp_path, GUARD, OTHER)
    armed(settings, store, broken(factor=1.0))
    assert rule_of(store, settings, GUARD, 1).budget_hours == 17_520
    assert differences(store, settings, GUARD, 1) == []
    edited = msgspec.structs.replace(GUARD, budget_hours=480)
    shown = [str(each) for each in differences(store, settings_for(tmp_path, edited), edited, 1)]
    assert shown == ["budget_hours 8760 is now 480", "guards of this flag 2 is now 1"]


def test_gd_18_the_planned_shares_follow_the_flag(tmp_path, store):
    context, _ = armed(settings_for(tmp_path), store, broken(factor=1.0))
    store.see_flag(GUARD.key, True, 0.25, "other", context.now_us())
    assert rule_of(store, context.settings, GUARD, 1).shares[-1][1] == 0.25


def test_gd_18_a_loss_is_judged_and_recorded_by_the_armed_rule(tmp_path, store):
    """A threshold of 0.9, written after the arming, would let a loss of 60 % pass."""
    context, watermark = armed(settings_for(tmp_path), store, broken(factor=0.4, minutes=60))
    edited = msgspec.structs.replace(GUARD, threshold=0.9, hold_minutes=1440)
    later = with_guard(context, settings_for(tmp_path, edited), edited)
    row = store.guard(GUARD.key)
    assert evaluate(store, later.settings, edited, row, context.now_us()).decision.act
    assert through(later, watermark).outcome == "rolled_back"
    assert from_json(store.rollback(EPISODE).bundle or "").rule == rule_of(store, context.settings, GUARD, 1)


def test_gd_18_a_rollback_by_hand_records_it_too(tmp_path, store):
    context, _ = armed(settings_for(tmp_path), store, broken(factor=1.0))
    edited = msgspec.structs.replace(GUARD, threshold=0.9)
    later = with_guard(context, settings_for(tmp_path, edited), edited)
    episode = claim_by_hand(later, "ana", "support calls").episode
    assert from_json(store.rollback(episode).bundle or "").rule.threshold == 0.15


def of_an_older_version(store: OpsStore) -> None:
    """An epoch as armed before rules were stored."""
    store.ensure(GUARD.key, GUARD.flag, GUARD.conversion, GUARD.environment)
    counts = broken(factor=1.0)
    start_us = start_of(counts)
    store.new_epoch(GUARD.key, 0, start_us, actor="ana", reason="r", fingerprint=None, at_us=start_us)
    plant(store, GUARD, counts, start_us)


def test_gd_18_an_epoch_without_a_stored_rule_is_decided_by_the_settings(tmp_path, store):
    of_an_older_version(store)
    edited = msgspec.structs.replace(GUARD, threshold=0.3)
    settings = settings_for(tmp_path, edited)
    assert rule_of(store, settings, edited, 1).threshold == 0.3
    assert differences(store, settings, edited, 1) == []


STORED = [
    ("as written now", {}, Rule()),
    ("by a version with fewer fields: their defaults", {"hold_minutes": None}, Rule()),
    ("by a version with more: they are left out", {"later": 1}, Rule()),
    ("whole numbers", {"window_minutes": 10}, Rule(window_minutes=10.0)),
]


@pytest.mark.parametrize(("change", "rule"), [case[1:] for case in STORED], ids=[case[0] for case in STORED])
def test_a_stored_rule_is_read_by_other_versions(tmp_path, store, change, rule):
    of_an_older_version(store)
    fields = json.loads(to_store(settings_for(tmp_path), GUARD)) | change
    text = json.dumps({name: value for name, value in fields.items() if value is not None})
    with store.transaction() as con:
        con.exec_driver_sql("UPDATE guard_epochs SET rule = ?", (text,))
    assert rule_of(store, settings_for(tmp_path), GUARD, 1) == rule
    assert window_minutes(text) == rule.window_minutes


def test_a_guard_that_was_never_armed_has_the_rule_of_the_settings(tmp_path, store):
    guard = Guard("pricing", "payment_completed", threshold=0.2)
    assert rule_of(store, settings_for(tmp_path, guard), guard, 0).threshold == 0.2
