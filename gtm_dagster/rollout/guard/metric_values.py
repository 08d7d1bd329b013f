"""What a unit comes to in a metric: the time of its first event, or its value up to the cap.

Whole numbers throughout, so that counting again and in another order gives the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from gtm_dagster.rollout.guard.cells import window_slots
from gtm_dagster.rollout.guard.counts import Outcomes, age_in_slots, outcomes_of
from gtm_dagster.rollout.guard.mean_evidence import LEVELS
from gtm_dagster.rollout.guard.metric_rule import MEAN, MetricRule
from gtm_dagster.rollout.guard.rule import Rule

PARTS = 1_000_000
"""A value is counted in so many parts of the metric's cap."""

Event = tuple[int, int]
"""(event_us, value): the value in PARTS of the cap, 1 of a share."""


def event_value(metric: MetricRule, properties: str | None) -> int | None:
    """What an event counts for; None when it does not: no number in the property, or not over the limit.

    Less than nothing counts as nothing.
    """
    if metric.value is None:
        return 1
    try:
        number = _decode(properties or "").get(metric.value)
    except (msgspec.DecodeError, UnicodeError):
        return None
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    if metric.limit is not None:
        return 1 if number > metric.limit else None
    return round(min(max(number / (metric.cap or 1.0), 0.0), 1.0) * PARTS) or None


def outcome(metric: MetricRule, events: Iterable[Event], exposed_us: int, window_us: int) -> int | None:
    """A unit's outcome: when its first event came within the window (us), or its value (PARTS); None without one."""
    inside = [(us, value) for us, value in events if 0 <= us - exposed_us <= window_us]
    if not inside:
        return None
    if metric.figure == MEAN:
        return min(sum(value for _, value in inside), PARTS)
    return min(us for us, _ in inside)


def outcome_age(metric: MetricRule, figure: int, exposed_us: int, window_us: int) -> int | None:
    """Where an outcome is counted: its age in slots, or its level from 1 to LEVELS; None for one below half a level."""
    if metric.figure == MEAN:
        return (figure * LEVELS + PARTS // 2) // PARTS or None
    return age_in_slots(exposed_us, figure, window_us)


def metric_outcomes(
    rows: Mapping[str, Iterable[tuple[int, str, int, int]]], rule: Rule, now_slot: int
) -> dict[str, Outcomes]:
    """The outcomes of a rule's further metrics as they were known when `now_slot` began, from (slot, arm, age, n).

    An outcome of a share is known in the slot of its event, one of a mean in that in which the window ends.
    """
    window = window_slots(rule.window_minutes)
    return {
        metric.name: outcomes_of(
            row
            for row in rows.get(metric.name, ())
            if row[0] + (window if metric.figure == MEAN else row[2]) < now_slot
        )
        for metric in rule.metrics[1:]
    }


_decode = msgspec.json.Decoder(dict[str, object]).decode
