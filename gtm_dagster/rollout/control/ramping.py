"""Taking a step of a ramp: intent, write, read back. Each part may be killed at any moment, repeated, or run twice at once.

The intent is a row of the ops store that only one run can write, while the guard is ARMED. Before the provider is called
it is asked what it serves: what an earlier run wrote is not written again, and what somebody else wrote is left. A guard
that rolls back meanwhile wins: a share that was written too late is turned off again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gtm_dagster.opsstore.ramp_steps import INTENDED, TAKEN
from gtm_dagster.rollout.control.arming import Refused
from gtm_dagster.rollout.control.guard_context import GuardContext, StepResult
from gtm_dagster.rollout.control.messages import Message, enqueue
from gtm_dagster.rollout.control.ramp_evidence import evidence_of, readiness, readiness_text, step_text
from gtm_dagster.rollout.control.ramp_readiness import APPROVAL, DRIFT, ENDED, UNHEALTHY, percent
from gtm_dagster.rollout.control.ramp_standing import RampStanding, ramp_standing, same, served_share
from gtm_dagster.rollout.guard.decide import ARMED, ROLLED_BACK, UNFINISHED
from gtm_dagster.rollout.providers import Conflict, FlagState, ProviderError
from gtm_dagster.rollout.providers.base.split_writer import ShareWriter

if TYPE_CHECKING:
    from gtm_dagster.opsstore import RampStepRow

RAMP_ACTOR = "ramp"
"""Who takes a step that no person approved, because `auto` is declared."""
READ_BACK_SECONDS = 10.0
LOOK_SECONDS = 0.25
_FINISH_TRIES = 5


class StepFailed(Exception):
    """A step could not be written or read back. Its intent stands, and it is asked again."""


def standing_of(context: GuardContext, flag: FlagState | None = None) -> RampStanding:
    """The standing with the flag as its provider says now. Raises Refused for a guard without a ramp."""
    if context.guard.ramp is None:
        raise Refused(f"{context.guard.key} declares no ramp: add [guards.ramp] below it in gtm.toml")
    if flag is None:
        try:
            flag = context.read_back()
        except ProviderError:
            flag = None
    return ramp_standing(context.store, context.settings, context.guard, flag, context.now_us())


def approve(context: GuardContext, actor: str, reason: str) -> RampStanding:
    """Store that a person approves the next step, ready or not; it is taken once it is. Raises Refused."""
    actor, reason = _given(actor, "actor"), _given(reason, "reason")
    with context.locked():
        standing = standing_of(context)
        _refuse_without_step(standing)
        row, share = standing.guard_row, standing.next_share
        if row is None or share is None or not _approved(context, standing, actor, reason):
            raise Refused(f"{context.guard.key} moved meanwhile; look at its ramp and ask again")
        return standing_of(context)


def begin(context: GuardContext, actor: str, reason: str, run_id: str = "", *, step: str = "") -> StepResult:
    """Write the intent of the next step, if nothing is missing; go on with one that a killed run has begun.

    A person who asks (`actor` and `reason`) approves the step by it, and is refused (Refused) while something else is
    missing. With the id of a `step` no person is asked: the result says what it waits for.
    """
    if not step:
        actor, reason = _given(actor, "actor"), _given(reason, "reason")
    with context.locked():
        standing = standing_of(context)
        if standing.id == step and standing.intended:
            context.store.resume_step(step, run_id)
            return StepResult(True, "resumed", f"step {standing.number} was begun before", step)
        if step and standing.id != step:
            return StepResult(False, "withdrawn", "it is not the next step any more", step)
        if not step:
            _refuse_without_step(standing)
            missing = [wait.text for wait in standing.waits if wait.kind != APPROVAL]
            if missing:
                raise Refused(f"{context.guard.key}: step {standing.number} is not taken: {'; '.join(missing)}")
            if not _approved(context, standing, actor, reason):
                raise Refused(f"{context.guard.key} moved meanwhile; look at its ramp and ask again")
            standing = standing_of(context)
        row, share, to = standing.guard_row, standing.share, standing.next_share
        if not standing.ready or row is None or share is None or to is None:
            return StepResult(False, "waits", "; ".join(wait.text for wait in standing.waits), standing.id)
        begun = context.store.begin_step(
            row.guard, row.version, row.epoch, standing.number, share, to,
            run_id=run_id, intent_us=context.now_us(), evidence=json.dumps(readiness(standing), sort_keys=True),
        )  # fmt: skip
        if not begun:
            return StepResult(False, "withdrawn", "another run was first", standing.id)
        return StepResult(True, "intended", f"from {percent(share)} to {percent(to)}", standing.id)


def write(context: GuardContext, id: str) -> StepResult:
    """Write the share of a step that was begun, once. Raises StepFailed when the provider does not take it."""
    with context.locked():
        step = _step(context, id)
        if step.state != INTENDED:
            return StepResult(step.state == TAKEN, step.state, step.note or "was finished before", id)
        try:
            flag = context.read_back()
        except ProviderError as error:
            raise _failed(context, step, str(error)) from error
        standing = standing_of(context, flag)
        written = same(served_share(flag), step.to_share)
        problems = [wait for wait in standing.waits if wait.kind in (ENDED, UNHEALTHY, DRIFT)]
        row = context.row
        if row.state != ARMED or row.epoch != step.epoch:
            return _left(context, step, written)
        if written:
            return StepResult(True, "written", "was written before", id)
        if problems or not same(served_share(flag), step.from_share):
            why = "; ".join(wait.text for wait in problems) or f"the flag is at {_shown(flag)} now"
            context.store.withdraw_step(id, why)
            return StepResult(False, "withdrawn", why, id)
        if not isinstance(context.writer, ShareWriter):
            raise _failed(context, step, f"{context.guard.provider}: its shares cannot be set from here")
        comment = f"gtm ramp {id}: {step_text(step)}"
        try:
            context.writer.set_share(
                context.guard.flag, context.guard.environment, step.to_share, comment=comment, expected=flag
            )
        except Conflict as error:
            context.store.withdraw_step(id, str(error))
            return StepResult(False, "withdrawn", str(error), id)
        except ProviderError as error:
            raise _failed(context, step, str(error)) from error
        return StepResult(True, "written", f"{context.guard.provider} took {percent(step.to_share)}", id)


def finish(context: GuardContext, id: str, run_id: str = "") -> StepResult:
    """Read the share back, for up to 10 s, and record the step as taken. Raises StepFailed when another share is served."""
    with context.locked():
        step = _step(context, id)
        if step.state != INTENDED:
            return StepResult(step.state == TAKEN, step.state, step.note or "was finished before", id)
        flag = _read_back(context, step)
        for _ in range(_FINISH_TRIES):
            row = context.row
            if row.state != ARMED or row.epoch != step.epoch:
                return _left(context, step, written=True)
            # All guards of the flag know the new share at once: it is the plan of their split, and a stake of its own.
            now = context.now_us()
            for guard in context.settings.guards:
                place = (guard.flag, guard.environment, guard.provider)
                if place == (context.guard.flag, context.guard.environment, context.guard.provider):
                    context.store.see_flag(guard.key, flag.enabled, flag.share, flag.fingerprint, now)
            detail = _detail(step, run_id)
            reason = step.approval_reason or "auto = true"
            if context.store.finish_step(
                step, row.version, actor=step.approved_by or RAMP_ACTOR, reason=reason, fingerprint=flag.fingerprint,
                at_us=now, detail=detail,
            ):  # fmt: skip
                _announce(context, step)
                return StepResult(True, "taken", f"{context.guard.provider} serves {percent(step.to_share)}", id)
        raise _failed(context, step, f"{context.guard.key} moved again and again meanwhile")


def _approved(context: GuardContext, standing: RampStanding, actor: str, reason: str) -> bool:
    row, share = standing.guard_row, standing.next_share
    return row is not None and share is not None and context.store.approve_step(
        row.guard, row.version, row.epoch, standing.number, share, actor=actor, reason=reason, at_us=context.now_us()
    )  # fmt: skip


def _refuse_without_step(standing: RampStanding) -> None:
    ended = [wait.text for wait in standing.waits if wait.kind == ENDED]
    if ended:
        raise Refused(f"{standing.guard.key}: {ended[0]}")
    if standing.next_share is None:
        at = "the last step" if standing.share is None else percent(standing.share)
        raise Refused(f"{standing.guard.key}: its ramp is complete at {at}; there is no further step")
    if standing.intended:
        raise Refused(f"{standing.guard.key}: step {standing.number} to {percent(standing.next_share)} is under way")


def _step(context: GuardContext, id: str) -> RampStepRow:
    step = context.store.ramp_step(id)
    if step is None:
        raise Refused(f"{context.guard.key} has no step {id} of a ramp")
    return step


def _read_back(context: GuardContext, step: RampStepRow) -> FlagState:
    """The flag once it serves the step's share. Raises StepFailed after 10 s."""
    began = context.now_us()
    while True:
        try:
            flag = context.read_back()
            if same(served_share(flag), step.to_share):
                return flag
            problem = f"{percent(step.to_share)} was written, and read back it is {_shown(flag)}; does somebody else write it?"
        except ProviderError as error:
            problem = str(error)
        if (context.now_us() - began) / 1e6 >= READ_BACK_SECONDS:
            raise _failed(context, step, problem)
        context.sleep(LOOK_SECONDS)


