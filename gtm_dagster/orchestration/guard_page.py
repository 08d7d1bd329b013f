"""`ops/guards`: the guards as the web UI shows them before anything fires. Materialised by the sensor, without a run.

Dagster's event log grows by each materialisation, so they are few: one at a change of state, one an hour while a guard is
armed, and never two within five minutes. The pruning of the history ends old ones.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from gtm_dagster.rollout.control.chart import curves, inline
from gtm_dagster.rollout.control.evaluation import Evaluation
from gtm_dagster.rollout.control.guard_outlook import standing_text
from gtm_dagster.rollout.control.messages import moment
from gtm_dagster.rollout.guard.decide import ARMED, BLIND, BREACH, SRM_HOLD, SUSPECT, WARMUP, Decision
from gtm_dagster.settings import Guard

GUARDS = dg.AssetKey(["ops", "guards"])
HOUR_US, LEAST_US = 3_600_000_000, 300_000_000
_WATCHING = frozenset({ARMED, WARMUP, SUSPECT, BREACH, BLIND, SRM_HOLD})
_NAME = "ops/guards"

Shown = dict[str, tuple[str, int, bool]]
"""As the sensor's cursor: under `ops/guards`, the states that were shown last, and when."""


@dataclass(frozen=True)
class GuardNow:
    """A guard at one look; `evaluation` of an armed one."""

    guard: Guard
    decision: Decision
    evaluation: Evaluation | None


def due(shown: Shown, guards: Sequence[GuardNow], now_us: int) -> tuple[Shown, bool]:
    """The cursor after this look, and whether the page is to be written anew."""
    if not guards:
        return {name: each for name, each in shown.items() if name != _NAME}, False
    states = ", ".join(f"{each.guard.key} {each.decision.state}" for each in guards)
    before, at_us, _ = shown.get(_NAME, ("", now_us - HOUR_US, True))
    passed = now_us - at_us
    armed = any(each.decision.state in _WATCHING for each in guards)
    if passed < (LEAST_US if states != before else HOUR_US) or (states == before and not armed):
        return shown, False
    return {**shown, _NAME: (states, now_us, True)}, True


def written(
    shown: Shown, guards: Sequence[GuardNow], now_us: int, log: logging.Logger
) -> tuple[Shown, list[dg.AssetMaterialization]]:
    """The cursor after this look, and the page when it is due. One that cannot be drawn is logged: it stops no guard."""
    after, is_due = due(shown, guards, now_us)
    try:
        return after, [guards_materialization(guards, now_us)] if is_due else []
    except Exception:
        log.exception("the page ops/guards could not be drawn")
        return after, []


def guards_materialization(guards: Sequence[GuardNow], now_us: int) -> dg.AssetMaterialization:
    """The page: each guard in a few sentences, under it the picture of its evidence."""
    flags = Counter(each.guard.flag for each in guards)
    metadata: dict[str, Any] = {}
    for each in guards:
        name = each.guard.flag if flags[each.guard.flag] == 1 else each.guard.key
        metadata |= dict(_entries(name, each))
    metadata["states"] = ", ".join(f"{each.guard.flag} {each.decision.state}" for each in guards)
    metadata["looked_at"] = moment(now_us // 1_000_000 * 1_000_000) or ""
    return dg.AssetMaterialization(GUARDS, metadata=metadata)


def linked() -> Mapping[str, dg.MetadataValue[Any]]:
    """What leads to the page from a run that acted on a flag."""
    return {"guards": dg.MetadataValue.asset(GUARDS)}


def _entries(name: str, each: GuardNow) -> Iterator[tuple[str, dg.MetadataValue[Any]]]:
    yield name, dg.MetadataValue.md(standing_text(each.guard, each.decision, each.evaluation))
    seen = each.evaluation
    if seen is None or not seen.counts.exposed.any():
        return
    drawn = curves(seen.counts, seen.rule, seen.verdict.log_budget, metric=seen.verdict.metric)
    what = seen.verdict.metric or "conversion"
    yield f"{name} evidence", dg.MetadataValue.md(inline(f"{name}: {what} and evidence", drawn))
