"""The rule of one metric of a guard: what is counted, which way is bad, and its share of the guard's budget.

A rise is judged as a fall: "the treated arm has more than (1 + r) times the control's" is "the control has less than
1 / (1 + r) of the treated arm's", so the same e-values serve both with the arms exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

from gtm_dagster.settings import CONVERSION, UP_THRESHOLD, Guard, GuardMetric, stakes

MOST_RISE = 99.0
"""A rise is shown up to so many times the control's: where the control had none it has no size."""
SHARE, MEAN = "share", "mean"
DOWN, UP = "down", "up"


@dataclass(frozen=True)
class MetricRule:
    """A metric as it is decided by. `figure`: the share of units with an event, or the mean of a value capped a unit.

    `event`, `value`, `cap`, `limit`: what is counted, as in the settings. `threshold`: relative loss (bad "down") or rise
    ("up"); `margin`: the share of it that is no harm; `stake`: the share of the guard's budget.
    """

    name: str
    figure: str
    event: str
    bad: str
    threshold: float
    margin: float
    stake: float
    value: str | None = None
    cap: float | None = None
    limit: float | None = None

    @property
    def drop(self) -> float:
        """The threshold as a loss: of the treated arm, or where up is bad of the control."""
        return self.threshold if self.bad == DOWN else self.threshold / (1.0 + self.threshold)

    @property
    def drop_margin(self) -> float:
        """The share of `drop` that is no harm."""
        if self.bad == DOWN or self.threshold == 0.0:
            return self.margin
        harmless = self.threshold * self.margin
        return harmless / (1.0 + harmless) / self.drop

    @property
    def subject(self) -> str:
        """What is compared, in words."""
        what = self.event if self.value is None else f"{self.value} of {self.event}"
        return what if self.limit is None else f"{what} over {self.limit:g}"

    def change(self, drop: float | None) -> float | None:
        """A loss as the change that is shown: itself, or where up is bad the rise of the treated arm, at most MOST_RISE."""
        if drop is None or self.bad == DOWN:
            return drop
        return min(drop / (1.0 - drop), MOST_RISE) if drop < 1.0 else MOST_RISE


def metric_rules(guard: Guard) -> tuple[MetricRule, ...]:
    """The metrics of a guard that declares some, its own conversion first; () for one that declares none."""
    if not guard.metrics:
        return ()
    conversion, *others = stakes(guard.conversion_stake, guard.metrics)
    found = [MetricRule(CONVERSION, SHARE, guard.conversion, DOWN, guard.threshold, guard.margin, conversion)]
    for metric, stake in zip(guard.metrics, others, strict=True):
        usual = guard.threshold if metric.bad == DOWN else UP_THRESHOLD
        found.append(
            MetricRule(
                metric.name, MEAN if metric.cap is not None else SHARE, metric.event, metric.bad,
                usual if metric.threshold is None else metric.threshold,
                guard.margin if metric.margin is None else metric.margin, stake, metric.value, metric.cap, metric.limit,
            )
        )  # fmt: skip
    return tuple(found)


def declared(rules: tuple[MetricRule, ...]) -> tuple[tuple[GuardMetric, ...], float | None]:
    """The settings that give these rules: the further metrics, and the conversion's stake."""
    metrics = tuple(
        GuardMetric(
            rule.name, "value" if rule.value else ("error" if rule.bad == UP else "conversion"), rule.event, rule.value,
            rule.cap, rule.limit, "up" if rule.bad == UP else "down", rule.threshold, rule.margin, rule.stake,
        )
        for rule in rules[1:]
    )  # fmt: skip
    return metrics, rules[0].stake if rules else None
