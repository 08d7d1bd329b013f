"""The scenarios of behavioural rules that need no sending, by their number; the virtual clock stands for the worker's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from live_cases import LiveCase
from trigger_cases import R1, R2, R3, SECOND, actions, event, holds, reasons, rules, run, us

from gtm_dagster.triggers.memory_runner import MemoryRunner
from gtm_dagster.triggers.outcomes import Action, NonSend, action_id

Make = Callable[..., Any]


@pytest.fixture(params=["memory", "live", "live, restarted at every step"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """What makes a runner of rules."""
    cases: list[LiveCase] = []

    def live(given: Any) -> LiveCase:
        folder = tmp_path / str(len(cases))
        folder.mkdir()
        cases.append(LiveCase(folder, given, restarts="restarted" in request.param))
        return cases[-1]

    yield MemoryRunner if request.param == "memory" else live
    for case in cases:
        case.close()


VIEWS = [event("pricing_viewed", at) for at in ("10:00:00", "10:04:00", "10:09:59")]


def test_t1_three_views_in_the_window_are_one_action_named_by_the_third(make: Make) -> None:
    runner = run(rules(R2), VIEWS, make=make)
    (only,) = (each.what for each in runner.outcomes)
    assert isinstance(only, Action)
    assert (only.trigger_event_id, only.at_us) == (VIEWS[2].event_id, us("10:10:00"))
    assert only.action_id == action_id("pricing", "count", VIEWS[2].event_id)


def test_t1_a_view_one_window_after_the_first_is_not_in_it(make: Make) -> None:
    assert not actions(run(rules(R2), [*VIEWS[:2], event("pricing_viewed", "10:10:00")], make=make))


def test_t3_a_cooldown_says_when_it_ends_and_the_next_day_acts_again(make: Make) -> None:
    again = ("10:20:00", "10:21:00", "10:22:00", "12-02 10:10:00", "12-02 10:11:00", "12-02 10:12:00")
    runner = run(rules(R2), [*VIEWS, *(event("pricing_viewed", at) for at in again)], make=make)
    assert [at for _, _, at in actions(runner)] == [us("10:10:00"), us("12-02 10:12:01")]
    (refused,) = (each.what for each in runner.outcomes if isinstance(each.what, NonSend))
    assert (refused.reason, refused.next_us) == ("cooldown", us("12-02 10:09:59"))


def test_t5_what_was_completed_in_time_is_cancelled_and_the_other_is_due_after_the_grace(make: Make) -> None:
    completed = event("onboarding_completed", "12-02 08:59:59")
    runner = run(
        rules(R1), [event("trial_started", "09:00"), event("trial_started", "09:00", "p2"), completed], make=make
    )
    assert actions(runner) == [("p2", "trial_started p2 09:00", us("12-02 09:02:00"))]
    (action,) = (each.what for each in runner.outcomes if isinstance(each.what, Action))
    assert action.due_us == us("12-02 09:00:00")
    (refused,) = (each.what for each in runner.outcomes if isinstance(each.what, NonSend))
    assert (refused.reason, refused.detail) == ("cancelled", completed.event_id)


def test_t7_a_worker_that_was_down_acts_on_what_is_true_and_worth_sending_at_its_return(make: Make) -> None:
    runner = make(rules(R1))
    for person in ("A", "B"):
        runner.receive(event("trial_started", "09:00", person))
    runner.advance(us("10:00"))
    missed = [event("onboarding_completed", "12-02 08:00", "A"), event("trial_started", "12-02 09:00", "C")]
    runner.resume(missed, us("12-03 12:00"))
    assert reasons(runner) == [("A", "cancelled"), ("B", "expired")]
    ((person, _, at),) = actions(runner)
    (action,) = (each.what for each in runner.outcomes if isinstance(each.what, Action))
    assert (person, at, at - action.due_us) == ("C", us("12-03 12:00"), 3 * 3600 * SECOND)


def test_t9_quiet_hours_hold_and_a_held_message_dies_with_its_reason(make: Make) -> None:
    runner = run(
        rules(R1),
        [
            event("trial_started", "19:30", "D"), event("trial_started", "20:15", "E"), event("trial_started", "20:15", "F"),
            event("onboarding_completed", "12-03 02:00", "F"),
        ], make=make)  # fmt: skip
    assert [(person, at) for person, _, at in actions(runner)] == [("D", us("12-02 19:32")), ("E", us("12-03 07:00"))]
    night = (us("12-02 20:17"), us("12-03 07:00"))
    assert holds(runner) == [("E", "quiet", *night), ("F", "quiet", *night)]
    assert reasons(runner) == [("F", "died_while_held")]


def test_t11_a_cap_is_decided_by_priority_in_any_order_of_evaluation(make: Make) -> None:
    text = """
  {name}:
    on: trial_started
    purpose: marketing
    priority: {priority}
    cap: {{channel: email, n: 2, per: 7d}}
    do: {{email: a.j2}}
