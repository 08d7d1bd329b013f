"""A step that is killed, repeated, raced or refused: the share is written once, or not at all, and is never left on."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from acting_cases import GUARD, Scripted, down, settings_for
from ramp_cases import RAMPED, RampWorld

from gtm_dagster.opsstore.ramp_steps import RampSteps
from gtm_dagster.rollout.control import ramping
from gtm_dagster.rollout.control.ramping import StepFailed
from gtm_dagster.rollout.providers import Conflict, FlagState, ProviderError
from gtm_dagster.rollout.providers.flagd import Flagd, set_split


class Ramping(Scripted):
    """A scripted provider whose share can be set; `writes`: the shares it recorded."""

    def __init__(self, **faults: list[ProviderError]) -> None:
        super().__init__(**faults)
        self.state = FlagState(False, None, "share-0", "0 %")
        self.writes: list[float] = []

    def set_share(self, flag, environment, share, *, comment="", expected=None):
        self._fault("set_share")
        if expected is not None and expected.fingerprint != self.state.fingerprint:
            raise Conflict("scripted: somebody changed the flag")
        self.writes.append(share)
        self.state = FlagState(True, share, f"share-{share:g}", comment)


@pytest.fixture
def world(tmp_path, monkeypatch, store) -> RampWorld:
    world = RampWorld(monkeypatch, settings_for(tmp_path, RAMPED), store, Ramping())
    world.arm()
    world.go(2)
    return world


class Killed(BaseException):
    """Stands for a process that is gone: nothing behind it is run."""


POINTS = [
    ("before the intent", RampSteps, "begin_step", True),
    ("after the intent", RampSteps, "begin_step", False),
    ("before the write", Ramping, "set_share", True),
    ("after the write", Ramping, "set_share", False),
    ("before it is recorded", RampSteps, "finish_step", True),
    ("after it is recorded", RampSteps, "finish_step", False),
]


@pytest.mark.parametrize(("owner", "name", "before"), [p[1:] for p in POINTS], ids=[p[0] for p in POINTS])
def test_a_run_killed_anywhere_is_gone_on_with_and_the_share_is_written_once(world, monkeypatch, owner, name, before):
    ramping.approve(world.context, "ana", "go on")
    id, call = world.standing.id, getattr(owner, name)

    def dies(*args, **more):
        if not before:
            call(*args, **more)
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(owner, name, dies)
        with pytest.raises(Killed):
            world.take(step=id)
    again = world.take(step=id, run_id="again")
    assert again.outcome in ("taken", "withdrawn"), again
    assert world.context.writer.writes == [0.01]
    (step,) = world.store.ramp_steps(RAMPED.key, 1)
    assert (step.state, step.to_share, step.approved_by) == ("taken", 0.01, "ana")
    taken = [move for move in world.store.history(RAMPED.key) if "ramp_taken" in (move.detail or {})]
    assert len(taken) == 1 and world.store.check_chain(RAMPED.key)


_RUN = """
import os, signal, sys
from pathlib import Path
from acting_cases import settings_for
from ramp_cases import RAMPED
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.rollout.control import ramping
from gtm_dagster.rollout.control.guard_context import GuardContext
from gtm_dagster.rollout.providers.base.flag_file import FlagFile

