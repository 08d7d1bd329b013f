"""Whether a guard sees its further metrics: refused events look like a fall, and events of nobody exposed like none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gtm_dagster.rollout.guard.blindness import (
    MANY_CONVERSIONS,
    MATURE_UNITS,
    Seen,
    lost_conversions,
    metric_records,
    refused_text,
)
from gtm_dagster.rollout.guard.counts import Counts
from gtm_dagster.rollout.guard.metric_rule import DOWN
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.settings import CONVERSION

if TYPE_CHECKING:
    from gtm_dagster.opsstore import GuardRow, OpsStore
    from gtm_dagster.rollout.guard.verdict import Verdict

_HOUR_US = 3_600_000_000
Records = Mapping[str, int]


def live_spans(store: OpsStore, row: GuardRow, watermark_us: int, verdict: Verdict) -> dict[str, Records]:
    """Records of a guard by the time they are of: since it was armed, within the last hour, and since a metric's evidence begins."""
    since_us = row.epoch_since_us or 0
    begins = {"": since_us, "of the last hour": max(since_us, watermark_us - _HOUR_US)}
    for each in verdict.metrics:
        if each.supported_since_us is not None:
            begins[f"since the evidence of {each.metric} begins"] = max(since_us, each.supported_since_us)
    return {name: store.records(row.guard, begin_us) for name, begin_us in begins.items()}


def hidden_metrics(
    rule: Rule, counts: Counts, spans: Mapping[str, Records], conversion_blind: str
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Metrics nothing can be concluded from, each with its reason, and what to know of the others.

    `spans`: records by the time they are of, those of all the time under "". What hides the conversion (`conversion_blind`)
    hides every metric of its event.
    """
    hidden: dict[str, str] = {}
    notes: list[str] = []
    conversion = rule.metric(CONVERSION)
    for metric in rule.metrics:
        if conversion_blind and conversion is not None and metric.event == conversion.event:
            hidden[metric.name] = conversion_blind
            continue
        if metric.name == CONVERSION:
            continue
        what = metric_records(metric.name)
        mine = {
            name: Seen.of(records, what)
            for name, records in spans.items()
            if name and (not name.startswith("since") or name == f"since the evidence of {metric.name} begins")
        }
        # A refused event hides a rise and makes a fall.
        lost = lost_conversions(metric.event, mine) if metric.bad == DOWN else ""
        seen = Seen.of(spans.get("", {}), what)
        if lost:
            hidden[metric.name] = f"{metric.name}: {lost}"
            notes.append(hidden[metric.name])
        elif (refused := refused_text(metric.event, seen)) and (conversion is None or metric.event != conversion.event):
            notes.append(f"{metric.name}: {refused}")
        if (
            seen.conversions >= MANY_CONVERSIONS
            and min(counts.exposed_by_arm()) >= MATURE_UNITS
            and _none(counts, metric.name)
        ):
            notes.append(f"{metric.name}: {seen.conversions:,} {metric.event} seen, none of an exposed visitor in time")
    return hidden, tuple(notes)


def _none(counts: Counts, name: str) -> bool:
    outcomes = counts.metrics.get(name)
    return outcomes is None or not len(outcomes.slot)
