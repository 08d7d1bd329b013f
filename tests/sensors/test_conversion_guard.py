"""The guard as a state machine on a real instance: what the sensor asks for, what the runs it asks for leave behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
import pytest
from acting_cases import GUARD, MINUTE, Scripted, armed, broken, heard, plant, settings_for, start_of
from sqlalchemy import insert
from traffic_cases import between, drawn, steady

from gtm_dagster.definitions import build_defs
from gtm_dagster.gate import kill_list
from gtm_dagster.opsstore import OpsStore, tables
from gtm_dagster.orchestration.guard_jobs import ROLLBACKS
from gtm_dagster.rollout.control.context import GuardContext
from gtm_dagster.rollout.control.evidence import digest, from_json, replay
from gtm_dagster.rollout.guard.decide import BLIND, BREACH, SRM_HOLD, Decision, episode_id
from gtm_dagster.rollout.providers import FlagState, ProviderError
from gtm_dagster.rollout.providers.flagd import Flagd, set_split
from gtm_dagster.settings import Notify, Settings
from gtm_dagster.warehouse.engine import opened
from gtm_dagster.warehouse.publishing import publish
from gtm_dagster.warehouse.serving import query
from sensors.conversion_guard import Attempt, next_attempt, page_of

EPISODE = episode_id(GUARD.key, 1)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
STEPS = ["claim", "turn_off", "verify", "record"]


class Deployment:
    """Sensor, daemon and runs of one instance; the cursor is kept as the daemon keeps it."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.settings = settings
        self.instance = instance
        self.defs = build_defs(settings=settings)
        self.cursor: str | None = None

    def tick(self) -> tuple[list[dg.RunRequest], str]:
        """What a tick asks for, and what it says."""
        sensor = self.defs.resolve_sensor_def("conversion_guard")
        with dg.build_sensor_context(self.instance, self.cursor, definitions=self.defs) as context:
            told = sensor.evaluate_tick(context)
        self.cursor = told.cursor
        return list(told.run_requests or ()), told.skip_message or ""

    def run(self, request: dg.RunRequest) -> Any:
        """Do what the daemon does with a request; None when a run has its key already."""
        if request.run_key and self.instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": request.run_key})):
            return None
        return self.execute(
            request.job_name, request.run_config, {**request.tags, "dagster/run_key": request.run_key or ""}
        )

    def execute(self, job: str, config: dict[str, Any], tags: dict[str, str] | None = None) -> Any:
        return self.defs.resolve_job_def(job).execute_in_process(
            {**config, **QUIET}, instance=self.instance, raise_on_error=False, tags=tags
        )

    def materializations(self) -> list[Any]:
        found = self.instance.fetch_materializations(ROLLBACKS, limit=10).records
        return [record.asset_materialization for record in found]


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def store(tmp_path):
    with OpsStore.of(settings_for(tmp_path)) as made:
        yield made


def ran(result: Any) -> list[str]:
    return [event.step_key for event in result.all_events if event.event_type_value == "STEP_SUCCESS"]


def failure(result: Any) -> str:
    failed = next(event for event in result.all_events if event.event_type_value == "STEP_FAILURE")
    return failed.event_specific_data.user_failure_data.description


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the sensor's clock run ahead."""
    now = time.time_ns()
    monkeypatch.setattr("sensors.conversion_guard.time.time_ns", lambda: now + round(seconds * 1e9))


def served_new(settings: Settings) -> int:
    return sum(Flagd(settings.flags_path).evaluate(GUARD.flag, GUARD.environment, [f"v{i}" for i in range(100)]))


# What a tick says and does not do


def test_without_guards_it_says_how_to_declare_one_and_makes_nothing(tmp_path, instance):
    settings = msgspec.structs.replace(settings_for(tmp_path / "state"), guards=())
    requests, said = Deployment(settings, instance).tick()
    assert requests == []
    assert "name a flag and its conversion under [[guards]]" in said and "`gtm stream` makes it" in said
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


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], 1),
        ([Attempt("run0", False, None)], "run run0 is under way"),
        ([Attempt("run0", True, 996.0)], "run run0 failed; attempt 2 in 1 s"),
        ([Attempt("run0", True, 995.0)], 2),
        ([Attempt("run0", False, 994.0)], 2),
        ([Attempt("run1", True, 991.0), Attempt("run0", True, 0.0)], "run run1 failed; attempt 3 in 1 s"),
        ([Attempt(f"run{i}", True, 941.0) for i in range(9)], "run run0 failed; attempt 10 in 1 s"),
        ([Attempt(f"run{i}", True, 940.0) for i in range(9)], 10),
    ],
    ids=["first", "in flight", "5 s", "after 5 s", "a withdrawn run", "10 s", "at most 60 s", "after 60 s"],
)
def test_the_next_attempt_waits_longer_each_time(runs, expected):
    assert next_attempt(runs, 1000.0) == expected


