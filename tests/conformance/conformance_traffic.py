"""The traffic the engines have to agree on: deterministic, in two landings, with everything that is hard on purpose.

Ties of the same microsecond, ids whose order depends on the collation, gaps of exactly the timeout and one microsecond
more, midnights of the report time zone, tracker ids that interleave and are shared, late events that join and split what
was there, logins that come late and merge browsers, copies, a bot, sources with NULL in them, touches exactly at the edge
of a window, conversions with and without a touch.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import date, timedelta

from conformance_cohorts import returning, teams
from conformance_writer import DAY, HOUR, MINUTE, SOURCES, START, Writer

from gtm_dagster.attribution.models import TOUCH_MODELS

WINDOWS = [{"model": model, "lookback_hours": hours} for model in TOUCH_MODELS for hours in (24, 167.5)]
WINDOWS += [{"model": "first_touch", "lookback_hours": 72}]  # one that no other model has
WINDOWS += [
    {"model": "linear", "lookback_hours": 167.5, "name": "paid", "only": ["Paid Search", "Paid Social"]},
    {"model": "time_decay", "lookback_hours": 24, "name": "not direct", "without": ["Direct"], "half_life_hours": 3},
    {"model": "position_based", "lookback_hours": 24, "name": "hours", "channel_hours": {"Paid Search": 72, "Direct": 0.5}, "weights": [1, 0, 4]},
    {"model": "last_touch", "lookback_hours": 167.5, "name": "removed", "transforms": ["remove_if_not_all:Direct", "exposure", "newest:3"]},
    {"model": "inverse_age", "lookback_hours": 167.5, "name": "cut", "transforms": ["remove_if_last_and_not_all:Direct", "first"]},
    {"model": "linear", "lookback_hours": 167.5, "name": "last of each", "transforms": ["unique", "last"], "without": ["Email"]},
    {"model": "full_path", "lookback_hours": 167.5, "name": "stages of newest", "transforms": ["newest:4"]},
    {"model": "linear_unique", "lookback_hours": 167.5, "name": "channels in a row", "transforms": ["exposure"]},
]  # fmt: skip


REPEATED = [
    {"stage": f"{number} {event}", "events": [event]}
    for number, event in enumerate(("page_viewed", "signup_completed", "page_viewed", "page_viewed"))
]
"""Stages that share an event."""


@dataclass(frozen=True)
class Scenario:
    """A deployment's settings and the seed of its traffic."""

    name: str
    seed: int
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def timeout_us(self) -> int:
        return round(float(self.environ.get("GTM_SESSIONS__TIMEOUT_MINUTES", "30")) * MINUTE)


SCENARIOS = (
    Scenario("ga4", 1, {"GTM_ATTRIBUTION__MAX_TOUCHES": "3"}),
    Scenario(
        "ua-berlin", 2,
        {"GTM_SESSIONS__DEFINITION": "ua", "GTM_REPORT_TIMEZONE": "Europe/Berlin", "GTM_ATTRIBUTION__GRAIN": "event", "GTM_ATTRIBUTION__MAX_TOUCHES": "7"},
    ),
    Scenario(
        "tracker", 3,
        {"GTM_SESSIONS__DEFINITION": "tracker", "GTM_REPORT_TIMEZONE": "America/New_York", "GTM_FUNNEL__STEPS": json.dumps(REPEATED), "GTM_ATTRIBUTION__GRAIN": "event"},
    ),
    Scenario(
        "ga4-short", 4,
        {"GTM_SESSIONS__TIMEOUT_MINUTES": "5.5", "GTM_RETENTION__UNIT": "day", "GTM_ATTRIBUTION__HALF_LIFE_HOURS": "1.5"},
    ),
)  # fmt: skip


def first_landing(scenario: Scenario, plan_version: str) -> list[dict]:
    """Twenty days of traffic."""
    rng = random.Random(scenario.seed)
    out = Writer(plan_version, START + 25 * DAY)
    _people(out, rng, scenario, people=120, days=20)
    _edges(out, scenario)
    _bot(out, rng, events=1500)
    _steps(out, rng)
    _refunds(out)
    returning(out, rng)
    teams(out, rng)
    copies = [{**row, "received_us": row["received_us"] + HOUR} for row in rng.sample(out.rows, 40)]
    return out.rows + copies


def late_landing(scenario: Scenario, plan_version: str) -> list[dict]:
    """What arrives a day later: new moments between old ones, a user who turns out to be two browsers, copies."""
    rng = random.Random(scenario.seed + 1000)
    out = Writer(plan_version, START + 26 * DAY)
    _people(out, rng, scenario, people=30, days=22)
    timeout = scenario.timeout_us
    bridge = START + 2 * DAY
    out.add(bridge + timeout, anonymous_id="edge-late", session_id="s1")  # joins two visits into one
    out.add(START + 3 * DAY, anonymous_id="p3", user_id="merged", name="signup_completed")
    out.add(START + 3 * DAY + MINUTE, anonymous_id="p4", user_id="merged", touch=("google", "cpc", "late"))
    out.add(START + 4 * DAY, name="user_identified", user_id="merged", device_type="api")  # who is u7, too
    first = first_landing(scenario, plan_version)
    return out.rows + [{**row, "received_us": row["received_us"] + DAY} for row in rng.sample(first, 30)]


