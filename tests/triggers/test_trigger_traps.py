"""Cases that go wrong easily: the exact microsecond, events that come in the wrong order, edits, bounds, conditions."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest
from msgspec.structs import replace
from trigger_cases import R1, R3, SECOND, actions, event, holds, reasons, rules, run, us

from gtm_dagster.triggers.heartbeat_watch import Watch
from gtm_dagster.triggers.memory_runner import MemoryRunner
from gtm_dagster.triggers.outcomes import REASONS, Reason
from gtm_dagster.triggers.rule_state import MOST_DECIDED, MOST_OPEN, MOST_TIMES, RuleState, decoded, encoded
from gtm_dagster.triggers.trigger_event import satisfies

STARTED = event("trial_started", "09:00")
FIRES = us("12-02 09:02")


@pytest.mark.parametrize(
    ("received_us", "sends"),
    [(FIRES - 1, False), (FIRES, True), (FIRES + 1, True)],
    ids=["a microsecond before it fires", "at that microsecond it is too late", "after"],
)
def test_a_cancelling_event_counts_until_the_timer_fires(received_us: int, sends: bool) -> None:
    completed = replace(event("onboarding_completed", "12-02 09:00"), received_us=received_us)
    assert bool(actions(run(rules(R1), [STARTED, completed]))) is sends


@pytest.mark.parametrize(
    ("at", "reason"),
    [("09:05", "cancelled"), ("09:00", "cancelled"), ("08:59", None)],
    ids=["after the start", "at the start", "before the start it is another trial's"],
)
def test_a_completion_that_is_read_before_its_start(at: str, reason: str | None) -> None:
    late = replace(STARTED, received_us=us("10:00"))
    runner = run(rules(R1), [event("onboarding_completed", at), late])
    assert reasons(runner) == ([("p1", reason)] if reason else [])


@pytest.mark.parametrize(
    ("received", "reason"), [("12-02 08:59:59", None), ("12-02 09:00:00", "stale_start")], ids=["in time", "over on arrival"]
)  # fmt: skip
def test_a_start_whose_time_is_over_when_it_arrives_opens_nothing(received: str, reason: str | None) -> None:
    runner = run(rules(R1), [replace(STARTED, received_us=us(received))])
    assert reasons(runner) == ([("p1", reason)] if reason else [])
    assert len(actions(runner)) == (reason is None)


def test_a_second_start_is_covered_by_the_open_one_and_a_later_one_waits_for_the_cooldown() -> None:
    runner = run(rules(R1), [STARTED, event("trial_started", "11:00"), event("trial_started", "12-03 09:00")])
    assert [start for _, start, _ in actions(runner)] == [STARTED.event_id]
    assert reasons(runner) == [("p1", "already_open"), ("p1", "cooldown")]


def test_a_cancelled_start_does_not_cover_the_next_one() -> None:
    second = event("trial_started", "11:00")
    runner = run(rules(R1), [STARTED, event("onboarding_completed", "10:00"), second])
    assert [start for _, start, _ in actions(runner)] == [second.event_id]


def test_a_payment_without_a_cart_ends_every_cart_and_a_checkout_without_one_starts_none() -> None:
    runner = run(
        rules(R3),
        [
            event("checkout_started", "10:00", cart_id="c1"), event("checkout_started", "10:05", cart_id="c2"),
            event("checkout_started", "10:06"), event("payment_completed", "10:10", amount=1, currency="EUR"),
        ],
    )  # fmt: skip
    assert reasons(runner) == [("p1", "no_key"), ("p1", "cancelled"), ("p1", "cancelled")]


@pytest.mark.parametrize(
    ("bots", "expected"), [("", ["bot"]), ("    bots: true\n", [])], ids=["not by default", "asked for"]
)
def test_programs_open_nothing(bots: str, expected: list[str]) -> None:
    runner = run(rules(R1 + bots), [replace(STARTED, bot=True)])
    assert [reason for _, reason in reasons(runner)] == expected


def test_what_was_wanted_while_the_log_was_not_read_to_its_end_dies_with_a_later_cancel() -> None:
    runner = MemoryRunner(rules(R1))
    runner.receive(STARTED)
    missed = [event("page_viewed", "12-02 12:00"), event("onboarding_completed", "12-02 13:00")]
    runner.resume(missed, us("12-02 14:00"))
    assert [(person, reason) for person, reason, *_ in holds(runner)] == [("p1", "behind")]
    assert reasons(runner) == [("p1", "died_while_behind")] and not actions(runner)


def test_a_longer_time_moves_what_is_open_and_a_drained_rule_keeps_it() -> None:
    for on_change, fires in (("rebase", "12-03 09:02"), ("drain", "12-02 09:02")):
        runner = MemoryRunner(rules(R1))
        runner.receive(STARTED)
        runner.change_rules(rules(R1.replace("24h", "48h") + f"    on_change: {on_change}\n"))
        runner.finish()
        assert [at for _, _, at in actions(runner)] == [us(fires)]
    runner = MemoryRunner(rules(R1))
    runner.receive(STARTED)
    runner.change_rules(rules(R1.replace("24h", "48h") + "    on_change: cancel\n"))
    runner.finish()
    assert reasons(runner) == [("p1", "rule_changed")]


@pytest.mark.parametrize(
    "after",
    [R1.replace("onboarding_completed", "payment_completed"), re.sub(r"\n    absent:.*", "", R1)],
    ids=["ended by another event", "no absence any more"],
)
def test_a_rule_that_no_longer_hears_what_ends_a_start_sends_nothing_for_it(after: str) -> None:
    """It drained: who did what the old rule waited for got the message all the same."""
    runner = MemoryRunner(rules(R1))
    runner.receive(STARTED)
    runner.change_rules(rules(after + "    on_change: drain\n"))
    runner.receive(event("onboarding_completed", "12-01 15:00"))
    runner.finish()
    assert reasons(runner) == [("p1", "rule_changed")] and not actions(runner)


@pytest.mark.parametrize(
    ("after", "sent"),
    [
        pytest.param(R1.replace("onboarding_completed", "payment_completed"), False, id="ended by another event"),
        pytest.param(R1 + "    cancel_on: [payment_completed]\n", False, id="cancelled by one more"),
        pytest.param(R1.replace("24h", "48h"), True, id="ended by the same event, later"),
    ],
)
def test_an_edit_sends_nothing_for_a_start_whose_end_the_old_rule_did_not_hear(after: str, sent: bool) -> None:
    """It rebased: who paid between the start and the edit got the message all the same."""
    runner = MemoryRunner(rules(R1))
    runner.receive(STARTED)
    runner.receive(event("payment_completed", "12-01 15:00"))
    runner.change_rules(rules(after))
    runner.finish()
    assert (reasons(runner), bool(actions(runner))) == ([] if sent else [("p1", "rule_changed")], sent)


def test_a_cap_is_a_rolling_window() -> None:
    text = """
  r: {on: pricing_viewed, purpose: service, cap: {channel: slack, n: 2, per: 1h}, do: {slack: s}}
