"""The truth of simulated traffic: sessions, credit, funnel and retention by their plain definitions.

It knows the person of each simulated event, so it needs no identity resolution, no SQL and no engine. A session ends by
a gap of more than 30 minutes, its start is the touch, and a touch counts when `0 <= age <= window`. Its source is what
its first event says, else what the first later one names; for a conversion before that the touch is direct.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from gtm_dagster.attribution import models
from gtm_dagster.simulator.simulated_events import API, CODE, CURRENCIES, SimulatedEvents
from gtm_dagster.simulator.visits import DAY, HOUR, arrival_table

UNATTRIBUTED = "(unattributed)"
DEFAULT_WINDOWS: tuple[tuple[str, float], ...] = (("first_touch", 72.0), ("last_touch", 24.0))
FUNNEL: tuple[tuple[str, str, float], ...] = (
    ("acquired", "page_viewed", 0),
    ("signed_up", "signup_completed", 0),
    ("onboarded", "onboarding_completed", 0),
    ("first_value", "first_value_reached", 0),
    ("retained", "feature_used", 168),
)
"""Stage, event, least hours since the stage before."""
_NEVER_REACHED = np.int64(np.iinfo(np.int64).max)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).date()


@dataclass(frozen=True)
class Sessions:
    """A row a session, in order of person and start; `channel` is an index into `channels`, known from `known_us` on."""

    person: np.ndarray
    start_us: np.ndarray
    channel: np.ndarray
    known_us: np.ndarray
    channels: tuple[str, ...]


def browsing(events: SimulatedEvents) -> np.ndarray:
    """Mask of the events that make sessions: those of a server and exposures to a flag do not."""
    return (events.device != API) & (events.kind != CODE["flag_exposed"])


def sessions_of(events: SimulatedEvents, timeout_us: int = 30 * 60_000_000) -> Sessions:
    """Sessions of `events` (in order of person and time), a new one after a gap of more than `timeout_us`."""
    browsed = events.take(browsing(events))
    if not len(browsed):
        empty = np.zeros(0, dtype=np.int64)
        return Sessions(empty, empty, empty, empty, ("Direct",))
    opens = np.r_[True, (browsed.person[1:] != browsed.person[:-1]) | (np.diff(browsed.at_us) > timeout_us)]
    number = np.cumsum(opens) - 1
    arrivals, *_ = arrival_table()
    channels = tuple(sorted({arrival.channel for arrival in arrivals} | {"Direct"}))
    # Arrival -1 (no source, no referrer) takes the last entry of both tables: Direct, rank 0.
    channel_of = np.array([channels.index(arrival.channel) for arrival in arrivals] + [channels.index("Direct")])
    rank_of = np.array([arrival.rank for arrival in arrivals] + [0])
    rank = rank_of[browsed.arrival]
    channel = channel_of[browsed.arrival[opens]]
    known_us = np.where(rank[opens] > 0, browsed.at_us[opens], _NEVER_REACHED)
    later = np.flatnonzero((rank == 1) & (known_us[number] == _NEVER_REACHED))
    session, first = np.unique(number[later], return_index=True)
    channel[session], known_us[session] = channel_of[browsed.arrival[later[first]]], browsed.at_us[later[first]]
    return Sessions(browsed.person[opens], browsed.at_us[opens], channel, known_us, channels)


def acquisition(sessions: Sessions, persons: int) -> np.ndarray:
    """Channel index of the first session of each person; every simulated person has one."""
    person, first = np.unique(sessions.person, return_index=True)
    result = np.full(persons, sessions.channels.index("Direct"))
    result[person] = sessions.channel[first]
    return result


class _Shares:
    """Shares of the touches of one conversion; computed once a number of touches where only that number counts."""

    def __init__(self) -> None:
        self._by_length: dict[tuple[str, int], list[float]] = {}

    def __call__(self, model: str, ages_us: np.ndarray, channels: Sequence[str]) -> list[float]:
        declared = models.model(model)
        if declared.needs_ages or declared.needs_direct or declared.needs_paid or declared.needs_channel:
            is_direct = [channel == "Direct" for channel in channels]
            return models.weights(model, (ages_us / HOUR).tolist(), is_direct=is_direct, channels=channels)
        key = (model, len(ages_us))
        if key not in self._by_length:
            self._by_length[key] = models.weights(model, [0.0] * len(ages_us))
        return self._by_length[key]


def credit(
    events: SimulatedEvents, sessions: Sessions, windows: Sequence[tuple[str, float]]
) -> list[dict[str, object]]:
    """Credit by conversion type, currency, model, window and channel; value None where the type has none."""
    direct = sessions.channels.index("Direct")
    begin = np.searchsorted(sessions.person, np.arange(int(events.person.max(initial=-1)) + 2))
    shares_of = _Shares()
    total: dict[tuple[str, str | None, str, float, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for name in ("signup_completed", "payment_completed"):
        rows = np.flatnonzero(events.kind == CODE[name])
        for row in rows:
            person, at_us = events.person[row], events.at_us[row]
            low, high = begin[person], begin[person + 1]
            high = low + int(np.searchsorted(sessions.start_us[low:high], at_us, side="right"))
            currency = CURRENCIES[events.currency[row]] if name == "payment_completed" else None
            value = float(events.amount[row]) if name == "payment_completed" else 0.0
            ages = at_us - sessions.start_us[low:high]
            for model, hours in windows:
                within = int((ages > hours * HOUR).sum())
                known = sessions.known_us[low + within : high] <= at_us
                touches = np.where(known, sessions.channel[low + within : high], direct)
                if not len(touches):
                    cell = total[(name, currency, model, hours, UNATTRIBUTED)]
                    cell[0] += 1.0
                    cell[1] += value
                    continue
                shares = shares_of(model, ages[within:], [sessions.channels[touch] for touch in touches])
                for channel, share in zip(touches, shares, strict=True):
                    if share > 0:
                        cell = total[(name, currency, model, hours, sessions.channels[channel])]
                        cell[0] += share
                        cell[1] += share * value
    return [
        {
            "conversion_type": name, "currency": currency, "model": model, "window_hours": hours, "channel": channel,
            "conversions": conversions, "value": value if name == "payment_completed" else None,
        }
        for (name, currency, model, hours, channel), (conversions, value) in sorted(total.items(), key=repr)
    ]  # fmt: skip


def funnel(events: SimulatedEvents, acquired: np.ndarray, channels: tuple[str, ...]) -> list[dict[str, object]]:
    """Persons by stage and acquisition channel; each stage at or after the one before."""
    rows: list[dict[str, object]] = []
    reached = np.full(len(acquired), np.iinfo(np.int64).min)
    for stage, name, after_hours in FUNNEL:
        at = np.flatnonzero(events.kind == CODE[name])
        person, at_us = events.person[at], events.at_us[at]
        before = reached[person]
        fits = (before < _NEVER_REACHED) & (at_us >= np.where(before > 0, before + int(after_hours * HOUR), before))
        reached = np.full(len(acquired), _NEVER_REACHED)
        np.minimum.at(reached, person[fits], at_us[fits])
        count = np.bincount(acquired[reached < _NEVER_REACHED], minlength=len(channels))
        rows += [
            {"stage": stage, "channel": channel, "persons": int(n)}
            for channel, n in zip(channels, count, strict=True)
            if n
        ]
    return rows


def retention(events: SimulatedEvents) -> list[dict[str, object]]:
    """Persons by the Monday of their first week of activity (UTC), and how many were active `period` weeks later.

    Activity is any browsing event, as with the setting `retention.activity` left empty.
    """
    active = events.take(browsing(events))
    if not len(active):
        return []
    week = (active.at_us // DAY + 3) // 7  # 1970-01-01 was a Thursday: weeks begin on Monday
    pairs = np.unique(np.stack([active.person, week]), axis=1)
    first = np.full(int(pairs[0].max()) + 1, _NEVER_REACHED)
    np.minimum.at(first, pairs[0], pairs[1])
    cohort_of = first[pairs[0]]
    rows: list[dict[str, object]] = []
    for cohort in np.unique(cohort_of):
        active_in = np.bincount(pairs[1][cohort_of == cohort] - cohort)
        size = int(active_in[0])
        monday = _EPOCH + timedelta(days=int(cohort) * 7 - 3)
        for period in range(int(week.max() - cohort) + 1):
            returned = int(active_in[period]) if period < len(active_in) else 0
            rows.append({"cohort": monday.isoformat(), "period": period, "persons": size, "retained": returned})
    return rows


def by_channel(
    events: SimulatedEvents, acquired: np.ndarray, channels: tuple[str, ...]
) -> dict[str, dict[str, object]]:
    """Persons, steps reached, payments and revenue by currency of each acquisition channel."""
    steps = {"signups": "signup_completed", "onboarded": "onboarding_completed", "first_value": "first_value_reached"}
    all_persons = np.unique(events.person)
    result: dict[str, dict[str, object]] = {}
    channel_of = acquired[events.person]
    for index, channel in enumerate(channels):
        persons = int((acquired[all_persons] == index).sum())
        if not persons:
            continue
        of_channel = channel_of == index
        row: dict[str, object] = {"persons": persons}
        for label, name in steps.items():
            row[label] = len(np.unique(events.person[of_channel & (events.kind == CODE[name])]))
        paid = of_channel & (events.kind == CODE["payment_completed"])
        row["payments"] = int(paid.sum())
        row["revenue"] = {
            code: float(round(events.amount[paid & (events.currency == number)].sum(), 2))
            for number, code in enumerate(CURRENCIES)
        }
        result[channel] = row
    return result
