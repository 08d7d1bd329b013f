"""`gtm guard ramp`: where a flag's ramp stands, and a person's approval of its next step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.guard_options import GuardName, actor_name, guard_named, reason_given
from gtm_dagster.commands.output import Json, Problem, invocation, say, say_json, utc_time
from gtm_dagster.commands.table_output import say_table

if TYPE_CHECKING:
    from gtm_dagster.opsstore import RampStepRow
    from gtm_dagster.rollout.control.ramp_standing import RampStanding
    from gtm_dagster.rollout.guard.ramp_power import StepPower


def ramp(
    context: typer.Context,
    flag: GuardName,
    approve: Annotated[
        bool, typer.Option("--approve", help="Approve the next step; it is taken once nothing else is missing.")
    ] = False,
    by: Annotated[str | None, typer.Option(help="Who approves; default: the login name.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept in the guard's history.")] = None,
    json: Json = False,
) -> int:
    """Where a flag's ramp stands: the step it is at, what the next one waits for, when that could be. Exit 1: it is held up."""
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.arming import Refused
    from gtm_dagster.rollout.control.evaluation import store_exists
    from gtm_dagster.rollout.control.guard_context import GuardContext
    from gtm_dagster.rollout.control.ramping import approve as store_approval
    from gtm_dagster.rollout.control.ramping import standing_of

    here = invocation(context)
    guard = guard_named(here, flag)
    if not approve and (by is not None or reason is not None):
        raise Problem("--by and --reason belong to --approve; give it too", 2)
    if not store_exists(here.settings):
        raise Problem(f"{guard.key}: never armed; `gtm guard rearm {guard.flag} --reason ...`")
    who, why = (actor_name(by), reason_given(reason or "")) if approve else ("", "")
    with OpsStore.of(here.settings) as store:
        guarded = GuardContext.of(here.settings, store, guard, os.environ)
        try:
            standing = store_approval(guarded, who, why) if approve else standing_of(guarded)
        except Refused as error:
            raise Problem(str(error)) from None
        row = standing.guard_row
        steps = store.ramp_steps(guard.key, row.epoch) if row is not None else []
    if json:
        say_json(ramp_document(standing) | {"taken": _taken(steps)})
        return 1 if _held_up(standing) else 0
    if approve and standing.next_share is not None:
        say(f"step {standing.number} to {_percent(standing.next_share)} is approved, by {who}: {why}")
    for line in _lines(standing):
        say(line)
    if steps:
        say_table(("step", "from", "to", "state", "at", "approved by"), [_cells(step) for step in steps])
    return 1 if _held_up(standing) else 0


def _held_up(standing: RampStanding) -> bool:
    """Whether more than time and an approval is missing: a person has to look."""
    from gtm_dagster.rollout.control.ramp_readiness import DRIFT, ENDED, UNHEALTHY

    kinds = (DRIFT, ENDED) if standing.next_share is None else (DRIFT, ENDED, UNHEALTHY)
    return any(wait.kind in kinds for wait in standing.waits)


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def ramp_summary(standing: RampStanding) -> list[str]:
    """The ramp in a few lines: its step, share, since when, and what the next step waits for."""
    from gtm_dagster.rollout.control.ramp_readiness import index_of

    steps, at = standing.ramp.steps, "no single share" if standing.share is None else _percent(standing.share)
    step = (
        f"step {index_of(standing.ramp, standing.current.to_share) + 1} of {len(steps)}, " if standing.current else ""
    )
    since = "" if standing.current is None else f" since {utc_time(standing.current.taken_us):%Y-%m-%dT%H:%M:%SZ}"
    head = f"ramp: {step}{at}{since}"
    if standing.next_share is None:
        return [f"{head}; complete", *[f"  - {wait.text}" for wait in standing.waits]]
    if standing.ready:
        return [f"{head}; next {_percent(standing.next_share)}: {'being taken' if standing.intended else 'ready'}"]
    kinds = ", ".join(dict.fromkeys(wait.kind for wait in standing.waits))
    return [
        f"{head}; next {_percent(standing.next_share)} waits for {kinds}",
        *[f"  - {wait.text}" for wait in standing.waits],
    ]


