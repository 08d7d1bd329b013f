"""Turning a flag off, step by step: what is done once, what is retried, what is never overwritten, what is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from acting_cases import GUARD, MINUTE, Clock, Scripted, armed, broken, heard, plant, settings_for, start_of
from traffic_cases import steady

from gtm_dagster.gate import kill_list
from gtm_dagster.opsstore import OpsStore, UnitRow
from gtm_dagster.rollout.control.acting import claim, sampled_units, turn_off, verify
from gtm_dagster.rollout.control.arming import Refused, claim_by_hand, find_guard, rearm
from gtm_dagster.rollout.control.chart import PNG_BYTES, curves, inline, png
from gtm_dagster.rollout.control.context import ActionFailed, GuardContext
from gtm_dagster.rollout.control.evidence import digest, from_json, replay, replayed_decision, to_json
from gtm_dagster.rollout.guard.decide import episode_id
from gtm_dagster.rollout.guard.detector import Rule
from gtm_dagster.rollout.providers import FlagState, ProviderError
from gtm_dagster.rollout.providers.base.flag_file import FlagFile
from gtm_dagster.rollout.providers.flagd import Flagd, set_split
from gtm_dagster.settings import FlagProvider, Notify

EPISODE = episode_id(GUARD.key, 1)
SINK = (Notify("webhook", url="http://127.0.0.1:9/hook"),)


@pytest.fixture
def store(tmp_path):
    with OpsStore.of(settings_for(tmp_path)) as opened:
        yield opened


def through(context: GuardContext, watermark_us: int, attempt: int = 1):
    """The whole run; the step it ended at."""
    for step in (
        lambda: claim(context, EPISODE, attempt, watermark_us, f"run-{attempt}"),
        lambda: turn_off(context, EPISODE),
        lambda: verify(context, EPISODE, f"run-{attempt}"),
    ):
        told = step()
        if not told.proceed:
            break
    return told


def states(store: OpsStore) -> list[str]:
    return [move.to_state for move in store.history(GUARD.key)]


def scripted(tmp_path, store, writer=None, **more):
    clock = Clock()
    settings = settings_for(tmp_path, notify=SINK)
    writer = writer or Scripted()
    context, watermark = armed(settings, store, broken(), writer=writer, now_us=clock, sleep=clock.sleep, **more)
    return context, watermark, writer, clock


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
from gtm_dagster.rollout.control.context import GuardContext
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
    told = step()
    print("step", told.outcome, flush=True)
    if not told.proceed:
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
    [
        "before the state moved",
        "before the intent",
        "after the intent",
        "before the provider",
        "after the provider, before the ack",
        "after the ack",
        "before the proof is stored",
        "before the latch",
        "after the latch",
    ],
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
    told = ""
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        told += process.communicate(timeout=60)[0]
        assert process.returncode == 0
    assert told.split().count("event") == 1
    assert [row.episode for row in store.rollbacks()] == [EPISODE]
    assert states(store) == ["ARMED", "ROLLING_BACK", "VERIFYING", "ROLLED_BACK"]


def test_scenario_17_a_repeated_step_changes_nothing(tmp_path, store):
    context, watermark, writer, _ = scripted(tmp_path, store)
    for _ in range(3):
        assert through(context, watermark).proceed
    assert len(writer.events) == 1
    assert len(store.rollbacks()) == 1
    assert [note.id for note in store.notifications()] == [f"{EPISODE}:rolled_back:webhook[0]"]


# Scenarios 18 and 19: a provider that fails


def down(times: int, retry: bool = True) -> list[ProviderError]:
    return [ProviderError("scripted: 500", retry=retry) for _ in range(times)]


@pytest.mark.parametrize(
    ("writer", "slept"),
    [
        (lambda: Scripted(turn_off=down(1)), [0.5]),
        (lambda: Scripted(turn_off=down(4)), [0.5, 1.0, 2.0, 4.0]),
        (lambda: Scripted(read_back=[*down(3)]), [0.5, 1.0]),
    ],
    ids=["one 500", "four 500", "down when it was claimed"],
)
def test_scenario_18_retries_until_it_works(tmp_path, store, writer, slept):
    chosen = writer()
    faults, chosen.faults = chosen.faults, {}
    context, watermark, _, clock = scripted(tmp_path, store, chosen)
    chosen.faults = faults
    assert through(context, watermark).outcome == "rolled_back"
    assert clock.slept == slept
    assert len(chosen.events) == 1
    assert store.rollback(EPISODE).verified


def test_scenario_18_a_call_that_timed_out_but_was_taken_is_not_repeated(tmp_path, store):
    context, watermark, writer, _ = scripted(tmp_path, store)

    def taken() -> None:
        if writer.state.enabled:
            writer.events.append("taken")
            writer.state = FlagState(False, None, "off", "off")
            raise ProviderError("scripted: no answer within 2 s", retry=True)

    writer.meanwhile = taken
    assert through(context, watermark).outcome == "rolled_back"
    assert writer.events == ["taken"]


@pytest.mark.parametrize("retry", [True, False], ids=["500 for ever", "401: repeating it cannot help"])
def test_scenario_18_a_provider_that_stays_down_is_never_silent(tmp_path, store, retry):
    context, watermark, writer, clock = scripted(tmp_path, store, Scripted())
    began = clock.now
    writer.faults["turn_off"] = down(100, retry)
    with pytest.raises(ActionFailed, match="scripted: 500; the kill list holds the old flow; the guard asks again"):
        through(context, watermark)
    assert clock.now - began <= 30_000_000
    assert store.guard(GUARD.key).state == "ROLLBACK_FAILED"
    assert store.rollback(EPISODE).outcome == "rollback_failed"
    assert GUARD.flag in kill_list.read(context.settings.kill_list_path)
    (note,) = store.notifications()
    assert "could NOT be proven off" in json.loads(note.payload)["text"]
    writer.faults.clear()
    assert through(context, watermark, 2).outcome == "rolled_back"
    row = store.rollback(EPISODE)
    assert (row.attempt, row.verified, row.outcome) == (2, True, "rolled_back")
    assert [n.id.split(":")[1] for n in store.notifications()] == ["rollback_failed", "rolled_back"]
    # Only a person takes it off the list.
    assert GUARD.flag in kill_list.read(context.settings.kill_list_path)


def test_scenario_18_a_provider_that_cannot_be_set_up_is_never_silent(tmp_path, store):
    settings = settings_for(tmp_path)
    _, watermark = armed(settings, store, broken())
    guard = msgspec.structs.replace(GUARD, provider="unleash")
    other = settings_for(
        tmp_path, guard, providers=(FlagProvider("unleash", "unleash", "http://127.0.0.1:9", token_env="T"),)
    )
    with pytest.raises(ActionFailed, match="kill list holds"):
        through(GuardContext.of(other, store, guard, {}), watermark)
    assert GUARD.flag in kill_list.read(settings.kill_list_path)


def test_scenario_19_a_200_that_changes_nothing_for_clients_is_no_rollback(tmp_path, store):
    context, watermark, writer, clock = scripted(tmp_path, store)
    writer.serves_new = True
    with pytest.raises(ActionFailed, match="50 of 50 sampled units are still served the new flow"):
        through(context, watermark)
    assert 10.0 <= sum(clock.slept) < 11.0
    assert store.guard(GUARD.key).state == "ROLLBACK_FAILED"
    assert not store.rollback(EPISODE).verified
    assert GUARD.flag in kill_list.read(context.settings.kill_list_path)
    writer.serves_new = False
    assert through(context, watermark, 2).outcome == "rolled_back"
    assert len(writer.events) == 1


def test_scenario_19_an_older_mtime_is_written_over(tmp_path, store):
    settings = settings_for(tmp_path)
    context, watermark = armed(settings, store, broken())
    os.utime(settings.flags_path, ns=(1, 1))
    assert through(context, watermark).outcome == "rolled_back"
    assert settings.flags_path.stat().st_mtime_ns > 1_000_000_000


# Scenario 20: somebody was faster


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (FlagState(False, None, "off", "off"), "is off already"),
        (FlagState(True, 0.8, "split-80", "80 %"), "was changed within the last seconds"),
    ],
    ids=["turned off", "share changed"],
)
def test_scenario_20_a_change_by_a_person_stands(tmp_path, store, state, why):
    context, watermark, writer, _ = scripted(tmp_path, store)
    writer.state = state
    told = through(context, watermark)
    assert (told.outcome, told.proceed) == ("superseded", False) and why in told.reason
    assert writer.events == [] and writer.state is state
    assert store.guard(GUARD.key).state == "SUPERSEDED"
    assert store.rollback(EPISODE).outcome == "superseded"
    assert through(context, watermark, 2).outcome == "superseded"
    assert [json.loads(note.payload)["event"] for note in store.notifications()] == ["superseded"]


def test_scenario_20_a_change_the_worker_saw_during_the_breach_stands(tmp_path, store):
    context, watermark, writer, clock = scripted(tmp_path, store)
    clock.now += 60_000_000
    writer.state = FlagState(True, 0.8, "split-80", "80 %")
    store.see_flag(GUARD.key, True, 0.8, "split-80", clock.now)
    assert "changed during the breach" in through(context, watermark).reason
    assert writer.events == []


def test_scenario_20_a_ramp_before_the_breach_is_no_interference(tmp_path, store):
    context, watermark, writer, clock = scripted(tmp_path, store)
    writer.state = FlagState(True, 0.8, "split-80", "80 %")
    store.see_flag(GUARD.key, True, None, "split-80", clock.now - 1_000_000_000)
    assert through(context, watermark).outcome == "rolled_back"


def test_scenario_20_a_change_between_claim_and_call_stands(tmp_path, store):
    context, watermark, writer, _ = scripted(tmp_path, store)
    assert claim(context, EPISODE, 1, watermark).proceed
    writer.state = FlagState(True, 0.8, "split-80", "80 %")
    assert turn_off(context, EPISODE).outcome == "superseded"
    assert writer.events == [] and store.rollback(EPISODE).outcome == "superseded"


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


# Scenario 24: re-arming


@pytest.mark.parametrize(("actor", "reason"), [("ana", ""), ("ana", "  "), ("", "fixed")])
def test_scenario_24_nobody_or_nothing_said_is_refused(tmp_path, store, actor, reason):
    context, watermark = armed(settings_for(tmp_path), store, broken())
    through(context, watermark)
    with pytest.raises(Refused, match="it is kept in the guard's history"):
        rearm(context, actor, reason)
    assert store.guard(GUARD.key).state == "ROLLED_BACK"


def test_scenario_24_a_new_epoch_without_the_old_evidence(tmp_path, store):
    settings = settings_for(tmp_path)
    context, watermark = armed(settings, store, broken())
    through(context, watermark)
    kill_list.add(settings.kill_list_path, GUARD.flag, "by hand", datetime.now(UTC))
    off = settings.flags_path.read_bytes()
    assert rearm(context, "ana", "fixed in release 13") == 2
    row = store.guard(GUARD.key)
    assert (row.state, row.epoch, row.episode, row.actor, row.reason) == (
        "ARMED",
        2,
        None,
        "ana",
        "fixed in release 13",
    )
    assert not kill_list.read(settings.kill_list_path)
    assert settings.flags_path.read_bytes() == off, "arming never switches a flag on"
    set_split(settings.flags_path, GUARD.flag, 0.5)
    assert claim(context, episode_id(GUARD.key, 2), 1, watermark).outcome == "withdrawn"
    assert store.check_chain(GUARD.key)


@pytest.mark.parametrize(
    ("writer", "why"),
    [
        (Scripted(preflight=[ProviderError("scripted: 401, check the token")]), "check the token"),
        (Scripted(read_back=[ProviderError("scripted: 500", retry=True)]), "could not be turned off when it matters"),
    ],
    ids=["the token may not write", "the provider does not answer"],
)
def test_scenario_24_a_flag_that_could_not_be_turned_off_is_not_armed(tmp_path, store, writer, why):
    context = GuardContext(store, settings_for(tmp_path), GUARD, writer)
    with pytest.raises(Refused, match=why):
        rearm(context, "ana", "release 12")
    assert store.guard(GUARD.key).state == "DISARMED"


def test_scenario_24_arming_does_not_switch_on_what_the_kill_list_holds(tmp_path, store):
    context, watermark, writer, _ = scripted(tmp_path, store)
    writer.faults["turn_off"] = down(100)
    with pytest.raises(ActionFailed):
        through(context, watermark)
    with pytest.raises(Refused, match="arming would switch it on"):
        rearm(context, "ana", "never mind")
    writer.state = FlagState(False, None, "off", "off")
    assert rearm(context, "ana", "turned off by hand") == 2
    assert not kill_list.read(context.settings.kill_list_path)


# By hand


def test_a_person_may_turn_a_flag_off_without_evidence(tmp_path, store):
    settings = settings_for(tmp_path)
    context, _ = armed(settings, store, broken(factor=1.0))
    with pytest.raises(Refused):
        claim_by_hand(context, "ana", "")
    step = claim_by_hand(context, "ana", "support calls", "run-1")
    assert turn_off(context, step.episode).proceed and verify(context, step.episode, "run-1").outcome == "rolled_back"
    row = store.rollback(step.episode)
    assert (row.actor, row.reason, row.verified) == ("ana", "support calls", True)
    assert step.episode != EPISODE
    with pytest.raises(Refused, match="rolled back already"):
        claim_by_hand(context, "ana", "again")


@pytest.mark.parametrize("name", [GUARD.flag, GUARD.key])
def test_a_guard_is_named_by_flag_or_key(tmp_path, name):
    assert find_guard(settings_for(tmp_path), name) == GUARD


@pytest.mark.parametrize(("name", "why"), [("checkout", "names no guard"), (GUARD.flag, "names several guards")])
def test_a_name_that_does_not_name_one_guard_is_refused(tmp_path, name, why):
    with pytest.raises(Refused, match=why):
        find_guard(settings_for(tmp_path, GUARD, msgspec.structs.replace(GUARD, conversion="signup_completed")), name)


# Scenario 29: the evidence bundle


@pytest.mark.parametrize("factor", [0.1, 0.5], ids=["dead flow", "half"])
def test_scenario_29_a_bundle_replays_to_the_same_decision(tmp_path, store, factor):
    context, watermark = armed(settings_for(tmp_path), store, broken(minutes=60, factor=factor, delay_minutes=2.0))
    assert through(context, watermark).outcome == "rolled_back"
    row = store.rollback(EPISODE)
    held = from_json(row.bundle)
    again = replay(held)
    assert again == held.verdict
    assert abs(again.log_e - row.log_e) <= 1e-9
    told = replayed_decision(held)
    assert (told.act, told.decided_us, told.reason) == (True, row.decided_us, row.reason)
    assert to_json(held) == row.bundle and len(digest(row.bundle)) == 64
    assert held.before.enabled


@pytest.mark.parametrize(
    "counts",
    [broken(), broken(minutes=1440, factor=1.0), broken(per_minute=0.1), broken(treated=steady(0.0), per_minute=1000)],
    ids=["dead flow", "a day", "hardly anybody", "zero conversions"],
)
def test_the_pictures_fit_where_they_are_shown(counts):
    drawn = curves(counts, Rule(), Rule().log_budget)
    assert len(inline("checkout-v2: conversion and evidence", drawn)) < 1000
    assert "data:image/svg+xml" in inline("checkout-v2: conversion and evidence", drawn)
    assert len(png("checkout-v2", drawn)) <= PNG_BYTES


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
    chosen = sampled_units(context, store.rollback(EPISODE))
    assert set(chosen) == {f"u{i}" for i in range(1, 31, 2)}
    turn_off(context, EPISODE)
    verify(context, EPISODE)
    assert store.rollback(EPISODE).last_exposure_us == watermark - MINUTE


def test_the_counts_of_the_claim_start_where_they_were_planted(tmp_path, store):
    counts = broken()
    context, watermark = armed(settings_for(tmp_path), store, counts)
    claim(context, EPISODE, 1, watermark)
    held = from_json(store.rollback(EPISODE).bundle).counts
    assert int(held.exposed.sum()) == int(counts.exposed.sum())
    assert watermark - start_of(counts) >= counts.watermark_us - MINUTE
