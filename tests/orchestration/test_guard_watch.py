"""A guard that nobody watches is a problem that `gtm guard status` and `gtm doctor` name."""

from __future__ import annotations

import json
import time

import dagster as dg
import pytest
from acting_cases import GUARD, SINK, armed, broken, settings_for
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, TickData, TickStatus

from gtm_dagster.commands.guard_watching import unwatched
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.orchestration.guard_sensor import sensor_state
from gtm_dagster.orchestration.guard_watch import GuardWatch
from gtm_dagster.orchestration.instance import instance_of
from gtm_dagster.rollout.providers.flagd import set_split
from gtm_dagster.stream.watchdog import SENSOR, STREAM

MINUTE = 60_000_000


def now_us() -> int:
    return time.time_ns() // 1000


def switched(instance: dg.DagsterInstance, status: InstigatorStatus, sensor: str = SENSOR) -> InstigatorState:
    """As the button of the UI leaves it."""
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("gtm_dagster"), "__repository__"), sensor
    )
    state = InstigatorState(origin, InstigatorType.SENSOR, status)
    instance.add_instigator_state(state)
    return state


def ticked(instance: dg.DagsterInstance, state: InstigatorState, at_us: int, status: TickStatus) -> None:
    instance.create_tick(
        TickData(
            instigator_origin_id=state.instigator_origin_id, instigator_name=state.instigator_name,
            instigator_type=InstigatorType.SENSOR, status=status, timestamp=at_us / 1e6, selector_id=state.selector_id,
            run_ids=[] if status == TickStatus.SUCCESS else None,
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        pytest.param(InstigatorStatus.STOPPED, "the sensor conversion_guard is stopped", id="stopped by a person"),
        pytest.param(InstigatorStatus.RUNNING, None, id="started by a person"),
        pytest.param(InstigatorStatus.DECLARED_IN_CODE, None, id="as declared"),
        pytest.param(None, None, id="no daemon ran here yet"),
    ],
)
def test_a_stopped_sensor_is_a_problem(tmp_path, status, problem):
    settings = settings_for(tmp_path)
    assert unwatched(settings) == [] and not settings.dagster_home.exists()
    with instance_of(settings) as instance:
        switched(instance, InstigatorStatus.STOPPED, "event_log_sensor")
        if status is not None:
            switched(instance, status)
    assert [problem in line for line in unwatched(settings)] == ([True] if problem else [])


@pytest.mark.parametrize(
    ("minutes_ago", "tick", "problem"),
    [
        pytest.param(1, TickStatus.SKIPPED, False, id="it looked a minute ago"),
        pytest.param(10, TickStatus.SKIPPED, True, id="it looked ten minutes ago"),
        pytest.param(10, TickStatus.SUCCESS, True, id="and asked for a run"),
    ],
)
def test_an_armed_guard_whose_sensor_does_not_look_is_a_problem(tmp_path, minutes_ago, tick, problem):
    settings = settings_for(tmp_path)
    with OpsStore.of(settings) as store, instance_of(settings) as instance:
        armed(settings, store, broken())
        state = switched(instance, InstigatorStatus.RUNNING)
        ticked(instance, state, now_us() - minutes_ago * MINUTE, tick)
        ticked(instance, state, now_us(), TickStatus.STARTED)  # one that has not come to its end has not looked
    assert ["has not looked at the guards" in line for line in unwatched(settings)] == [True] * problem


@pytest.mark.parametrize("known", [True, False], ids=["disarmed", "no row: the ops store is new"])
def test_a_flag_that_is_on_beside_a_guard_that_is_not_armed_is_a_problem(tmp_path, known):
    settings = settings_for(tmp_path)
    if known:
        with OpsStore.of(settings) as store:
            store.ensure(GUARD.key, GUARD.flag, GUARD.conversion, GUARD.environment)
    assert unwatched(settings) == [], "the flag is not there"
    set_split(settings.flags_path, GUARD.flag, 0.5)
    (line,) = unwatched(settings)
    assert "checkout-v2 is on at flagd" in line and "gtm guard rearm checkout-v2" in line


def test_the_daemon_keeps_the_sensors_look_and_reports_a_silent_worker(tmp_path, monkeypatch):
    settings = settings_for(tmp_path, notify=SINK)
    with instance_of(settings) as instance:
        watch = GuardWatch(instance, settings)
        watch.look()
        assert not (tmp_path / "ops.db").exists(), "asking makes no store"
        with OpsStore.of(settings) as store:
            state = switched(instance, InstigatorStatus.RUNNING)
            at_us = now_us() - MINUTE
            ticked(instance, state, at_us, TickStatus.SKIPPED)
            assert sensor_state(settings).last_look_us == pytest.approx(at_us, abs=1)
            watch.look()
            assert store.last_beat(SENSOR) == pytest.approx(at_us, abs=1)
            store.beat(STREAM, now_us() - 30 * MINUTE)
            ahead = now_us() + 10 * MINUTE
            monkeypatch.setattr("gtm_dagster.stream.watchdog.time.time_ns", lambda: ahead * 1000)
            watch.look()
            (message,) = store.notifications()
            assert "the stream worker has not gone on" in json.loads(message.payload)["text"]
            assert message.attempts == 1, "it is sent by the daemon: the worker sends nothing now"
            (line,) = unwatched(settings)
            assert "the stream worker has not gone on" in line
