"""A guard as its page shows it: live from the ops store, evaluated as the sensor does it. It only reads."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from gtm_dagster.attribution.share_intervals import share_interval
from gtm_dagster.dashboard.charts.evidence_chart import Curve, evidence
from gtm_dagster.dashboard.charts.svg_parts import WIDE
from gtm_dagster.opsstore import GuardRow, HistoryRow, OpsStore, RampStepRow, RollbackRow
from gtm_dagster.rollout.control.chart import curves
from gtm_dagster.rollout.control.evaluation import Evaluation, evaluate
from gtm_dagster.rollout.control.harm_pages import harm_paged_us
from gtm_dagster.rollout.guard.bounds import minutes_to_proof
from gtm_dagster.rollout.guard.decide import ARMED
from gtm_dagster.rollout.guard.guarded_traffic import Traffic, observed_traffic
from gtm_dagster.rollout.guard.planner import duration
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.verdict import Verdict
from gtm_dagster.settings import Guard, Settings

DROPS = (0.2, 0.3, 0.5, 1.0)
"""Losses of which the page says when they would be proven, besides the threshold."""
MOST_MOVES = 30
KEPT_FROM_SECONDS, KEPT_TIMES = 0.02, 10
"""An evaluation that took longer is shown for as long as ten of it take: pages that many people reload cost a tenth of a core."""


@dataclass(frozen=True)
class Arm:
    """One arm: units, those that converted, their share of 1 and its 95 % interval (Wilson, 1927); None without units."""

    name: str
    exposed: int
    converted: int
    rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class GuardView:
    """`state` and `reason` as decided now; `row` None: never armed, then nothing else is known. Times microseconds UTC."""

    guard: Guard
    row: GuardRow | None
    state: str
    reason: str
    evaluation: Evaluation | None
    paged_us: int | None
    moves: Sequence[HistoryRow]
    rollbacks: Sequence[RollbackRow]
    ramp_steps: Sequence[RampStepRow]
    segments: Sequence[tuple[str, str, str, int, int]]

    @property
    def verdict(self) -> Verdict | None:
        """The verdict on the guard's own conversion."""
        return self.evaluation.verdict.of_conversion if self.evaluation else None

    @property
    def arms(self) -> list[Arm]:
        """Control and treated of the epoch; none before it was armed."""
        verdict = self.verdict
        if verdict is None:
            return []
        return [
            arm("control", verdict.control_exposed, verdict.control_converted),
            arm("treated", verdict.treated_exposed, verdict.treated_converted),
        ]

    @property
    def loss_range(self) -> str:
        """Whom the estimate of a loss counts, beside the whole epoch that the arms are of; empty without an estimate."""
        verdict = self.verdict
        if verdict is None or verdict.estimate is None or verdict.estimate_since_us is None:
            return ""
        since = f"{datetime.fromtimestamp(verdict.estimate_since_us / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
        return (
            f"The loss is that of visitors exposed since {since} whose outcome is known: control "
            f"{verdict.range_control_converted:,} of {verdict.range_control:,}, treated "
            f"{verdict.range_treated_converted:,} of {verdict.range_treated:,}. The rates of the arms are those of all visitors "
            "since the guard was armed."
        )

    @property
    def watermark(self) -> datetime | None:
        """Up to when everything is counted, UTC."""
        us = self.evaluation.signals.watermark_us if self.evaluation else None
        return datetime.fromtimestamp(us / 1e6, UTC) if us else None

    def picture(self, across: int = WIDE) -> str:
        """Conversion of both arms and the evidence; empty before a unit of each arm was counted."""
        if self.evaluation is None or self.evaluation.counts.exposed.sum() == 0:
            return ""
        verdict = self.evaluation.verdict
        drawn = curves(self.evaluation.counts, self.evaluation.rule, verdict.log_budget, 80, verdict.metric)
        rates = [
            Curve("control", drawn.rate_us.tolist(), _known(drawn.control.tolist()), "before"),
            Curve("treated", drawn.rate_us.tolist(), _known(drawn.treatment.tolist()), "now"),
        ]
        log_e = Curve("evidence", drawn.evidence_us.tolist(), _known(drawn.log_e.tolist()), "s2")
        return evidence(
            f"{self.guard.flag}: conversion of both arms, and the evidence of a loss",
            rates,
            log_e,
            drawn.log_budget,
            across,
        )

    def times_to_proof(self) -> list[tuple[float, str]]:
        """How long each loss would run at the traffic counted, at the median: (drop, words); none before there is any."""
        if self.evaluation is None:
            return []
        traffic = observed_traffic(self.evaluation.counts, self.guard.conversion_window_minutes)
        if traffic is None or not 0 < traffic.treated_share < 1:
            return []
        rule = self.evaluation.rule
        drops = sorted({rule.threshold, *(drop for drop in DROPS if drop > rule.threshold)})
        return [(drop, duration(_minutes(_rounded(traffic), rule, drop))) for drop in drops]


