"""The ramp as Dagster drives it: the sensor asks, a person launches or approves, the runs are recorded."""

from __future__ import annotations

import dagster as dg
import msgspec
import pytest
from acting_cases import GUARD, settings_for
from guard_deployment import Deployment, failure, ran
from ramp_cases import RAMP, RAMPED, RampWorld

from gtm_dagster.definitions import build_defs
from gtm_dagster.orchestration.ramp_jobs import RAMP_STEPS
from gtm_dagster.rollout.control import ramping
from gtm_dagster.rollout.providers.flagd import Flagd
from gtm_dagster.settings import Notify

PARTS = ["begin_step", "write_share", "read_share_back", "record_step"]
STEPS = (0.05, 0.25, 1.0)


class Ramped(Deployment):
    """The sensor `guard_ramp` of a deployment."""

    def ramp_tick(self) -> tuple[list[dg.RunRequest], str]:
        sensor = self.defs.resolve_sensor_def("guard_ramp")
        with dg.build_sensor_context(self.instance, definitions=self.defs) as context:
            tick = sensor.evaluate_tick(context)
        return list(tick.run_requests or ()), tick.skip_message or ""

    def launched(self, actor: str, reason: str) -> dg.ExecuteInProcessResult:
        config = {"guard": GUARD.flag, "actor": actor, "reason": reason}
        return self.execute("ramp_flag", {"ops": {"begin_step": {"config": config}}})

    def shares(self) -> list[float]:
        found = self.instance.fetch_materializations(RAMP_STEPS, limit=10).records
        return [record.asset_materialization.metadata["share"].value for record in reversed(found)]


def ramped(tmp_path, monkeypatch, instance, store, **ramp) -> tuple[RampWorld, Ramped]:
    guard = msgspec.structs.replace(RAMPED, ramp=msgspec.structs.replace(RAMP, steps=STEPS, **ramp))
    settings = settings_for(tmp_path, guard, notify=(Notify("webhook", url="http://127.0.0.1:9/hook"),))
    flagd = Flagd(settings.flags_path)
    flagd.create(GUARD.flag, GUARD.environment, 0.0)
    world = RampWorld(monkeypatch, settings, store, flagd, guard)
    world.arm()
    world.go(2)
    return world, Ramped(settings, instance)


def test_the_definitions_load_whole(tmp_path):
    dg.Definitions.validate_loadable(build_defs(settings=settings_for(tmp_path, RAMPED)))


def test_two_approvals_and_time_take_a_healthy_flag_to_everybody(tmp_path, monkeypatch, instance, store):
    world, deployment = ramped(tmp_path, monkeypatch, instance, store, auto=True, approval=(True, False, True))
    assert [request.job_name for request in deployment.ramp_tick()[0]] == ["page_guard"]
    ramping.approve(world.context, "ana", "rollout begins")
    for share in STEPS:
        if share == 1.0:
            assert [request.job_name for request in deployment.ramp_tick()[0]] == ["page_guard"]
            ramping.approve(world.context, "ben", "a week without complaints")
        (request,), _ = deployment.ramp_tick()
        assert deployment.run(request).success and world.share == share
        assert deployment.run(request) is None, "its key has run"
        assert deployment.ramp_tick()[0] == [], "the next step has its own time"
        world.go(60)
    assert deployment.shares() == list(STEPS)
    assert "the ramp is complete" in deployment.ramp_tick()[1]
    last = instance.fetch_materializations(RAMP_STEPS, limit=1).records[0].asset_materialization.metadata
    assert (last["approved_by"].value, last["from_share"].value) == ("ben", 0.25)
    assert last["evidence"].value["needed_minutes"] <= last["evidence"].value["elapsed_minutes"]
    assert last["taken"].value == "from 25 % to 100 %, approved by ben: a week without complaints"
    assert last["ready"].value.startswith("a loss of 30% would have been seen after ")
    messages = [note.payload for note in store.notifications()]
    assert (
        len(messages) == 3
        and "went from 25 % to 100 %, approved by ben: a week without complaints. Read back at flagd; a loss"
        in messages[-1]
    )


