"""Drawn traffic for the detector's tests: immediate conversions unless a delay is given, one generator a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gtm_dagster.rollout.guard.counts import SLOT_US, Counts

PER_MINUTE = 60_000_000 // SLOT_US


def drawn(
    seed: int,
    *,
    per_minute: float,
    rate: float,
    minutes: int,
    treated: Callable[[np.ndarray], np.ndarray],
    control: Callable[[np.ndarray], np.ndarray] = np.ones_like,
    share: float = 0.5,
    delay_minutes: float = 0.0,
    window_minutes: int = 60,
) -> Counts:
    """`treated` and `control` give the factor on `rate` at each minute."""
    rng = np.random.default_rng(seed)
    slots = minutes * PER_MINUTE
    minute = np.arange(slots) / PER_MINUTE
    units = np.array([rng.poisson(per_minute / PER_MINUTE * part, slots) for part in (1 - share, share)])
    hits = [rng.binomial(units[0], rate * control(minute)), rng.binomial(units[1], rate * treated(minute))]
    slot = np.concatenate([np.repeat(np.arange(slots), k) for k in hits])
    arm = np.repeat([0, 1], [k.sum() for k in hits])
    age = np.zeros(len(slot), np.int64)
    if delay_minutes:
        drawn_age = rng.exponential(delay_minutes * PER_MINUTE, len(slot))
        age = np.minimum(drawn_age, window_minutes * PER_MINUTE - 1).astype(np.int64)
    return until(Counts(0, units, slot, age, arm, np.ones(len(slot), np.int64), slots * SLOT_US), slots)


def until(counts: Counts, slot: int) -> Counts:
    """The counts as they stood at the start of a slot."""
    known = counts.conv_slot + counts.conv_age < slot
    return Counts(
        counts.slot0,
        counts.exposed[:, : max(slot - counts.slot0, 0)],
        counts.conv_slot[known],
        counts.conv_age[known],
        counts.conv_arm[known],
        counts.conv_n[known],
        slot * SLOT_US,
    )


def steady(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    """The same factor at every minute."""
    return lambda minute: np.full(len(minute), factor)


def between(factor: float, first: float, last: float = np.inf) -> Callable[[np.ndarray], np.ndarray]:
    """`factor` from minute `first` to `last`, 1 elsewhere."""
    return lambda minute: np.where((minute >= first) & (minute < last), factor, 1.0)
