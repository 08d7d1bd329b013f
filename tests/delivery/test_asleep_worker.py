"""A worker that was asleep for three days: what is too late is not sent, and the rest goes at its pace, each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_servers import Receiver, answering
from live_cases import LiveCase
from message_cases import HOUR, SECOND, START, Bench, bench, message, put, statuses, webhook
from msgspec.structs import replace
from trigger_cases import event, rules, us

NUDGE = """
  nudge:
    on: trial_started
    absent: {event: onboarding_completed, within: 24h, grace: 2m}
    purpose: service
    expires: 12h
    do: {webhook: crm}
"""
RATE = 10
MINUTE = 60 * SECOND


def sent_by_second(work: Bench, receiver: Receiver, from_us: int, seconds: int) -> list[int]:
    """Messages that arrive in each second, of a worker that is awake from `from_us` on."""
    counts = []
    for second in range(seconds):
        before = len(receiver.requests)
        for tenth in range(10):
            work.now_us = from_us + second * SECOND + tenth * SECOND // 10
            work.round()
        counts.append(len(receiver.requests) - before)
    return counts


@pytest.fixture
def crm() -> Callable[[Receiver], object]:
    return lambda receiver: webhook("crm", receiver.url, per_second=float(RATE))


def test_rules_that_slept_send_what_is_worth_it_at_ten_a_second(
    tmp_path: Path, crm: Callable[[Receiver], object]
) -> None:
    live, began, awake = LiveCase(tmp_path, rules(NUDGE)), us("12-01 09:00"), us("12-04 09:00")
    starts = [
        replace(event("trial_started", "12-01 09:00", f"p{n}", event_id=f"e{n}"), at_us=at, received_us=at + SECOND)
        for n, at in enumerate(range(began, awake, 5 * MINUTE))
    ]
    live.resume(starts, awake)
    live.close()
    worth = {
        each.event_id for each in starts if awake - 12 * HOUR < each.at_us + 24 * HOUR <= awake - 2 * MINUTE - SECOND
    }
    with Receiver(answering(200)) as receiver, bench(tmp_path / "triggers.db", [crm(receiver)]) as work:
        counts = sent_by_second(work, receiver, awake, len(worth) // RATE + 3)
        assert max(counts) <= RATE + 1, "no burst"
        arrived = Counter(document["data"]["event"]["id"] for document in receiver.documents)
    assert arrived == Counter(worth), "each once, and nothing that was due more than twelve hours ago"
    assert len(worth) > 100


def test_a_deliverer_that_slept_lets_the_rest_expire_and_sends_at_its_pace(tmp_path: Path, crm: Callable[[Receiver], object]) -> None:  # fmt: skip
    path, awake = tmp_path / "triggers.db", START + 72 * HOUR
    for n in range(120):
        at = START + n * 36 * MINUTE
        put(path, message(f"a{n:03}", decided_us=at, received_us=at, expires_us=at + 24 * HOUR))
    worth = {f"a{n:03}" for n in range(120) if START + n * 36 * MINUTE + 24 * HOUR > awake}
    with Receiver(answering(200)) as receiver, bench(path, [crm(receiver)]) as work:
        counts = sent_by_second(work, receiver, awake, 6)
        assert counts[0] <= 2 * RATE and max(counts[1:]) <= RATE, "a second's burst, and then the rate"
        assert sorted(receiver.ids) == sorted(worth)
    assert {status for name, (status, *_) in statuses(path).items() if name not in worth} == {"expired"}