def _people(out: Writer, rng: random.Random, scenario: Scenario, *, people: int, days: int) -> None:
    """Persons with a few visits each, on a grid coarse enough for ties and gaps of exactly the timeout."""
    timeout = scenario.timeout_us
    for number in range(people):
        user = f"u{number % 40}" if rng.random() < 0.5 else None
        ids = {"anonymous_id": f"p{number}", "user_id": user}
        for visit in range(rng.randrange(1, 6)):
            at = START + rng.randrange(days * 24 * 12) * 5 * MINUTE
            if rng.random() < 0.2:  # around a local midnight
                at = START + rng.randrange(days) * DAY + rng.choice((-2, -1, 22, 23)) * HOUR - 7 * MINUTE
            for step in range(rng.randrange(1, 9)):
                at += rng.choice((0, 0, 1, 40_000_000, 3 * MINUTE, timeout, timeout + 1, timeout - 1))
                name = rng.choice(
                    ["page_viewed"] * 7
                    + ["signup_completed", "payment_completed", "feature_used", "onboarding_completed"]
                )
                out.add(
                    at, name=name, touch=rng.choice(SOURCES) if step == 0 or rng.random() < 0.15 else None,
                    referrer=rng.choice((None, None, None, "https://example.org/a", "https://www.google.com/")),
                    term=rng.choice((None, None, "shoes")), click_id=rng.choice((None, None, None, None, "gclid=1", "gclid=2")),
                    session_id=rng.choice((f"s{visit}", f"s{visit}", "shared", None)),
                    device_type=rng.choice(("web", "web", "mobile", "api")), **ids,
                )  # fmt: skip


def _edges(out: Writer, scenario: Scenario) -> None:
    """The cases that are decided by one microsecond."""
    timeout = scenario.timeout_us
    base = START + 2 * DAY
    for offset in (0, 2 * timeout):  # the late landing brings the moment between them
        out.add(base + offset, anonymous_id="edge-late", session_id="s1" if not offset else "s2")
    for offset in (0, timeout, 2 * timeout + 1, 3 * timeout + 1):
        out.add(base + offset, anonymous_id="edge-gap", session_id=f"g{offset % 2}")
    for touch in (("google", "cpc", "b"), ("facebook", None, "a"), None, ("direct", None, None)):
        out.add(base, anonymous_id="edge-tie", touch=touch, session_id="t", referrer="https://example.org/")
        out.add(base + 1, anonymous_id="edge-tie", touch=touch, session_id="t")
    for write_key, touch in (("w2", ("google", "cpc", "b")), ("w1", ("facebook", "cpc", "a"))):  # the key alone decides
        same = {"anonymous_id": "edge-keys", "session_id": "k", "event_id": "same", "write_key": write_key}
        out.add(base, touch=touch, **same)
    out.add(base + HOUR, anonymous_id="edge-keys", name="payment_completed", device_type="api")
    for number, pair in enumerate(
        (("a", "B"), ("z", "é"), ("10", "9"), ("\ue000", "😀"))
    ):  # bytes order them, no language
        for event_id, touch in zip(pair, (("google", "cpc", "x"), ("facebook", "cpc", "y")), strict=True):
            out.add(
                base + number * DAY, anonymous_id="edge-text", touch=touch, event_id=f"{event_id}-id", session_id="x"
            )
    # Midnights in UTC, New York (summer), Berlin (winter) and, after the change of clocks, Berlin (summer).
    for number, midnight in enumerate((0, 4 * HOUR, 23 * HOUR, 3 * DAY + 22 * HOUR)):
        at = START + DAY + midnight
        for offset in (-1, 0, 1):
            out.add(at + offset, anonymous_id=f"edge-midnight-{number}", session_id="m")
            out.add(at + offset, anonymous_id=f"edge-midnight-{number}", name="signup_completed", device_type="api")
        named = {"anonymous_id": f"edge-carried-{number}", "session_id": "k"}  # one campaign on both sides of midnight
        out.add(at - MINUTE, touch=("google", "cpc", "carried"), **named)
        out.add(at + MINUTE, **named)
        out.add(at + 2 * MINUTE, touch=("google", "cpc", "carried"), **named)
    for minutes in range(-1, 2 * 1440, 29):  # one arrival, a visit over two midnights of every zone
        out.add(START + 8 * DAY + minutes * MINUTE, anonymous_id="edge-nights", touch=("google", "cpc", "nights") if minutes < 0 else None, session_id="n")  # fmt: skip
    clock_change = START + 3 * DAY  # 29 March 2026
    for minutes in range(0, 180, 20):
        out.add(clock_change + minutes * MINUTE, anonymous_id="edge-clock", session_id=f"c{minutes // 60}")
    paid = base + 10 * DAY
    for index, window in enumerate((24 * HOUR, round(167.5 * HOUR))):
        for offset in (-1, 0, 1):  # just inside, exactly at and just outside of the lookback
            who = f"edge-window-{index}-{offset}"
            out.add(paid - window - offset, anonymous_id=who, touch=("google", "cpc", f"w{index}"), session_id="a")
            out.add(paid - HOUR, anonymous_id=who, touch=("facebook", "cpc", f"w{index}"), session_id="b")
            out.add(paid, anonymous_id=who, name="payment_completed", device_type="api")
    out.add(
        paid, anonymous_id="edge-same-moment", name="payment_completed", touch=("google", "cpc", "now"), session_id="n"
    )
    out.add(paid, anonymous_id="edge-no-touch", name="payment_completed", device_type="api")
    out.add(paid, anonymous_id="edge-after", name="signup_completed", device_type="api")
    out.add(paid + 1, anonymous_id="edge-after", touch=("google", "cpc", "too late"), session_id="z")
    for back in range(1, 6):  # only direct touches: last_non_direct has nothing else to choose
        out.add(paid - back * HOUR * 2, anonymous_id="edge-direct", session_id=f"d{back}")
    out.add(paid, anonymous_id="edge-direct", name="payment_completed", device_type="api")


