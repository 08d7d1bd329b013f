"""The guard as a state machine on a real instance: what a tick asks for, and what it leaves alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
import pytest
from acting_cases import GUARD, MINUTE, Scripted, armed, broken, heard, plant, settings_for, start_of
from guard_deployment import EPISODE, STEPS, Deployment, act_through, later, ran, served_new
from sqlalchemy import insert
from traffic_cases import between, drawn, steady

from gtm_dagster.opsstore import OpsStore, ops_tables
from gtm_dagster.rollout.control.evidence import digest
from gtm_dagster.rollout.control.guard_context import GuardContext
from gtm_dagster.rollout.providers import FlagState
from gtm_dagster.rollout.providers.flagd import set_split
from gtm_dagster.settings import Notify


def test_without_guards_it_says_how_to_declare_one_and_makes_nothing(tmp_path, instance):
    settings = msgspec.structs.replace(settings_for(tmp_path / "state"), guards=())
    requests, reason = Deployment(settings, instance).tick()
    assert requests == []
    assert "name a flag and its conversion under [[guards]]" in reason and "`gtm stream` makes it" in reason
    assert not (tmp_path / "state").exists()


def test_a_tick_writes_nothing(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    armed(settings, store, broken())
    before = [store.guards(), store.history(GUARD.key), store.rollbacks(), store.notifications(), store.producers()]
    flags = settings.flags_path.read_bytes()
    for _ in range(3):
        requests, _ = Deployment(settings, instance).tick()
        assert [request.run_key for request in requests] == [f"{EPISODE}-1"]
    assert before == [
        store.guards(), store.history(GUARD.key), store.rollbacks(), store.notifications(), store.producers(),
    ]  # fmt: skip
    assert settings.flags_path.read_bytes() == flags
    assert instance.get_runs() == []


def test_what_acts_does_not_know_the_warehouse():
    modules = "gtm_dagster.rollout.control.acting, gtm_dagster.rollout.control.arming, gtm_dagster.rollout.control.chart, gtm_dagster.opsstore"
    code = f"import sys, {modules}; sys.exit(bool({{'duckdb', 'dagster', 'pandas', 'matplotlib'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


@pytest.mark.parametrize("cursor", [None, "", "not json", "[]", '{"g": 1}', '{"g": ["BLIND", "x", 1]}'])
def test_an_unreadable_cursor_is_an_empty_one(tmp_path, instance, store, cursor):
    armed(settings_for(tmp_path), store, broken(factor=1.0))
    deployment = Deployment(settings_for(tmp_path), instance)
    deployment.cursor = cursor
    assert deployment.tick()[0] == []
    assert set(json.loads(deployment.cursor)) == {"ops/guards"}, "no state that needs a person"


def test_scenario_10_zero_conversions_with_healthy_heartbeats_is_rolled_back(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    _, watermark = armed(settings, store, broken(factor=0.0))
    deployment = Deployment(settings, instance)
    (request,), _ = deployment.tick()
    assert request.job_name == "rollback_flag" and request.run_key == f"{EPISODE}-1"
    assert request.tags["dagster/priority"] == "100"
    assert request.tags["gtm/guard"] == GUARD.key and request.tags["gtm/flag"] == GUARD.flag
    assert request.run_config["ops"]["claim"]["config"]["decided_us"] == watermark
    result = deployment.run(request)
    assert result.success and ran(result) == STEPS
    assert served_new(settings) == 0
    (materialization,) = deployment.materializations()
    metadata = {name: entry.value for name, entry in materialization.metadata.items()}
    assert metadata["flag"] == GUARD.flag and metadata["verified"] is True and metadata["estimate"] == 1.0
    assert metadata["log_e"] > 9 and metadata["above_threshold_minutes"] > 5
    assert 0 <= metadata["seconds_intent_to_off"] < 5 and 0 <= metadata["seconds_off_to_verified"] < 5
    assert len(metadata["chart"]) < 1000 and "image/png" in metadata["picture"]
    assert metadata["bundle_sha256"].startswith(digest(store.rollback(EPISODE).bundle)[:16])
    assert max(map(len, metadata["bundle_sha256"].split())) < 30, "a longer word cuts the sentences of the page"
    assert list(metadata)[:3] == ["what_happened", "chart", "picture"], "what a person looks for comes first"
    assert list(metadata)[-5:] == ["flag", "guard", "episode", "replay", "bundle_sha256"], "names come last"
    assert metadata["what_happened"].startswith(
        f"**{GUARD.flag}** in production was turned off. The treated arm lost 100%"
    )
    figures = [
        entry for name, entry in metadata.items() if isinstance(entry, float) and not name.startswith("dagster/")
    ]
    assert all(figure == round(figure, 4) for figure in figures), "no digits that mean nothing"
    requests, reason = deployment.tick()
    assert requests == [] and f"{GUARD.key}: ROLLED_BACK" in reason
    assert not settings.warehouse_path.exists()


def test_scenario_8_a_source_that_is_down_is_blind_and_resumes_with_its_evidence(
    tmp_path, instance, store, monkeypatch
):
    settings = settings_for(tmp_path)
    _, watermark = armed(settings, store, broken())
    heard(store, watermark, silent=["collector", "web"])
    deployment = Deployment(settings, instance)
    requests, reason = deployment.tick()
    assert requests == [] and "BLIND, no heartbeat for two minutes from collector, web" in reason
    later(monkeypatch, 1800)
    (page,), _ = deployment.tick()
    assert page.job_name == "page_guard"
    assert deployment.tick()[0] == [], "one page an occurrence"
    monkeypatch.undo()
    heard(store, watermark)
    (request,), _ = deployment.tick()
    assert request.run_key == f"{EPISODE}-1"
    assert deployment.run(request).success and served_new(settings) == 0


def test_scenario_9_a_silent_producer_is_no_drop(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    _, watermark = armed(settings, store, broken(factor=0.0))
    heard(store, watermark, silent=["web"])
    requests, reason = Deployment(settings, instance).tick()
    assert requests == [] and "BLIND, no heartbeat for two minutes from web" in reason


def test_gd_12_a_control_that_never_converts_pages(tmp_path, instance, store, monkeypatch):
    settings = settings_for(tmp_path)
    _, watermark = armed(settings, store, broken(minutes=120, rate=0.0))
    deployment = Deployment(settings, instance)
    requests, reason = deployment.tick()
    assert requests == [] and "BLIND, no payment_completed of" in reason
    later(monkeypatch, 180)
    heard(store, watermark)
    (page,), _ = deployment.tick()
    assert page.job_name == "page_guard" and "control visitors" in str(page.run_config)
    assert deployment.run(page).success


def ticks(deployment: Deployment, store: OpsStore, counts: Any, start_us: int, every_minutes: float) -> list[Any]:
    """Move the watermark through planted counts; runs what is asked for and returns the results."""
    done = []
    step = round(every_minutes * MINUTE)
    for watermark in range(start_us + step, start_us + counts.watermark_us + 1, step):
        heard(store, watermark)
        for request in deployment.tick()[0]:
            done.append(deployment.run(request))
    return done


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param({"treated": between(0.5, 30), "control": between(0.5, 30)}, marks=pytest.mark.slow),
        pytest.param({"treated": between(0.1, 30, 34)}, marks=pytest.mark.slow),
    ],
    ids=["scenario 14: both arms lose half at once", "scenario 15: the loss is over after 4 minutes"],
)
def test_scenarios_14_and_15_no_rollback(tmp_path, instance, store, shape):
    settings = settings_for(tmp_path)
    counts = drawn(3, per_minute=100, rate=0.2, minutes=90, **shape)
    armed(settings, store, counts)
    assert ticks(Deployment(settings, instance), store, counts, start_of(counts), 0.5) == []
    assert served_new(settings) > 30


@pytest.mark.slow
def test_scenario_16_an_oscillating_flow_is_rolled_back_at_most_once_and_stays_off(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    counts = drawn(
        4, per_minute=100, rate=0.2, minutes=480, treated=lambda minute: 0.85 + 0.35 * ((minute // 20) % 2 - 0.5) * 2
    )
    armed(settings, store, counts)
    deployment = Deployment(settings, instance)
    done = ticks(deployment, store, counts, start_of(counts), 4)
    assert len(done) <= 1
    assert len(store.rollbacks()) == len(done) == len(deployment.materializations())
    if done:
        assert served_new(settings) == 0


def test_scenario_17_the_same_breach_seen_twice_is_one_run_and_one_event(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    armed(settings, store, broken())
    first, second = Deployment(settings, instance), Deployment(settings, instance)
    (one,), _ = first.tick()
    (other,), _ = second.tick()
    assert one.run_key == other.run_key
    assert first.run(one).success
    off = settings.flags_path.stat().st_mtime_ns
    assert second.run(other) is None
    assert settings.flags_path.stat().st_mtime_ns == off
    assert len(store.rollbacks()) == len(first.materializations()) == 1


@pytest.mark.slow
def test_scenario_17_two_instances_make_one_event_and_one_record(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    armed(settings, store, broken())
    with dg.DagsterInstance.ephemeral() as elsewhere:
        here, there = Deployment(settings, instance), Deployment(settings, elsewhere)
        (one,), _ = here.tick()
        (other,), _ = there.tick()
        assert here.run(one).success
        off = settings.flags_path.stat().st_mtime_ns
        assert there.run(other).success
    assert settings.flags_path.stat().st_mtime_ns == off
    assert len(store.rollbacks()) == 1
    assert [move.to_state for move in store.history(GUARD.key)] == ["ARMED", "ROLLING_BACK", "VERIFYING", "ROLLED_BACK"]


def test_scenario_17_a_run_under_way_is_waited_for_and_a_dead_one_is_followed(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    armed(settings, store, broken())
    deployment = Deployment(settings, instance)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    job = deployment.defs.resolve_job_def("rollback_flag")
    tags = {"gtm/episode": EPISODE}
    (request,), _ = deployment.tick()
    under_way = instance.create_run_for_job(
        job, run_config=request.run_config, status=dg.DagsterRunStatus.STARTED, tags=tags
    )
    requests, reason = deployment.tick()
    assert requests == [] and f"run {under_way.run_id[:8]} is under way" in reason
    instance.add_run_tags(under_way.run_id, {"gtm/pid": str(gone.pid)})
    requests, reason = deployment.tick()
    assert requests == [] and "attempt 2 in" in reason
    assert instance.get_run_by_id(under_way.run_id).status == dg.DagsterRunStatus.FAILURE


def test_scenario_25_a_broken_split_waits_for_a_person_who_is_paged(tmp_path, instance, store, monkeypatch):
    guard = msgspec.structs.replace(GUARD, treated_share=0.5)
    settings = settings_for(tmp_path, guard, notify=(Notify("webhook", url="http://127.0.0.1:9/hook"),))
    counts = drawn(5, per_minute=100, rate=0.2, minutes=60, treated=steady(0.8), share=0.45)
    writer = Scripted()
    writer.state = FlagState(True, None, "rules", "a provider that does not tell its share")
    act_through(monkeypatch, writer)
    _, watermark = armed(settings, store, counts, guard, writer=writer)
    deployment = Deployment(settings, instance)
    requests, reason = deployment.tick()
    assert requests == [] and "SRM_HOLD, the split is not the planned one" in reason
    later(monkeypatch, 121)
    heard(store, watermark)
    (page,), _ = deployment.tick()
    assert deployment.run(page).success
    (note,) = store.notifications()
    assert json.loads(note.payload)["event"] == "srm_hold"
    assert "the split is not the planned one" in json.loads(note.payload)["text"]
    assert writer.events == []


def test_scenario_28_a_guard_that_cannot_be_judged_stops_no_other(tmp_path, instance, store):
    bad = msgspec.structs.replace(GUARD, flag="pricing-v2")
    settings = settings_for(
        tmp_path, bad, GUARD, guard_errors=("guards[2].threshold: 'x' is not a number (gtm.toml line 9)",)
    )
    counts = broken()
    armed(settings, store, counts)
    armed(settings, store, counts, bad)
    with store.transaction() as con:
        con.execute(insert(ops_tables.guard_counts).values(guard=bad.key, epoch=1, slot=1, arm="beta", age=-1, n=1))
    deployment = Deployment(settings, instance)
    (request,), _ = deployment.tick()
    assert request.tags["gtm/flag"] == GUARD.flag
    assert deployment.run(request).success
    requests, reason = deployment.tick()
    assert requests == []
    assert "gtm.toml: guards[2].threshold: 'x' is not a number (gtm.toml line 9)" in reason
    assert f"{bad.key}: could not be judged: ValueError" in reason


def test_the_guard_of_the_drill_is_watched_only_when_armed(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    armed(settings, store, broken(factor=1.0))
    drill = next(guard for guard in settings.watched if guard != GUARD)
    deployment = Deployment(settings, instance)
    assert drill.key not in deployment.tick()[1]
    set_split(settings.flags_path, drill.flag, 0.5)
    armed(settings, store, broken(), drill)
    (request,), _ = deployment.tick()
    assert request.tags["gtm/flag"] == drill.flag
    guarded = GuardContext.of(settings, store, drill, {})
    assert guarded.row.state == "ARMED"
    assert plant(store, drill, broken(minutes=1), start_of(broken(minutes=1))) > 0
