"""Rules, events and times that tests of triggers share: a virtual clock that starts on Tuesday 2026-12-01, UTC."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from gtm_dagster.taxonomy import load_plan
from gtm_dagster.taxonomy.plan import Plan, PropertySpec
from gtm_dagster.triggers.compiled_rule import Rule
from gtm_dagster.triggers.memory_runner import MemoryRunner
from gtm_dagster.triggers.outcomes import Action, Hold, NonSend
from gtm_dagster.triggers.rules_file import parse_rules
from gtm_dagster.triggers.trigger_event import TriggerEvent

SECOND = 1_000_000
ALL = {"analytics": True, "marketing": True, "personalization": True}
R1 = """
  onboarding_nudge:
    on: trial_started
    absent: {event: onboarding_completed, within: 24h}
    reentry: {cooldown: 7d}
    purpose: marketing
    quiet: {from: "21:00", to: "08:00", zone: Europe/Berlin}
    expires: 12h
    do: {email: onboarding_nudge.md.j2}
"""
R2 = """
  pricing:
    on: pricing_viewed
    count: {n: 3, within: 10m}
    reentry: {cooldown: 24h}
    purpose: service
    do: {webhook: sales}
"""
R3 = """
  checkout:
    on: checkout_started
    key: properties.cart_id
    absent: {event: payment_completed, within: 30m}
    purpose: personalization
    expires: 2h
    do: {in_app: cart.md.j2}
"""


def plan() -> Plan:
    """The packaged plan, in which a payment names its cart."""
    packaged = load_plan()
    packaged.events["payment_completed"].properties["cart_id"] = PropertySpec(type="string")
    return packaged


def rules(*texts: str) -> tuple[Rule, ...]:
    return parse_rules("rules:" + "".join(texts), plan())


def us(text: str) -> int:
    """Microseconds of `10:04:00` on 12-01, or of `12-02 08:59:59`."""
    text = text if " " in text else f"12-01 {text}"
    moment = datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)
    return int(moment.timestamp()) * SECOND


def event(
    name: str, at: str, person: str = "p1", *, received: str | None = None, event_id: str | None = None,
    anonymous: str | None = None, consent: Mapping[str, bool] = ALL, timezone: str | None = None, country: str | None = None,
    bot: bool = False, **properties: Any,
) -> TriggerEvent:  # fmt: skip
    """An event that the collector takes a second later, unless it says when."""
    user = None if person.startswith("a") else person
    return TriggerEvent(
        event_id=event_id or f"{name} {person} {at} {properties.get('cart_id', '')}".strip(),
        name=name,
        at_us=us(at),
        received_us=us(received) if received else us(at) + SECOND,
        user_id=user,
        anonymous_id=anonymous or (person if user is None else None),
        properties=properties,
        context={"country": country} if country else {},
        timezone=timezone,
        consent=consent,
        bot=bot,
    )


def run(
    rules: tuple[Rule, ...],
    events: Iterable[TriggerEvent],
    until: str = "12-20 00:00",
    make: Callable[[tuple[Rule, ...]], Any] = MemoryRunner,
) -> Any:
    """A runner that has taken `events` in the order of receipt and then the time up to `until`."""
    runner = make(rules)
    for each in sorted(events, key=lambda e: e.received_us):
        runner.receive(each)
    runner.advance(us(until))
    return runner


def actions(runner: Any) -> list[tuple[str, str, int]]:
    """(person, start, microseconds) of all actions."""
    return [
        (each.person, each.what.trigger_event_id, each.at_us)
        for each in runner.outcomes
        if isinstance(each.what, Action)
    ]


def reasons(runner: Any) -> list[tuple[str, str]]:
    """(person, reason) of all non-sends."""
    return [(each.person, each.what.reason) for each in runner.outcomes if isinstance(each.what, NonSend)]


def holds(runner: Any) -> list[tuple[str, str, int, int]]:
    """(person, reason, when, until) of all holds."""
    return [
        (each.person, each.what.reason, each.at_us, each.what.until_us)
        for each in runner.outcomes
        if isinstance(each.what, Hold)
    ]
