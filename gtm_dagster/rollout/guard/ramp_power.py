"""Whether a loss would have been seen at a step of a ramp by now, at the traffic of that step."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from math import ceil, inf

from gtm_dagster.rollout.guard.bounds import LATENCY_MINUTES, minutes_to_proof
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.detector import traced
from gtm_dagster.rollout.guard.guarded_traffic import Traffic, observed_traffic
from gtm_dagster.rollout.guard.rule import Rule

POWER = 0.8
"""The share of cases in which the loss would have been proven: the usual power of a test."""
REACH_MINUTES = 5 * 1440.0
"""How far back evidence reaches: what needs longer to prove is not proven."""


@dataclass(frozen=True)
class StepPower:
    """What a step could have shown so far. `traffic`: visitors since the step began, at the step's planned share; base rate and
    delay of the whole epoch, to two digits.

    `loss`: the relative drop that has to be visible. `needed_minutes`: until a loss that begins with the step is proven in
    80 % of the cases; None: the evidence does not reach so far back at this traffic. `at_start`: the time began with the
    step, whose start has a stake of its own.
    """

    traffic: Traffic
    rule: Rule
    loss: float
    elapsed_minutes: float
    needed_minutes: float | None
    at_start: bool = True

    @property
    def seen(self) -> bool:
        """Whether the loss would have been seen by now."""
        return self.needed_minutes is not None and self.needed_minutes <= self.elapsed_minutes

    @property
    def left_minutes(self) -> float | None:
        """How much longer the step has to last at this traffic; None: for ever."""
        return None if self.needed_minutes is None else max(self.needed_minutes - self.elapsed_minutes, 0.0)

    def visible_loss(self) -> float | None:
        """The smallest loss in whole percents that would have been seen by now, never below the threshold; None: not even
        a dead flow."""
        losses = range(ceil(100 * self.rule.threshold - 1e-9), 101)
        index = bisect_left(losses, True, key=lambda loss: self._seen(loss / 100))
        return losses[index] / 100 if index < len(losses) else None

    def _seen(self, loss: float) -> bool:
        return (_needed(self.traffic, self.rule, loss, self.at_start) or inf) <= self.elapsed_minutes


def step_power(
    counts: Counts, rule: Rule, share: float, since_us: int, loss: float, *, at_start: bool = True
) -> StepPower | None:
    """The power of a step at a treated `share` since `since_us`, up to the counts' watermark.

    None before visitors of both arms and a conversion of the control are counted since then.
    """
    control, treated = counts.exposed_between(since_us, None)
    epoch = observed_traffic(counts, rule.window_minutes)
    begin_us = -(-since_us // SLOT_US) * SLOT_US
    minutes = (counts.watermark_us - begin_us) / 60e6
    if epoch is None or not control or not treated or minutes <= 0:
        return None
    # Ages are counted in slots: customers who convert at once have half of one.
    delay = _two_digits(epoch.delay_minutes) if epoch.delay_minutes > LATENCY_MINUTES else 0.0
    traffic = Traffic((control + treated) / minutes, share, _two_digits(epoch.base_rate), delay)
    needed = _needed(traffic, rule, loss, at_start)
    within = needed if needed is None or needed <= REACH_MINUTES else None
    return StepPower(traffic, rule, loss, minutes, within, at_start)


def suspected_until(counts: Counts, rule: Rule, since_us: int) -> int | None:
    """When there was suspicion last, after `since_us` (microseconds UTC, both); None: never.

    Evidence of a loss near the threshold comes and goes: a moment without it proves nothing.
    """
    history = traced(counts, rule)[0]
    found = history.times_us[(history.log_e >= rule.log_suspicion) & (history.times_us > since_us)]
    return int(found[-1]) if len(found) else None


def _needed(traffic: Traffic, rule: Rule, loss: float, at_start: bool) -> float | None:
    """Minutes until the loss has been proven and has lasted the hold."""
    proven = minutes_to_proof(
        traffic.base_rate, traffic.visitors_per_minute, traffic.treated_share, loss, rule,
        delay_minutes=traffic.delay_minutes, quantile=POWER, at_start=at_start,
    )  # fmt: skip
    return None if proven is None else max(proven, rule.hold_minutes + 2 * LATENCY_MINUTES)


def _two_digits(value: float) -> float:
    """Rounded, so that the planner's answers are found again at the next look."""
    return float(f"{value:.2g}")
