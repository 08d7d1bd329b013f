"""Random rules over random streams: the engine, record by record, against a look at the whole history."""

from __future__ import annotations

import random
from datetime import time
from functools import partial
from typing import Any

import msgspec
import pytest
from history_oracle import HistoryOracle
from trigger_cases import SECOND, rules, us

from gtm_dagster.triggers.admit import in_holdout
from gtm_dagster.triggers.memory_runner import MemoryRunner
from gtm_dagster.triggers.outcomes import Action, NonSend
from gtm_dagster.triggers.trigger_event import TriggerEvent

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
PLANS = ("free", "pro", "team")


def minutes(us_: int) -> str:
    return f"{us_ // MINUTE}m"


def random_rule(rng: random.Random, number: int) -> tuple[str, dict[str, Any]]:
    """The text of a rule and what the oracle reads."""
    kind = rng.choice(("event", "count", "absent", "absent"))
    on = {"event": "checkout_started", "count": "pricing_viewed", "absent": "checkout_started"}[kind]
    rule: dict[str, Any] = {"name": f"r{number}", "on": on, "channel": rng.choice(("slack", "email"))}
    lines: dict[str, Any] = {"on": on, "do": {rule["channel"]: "a.j2"}, "servers": True}
    rule["purpose"] = lines["purpose"] = rng.choice(("service", "service", "marketing"))
    if kind == "count":
        rule["count"] = {"n": rng.choice((2, 3)), "within": rng.choice((10, 30)) * MINUTE}
        lines["count"] = {"n": rule["count"]["n"], "within": minutes(rule["count"]["within"])}
    if kind == "absent":
        rule["absent"] = {
            "event": "payment_completed",
            "within": rng.choice((30, 60, 120)) * MINUTE,
            "grace": rng.choice((1, 2)) * MINUTE,
        }
        lines["absent"] = {
            "event": "payment_completed", "within": minutes(rule["absent"]["within"]), "grace": f"{rule['absent']['grace'] // SECOND}s",
        }  # fmt: skip
    if kind != "count" and rng.random() < 0.4:
        rule["key"], lines["key"] = "cart_id", "properties.cart_id"
    if kind != "count" and rng.random() < 0.4:
        allowed = rng.sample(PLANS, 2)
        rule["where"], lines["where"] = {"plan": allowed}, {"properties.plan": {"in": allowed}}
    if rng.random() < 0.5:
        rule["cancel_on"] = ("subscription_cancelled",)
        lines["cancel_on"] = ["subscription_cancelled"]
    reentry = rng.choice(("always", "never", 30 * MINUTE, 5 * HOUR))
    rule["reentry"] = reentry
    lines["reentry"] = reentry if isinstance(reentry, str) else {"cooldown": minutes(reentry)}
    if rng.random() < 0.5:
        begin, end = rng.choice((("21:00", "08:00"), ("10:00", "12:00"), ("00:00", "04:30")))
        zone = rng.choice(("Europe/Berlin", "person"))
        hold = rng.choice((1, 14)) * HOUR
        rule["quiet"] = {
            "from": time.fromisoformat(begin), "to": time.fromisoformat(end), "zone": zone, "default_zone": "America/New_York", "max_hold": hold,
        }  # fmt: skip
        lines["quiet"] = {
            "from": begin, "to": end, "zone": zone, "default_zone": "America/New_York", "max_hold": minutes(hold),
        }  # fmt: skip
    if rng.random() < 0.5:
        n, per = rng.choice((1, 2)), rng.choice((1, 6)) * HOUR
        rule["cap"], lines["cap"] = {"n": n, "per": per}, {"channel": rule["channel"], "n": n, "per": minutes(per)}
    rule["priority"] = lines["priority"] = rng.choice((10, 50, 90))
    rule["expires"] = rng.choice((1, 6, 24)) * HOUR
    lines["expires"] = minutes(rule["expires"])
    if rng.random() < 0.3:
        lines["holdout"] = 0.4
    return f"\n  {rule['name']}: {msgspec.json.encode(lines).decode()}\n", rule


def random_events(rng: random.Random, count: int) -> list[TriggerEvent]:
    """Two days in the order of receipt: ties, late events, repeats, programs, anonymous ids that become known, consent."""
    found = []
    names = ("checkout_started", "checkout_started", "pricing_viewed", "pricing_viewed", "pricing_viewed", "payment_completed",
             "subscription_cancelled", "consent_updated", "page_viewed")  # fmt: skip
    for number in range(count):
        at = us("00:00") + rng.randrange(36 * 12) * 5 * MINUTE + rng.choice((0, 0, 0, 1, SECOND))
        late = rng.choice((0, SECOND, SECOND, SECOND, 5 * MINUTE, 31 * MINUTE, 3 * HOUR))
        name = rng.choice(names)
        user, anonymous = rng.choice((("u", None), ("u", None), (None, "a"), ("u", "a"), (None, "b"), ("w", "b")))
        if user and anonymous and rng.random() < 0.7:
            anonymous = None
        properties: dict[str, Any] = {}
        if name in ("checkout_started", "payment_completed"):
            properties = {
                k: v for k, v in (("cart_id", rng.choice(("c", "d", None))), ("plan", rng.choice(PLANS))) if v
            }
        if name == "consent_updated":
            properties = {"marketing": rng.random() < 0.7}
        random_event = TriggerEvent(
            event_id=f"e{number:03}", name=name, at_us=at, received_us=at + late, user_id=user, anonymous_id=anonymous,
            properties=properties, bot=rng.random() < 0.05, timezone=rng.choice((None, None, "Asia/Tokyo", "Europe/Berlin")),
            consent={"marketing": True} if rng.random() < 0.2 and name != "consent_updated" else {},
        )  # fmt: skip
        found += [random_event] * rng.choice((1, 1, 1, 1, 2))
    return sorted(found, key=lambda event: event.received_us)


SILENT = {"already_open", "bot", "cancelled", "no_key", "server_event", "stale_start"}
"""Reasons that the oracle does not write down: they lead to no decision of sending."""


@pytest.mark.parametrize("seed", range(16))
def test_decisions_are_those_of_the_definition(seed: int) -> None:
    rng = random.Random(seed)
    pairs = [random_rule(rng, number) for number in range(rng.randint(1, 4))]
    events = random_events(rng, rng.randint(20, 60))
    compiled = rules(*(text for text, _ in pairs))
    oracle = HistoryOracle(
        [{**of, "held_out": partial(in_holdout, rule)} for (_, of), rule in zip(pairs, compiled, strict=True)]
    )
    runner = MemoryRunner(compiled)
    for each in events:
        runner.receive(each)
        oracle.receive(each)
    runner.finish()
    oracle.finish()
    decided = [(each.person, each.what) for each in runner.outcomes if isinstance(each.what, Action | NonSend)]
    found = {
        (what.rule, what.trigger_event_id, person, "sent" if isinstance(what, Action) else what.reason, what.at_us)
        for person, what in decided
    }
    assert {row for row in found if row[3] not in SILENT} == {
        row for row in oracle.decisions if row.outcome not in SILENT
    }
