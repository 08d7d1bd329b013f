"""What a guard promises: how large a loss, for how long, at how many false rollbacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import exp, log
from typing import Any

from gtm_dagster.rollout.guard.log_e_path import BETS
from gtm_dagster.rollout.guard.metric_rule import DOWN, SHARE, MetricRule, metric_rules
from gtm_dagster.settings import Guard

FINE_BETS = (0.93, 0.75, 0.4)
"""The bets of the line that only notifies: a bet on a loss of a quarter loses where the loss is a tenth."""


@dataclass(frozen=True)
class PageRule:
    """A second line that only notifies people: `margin` as a share of each threshold, and a budget of false pages of its own."""

    margin: float
    budget_hours: float
    start_risk: float


@dataclass(frozen=True)
class Rule:
    """What a guard promises. `threshold`: relative drop; `budget_hours`: mean hours between false rollbacks.

    `margin`: the share of the threshold that is no harm. `slower_minutes`: how much later the treated arm may convert.
    `start_risk`: the probability of a false rollback that the start of an epoch, and of each ramp step, may cost.
    `shares`: (from microseconds UTC, planned treated share) steps in order, empty when the plan is not known.
    `metrics`: the guard's conversion and what it declares beside it; empty when it declares nothing. `page`: the line that only notifies. `figure`: what the
    rule of one metric judges, a share of units or a mean. `pages`: it is the line that only notifies.
    """

    window_minutes: float = 60.0
    threshold: float = 0.15
    hold_minutes: float = 5.0
    budget_hours: float = 8760.0
    shares: tuple[tuple[int, float], ...] = ()
    margin: float = 0.5
    slower_minutes: float = 5.0
    start_risk: float = 0.01
    metrics: tuple[MetricRule, ...] = ()
    page: PageRule | None = None
    figure: str = SHARE
    pages: bool = False

    @classmethod
    def of(cls, guard: Guard, sharing: int = 1, shares: Sequence[tuple[int, float]] = ()) -> Rule:
        """The rule of a declared guard; `sharing` guards of one flag share its budget."""
        page = None
        if guard.page is not None:
            hours, risk = guard.page.budget_hours * max(sharing, 1), guard.page.start_risk / max(sharing, 1)
            page = PageRule(guard.page.margin, hours, risk)
        planned = tuple(shares) or (((0, guard.treated_share),) if guard.treated_share is not None else ())
        return cls(
            guard.conversion_window_minutes,
            guard.threshold,
            guard.hold_minutes,
            guard.budget_hours * max(sharing, 1),
            planned,
            guard.margin,
            guard.hold_minutes if guard.slower_minutes is None else guard.slower_minutes,
            guard.start_risk / max(sharing, 1),
            metric_rules(guard),
            page,
        )

    def metric(self, name: str) -> MetricRule | None:
        """The metric of this name; None for a guard without declared metrics."""
        return next((metric for metric in self.metrics if metric.name == name), None)

    def of_metric(self, name: str) -> Rule:
        """The rule that judges one metric by its stake, as a loss; itself for a guard without declared metrics.

        With the guard's level A each metric has the level A / stake and the start stake of the guard. Then the sum of the
        metrics' statistics, weighted by their stakes, grows by 1 an hour, begins at `start_hours` and is at A where any of
        them is at its level: what is promised of one metric holds for all together.
        """
        metric = self.metric(name)
        if metric is None:
            return self
        start_risk = self.start_risk * metric.stake
        level = exp(self.log_budget) / metric.stake
        shares = self.shares if metric.bad == DOWN else tuple((us, 1.0 - share) for us, share in self.shares)
        return replace(
            self, page=None, threshold=metric.drop, margin=metric.drop_margin, shares=shares, metrics=(), start_risk=start_risk, figure=metric.figure,
            budget_hours=level * (1.0 - start_risk) - 1.0,
        )  # fmt: skip

    @property
    def paging(self) -> Rule | None:
        """The rule of the line that only notifies: what is more than its margin counts, however small; None without one."""
        if self.page is None:
            return None
        margin = self.page.margin
        metrics = tuple(
            replace(each, threshold=each.threshold * margin, margin=float(margin > 0)) for each in self.metrics
        )
        return replace(
            self, page=None, metrics=metrics, threshold=self.threshold * margin, margin=float(margin > 0),
            budget_hours=self.page.budget_hours, start_risk=self.page.start_risk, pages=True,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The rule as a JSON document; `metrics` stand in it when there are some."""
        document = asdict(self)
        for name in ("metrics", "page", "figure", "pages"):
            if getattr(self, name) == getattr(Rule, name):
                del document[name]
        return document

    @property
    def bets(self) -> tuple[float, ...]:
        """The treated arm's figures that are bet on, as shares of what is still no loss."""
        return FINE_BETS if self.pages else BETS

    @property
    def margin_drop(self) -> float:
        """The relative drop that is no harm."""
        return self.threshold * self.margin

    @property
    def start_hours(self) -> float:
        """What the start of an epoch stakes, in hours of the budget: a false rollback by it has the probability `start_risk`."""
        return self.start_risk * exp(self.log_budget)

    @property
    def log_budget(self) -> float:
        """The level the evidence has to reach: ln A, with A - start_hours = budget_hours + 1.

        The sum over restarts less the stakes so far is a supermartingale, so the mean time to reach A is at least A less
        what is staked at the start.
        """
        return log((self.budget_hours + 1.0) / (1.0 - self.start_risk))

    @property
    def log_suspicion(self) -> float:
        """Half of the way from what is staked at a start to the level: from here on there is evidence to show."""
        return (self.log_budget + log(max(self.start_hours, 1.0))) / 2.0