@pytest.mark.parametrize(
    ("held", "state", "kept", "paged"),
    [
        ({}, BLIND, {"g": (BLIND, 200_000_000, False)}, False),
        ({"g": (BLIND, 80_000_001, False)}, BLIND, {"g": (BLIND, 80_000_001, False)}, False),
        ({"g": (BLIND, 80_000_000, False)}, BLIND, {"g": (BLIND, 80_000_000, True)}, True),
        ({"g": (BLIND, 80_000_000, True)}, BLIND, {"g": (BLIND, 80_000_000, True)}, False),
        ({"g": (BLIND, 0, True)}, SRM_HOLD, {"g": (SRM_HOLD, 200_000_000, False)}, False),
        ({"g": (BLIND, 0, True), "h": (BLIND, 1, True)}, BREACH, {"h": (BLIND, 1, True)}, False),
    ],
    ids=["first seen", "not two minutes yet", "two minutes", "once", "another state is another occurrence", "over"],
)
def test_a_guard_that_cannot_judge_is_told_once_an_occurrence(held, state, kept, paged):
    now_held, request = page_of(held, "g", Decision(state, False, "why", 1), 200_000_000)
    assert now_held == kept
    assert (request is not None) == paged
    if request is not None:
        assert request.run_key == "page-g-BLIND-80000000" and request.job_name == "page_guard"


@pytest.mark.parametrize("cursor", [None, "", "not json", "[]", '{"g": 1}', '{"g": ["BLIND", "x", 1]}'])
def test_an_unreadable_cursor_is_an_empty_one(tmp_path, instance, store, cursor):
    armed(settings_for(tmp_path), store, broken(factor=1.0))
    deployment = Deployment(settings_for(tmp_path), instance)
    deployment.cursor = cursor
    assert deployment.tick()[0] == [] and deployment.cursor == "{}"


# The whole way


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
    (told,) = deployment.materializations()
    metadata = {name: entry.value for name, entry in told.metadata.items()}
    assert metadata["flag"] == GUARD.flag and metadata["verified"] is True and metadata["estimate"] == 1.0
    assert metadata["log_e"] > 9 and metadata["above_threshold_minutes"] > 5
    assert 0 <= metadata["seconds_intent_to_off"] < 5 and 0 <= metadata["seconds_off_to_verified"] < 5
    assert len(metadata["chart"]) < 1000 and "image/png" in metadata["picture"]
    assert metadata["bundle_sha256"] == digest(store.rollback(EPISODE).bundle)
    requests, said = deployment.tick()
    assert requests == [] and f"{GUARD.key}: ROLLED_BACK" in said
    assert not settings.warehouse_path.exists()


def test_scenario_8_a_source_that_is_down_is_blind_and_resumes_with_its_evidence(
    tmp_path, instance, store, monkeypatch
):
    settings = settings_for(tmp_path)
    _, watermark = armed(settings, store, broken())
    heard(store, watermark, silent=["collector", "web"])
    deployment = Deployment(settings, instance)
    requests, said = deployment.tick()
    assert requests == [] and "BLIND, no heartbeat for two minutes from collector, web" in said
    later(monkeypatch, 1800)
    (page,), _ = deployment.tick()
    assert page.job_name == "page_guard"
    assert deployment.tick()[0] == [], "told once"
    monkeypatch.undo()
    heard(store, watermark)
    (request,), _ = deployment.tick()
    assert request.run_key == f"{EPISODE}-1"
    assert deployment.run(request).success and served_new(settings) == 0


