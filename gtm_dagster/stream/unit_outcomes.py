"""What units come to in the further metrics of a guard: taken from their events, kept in the unit's row, counted in cells."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from gtm_dagster.opsstore import UnitRow
from gtm_dagster.opsstore.metric_counts import MetricCell
from gtm_dagster.rollout.guard.counts import SLOT_US
from gtm_dagster.rollout.guard.metric_rule import metric_rules
from gtm_dagster.rollout.guard.metric_values import Event, outcome, outcome_age
from gtm_dagster.settings import Guard


class UnitOutcomes:
    """Outcomes of units by the events of their ids; `users`: the user ids whose events are a unit's too.

    An event that came under two ids of one unit counts once: a time and value is one event.
    """

    def __init__(
        self, guard: Guard, events: Mapping[str, Sequence[tuple[str, int, int]]], users: Mapping[str, Collection[str]]
    ) -> None:
        self._metrics = metric_rules(guard)[1:]
        self._window_us = round(guard.conversion_window_minutes * 60_000_000)
        self._events, self._users = events, users

    def of(self, unit: UnitRow) -> str | None:
        """The unit's outcomes as its row keeps them; None without any."""
        by_metric: dict[str, set[Event]] = {}
        for name in (unit.unit, *self._users.get(unit.unit, ())):
            for of_metric, event_us, value in self._events.get(name, ()):
                by_metric.setdefault(of_metric, set()).add((event_us, value))
        found = {}
        for metric in self._metrics:
            figure = outcome(metric, by_metric.get(metric.name, ()), unit.exposed_us, self._window_us)
            if figure is not None:
                found[metric.name] = figure
        return json.dumps(found, sort_keys=True, separators=(",", ":")) if found else None


def metric_changes(guard: Guard, before: Iterable[UnitRow], after: Iterable[UnitRow]) -> Mapping[MetricCell, int]:
    """What to add to the cells of the guard's further metrics."""
    metrics = {metric.name: metric for metric in metric_rules(guard)[1:]}
    window_us = round(guard.conversion_window_minutes * 60_000_000)
    changes: Counter[MetricCell] = Counter()
    for rows, sign in ((after, 1), (before, -1)):
        for row in rows:
            for name, figure in json.loads(row.outcomes or "{}").items():
                metric = metrics.get(name)
                age = None if metric is None else outcome_age(metric, figure, row.exposed_us, window_us)
                if age is not None:
                    changes[row.epoch, name, row.exposed_us // SLOT_US, row.arm, age] += sign
    return changes
