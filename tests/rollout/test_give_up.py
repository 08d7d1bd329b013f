"""A rollback that cannot come to its end: of a flag that is not there, and one that a person gives up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from acting_cases import EPISODE, GUARD, armed, broken, down, scripted, settings_for, states, through

from gtm_dagster.gate import kill_list
from gtm_dagster.rollout.control.acting import claim, turn_off, verify
from gtm_dagster.rollout.control.arming import Refused, claim_by_hand, give_up, rearm
from gtm_dagster.rollout.control.guard_context import ActionFailed, GuardContext
from gtm_dagster.rollout.control.unguarded import unguarded
from gtm_dagster.rollout.providers import FlagState, ProviderError
from gtm_dagster.rollout.providers.flagd import Flagd, set_split

# A flag that is not there


def without(path: Path) -> None:
    document = json.loads(path.read_text())
    del document["flags"][GUARD.flag]
    path.write_text(json.dumps(document))


def test_a_flag_that_is_not_there_is_not_armed_and_the_way_out_is_named(tmp_path, store):
    settings = settings_for(tmp_path)
    set_split(settings.flags_path, "another", 0.5)
    with pytest.raises(Refused, match=f"there are: another.*gtm flag create {GUARD.flag}"):
        rearm(GuardContext(store, settings, GUARD, Flagd(settings.flags_path)), "ana", "release 12")
    assert store.guard(GUARD.key).state == "DISARMED"


def test_nor_rolled_back_by_hand(tmp_path, store):
    settings = settings_for(tmp_path)
    context, _ = armed(settings, store, broken(factor=1.0))
    without(settings.flags_path)
    with pytest.raises(Refused, match=f"there is no flag to turn off: .*gtm flag create {GUARD.flag}.*kill list"):
        claim_by_hand(context, "ana", "support calls")
    assert states(store) == ["ARMED"] and not store.rollbacks() and not kill_list.read(settings.kill_list_path)


DOWN = [
    ("404: no such flag", ProviderError("scripted: 404", status=404), False),
    ("500: it may be there", ProviderError("scripted: 500", retry=True, status=500), True),
    ("no answer: it may be there", ProviderError("scripted: no answer", retry=True), True),
    ("a torn file: clients keep what they have", ProviderError("flag file: torn"), True),
]


@pytest.mark.parametrize(("error", "begun"), [case[1:] for case in DOWN], ids=[case[0] for case in DOWN])
def test_only_a_provider_that_answers_says_that_a_flag_is_not_there(tmp_path, store, error, begun):
    context, _, writer, _ = scripted(tmp_path, store)
    writer.faults["read_back"] = [error]
    if begun:
        assert claim_by_hand(context, "ana", "support calls").proceed
    else:
        with pytest.raises(Refused, match="no flag to turn off"):
            claim_by_hand(context, "ana", "support calls")


# Given up


def failed(tmp_path, store):
    context, watermark, writer, _ = scripted(tmp_path, store)
    writer.faults["turn_off"] = down(100)
    with pytest.raises(ActionFailed):
        through(context, watermark)
    return context, watermark, writer


def test_a_rollback_that_is_given_up_is_latched_recorded_and_paged(tmp_path, store):
    context, watermark, writer = failed(tmp_path, store)
    step = give_up(context, "ana", "the provider is gone for good")
    assert "scripted" not in step.reason and "flagd says on (50 %); the kill list holds the old flow" in step.reason
    row, record = store.guard(GUARD.key), store.rollback(EPISODE)
    assert (row.state, row.actor, row.episode) == ("GIVEN_UP", "ana", EPISODE)
    assert (record.outcome, record.verified) == ("given_up", False)
    assert GUARD.flag in kill_list.read(context.settings.kill_list_path), "as it was"
    messages = {(message := json.loads(note.payload))["event"]: message["text"] for note in store.notifications()}
    assert messages.keys() == {"rollback_failed", "given_up"}
    assert (
        "NOT proven off" in messages["given_up"]
        and "Given up by ana: the provider is gone for good" in messages["given_up"]
    )
    assert store.check_chain(GUARD.key)
    writer.faults.clear()
    assert through(context, watermark, 2).outcome == "given_up"
    assert writer.events == [], "nobody asks the provider any more"


STEPS = [
    ("before the provider was asked", ["claim"], "turn_off"),
    ("before it was proven", ["claim", "turn_off"], "verify"),
]


@pytest.mark.parametrize(("done", "following"), [case[1:] for case in STEPS], ids=[case[0] for case in STEPS])
def test_a_run_that_is_between_two_steps_ends_there(tmp_path, store, done, following):
    context, watermark, _, _ = scripted(tmp_path, store)
    steps = {
        "claim": lambda: claim(context, EPISODE, 1, watermark),
        "turn_off": lambda: turn_off(context, EPISODE),
        "verify": lambda: verify(context, EPISODE),
    }
    for name in done:
        assert steps[name]().proceed
    give_up(context, "ana", "never mind")
    step = steps[following]()
    assert (step.proceed, step.outcome) == (False, "given_up")
    assert store.rollback(EPISODE).outcome == "given_up"


def test_one_whose_record_was_never_written_has_one_afterwards(tmp_path, store):
    context, watermark, _, _ = scripted(tmp_path, store)
    row = context.row
    assert context.move(row, "ROLLING_BACK", "evidence", episode=EPISODE, decided_us=watermark)
    assert store.rollback(EPISODE) is None
    give_up(context, "ana", "never mind")
    assert store.rollback(EPISODE).outcome == "given_up"
    assert [json.loads(note.payload)["event"] for note in store.notifications()] == ["given_up"]


@pytest.mark.parametrize(("actor", "reason"), [("ana", " "), ("", "why")])
def test_it_needs_somebody_and_a_reason(tmp_path, store, actor, reason):
    context, _, _ = failed(tmp_path, store)
    with pytest.raises(Refused, match="kept in the guard's history"):
        give_up(context, actor, reason)
    assert store.guard(GUARD.key).state == "ROLLBACK_FAILED"


def test_a_guard_without_an_unfinished_rollback_has_nothing_to_give_up(tmp_path, store):
    context, watermark, _, _ = scripted(tmp_path, store)
    with pytest.raises(Refused, match="no unfinished rollback to give up; it is ARMED"):
        give_up(context, "ana", "why")
    through(context, watermark)
    with pytest.raises(Refused, match="it is ROLLED_BACK"):
        give_up(context, "ana", "why")


def test_afterwards_it_is_rolled_back_by_hand_or_armed_again_as_ever(tmp_path, store):
    context, _, writer = failed(tmp_path, store)
    give_up(context, "ana", "the provider is gone")
    with pytest.raises(Refused, match="arming would switch it on"):
        rearm(context, "ana", "it is back")
    writer.faults.clear()
    step = claim_by_hand(context, "ana", "it is back")
    assert step.proceed and step.episode != EPISODE
    assert turn_off(context, step.episode).proceed and verify(context, step.episode).outcome == "rolled_back"
    writer.state = FlagState(False, None, "off", "off")
    assert rearm(context, "ana", "mended") == 2
    assert not kill_list.read(context.settings.kill_list_path)


def test_while_its_flag_is_on_a_person_has_to_look(tmp_path, store):
    settings = settings_for(tmp_path)
    set_split(settings.flags_path, GUARD.flag, 0.5)
    assert "its rollback was given up: nobody turns it off" in (unguarded(settings, GUARD, "GIVEN_UP", {}) or "")
    set_split(settings.flags_path, GUARD.flag, 0.0)
    assert unguarded(settings, GUARD, "GIVEN_UP", {}) is None