"""
    found = set()
    for order in permutations([("a_low", 10), ("high", 90), ("middle", 50)]):
        runner = run(
            rules(*(text.format(name=n, priority=p) for n, p in order)), [event("trial_started", "09:00")], make=make
        )
        sent = [each.what.rule for each in runner.outcomes if isinstance(each.what, Action)]
        capped = [each.what.rule for each in runner.outcomes if isinstance(each.what, NonSend)]
        assert reasons(runner) == [("p1", "capped")]
        found.add((*sent, *capped))
    assert found == {("high", "middle", "a_low")}


def test_t13a_consent_counts_when_it_is_sent(make: Make) -> None:
    no = {"marketing": False}
    started = event("trial_started", "09:00", consent=no)
    refused = run(rules(R1), [started], make=make)
    assert (actions(refused), reasons(refused)) == ([], [("p1", "no_consent")])
    granted = run(rules(R1), [started, event("consent_updated", "21:00", consent={}, marketing=True)], make=make)
    assert [at for _, _, at in actions(granted)] == [us("12-02 09:02")]


def test_t15_views_before_and_after_signing_up_are_one_persons(make: Make) -> None:
    runner = run(
        rules(R2),
        [
            event("pricing_viewed", "10:00", "a1"), event("pricing_viewed", "10:02", "a1"),
            event("user_identified", "10:03", "u1", anonymous="a1"), event("pricing_viewed", "10:05", "u1"),
        ],
        "12-01 11:00", make=make)  # fmt: skip
    assert [(person, at) for person, _, at in actions(runner)] == [("u1", us("10:05:01"))]
    assert {person for _, person in runner.states} == {"u1"}


def test_t17_a_new_template_keeps_what_is_pending_and_the_actions_id(make: Make) -> None:
    runner = make(rules(R1))
    started = event("trial_started", "09:00")
    runner.receive(started)
    for at, template in (("15:00", "second.j2"), ("21:00", "third.j2")):
        runner.advance(us(at))
        runner.change_rules(rules(R1.replace("onboarding_nudge.md.j2", template)))
    runner.advance(us("12-10 00:00"))
    (action,) = (each.what for each in runner.outcomes)
    assert isinstance(action, Action)
    assert (action.target, action.action_id) == (
        "third.j2",
        action_id("onboarding_nudge", "absent", started.event_id),
    )


def test_t19_nothing_is_claimed_while_nobody_was_heard(make: Make) -> None:
    runner = make(rules(R1))
    for person in ("p1", "p2"):
        runner.receive(event("trial_started", "09:00", person))
    for minute in range(60):  # heartbeats until 08:00 of the next day
        runner.heartbeat(us("12-02 07:00") + minute * 60 * SECOND)
    runner.advance(us("12-02 09:29"))
    assert runner.outcomes == [] and runner.watch.is_blind(us("12-02 09:02"))
    assert {o.held for state in runner.states.values() for o in state.open} == {"blind"}
    runner.heartbeat(us("12-02 09:30"))
    assert not runner.watch.is_blind(us("12-02 09:30"))
    runner.heartbeat(us("12-02 09:31"))
    runner.receive(event("onboarding_completed", "12-02 08:30", received="12-02 09:31:10"))
    for minute in range(32, 40):
        runner.heartbeat(us(f"12-02 09:{minute}"))
    ((person, _, at),) = actions(runner)
    assert person == "p2" and us("12-02 09:32") <= at <= us("12-02 09:34")
    assert reasons(runner) == [("p1", "cancelled")]


def test_t21_each_cart_is_an_occurrence_of_its_own(make: Make) -> None:
    runner = run(
        rules(R3),
        [
            event("checkout_started", "10:00", cart_id="c1"), event("checkout_started", "10:05", cart_id="c2"),
            event("payment_completed", "10:10", cart_id="c2", amount=1, currency="EUR"),
        ], make=make)  # fmt: skip
    assert [(each.what.key, each.at_us) for each in runner.outcomes if isinstance(each.what, Action)] == [
        ("c1", us("10:32"))
    ]
    assert reasons(runner) == [("p1", "cancelled")]
