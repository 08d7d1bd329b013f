"""A month of events with a planted truth: each person lives one story of `planted_stories`, and does other things besides."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec.structs import replace

from benchmarks.planted_stories import DAY, HOUR, SECOND, STORIES, Life, Start, Word, nothing, us_of
from gtm_dagster.triggers.trigger_event import TriggerEvent

BEGIN, DAYS, END = datetime(2026, 10, 10, tzinfo=UTC), 30, datetime(2026, 11, 25, tzinfo=UTC)
"""The month holds the end of summer time in Berlin and New York; at the end nothing is open."""
LATE, TWICE, AGAIN = 0.03, 0.05, 0.01
"""Shares of the events that nothing hangs on which arrive hours late, of all that arrive twice, and hours later again."""
ZONES = (None, "America/New_York", "Asia/Tokyo")


def planted(persons: int, seed: int) -> tuple[list[TriggerEvent], dict[Start, Word]]:
    """The events in the order of receipt, and what becomes of every start among them. Every story is lived once at least."""
    rng = random.Random(seed)
    stories = [story for story, n in STORIES.items() for _ in range(max(1, n * persons // 10_000))]
    stories += [nothing] * (persons - len(stories))
    truth: dict[Start, Word] = {}
    events: list[TriggerEvent] = []
    for number, story in enumerate(stories):
        origin_us = us_of(BEGIN) + rng.randrange(2 * DAY, (DAYS - 14) * DAY) // SECOND * SECOND
        life = Life(number, rng, origin_us, rng.choice(ZONES))
        story(life)
        truth |= life.truth
        events += life.events
        events += _around(life)
    return sorted(_copies(events, rng), key=lambda each: each.received_us), truth


def _around(life: Life) -> Iterator[TriggerEvent]:
    """What a person does besides, some of it received late: pages, and one look at the prices a day at most."""
    rng, known = life.rng, len(life.events)
    for _ in range(rng.randrange(2, 6)):
        late = rng.randrange(HOUR, DAY) if rng.random() < LATE else SECOND
        life.tell("page_viewed", rng.randrange(-2 * DAY, 12 * DAY), late_us=late, consent={})
    for day in rng.sample(range(-2, 12), rng.randrange(3)):
        at_us = day * DAY + rng.randrange(HOUR) + 14 * HOUR
        if abs(at_us) > 4 * HOUR:
            life.tell("pricing_viewed", at_us, consent={})
    found, life.events = life.events[known:], life.events[:known]
    yield from found


def _copies(events: list[TriggerEvent], rng: random.Random) -> Iterator[TriggerEvent]:
    for each in events:
        yield each
        if rng.random() < TWICE:
            yield each
        if rng.random() < AGAIN:
            yield replace(each, received_us=each.received_us + rng.randrange(1, 240) * HOUR)