def _steps(out: Writer, rng: random.Random) -> None:
    """Persons who pass every stage of the funnel, some of them a microsecond too early for the last."""
    for number in range(25):
        at = START + rng.randrange(4 * 24) * HOUR
        who = {"anonymous_id": f"step{number}", "session_id": "f"}
        out.add(at, touch=rng.choice(SOURCES), **who)
        for name in ("signup_completed", "onboarding_completed", "first_value_reached"):
            at += rng.choice((0, MINUTE))
            out.add(at, name=name, **who)
        out.add(at + 168 * HOUR + rng.choice((-1, 0, 1)), name="feature_used", **who)


def _refunds(out: Writer) -> None:
    """Payments in another currency, every second one given back in part, some of them said by two events."""
    for number in range(40):
        at = START + number * 11 * HOUR
        who = {"anonymous_id": f"p{number}", "session_id": "r"}
        paid = {"amount": 7.7 + number, "currency": "EUR", "payment_id": f"p{number}"}
        out.add(at, touch=SOURCES[number % len(SOURCES)], **who)
        for minutes in (1, 90) if number % 4 == 0 else (1,):
            out.add(at + minutes * MINUTE, name="payment_completed", properties=json.dumps(paid), **who)
        if number % 2:
            given_back = {"amount": 3.3, "currency": "EUR", "payment_id": f"p{number}"}
            out.add(at + 3 * DAY, name="payment_refunded", device_type="api", properties=json.dumps(given_back), **who)


SPEND = [
    ("google", "cpc", "brand", None), ("google", "cpc", "brand", "Display"), ("google", None, "spring", None),
    ("google", "cpc", None, None), ("facebook", "paid_social", None, None), ("facebook", None, None, None),
    ("bing", "cpc", "brand", None), ("google", "cpc", "brnad", None), (None, None, None, "Email"), (None, None, None, "Audio"),
]  # fmt: skip
"""Spend at every grain, some of it of no visit."""


def spend_of(scenario: Scenario, landing: str) -> list[dict]:
    """Rows of an import of spend; one scenario has one currency, the later import other amounts for the last days."""
    rows = []
    for day in range(0, 22) if landing == "first" else range(15, 22):
        for number, (source, medium, campaign, channel) in enumerate(SPEND):
            for currency in ("EUR",) if scenario.seed == 4 else ("EUR", "USD"):
                if (day + number) % (2 if currency == "EUR" else 3) == 0:
                    continue
                rows.append(
                    {
                        "write_key": "ads", "day": date(2026, 3, 26) + timedelta(days=day), "source": source, "medium": medium,
                        "campaign": campaign, "channel": channel, "currency": currency,
                        "cost": 0.0 if (day + number) % 7 == 0 else 1.1 * day + number + (0.5 if landing == "late" else 0.0),
                        "timezone": "America/New_York" if number % 2 else None,
                    }
                )  # fmt: skip
    return rows


def _bot(out: Writer, rng: random.Random, *, events: int) -> None:
    """One browser that never rests and names a campaign every few seconds, and one that comes every six hours."""
    at = START + 5 * DAY
    for number in range(events):
        at += rng.choice((0, 1, 1_000_000, 20_000_000))
        touch = ("google", "cpc", f"c{number % 7}") if number % 5 == 0 else None
        name = "payment_completed" if number % 200 == 199 else "page_viewed"
        out.add(at, name=name, anonymous_id="bot", touch=touch, session_id=f"b{number // 100}")
    for number in range(60):
        at = START + number * 6 * HOUR
        out.add(at, anonymous_id="bot-slow", touch=SOURCES[number % len(SOURCES)], session_id=f"r{number}")
        out.add(at + MINUTE, name="payment_completed", anonymous_id="bot-slow", session_id=f"r{number}")
