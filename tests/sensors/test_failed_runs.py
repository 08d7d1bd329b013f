"""People are notified of a failed refresh or check once, until a run of the same job is good again."""

from __future__ import annotations

import json

import dagster as dg
import pytest
from acting_cases import SINK, settings_for

from gtm_dagster.definitions import build_defs
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.orchestration.failed_runs import failed_checks, notify_of_failure
from sensors.failed_runs import failed_runs


def job(name: str, *, fails: str = "", check: bool = False):
    @dg.op
    def work(context):
        if check:
            context.log_event(
                dg.AssetCheckEvaluation(
                    asset_key=dg.AssetKey(["core", "sessions"]), check_name="sessions_cover_events", passed=False,
                    description="3 events without a session",
                )
            )  # fmt: skip
        if fails:
            raise dg.Failure(description=fails)

    @dg.job(name=name)
    def made():
        work()

    return made


def ran(instance, **given):
    return job(**given).execute_in_process(instance=instance, raise_on_error=False)


def notified(instance, settings, result) -> int:
    return notify_of_failure(instance, settings, result.dagster_run, "disk\n is full", 1)


def texts(settings) -> list[str]:
    with OpsStore.of(settings) as store:
        return [json.loads(note.payload)["text"] for note in store.notifications("run/refresh")]


def test_once_while_it_keeps_failing_and_again_after_a_good_run(tmp_path, instance):
    settings = settings_for(tmp_path, notify=SINK)
    new = [notified(instance, settings, ran(instance, name="refresh", fails="disk is full")) for _ in range(3)]
    assert new == [1, 0, 0]
    (text,) = texts(settings)
    assert "the job refresh failed: disk is full. Tables" in text
    assert notified(instance, settings, ran(instance, name="rebuild", fails="x")) == 1, "another job"
    assert ran(instance, name="refresh").success
    assert notified(instance, settings, ran(instance, name="refresh", fails="disk is full")) == 1
    assert len(texts(settings)) == 2


@pytest.mark.parametrize(
    ("name", "sinks", "why"),
    [
        ("refresh", (), "nobody to notify"),
        ("rollback_flag", SINK, "says so itself"),
        ("my_job", SINK, "a job of one's own"),
    ],
)
def test_others_are_left_alone(tmp_path, instance, name, sinks, why):
    settings = settings_for(tmp_path, notify=sinks)
    assert notified(instance, settings, ran(instance, name=name, fails="x")) == 0, why
    assert not (tmp_path / "ops.db").exists()


def test_checks_that_do_not_hold_are_named(tmp_path, instance):
    settings = settings_for(tmp_path, notify=SINK)
    result = ran(instance, name="refresh", fails="a check failed", check=True)
    assert failed_checks(instance, result.run_id) == [
        "core.sessions sessions_cover_events (3 events without a session)"
    ]
    notified(instance, settings, result)
    assert "checks that do not hold: core.sessions sessions_cover_events (3 events" in texts(settings)[0]


def test_the_sensor_gives_the_words_of_the_step(tmp_path, instance):
    settings = settings_for(tmp_path, notify=SINK)
    result = ran(instance, name="refresh", fails="the plan is not valid")
    failure = next(event for event in result.all_node_events + result.all_events if event.is_run_failure)
    context = dg.build_run_status_sensor_context(
        sensor_name="failed_runs", dagster_event=failure, dagster_instance=instance, dagster_run=result.dagster_run
    ).for_run_failure()
    failed_runs(settings)(context)
    assert "failed: the plan is not valid. Tables" in texts(settings)[0]
    assert "failed_runs" in {sensor.name for sensor in build_defs(settings=settings).sensors}
