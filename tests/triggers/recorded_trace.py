"""One trace for every runner of rules: a seed draws persons, merges, late and repeated events, replays, silence of the senders.

`Entry` is an event in the order of receipt, or a heartbeat. What it leads to is what the memory runner says of it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

from msgspec.structs import replace
from trigger_cases import SECOND, rules, us

from gtm_dagster.triggers.memory_runner import MemoryRunner
from gtm_dagster.triggers.outcomes import Action, NonSend
from gtm_dagster.triggers.state_store import Outcome
from gtm_dagster.triggers.trigger_event import TriggerEvent

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
RULES = rules("""
  counted: {on: pricing_viewed, count: {n: 3, within: 20m}, reentry: {cooldown: 2h}, purpose: service, do: {webhook: w}}
  missing:
    on: trial_started
    absent: {event: onboarding_completed, within: 6h}
    cancel_on: [subscription_cancelled]
    reentry: {cooldown: 12h}
    purpose: marketing
    quiet: {from: "21:00", to: "08:00", zone: person, default_zone: Europe/Berlin}
    cap: {channel: email, n: 2, per: 1d}
    expires: 8h
    do: {email: e}
  second:
    on: trial_started
    absent: {event: onboarding_completed, within: 4h}
    purpose: marketing
    cap: {channel: email, n: 1, per: 8h}
    priority: 80
    expires: 2h
    do: {email: e2}
  carts:
    on: checkout_started
    key: cart_id
    absent: {event: payment_completed, within: 30m, grace: 1m}
    purpose: personalization
    holdout: 0.2
    expires: 2h
    do: {in_app: i}
  each: {on: feature_used, purpose: analytics, reentry: never, cap: {channel: slack, n: 3, per: 1d}, do: {slack: s}}
""")
NAMES = (
    "pricing_viewed", "pricing_viewed", "pricing_viewed", "trial_started", "onboarding_completed", "subscription_cancelled",
    "checkout_started", "checkout_started", "payment_completed", "feature_used", "page_viewed", "user_identified",
)  # fmt: skip
BEGIN, HOURS = us("00:00"), 48
END = us("12-20 00:00")
SILENT = range(30 * 60, 30 * 60 + 45)
"""Minutes of the trace without a heartbeat."""
Entry = TriggerEvent | int
Word = tuple[str, str, str]
"""Rule, start, and the action's id or the reason for none."""


def trace(seed: int, n: int = 3_000, persons: int = 120) -> list[Entry]:
    """Two days of events of `persons` and a heartbeat every minute, in the order of receipt; an int is a heartbeat's time."""
    rng = random.Random(seed)
    events = [event for number in range(n) for event in _drawn(rng, number, persons)]
    replayed = rng.sample(events, n // 20)
    events += [replace(event, received_us=event.received_us + rng.randrange(1, 12) * HOUR) for event in replayed]
    beats = [BEGIN + minute * MINUTE for minute in range(HOURS * 60 + 60) if minute not in SILENT]
    entries: list[Entry] = [*events, *beats]
    return sorted(entries, key=lambda entry: entry if isinstance(entry, int) else entry.received_us)


def _drawn(rng: random.Random, number: int, persons: int) -> list[TriggerEvent]:
    """One event, sometimes received twice; persons come in waves, so that their events meet."""
    person = rng.randrange(persons)
    at = BEGIN + (person * HOURS * HOUR // persons + rng.randrange(8 * 60) * MINUTE) % (HOURS * HOUR)
    name = rng.choice(NAMES)
    known = rng.random() < 0.5 or name == "user_identified"
    device = rng.randrange(3)
    late = rng.random() < 0.1
    drawn = TriggerEvent(
        event_id=f"e{number:05}", name=name, at_us=at + number % 1000,
        received_us=at + (rng.randrange(60, 5 * 3600) if late else 1) * SECOND + number,
        user_id=f"u{person}" if known else None,
        anonymous_id=f"a{person}.{device}" if not known or name == "user_identified" or rng.random() < 0.2 else None,
        properties={"cart_id": f"c{rng.randrange(3)}"} if name in ("checkout_started", "payment_completed") else {},
        context={"country": rng.choice(("DE", "JP", "US"))} if rng.random() < 0.3 else {},
        timezone=rng.choice(("America/New_York", "Asia/Tokyo")) if rng.random() < 0.2 else None,
        consent={p: rng.random() < 0.85 for p in ("analytics", "marketing", "personalization")} if rng.random() < 0.6 else {},
        bot=rng.random() < 0.03, write_key=rng.choice(("web", "backend")),
    )  # fmt: skip
    return [drawn] * rng.choice((1, 1, 1, 1, 2))


def word(outcome: Outcome) -> Word | None:
    """The final word on a start; None while it waits."""
    what = outcome.what
    if isinstance(what, Action):
        return what.rule, what.trigger_event_id, what.action_id
    return (what.rule, what.trigger_event_id, what.reason) if isinstance(what, NonSend) else None


def words(outcomes: Iterable[Outcome]) -> Counter[Word]:
    """Every final word, and how often it was said."""
    return Counter(found for outcome in outcomes if (found := word(outcome)) is not None)


def in_memory(entries: Iterable[Entry]) -> MemoryRunner:
    """The memory runner after the trace and the time until nothing is open."""
    runner = MemoryRunner(RULES)
    for entry in entries:
        if isinstance(entry, int):
            runner.heartbeat(entry)
        else:
            runner.receive(entry)
    runner.advance(END)
    return runner