def test_a_person_launches_the_next_step_in_the_ui_and_is_told_what_is_missing(tmp_path, monkeypatch, instance, store):
    world, deployment = ramped(tmp_path, monkeypatch, instance, store)
    form = deployment.defs.resolve_job_def("ramp_flag").run_config
    assert form == {"ops": {"begin_step": {"config": {"guard": GUARD.flag, "actor": "", "reason": ""}}}}
    empty = deployment.execute("ramp_flag", form)
    assert not empty.success and "actor: say who asks" in failure(empty) and world.share == 0
    first = deployment.launched("ana", "rollout begins")
    assert first.success and ran(first) == PARTS and world.share == 0.05
    early = deployment.launched("ana", "hurry")
    assert not early.success and "step 2 is not taken" in failure(early) and "5 % lasts at least" in failure(early)
    assert world.share == 0.05 and deployment.shares() == [0.05]


def test_people_are_notified_once_of_a_step_that_waits_for_approval_alone(tmp_path, monkeypatch, instance, store):
    world, deployment = ramped(tmp_path, monkeypatch, instance, store, min_hours=2.0)
    (request,), _ = deployment.ramp_tick()
    assert deployment.ramp_tick()[0][0].run_key == request.run_key, "asked for again until it was stored"
    assert deployment.run(request).success and deployment.run(request) is None
    (note,) = store.notifications()
    assert "waits for approval alone: step 1 from 0 % to 5 %" in note.payload
    assert "gtm guard ramp checkout-v2 --approve --by NAME" in note.payload
    assert deployment.ramp_tick()[0] == [], "people know"
    assert deployment.launched("ana", "rollout begins").success
    world.go(60)
    assert deployment.ramp_tick()[0] == [], "two hours are not over, so approval is not all that is missing"
    world.go(70)
    (request,), _ = deployment.ramp_tick()
    assert deployment.run(request).success
    texts = [note.payload for note in store.notifications() if "waits for approval alone" in note.payload]
    assert len(texts) == 2 and "step 2 from 5 % to 25 %" in texts[-1]


def test_without_a_sink_nobody_is_notified_and_no_run_is_asked_for(tmp_path, monkeypatch, instance, store):
    world, deployment = ramped(tmp_path, monkeypatch, instance, store)
    quiet = Ramped(msgspec.structs.replace(deployment.settings, notify=()), instance)
    assert quiet.ramp_tick()[0] == [] and "a person approves it" in quiet.ramp_tick()[1]
    assert world.kinds == ["approval"]


def test_a_run_that_fails_between_intent_and_write_is_followed_by_one_that_goes_on(
    tmp_path, monkeypatch, instance, store
):
    world, deployment = ramped(tmp_path, monkeypatch, instance, store, auto=True)
    (request,), _ = deployment.ramp_tick()
    with monkeypatch.context() as broken:
        broken.setattr(Flagd, "set_share", lambda *_, **__: 1 / 0)
        assert not deployment.run(request).success
    assert world.share == 0 and store.ramp_steps(RAMPED.key, 1)[0].state == "intended"
    world.go(1)
    (request,), _ = deployment.ramp_tick()
    assert request.run_key.endswith("-2") and deployment.run(request).success
    (step,) = store.ramp_steps(RAMPED.key, 1)
    assert (step.state, step.attempt, world.share) == ("taken", 2, 0.05)


@pytest.mark.parametrize("before", ["begin", "write"], ids=["before the intent", "before the write"])
def test_a_guard_that_rolls_back_meanwhile_wins(tmp_path, monkeypatch, instance, store, before):
    world, deployment = ramped(tmp_path, monkeypatch, instance, store, auto=True)
    (request,), _ = deployment.ramp_tick()
    part = getattr(ramping, before)

    def raced(*args, **more):
        row = world.context.row
        assert world.context.move(row, "ROLLED_BACK", "a loss", episode="e")
        return part(*args, **more)

    monkeypatch.setattr(ramping, before, raced)
    assert deployment.run(request).success
    assert world.share == 0 and deployment.shares() == []
    assert deployment.ramp_tick()[0] == [] and "the guard is ROLLED_BACK" in deployment.ramp_tick()[1]
