"""Whether a loss would have been seen at a step of a ramp by now, at the traffic of that step."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from gtm_dagster.rollout.guard.bounds import LATENCY_MINUTES, minutes_to_proof, smallest_where
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
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
    80 % of the cases; None: the evidence does not reach so far back at this traffic.
    """

    traffic: Traffic
    rule: Rule
    loss: float
    elapsed_minutes: float
    needed_minutes: float | None

    @property
    def seen(self) -> bool:
        """Whether the loss would have been seen by now."""
        return self.needed_minutes is not None and self.needed_minutes <= self.elapsed_minutes

    @property
    def left_minutes(self) -> float | None:
        """How much longer the step has to last at this traffic; None: for ever."""
        return None if self.needed_minutes is None else max(self.needed_minutes - self.elapsed_minutes, 0.0)

    def visible_loss(self) -> float | None:
        """The smallest loss that would have been seen by now, never below the threshold; None: not even a dead flow."""

        def seen(loss: float) -> bool:
            return (_needed(self.traffic, self.rule, loss) or inf) <= self.elapsed_minutes

        return smallest_where(seen, self.rule.threshold, 1.0)


def step_power(counts: Counts, rule: Rule, share: float, since_us: int, loss: float) -> StepPower | None:
    """The power of a step at a treated `share` that began at `since_us`, up to the counts' watermark.

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
    needed = _needed(traffic, rule, loss)
    return StepPower(traffic, rule, loss, minutes, needed if needed is None or needed <= REACH_MINUTES else None)


def _needed(traffic: Traffic, rule: Rule, loss: float) -> float | None:
    """Minutes from the step's start until the loss has been proven and has lasted the hold."""
    proven = minutes_to_proof(
        traffic.base_rate, traffic.visitors_per_minute, traffic.treated_share, loss, rule,
        delay_minutes=traffic.delay_minutes, quantile=POWER, at_start=True,
    )  # fmt: skip
    return None if proven is None else max(proven, rule.hold_minutes + 2 * LATENCY_MINUTES)


def _two_digits(value: float) -> float:
    """Rounded, so that the planner's answers are found again at the next look."""
    return float(f"{value:.2g}")
