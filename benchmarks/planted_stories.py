"""Stories of persons, and what the rules do about each.

The truth is worked out here with dates and zones alone, of what docs/triggers.md promises: nothing of `gtm_dagster.triggers` but
the form of events is used.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as wall_time
from typing import Any
from zoneinfo import ZoneInfo

from gtm_dagster.triggers.trigger_event import TriggerEvent

RULES = """
rules:
  onboarding:
    on: trial_started
    absent: {event: onboarding_completed, within: 24h, grace: 2m}
    reentry: {cooldown: 7d}
    purpose: marketing
    quiet: {from: "21:00", to: "08:00", zone: person, default_zone: Europe/Berlin}
    do: {email: onboarding.md.j2}
  pricing: {on: pricing_viewed, count: {n: 3, within: 10m}, reentry: {cooldown: 24h}, purpose: service, do: {webhook: sales}}
  checkout:
    on: checkout_started
    key: cart_id
    absent: {event: payment_completed, within: 30m, grace: 2m}
    purpose: personalization
    expires: 2h
    do: {in_app: cart.md.j2}
  demo: {on: demo_requested, purpose: service, cap: {channel: email, n: 1, per: 7d}, priority: 90, do: {email: demo.md.j2}}
  follow: {on: demo_requested, purpose: service, cap: {channel: email, n: 1, per: 7d}, priority: 10, do: {email: follow.md.j2}}
"""
SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
Start = tuple[str, str]
"""A rule and the id of the event that started it."""


@dataclass(frozen=True)
class Word:
    """What becomes of a start: `sent` or the reason. `at_us`: when a message is decided (microseconds UTC)."""

    word: str
    at_us: int | None = None


@dataclass
class Life:
    """One person. `origin_us`: when their story begins; `tell` adds an event of theirs, `expect` the truth about a start."""

    number: int
    rng: random.Random
    origin_us: int
    zone: str | None
    events: list[TriggerEvent] = field(default_factory=list)
    truth: dict[Start, Word] = field(default_factory=dict)

    def tell(
        self, name: str, after_us: int, *, late_us: int = SECOND, anonymous: bool = False, **more: Any
    ) -> TriggerEvent:
        """An event `after_us` the origin, received `late_us` later."""
        at_us = self.origin_us + after_us
        found = TriggerEvent(
            event_id=f"p{self.number}-{len(self.events)}", name=name, at_us=at_us, received_us=at_us + late_us,
            user_id=None if anonymous else f"u{self.number}",
            anonymous_id=f"a{self.number}" if anonymous or name == "user_identified" else None,
            timezone=self.zone, write_key="web",
            **({"consent": {"marketing": True, "personalization": True}} | more),
        )  # fmt: skip
        self.events.append(found)
        return found

    def expect(self, rule: str, start: TriggerEvent, word: str, at_us: int | None = None) -> None:
        self.truth[rule, start.event_id] = Word(word, at_us)

    def decided(self, start: TriggerEvent) -> int:
        """When a trial without its onboarding is decided: a day and the grace later, or when the person's night is over."""
        return _after_night(start.at_us + DAY + 2 * MINUTE, self.zone or "Europe/Berlin")

    def at_local(self, hour: int, of_due: bool = False) -> int:
        """How long after the origin it is this hour of the person's next day; `of_due`: a day less, for a trial due then."""
        zone = ZoneInfo(self.zone or "Europe/Berlin")
        day = _moment(self.origin_us).astimezone(zone).date() + timedelta(days=3)
        return _local(day, hour, zone) - self.origin_us - (DAY if of_due else 0)


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us // SECOND, UTC).replace(microsecond=us % SECOND)


