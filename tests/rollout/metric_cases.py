"""Counts of a guard with three metrics beside each other: conversion, an error event, and revenue up to a cap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, Outcomes
from gtm_dagster.rollout.guard.mean_evidence import LEVELS
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.settings import Guard, GuardMetric, GuardPage

METRICS = (
    GuardMetric("errors", "error", "subscription_cancelled"),
    GuardMetric("revenue", "value", "payment_completed", value="amount", cap=200.0),
)
GUARD = Guard("checkout-v2", "payment_completed", conversion_window_minutes=10.0, metrics=METRICS, page=GuardPage())
RULE = Rule.of(GUARD)


def drawn(
    seed: int,
    *,
    minutes: int = 90,
    per_minute: float = 100,
    rate: float = 0.2,
    errors: float = 0.02,
    conversion: float = 1.0,
    error: float = 1.0,
    revenue: float = 1.0,
) -> Counts:
    """Conversions and errors at once; `conversion`, `error`, `revenue`: the treated arm's figure as a factor of the control's."""
    rng = np.random.default_rng(seed)
    slots = minutes * 4
    exposed = rng.poisson(per_minute / 8, (2, slots))
    slot, arm = _units(exposed, rng.binomial(exposed, rate * np.array([[1.0], [conversion]])))
    error_slot, error_arm = _units(exposed, rng.binomial(exposed, errors * np.array([[1.0], [error]])))
    amount = rng.lognormal(4.0, 0.6, len(slot)) * np.where(arm == 1, revenue, 1.0)
    level = np.rint(np.clip(amount / 200.0, 1 / LEVELS, 1.0) * LEVELS).astype(np.int64)
    counts = Counts(0, exposed, slot, np.zeros(len(slot), np.int64), arm, np.ones(len(slot), np.int64), slots * SLOT_US)
    at_once = np.zeros(len(error_slot), np.int64)
    failed = Outcomes(error_slot, at_once, error_arm, np.ones(len(error_slot), np.int64))
    return replace(
        counts, metrics={"errors": failed, "revenue": Outcomes(slot, level, arm, np.ones(len(slot), np.int64))}
    )


def _units(exposed: np.ndarray, hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    slots = np.arange(exposed.shape[1])
    return np.concatenate([np.repeat(slots, each) for each in hits]), np.repeat([0, 1], hits.sum(axis=1))
