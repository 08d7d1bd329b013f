"""Turning a flag off at a provider that fails, or at which somebody was faster: what is retried, what is left alone."""

from __future__ import annotations

import json
import os

import msgspec
import pytest
from acting_cases import (
    EPISODE,
    GUARD,
    Scripted,
    armed,
    broken,
    down,
    scripted,
    settings_for,
    through,
)

from gtm_dagster.gate import kill_list
from gtm_dagster.rollout.control.acting import claim, turn_off
from gtm_dagster.rollout.control.guard_context import ActionFailed, GuardContext
from gtm_dagster.rollout.providers import FlagState, ProviderError
from gtm_dagster.settings import FlagProvider

# Scenarios 18 and 19: a provider that fails


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
    provider = writer()
    faults, provider.faults = provider.faults, {}
    context, watermark, _, clock = scripted(tmp_path, store, provider)
    provider.faults = faults
    assert through(context, watermark).outcome == "rolled_back"
    assert clock.slept == slept
    assert len(provider.events) == 1
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
    result = through(context, watermark)
    assert (result.outcome, result.proceed) == ("superseded", False) and why in result.reason
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
