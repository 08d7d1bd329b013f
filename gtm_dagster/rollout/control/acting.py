"""Turning a flag off: claim, turn off, verify. Each step may be killed at any moment, repeated, or run twice at once.

The state in the ops store moves by compare-and-swap, the episode's id names the one record, a kernel lock a guard keeps
two processes of a machine apart, and the provider is asked what it serves before it is called. Whatever cannot be proven
off is on the kill list, and people are notified.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gtm_dagster.gate import kill_list
from gtm_dagster.opsstore.ramp_steps import RAMP_APPROVED, RAMP_TAKEN
from gtm_dagster.rollout.control.arming import claim_requested
from gtm_dagster.rollout.control.episodes import EpisodeStart, announce, begin, resume, supersede
from gtm_dagster.rollout.control.evaluation import evaluate
from gtm_dagster.rollout.control.evidence import digest, from_json
from gtm_dagster.rollout.control.external_rollback import pending
from gtm_dagster.rollout.control.guard_context import GUARD_ACTOR, ActionFailed, GuardContext, StepResult
from gtm_dagster.rollout.control.harm_pages import PAGED
from gtm_dagster.rollout.control.messages import loss_text
from gtm_dagster.rollout.control.ramp_standing import written_by_ramp
from gtm_dagster.rollout.guard.counts import SLOT_US
from gtm_dagster.rollout.guard.decide import (
    ARMED,
    DISARMED,
    GIVEN_UP,
    ROLLBACK_FAILED,
    ROLLED_BACK,
    ROLLING_BACK,
    SUPERSEDED,
    VERIFYING,
    episode_id,
)
from gtm_dagster.rollout.guard.verdict import Verdict
from gtm_dagster.rollout.providers import Conflict, FlagState, ProviderError

if TYPE_CHECKING:
    from gtm_dagster.opsstore import GuardRow, RollbackRow

RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
GIVE_UP_SECONDS = 30.0
VERIFY_SECONDS = 10.0
LOOK_SECONDS = 0.25
NO_ARMING = frozenset({"forgot", PAGED, RAMP_APPROVED, RAMP_TAKEN})
"""Moves to ARMED with such a detail are of a guard that was armed before."""
SAMPLED_UNITS = 50
SAMPLED_US = 1_800_000_000
"""Sampled units were first exposed to the treated arm within 30 minutes before the decision."""


def claim(context: GuardContext, episode: str, attempt: int, decided_us: int, run_id: str = "") -> StepResult:
    """Take the episode: the counts are read again, the provider is asked, and the state moves to ROLLING_BACK.

    Proceeds when it was moved, or when the episode was begun before and is not finished. Does not when the verdict no
    longer holds (withdrawn) or somebody has changed the flag (superseded). What another system asked for needs no verdict.
    """
    key = context.guard.key
    with context.locked():
        row = context.row
        if row.state in (ROLLING_BACK, VERIFYING, ROLLBACK_FAILED, ROLLED_BACK):
            return resume(context, row, episode, attempt, run_id)
        if row.state in (SUPERSEDED, GIVEN_UP):
            return StepResult(False, row.state.lower(), row.reason, episode)
        request = pending(context.store, row)
        if request is not None and request.episode == episode:
            return claim_requested(context, row, request, attempt, run_id)
        if row.state == DISARMED or episode_id(key, row.epoch) != episode:
            return StepResult(False, "withdrawn", f"{key} is {row.state} in epoch {row.epoch}", episode)
        evaluation = evaluate(context.store, context.settings, context.guard, row, context.now_us(), decided_us)
        reason = evaluation.decision.reason
        if not evaluation.decision.act:
            return StepResult(False, "withdrawn", f"counted again, it does not hold: {reason}", episode)
        start = EpisodeStart(
            episode, row.epoch, attempt, decided_us, run_id, GUARD_ACTOR, reason, evaluation.rule, evaluation.counts,
            evaluation.verdict,
        )  # fmt: skip
        before, changed = _before(context, row, evaluation.verdict)
        if not changed:
            return begin(context, row, start, before)
        supersede(context, row, start, before, changed)
        return StepResult(False, "superseded", changed, episode)


def _before(context: GuardContext, row: GuardRow, verdict: Verdict) -> tuple[FlagState | None, str]:
    """The flag before the action (as last seen, when its provider does not answer), and what somebody has changed."""
    store, key = context.store, context.guard.key
    seen = store.flag_state(key)
    try:
        state = context.read_back()
    except ProviderError:
        return context.last_seen(), ""  # turning it off asks again, and for longer
    if not state.enabled:
        return state, f"the flag is off already ({state.detail}); somebody was faster"
    if written_by_ramp(context.store.ramp_steps(key, row.epoch), state):
        return state, ""
    if seen is not None and state.fingerprint != seen.fingerprint:
        return state, f"the flag was changed within the last seconds ({state.detail}); that change stands"
    if seen is not None and verdict.above_since_us is not None:
        armings = (
            move for move in store.history(key) if move.to_state == ARMED and NO_ARMING.isdisjoint(move.detail or {})
        )
        armed_us = max((move.at_us for move in armings), default=0)
        if seen.changed_us > max(verdict.above_since_us, armed_us):
            return state, f"the flag was changed during the breach ({state.detail}); that change stands"
    return state, ""


def turn_off(context: GuardContext, episode: str) -> StepResult:
    """Turn the flag off, once: no second event for what is off already, and what somebody changed is left as it is.

    Retries for 30 s. Raises ActionFailed when the provider did not take it.
    """
    with context.locked():
        row, record = _under_way(context, episode)
        if row.state in (VERIFYING, ROLLED_BACK):
            return StepResult(True, "off", "was turned off before", episode)
        if row.state != ROLLING_BACK:
            return StepResult(False, row.state.lower(), row.reason, episode)
        changed = "" if record.dry_run else _off(context, row, record)
        if changed:
            if context.move(row, SUPERSEDED, changed):
                context.store.update_rollback(episode, outcome="superseded")
                announce(context, episode, "superseded", changed)
            return StepResult(False, "superseded", changed, episode)
        if not record.dry_run and record.acked_us is None:
            context.store.update_rollback(episode, acked_us=context.now_us())
        reason = "dry run: nothing was written" if record.dry_run else f"{context.guard.provider} says off"
        # The digest again: a run that was killed before its intent left one of a document that was never stored.
        if not context.move(row, VERIFYING, reason, bundle_sha256=digest(record.bundle or "")):
            return StepResult(False, "withdrawn", "another run was first", episode)
        return StepResult(True, "off", reason, episode)


def _under_way(context: GuardContext, episode: str) -> tuple[GuardRow, RollbackRow]:
    row, record = context.row, context.store.rollback(episode)
    if row.episode != episode or record is None:
        raise ActionFailed(f"{context.guard.key} holds episode {row.episode}, not {episode}")
    return row, record


def _off(context: GuardContext, row: GuardRow, record: RollbackRow) -> str:
    """Turn it off; returns what somebody changed meanwhile (nothing was written then). Raises ActionFailed."""
    before = from_json(record.bundle or "").before
    comment = f"gtm {record.actor} {record.episode}: {loss_text(record) or record.reason}"
    began = context.now_us()
    waits = iter(RETRY_SECONDS)
    while True:
        try:
            seen = context.read_back()
            if seen.enabled and before is not None and seen.fingerprint != before.fingerprint:
                return f"the flag was changed after the decision ({seen.detail}); that change stands"
            # Asked even when it says off: a writer does nothing then, unless clients would not have heard of it.
            context.writer.turn_off(context.guard.flag, context.guard.environment, comment=comment, expected=seen)
            return ""
        except ProviderError as error:
            wait = next(waits, None) if error.retry or isinstance(error, Conflict) else None
            if wait is None or (context.now_us() - began) / 1e6 + wait > GIVE_UP_SECONDS:
                raise _failed(context, row, record, str(error)) from error
        context.sleep(wait)


def _failed(context: GuardContext, row: GuardRow, record: RollbackRow, problem: str) -> ActionFailed:
    """Serve the old flow by the kill list, latch ROLLBACK_FAILED, notify people."""
    fallback = "the kill list holds the old flow"
    try:
        at = datetime.fromtimestamp(context.now_us() / 1e6, UTC)
        kill_list.add(context.settings.kill_list_path, record.flag, f"rollback {record.episode}: {problem}", at)
    except (OSError, kill_list.KillListError) as error:
        fallback = f"the kill list could not be written either ({error})"
    if context.move(row, ROLLBACK_FAILED, problem):
        context.store.update_rollback(record.episode, outcome="rollback_failed")
    announce(context, record.episode, "rollback_failed", f"{problem}; {fallback}")
    return ActionFailed(f"{record.flag}: {problem}; {fallback}; the guard asks again")


def verify(context: GuardContext, episode: str, run_id: str = "") -> StepResult:
    """Prove that clients are served the old flow: read back, and evaluate sampled units, for up to 10 s. Latches.

    Raises ActionFailed when they are not.
    """
    with context.locked():
        row, record = _under_way(context, episode)
        if row.state == ROLLED_BACK:
            announce(context, episode, record.outcome or "rolled_back")
            return StepResult(True, record.outcome or "rolled_back", "was verified before", episode)
        if row.state != VERIFYING:
            return StepResult(False, row.state.lower(), row.reason, episode)
        stages = {"last_exposure_us": _last_exposure_us(context, record.epoch)}
        if record.dry_run:
            outcome, reason = "would_roll_back", "dry run: the flag stays as it is"
        else:
            units = sampled_units(context, record)
            stages["effective_us"] = _proven(context, row, record, units)
            outcome, reason = "rolled_back", f"{len(units)} of {len(units)} sampled units are served the old flow"
        context.store.update_rollback(
            episode, **stages, verified=not record.dry_run, outcome=outcome, run_id=run_id or record.run_id
        )
        if not context.move(row, ROLLED_BACK, reason, outcome=outcome):
            return StepResult(False, "withdrawn", "another run was first", episode)
        announce(context, episode, outcome, reason)
        return StepResult(True, outcome, reason, episode)


def _last_exposure_us(context: GuardContext, epoch: int) -> int | None:
    """When the last unit was first exposed to the treated arm; to the slot when that was a day ago or longer."""
    at_us = context.store.last_exposure_us(context.guard.key, epoch)
    if at_us is not None:
        return at_us
    slot = context.store.last_exposure_slot(context.guard.key, epoch)
    return None if slot is None else slot * SLOT_US


def _proven(context: GuardContext, row: GuardRow, record: RollbackRow, units: Sequence[str]) -> int:
    """When every one of the units was first seen on the old flow. Raises ActionFailed after 10 s."""
    began = context.now_us()
    while True:
        try:
            state = context.read_back()
            new = sum(context.writer.evaluate(record.flag, record.environment, units))
            if not state.enabled and new == 0:
                return context.now_us()
            word = "off" if not state.enabled else f"on ({state.detail})"
            problem = f"the provider says {word}, {new} of {len(units)} sampled units are still served the new flow"
        except ProviderError as error:
            problem = str(error)
        if (context.now_us() - began) / 1e6 >= VERIFY_SECONDS:
            raise _failed(context, row, record, problem)
        context.sleep(LOOK_SECONDS)


def sampled_units(context: GuardContext, record: RollbackRow) -> list[str]:
    """The last treated units (at most 50) before the decision, invented ones when none was counted."""
    since_us = (record.decided_us or 0) - SAMPLED_US
    with context.store.reading() as con:
        rows = context.store.units_since(con, context.guard.key, record.epoch, since_us)
    treated = sorted((row for row in rows if row.arm == "treatment"), key=lambda row: (row.exposed_us, row.unit))
    return [row.unit for row in treated[-SAMPLED_UNITS:]] or [f"{record.episode}-{i}" for i in range(SAMPLED_UNITS)]