def test_scenario_9_a_silent_producer_is_no_drop(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    _, watermark = armed(settings, store, broken(factor=0.0))
    heard(store, watermark, silent=["web"])
    requests, said = Deployment(settings, instance).tick()
    assert requests == [] and "BLIND, no heartbeat for two minutes from web" in said


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
        {"treated": between(0.5, 30), "control": between(0.5, 30)},
        {"treated": between(0.1, 30, 34)},
    ],
    ids=["scenario 14: both arms lose half at once", "scenario 15: the loss is over after 4 minutes"],
)
def test_scenarios_14_and_15_no_rollback(tmp_path, instance, store, shape):
    settings = settings_for(tmp_path)
    counts = drawn(3, per_minute=100, rate=0.2, minutes=90, **shape)
    armed(settings, store, counts)
    assert ticks(Deployment(settings, instance), store, counts, start_of(counts), 0.5) == []
    assert served_new(settings) > 30


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
    requests, said = deployment.tick()
    assert requests == [] and f"run {under_way.run_id[:8]} is under way" in said
    instance.add_run_tags(under_way.run_id, {"gtm/pid": str(gone.pid)})
    requests, said = deployment.tick()
    assert requests == [] and "attempt 2 in" in said
    assert instance.get_run_by_id(under_way.run_id).status == dg.DagsterRunStatus.FAILURE


