"""How long harm of any of a guard's metrics runs until it is proven: a loss of a share, a rise of one, or a mean.

A rise is planned as the loss it is judged as, with the arms exchanged. A mean is planned as a share of the same size whose
variance is the values' own, known when the conversion window is over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gtm_dagster.rollout.guard.bounds import LATENCY_MINUTES, minutes_to_proof, visitors_to_proof
from gtm_dagster.rollout.guard.cells import window_slots
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.guarded_traffic import Traffic, observed_traffic
from gtm_dagster.rollout.guard.mean_evidence import LEVELS
from gtm_dagster.rollout.guard.metric_rule import MEAN, UP
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.settings import CONVERSION

LEAST_RISING = 0.001
"""What may rise is taken to be at least so frequent in the control: of an event that never came a multiple is nothing."""
_LEAST_SPREAD, _MOST_RATE = 0.05, 0.999


@dataclass(frozen=True)
class MetricTraffic:
    """A flow as one metric sees it. `traffic.base_rate`: the control's share or mean (as a share of the cap).

    `spread`: the variance of a value a visitor as a share of what a value of 0 or 1 of this mean has; 1 of a share.
    """

    traffic: Traffic
    spread: float = 1.0


def minutes_to_metric_proof(
    flow: MetricTraffic, rule: Rule, name: str, harm: float, *, quantile: float = 0.5, at_start: bool = False
) -> float | None:
    """Minutes from a break to the proof of `harm` (a loss, or a rise where up is bad; share of 1) of the metric of a guard's
    `rule` in `quantile` of the cases, the hold included; None: not within ten years.
    """
    metric, own, traffic = rule.metric(name), rule.of_metric(name), flow.traffic
    base, share, drop = traffic.base_rate, traffic.treated_share, harm
    if metric is not None and metric.bad == UP:
        base, share, drop = min(base * (1.0 + harm), _MOST_RATE), 1.0 - share, harm / (1.0 + harm)
    if metric is not None and metric.figure == MEAN:
        visitors = visitors_to_proof(base, share, drop, own, quantile, at_start)
        if visitors is None:
            return None
        proven = visitors * flow.spread / traffic.visitors_per_minute + rule.window_minutes + LATENCY_MINUTES
    else:
        found = minutes_to_proof(
            base, traffic.visitors_per_minute, share, drop, own, delay_minutes=traffic.delay_minutes,
            quantile=quantile, at_start=at_start,
        )  # fmt: skip
        if found is None:
            return None
        proven = found
    return max(proven, rule.hold_minutes + 2 * LATENCY_MINUTES)


def metric_traffic(counts: Counts, rule: Rule, name: str) -> MetricTraffic | None:
    """The traffic of a metric in a guard's own counts; None before both arms and, of what may fall, some of it were seen.

    A further metric is known for the days of the horizon, the conversion of the whole epoch.
    """
    metric = rule.metric(name)
    if metric is None or name == CONVERSION:
        seen = observed_traffic(counts, rule.window_minutes)
        return None if seen is None else MetricTraffic(seen)
    own = replace(counts.of_metric(name), folded=())
    if metric.figure == MEAN:
        return _mean_traffic(own, rule)
    seen = observed_traffic(own, rule.window_minutes)
    if metric.bad != UP:
        return None if seen is None else MetricTraffic(seen)
    if seen is not None:
        return MetricTraffic(replace(seen, base_rate=max(seen.base_rate, LEAST_RISING)))
    control, treated = own.exposed_by_arm()
    minutes = (own.watermark_us / SLOT_US - own.first_slot) * SLOT_US / 60e6
    if minutes <= 0 or not control or not treated:
        return None
    return MetricTraffic(Traffic((control + treated) / minutes, treated / (control + treated), LEAST_RISING))


def _mean_traffic(own: Counts, rule: Rule) -> MetricTraffic | None:
    """Mean and spread of the control's visitors whose window is over."""
    ripe = max(own.watermark_us // SLOT_US - window_slots(rule.window_minutes) - own.slot0, 0)
    units = int(own.exposed[0, :ripe].sum())
    mine = (own.conv_arm == 0) & (own.conv_slot - own.slot0 < ripe)
    value, n = own.conv_age[mine] / LEVELS, own.conv_n[mine]
    control, treated = own.exposed_by_arm()
    minutes = (own.watermark_us / SLOT_US - own.first_slot) * SLOT_US / 60e6
    total = float((n * value).sum())
    if not units or not treated or total <= 0 or minutes <= 0:
        return None
    mean = min(total / units, _MOST_RATE)
    variance = float((n * value**2).sum()) / units - mean**2
    spread = min(max(variance / (mean * (1.0 - mean)), _LEAST_SPREAD), 1.0)
    return MetricTraffic(Traffic((control + treated) / minutes, treated / (control + treated), mean), spread)
