"""A guard as it stands, gathered from the ops store for `gtm guard status`. Writes nothing."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gtm_dagster.commands.output import utc_time

if TYPE_CHECKING:
    from gtm_dagster.commands.guard_metrics import Segment
    from gtm_dagster.opsstore import OpsStore, RequestRow
    from gtm_dagster.opsstore.stream_positions import Waiting
    from gtm_dagster.rollout.control.armed_rule import Difference
    from gtm_dagster.rollout.control.evaluation import Evaluation
    from gtm_dagster.rollout.control.ramp_standing import RampStanding
    from gtm_dagster.rollout.guard.blindness import Seen
    from gtm_dagster.rollout.guard.by_arm import ByArm
    from gtm_dagster.rollout.guard.rule import Rule
    from gtm_dagster.rollout.guard.verdict import Verdict
    from gtm_dagster.settings import Guard, Settings

_TROUBLE = ("ROLLBACK_FAILED", "BLIND")


@dataclass(frozen=True)
class Standing:
    """One guard as it stands. Times microseconds UTC; drops a share of 1."""

    guard: Guard
    state: str
    reason: str
    epoch: int
    epoch_since_us: int | None
    verdict: Verdict | None
    watermark_us: int | None
    lag_seconds: float | None
    missing: tuple[str, ...]
    flag_enabled: bool | None
    history_ok: bool
    last_rollback: dict[str, Any] | None
    left_out: int = 0
    differences: tuple[Difference, ...] = ()
    problem: str | None = None
    seen: Seen | None = None
    waiting: Waiting | None = None
    early: dict[str, int] = field(default_factory=dict)
    request: RequestRow | None = None
    by_arm: ByArm | None = None
    rule: Rule | None = None
    segments: list[Segment] = field(default_factory=list)
    page: Verdict | None = None
    paged_us: int | None = None
    ramp: RampStanding | None = None

    @property
    def ok(self) -> bool:
        """Whether no person has to look after it."""
        carried_out = self.request is None or self.request.refused is None
        return self.state not in _TROUBLE and self.history_ok and self.problem is None and carried_out


def standings_of(settings: Settings) -> list[Standing]:
    """Each declared guard as it stands now; the canary too once it was armed."""
    return [_with_problem(settings, standing) for standing in _standings(settings)]


def _standings(settings: Settings) -> list[Standing]:
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.evaluation import store_exists
    from gtm_dagster.settings import DRILL_GUARD

    if not store_exists(settings):
        return [_never(guard) for guard in settings.guards]
    now_us = time.time_ns() // 1000
    with OpsStore.of(settings) as store:
        drilled = store.guard(DRILL_GUARD.key) is not None
        guards = [g for g in settings.watched if g in settings.guards or drilled]
        return [_standing(store, settings, guard, now_us) for guard in guards]


def _with_problem(settings: Settings, standing: Standing) -> Standing:
    """With what a person has to look at, when nobody watches a flag that is on."""
    from gtm_dagster.rollout.control.unguarded import unguarded

    return replace(standing, problem=unguarded(settings, standing.guard, standing.state, os.environ))


def _never(guard: Guard) -> Standing:
    from gtm_dagster.rollout.guard.decide import DISARMED

    reason = f"never armed: `gtm guard rearm {guard.flag} --reason ...`"
    return Standing(guard, DISARMED, reason, 0, None, None, None, None, (), None, True, None)


def _standing(store: OpsStore, settings: Settings, guard: Guard, now_us: int) -> Standing:
    from gtm_dagster.rollout.control.armed_rule import differences
    from gtm_dagster.rollout.control.evaluation import evaluate
    from gtm_dagster.rollout.control.harm_pages import harm_paged_us
    from gtm_dagster.rollout.guard.blindness import Seen
    from gtm_dagster.rollout.guard.by_arm import ByArm
    from gtm_dagster.rollout.guard.decide import ARMED, decide

    row = store.guard(guard.key)
    if row is None:
        return _never(guard)
    evaluation = evaluate(store, settings, guard, row, now_us)
    decision = decide(row.state, evaluation.verdict, evaluation.signals, evaluation.rule)
    watermark = evaluation.signals.watermark_us
    flag = store.flag_state(guard.key)
    records = store.records(guard.key, row.epoch_since_us or 0)
    return Standing(
        guard=guard,
        state=decision.state,
        reason=decision.reason or row.reason,
        epoch=row.epoch,
        epoch_since_us=row.epoch_since_us,
        verdict=evaluation.verdict if row.epoch else None,
        watermark_us=watermark,
        lag_seconds=None if watermark is None else (now_us - watermark) / 1e6,
        missing=evaluation.signals.missing,
        flag_enabled=flag.enabled if flag else None,
        history_ok=store.check_chain(guard.key),
        last_rollback=_last_rollback(store, guard),
        left_out=store.left_out(guard.key, row.epoch),
        differences=tuple(differences(store, settings, guard, row.epoch)) if row.state == ARMED else (),
        seen=Seen.of(records),
        by_arm=ByArm.of(records),
        waiting=store.waiting(guard.flag, now_us, store.serving_keys(guard.key)),
        rule=evaluation.rule,
        segments=store.segments(guard.key, row.epoch),
        page=evaluation.page,
        paged_us=harm_paged_us(store, guard.key, row.epoch),
        early=store.early_conversions(guard.key, row.epoch, round(guard.conversion_window_minutes * 60_000_000)),
        request=store.rollback_request(guard.key, row.epoch),
        ramp=_ramp(store, settings, guard, evaluation, now_us),
    )


def _ramp(store: OpsStore, settings: Settings, guard: Guard, seen: Evaluation, now_us: int) -> RampStanding | None:
    """Its ramp, with the flag as the stream worker last saw it at its provider; None without one, and before it was armed."""
    from gtm_dagster.rollout.control.ramp_standing import ramp_standing
    from gtm_dagster.rollout.providers import FlagState

    if guard.ramp is None or not seen.row.epoch:
        return None
    row = store.flag_state(guard.key)
    flag = None if row is None else FlagState(row.enabled, row.share, row.fingerprint, "as last seen")
    return ramp_standing(store, settings, guard, flag, now_us, seen)


def _last_rollback(store: OpsStore, guard: Guard) -> dict[str, Any] | None:
    """The newest episode of a guard, and whether its messages were delivered."""
    row = store.last_rollback(guard.key)
    if row is None:
        return None
    notifications = [
        {"sink": n.sink, "status": "delivered" if n.status == "delivered" else "not delivered", "attempts": n.attempts,
         "last_error": n.last_error, "delivered_at": utc_time(n.delivered_us)}
        for n in store.notifications(row.episode)
    ]  # fmt: skip
    return {
        "episode": row.episode, "outcome": row.outcome, "dry_run": row.dry_run, "verified": row.verified,
        "decided_at": utc_time(row.decided_us), "effective_at": utc_time(row.effective_us), "estimate": row.estimate,
        "actor": row.actor, "reason": row.reason, "notifications": notifications,
    }  # fmt: skip
