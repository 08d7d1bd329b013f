"""Simulated persons and their visits: when each begins, and in which visit a person takes each step."""

from dataclasses import dataclass

import numpy as np

from gtm_dagster.simulator.channel_profiles import CHANNEL_PROFILES, Arrival

HOUR = 3_600_000_000
DAY = 24 * HOUR
NEVER = np.int64(1 << 40)
"""Ordinal of the visit of a step that the person never takes."""

_HOURS = np.array([2, 1, 1, 1, 1, 2, 3, 5, 8, 10, 11, 10, 9, 10, 11, 11, 10, 9, 8, 8, 7, 6, 4, 3], dtype=np.float64)


@dataclass(frozen=True)
class Visits:
    """A row a visit, in order of person and time.

    `ordinal`: 0 for a person's first visit. `*_at`: ordinal of the visit in which the person takes the step, or NEVER.
    `second_device`: on another device than the first. `anonymous_landing`: its first event carries no user id yet.
    """

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


def arrival_table() -> tuple[list[Arrival], np.ndarray, np.ndarray, np.ndarray]:
    """All arrivals; the profile number of each; its probability in a first visit; its probability in a later visit."""
    arrivals, profile_of, first, later = [], [], [], []
    for number, profile in enumerate(CHANNEL_PROFILES):
        total = sum(arrival.share for arrival in profile.arrivals)
        for arrival in profile.arrivals:
            arrivals.append(arrival)
            profile_of.append(number)
            first.append(profile.share * arrival.share / total)
            later.append(profile.return_share * arrival.share / total)
    return arrivals, np.array(profile_of), np.array(first) / sum(first), np.array(later) / sum(later)


def make_visits(rng: np.random.Generator, persons: int, first_person: int, start_us: int, end_us: int) -> Visits:
    """The visits of `persons` new persons numbered from `first_person`, all starting in [start_us, end_us)."""
    _, profile_of, first, later = arrival_table()
    arrival = rng.choice(len(first), size=persons, p=first)
    profile = profile_of[arrival]

    def takes_step(step: str) -> np.ndarray:
        chance = np.array([getattr(one, step) for one in CHANNEL_PROFILES])
        return rng.random(persons) < chance[profile]

    signs = takes_step("signup")
    onboards = takes_step("onboarding") & signs
    values = takes_step("first_value") & onboards
    pays = takes_step("payment") & values
    signup_at = np.where(signs, rng.geometric(0.55, persons) - 1, NEVER)
    onboarded_at = np.where(onboards, signup_at + (rng.random(persons) < 0.3), NEVER)
    value_at = np.where(values, onboarded_at + rng.integers(0, 3, persons), NEVER)
    checkout_at = np.where(pays, value_at + rng.integers(0, 3, persons), NEVER)
    planned = np.maximum.reduce(
        [np.where(at < NEVER, at, 0) for at in (signup_at, onboarded_at, value_at, checkout_at)]
    )
    of_users = rng.poisson(np.where(values, 6.0, np.where(signs, 1.5, 0.0)))
    of_visitors = np.where(signs, 0, rng.geometric(0.62, persons) - 1)
    visits = planned + of_users + of_visitors + 1

    person = np.repeat(np.arange(persons), visits)
    first_row = np.cumsum(visits) - visits
    ordinal = np.arange(len(person)) - np.repeat(first_row, visits)
    signed = ordinal > signup_at[person]
    # At least two hours, more than a session timeout: each planted visit is one session.
    gap = 2 * HOUR + rng.exponential(np.where(signed, 50 * HOUR, 26 * HOUR)).astype(np.int64)
    gap[first_row] = 0
    total = np.cumsum(gap)
    begin = _first_visits(rng, persons, start_us, end_us)[person] + total - total[first_row][person]
    in_time = begin < end_us
    second = (rng.random(persons) < 0.12)[person] & signed & (rng.random(len(person)) < 0.4)
    return Visits(
        person=person[in_time] + first_person,
        ordinal=ordinal[in_time],
        start_us=begin[in_time],
        arrival=np.where(ordinal == 0, arrival[person], rng.choice(len(later), size=len(person), p=later))[in_time],
        mobile=(second | (rng.random(len(person)) < 0.3))[in_time],
        signup_at=signup_at[person][in_time],
        onboarded_at=onboarded_at[person][in_time],
        value_at=value_at[person][in_time],
        checkout_at=checkout_at[person][in_time],
        pays=pays[person][in_time],
        on_trial=(rng.random(persons) < 0.35)[person][in_time],
        second_device=second[in_time],
        anonymous_landing=(second | (signed & (rng.random(len(person)) < 0.3)))[in_time],
    )


def _first_visits(rng: np.random.Generator, persons: int, start_us: int, end_us: int) -> np.ndarray:
    """Moments of first visits: more in office hours, fewer on weekends, more in the first days (a launch).

    In the first days nobody can return yet; the launch fills that gap, so the daily volume is level.
    """
    hours = np.arange((end_us - start_us + HOUR - 1) // HOUR)
    moment = start_us + hours * HOUR
    weekday = (moment // DAY + 3) % 7
    weight = _HOURS[(moment // HOUR) % 24] * np.where(weekday >= 5, 0.7, 1.0) * (1 + 0.8 * np.exp(-hours / 120))
    hour = rng.choice(len(hours), size=persons, p=weight / weight.sum())
    begin = moment[hour] + rng.integers(0, HOUR, persons)
    return np.minimum(begin, end_us - 1)
