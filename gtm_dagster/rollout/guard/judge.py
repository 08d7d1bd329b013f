"""The verdict of a guard: of its one conversion, or of several metrics that share its budget by their stakes.

Everything that decides or shows a decision asks here: live, claim, backtest, simulation and replay are one function of
counts, rule and watermark.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from gtm_dagster.rollout.guard.counts import Counts
from gtm_dagster.rollout.guard.detector import Trace, decided_us, trace
from gtm_dagster.rollout.guard.metric_rule import MEAN, UP, MetricRule
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.verdict import Verdict, detect, nothing_yet, reason
from gtm_dagster.settings import CONVERSION


def judge(counts: Counts, rule: Rule, *, same_age: bool = True) -> Verdict:
    """The verdict at the counts' watermark. Of several metrics it is the leading one's, with all of them in `metrics`.

    The leading metric fires, or is over its threshold, or else has come closest to its level. `same_age`: as of `detect`.
    """
    if not rule.metrics:
        return detect(counts, rule, same_age=same_age)
    return leading(tuple(metric_verdict(counts, rule, metric, same_age=same_age) for metric in rule.metrics))


def page_verdict(counts: Counts, rule: Rule) -> Verdict | None:
    """The verdict of the line that only notifies people; None for a rule without one."""
    paging = rule.paging
    return None if paging is None else judge(counts, paging)


def page_reason(verdict: Verdict, rule: Rule) -> str:
    """What a page says: harm is proven, whether or not it is enough to roll back."""
    metric = rule.metric(verdict.metric)
    seen = replace(verdict, above_since_us=None)
    words = reason(seen, rule) if metric is None or metric.name == CONVERSION else _reason(seen, metric, rule)
    return f"harm is proven, and nothing is rolled back for it: {words}"


def leading(verdicts: Collection[Verdict], without: Collection[str] = ()) -> Verdict:
    """The leading one of the metrics' verdicts, with all in `metrics`; `without`: metrics that nothing is concluded from."""
    able = [verdict for verdict in verdicts if verdict.metric not in without]
    first = max(
        able or verdicts,
        key=lambda verdict: (
            verdict.supported_since_us is not None,
            verdict.fires,
            verdict.above_since_us is not None,
            verdict.log_e - verdict.log_budget,
        ),
    )
    return replace(first, metrics=tuple(verdicts))


def metric_counts(counts: Counts, metric: MetricRule) -> Counts:
    """The counts one metric is judged by: its own outcomes, and the arms exchanged where up is bad."""
    own = counts if metric.name == CONVERSION else counts.of_metric(metric.name)
    return own.exchanged() if metric.bad == UP else own


def metric_trace(
    counts: Counts, rule: Rule, name: str, progress: Callable[[int, int], None] | None = None
) -> tuple[Trace, int | None]:
    """The evidence of one metric over time, and when it alone would have acted. Its estimate is a loss: of the control
    where up is bad."""
    metric = rule.metric(name)
    judged = counts if metric is None else metric_counts(counts, metric)
    history = trace(judged, rule.of_metric(name), progress)
    return history, decided_us(history, rule.hold_minutes, counts.watermark_us)


def metric_names(rule: Rule) -> tuple[str, ...]:
    """The names of a rule's metrics, the conversion first; ("",) of a guard of one."""
    return tuple(metric.name for metric in rule.metrics) or ("",)


def metric_verdict(counts: Counts, rule: Rule, metric: MetricRule, *, same_age: bool = True) -> Verdict:
    """The verdict of one metric; a rise is a positive estimate where up is bad."""
    found = detect(metric_counts(counts, metric), rule.of_metric(metric.name), same_age=same_age)
    verdict = replace(found, metric=metric.name)
    if metric.bad == UP:
        verdict = replace(
            verdict,
            control_exposed=verdict.treated_exposed, control_converted=verdict.treated_converted,
            treated_exposed=verdict.control_exposed, treated_converted=verdict.control_converted,
            range_control=verdict.range_treated, range_control_converted=verdict.range_treated_converted,
            range_treated=verdict.range_control, range_treated_converted=verdict.range_control_converted,
            estimate=metric.change(verdict.estimate), low=metric.change(verdict.low), high=metric.change(verdict.high),
        )  # fmt: skip
    if metric.figure == MEAN:
        verdict = _in_units(verdict, metric)
    if metric.name == CONVERSION:
        return verdict
    return replace(verdict, reason=_reason(verdict, metric, rule))


def _in_units(verdict: Verdict, metric: MetricRule) -> Verdict:
    """With the value of the property in place of caps: of the range the estimate is of, where values are known."""
    cap = metric.cap or 1.0
    control, treated = (
        round(number * cap) for number in (verdict.range_control_converted, verdict.range_treated_converted)
    )
    return replace(
        verdict, range_control_converted=control, range_treated_converted=treated, control_converted=control,
        treated_converted=treated,
    )  # fmt: skip


def _reason(verdict: Verdict, metric: MetricRule, rule: Rule) -> str:
    if verdict.supported_since_us is None:
        return nothing_yet(verdict)
    if metric.bad != UP:
        return f"{metric.name}: {reason(verdict, replace(rule, threshold=metric.threshold), metric.subject)}"
    evidence = f"evidence {verdict.log_e:.1f} of {verdict.log_budget:.1f} needed"
    figures = change_text(metric, verdict)
    if verdict.above_since_us is None:
        return f"{metric.name}: {figures}, {evidence}"
    lasting = f"above {metric.threshold:.0%} for {verdict.above_minutes:.1f} min ({rule.hold_minutes:g} needed)"
    return f"{metric.name}: {figures}, {evidence}, {lasting}"


def change_text(metric: MetricRule, verdict: Verdict) -> str:
    """How the treated arm's figure differs from the control's, in words."""
    what = metric.subject
    seen = (
        f"{what} of treated {verdict.range_treated_converted:,} of {verdict.range_treated:,}, "
        f"of control {verdict.range_control_converted:,} of {verdict.range_control:,}"
    )
    if verdict.estimate is None:
        return f"no {what} to compare" if not verdict.range_control_converted else seen
    if not verdict.range_control_converted:
        return seen
    word = f"{verdict.estimate:.0%} more" if verdict.estimate >= 0 else f"{-verdict.estimate:.0%} fewer"
    between = "" if verdict.low is None or verdict.high is None else f" (95 %: {verdict.low:.0%} to {verdict.high:.0%})"
    return f"{word} {what} than the control{between}"
