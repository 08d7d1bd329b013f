"""Evaluating a guard: the one way its counts, rule and signals are read from the ops store. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gtm_dagster.gate.exposures import ARMS
from gtm_dagster.rollout.control.armed_rule import rule_of
from gtm_dagster.rollout.control.metric_sight import hidden_metrics, live_spans
from gtm_dagster.rollout.control.sight import notes_about, sight_of
from gtm_dagster.rollout.guard.cells import HORIZON_SLOTS
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts, Folded, plan_slots
from gtm_dagster.rollout.guard.decide import ARMED, Decision, Signals, decide
from gtm_dagster.rollout.guard.judge import judge, leading, page_verdict
from gtm_dagster.rollout.guard.metric_values import metric_outcomes
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.verdict import Verdict

if TYPE_CHECKING:
    from gtm_dagster.opsstore import GuardRow, OpsStore
    from gtm_dagster.settings import Guard, Settings


@dataclass(frozen=True)
class Evaluation:
    """A guard at a moment: what is stored, what was counted, and what follows. `page`: the verdict of the line that only
    notifies people, None for a guard without one.
    """

    row: GuardRow
    rule: Rule
    counts: Counts
    verdict: Verdict
    signals: Signals
    decision: Decision
    page: Verdict | None = None


def counts_of(store: OpsStore, key: str, epoch: int, watermark_us: int, rule: Rule | None = None) -> Counts:
    """Counts of an epoch as they stood at a watermark: later slots and conversions are left out. With the further metrics
    of `rule`.

    Cohorts that are older than the detector's horizon come folded, so this costs the same however old the epoch is.
    """
    now = watermark_us // SLOT_US
    plan = plan_slots(store.shares(key))
    rows, totals, outcomes = store.evaluated_metrics(key, epoch, now - HORIZON_SLOTS, now, plan)
    folded = [
        Folded(each.first_slot, each.last_slot, ARMS.index(each.arm), each.exposed, each.converted, each.age_slots)
        for each in totals
    ]
    table = np.fromiter(chain.from_iterable(rows), np.int64, 4 * len(rows)).reshape(-1, 4)
    known = table[:, 0] + np.maximum(table[:, 2], 0) < now
    counts = Counts.from_table(table[known], watermark_us, folded)
    return counts if rule is None else replace(counts, metrics=metric_outcomes(outcomes, rule, now))


def evaluate(
    store: OpsStore, settings: Settings, guard: Guard, row: GuardRow, now_us: int, until_us: int | None = None
) -> Evaluation:
    """Evaluate an armed guard now, or as of the watermark `until_us` (what a claim does)."""
    rule = rule_of(store, settings, guard, row.epoch)
    waiting = store.waiting(guard.flag, now_us, store.serving_keys(guard.key))
    if until_us is None:
        flag = store.flag_state(guard.key)
        counted_us = waiting.counted_us
        signals = Signals(
            watermark_us=waiting.watermark_us,
            missing=waiting.missing,
            flag_enabled=flag.enabled if flag else None,
            notes=notes_about(waiting),
        )
    else:
        counted_us = until_us
        signals = Signals(watermark_us=until_us, notes=notes_about(waiting))
    counts = counts_of(store, guard.key, row.epoch, counted_us or 0, rule)
    verdict = judge(counts, rule)
    sight = sight_of(store, guard, row, counts, rule.threshold, verdict.of_conversion.supported_since_us)
    page = page_verdict(counts, rule)
    hidden: dict[str, str] = {}
    notes = signals.notes + sight.notes
    if verdict.metrics:
        spans = live_spans(store, row, counts.watermark_us, verdict)
        hidden, further = hidden_metrics(rule, counts, spans, sight.blind)
        verdict = leading(verdict.metrics, without=hidden)
        page = page and leading(page.metrics, without=hidden)
        notes += further
    signals = replace(signals, blind=sight.blind, notes=notes, blind_metrics=tuple(hidden))
    return Evaluation(row, rule, counts, verdict, signals, decide(ARMED, verdict, signals, rule), page)


def store_exists(settings: Settings) -> bool:
    """Whether there is an ops store already: asking must not create one."""
    address = settings.ops_address
    return not address.startswith("sqlite:///") or Path(address.removeprefix("sqlite:///")).exists()
