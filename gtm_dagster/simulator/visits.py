"""Persons and their visits: who arrives when, comes back how often, and in which visit each step of the life falls."""

from dataclasses import dataclass

import numpy as np

from gtm_dagster.simulator.channel_profiles import AUDIENCES

HOUR = 3_600_000_000
DAY = 24 * HOUR
NEVER = np.int64(1 << 40)
"""Ordinal of a visit that does not happen."""

_HOURS = np.array([2, 1, 1, 1, 1, 2, 3, 5, 8, 10, 11, 10, 9, 10, 11, 11, 10, 9, 8, 8, 7, 6, 4, 3], dtype=np.float64)


@dataclass(frozen=True)
class Visits:
    """A row a visit, in order of person and time; `*_at` are ordinals of visits (0 is the first), NEVER for none."""

    person: np.ndarray
    ordinal: np.ndarray
    start_us: np.ndarray
    arrival: np.ndarray
    mobile: np.ndarray
    signup_at: np.ndarray
    onboarded_at: np.ndarray
    value_at: np.ndarray
    checkout_at: np.ndarray
    pays: np.ndarray
    on_trial: np.ndarray
    second_device: np.ndarray
    anonymous_landing: np.ndarray


def arrival_table() -> tuple[list, np.ndarray, np.ndarray, np.ndarray]:
    """All arrivals in one list; the audience of each; its chance as a first visit; its chance as a later visit."""
    arrivals, audience, first, later = [], [], [], []
    for index, group in enumerate(AUDIENCES):
        total = sum(arrival.share for arrival in group.arrivals)
        for arrival in group.arrivals:
            arrivals.append(arrival)
            audience.append(index)
            first.append(group.share * arrival.share / total)
            later.append(group.return_share * arrival.share / total)
    return arrivals, np.array(audience), np.array(first) / sum(first), np.array(later) / sum(later)


def make_visits(rng: np.random.Generator, persons: int, first_person: int, start_us: int, end_us: int) -> Visits:
    """The visits of `persons` new persons numbered from `first_person`, all starting in [start_us, end_us)."""
    _, audience_of, first, later = arrival_table()
    arrival = rng.choice(len(first), size=persons, p=first)
    audience = audience_of[arrival]

    def happens(name: str) -> np.ndarray:
        return rng.random(persons) < np.array([getattr(group, name) for group in AUDIENCES])[audience]

    signs = happens("signup")
    onboards = happens("onboarding") & signs
    values = happens("first_value") & onboards
    pays = happens("payment") & values
    signup_at = np.where(signs, rng.geometric(0.55, persons) - 1, NEVER)
    onboarded_at = np.where(onboards, signup_at + (rng.random(persons) < 0.3), NEVER)
    value_at = np.where(values, onboarded_at + rng.integers(0, 3, persons), NEVER)
    checkout_at = np.where(pays, value_at + rng.integers(0, 3, persons), NEVER)
    planned = np.maximum.reduce(
        [np.where(at < NEVER, at, 0) for at in (signup_at, onboarded_at, value_at, checkout_at)]
    )
    after = rng.poisson(np.where(values, 6.0, np.where(signs, 1.5, 0.0)))
    lost = np.where(signs, 0, rng.geometric(0.62, persons) - 1)
    visits = planned + after + lost + 1

    person = np.repeat(np.arange(persons), visits)
    opening = np.cumsum(visits) - visits
    ordinal = np.arange(len(person)) - np.repeat(opening, visits)
    signed = ordinal > signup_at[person]
    # Two hours at least: visits of one person never touch, so the planted visits are the sessions.
    gap = 2 * HOUR + rng.exponential(np.where(signed, 50 * HOUR, 26 * HOUR)).astype(np.int64)
    gap[opening] = 0
    total = np.cumsum(gap)
    begin = _first_visits(rng, persons, start_us, end_us)[person] + total - total[opening][person]
    keep = begin < end_us
    second = (rng.random(persons) < 0.12)[person] & signed & (rng.random(len(person)) < 0.4)
    return Visits(
        person=person[keep] + first_person,
        ordinal=ordinal[keep],
        start_us=begin[keep],
        arrival=np.where(ordinal == 0, arrival[person], rng.choice(len(later), size=len(person), p=later))[keep],
        mobile=(second | (rng.random(len(person)) < 0.3))[keep],
        signup_at=signup_at[person][keep],
        onboarded_at=onboarded_at[person][keep],
        value_at=value_at[person][keep],
        checkout_at=checkout_at[person][keep],
        pays=pays[person][keep],
        on_trial=(rng.random(persons) < 0.35)[person][keep],
        second_device=second[keep],
        anonymous_landing=(second | (signed & (rng.random(len(person)) < 0.3)))[keep],
    )


def _first_visits(rng: np.random.Generator, persons: int, start_us: int, end_us: int) -> np.ndarray:
    """Moments of first visits: office hours more than nights, weekends less, more at the start (a launch).

    The launch makes up for the returning visitors the first days cannot have, so the daily volume is level.
    """
    hours = np.arange((end_us - start_us + HOUR - 1) // HOUR)
    moment = start_us + hours * HOUR
    weekday = (moment // DAY + 3) % 7
    weight = _HOURS[(moment // HOUR) % 24] * np.where(weekday >= 5, 0.7, 1.0) * (1 + 0.8 * np.exp(-hours / 120))
    chosen = rng.choice(len(hours), size=persons, p=weight / weight.sum())
    begin = moment[chosen] + rng.integers(0, HOUR, persons)
    return np.minimum(begin, end_us - 1)
