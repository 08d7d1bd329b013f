"""The metrics of a guard against the plan: each event and property has to be one that lands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from gtm_dagster.settings import GuardMetric
from gtm_dagster.settings.nearest import did_you_mean
from gtm_dagster.taxonomy.plan import EventSpec, Plan


def metrics_in_plan(
    metrics: Sequence[GuardMetric], plan: Plan, unknown_event: Callable[[str], str]
) -> tuple[tuple[GuardMetric, ...], list[tuple[str, str]]]:
    """The metrics with the plan's own names of their events, and what is wrong: (key within the guard, words)."""
    good, wrong = [], []
    for index, metric in enumerate(metrics):
        name = plan.resolve(metric.event)
        if name is None:
            wrong.append((f"metrics[{index}].event", unknown_event(metric.event)))
            continue
        words = None if metric.value is None else _no_number(plan.events[name], metric.value)
        if words is not None:
            wrong.append((f"metrics[{index}].value", words))
        good.append(replace(metric, event=name))
    return tuple(good), wrong


def _no_number(spec: EventSpec, name: str) -> str | None:
    """Why the property holds no number that lands; None when it does, or may."""
    rule = spec.properties.get(name)
    if rule is None:
        if spec.additional:
            return None
        known = ", ".join(spec.properties) or "none"
        return f"{name!r} is not a property of {spec.name}; it has {known}{did_you_mean(name, spec.properties)}"
    if rule.privacy != "plain":
        return f"{name!r} of {spec.name} is of privacy {rule.privacy} and does not land as a number"
    if rule.type not in ("number", "integer"):
        return f"{name!r} of {spec.name} is a {rule.type}; a value is a number"
    return None
