"""A rollback that an alerting system asked for: the sensor starts its run, once, whatever the evidence says."""

from __future__ import annotations

import json

import msgspec
import pytest
from acting_cases import GUARD, armed, broken, settings_for, through
from guard_deployment import EPISODE, STEPS, Deployment, failure, later, ran, served_new

from gtm_dagster.rollout.control.arming import rearm
from gtm_dagster.rollout.control.evidence import from_json
from gtm_dagster.rollout.control.external_rollback import request_rollback
from gtm_dagster.rollout.guard.decide import episode_id
from gtm_dagster.rollout.providers.flagd import set_split

ALERT = (GUARD.flag, "key alertmanager", "5xx of checkout above 2 %")


def test_a_healthy_flow_is_rolled_back_because_an_alert_says_so(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    armed(settings, store, broken(factor=1.0))
    deployment = Deployment(settings, instance)
    assert deployment.tick()[0] == []
    result = request_rollback(settings, *ALERT)
    assert (result.outcome, result.episode) == ("asked", EPISODE)
    assert served_new(settings) > 0, "whoever stores it does not act"
    (request,), _ = deployment.tick()
    assert (request.job_name, request.run_key) == ("rollback_flag", f"{EPISODE}-1")
    run = deployment.run(request)
    assert run.success and ran(run) == STEPS and served_new(settings) == 0
    record = store.rollback(EPISODE)
    assert (record.actor, record.reason, record.verified) == ("key alertmanager", ALERT[2], True)
    assert not from_json(record.bundle).by_evidence and from_json(record.bundle).counts.exposed.sum()
    assert [(move.to_state, move.actor) for move in store.history(GUARD.key)][1] == ("ROLLING_BACK", "key alertmanager")
    (shown,) = deployment.materializations()
    assert shown.metadata["actor"].value == "key alertmanager"
    assert deployment.tick()[0] == []
    assert request_rollback(settings, *ALERT).outcome == "latched"


def test_an_alert_and_evidence_at_once_are_one_episode(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    context, watermark = armed(settings, store, broken())
    deployment = Deployment(settings, instance)
    (by_evidence,), _ = deployment.tick()
    request_rollback(settings, *ALERT)
    (asked,), _ = deployment.tick()
    assert asked.run_key == by_evidence.run_key, "Dagster starts it once"
    assert deployment.run(by_evidence).success and deployment.run(asked) is None
    assert len(store.rollbacks()) == 1 and store.rollback(EPISODE).actor == "key alertmanager"
    assert through(context, watermark).outcome == "rolled_back"


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_guard_that_was_never_armed_can_be_rolled_back_too(tmp_path, instance, store, dry_run):
    guard = msgspec.structs.replace(GUARD, dry_run=dry_run)
    settings = settings_for(tmp_path, guard)
    set_split(settings.flags_path, guard.flag, 0.5)
    assert request_rollback(settings, *ALERT).outcome == "asked"
    deployment = Deployment(settings, instance)
    (request,), _ = deployment.tick()
    assert deployment.run(request).success
    assert (served_new(settings) > 0) is dry_run
    assert store.rollback(episode_id(guard.key, 0)).outcome == ("would_roll_back" if dry_run else "rolled_back")


def test_a_new_epoch_ends_what_was_asked_in_the_one_before(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    context, _ = armed(settings, store, broken(factor=1.0))
    request_rollback(settings, *ALERT)
    rearm(context, "ana", "the alert was a false one")
    assert Deployment(settings, instance).tick()[0] == []
    assert request_rollback(settings, *ALERT).episode == episode_id(GUARD.key, 2)


def test_a_flag_that_is_not_there_is_refused_once_and_said(tmp_path, instance, store, monkeypatch):
    settings = settings_for(tmp_path)
    armed(settings, store, broken(factor=1.0))
    document = json.loads(settings.flags_path.read_text())
    del document["flags"][GUARD.flag]
    settings.flags_path.write_text(json.dumps(document))
    request_rollback(settings, *ALERT)
    deployment = Deployment(settings, instance)
    (request,), _ = deployment.tick()
    run = deployment.run(request)
    assert not run.success and "there is no flag to turn off" in failure(run)
    later(monkeypatch, 3600)
    assert deployment.tick()[0] == [], "nobody tries again by himself"
    assert "there is no flag to turn off" in store.rollback_request(GUARD.key, 1).refused
    set_split(settings.flags_path, GUARD.flag, 0.5)
    request_rollback(settings, *ALERT)
    (again,), _ = deployment.tick()
    assert again.run_key == f"{EPISODE}-2" and deployment.run(again).success and served_new(settings) == 0
