"""The guards as Prometheus sees them: state, evidence against its bar, units and conversions by arm, rollbacks.

Evidence costs a look at the counts, so a thread of its own takes it, and a scrape gets what it took last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gtm_dagster.opsstore import OpsStore, OpsStoreError
from gtm_dagster.opsstore.rows import RollbackRow
from gtm_dagster.rollout.control.evaluation import evaluate
from gtm_dagster.rollout.guard.decide import (
    ARMED,
    BLIND,
    BREACH,
    DISARMED,
    GIVEN_UP,
    ROLLBACK_FAILED,
    ROLLED_BACK,
    ROLLING_BACK,
    SRM_HOLD,
    SUPERSEDED,
    SUSPECT,
    VERIFYING,
    WARMUP,
)
from gtm_dagster.settings import Guard, Settings
from gtm_dagster.stream.watchdog import SENSOR

STATES = (
    DISARMED, WARMUP, ARMED, SUSPECT, BREACH, BLIND, SRM_HOLD, ROLLING_BACK, VERIFYING, ROLLED_BACK, ROLLBACK_FAILED,
    SUPERSEDED, GIVEN_UP,
)  # fmt: skip
OUTCOMES = ("rolling_back", "rolled_back", "would_roll_back", "rollback_failed", "superseded", "given_up")
_GUARD = ("flag", "conversion", "environment")
_STAGES = (
    ("intent", "decided_us", "intent_us"), ("acknowledged", "intent_us", "acked_us"), ("effective", "acked_us", "effective_us"),
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """A guard at a moment. `evidence` and `bar` are natural logarithms of e-values, None while it is not armed."""

    state: str
    evidence: float | None = None
    bar: float | None = None
    watermark_us: int | None = None
    control: tuple[int, int] | None = None
    treated: tuple[int, int] | None = None


class GuardMetrics(Collector):
    """`look` takes the guards as they stand, `collect` gives what it took."""

    def __init__(self, store: OpsStore, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._looks: dict[Guard, Look] = {}

    def look(self, now_us: int) -> None:
        """Evaluate the declared guards. Raises OpsStoreError."""
        self._looks = {guard: self._look(guard, now_us) for guard in self._settings.guards}

    def _look(self, guard: Guard, now_us: int) -> Look:
        row = self._store.guard(guard.key)
        if row is None or row.state != ARMED:
            return Look(DISARMED if row is None else row.state)
        found = evaluate(self._store, self._settings, guard, row, now_us)
        verdict = found.verdict
        return Look(
            found.decision.state,
            verdict.log_e,
            verdict.log_budget,
            found.signals.watermark_us,
            (verdict.control_exposed, verdict.control_converted),
            (verdict.treated_exposed, verdict.treated_converted),
        )

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The families as they stood at the last look; rollbacks as they stand now."""
        yield from self._guards(dict(self._looks))
        try:
            rollbacks = self._store.rollbacks(evidence=False)
            looked_us = self._store.last_beat(SENSOR)
        except OpsStoreError:
            return
        if looked_us is not None:
            yield GaugeMetricFamily(
                "gtm_guard_last_decision_timestamp_seconds",
                "When the sensor last looked at the guards.",
                value=looked_us / 1e6,
            )
        yield from _ledger(rollbacks)

    def _guards(self, looks: dict[Guard, Look]) -> Iterator[GaugeMetricFamily]:
        state = GaugeMetricFamily("gtm_guard_state", "1 for the state a guard is in.", labels=(*_GUARD, "state"))
        evidence = GaugeMetricFamily("gtm_guard_log_evidence", "ln of the evidence that the flow loses.", labels=_GUARD)
        bar = GaugeMetricFamily("gtm_guard_log_evidence_bar", "ln of what rolls back.", labels=_GUARD)
        clock = GaugeMetricFamily(
            "gtm_guard_watermark_timestamp_seconds", "Event time up to which everything is counted.", labels=_GUARD
        )
        units = GaugeMetricFamily("gtm_guard_units", "Units of the epoch.", labels=(*_GUARD, "arm"))
        converted = GaugeMetricFamily("gtm_guard_conversions", "Of them, converted.", labels=(*_GUARD, "arm"))
        for guard, look in looks.items():
            names = (guard.flag, guard.conversion, guard.environment)
            for each in STATES:
                state.add_metric((*names, each), float(look.state == each))
            for family, value in ((evidence, look.evidence), (bar, look.bar)):
                if value is not None:
                    family.add_metric(names, value)
            if look.watermark_us is not None:
                clock.add_metric(names, look.watermark_us / 1e6)
            for arm, counted in (("control", look.control), ("treatment", look.treated)):
                if counted is not None:
                    units.add_metric((*names, arm), counted[0])
                    converted.add_metric((*names, arm), counted[1])
        yield from (state, evidence, bar, clock, units, converted)


def _ledger(rollbacks: list[RollbackRow]) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
    total = CounterMetricFamily("gtm_rollbacks", "Rollbacks by their outcome so far.", labels=("outcome",))
    outcomes = Counter(row.outcome for row in rollbacks)
    for outcome in OUTCOMES:
        total.add_metric((outcome,), outcomes[outcome])
    yield total
    done = [row for row in rollbacks if row.intent_us is not None]
    if not done:
        return
    newest = max(done, key=lambda row: row.intent_us or 0)
    yield GaugeMetricFamily(
        "gtm_last_rollback_timestamp_seconds", "When the newest rollback began.", value=(newest.intent_us or 0) / 1e6
    )
    stages = GaugeMetricFamily("gtm_rollback_seconds", "Seconds of the newest rollback's stages.", labels=("stage",))
    for stage, begin, end in _STAGES:
        began, ended = getattr(newest, begin), getattr(newest, end)
        if began is not None and ended is not None:
            stages.add_metric((stage,), max(ended - began, 0) / 1e6)
    yield stages
