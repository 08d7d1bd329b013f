"""Laws of triggers on any input: the order of what arrives together, merges of ids, repeats, stored states."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from trigger_cases import ALL, SECOND, event, rules, us

from gtm_dagster.triggers.admit import Ledger, admit, in_holdout, merged_ledger
from gtm_dagster.triggers.memory_runner import MemoryRunner
from gtm_dagster.triggers.outcomes import Action, Want
from gtm_dagster.triggers.person_profile import NOBODY, merged_profile, profile_after
from gtm_dagster.triggers.rule_state import EMPTY, RuleState, decoded, encoded, merged
from gtm_dagster.triggers.step import step
from gtm_dagster.triggers.trigger_event import TriggerEvent

MINUTE = 60 * SECOND
TEXT = """
  counted: {on: pricing_viewed, count: {n: 2, within: 10m}, reentry: always, purpose: service, do: {webhook: w}}
  missing:
    on: trial_started
    absent: {event: onboarding_completed, within: 2h}
    cancel_on: [subscription_cancelled]
    purpose: service
    do: {webhook: w}
"""
RULES = rules(TEXT)
NAMES = ("pricing_viewed", "trial_started", "onboarding_completed", "subscription_cancelled")
ARRIVAL = us("01:00")


@st.composite
def arrivals(draw: st.DrawFn, most: int = 8) -> list[TriggerEvent]:
    """Events of the first hour, all received at its end: which of them is read first decides nothing."""
    rows = draw(st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 59)), min_size=1, max_size=most))
    return [
        TriggerEvent(event_id=f"e{n}", name=name, at_us=us("00:00") + minute * MINUTE, received_us=ARRIVAL, user_id="p")
        for n, (name, minute) in enumerate(rows)
    ]


def sent(events: list[TriggerEvent]) -> set[str]:
    runner = MemoryRunner(RULES)
    for each in events:
        runner.receive(each)
    runner.finish()
    ids = [each.what.action_id for each in runner.outcomes if isinstance(each.what, Action)]
    assert len(ids) == len(set(ids)), "an action twice"
    return set(ids)


@given(arrivals(), st.randoms(use_true_random=False))
def test_events_received_together_give_the_same_actions_in_any_order(events, random) -> None:
    other = events[:]
    random.shuffle(other)
    assert sent(other) == sent(events)


@given(arrivals())
def test_events_sent_again_and_a_log_read_again_give_the_same_ids(events) -> None:
    assert sent([*events, *events]) == sent(events)


@given(arrivals(), st.integers(0, 8), st.lists(st.booleans(), min_size=8, max_size=8))
def test_a_person_known_by_two_ids_gets_what_one_id_would_get(events, at, anonymous) -> None:
    known = MemoryRunner(RULES)
    link = TriggerEvent(
        event_id="link", name="user_identified", at_us=ARRIVAL, received_us=ARRIVAL, user_id="p", anonymous_id="a"
    )
    for number, each in enumerate([*events[:at], link, *events[at:]]):
        is_anonymous = each is not link and anonymous[number % 8]
        known.receive(replace(each, user_id=None, anonymous_id="a") if is_anonymous else each)
    known.finish()
    found = {(each.person, each.what.action_id) for each in known.outcomes if isinstance(each.what, Action)}
    early = {action for person, action in found if person == "a"}
    assert {action for _, action in found} == sent(events)
    assert len(found) == len({action for _, action in found}), "an action under both ids"
    assert not any(person == "a" for _, person in known.states) and len(early) <= len(found)


def state_of(events: list[TriggerEvent], number: int) -> RuleState:
    state = EMPTY
    for each in events:
        state = step(RULES[number], state, each, ARRIVAL).state
    return state


@given(arrivals(), arrivals(), arrivals(), st.integers(0, 1))
def test_merging_states_commutes_associates_and_is_idempotent(one, two, three, number) -> None:
    a, b, c = (state_of(events, number) for events in (one, two, three))
    assert merged(a, b) == merged(b, a)
    assert merged(merged(a, b), c) == merged(a, merged(b, c))
    assert merged(merged(a, b), b) == merged(a, b)
    assert decoded(encoded(a)) == a


def test_merging_profiles_and_ledgers_commutes() -> None:
    said = [event("page_viewed", f"10:0{n}", consent={"marketing": n % 2 == 0}, country="DE") for n in range(4)]
    profiles = [profile_after(NOBODY, each) for each in said]
    assert merged_profile(profiles[0], profiles[3]) == merged_profile(profiles[3], profiles[0])
    for order in permutations(said):
        profile = NOBODY
        for each in order:
            profile = profile_after(profile, each)
        assert not profile.consents_to("marketing"), "the newest event refuses, whichever is read last"
    wants = [Want(RULES[0], f"e{n}", 0, 0) for n in range(3)]
    one = admit(Ledger("a"), wants[:2], 1, NOBODY).ledger
    other = admit(Ledger("u"), wants[1:], 2, NOBODY).ledger
    assert merged_ledger("u", one, other) == merged_ledger("u", other, one)


def test_the_holdout_is_the_declared_share_of_persons_and_always_the_same() -> None:
    (rule,) = rules("\n  r: {on: trial_started, holdout: 0.2, purpose: service, do: {webhook: w}}\n")
    people = [f"person {n}" for n in range(5000)]
    first = [in_holdout(rule, each) for each in people]
    assert first == [in_holdout(rule, each) for each in people]
    assert 0.17 < sum(first) / len(first) < 0.23
    assert set(ALL) == {"analytics", "marketing", "personalization"}
