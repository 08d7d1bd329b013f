"""A guard of several metrics as Dagster drives it: which metric fired is named everywhere, and harm that only pages."""

from __future__ import annotations

import json

import pytest
from acting_cases import SINK, armed, settings_for
from guard_deployment import EPISODE, STEPS, Deployment, ran, served_new
from metric_cases import GUARD, drawn

from gtm_dagster.rollout.control.evidence import from_json
from gtm_dagster.rollout.control.harm_pages import harm_paged_us
from gtm_dagster.rollout.control.replay import compare


def test_an_error_metric_turns_the_flag_off_and_every_record_names_it(tmp_path, instance, store):
    settings = settings_for(tmp_path, GUARD, notify=SINK)
    armed(settings, store, drawn(1, error=4.0), GUARD)
    deployment = Deployment(settings, instance)
    (request,), _ = deployment.tick()
    assert request.run_key == f"{EPISODE}-1"
    result = deployment.run(request)
    assert ran(result) == STEPS and served_new(settings) == 0
    row = store.rollback(EPISODE)
    assert row.metric == "errors" and row.reason.startswith("errors: ") and row.estimate == pytest.approx(3.0, abs=1.5)
    recorded = from_json(row.bundle)
    assert recorded.verdict.metric == "errors" and compare(recorded).same
    assert [each.metric for each in recorded.verdict.metrics] == ["conversion", "errors", "revenue"]
    (materialization,) = deployment.materializations()
    assert materialization.metadata["metric"].value == "errors"
    assert "Errors: " in materialization.metadata["what_happened"].value and "chart" in materialization.metadata
    (message,) = store.notifications(EPISODE)
    payload = json.loads(message.payload)
    assert payload["figures"]["metric"] == "errors"
    assert "more subscription_cancelled than the control" in payload["text"]
    assert "control's conversion" not in payload["text"], "the conversion lost nothing"


def test_harm_that_is_too_small_to_roll_back_notifies_once_an_epoch_and_is_recorded(tmp_path, instance, store):
    settings = settings_for(tmp_path, GUARD, notify=SINK)
    armed(settings, store, drawn(3, minutes=300, conversion=0.9, per_minute=200), GUARD)
    deployment = Deployment(settings, instance)
    (page,), _ = deployment.tick()
    assert page.job_name == "page_guard" and served_new(settings) > 0
    before = store.history(GUARD.key)
    assert deployment.tick()[0] == [], "asked for once"
    assert deployment.run(page).success
    deployment.execute(page.job_name, page.run_config)
    (message,) = store.notifications(f"{GUARD.key}:HARM:1")
    assert "harm is proven, and nothing is rolled back for it: treated lost" in json.loads(message.payload)["text"]
    assert json.loads(message.payload)["event"] == "harm"
    moves = store.history(GUARD.key)[len(before) :]
    assert [(move.from_state, move.to_state, move.detail) for move in moves] == [("ARMED", "ARMED", {"paged_epoch": 1})]
    assert harm_paged_us(store, GUARD.key, 1) is not None and store.check_chain(GUARD.key)
    assert store.guard(GUARD.key).state == "ARMED" and store.rollback(EPISODE) is None
    deployment.cursor = None
    (again,), _ = deployment.tick()
    assert again.run_key == page.run_key, "a lost cursor asks by the same key"


def test_a_guard_without_a_page_line_is_silent_about_small_harm(tmp_path, instance, store):
    import msgspec

    guard = msgspec.structs.replace(GUARD, page=None)
    settings = settings_for(tmp_path, guard)
    armed(settings, store, drawn(3, minutes=300, conversion=0.9, per_minute=200), guard)
    requests, reason = Deployment(settings, instance).tick()
    assert requests == [] and ": ARMED, " in reason
