"""The further metrics of a guard in `gtm guard plan`: what each is at, and how long its harm runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gtm_dagster.commands.output import Problem, say
from gtm_dagster.commands.table_output import say_table

if TYPE_CHECKING:
    from gtm_dagster.rollout.guard.counts import Counts
    from gtm_dagster.rollout.guard.guarded_traffic import Traffic
    from gtm_dagster.rollout.guard.metric_plan import MetricExpectation
    from gtm_dagster.rollout.guard.metric_power import MetricTraffic
    from gtm_dagster.rollout.guard.rule import Rule


def planned_flows(traffic: Traffic, rule: Rule, given: list[str], counts: Counts | None) -> dict[str, MetricTraffic]:
    """The traffic of each further metric, at the visitors and the split of `traffic`: its base as `given` (NAME=BASE), else as
    counted. Raises Problem (2) for what is not written so, and for a metric that the guard does not declare.
    """
    from gtm_dagster.commands.guard_metrics import metric_flows
    from gtm_dagster.rollout.guard.metric_power import MetricTraffic, metric_traffic
    from gtm_dagster.settings.nearest import known_names

    names = [metric.name for metric in rule.metrics[1:]]
    flows = {}
    for name, flow in metric_flows(given).items():
        if name not in names:
            raise Problem(
                f"--metric: {name} is not a further metric of this guard; {known_names(name, names, 'it declares none')}",
                2,
            )
        if not 0 < flow.base < 1:
            raise Problem(f"--metric: {name}={flow.base:g} is not allowed; give a share above 0 and below 1", 2)
        flows[name] = MetricTraffic(replace(traffic, base_rate=flow.base, delay_minutes=0.0))
    for name in names:
        seen = None if counts is None or name in flows else metric_traffic(counts, rule, name)
        if seen is not None:
            at = (traffic.visitors_per_minute, traffic.treated_share)
            flows[name] = replace(seen, traffic=replace(seen.traffic, visitors_per_minute=at[0], treated_share=at[1]))
    return flows


def say_metric_plan(expectations: tuple[MetricExpectation, ...], rule: Rule) -> None:
    """A row a metric and harm, and which metrics nothing is known of."""
    from gtm_dagster.rollout.guard.planner import duration

    if expectations:
        say_table(
            ("metric", "base", "harm", "broken at start", "at any time", "in 9 of 10 cases"),
            [
                (
                    each.metric, f"{each.base:.2%}", f"{'rise' if each.bad == 'up' else 'loss'} of {each.harm:.0%}",
                    duration(each.start_minutes), duration(each.median_minutes), duration(each.p90_minutes),
                )
                for each in expectations
            ],
        )  # fmt: skip
    known = {each.metric for each in expectations}
    unknown = [metric.name for metric in rule.metrics[1:] if metric.name not in known]
    if unknown:
        say(f"nothing is counted of {', '.join(unknown)} yet; --metric {unknown[0]}=BASE plans with a figure of yours")