def guard_views(store: OpsStore, settings: Settings, guards: Sequence[Guard]) -> list[GuardView]:
    """Every guard, with what an overview needs; armed ones are evaluated."""
    return [_view(store, settings, guard, whole=False) for guard in guards]


def guard_view(store: OpsStore, settings: Settings, guard: Guard) -> GuardView:
    """One guard with its history, rollbacks, ramp and segments."""
    return _view(store, settings, guard, whole=True)


def _view(store: OpsStore, settings: Settings, guard: Guard, *, whole: bool) -> GuardView:
    row = store.guard(guard.key)
    if row is None or not row.epoch:
        return GuardView(
            guard,
            None,
            "NEVER ARMED",
            f"arm it: `gtm guard rearm {guard.flag} --reason ...`",
            None,
            None,
            (),
            (),
            (),
            (),
        )
    seen = _evaluated(store, settings, guard, row)
    is_armed = row.state == ARMED
    return GuardView(
        guard, row, seen.decision.state if is_armed else row.state, (seen.decision.reason if is_armed else "") or row.reason, seen,
        harm_paged_us(store, guard.key, row.epoch) if guard.page else None,
        store.history(guard.key)[-MOST_MOVES:][::-1] if whole else (),
        [each for each in store.rollbacks(evidence=False) if each.guard == guard.key] if whole else (),
        store.ramp_steps(guard.key, row.epoch) if guard.ramp else (),
        store.segments(guard.key, row.epoch) if whole else (),
    )  # fmt: skip


@dataclass(frozen=True)
class _Kept:
    """An evaluation of a guard as it was declared and stood, good until then."""

    of: tuple[Guard, GuardRow]
    evaluation: Evaluation
    until: float


_evaluations: dict[tuple[str, str], _Kept] = {}
"""By ops store and guard."""


def _evaluated(store: OpsStore, settings: Settings, guard: Guard, row: GuardRow) -> Evaluation:
    place, began = (settings.ops_address, guard.key), time.monotonic()
    kept = _evaluations.get(place)
    if kept is not None and kept.of == (guard, row) and began < kept.until:
        return kept.evaluation
    found = evaluate(store, settings, guard, row, time.time_ns() // 1000)
    took = time.monotonic() - began
    if took > KEPT_FROM_SECONDS:
        _evaluations[place] = _Kept((guard, row), found, began + (1 + KEPT_TIMES) * took)
    return found


def arm(name: str, exposed: int, converted: int) -> Arm:
    """An arm with its rate and the interval of it."""
    if not exposed:
        return Arm(name, 0, converted, None, None, None)
    rate = converted / exposed
    if converted > exposed:  # a capped value is no share
        return Arm(name, exposed, converted, rate, None, None)
    return Arm(name, exposed, converted, rate, *share_interval(exposed, converted))


def _known(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _rounded(traffic: Traffic) -> Traffic:
    """Two digits: what is kept for one page serves the next."""

    def two(value: float) -> float:
        return float(f"{value:.2g}")

    return Traffic(
        two(traffic.visitors_per_minute), two(traffic.treated_share), two(traffic.base_rate), two(traffic.delay_minutes)
    )


@lru_cache(maxsize=512)
def _minutes(traffic: Traffic, rule: Rule, drop: float) -> float | None:
    minutes = minutes_to_proof(
        traffic.base_rate, traffic.visitors_per_minute, traffic.treated_share, min(drop, 0.999), rule,
        delay_minutes=traffic.delay_minutes,
    )  # fmt: skip
    return None if minutes is None else max(minutes, rule.hold_minutes)
