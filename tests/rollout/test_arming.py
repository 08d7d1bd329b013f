"""What a person asks for: arming a guard anew, and turning its flag off without evidence."""

from __future__ import annotations

from datetime import UTC, datetime

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
from gtm_dagster.rollout.control.acting import claim, turn_off, verify
from gtm_dagster.rollout.control.arming import Refused, claim_by_hand, find_guard, rearm
from gtm_dagster.rollout.control.guard_context import ActionFailed, GuardContext
from gtm_dagster.rollout.guard.decide import episode_id
from gtm_dagster.rollout.providers import FlagState, ProviderError
from gtm_dagster.rollout.providers.flagd import set_split

# Scenario 24: re-arming


@pytest.mark.parametrize(("actor", "reason"), [("ana", ""), ("ana", "  "), ("", "fixed")])
def test_scenario_24_no_actor_or_no_reason_is_refused(tmp_path, store, actor, reason):
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
