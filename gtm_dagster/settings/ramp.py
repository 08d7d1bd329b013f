"""A ramp: the shares of units that a flag's new flow goes through, and what each step waits for."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from gtm_dagster.settings.guard_metrics import UP_THRESHOLD, GuardMetric
from gtm_dagster.settings.nearest import known_names
from gtm_dagster.settings.values import NotNegative

Step = Annotated[float, Meta(gt=0, le=1)]
Loss = Annotated[float, Meta(ge=0.02, le=1)]
Harm = Annotated[float, Meta(ge=0.02, le=99)]


class Ramp(Struct, frozen=True, forbid_unknown_fields=True):
    """The declared steps of a flag. Lists have an entry a step; one value is of all of them.

    `steps`: treated shares of 1, ascending; the last may be below 1. `min_hours`: how long each step lasts at least.
    `loss`: the relative drop that has to be visible at a step before the next one is taken; None: the guard's threshold.
    `metric_loss`: the same of further metrics by name, a loss or a rise; of those not named, their own threshold.
    `auto`: steps are taken without a person. `approval`: a person approves a step before it is taken; None: each one,
    with `auto` none.
    """

    steps: tuple[Step, ...] = (0.01, 0.05, 0.25, 0.5, 1.0)
    min_hours: NotNegative | tuple[NotNegative, ...] = 1.0
    loss: Loss | tuple[Loss, ...] | None = None
    metric_loss: dict[str, Harm | tuple[Harm, ...]] = {}
    approval: bool | tuple[bool, ...] | None = None
    auto: bool = False

    def hours_at(self, index: int) -> float:
        """The least hours of a step."""
        return float(_at(self.min_hours, index))

    def loss_at(self, index: int, threshold: float) -> float:
        """The loss that has to be visible at a step, share of 1."""
        return threshold if self.loss is None else float(_at(self.loss, index))

    def metric_loss_at(self, index: int, name: str, threshold: float) -> float:
        """The loss, or rise, of a further metric that has to be visible at a step, share of 1."""
        return float(_at(self.metric_loss[name], index)) if name in self.metric_loss else threshold

    def approved_by_person(self, index: int) -> bool:
        """Whether a person has to approve a step before it is taken."""
        return not self.auto if self.approval is None else bool(_at(self.approval, index))


def ramp_problems(ramp: Ramp, threshold: float, metrics: tuple[GuardMetric, ...] = ()) -> list[tuple[str, str]]:
    """What keeps a ramp from being taken: the setting below `ramp`, and the problem with the way out."""
    problems = []
    if not ramp.steps:
        problems.append(("steps", "the list is empty; give shares such as [0.01, 0.05, 0.25, 0.5, 1.0]"))
    falling = [i for i in range(1, len(ramp.steps)) if ramp.steps[i] <= ramp.steps[i - 1]]
    problems += [(f"steps[{i}]", f"{ramp.steps[i]:g} is not above the step before it, {ramp.steps[i - 1]:g}") for i in falling]  # fmt: skip
    for name in ("min_hours", "loss", "approval"):
        value = getattr(ramp, name)
        if isinstance(value, tuple) and len(value) != len(ramp.steps):
            problems.append((name, f"has {len(value)} entries for {len(ramp.steps)} steps; give one a step, or one value for all"))  # fmt: skip
    losses = [ramp.loss_at(index, threshold) for index in range(len(ramp.steps))]
    if losses and min(losses) < threshold:
        problems.append(
            ("loss", f"{min(losses):g} is below the guard's threshold of {threshold:g}, from which on it acts")
        )
    problems += _metric_problems(ramp, threshold, metrics)
    unattended = ramp.approval is False or (isinstance(ramp.approval, tuple) and not all(ramp.approval))
    if unattended and not ramp.auto:
        problems.append(("approval", "a step that no person approves needs auto = true"))
    return problems


def _metric_problems(ramp: Ramp, threshold: float, metrics: tuple[GuardMetric, ...]) -> list[tuple[str, str]]:
    by_name = {metric.name: metric for metric in metrics}
    problems = []
    for name, value in ramp.metric_loss.items():
        metric, place = by_name.get(name), f"metric_loss.{name}"
        if metric is None:
            known = known_names(name, by_name, "the guard declares none; add [[guards.metrics]]")
            problems.append((place, f"the guard has no further metric of this name; {known}"))
            continue
        least = (
            metric.threshold if metric.threshold is not None else (threshold if metric.bad == "down" else UP_THRESHOLD)
        )
        values = value if isinstance(value, tuple) else (value,)
        if isinstance(value, tuple) and len(value) != len(ramp.steps):
            problems.append((place, f"has {len(value)} entries for {len(ramp.steps)} steps; give one a step, or one value for all"))  # fmt: skip
        elif min(values) < least:
            problems.append((place, f"{min(values):g} is below the metric's threshold of {least:g}, from which on the guard acts"))  # fmt: skip
        elif metric.bad == "down" and max(values) > 1:
            problems.append((place, f"{max(values):g} is more than all of it; a loss is at most 1"))
    return problems


def _at(value: Any, index: int) -> Any:
    return value[min(index, len(value) - 1)] if isinstance(value, tuple) else value
