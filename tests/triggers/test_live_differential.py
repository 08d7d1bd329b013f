"""The live runner against the memory runner on random streams: with commits anywhere, restarts, and errors between statements."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from live_cases import LiveCase, record
from trigger_cases import SECOND, rules, us

from gtm_dagster.triggers import live_runner
from gtm_dagster.triggers.memory_runner import MemoryRunner
from gtm_dagster.triggers.outcomes import Action, Hold
from gtm_dagster.triggers.state_store import Outcome
from gtm_dagster.triggers.step import NEVER_US
from gtm_dagster.triggers.trigger_event import TriggerEvent

MINUTE = 60 * SECOND
TEXT = """
  counted: {on: pricing_viewed, count: {n: 2, within: 10m}, reentry: {cooldown: 20m}, purpose: service, do: {webhook: w}}
  missing:
    on: trial_started
    absent: {event: onboarding_completed, within: 30m}
    cancel_on: [subscription_cancelled]
    purpose: marketing
    quiet: {from: "03:00", to: "03:40", zone: UTC}
    cap: {channel: email, n: 2, per: 3h}
    do: {email: e}
  carts:
    on: checkout_started
    key: cart_id
    absent: {event: payment_completed, within: 15m, grace: 1m}
    purpose: service
    holdout: 0.2
    do: {in_app: i}
  each: {on: feature_used, purpose: service, reentry: never, cap: {channel: slack, n: 3, per: 1d}, do: {slack: s}}