def _lines(standing: RampStanding) -> list[str]:
    guard, current = standing.guard, standing.current
    at = "no single share" if standing.share is None else _percent(standing.share)
    steps = ", ".join(f"{100 * step:g}" for step in standing.ramp.steps)
    since = "" if current is None else f" since {utc_time(current.taken_us):%Y-%m-%dT%H:%M:%SZ}"
    lines = [f"{guard.flag}: {at} at {guard.provider}{since}, the guard is {standing.state}; steps {steps} %"]
    if standing.next_share is not None:
        lines += [f"  would have been seen by now: {_visible(power)}" for power in standing.powers]
    if standing.next_share is None:
        return [*lines, "  the ramp is complete", *[f"  {wait.text}" for wait in standing.waits]]
    if standing.ready:
        word = "being taken" if standing.intended else "taken by the sensor guard_ramp within seconds"
        return [*lines, f"  next {_percent(standing.next_share)}: {word}"]
    lines.append(f"  next {_percent(standing.next_share)} waits:")
    lines += [f"  - {wait.text}" for wait in standing.waits]
    if standing.approver is not None:
        lines.append(f"  approved by {standing.approver}")
    if standing.ready_us is not None and any(wait.minutes is not None for wait in standing.waits):
        lines.append(f"  at this traffic, from {utc_time(standing.ready_us):%Y-%m-%dT%H:%MZ} on")
    if standing.row is not None and standing.row.note:
        lines.append(f"  the last run: {standing.row.note}")
    return lines


def _visible(power: StepPower) -> str:
    """The least harm of a metric that would have been seen by now, in words."""
    from gtm_dagster.rollout.control.ramp_readiness import harm_text

    visible = power.visible()
    if visible is not None:
        return f"{harm_text(power, visible)} or more"
    if power.rises:
        return f"no rise of {power.metric} yet, not even to a hundred times as much"
    return f"no loss{'' if power.metric == 'conversion' else f' of {power.metric}'} yet, not even of a dead flow"


def _cells(step: RampStepRow) -> tuple[str, ...]:
    at = utc_time(step.taken_us or step.intent_us or step.approved_us)
    by = "-" if step.approved_by is None else f"{step.approved_by}: {step.approval_reason}"
    before = "-" if step.from_share is None else _percent(step.from_share)
    return (
        str(step.number),
        before,
        _percent(step.to_share),
        step.state,
        "-" if at is None else f"{at:%Y-%m-%dT%H:%MZ}",
        by,
    )


def ramp_document(standing: RampStanding) -> dict[str, Any]:
    """A ramp as it stands, for --json: shares and harms of 1, minutes, times in UTC."""
    from gtm_dagster.rollout.control.ramp_evidence import readiness

    return {
        "guard": standing.guard.key, "state": standing.state, "share": standing.share,
        "steps": list(standing.ramp.steps), "current_share": standing.current.to_share if standing.current else None,
        "since": utc_time(standing.current.taken_us) if standing.current else None,
        "next_share": standing.next_share, "ready": standing.ready, "ready_at": utc_time(standing.ready_us),
        "approved_by": standing.approver, "needs_approval": standing.needs_person,
        "waits": [{"kind": wait.kind, "text": wait.text, "minutes": wait.minutes} for wait in standing.waits],
        "evidence": readiness(standing),
        "visible_loss": standing.power.visible() if standing.power else None,
        "visible": {power.metric: power.visible() for power in standing.powers},
    }  # fmt: skip


def _taken(steps: list[RampStepRow]) -> list[dict[str, Any]]:
    from gtm_dagster.rollout.control.ramp_evidence import evidence_of

    return [
        {"id": step.id, "number": step.number, "from": step.from_share, "to": step.to_share, "state": step.state,
         "approved_by": step.approved_by, "approval_reason": step.approval_reason,
         "approved_at": utc_time(step.approved_us), "taken_at": utc_time(step.taken_us), "note": step.note,
         "evidence": evidence_of(step)}
        for step in steps
    ]  # fmt: skip


COMMANDS = (Command("guard ramp", ramp, order=52),)
