"""The further metrics of a guard in a flag's past: the same outcomes that the stream worker counts live."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from gtm_dagster.gate.exposures import ARMS
from gtm_dagster.rollout.guard.counts import SLOT_US, Outcomes, first_exposures, outcomes_of
from gtm_dagster.rollout.guard.metric_rule import MetricRule
from gtm_dagster.rollout.guard.metric_values import Event, event_value, outcome, outcome_age
from gtm_dagster.rollout.guard.rule import Rule

if TYPE_CHECKING:
    import pyarrow as pa

_COLUMNS = ("event_name", "user_id", "anonymous_id", "event_us", "properties")


def past_outcomes(
    events: pa.Table, rule: Rule, exposures: Iterable[tuple[str, int, int]], visitors: Mapping[str, Collection[str]]
) -> tuple[dict[str, Outcomes], int]:
    """Outcomes by metric, and the time of the last event of an exposed unit (0 without one).

    `events`: those that are believed; `exposures`: (unit, arm, us); `visitors`: exposed units by the user they are.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    metrics = rule.metrics[1:]
    if not metrics:
        return {}, 0
    names = pa.array(sorted({metric.event for metric in metrics}), pa.string())
    rows = events.filter(pc.is_in(events.column("event_name"), value_set=names)).select(list(_COLUMNS))
    first = first_exposures(exposures)
    found: dict[str, dict[str, set[Event]]] = {metric.name: {} for metric in metrics}
    last_us = 0
    for name, user, anonymous, us, properties in zip(*(rows[column].to_pylist() for column in _COLUMNS), strict=True):
        units = {unit for unit in (user, anonymous) if unit in first} | set(visitors.get(user, ()))
        for metric in metrics if units else ():
            value = event_value(metric, properties) if metric.event == name else None
            if value is not None:
                last_us = max(last_us, us)
                for unit in units:
                    found[metric.name].setdefault(unit, set()).add((us, value))
    window_us = round(rule.window_minutes * 60_000_000)
    return {metric.name: _counted(metric, found[metric.name], first, window_us) for metric in metrics}, last_us


def _counted(
    metric: MetricRule, events: Mapping[str, set[Event]], first: Mapping[str, tuple[int, int]], window_us: int
) -> Outcomes:
    cells: Counter[tuple[int, str, int]] = Counter()
    for unit, times in events.items():
        exposed_us, arm = first[unit]
        figure = outcome(metric, times, exposed_us, window_us)
        age = None if figure is None else outcome_age(metric, figure, exposed_us, window_us)
        if age is not None:
            cells[exposed_us // SLOT_US, ARMS[arm], age] += 1
    return outcomes_of((*cell, n) for cell, n in cells.items())
