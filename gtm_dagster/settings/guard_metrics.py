"""What a guard watches beside its conversion: further metrics under one budget, and a line that only pages.

The guard's own conversion is always a metric of it, CONVERSION; [[guards.metrics]] adds to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from gtm_dagster.settings.values import Name, PropertyName

CONVERSION = "conversion"
"""The name of the metric that every guard has: its own conversion."""
MetricKind = Literal["conversion", "error", "value"]
Direction = Literal["down", "up"]
MetricName = Annotated[
    str,
    Meta(pattern=r"^[a-z][a-z0-9_-]{0,39}\Z", description="a name of at most 40 small letters, digits, _ and -, a letter first"),
]  # fmt: skip
Stake = Annotated[float, Meta(gt=0, lt=1)]
Above = Annotated[float, Meta(gt=0, le=1e15)]
MOST = 8
"""Metrics a guard may declare; each of them costs a look as much as the conversion does."""
UP_THRESHOLD = 0.5
"""The default rise that is rolled back where up is bad: half as many again."""


class GuardMetric(Struct, frozen=True, forbid_unknown_fields=True):
    """A further metric of a guard. Each is a figure a unit within the conversion window after its first exposure.

    `kind`: conversion, whether it sent `event` (down is bad); error, the same (up is bad); value, the number in the
    property `value` of `event`: added up to at most `cap` a unit (down is bad), or, with `limit`, whether it was ever over
    the limit (up is bad). `direction`: what is bad, where it is not the usual. `threshold`: relative change that is rolled
    back; None: the guard's for down, 0.5 for up. `margin`: None: the guard's. `stake`: the share of the guard's budget;
    None: an equal part of what is left.
    """

    name: MetricName
    kind: MetricKind
    event: Name
    value: PropertyName | None = None
    cap: Above | None = None
    limit: Annotated[float, Meta(ge=-1e15, le=1e15)] | None = None
    direction: Direction | None = None
    threshold: Annotated[float, Meta(ge=0.02, le=100)] | None = None
    margin: Annotated[float, Meta(ge=0, lt=1)] | None = None
    stake: Stake | None = None

    @property
    def bad(self) -> Direction:
        """The direction of harm."""
        if self.direction is not None:
            return self.direction
        return "up" if self.kind == "error" or self.limit is not None else "down"


class GuardPage(Struct, frozen=True, forbid_unknown_fields=True):
    """A second line of a guard that only notifies people: any harm, with a budget of its own.

    `margin`: the share of each threshold that is no harm; 0: any loss. `budget_hours` and `start_risk`: as a guard's, of
    false pages.
    """

    margin: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    budget_hours: Annotated[float, Meta(ge=24, le=1_000_000)] = 720.0
    start_risk: Annotated[float, Meta(ge=0, le=0.2)] = 0.05


def stakes(conversion: float | None, metrics: Sequence[GuardMetric]) -> tuple[float, ...]:
    """The shares of the budget, the conversion's first; they sum to 1. Those that are not given share the rest equally.

    ValueError when what is given leaves nothing for the others, or does not sum to 1.
    """
    given = [conversion, *(metric.stake for metric in metrics)]
    fixed, open_ = sum(stake for stake in given if stake is not None), given.count(None)
    if open_ == 0 and abs(fixed - 1.0) > 1e-9:
        raise ValueError(f"sum to {fixed:g}; let them sum to 1, or leave one out, which then has the rest")
    if open_ and fixed >= 1.0 - 1e-9:
        raise ValueError(f"sum to {fixed:g} and leave nothing to the {open_} without one; give less, or each its stake")
    rest = (1.0 - fixed) / open_ if open_ else 0.0
    return tuple(rest if stake is None else stake for stake in given)


def problems(conversion_stake: float | None, metrics: Sequence[GuardMetric]) -> list[tuple[str, str]]:
    """What is wrong with a guard's metrics: (key within the guard, what and what is allowed), in order."""
    found: list[tuple[str, str]] = []
    for index, metric in enumerate(metrics):
        key = f"metrics[{index}]"
        if metric.name == CONVERSION or metric.name in [other.name for other in metrics[:index]]:
            whose = "the guard's own conversion" if metric.name == CONVERSION else "another metric of this guard"
            found.append((f"{key}.name", f"{metric.name!r} is {whose}; give another name"))
        found += [(f"{key}.{name}", words) for name, words in _misfits(metric)]
    if len(metrics) > MOST:
        found.append((f"metrics[{MOST}]", f"a guard has at most {MOST} metrics beside its conversion"))
    if conversion_stake is not None and not metrics:
        found.append(
            ("conversion_stake", "there is no other metric to share with; add [[guards.metrics]] or leave it out")
        )
    else:
        try:
            stakes(conversion_stake, metrics)
        except ValueError as error:
            found.append(("metrics", f"the stakes {error}"))
    return found


def _misfits(metric: GuardMetric) -> list[tuple[str, str]]:
    found = []
    if metric.kind == "value":
        if metric.value is None:
            found.append(("value", f"is missing: the property of {metric.event} that holds the number"))
        if (metric.cap is None) == (metric.limit is None):
            found.append(
                ("cap", "give one of cap (the most a unit counts for) and limit (over it is bad), and not both")
            )
    else:
        found += [
            (name, f"belongs to kind value; {metric.kind} asks only whether {metric.event} was sent")
            for name in ("value", "cap", "limit")
            if getattr(metric, name) is not None
        ]
    if metric.bad == "down" and metric.threshold is not None and metric.threshold > 0.9:
        found.append(("threshold", f"{metric.threshold:g} is not a loss from 0.02 to 0.9; only a rise may be larger"))
    return found
