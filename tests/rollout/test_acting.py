"""Turning a flag off, step by step: what is done once, and what a killed or repeated run leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from acting_cases import (
    EPISODE,
    GUARD,
    MINUTE,
    SINK,
    armed,
    broken,
    heard,
    plant,
    scripted,
    settings_for,
    start_of,
    states,
    through,
)
from profiles import slow_but

from gtm_dagster.gate import kill_list
from gtm_dagster.opsstore import UnitRow
from gtm_dagster.rollout.control.acting import claim, sampled_units, turn_off, verify
from gtm_dagster.rollout.control.arming import rearm
from gtm_dagster.rollout.control.evidence import (
    digest,
    from_json,
    replay,
)
from gtm_dagster.rollout.control.guard_context import GuardContext
from gtm_dagster.rollout.providers.base.flag_file import FlagFile
from gtm_dagster.rollout.providers.flagd import Flagd, set_split


def test_a_breach_ends_with_the_flag_off_proven_and_latched(tmp_path, store):
    settings = settings_for(tmp_path)
    context, watermark = armed(settings, store, broken())
    served = Flagd(settings.flags_path).evaluate(GUARD.flag, GUARD.environment, [f"u{i}" for i in range(100)])
    assert 30 < sum(served) < 70
    assert through(context, watermark).outcome == "rolled_back"
    assert not any(Flagd(settings.flags_path).evaluate(GUARD.flag, GUARD.environment, [f"u{i}" for i in range(100)]))
    assert states(store) == ["ARMED", "ROLLING_BACK", "VERIFYING", "ROLLED_BACK"]
    assert store.check_chain(GUARD.key)
    row = store.rollback(EPISODE)
    assert row.verified and row.outcome == "rolled_back" and row.run_id == "run-1"
    assert row.decided_us < row.intent_us <= row.acked_us <= row.effective_us
    assert row.effective_us - row.intent_us < 1_000_000
    assert row.estimate > 0.8 and row.log_e > row.log_budget
    assert not kill_list.read(settings.kill_list_path)


@pytest.mark.parametrize(
    ("case", "outcome"),
    [("recovered", "withdrawn"), ("never armed", "withdrawn"), ("another epoch", "withdrawn")],
    ids=["the counts no longer say so", "a guard acts only once armed", "the epoch has moved on"],
)
def test_a_claim_that_does_not_hold_moves_nothing(tmp_path, store, case, outcome):
    settings = settings_for(tmp_path)
    if case == "never armed":
        set_split(settings.flags_path, GUARD.flag, 0.5)
        context, watermark = GuardContext(store, settings, GUARD, Flagd(settings.flags_path)), 0
    else:
        context, watermark = armed(settings, store, broken(factor=1.0 if case == "recovered" else 0.1))
    if case == "another epoch":
        rearm(context, "ana", "release 13")
    before = settings.flags_path.read_bytes(), states(store)
    assert through(context, watermark).outcome == outcome
    assert (settings.flags_path.read_bytes(), states(store)) == before
    assert store.rollbacks() == []


def test_counts_that_arrive_after_the_decision_are_not_judged(tmp_path, store):
    context, watermark = armed(settings_for(tmp_path), store, broken(minutes=12))
    healthy = broken(minutes=60, factor=1.0)
    plant(store, GUARD, healthy, watermark + MINUTE)
    assert through(context, watermark).outcome == "rolled_back"
    assert from_json(store.rollback(EPISODE).bundle).counts.watermark_us == watermark


# Scenario 17: exactly one provider event and one record

_RUN = """
import os, signal, sys
from pathlib import Path
from acting_cases import GUARD, settings_for
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.rollout.control import acting
from gtm_dagster.rollout.control.guard_context import GuardContext
from gtm_dagster.rollout.providers.base.flag_file import FlagFile

where, state_dir, watermark, episode = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
rewrite = FlagFile.rewrite
def counted(self, *args, **more):
    written = rewrite(self, *args, **more)
    if written:
        print("event", flush=True)
    return written
FlagFile.rewrite = counted

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def dies(owner, name, before, when=lambda args, more: True):
    call = getattr(owner, name)
    def wrapped(*args, **more):
        if not when(args, more):
            return call(*args, **more)
        if not before:
            call(*args, **more)
        die()
    setattr(owner, name, wrapped)

to = lambda state: lambda args, more: args[3] == state
sets = lambda column: lambda args, more: column in more
points = {{
    "before the state moved": lambda: dies(OpsStore, "move", True, to("ROLLING_BACK")),
    "before the intent": lambda: dies(OpsStore, "insert_rollback", True),
    "after the intent": lambda: dies(OpsStore, "insert_rollback", False),
    "before the provider": lambda: dies(FlagFile, "rewrite", True),
    "after the provider, before the ack": lambda: dies(FlagFile, "rewrite", False),
    "after the ack": lambda: dies(OpsStore, "update_rollback", False, sets("acked_us")),
    "before the proof is stored": lambda: dies(OpsStore, "update_rollback", True, sets("effective_us")),
    "before the latch": lambda: dies(OpsStore, "move", True, to("ROLLED_BACK")),
    "after the latch": lambda: dies(OpsStore, "move", False, to("ROLLED_BACK")),
}}
settings = settings_for(state_dir)
store = OpsStore.of(settings)
context = GuardContext.of(settings, store, GUARD, os.environ)
if where == "together":
    print("ready", flush=True)
    sys.stdin.readline()
