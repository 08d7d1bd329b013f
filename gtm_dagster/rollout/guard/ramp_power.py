"""Whether harm would have been seen at a step of a ramp by now, at the traffic of that step: of the conversion and of each
further metric."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from math import ceil, inf

from gtm_dagster.rollout.guard.bounds import LATENCY_MINUTES
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.detector import traced
from gtm_dagster.rollout.guard.guarded_traffic import Traffic
from gtm_dagster.rollout.guard.judge import metric_counts
from gtm_dagster.rollout.guard.metric_power import MetricTraffic, metric_traffic, minutes_to_metric_proof
from gtm_dagster.rollout.guard.metric_rule import MOST_RISE, UP
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.settings import CONVERSION

POWER = 0.8
"""The share of cases in which the harm would have been proven: the usual power of a test."""
REACH_MINUTES = 5 * 1440.0
"""How far back evidence reaches: what needs longer to prove is not proven."""


@dataclass(frozen=True)
class StepPower:
    """What a step could have shown of one metric so far. `flow`: visitors since the step began, at the step's planned share;
    base rate, spread and delay of the whole epoch, to two digits.

    `harm`: the relative loss, or rise where up is bad, that has to be visible. `needed_minutes`: until harm that begins with
    the step is proven in 80 % of the cases; None: the evidence does not reach so far back at this traffic. `at_start`: the
    time began with the step, whose start has a stake of its own.
    """

    flow: MetricTraffic
    rule: Rule
    harm: float
    elapsed_minutes: float
    needed_minutes: float | None
    at_start: bool = True
    metric: str = CONVERSION

    @property
    def traffic(self) -> Traffic:
        """The traffic of the step."""
        return self.flow.traffic

    @property
    def rises(self) -> bool:
        """Whether the harm is a rise."""
        metric = self.rule.metric(self.metric)
        return metric is not None and metric.bad == UP

    @property
    def seen(self) -> bool:
        """Whether the harm would have been seen by now."""
        return self.needed_minutes is not None and self.needed_minutes <= self.elapsed_minutes

    @property
    def left_minutes(self) -> float | None:
        """How much longer the step has to last at this traffic; None: for ever."""
        return None if self.needed_minutes is None else max(self.needed_minutes - self.elapsed_minutes, 0.0)

    def visible(self) -> float | None:
        """The smallest harm in whole percents that would have been seen by now, never below the threshold; None: not even
        a dead flow, or a hundredfold rise.
        """
        metric = self.rule.metric(self.metric)
        threshold = self.rule.threshold if metric is None else metric.threshold
        percents = range(ceil(100 * threshold - 1e-9), round(100 * (MOST_RISE if self.rises else 1.0)) + 1)
        index = bisect_left(percents, True, key=lambda harm: self._seen(harm / 100))
        return percents[index] / 100 if index < len(percents) else None

    def _seen(self, harm: float) -> bool:
        needed = minutes_to_metric_proof(
            self.flow, self.rule, self.metric, harm, quantile=POWER, at_start=self.at_start
        )
        return (needed or inf) <= self.elapsed_minutes


def step_power(
    counts: Counts,
    rule: Rule,
    share: float,
    since_us: int,
    harm: float,
    *,
    at_start: bool = True,
    metric: str = CONVERSION,
) -> StepPower | None:
    """The power of a step at a treated `share` since `since_us`, up to the counts' watermark, for one metric of the guard.

    None before visitors of both arms are counted since then, and of what may fall some of the control's.
    """
    control, treated = counts.exposed_between(since_us, None)
    seen = metric_traffic(counts, rule, metric)
    begin_us = -(-since_us // SLOT_US) * SLOT_US
    minutes = (counts.watermark_us - begin_us) / 60e6
    if seen is None or not control or not treated or minutes <= 0:
        return None
    epoch = seen.traffic
    # Ages are counted in slots: customers who convert at once have half of one.
    delay = _two_digits(epoch.delay_minutes) if epoch.delay_minutes > LATENCY_MINUTES else 0.0
    traffic = Traffic((control + treated) / minutes, share, _two_digits(epoch.base_rate), delay)
    flow = MetricTraffic(traffic, _two_digits(seen.spread))
    needed = minutes_to_metric_proof(flow, rule, metric, harm, quantile=POWER, at_start=at_start)
    within = needed if needed is None or needed <= REACH_MINUTES else None
    return StepPower(flow, rule, harm, minutes, within, at_start, metric)


def suspected_until(counts: Counts, rule: Rule, since_us: int, metric: str = CONVERSION) -> int | None:
    """When there was suspicion of a metric last, after `since_us` (microseconds UTC, both); None: never.

    Evidence of harm near the threshold comes and goes: a moment without it proves nothing.
    """
    declared = rule.metric(metric)
    own = rule.of_metric(metric)
    history = traced(counts if declared is None else metric_counts(counts, declared), own)[0]
    found = history.times_us[(history.log_e >= own.log_suspicion) & (history.times_us > since_us)]
    return int(found[-1]) if len(found) else None


def _two_digits(value: float) -> float:
    """Rounded, so that the planner's answers are found again at the next look."""
    return float(f"{value:.2g}")
