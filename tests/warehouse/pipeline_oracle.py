"""The way from landed rows to funnel and retention by their definitions, in plain Python, one person at a time.

Written from the definitions and not from the statements. Sessions are those of session_oracle.py; credit and money have
oracles of their own.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from session_oracle import Session, Touch, local_day, place, sessions_of

HOUR = 3_600_000_000
DIRECT = ("direct", "(none)", None, "Direct")


@dataclass(frozen=True)
class Deployment:
    """The settings that decide the tables. `steps`: stage, events, least hours after the stage before."""

    definition: str
    zone: str
    timeout_us: int
    steps: tuple[tuple[str, tuple[str, ...], float], ...]
    unit: str
    activity: tuple[str, ...]


@dataclass(frozen=True)
class Life:
    """One person: events and sessions in order, and the moments at which events name an account."""

    person: str
    events: tuple[dict, ...]
    sessions: tuple[Session, ...]
    named: tuple[tuple[int, str], ...]

    @property
    def source(self) -> tuple:
        return row_of(self.sessions[0].touch) if self.sessions else (None, None, None, "(none)")

    def day(self, zone: str) -> date | None:
        return local_day(self.sessions[0].start_us, zone) if self.sessions else None

    def account(self, known: Callable[[int], bool]) -> str | None:
        """By the newest event that is known, else by the first that names one."""
        before = [account for moment_us, account in self.named if known(moment_us)]
        return before[-1] if before else self.named[0][1] if self.named else None


def staged(rows: Iterable[dict]) -> list[dict]:
    """Each (write_key, event_id) once: the copy that was received first."""
    first: dict[tuple, dict] = {}
    for row in rows:
        key = row["write_key"], row["event_id"]
        if key not in first or (row["received_us"], row["event_us"]) < (
            first[key]["received_us"],
            first[key]["event_us"],
        ):
            first[key] = row
    return list(first.values())  # fmt: skip


def persons_of(rows: list[dict]) -> dict[tuple, str]:
    """The person of each event: users that an alias connects are the smallest of them; see docs/tracking.md."""
    in_order = sorted(rows, key=place)
    users = {row["user_id"] for row in rows if row.get("user_id")}
    owner: dict[str, str] = {}
    claimed: dict[str, str] = {}
    pairs: list[tuple[str, str]] = []
    for row in in_order:
        user, visitor = row.get("user_id"), row.get("anonymous_id")
        if user and visitor:
            owner.setdefault(visitor, user)
        if user and row["event_name"] == "user_identified":
            properties = json.loads(row["properties"])
            if properties.get("alias_of"):
                pairs.append((user, properties["alias_of"]))
            if properties.get("previous_id") in users:
                pairs.append((user, properties["previous_id"]))
            elif properties.get("previous_id"):
                claimed.setdefault(properties["previous_id"], user)
    group = {one: {one} for pair in pairs for one in pair}
    for left, right in pairs:
        joined = group[left] | group[right]
        for one in joined:
            group[one] = joined
    found = {}
    for row in rows:
        user = row.get("user_id") or owner.get(row["anonymous_id"]) or claimed.get(row["anonymous_id"])
        found[row["write_key"], row["event_id"]] = min(group.get(user, {user})) if user else row["anonymous_id"]
    return found


def row_of(touch: Touch | None) -> tuple:
    """Source, medium, campaign and channel of what a session is credited to."""
    return (touch.source, touch.medium, touch.campaign, touch.channel) if touch else DIRECT


def lives_of(rows: list[dict], settings: Deployment) -> list[Life]:
    """Every person of the landed rows."""
    kept = staged(rows)
    person = persons_of(kept)
    by_person: dict[str, list[dict]] = defaultdict(list)
    for row in kept:
        by_person[person[row["write_key"], row["event_id"]]].append(row)
    lives = []
    for who, events in by_person.items():
        events.sort(key=place)
        sessions = sessions_of(
            who,
            [row for row in events if not row["bot_reason"]],
            settings.definition,
            settings.zone,
            settings.timeout_us,
        )
        sessions.sort(key=lambda one: place(one.events[0]))
        named: dict[int, str] = {}
        for row in events:
            account = str(json.loads(row["properties"]).get("account_id") or "").strip()
            if account and row["event_name"] != "page_viewed":  # the plan does not declare it there
                named[row["event_us"]] = account
        lives.append(Life(who, tuple(events), tuple(sessions), tuple(sorted(named.items()))))
    return lives


def reached(life: Life, settings: Deployment) -> list[int]:
    """When the person reached each stage, each by an event of its own, as far as it came."""
    used: set[tuple] = set()
    moments: list[int] = []
    for _, names, after_hours in settings.steps:
        earliest = moments[-1] + round(after_hours * HOUR) if moments else None
        for row in life.events:
            late_enough = earliest is None or row["event_us"] >= earliest
            if row["event_name"] in names and late_enough and not row["bot_reason"] and place(row) not in used:
                used.add(place(row))
                moments.append(row["event_us"])
                break
        else:
            break
    return moments


def share_of(values: list[float], share: float) -> float | None:
    """The least value that at least this share of the values does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else None


