"""`ops/guards`: what stands there before anything fires, and how seldom it is written."""

from __future__ import annotations

import re

import dagster as dg
import msgspec
import pytest
from acting_cases import GUARD, MINUTE, armed, broken, settings_for

from gtm_dagster.definitions import build_defs
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.orchestration.guard_loop import cursor_of, occurrences_of
from gtm_dagster.orchestration.guard_page import GUARDS, HOUR_US, LEAST_US, GuardNow, due, guards_materialization
from gtm_dagster.orchestration.guard_tick import guard_once
from gtm_dagster.orchestration.instance import instance_of
from gtm_dagster.rollout.control.chart import INLINE_CHARACTERS
from gtm_dagster.rollout.control.evaluation import evaluate
from gtm_dagster.rollout.control.guard_outlook import when_known
from gtm_dagster.rollout.guard.counts import Counts
from gtm_dagster.rollout.guard.decide import Decision
from gtm_dagster.rollout.guard.rule import Rule

NOW = 1_772_366_400_000_000


def now(state: str) -> GuardNow:
    return GuardNow(GUARD, Decision(state, False, "", NOW), None)


@pytest.mark.parametrize(
    ("before", "passed_us", "state", "written", "why"),
    [
        (None, 0, "ARMED", True, "the first look"),
        ("ARMED", LEAST_US, "ARMED", False, "nothing new"),
        ("ARMED", LEAST_US, "SUSPECT", True, "another state"),
        ("ARMED", LEAST_US - 1, "SUSPECT", False, "states may change with every look"),
        ("ARMED", HOUR_US, "ARMED", True, "an hour old, and armed"),
        ("BLIND", HOUR_US, "BLIND", True, "blind is armed"),
        ("ROLLED_BACK", 30 * HOUR_US, "ROLLED_BACK", False, "nothing is armed"),
        ("ARMED", LEAST_US, "ROLLED_BACK", True, "latched"),
    ],
)
def test_the_page_is_written_at_a_change_of_state_and_once_an_hour(before, passed_us, state, written, why):
    shown = {"other": ("BLIND", 7, True)}
    if before is not None:
        shown, _ = due(shown, [now(before)], NOW)
    after, is_due = due(occurrences_of(cursor_of(shown)), [now(state)], NOW + passed_us)
    assert is_due is written, why
    assert after["other"] == ("BLIND", 7, True)


def test_a_day_of_flapping_writes_at_most_every_five_minutes():
    shown, pages = {}, 0
    for look in range(24 * 720):
        shown, is_due = due(shown, [now(("ARMED", "SUSPECT")[look // 2 % 2])], NOW + look * 5_000_000)
        pages += is_due
    assert 24 <= pages <= 288


def test_no_guard_is_no_page():
    assert due({"ops/guards": ("x", 1, True)}, [], NOW) == ({}, False)


def test_the_page_says_where_a_guard_stands_and_when_a_loss_would_be_known(tmp_path):
    other = msgspec.structs.replace(GUARD, flag="pricing")
    settings = settings_for(tmp_path, GUARD, other)
    with OpsStore.of(settings) as store:
        _, watermark = armed(settings, store, broken(factor=1.0))
        seen = evaluate(store, settings, GUARD, store.guard(GUARD.key), watermark)
    page = guards_materialization(
        [GuardNow(GUARD, seen.decision, seen), GuardNow(other, now("DISARMED").decision, None)], NOW
    )
    text, picture = (str(page.metadata[name].value) for name in ("checkout-v2", "checkout-v2 evidence"))
    assert text.startswith("**ARMED**") and len(text) <= INLINE_CHARACTERS and len(picture) <= INLINE_CHARACTERS
    assert re.search(r"control \d+ of [\d,]+ \(\d+\.\d%\), treated \d+ of", text), text
    assert re.search(r"30%: [\d.]+ hours, 50%: \d+ minutes, a dead flow: [\d.]+ minutes", text), text
    assert "data:image/svg+xml;base64," in picture
    assert page.metadata["pricing"].value.startswith("**DISARMED**") and "pricing evidence" not in page.metadata
    assert page.metadata["states"].value == "checkout-v2 ARMED, pricing DISARMED"


def test_without_traffic_it_says_so():
    assert "cannot be said yet" in when_known(Counts.from_rows([], 30 * MINUTE), Rule(60))


def test_a_look_without_a_daemon_writes_it_too(tmp_path):
    settings = settings_for(tmp_path)
    with OpsStore.of(settings) as store:
        armed(settings, store, broken(factor=1.0))
    assert guard_once(settings, build_defs) == []
    with instance_of(settings) as instance:
        event = instance.get_latest_materialization_event(GUARDS)
        assert event.asset_materialization.metadata["states"].value == "checkout-v2 ARMED"
        assert instance.get_run_records() == [], "no run for it"
    graph = build_defs(settings=settings).resolve_asset_graph()
    children = graph.get(GUARDS).child_keys
    assert children == {dg.AssetKey(["ops", "rollbacks"]), dg.AssetKey(["ops", "ramp_steps"])}