"""
RULES = rules(TEXT)
CHANGED = rules(TEXT.replace("within: 30m", "within: 45m").replace("{on: feature_used", "{on: page_viewed"))
NAMES = (
    "pricing_viewed", "pricing_viewed", "trial_started", "onboarding_completed", "subscription_cancelled",
    "checkout_started", "checkout_started", "payment_completed", "feature_used", "page_viewed", "user_identified",
)  # fmt: skip


def stream(seed: int, n: int) -> list[TriggerEvent]:
    """Some hours of events in the order of receipt: late, twice, at one moment, anonymous and then known, with consent or not."""
    rng = random.Random(seed)
    found = []
    for number in range(n):
        at = us("00:00") + rng.randrange(5 * 60) * MINUTE
        person = rng.randrange(12)
        known = rng.random() < 0.7
        name = rng.choice(NAMES)
        made = TriggerEvent(
            event_id=f"e{number:04}", name=name, at_us=at,
            received_us=at + rng.choice((1, 1, 1, 60, 119, 1800)) * SECOND,
            user_id=f"u{person}" if known or name == "user_identified" else None,
            anonymous_id=f"a{person}" if not known or name == "user_identified" else None,
            properties={"cart_id": f"c{rng.randrange(3)}"} if name in ("checkout_started", "payment_completed") else {},
            consent={"marketing": rng.random() < 0.8} if rng.random() < 0.5 else {},
            bot=rng.random() < 0.03, write_key="k",
        )  # fmt: skip
        found += [made] * rng.choice((1, 1, 1, 2))
    return sorted(found, key=lambda event: event.received_us)


def last_words(outcomes: list[Outcome]) -> dict[tuple[str, str], tuple[Any, ...]]:
    """(person at that time, outcome, reason, action id, when) by rule and start; the first final word counts."""
    found: dict[tuple[str, str], tuple[Any, ...]] = {}
    for each in outcomes:
        row: tuple[Any, ...]
        what = each.what
        if isinstance(what, Hold):
            place, row = (what.want.rule.name, what.want.trigger_event_id), ("held", what.reason, None, each.at_us)
        elif isinstance(what, Action):
            place, row = (what.rule, what.trigger_event_id), ("sent", None, what.action_id, each.at_us)
        else:
            place, row = (what.rule, what.trigger_event_id), ("not_sent", what.reason, None, each.at_us)
        if found.get(place, ("held",))[0] == "held":
            found[place] = row
    return found


def stored_words(case: LiveCase) -> dict[tuple[str, str], tuple[Any, ...]]:
    return {
        (row["rule"], row["trigger_event_id"]): (row["outcome"], row["reason"], row["action_id"], row["decided_us"])
        for row in case.rows()
        if row["outcome"] != "open" and row["reason"] != "blind"
    }


def both(folder: Path, seed: int, disturb: Callable[[LiveCase, random.Random], None]) -> tuple[MemoryRunner, LiveCase]:
    """Both runners after the same stream, a change of the rules in the middle of it, and the time until nothing is open."""
    events = stream(seed, 200)
    rng = random.Random(seed)
    memory, live = MemoryRunner(RULES), LiveCase(folder, RULES, states_cached=20, persons_cached=3)
    for number, event in enumerate(events):
        if number == len(events) // 2:
            memory.advance(event.received_us - 1)
            live.advance(event.received_us - 1)
            memory.change_rules(CHANGED)
            live.change_rules(CHANGED)
        memory.receive(event)
        live.receive(event)
        disturb(live, rng)
    memory.finish()
    live.finish()
    return memory, live


def agree(memory: MemoryRunner, live: LiveCase) -> None:
    expected = last_words(memory.outcomes)
    assert len([row for row in expected.values() if row[0] == "sent"]) > 20
    assert stored_words(live) == expected
    assert live.states == memory.states
    assert [row["action_id"] for row in live.messages()] == sorted(row[2] for row in expected.values() if row[2])


@pytest.mark.parametrize("seed", [1, 2])
def test_restarts_anywhere_change_nothing(tmp_path: Path, seed: int) -> None:
    def disturb(case: LiveCase, rng: random.Random) -> None:
        if rng.random() < 0.1:
            case.restart()

    memory, live = both(tmp_path, seed, disturb)
    assert memory.outcomes == live.outcomes, "each outcome once, in the same order"
    agree(memory, live)
    live.close()


class Killed(BaseException):
    """What an error between two statements raises here."""


class Failing:
    """A connection whose statement number `after`, of those of the state file, is the last one before it fails."""

    def __init__(self, con: sqlite3.Connection) -> None:
        self._con, self.after = con, -1

    def _count(self, statement: str) -> None:
        if self.after == 0:
            self.after = -1
            raise Killed(statement)
        self.after -= self.after > 0

    def execute(self, statement: str, *values: Any) -> Any:
        self._count(statement)
        return self._con.execute(statement, *values)

    def executemany(self, statement: str, values: Any) -> Any:
        self._count(statement)
        return self._con.executemany(statement, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._con, name)


@pytest.mark.parametrize("seed", [3, 4])
def test_an_error_between_any_two_statements_changes_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    kills = 0

    class Case(LiveCase):
        def _new(self) -> Any:
            runner = super()._new()
            self.failing = Failing(runner._con)
            runner._con = runner._store._con = self.failing  # type: ignore[assignment]
            return runner

        def work(self) -> None:
            nonlocal kills
            if rng.random() < 0.5:
                self.failing.after = rng.randrange(30)
            try:
                self.runner.drain()
            except Killed:
                kills += 1
                self.restart()
                self.runner.drain()
            self.failing.after = -1

    events = stream(seed, 200)
    memory, live = MemoryRunner(RULES), Case(tmp_path, RULES, states_cached=20, persons_cached=3)
    for event in events:
        memory.receive(event)
        live.receive(event)
    memory.finish()
    live.finish()
    assert kills > 50
    agree(memory, live)
    live.close()


def test_batches_of_any_size_decide_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_runner, "BEHIND_US", NEVER_US)  # a batch spans hours
    memory, live = MemoryRunner(RULES), LiveCase(tmp_path, RULES)
    rng = random.Random(6)
    rest = stream(6, 400)
    while rest:
        size = rng.randrange(1, 40)
        batch, rest = rest[:size], rest[size:]
        for event in batch:
            memory.receive(event)
        live.advance(batch[0].received_us - 1)
        live.log.append([record(event) for event in batch])
        live.now_us = batch[-1].received_us
        live.work()
    memory.finish()
    live.finish()
    agree(memory, live)
    live.close()