"""
    at = ("10:00:00", "10:30:00", "10:59:59", "11:00:00", "11:00:01")
    runner = run(rules(text), [event("pricing_viewed", each) for each in at])
    assert [us(each) + SECOND for each in ("10:00:00", "10:30:00", "11:00:00")] == [a for *_, a in actions(runner)]
    assert reasons(runner) == [("p1", "capped"), ("p1", "capped")]


def test_a_hold_longer_than_allowed_is_no_send() -> None:
    text = R1.replace("zone: Europe/Berlin", "zone: Europe/Berlin, max_hold: 2h")
    assert reasons(run(rules(text), [event("trial_started", "20:15")])) == [("p1", "held_too_long")]


def test_an_action_remains_one_when_its_rule_says_once() -> None:
    text = "\n  r: {on: pricing_viewed, reentry: never, purpose: service, do: {slack: s}}\n"
    runner = run(rules(text), [event("pricing_viewed", at) for at in ("10:00", "12-15 10:00")])
    assert len(actions(runner)) == 1 and reasons(runner) == [("p1", "once")]


def test_one_person_cannot_make_a_state_grow_without_end() -> None:
    counted = "\n  c: {on: pricing_viewed, count: {n: 2, within: 10m}, purpose: service, do: {slack: s}}\n"
    opened = R3.replace("key: properties.cart_id", "key: cart_id")
    runner = MemoryRunner(rules(counted, opened))
    first = us("10:00")
    for number in range(MOST_TIMES + 200):
        for name in ("pricing_viewed", "checkout_started"):
            one = event(name, "10:00", event_id=f"{name} {number}", cart_id=str(number))
            at = first + number * SECOND
            if name == "pricing_viewed" or number < MOST_OPEN + 5:
                runner.receive(replace(one, at_us=at, received_us=at + SECOND))
    state = runner.states["c", "p1"]
    assert len(state.counted) == MOST_TIMES and len(state.decided) == MOST_DECIDED
    assert len(runner.states["checkout", "p1"].open) == MOST_OPEN
    assert ("p1", "too_many_open") in reasons(runner)


@pytest.mark.parametrize(
    ("condition", "properties", "expected"),
    [
        ("properties.plan: {in: [pro, team]}", {"plan": "pro"}, True),
        ("properties.plan: {in: [pro, team]}", {}, False),
        ("properties.plan: {not_in: [free]}", {}, True),
        ("properties.plan: {not_in: [free]}", {"plan": "free"}, False),
        ("properties.trial_days: {min: 7, max: 14}", {"trial_days": 7}, True),
        ("properties.trial_days: {min: 7, max: 14}", {"trial_days": 15}, False),
        ("properties.trial_days: {min: 0}", {"trial_days": True}, False),
        ("properties.trial_days: {in: [1]}", {"trial_days": True}, False),
        ("properties.plan: {present: false}", {}, True),
        ("context.country: {in: [DE]}", {}, True),
    ],
)
def test_conditions(condition: str, properties: dict[str, Any], expected: bool) -> None:
    (rule,) = rules(f"\n  r: {{on: trial_started, where: {{{condition}}}, purpose: service, do: {{slack: s}}}}\n")
    assert satisfies(rule.where, event("trial_started", "09:00", country="DE", **properties)) is expected


@pytest.mark.parametrize(
    ("beats", "now", "expected"),
    [
        ([], 1000, None),
        ([0, 60, 120], 180, None),
        ([0, 60], 200, 260),
        ([0, 60, 300], 310, 300 + 120),
        ([0, 60, 300], 421, None),
        ([0, 60, 300], 420, None),
    ],
    ids=[
        "never heard: nobody to wait for",
        "heard",
        "blind: look again",
        "back: wait for the spool",
        "long back",
        "then",
    ],
)
def test_when_absence_can_be_claimed(beats: list[int], now: int, expected: int | None) -> None:
    watch = Watch()
    for at in beats:
        watch = watch.heard(at * SECOND)
    found = watch.wait_until(0, 150 * SECOND, 120 * SECOND, now * SECOND)
    assert found == (None if expected is None else expected * SECOND)


def test_a_state_of_a_newer_version_is_refused() -> None:
    with pytest.raises(ValueError, match="format 2 was written by a newer gtm-dagster"):
        decoded(encoded(RuleState(version=2)))


def test_every_reason_has_its_words() -> None:
    assert set(REASONS) == set(get_args(Reason))


def test_a_rule_that_is_gone_says_so_for_each_open_start() -> None:
    runner = MemoryRunner(rules(R1))
    runner.receive(STARTED)
    runner.change_rules(rules(R3))
    runner.finish()
    assert reasons(runner) == [("p1", "rule_changed")] and not runner.states


def test_one_person_cannot_make_what_waits_grow_without_end() -> None:
    text = """
  r: {on: pricing_viewed, purpose: service, quiet: {from: "09:00", to: "18:00", zone: UTC}, do: {slack: s}}
"""
    views = [event("pricing_viewed", "10:00", event_id=f"e{number}") for number in range(MOST_OPEN + 5)]
    runner = run(rules(text), views, "12-01 11:00")
    assert len(runner.states["r", "p1"].open) == MOST_OPEN
    assert reasons(runner) == [("p1", "too_many_open")] * 5
