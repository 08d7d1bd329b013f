"""What the runs of a guard leave behind, when they succeed, fail, die or are asked for by a person."""

from __future__ import annotations

import time
from typing import Any

import dagster as dg
import msgspec
import pytest
from acting_cases import GUARD, Scripted, armed, broken, settings_for
from guard_deployment import EPISODE, STEPS, Deployment, act_through, failure, later, ran, served_new

from gtm_dagster.gate import kill_list
from gtm_dagster.rollout.control.evidence import from_json, replay
from gtm_dagster.rollout.providers import FlagState, ProviderError
from gtm_dagster.rollout.providers.flagd import set_split
from gtm_dagster.settings import Notify


def test_scenario_18_a_failed_run_is_asked_again_until_the_flag_is_off(tmp_path, instance, store, monkeypatch):
    settings = settings_for(tmp_path)
    writer = Scripted()
    act_through(monkeypatch, writer)
    armed(settings, store, broken(), writer=writer)
    writer.faults["turn_off"] = [ProviderError("scripted: 500", retry=True) for _ in range(2)]
    deployment = Deployment(settings, instance)
    for attempt, waited in ((1, 0), (2, 6)):
        with monkeypatch.context() as ahead:
            later(ahead, waited)
            (request,), _ = deployment.tick()
        assert request.run_key == f"{EPISODE}-{attempt}"
        result = deployment.run(request)
        assert not result.success and ran(result) == ["claim"]
        assert "scripted: 500; the kill list holds the old flow" in failure(result)
        assert GUARD.flag in kill_list.read(settings.kill_list_path)
        requests, reason = deployment.tick()
        assert requests == [] and "ROLLBACK_FAILED" in reason and f"attempt {attempt + 1} in" in reason
    with monkeypatch.context() as ahead:
        later(ahead, 121)
        (request,), _ = deployment.tick()
    assert deployment.run(request).success
    assert len(writer.events) == 1 and len(deployment.materializations()) == 1
    assert store.rollback(EPISODE).attempt == 3


def test_scenario_19_a_flag_that_clients_still_see_fails_the_run(tmp_path, instance, store, monkeypatch):
    settings = settings_for(tmp_path)
    writer = Scripted()
    act_through(monkeypatch, writer)
    armed(settings, store, broken(), writer=writer)
    writer.serves_new = True
    deployment = Deployment(settings, instance)
    (request,), _ = deployment.tick()
    result = deployment.run(request)
    assert not result.success and ran(result) == ["claim", "turn_off"]
    assert "still served the new flow; the kill list holds" in failure(result)
    assert deployment.materializations() == []


def test_scenario_20_a_superseded_claim_ends_the_run_well_and_nothing_follows(tmp_path, instance, store, monkeypatch):
    settings = settings_for(tmp_path)
    writer = Scripted()
    act_through(monkeypatch, writer)
    armed(settings, store, broken(), writer=writer)
    writer.state = FlagState(True, 0.9, "split-90", "90 %")
    deployment = Deployment(settings, instance)
    (request,), _ = deployment.tick()
    result = deployment.run(request)
    assert result.success and ran(result) == ["claim"]
    assert writer.events == []
    requests, reason = deployment.tick()
    assert requests == [] and "SUPERSEDED" in reason
    assert deployment.materializations() == []


def test_a_run_that_died_before_its_record_is_followed_by_one_that_records(tmp_path, instance, store, monkeypatch):
    settings = settings_for(tmp_path)
    armed(settings, store, broken())
    deployment = Deployment(settings, instance)
    (request,), _ = deployment.tick()
    with monkeypatch.context() as patched:
        patched.setattr("gtm_dagster.orchestration.guard_jobs.rollback_metadata", lambda *_: 1 / 0)
        assert not deployment.run(request).success
    assert store.guard(GUARD.key).state == "ROLLED_BACK" and deployment.materializations() == []
    off = settings.flags_path.stat().st_mtime_ns
    later(monkeypatch, 6)
    (request,), _ = deployment.tick()
    assert request.run_key == f"{EPISODE}-2" and deployment.run(request).success
    assert len(deployment.materializations()) == 1 and settings.flags_path.stat().st_mtime_ns == off
    assert deployment.tick()[0] == []