else:
    points[where]()
run = str(os.getpid())
for step in (lambda: acting.claim(context, episode, 1, watermark, run), lambda: acting.turn_off(context, episode), lambda: acting.verify(context, episode, run)):
    outcome = step()
    print("step", outcome.outcome, flush=True)
    if not outcome.proceed:
        break
store.close()
"""


def started(where: str, tmp_path: Path, watermark: int) -> subprocess.Popen[str]:
    code = _RUN.format()
    return subprocess.Popen(
        [sys.executable, "-c", code, where, str(tmp_path), str(watermark), EPISODE],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip


@pytest.mark.parametrize(
    "where",
    slow_but(
        3,
        "before the intent",
        "after the provider, before the ack",
        "before the latch",
        "before the state moved",
        "after the intent",
        "before the provider",
        "after the ack",
        "before the proof is stored",
        "after the latch",
    ),
)
def test_scenario_17_a_killed_run_is_gone_on_with_once(tmp_path, store, where, monkeypatch):
    context, watermark = armed(settings_for(tmp_path), store, broken())
    killed = started(where, tmp_path, watermark)
    first, _ = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    events = first.split().count("event")
    rewrite = FlagFile.rewrite

    def counted(*args, **more):
        nonlocal events
        written = rewrite(*args, **more)
        events += written
        return written

    monkeypatch.setattr(FlagFile, "rewrite", counted)
    assert through(context, watermark, 2).outcome == "rolled_back"
    assert events == 1
    assert [row.episode for row in store.rollbacks()] == [EPISODE]
    row = store.rollback(EPISODE)
    assert row.verified and row.acked_us and row.effective_us and row.intent_us
    assert replay(from_json(row.bundle)).fires
    assert digest(row.bundle) in [(move.detail or {}).get("bundle_sha256") for move in store.history(GUARD.key)]
    assert states(store) == ["ARMED", "ROLLING_BACK", "VERIFYING", "ROLLED_BACK"]
    assert store.check_chain(GUARD.key)


def test_scenario_17_two_runs_at_once_make_one_event(tmp_path, store):
    _, watermark = armed(settings_for(tmp_path), store, broken())
    both = [started("together", tmp_path, watermark) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    output = ""
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        output += process.communicate(timeout=60)[0]
        assert process.returncode == 0
    assert output.split().count("event") == 1
    assert [row.episode for row in store.rollbacks()] == [EPISODE]
    assert states(store) == ["ARMED", "ROLLING_BACK", "VERIFYING", "ROLLED_BACK"]


def test_scenario_17_a_repeated_step_changes_nothing(tmp_path, store):
    context, watermark, writer, _ = scripted(tmp_path, store)
    for _ in range(3):
        assert through(context, watermark).proceed
    assert len(writer.events) == 1
    assert len(store.rollbacks()) == 1
    assert [note.id for note in store.notifications()] == [f"{EPISODE}:rolled_back:webhook[0]"]


# Scenario 23: dry run


def test_scenario_23_a_dry_run_writes_nothing_and_says_so_once(tmp_path, store):
    guard = msgspec.structs.replace(GUARD, dry_run=True)
    settings = settings_for(tmp_path, guard, notify=SINK)
    context, watermark = armed(settings, store, broken(), guard)
    before = settings.flags_path.read_bytes(), settings.flags_path.stat().st_mtime_ns
    for _ in range(2):
        assert through(context, watermark).outcome == "would_roll_back"
    assert (settings.flags_path.read_bytes(), settings.flags_path.stat().st_mtime_ns) == before
    (row,) = store.rollbacks()
    assert (row.dry_run, row.verified, row.effective_us, row.acked_us) == (True, False, None, None)
    assert row.estimate > 0.8 and replay(from_json(row.bundle)).fires
    (note,) = store.notifications()
    assert "would have been rolled back" in note.payload
    assert not kill_list.read(settings.kill_list_path)


def test_a_silent_producer_does_not_stop_what_was_begun(tmp_path, store):
    context, watermark, _, _ = scripted(tmp_path, store)
    assert claim(context, EPISODE, 1, watermark).proceed
    heard(store, watermark, silent=["web"])
    assert turn_off(context, EPISODE).proceed and verify(context, EPISODE).outcome == "rolled_back"


def test_the_sampled_units_are_the_last_treated_ones(tmp_path, store):
    context, watermark, _, _ = scripted(tmp_path, store)
    rows = [UnitRow(f"u{i}", 1, "treatment" if i % 2 else "control", watermark - i * MINUTE, None) for i in range(200)]
    with store.transaction() as con:
        store.put_units(con, GUARD.key, rows)
    assert claim(context, EPISODE, 1, watermark).proceed
    units = sampled_units(context, store.rollback(EPISODE))
    assert set(units) == {f"u{i}" for i in range(1, 31, 2)}
    turn_off(context, EPISODE)
    verify(context, EPISODE)
    assert store.rollback(EPISODE).last_exposure_us == watermark - MINUTE


def test_the_counts_of_the_claim_start_where_they_were_planted(tmp_path, store):
    counts = broken()
    context, watermark = armed(settings_for(tmp_path), store, counts)
    claim(context, EPISODE, 1, watermark)
    claimed = from_json(store.rollback(EPISODE).bundle).counts
    assert int(claimed.exposed.sum()) == int(counts.exposed.sum())
    assert watermark - start_of(counts) >= counts.watermark_us - MINUTE