def us_of(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _local(day: date, hour: int, zone: ZoneInfo) -> int:
    return us_of(datetime.combine(day, wall_time(hour), tzinfo=zone).astimezone(UTC))


def _after_night(us: int, name: str) -> int:
    """The moment itself, or the next 8 o'clock where it is after 21 or before 8 there."""
    zone = ZoneInfo(name)
    local = _moment(us).astimezone(zone)
    if 8 <= local.hour < 21:
        return us
    return _local(local.date() + timedelta(days=local.hour >= 21), 8, zone)


def _forgot(life: Life) -> None:
    trial = life.tell("trial_started", 0)
    life.expect("onboarding", trial, "sent", life.decided(trial))


def _onboarded(life: Life) -> None:
    trial = life.tell("trial_started", 0)
    life.tell("onboarding_completed", life.rng.randrange(MINUTE, 23 * HOUR))
    life.expect("onboarding", trial, "cancelled")


def _onboarded_at_the_last_moment(life: Life) -> None:
    trial = life.tell("trial_started", 0)
    life.tell("onboarding_completed", DAY + 2 * MINUTE - 2, late_us=1)  # received a microsecond before the rule decides
    life.expect("onboarding", trial, "cancelled")


def _onboarding_arrives_late(life: Life) -> None:
    trial = life.tell("trial_started", 0)
    life.tell("onboarding_completed", HOUR, late_us=life.rng.randrange(HOUR, 22 * HOUR))
    life.expect("onboarding", trial, "cancelled")


def _onboarding_arrives_first(life: Life) -> None:
    trial = life.tell("trial_started", 0, late_us=20 * MINUTE)
    life.tell("onboarding_completed", 5 * MINUTE)
    life.expect("onboarding", trial, "cancelled")


def _onboarded_in_the_night(life: Life) -> None:
    trial = life.tell("trial_started", life.at_local(23, of_due=True))
    life.tell("onboarding_completed", trial.at_us - life.origin_us + DAY + 3 * HOUR)
    life.expect("onboarding", trial, "died_while_held")


def _no_consent(life: Life) -> None:
    trial = life.tell("trial_started", life.at_local(12, of_due=True), consent={"marketing": False})
    life.expect("onboarding", trial, "no_consent")


def _consents_in_time(life: Life) -> None:
    trial = life.tell("trial_started", 0, consent={"marketing": False})
    life.tell("page_viewed", 12 * HOUR, consent={"marketing": True})
    life.expect("onboarding", trial, "sent", life.decided(trial))


def _withdraws_consent(life: Life) -> None:
    trial = life.tell("trial_started", life.at_local(12, of_due=True))
    life.tell("page_viewed", trial.at_us - life.origin_us + 12 * HOUR, consent={"marketing": False})
    life.expect("onboarding", trial, "no_consent")


def _two_trials_at_once(life: Life) -> None:
    first = life.tell("trial_started", 0)
    second = life.tell("trial_started", 3 * HOUR)
    life.expect("onboarding", first, "sent", life.decided(first))
    life.expect("onboarding", second, "already_open")


def _second_trial_soon(life: Life) -> None:
    first, second = life.tell("trial_started", 0), life.tell("trial_started", 3 * DAY)
    life.expect("onboarding", first, "sent", life.decided(first))
    life.expect("onboarding", second, "cooldown")


def _offline_trial(life: Life) -> None:
    trial = life.tell("trial_started", 0, late_us=30 * HOUR)
    life.expect("onboarding", trial, "stale_start")


def _program(life: Life) -> None:
    life.expect("onboarding", life.tell("trial_started", 0, bot=True), "bot")


def _trial_before_signup(life: Life) -> None:
    trial = life.tell("trial_started", 0, anonymous=True)
    life.tell("user_identified", HOUR)
    life.expect("onboarding", trial, "sent", life.decided(trial))


def _onboarded_after_signup(life: Life) -> None:
    trial = life.tell("trial_started", 0, anonymous=True)
    life.tell("user_identified", HOUR)
    life.tell("onboarding_completed", 2 * HOUR)
    life.expect("onboarding", trial, "cancelled")


def _triple(life: Life) -> None:
    for after in (0, 4 * MINUTE):
        life.tell("pricing_viewed", after)
    third = life.tell("pricing_viewed", 10 * MINUTE - 1)
    life.expect("pricing", third, "sent", third.received_us)


def _triple_over_ten_minutes(life: Life) -> None:
    for after in (0, 4 * MINUTE, 10 * MINUTE):  # the first is not in (now - 10m, now]
        life.tell("pricing_viewed", after)


def _two_triples(life: Life) -> None:
    _triple(life)
    for minute in (120, 121):
        life.tell("pricing_viewed", minute * MINUTE)
    life.expect("pricing", life.tell("pricing_viewed", 122 * MINUTE), "cooldown")


def _triple_over_signup(life: Life) -> None:
    for after in (0, 2 * MINUTE):
        life.tell("pricing_viewed", after, anonymous=True)
    life.tell("user_identified", 3 * MINUTE)
    third = life.tell("pricing_viewed", 5 * MINUTE)
    life.expect("pricing", third, "sent", third.received_us)


def _triple_completed_late(life: Life) -> None:
    life.tell("pricing_viewed", 0)
    middle = life.tell("pricing_viewed", 4 * MINUTE, late_us=3 * HOUR)
    last = life.tell("pricing_viewed", 8 * MINUTE)
    life.expect("pricing", last, "sent", middle.received_us)


def _two_carts(life: Life) -> None:
    left = life.tell("checkout_started", 0, properties={"cart_id": "c1"})
    paid = life.tell("checkout_started", 5 * MINUTE, properties={"cart_id": "c2"})
    life.tell("payment_completed", 10 * MINUTE, properties={"cart_id": "c2"})
    life.expect("checkout", left, "sent", left.at_us + 32 * MINUTE)
    life.expect("checkout", paid, "cancelled")


def _no_cart(life: Life) -> None:
    life.expect("checkout", life.tell("checkout_started", 0), "no_key")


def _demo(life: Life) -> None:
    demo = life.tell("demo_requested", 0)
    life.expect("demo", demo, "sent", demo.received_us)
    life.expect("follow", demo, "capped")


def _demo_after_onboarding(life: Life) -> None:
    """The message about the onboarding fills the cap of the channel for seven days."""
    trial = life.tell("trial_started", 0)
    sent_us = life.decided(trial)
    life.expect("onboarding", trial, "sent", sent_us)
    soon = life.tell("demo_requested", sent_us - life.origin_us + DAY)
    later = life.tell("demo_requested", sent_us - life.origin_us + 8 * DAY)
    life.expect("demo", soon, "capped")
    life.expect("follow", soon, "capped")
    life.expect("demo", later, "sent", later.received_us)
    life.expect("follow", later, "capped")


def nothing(life: Life) -> None:
    life.tell("onboarding_completed", 0)
    life.tell("payment_completed", HOUR, properties={"cart_id": "c1"})


STORIES: dict[Callable[[Life], None], int] = {
    _forgot: 212, _consents_in_time: 50, _two_trials_at_once: 40, _second_trial_soon: 40, _trial_before_signup: 40,
    _demo_after_onboarding: 30, _onboarded: 900, _onboarded_at_the_last_moment: 60, _onboarding_arrives_late: 60,
    _onboarding_arrives_first: 60, _onboarded_in_the_night: 60, _no_consent: 60, _withdraws_consent: 40, _offline_trial: 30,
    _program: 30, _onboarded_after_signup: 60, _triple: 60, _two_triples: 40, _triple_over_signup: 30,
    _triple_completed_late: 25, _triple_over_ten_minutes: 80, _two_carts: 150, _no_cart: 20, _demo: 100,
}  # fmt: skip
"""How many of 10,000 persons live each story, with 412 messages for absences and 155 for triples; the others start nothing."""
