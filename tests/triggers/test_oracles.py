"""Counts and absences on random streams, against references that share nothing with `step`: a window in SQL, and plain loops."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from trigger_cases import SECOND, rules, us

from gtm_dagster.triggers.memory_runner import MemoryRunner
from gtm_dagster.triggers.outcomes import Action
from gtm_dagster.triggers.trigger_event import TriggerEvent
from gtm_dagster.warehouse.engine import in_memory

MINUTE = 60 * SECOND
COUNT = "\n  c: {on: pricing_viewed, count: {n: 3, within: 10m}, reentry: always, purpose: service, do: {webhook: w}}\n"
ABSENT = """
  a: {on: trial_started, absent: {event: onboarding_completed, within: 60m, grace: 2m}, purpose: service, do: {webhook: w}}
"""
BEGIN = us("00:00")


def stream(seed: int, names: tuple[str, ...], persons: int = 40, events: int = 1500) -> list[TriggerEvent]:
    """Events of a day in the order of receipt: some at the same second, some up to three hours late, some sent twice."""
    rng = random.Random(seed)
    found = []
    for number in range(events):
        at = BEGIN + rng.randrange(24 * 60) * MINUTE + rng.choice((0, 0, 30)) * SECOND
        late = rng.choice((1, 1, 1, 61, 119, 121, 20 * 60, 180 * 60)) * SECOND
        made = TriggerEvent(
            event_id=f"e{number:05}", name=rng.choice(names), at_us=at, received_us=at + late, user_id=f"u{rng.randrange(persons)}",
        )  # fmt: skip
        found += [made] * rng.choice((1, 1, 1, 2))
    return sorted(found, key=lambda event: event.received_us)


def sent(text: str, events: list[TriggerEvent]) -> list[str]:
    runner = MemoryRunner(rules(text))
    for event in events:
        runner.receive(event)
    runner.finish()
    return sorted(each.what.trigger_event_id for each in runner.outcomes if isinstance(each.what, Action))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_counts_are_those_of_a_window_in_sql(seed: int) -> None:
    events = stream(seed, ("pricing_viewed",), persons=12)
    table = pa.Table.from_pylist([{"id": e.event_id, "person": e.user_id, "moment": e.at_us} for e in events])
    con = in_memory()
    con.register("events", table)
    expected = con.execute(
        f"SELECT id FROM (SELECT DISTINCT * FROM events) QUALIFY lag(moment, 2) OVER (PARTITION BY person ORDER BY moment, id) > moment - {10 * MINUTE} ORDER BY id"
    ).fetchall()
    con.close()
    assert len(expected) > 50
    assert sent(COUNT, events) == [row[0] for row in expected]


def absences(events: list[TriggerEvent], within: int, grace: int) -> list[str]:
    """Starts that nothing cancels before they are due and that no earlier sent start covers, by their definition."""
    found: list[str] = []
    for person in {event.user_id for event in events}:
        own = [event for event in events if event.user_id == person]
        covered_until = -1
        for start in sorted({(e.at_us, e.event_id, e.received_us) for e in own if e.name == "trial_started"}):
            at, event_id, received = start
            cancelled = any(
                e.name == "onboarding_completed" and e.at_us >= at and e.received_us < at + within + grace for e in own
            )
            if at >= covered_until and received < at + within and not cancelled:
                found.append(event_id)
                covered_until = at + within
    return sorted(found)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_absences_are_those_of_the_definition(seed: int) -> None:
    events = stream(seed, ("trial_started", "trial_started", "onboarding_completed"), persons=60)
    expected = absences(events, 60 * MINUTE, 2 * MINUTE)
    assert len(expected) > 50
    assert sent(ABSENT, events) == expected
