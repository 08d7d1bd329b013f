"""An episode, the one rollback of a guard in an epoch: begun once, recorded with its evidence, announced once an event.

Whoever is killed in the middle is followed by a run that resumes it; nothing here talks to the flag's provider.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gtm_dagster.rollout.control.armed_rule import rule_of
from gtm_dagster.rollout.control.evaluation import counts_of
from gtm_dagster.rollout.control.evidence import Evidence, digest, to_json
from gtm_dagster.rollout.control.guard_context import GuardContext, StepResult
from gtm_dagster.rollout.control.messages import enqueue, rollback_message
from gtm_dagster.rollout.guard.counts import Counts
from gtm_dagster.rollout.guard.decide import ROLLBACK_FAILED, ROLLED_BACK, ROLLING_BACK, SUPERSEDED
from gtm_dagster.rollout.guard.judge import judge
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.rollout.guard.verdict import Verdict
from gtm_dagster.rollout.providers import FlagState

if TYPE_CHECKING:
    from gtm_dagster.opsstore import GuardRow


@dataclass(frozen=True)
class EpisodeStart:
    """Who begins which episode on what evidence, and why."""

    episode: str
    epoch: int
    attempt: int
    decided_us: int
    run_id: str
    actor: str
    reason: str
    rule: Rule
    counts: Counts
    verdict: Verdict


def begin(context: GuardContext, row: GuardRow, start: EpisodeStart, before: FlagState | None) -> StepResult:
    """Move to ROLLING_BACK and write the intent with its evidence, before the provider is called."""
    text = _evidence(context, start, before)
    moved = context.move(
        row, ROLLING_BACK, start.reason, start.actor, episode=start.episode,
        decided_us=start.decided_us, run_id=start.run_id, bundle_sha256=digest(text),
    )  # fmt: skip
    if not moved:
        return StepResult(False, "withdrawn", "another run was first", start.episode)
    _insert(context, start, text, intent_us=context.now_us(), outcome="rolling_back")
    return StepResult(True, "claimed", start.reason, start.episode)


def supersede(context: GuardContext, row: GuardRow, start: EpisodeStart, before: FlagState | None, why: str) -> None:
    """Record that somebody's change of the flag stands and that nothing was begun."""
    text = _evidence(context, start, before)
    if context.move(row, SUPERSEDED, why, episode=start.episode, bundle_sha256=digest(text)):
        _insert(context, start, text, intent_us=None, outcome="superseded")
        announce(context, start.episode, "superseded", why)


def resume(context: GuardContext, row: GuardRow, episode: str, attempt: int, run_id: str) -> StepResult:
    """Go on with an episode that was begun; its intent is written if the one who began it was killed before."""
    key = context.guard.key
    if row.episode != episode:
        return StepResult(False, "withdrawn", f"{key} is {row.state} with episode {row.episode}", episode)
    if context.store.rollback(episode) is None:
        begun = next(m for m in reversed(context.store.history(key)) if m.to_state == ROLLING_BACK and m.detail)
        decided_us = int((begun.detail or {})["decided_us"])
        rule = rule_of(context.store, context.settings, context.guard, row.epoch)
        counts = counts_of(context.store, key, row.epoch, decided_us, rule)
        start = EpisodeStart(
            episode, row.epoch, attempt, decided_us, run_id, begun.actor, begun.reason, rule, counts,
            judge(counts, rule),
        )  # fmt: skip
        text = _evidence(context, start, context.last_seen())
        _insert(context, start, text, intent_us=begun.at_us, outcome="rolling_back")
    if row.state != ROLLED_BACK:
        context.store.update_rollback(episode, attempt=attempt)
    if row.state == ROLLBACK_FAILED and not context.move(row, ROLLING_BACK, f"attempt {attempt}"):
        return StepResult(False, "withdrawn", "another run was first", episode)
    return StepResult(True, "resumed", f"{row.state} is gone on with, attempt {attempt}", episode)


def announce(context: GuardContext, episode: str, event: str, detail: str = "") -> None:
    """Put a message into the outbox, once an event; a failure is announced again at every tenth attempt."""
    record = context.store.rollback(episode)
    if record is not None:
        occurrence = f"{event}:{record.attempt // 10}" if event == "rollback_failed" else event
        message = rollback_message(record, event, detail)
        enqueue(context.store, context.settings, episode, occurrence, message, context.now_us())


def _evidence(context: GuardContext, start: EpisodeStart, before: FlagState | None) -> str:
    return to_json(
        Evidence(
            context.guard, start.rule, start.counts, start.verdict, start.episode, start.epoch, start.decided_us,
            before, start.actor, start.reason, context.store.left_out(context.guard.key, start.epoch),
            segments=tuple(context.store.segments(context.guard.key, start.epoch)),
        )
    )  # fmt: skip


def _insert(context: GuardContext, start: EpisodeStart, text: str, *, intent_us: int | None, outcome: str) -> None:
    guard, verdict = context.guard, start.verdict
    context.store.insert_rollback(
        episode=start.episode, guard=guard.key, flag=guard.flag, environment=guard.environment,
        provider=guard.provider, epoch=start.epoch, attempt=start.attempt, decided_us=start.decided_us,
        intent_us=intent_us, estimate=verdict.estimate, low=verdict.low, high=verdict.high,
        log_e=verdict.log_e, log_budget=verdict.log_budget, dry_run=guard.dry_run, outcome=outcome,
        actor=start.actor, reason=start.reason, run_id=start.run_id, bundle=text, metric=verdict.metric or None,
    )  # fmt: skip
