"""What a step of a ramp could have shown of each metric by now, and what the next one still waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gtm_dagster.rollout.control.messages import moment
from gtm_dagster.rollout.guard.judge import metric_names
from gtm_dagster.rollout.guard.planner import duration
from gtm_dagster.rollout.guard.ramp_power import StepPower, step_power, suspected_until
from gtm_dagster.settings import CONVERSION

if TYPE_CHECKING:
    from gtm_dagster.rollout.control.evaluation import Evaluation
    from gtm_dagster.rollout.guard.rule import Rule
    from gtm_dagster.settings import Ramp

SAME_SHARE = 0.00006
"""Shares of 1 closer than this are the same: providers keep steps of 0.01 %."""
ENDED, UNHEALTHY, DRIFT, TIME, POWER, APPROVAL = "ended", "unhealthy", "drift", "time", "power", "approval"


@dataclass(frozen=True)
class Wait:
    """What the next step waits for: one of the kinds above, and why in words, with the way out.

    `minutes`: how much longer at today's traffic, where time alone ends it.
    """

    kind: str
    text: str
    minutes: float | None = None


def percent(share: float) -> str:
    """A share in words."""
    return f"{100 * share:g} %"


def index_of(ramp: Ramp, share: float) -> int:
    """The index of the declared step at or below a share; 0 below the first."""
    return max((i for i, step in enumerate(ramp.steps) if step <= share + SAME_SHARE), default=0)


def readiness_of(ramp: Ramp, at: tuple[float, int], seen: Evaluation) -> tuple[tuple[StepPower, ...], list[Wait]]:
    """What a share could have shown since a time (microseconds UTC), and how much longer it has to last."""
    share, since_us = at
    index, here = index_of(ramp, share), percent(share)
    least, lasted = 60 * ramp.hours_at(index), (seen.counts.watermark_us - since_us) / 60e6
    waits, powers = [], []
    if lasted < least:
        left = least - max(lasted, 0.0)
        waits.append(Wait(TIME, f"{here} lasts at least {duration(least)}; another {duration(left)}", left))
    for name in (each or CONVERSION for each in metric_names(seen.rule)):
        harm = _harm(ramp, index, seen.rule, name)
        suspected_us = suspected_until(seen.counts, seen.rule, since_us, name)
        power = step_power(
            seen.counts, seen.rule, share, suspected_us or since_us, harm, at_start=suspected_us is None, metric=name
        )
        wait = _waits_for(power, name, here, suspected_us)
        powers += [power] if power is not None else []
        waits += [wait] if wait is not None else []
    return tuple(powers), waits


def harm_text(power: StepPower, harm: float) -> str:
    """A loss or a rise of a metric in words."""
    of = "" if power.metric == CONVERSION else f" of {power.metric}"
    return f"a {'rise' if power.rises else 'loss'} of {harm:.0%}{of}"


def _harm(ramp: Ramp, index: int, rule: Rule, name: str) -> float:
    metric = rule.metric(name)
    if metric is None or name == CONVERSION:
        return ramp.loss_at(index, rule.threshold)
    return ramp.metric_loss_at(index, name, metric.threshold)


def _waits_for(power: StepPower | None, name: str, here: str, suspected_us: int | None) -> Wait | None:
    if power is None:
        nothing = "no visitors of both arms, or no conversion of the control"
        if name != CONVERSION:
            nothing = f"no visitors of both arms, or no {name} of the control whose window is over"
        return Wait(POWER, f"nothing to compare at {here} yet: {nothing}")
    if power.seen:
        return None
    pace = power.traffic.visitors_per_minute
    traffic = f"{pace:,.0f} visitors a minute" if pace >= 10 else f"{pace:.2g} visitors a minute"
    if power.left_minutes is None:
        larger = "a larger loss for it" if name == CONVERSION else f"a larger one as metric_loss.{name}"
        return Wait(
            POWER,
            f"{harm_text(power, power.harm)} cannot be seen at {here} within the five days that evidence reaches back, with "
            f"{traffic}: leave the step out, or name {larger} under [guards.ramp]",
        )
    suspicion = "" if suspected_us is None else f" since the guard was suspicious last ({moment(suspected_us)})"
    return Wait(
        POWER,
        f"{harm_text(power, power.harm)} would not have been seen at {here} yet{suspicion}: with {traffic} that takes "
        f"{duration(power.needed_minutes)}, another {duration(power.left_minutes)}",
        power.left_minutes,
    )