def _left(context: GuardContext, step: RampStepRow, written: bool) -> StepResult:
    """Leave a step whose guard is no longer armed; a share that came after a rollback is turned off again."""
    row = context.row
    why = f"the guard is {row.state} in epoch {row.epoch}"
    if written and row.epoch == step.epoch and row.state in (*UNFINISHED, ROLLED_BACK):
        why = f"{why}: the share was written too late and is turned off again"
        try:
            context.writer.turn_off(
                context.guard.flag, context.guard.environment, comment=f"gtm ramp {step.id}: {why}", expected=None
            )
        except ProviderError as error:
            raise _failed(context, step, f"{why}: {error}") from error
    context.store.withdraw_step(step.id, why)
    return StepResult(False, "withdrawn", why, step.id)


def _failed(context: GuardContext, step: RampStepRow, problem: str) -> StepFailed:
    context.store.note_step(step.id, problem)
    return StepFailed(f"{context.guard.flag}, step to {percent(step.to_share)}: {problem}; it is asked again")


def _detail(step: RampStepRow, run_id: str) -> dict[str, Any]:
    return {
        "id": step.id, "number": step.number, "from": step.from_share, "to": step.to_share, "run_id": run_id,
        "approved_by": step.approved_by, "evidence": evidence_of(step),
    }  # fmt: skip


def _announce(context: GuardContext, step: RampStepRow) -> None:
    text = (
        f"{context.guard.flag} in {context.guard.environment} went {step_text(step)}. Read back at "
        f"{context.guard.provider}; {readiness_text(step)}."
    )
    figures = {
        "flag": context.guard.flag,
        "from": step.from_share,
        "to": step.to_share,
        "approved_by": step.approved_by,
    }
    message = Message("ramp_step", context.guard.key, text, figures)
    enqueue(context.store, context.settings, step.id, "ramp_step", message, context.now_us())


def _shown(flag: FlagState) -> str:
    share = served_share(flag)
    return f"{'no single share' if share is None else percent(share)} ({flag.detail})"


def _given(value: str, name: str) -> str:
    if not value.strip():
        raise Refused(f"{name}: say {'who asks' if name == 'actor' else 'why'}; it is kept in the guard's history")
    return value.strip()