def funnel(lives: list[Life], settings: Deployment) -> dict[str, Counter | dict]:
    """The four marts of the funnel, as rows to counts, and rows to figures."""
    persons: Counter = Counter()
    models: Counter = Counter()
    waits: dict[tuple, list[float]] = defaultdict(list)
    cells: Counter = Counter()
    furthest: dict[str, int] = {}
    for life in lives:
        moments = reached(life, settings)
        day, channel = life.day(settings.zone), life.source[3]
        for number, moment in enumerate(moments, start=1):
            persons[*life.source, day, number] += 1
            for cell in {(cell_day, name) for cell_day in (day, None) for name in (channel, "(all)")}:
                if cell[0] is not None or day is None or (None, cell[1]) == cell:
                    cells[*cell, number] += 1
                    if number > 1:
                        waits[*cell, number].append((moment - moments[number - 2]) / HOUR)
            for model, touch, share in shares(life, moment):
                models[day, model, number, *touch] += share
            account = life.account(lambda us, moment=moment: us <= moment)
            if account:
                furthest[account] = max(furthest.get(account, 0), number)
    rates = {}
    for cell in {key[:2] for key in cells}:
        for number in range(1, len(settings.steps) + 1):
            here, before, first = (cells[*cell, n] for n in (number, number - 1, 1))
            rates[*cell, number] = (
                here,
                here / before if number > 1 and before else None,
                here / first,
                share_of(waits[*cell, number], 0.5),
                share_of(waits[*cell, number], 0.9),
            )
    origins = account_origins(lives)
    accounts: Counter = Counter()
    for account, last in furthest.items():
        life = origins.get(account)
        source = (*life.source, life.day(settings.zone)) if life else (None, None, None, "(none)", None)
        for number in range(1, last + 1):
            accounts[*source, number] += 1
    return {"funnel": persons, "rates": rates, "models": models, "accounts": accounts}


def shares(life: Life, moment: int) -> list[tuple[str, tuple, float]]:
    """(model, (channel, campaign), share) of the sessions at or before a moment, by what was known then."""
    touches = [row_of(one.touch_at(moment)) for one in life.sessions if one.start_us <= moment]
    if not touches:
        return [
            (model, ("(unattributed)", None), 1.0)
            for model in ("first_touch", "last_touch", "last_non_direct", "linear")
        ]
    not_direct = [touch for touch in touches if touch[3] != "Direct"] or touches
    single = {"first_touch": touches[0], "last_touch": touches[-1], "last_non_direct": not_direct[-1]}
    found = [(model, (touch[3], touch[2]), 1.0) for model, touch in single.items()]
    return found + [("linear", (touch[3], touch[2]), 1 / len(touches)) for touch in touches]  # fmt: skip


def account_origins(lives: list[Life]) -> dict[str, Life]:
    """The person of each account whose first session is the earliest."""
    first: dict[str, Life] = {}
    for life in sorted(lives, key=lambda one: one.person):
        for _, account in life.named:
            if life.sessions and (
                account not in first or life.sessions[0].start_us < first[account].sessions[0].start_us
            ):
                first[account] = life
    return first  # fmt: skip


def period_of(day: date, unit: str) -> date:
    """The first day of the period that holds a day."""
    if unit == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday() if unit == "week" else 0)


def next_period(start: date, unit: str) -> date:
    """The first day of the period behind."""
    return period_of(start + timedelta(days={"day": 1, "week": 7, "month": 31}[unit]), unit)


def near(days: Counter) -> tuple[date, date]:
    """First and last of the days that are not far from the rest."""
    clusters: list[Counter] = []
    for day in sorted(days):
        if not clusters or day > max(clusters[-1]) + timedelta(days=366):
            clusters.append(Counter())
        clusters[-1][day] = days[day]
    most = max(cluster.total() for cluster in clusters)
    kept = [day for cluster in clusters if cluster.total() * 10 >= most for day in cluster]
    return min(kept), max(kept)


def retention(lives: list[Life], settings: Deployment) -> dict[str, dict]:
    """Retention of persons and of accounts: (cohort, channel, period) to (members, active, is_open)."""
    active: dict[str, set[date]] = {}
    channel: dict[str, str] = {}
    through: dict[str, set[date]] = defaultdict(set)
    daily: Counter = Counter()
    for life in lives:
        daily.update(local_day(row["event_us"], settings.zone) for row in life.events)
        counts = [
            row for row in life.events
            if not row["bot_reason"] and (row["event_name"] in settings.activity if settings.activity else row["device_type"] != "api")
        ]  # fmt: skip
        periods = {period_of(local_day(row["event_us"], settings.zone), settings.unit) for row in counts}
        if periods:
            active[life.person], channel[life.person] = periods, life.source[3]
        for start in periods:
            end = next_period(start, settings.unit)
            account = life.account(lambda us, end=end: local_day(us, settings.zone) < end)
            if account:
                through[account].add(start)
    if not daily:
        return {"persons": {}, "accounts": {}}
    newest = near(daily)[1]
    origins = account_origins(lives)
    of_account = {account: origins[account].source[3] if account in origins else "(none)" for account in through}
    return {
        "persons": _cohorts(active, channel, settings.unit, newest),
        "accounts": _cohorts(through, of_account, settings.unit, newest),
    }


def _cohorts(active: dict[str, set[date]], channel: dict[str, str], unit: str, newest: date) -> dict:
    members: Counter = Counter((min(periods), channel[one]) for one, periods in active.items())
    back: Counter = Counter((min(periods), channel[one], day) for one, periods in active.items() for day in periods)
    if not back:
        return {}
    per_period: Counter = Counter()
    for (_, _, day), count in back.items():
        per_period[day] += count
    first, last = near(per_period)
    found = {}
    for (cohort, name), size in members.items():
        number, day = 0, cohort
        final = max([day for born, its, day in back if (born, its) == (cohort, name)] + [last])
        while day <= final:
            inside = first <= cohort and day <= last
            if inside or back[cohort, name, day]:
                found[cohort, name, number] = (size, back[cohort, name, day], next_period(day, unit) > newest)
            number, day = number + 1, next_period(day, unit)
    return found