settings = settings_for(Path(sys.argv[1]), RAMPED)
context = GuardContext.of(settings, OpsStore.of(settings), RAMPED, os.environ)
FlagFile.rewrite = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
began = ramping.begin(context, "ana", "go on", "1")
print(began.outcome, flush=True)
ramping.write(context, began.episode)
"""


def test_kill_9_between_intent_and_write(tmp_path, monkeypatch, store):
    settings = settings_for(tmp_path, RAMPED)
    flagd = Flagd(settings.flags_path)
    flagd.create(GUARD.flag, GUARD.environment, 0.0)
    world = RampWorld(monkeypatch, settings, store, flagd)
    world.arm()
    world.go(2)
    monkeypatch.undo()
    done = subprocess.run([sys.executable, "-c", _RUN, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "intended\n"), done.stderr
    (step,) = store.ramp_steps(RAMPED.key, 1)
    assert step.state == "intended" and world.share == 0
    assert world.take(step=step.id).outcome == "taken" and world.share == 0.01
    assert store.ramp_step(step.id).attempt == 2


def test_two_runs_at_once_write_once(world):
    ramping.approve(world.context, "ana", "go on")
    id = world.standing.id
    row = world.context.row
    assert world.store.begin_step(
        row.guard, row.version, row.epoch, 1, 0.0, 0.01, run_id="other", intent_us=world.clock
    )
    assert not world.store.begin_step(row.guard, row.version, row.epoch, 1, 0.0, 0.01, run_id="me", intent_us=1)
    assert world.take(step=id).outcome == "taken"
    assert ramping.write(world.context, id).outcome == "taken" and ramping.finish(world.context, id).outcome == "taken"
    assert world.context.writer.writes == [0.01]


@pytest.mark.parametrize("state", ["ROLLING_BACK", "ROLLED_BACK", "SUPERSEDED"])
def test_a_step_cannot_begin_once_the_guard_has_moved(world, state):
    row = world.context.row
    assert world.context.move(row, state, "a loss", episode="e")
    assert not world.store.begin_step(row.guard, row.version, row.epoch, 1, 0.0, 0.01, intent_us=1)
    assert not world.store.begin_step(row.guard, row.version + 1, row.epoch, 1, 0.0, 0.01, intent_us=1)


@pytest.mark.parametrize(("state", "off"), [("ROLLING_BACK", True), ("ROLLED_BACK", True), ("SUPERSEDED", False)])
def test_a_share_that_was_written_after_a_rollback_is_turned_off_again(world, state, off):
    began = ramping.begin(world.context, "ana", "go on")
    assert ramping.write(world.context, began.episode).outcome == "written"
    assert world.context.move(world.context.row, state, "a loss", episode="e")
    result = ramping.finish(world.context, began.episode)
    assert (result.outcome, result.proceed) == ("withdrawn", False) and state in result.reason
    assert world.context.writer.state.enabled is not off, "a change by a person stands"
    assert world.store.ramp_step(began.episode).state == "withdrawn"


def test_a_guard_that_gets_suspicious_between_intent_and_write_is_heard(world):
    began = ramping.begin(world.context, "ana", "go on")
    world.sleep(300)
    result = ramping.write(world.context, began.episode)
    assert result.outcome == "withdrawn" and "BLIND" in result.reason and world.context.writer.writes == []
    assert world.standing.row.note == result.reason and world.standing.approver == "ana"
    world.go(1)
    assert world.take(step=began.episode).outcome == "taken", "its approval stands"
    assert world.store.ramp_step(began.episode).attempt == 2


def test_a_provider_that_fails_is_asked_again_and_says_so(world):
    world.context.writer.faults["set_share"] = down(1)
    with pytest.raises(StepFailed, match="scripted: 500; it is asked again"):
        world.take()
    assert "scripted: 500" in world.standing.row.note and world.standing.intended
    assert world.take(step=world.standing.id).outcome == "taken"
    assert world.context.writer.writes == [0.01]


def test_a_share_that_is_not_served_as_written_fails_the_step(world, monkeypatch):
    def elsewhere(self, flag, environment, share, **_):
        self.state = FlagState(True, 0.02, "else", "2 %")

    monkeypatch.setattr(Ramping, "set_share", elsewhere)
    with pytest.raises(StepFailed, match="1 % was written, and read back it is 2 %"):
        world.take()
    assert world.standing.intended and "drift" not in world.kinds, "no step of this epoch is recorded yet"


def test_a_flag_that_somebody_changes_at_the_same_moment_is_left(world):
    began = ramping.begin(world.context, "ana", "go on")
    world.context.writer.faults["set_share"] = [Conflict("scripted: somebody changed the flag")]
    result = ramping.write(world.context, began.episode)
    assert result.outcome == "withdrawn" and "somebody changed the flag" in result.reason


def test_a_provider_without_shares_says_so(world):
    plain = Scripted()
    plain.state = world.context.writer.state
    object.__setattr__(world.context, "writer", plain)
    with pytest.raises(StepFailed, match="its shares cannot be set from here"):
        world.take()


def test_a_ramp_begins_at_the_next_step_above_what_the_flag_serves_once_that_has_shown_something(
    tmp_path, monkeypatch, store
):
    settings = settings_for(tmp_path, RAMPED)
    set_split(settings.flags_path, GUARD.flag, 0.1)
    world = RampWorld(monkeypatch, settings, store, Flagd(settings.flags_path))
    world.arm()
    world.go(3)
    assert (world.standing.next_share, world.standing.number) == (0.25, 1)
    assert world.kinds == ["time", "power", "approval"] and "at 10 % yet" in world.standing.waits[1].text
    world.go(40)
    assert world.take().outcome == "taken" and world.share == 0.25
