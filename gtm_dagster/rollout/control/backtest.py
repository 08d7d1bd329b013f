"""Would this guard have fired? The detector over a flag's past, moment by moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from gtm_dagster.gate.exposures import ARMS
from gtm_dagster.rollout.control.metric_sight import hidden_metrics
from gtm_dagster.rollout.control.past_counts import PastCounts, Progress
from gtm_dagster.rollout.guard.blindness import lost_conversions, refused_text, silent_control, unmatched
from gtm_dagster.rollout.guard.by_arm import bots_text, lopsided, refused_by_arm
from gtm_dagster.rollout.guard.detector import Trace
from gtm_dagster.rollout.guard.judge import judge, metric_names, metric_trace
from gtm_dagster.rollout.guard.metric_rule import UP
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.verdict import Verdict
from gtm_dagster.settings import CONVERSION


@dataclass(frozen=True, eq=False)
class Backtest:
    """The verdict on a past: `verdict` as of the decision, else of the end; times microseconds UTC.

    `conversions`: conversion events seen; `linked`: those of exposed units, of which `*_converted` came in time.
    `left_out`: exposures and conversions of client keys that the guard does not name. `blind`: why nothing can be
    concluded from this past, empty when something can; then `would_roll_back` is None. `refused`: what was refused and suppressed, why and of which arm;
    `bots`: what of them was left out. `early`: units by arm that converted only before their exposure.
    `metric`: whose decision, evidence and trace these are, "" in a guard of one.
    """

    would_roll_back: bool | None
    decided_us: int | None
    verdict: Verdict
    peak_log_e: float
    log_budget: float
    control_exposed: int
    control_converted: int
    treated_exposed: int
    treated_converted: int
    first_us: int
    last_us: int
    conversions: int
    linked: int
    left_out: int
    reason: str
    trace: Trace
    blind: str = ""
    refused: str = ""
    bots: str = ""
    metric: str = ""
    metrics: tuple[PastMetric, ...] = ()
    early: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class PastMetric:
    """A metric of a guard of several, alone: when it would have acted (microseconds UTC), and its most evidence."""

    name: str
    decided_us: int | None
    peak_log_e: float
    log_budget: float


def backtest(past: PastCounts, rule: Rule, progress: Progress | None = None, event: str = "conversions") -> Backtest:
    """Evaluate a past moment by moment; `event`: what its conversions are called."""
    counts = past.counts
    exposed = counts.exposed.sum(axis=1)
    converted = np.bincount(counts.conv_arm, counts.conv_n, 2).astype(int)
    window_us = round(rule.window_minutes * 60_000_000)
    blind = (
        unmatched(event, counts, window_us, past.seen)
        or lost_conversions(event, {"of this past": past.seen})
        or lopsided(event, {"of this past": past.by_arm}, rule.threshold)
        or silent_control(event, counts, window_us)
    )
    judged = {name: metric_trace(counts, rule, name, progress) for name in metric_names(rule)}
    metrics = [
        PastMetric(name, decided, _peak(history), rule.of_metric(name).log_budget)
        for name, (history, decided) in judged.items()
    ]
    hidden, notes = hidden_metrics(rule, counts, {"": past.records, "of this past": past.records}, blind)
    able = [each for each in metrics if each.name not in hidden and not (blind and not each.name)]
    first = min(able or metrics, key=lambda each: (each.decided_us is None, each.decided_us or 0))
    history, decided, peak = judged[first.name][0], first.decided_us if able else None, first.peak_log_e
    blind = blind if decided is None else ""
    at_end = judge(counts if decided is None else replace(counts, watermark_us=decided), rule)
    verdict = replace(at_end.of_metric(first.name), metrics=at_end.metrics)
    return Backtest(
        would_roll_back=None if blind else decided is not None,
        decided_us=decided,
        verdict=verdict,
        peak_log_e=peak,
        log_budget=first.log_budget,
        control_exposed=int(exposed[0]),
        control_converted=int(converted[0]),
        treated_exposed=int(exposed[1]),
        treated_converted=int(converted[1]),
        first_us=past.first_us,
        last_us=past.last_us,
        conversions=past.conversions,
        linked=past.linked,
        left_out=past.left_out,
        reason=blind or _reason(history, rule, first, exposed.tolist()),
        trace=history,
        blind=blind,
        refused="; ".join(filter(None, (refused_text(event, past.seen), refused_by_arm(event, past.by_arm), *notes))),
        bots=bots_text(event, past.by_arm),
        metric=first.name,
        metrics=tuple(metrics) if rule.metrics else (),
        early=past.early,
    )


def _peak(history: Trace) -> float:
    return float(history.log_e.max()) if len(history.times_us) else 0.0


def _reason(trace: Trace, rule: Rule, first: PastMetric, exposed: list[int]) -> str:
    peak = first.peak_log_e
    evidence = f"log e peaked at {peak:.1f} of {first.log_budget:.1f}"
    metric = rule.metric(first.name)
    if first.decided_us is not None and metric is not None and metric.name != CONVERSION:
        change = "rise" if metric.bad == UP else "drop"
        return (
            f"a {change} of {metric.threshold:.0%} or more of {metric.name} ({metric.subject}) was proven and held for "
            f"{rule.hold_minutes:g} minutes; {evidence}"
        )
    if first.decided_us is not None:
        return (
            f"a drop of {rule.threshold:.0%} or more was proven and held for {rule.hold_minutes:g} minutes; {evidence}"
        )
    if not all(exposed):
        arm = ARMS[exposed.index(0)]
        return f"no {arm} units: nothing to compare with"
    if not len(trace.times_us):
        return f"{exposed[1]} treated and {exposed[0]} control units: no block of both arms is complete"
    if trace.above.any():
        return f"a drop was proven but did not hold for {rule.hold_minutes:g} minutes; {evidence}"
    if peak >= first.log_budget:
        return f"harm was proven, but the estimate stayed below {rule.threshold:.0%}; {evidence}"
    return f"no drop was proven; {evidence}"


def ticks(trace: Trace) -> list[dict[str, float | int | bool | None]]:
    """The trace as rows: at_us, log_e, estimate, above, lasting; a row a moment."""
    rows = []
    for at in range(len(trace.times_us)):
        estimate = float(trace.estimate[at])
        rows.append(
            {
                "at_us": int(trace.times_us[at]),
                "log_e": float(trace.log_e[at]),
                "estimate": None if np.isnan(estimate) else estimate,
                "above": bool(trace.above[at]),
                "lasting": bool(trace.lasting[at]),
            }
        )
    return rows
