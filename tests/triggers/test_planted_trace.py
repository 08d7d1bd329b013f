"""A month with a planted truth: every runner decides it, and a rule that is a little other is found out."""

from __future__ import annotations

import pytest

from benchmarks.planted_stories import RULES, STORIES
from benchmarks.planted_trace import planted
from benchmarks.trigger_truth import run

PERSONS = 150


def test_the_runners_decide_what_is_planted() -> None:
    lines: list[str] = []
    assert run(PERSONS, 2, ("memory", "file", "shards"), lines.append), "\n".join(lines)
    assert sum("missed 0, false 0" in line for line in lines) == 3


@pytest.mark.parametrize(
    ("text", "other"),
    [
        pytest.param("grace: 2m}\n    reentry", "grace: 1m}\n    reentry", id="the grace of an absence"),
        pytest.param("within: 24h", "within: 23h", id="its time"),
        pytest.param('from: "21:00"', 'from: "23:30"', id="the beginning of quiet hours"),
        pytest.param('to: "08:00"', 'to: "09:00"', id="their end"),
        pytest.param("zone: person, default_zone: Europe/Berlin", "zone: Europe/Berlin", id="whose hours they are"),
        pytest.param("cooldown: 7d", "cooldown: 2d", id="the cooldown"),
        pytest.param("purpose: marketing", "purpose: service", id="consent"),
        pytest.param("within: 10m}", "within: 11m}", id="the window of a count"),
        pytest.param("cooldown: 24h", "cooldown: 1h", id="the cooldown of a count"),
        pytest.param("key: cart_id", "", id="the key"),
        pytest.param("per: 7d}, priority: 90", "per: 9d}, priority: 90", id="the window of a cap"),
        pytest.param("priority: 90", "priority: 1", id="the priority"),
    ],
)
def test_a_rule_that_is_another_is_found_out(text: str, other: str) -> None:
    assert RULES.count(text) == 1
    lines: list[str] = []
    assert not run(PERSONS, 2, ("memory",), lines.append, RULES.replace(text, other))
    assert any("  missed " in line or "  false " in line for line in lines)


def test_the_whole_month_has_the_planted_numbers() -> None:
    events, truth = planted(10_000, 3)
    sent = [rule for (rule, _), word in truth.items() if word.word == "sent"]
    assert (sent.count("onboarding"), sent.count("pricing")) == (412, 155)
    assert len(events) > len({each.event_id for each in events}) * 1.05, "events come twice, and again later"
    assert sum(STORIES.values()) < 10_000