class Provided:
    """Every action of the test meets the scripted provider."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, writer: Scripted, fast: bool = True) -> None:
        monkeypatch.setattr("gtm_dagster.rollout.control.context.writer_for", lambda provider, environ: writer)
        if fast:
            monkeypatch.setattr("gtm_dagster.rollout.control.acting.GIVE_UP_SECONDS", 0.4)
            monkeypatch.setattr("gtm_dagster.rollout.control.acting.VERIFY_SECONDS", 0.4)


def test_scenario_18_a_failed_run_is_asked_again_until_the_flag_is_off(tmp_path, instance, store, monkeypatch):
    settings = settings_for(tmp_path)
    writer = Scripted()
    Provided(monkeypatch, writer)
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
        requests, said = deployment.tick()
        assert requests == [] and "ROLLBACK_FAILED" in said and f"attempt {attempt + 1} in" in said
    with monkeypatch.context() as ahead:
        later(ahead, 11)
        (request,), _ = deployment.tick()
    assert deployment.run(request).success
    assert len(writer.events) == 1 and len(deployment.materializations()) == 1
    assert store.rollback(EPISODE).attempt == 3


def test_scenario_19_a_flag_that_clients_still_see_fails_the_run(tmp_path, instance, store, monkeypatch):
    settings = settings_for(tmp_path)
    writer = Scripted()
    Provided(monkeypatch, writer)
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
    Provided(monkeypatch, writer)
    armed(settings, store, broken(), writer=writer)
    writer.state = FlagState(True, 0.9, "split-90", "90 %")
    deployment = Deployment(settings, instance)
    (request,), _ = deployment.tick()
    result = deployment.run(request)
    assert result.success and ran(result) == ["claim"]
    assert writer.events == []
    requests, said = deployment.tick()
    assert requests == [] and "SUPERSEDED" in said
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
    (told,) = deployment.materializations()
    assert told.metadata["outcome"].value == "would_roll_back" and told.metadata["verified"].value is False
    requests, said = deployment.tick()
    assert requests == [] and "ROLLED_BACK (dry run)" in said


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
    requests, said = deployment.tick()
    assert requests == [] and "ARMED, the flag is off at its provider" in said
    set_split(settings.flags_path, GUARD.flag, 0.5)
    store.see_flag(GUARD.key, True, 0.5, "split", time.time_ns() // 1000)
    requests, said = deployment.tick()
    assert requests == [] and "WARMUP, no exposures counted yet" in said


def test_a_manual_rollback_in_the_ui_is_the_same_run(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    armed(settings, store, broken(factor=1.0))
    deployment = Deployment(settings, instance)
    config = {"guard": GUARD.key, "actor": "ana", "reason": "support calls"}
    result = deployment.execute("manual_rollback", {"ops": {"claim_by_hand": {"config": config}}})
    assert result.success and ran(result) == ["claim_by_hand", "turn_off", "verify", "record"]
    assert served_new(settings) == 0
    (told,) = deployment.materializations()
    assert (told.metadata["actor"].value, told.metadata["reason"].value) == ("ana", "support calls")
    assert deployment.tick()[0] == []


def test_scenario_25_a_broken_split_is_held_and_told(tmp_path, instance, store, monkeypatch):
    guard = msgspec.structs.replace(GUARD, treated_share=0.5)
    settings = settings_for(tmp_path, guard, notify=(Notify("webhook", url="http://127.0.0.1:9/hook"),))
    counts = drawn(5, per_minute=100, rate=0.2, minutes=60, treated=steady(0.8), share=0.45)
    writer = Scripted()
    writer.state = FlagState(True, None, "rules", "a provider that does not tell its share")
    Provided(monkeypatch, writer)
    _, watermark = armed(settings, store, counts, guard, writer=writer)
    deployment = Deployment(settings, instance)
    requests, said = deployment.tick()
    assert requests == [] and "SRM_HOLD, the split is not the planned one" in said
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
        con.execute(insert(tables.guard_counts).values(guard=bad.key, epoch=1, slot=1, arm="beta", age=-1, n=1))
    deployment = Deployment(settings, instance)
    (request,), _ = deployment.tick()
    assert request.tags["gtm/flag"] == GUARD.flag
    assert deployment.run(request).success
    requests, said = deployment.tick()
    assert requests == []
    assert "gtm.toml: guards[2].threshold: 'x' is not a number (gtm.toml line 9)" in said
    assert f"{bad.key}: could not be judged: ValueError" in said


def test_scenario_29_the_stored_evidence_of_a_run_replays(tmp_path, instance, store):
    settings = settings_for(tmp_path)
    armed(settings, store, broken(minutes=40, factor=0.4, delay_minutes=3.0))
    deployment = Deployment(settings, instance)
    assert deployment.run(deployment.tick()[0][0]).success
    row = store.rollback(EPISODE)
    again = replay(from_json(row.bundle))
    assert again.fires and abs(again.log_e - row.log_e) <= 1e-9
    assert deployment.materializations()[0].metadata["log_e"].value == row.log_e


def test_scenario_32_a_sink_that_is_down_delays_the_message_and_not_the_rollback(tmp_path, instance, store):
    settings = settings_for(tmp_path, notify=(Notify("webhook", url="http://127.0.0.1:9/hook"),))
    armed(settings, store, broken())
    deployment = Deployment(settings, instance)
    assert deployment.run(deployment.tick()[0][0]).success
    assert served_new(settings) == 0
    _, said = deployment.tick()
    assert "not delivered: 1 message(s), webhook[0] not reached (ConnectionError) after 1 attempt(s)" in said
    (note,) = store.notifications()
    assert (note.status, note.attempts) == ("pending", 1)


# What readers find


@pytest.mark.parametrize("rolled_back", [True, False], ids=["a rollback", "none yet"])
def test_the_serving_copy_holds_the_rollbacks(tmp_path, store, rolled_back):
    settings = settings_for(tmp_path)
    if rolled_back:
        from test_acting import through

        through(*armed(settings, store, broken()))
    settings.state_dir.mkdir(exist_ok=True)
    with opened(settings.warehouse_path, settings) as con:
        publish(con, settings)
    columns, rows = query(
        settings,
        "SELECT flag, episode, decided_at < effective_at, estimate > 0.5, evidence > 9, verified, outcome FROM ops.rollbacks",
    )
    assert columns[:2] == ["flag", "episode"]
    assert rows == ([(GUARD.flag, EPISODE, True, True, True, True, "rolled_back")] if rolled_back else [])


def test_the_serving_copy_of_a_deployment_without_guards(tmp_path):
    settings = settings_for(tmp_path)
    with opened(settings.warehouse_path, settings) as con:
        publish(con, settings)
    assert query(settings, "SELECT * FROM ops.rollbacks")[1] == []
    assert not (tmp_path / "ops.db").exists()


def test_the_columns_of_the_asset_are_those_of_the_table(tmp_path):
    spec = next(spec for spec in build_defs().resolve_all_asset_specs() if spec.key == ROLLBACKS)
    settings = settings_for(tmp_path)
    with opened(settings.warehouse_path, settings) as con:
        publish(con, settings)
    told = [(column.name, column.type) for column in spec.metadata["dagster/column_schema"].columns]
    _, rows = query(
        settings, "SELECT column_name, lower(data_type) FROM information_schema.columns WHERE table_name = 'rollbacks'"
    )
    assert told == rows


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
    post = GuardContext.of(settings, store, drill, {})
    assert post.row.state == "ARMED"
    assert plant(store, drill, broken(minutes=1), start_of(broken(minutes=1))) > 0