def test_scenario_23_a_dry_run_is_recorded_once_and_writes_nothing(tmp_path, instance, store):
    guard = msgspec.structs.replace(GUARD, dry_run=True)
    settings = settings_for(tmp_path, guard)
    armed(settings, store, broken(), guard)
    deployment = Deployment(settings, instance)
    (request,), _ = deployment.tick()
    result = deployment.run(request)
    assert result.success and ran(result) == STEPS
    assert served_new(settings) > 30
    (materialization,) = deployment.materializations()
    assert (
        materialization.metadata["outcome"].value == "would_roll_back"
        and materialization.metadata["verified"].value is False
    )
    requests, reason = deployment.tick()
    assert requests == [] and "ROLLED_BACK (dry run)" in reason


def test_scenario_24_rearming_in_the_ui_needs_a_reason_and_starts_afresh(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    armed(settings, store, broken())
    deployment = Deployment(settings, instance)
    assert deployment.run(deployment.tick()[0][0]).success

    def asked(**config: str) -> Any:
        return deployment.execute("rearm_guard", {"ops": {"rearm": {"config": {"guard": GUARD.flag, **config}}}})

    with pytest.raises(dg.DagsterInvalidConfigError):
        asked(actor="ana")
    refused = asked(actor="ana", reason=" ")
    assert not refused.success and "say why" in failure(refused)
    assert store.guard(GUARD.key).state == "ROLLED_BACK"
    assert asked(actor="ana", reason="fixed in release 13").success
    assert (store.guard(GUARD.key).epoch, served_new(settings)) == (2, 0)
    requests, reason = deployment.tick()
    assert requests == [] and "ARMED, the flag is off at its provider" in reason
    set_split(settings.flags_path, GUARD.flag, 0.5)
    store.see_flag(GUARD.key, True, 0.5, "split", time.time_ns() // 1000)
    requests, reason = deployment.tick()
    assert requests == [] and "WARMUP, no exposures counted yet" in reason


def test_a_manual_rollback_in_the_ui_is_the_same_run(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    armed(settings, store, broken(factor=1.0))
    deployment = Deployment(settings, instance)
    config = {"guard": GUARD.key, "actor": "ana", "reason": "support calls"}
    result = deployment.execute("manual_rollback", {"ops": {"claim_by_hand": {"config": config}}})
    assert result.success and ran(result) == ["claim_by_hand", "turn_off", "verify", "record"]
    assert served_new(settings) == 0
    (materialization,) = deployment.materializations()
    assert (materialization.metadata["actor"].value, materialization.metadata["reason"].value) == (
        "ana",
        "support calls",
    )
    assert deployment.tick()[0] == []


def test_scenario_29_the_stored_evidence_of_a_run_replays(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    armed(settings, store, broken(minutes=40, factor=0.4, delay_minutes=3.0))
    deployment = Deployment(settings, instance)
    assert deployment.run(deployment.tick()[0][0]).success
    row = store.rollback(EPISODE)
    again = replay(from_json(row.bundle))
    assert again.fires and abs(again.log_e - row.log_e) <= 1e-9
    assert deployment.materializations()[0].metadata["log_e"].value == round(row.log_e, 2)


def test_scenario_32_a_sink_that_is_down_delays_the_message_and_not_the_rollback(tmp_path, instance, store):
    settings = settings_for(tmp_path, notify=(Notify("webhook", url="http://127.0.0.1:9/hook"),))
    armed(settings, store, broken())
    deployment = Deployment(settings, instance)
    assert deployment.run(deployment.tick()[0][0]).success
    assert served_new(settings) == 0
    _, reason = deployment.tick()
    assert "not delivered: 1 message(s), webhook[0] not reached (ConnectionError) after 1 attempt(s)" in reason
    (note,) = store.notifications()
    assert (note.status, note.attempts) == ("pending", 1)


@pytest.mark.parametrize("job", ["rearm_guard", "manual_rollback"])
def test_gd_21_the_launchpad_shows_what_to_fill_in_and_an_empty_form_does_nothing(tmp_path, instance, store, job):
    settings = settings_for(tmp_path)
    set_split(settings.flags_path, GUARD.flag, 0.5)
    deployment = Deployment(settings, instance)
    form = deployment.defs.resolve_job_def(job).run_config
    (config,) = [op["config"] for op in form["ops"].values()]
    assert config == {"guard": GUARD.flag, "actor": "", "reason": ""}
    result = deployment.execute(job, form)
    assert not result.success and "actor: say who asks" in failure(result)
    config |= {"actor": "ana", "reason": "release 12"}
    assert deployment.execute(job, form).success
    assert store.guard(GUARD.key).actor == ("ana" if job == "rearm_guard" else "conversion_guard")
