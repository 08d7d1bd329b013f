"""Where a ramp stands: the step it is at, what the next one waits for, and when that could be taken. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isclose
from typing import TYPE_CHECKING

from gtm_dagster.gate import kill_list
from gtm_dagster.opsstore.ramp_steps import INTENDED, TAKEN, step_id
from gtm_dagster.rollout.control.evaluation import Evaluation, evaluate
from gtm_dagster.rollout.control.ramp_readiness import (
    APPROVAL,
    DRIFT,
    ENDED,
    SAME_SHARE,
    UNHEALTHY,
    Wait,
    index_of,
    percent,
    readiness_of,
)
from gtm_dagster.rollout.guard.decide import ARMED
from gtm_dagster.rollout.guard.ramp_power import StepPower
from gtm_dagster.settings import CONVERSION

if TYPE_CHECKING:
    from gtm_dagster.opsstore import GuardRow, OpsStore, RampStepRow
    from gtm_dagster.rollout.providers import FlagState
    from gtm_dagster.settings import Guard, Ramp, Settings


@dataclass(frozen=True)
class RampStanding:
    """A ramp as it stands. `share`: what the provider serves (0: off, None: it reports no single share).

    `current`: the last step taken in the epoch. `next_share`: of the next step, None behind the last one; `number` its
    number in the epoch, from 1 on. `row`: what is stored of that step. `powers`: what the
    current step could have shown of each metric, the conversion first; empty while nothing can be compared.
    """

    guard: Guard
    ramp: Ramp
    guard_row: GuardRow | None
    state: str
    share: float | None
    current: RampStepRow | None
    next_share: float | None
    number: int
    row: RampStepRow | None
    waits: tuple[Wait, ...]
    powers: tuple[StepPower, ...]
    watermark_us: int | None

    @property
    def power(self) -> StepPower | None:
        """What the current step could have shown of the conversion."""
        return next((power for power in self.powers if power.metric == CONVERSION), None)

    @property
    def waits_for_approval_alone(self) -> bool:
        """Whether the next step could be taken but for a person's approval."""
        return bool(self.waits) and all(wait.kind == APPROVAL for wait in self.waits)

    @property
    def id(self) -> str:
        """The name of the next step; "" when there is none, and before the guard was armed."""
        if self.next_share is None or self.guard_row is None or not self.guard_row.epoch:
            return ""
        return step_id(self.guard.key, self.guard_row.epoch, self.number)

    @property
    def approver(self) -> str | None:
        """Who approved the next step as it is declared; None: nobody."""
        row, share = self.row, self.next_share
        return row.approved_by if row is not None and share is not None and same(row.to_share, share) else None

    @property
    def needs_person(self) -> bool:
        """Whether a person has to approve the next step."""
        return self.next_share is not None and self.ramp.approved_by_person(index_of(self.ramp, self.next_share))

    @property
    def intended(self) -> bool:
        """Whether a run has begun the next step and it is not recorded as taken."""
        return self.row is not None and self.row.state == INTENDED

    @property
    def ready(self) -> bool:
        """Whether the next step may be taken now."""
        return self.next_share is not None and not self.waits

    @property
    def ready_us(self) -> int | None:
        """When the next step could be taken at today's traffic, but for an approval (event time, microseconds UTC).

        None where more than time and approval is missing, or time does not bring it.
        """
        missing = [wait for wait in self.waits if wait.kind != APPROVAL]
        minutes = [wait.minutes for wait in missing if wait.minutes is not None]
        if self.next_share is None or self.watermark_us is None or len(minutes) < len(missing):
            return None
        return self.watermark_us + round(max(minutes, default=0.0) * 60e6)


def same(one: float | None, other: float | None) -> bool:
    """Whether two shares are the same within a provider's rounding; None is the same as nothing."""
    return one is not None and other is not None and isclose(one, other, rel_tol=0.0, abs_tol=SAME_SHARE)


def served_share(flag: FlagState) -> float | None:
    """The share of units a flag serves the new flow to; None where the provider reports no single one."""
    return flag.share if flag.enabled else 0.0


def written_by_ramp(rows: Sequence[RampStepRow], flag: FlagState) -> bool:
    """Whether the flag is as the epoch's last step wrote it, recorded or not: nobody else has changed it."""
    last = next((row for row in reversed(rows) if row.state in (INTENDED, TAKEN)), None)
    if last is None:
        return False
    return last.fingerprint == flag.fingerprint if last.state == TAKEN else same(served_share(flag), last.to_share)


def ramp_standing(
    store: OpsStore,
    settings: Settings,
    guard: Guard,
    flag: FlagState | None,
    now_us: int,
    seen: Evaluation | None = None,
) -> RampStanding:
    """The standing of a guard's ramp with its flag as the provider reports it; None: it does not answer.

    `seen`: the guard's evaluation where there is one already. ValueError for a guard without a ramp.
    """
    ramp, guard_row = guard.ramp, store.guard(guard.key)
    if ramp is None:
        raise ValueError(f"{guard.key} declares no ramp")
    rows = store.ramp_steps(guard.key, guard_row.epoch) if guard_row is not None else []
    current = next((row for row in reversed(rows) if row.state == TAKEN), None)
    number = 1 if current is None else current.number + 1
    row = next((row for row in rows if row.number == number), None)
    share = None if flag is None else served_share(flag)
    begun = row.to_share if row is not None and row.state == INTENDED else None
    base = current.to_share if current is not None else _before_first(share, begun)
    next_share = next((step for step in ramp.steps if step > base + SAME_SHARE), None)
    if seen is None and guard_row is not None:
        seen = evaluate(store, settings, guard, guard_row, now_us)
    waits = [*_ended(guard, guard_row), *_unhealthy(store, settings, guard, seen, now_us)]
    waits += _drift(guard, flag, share, current, begun)
    powers: tuple[StepPower, ...] = ()
    at = _level(store, guard_row, current, share if begun is None else None)
    if next_share is not None and at is not None and seen is not None:
        powers, more = readiness_of(ramp, at, seen)
        waits += more
    standing = RampStanding(
        guard, ramp, guard_row, seen.decision.state if seen and not _ended(guard, guard_row) else _stored(guard_row),
        share, current, next_share, number, row, tuple(waits), powers, seen.signals.watermark_us if seen else None,
    )  # fmt: skip
    if not standing.needs_person or standing.approver is not None:
        return standing
    text = f"a person approves it: `gtm guard ramp {guard.flag} --approve --by NAME --reason ...`, or the job ramp_flag"
    return replace(standing, waits=(*waits, Wait(APPROVAL, text)))


def _stored(row: GuardRow | None) -> str:
    return row.state if row is not None else "DISARMED"


def _before_first(share: float | None, begun: float | None) -> float:
    """Where a ramp begins in an epoch: at what the flag serves, unless its first step has been begun already."""
    if begun is not None and same(share, begun):
        return 0.0
    return share or 0.0


def _level(
    store: OpsStore, row: GuardRow | None, current: RampStepRow | None, share: float | None
) -> tuple[float, int] | None:
    """The share that has to show something before it is raised, and since when it is served; None: nobody is treated yet.

    Before the first step of an epoch that is what the flag serves, from the arming or its last change on.
    """
    if current is not None:
        return current.to_share, current.taken_us or 0
    if row is None or not share:
        return None
    flag = store.flag_state(row.guard)
    return share, max(row.epoch_since_us or 0, flag.changed_us if flag is not None else 0)


def _ended(guard: Guard, row: GuardRow | None) -> list[Wait]:
    if row is not None and row.state == ARMED:
        return []
    way_out = f"`gtm guard rearm {guard.flag} --reason ...` begins the ramp at what the flag then serves"
    return [Wait(ENDED, f"the guard is {_stored(row)}, so its ramp is over; {way_out}")]


def _unhealthy(store: OpsStore, settings: Settings, guard: Guard, seen: Evaluation | None, now_us: int) -> list[Wait]:
    """Whatever would keep a guard of the flag from seeing a loss, or from turning the flag off."""
    waits = [
        Wait(UNHEALTHY, f"{part} has been silent for minutes, so no loss would be seen or acted on; `gtm guard status` says more")
        for part in store.alarms()
    ]  # fmt: skip
    if guard.dry_run:
        waits.append(Wait(UNHEALTHY, "dry_run = true: the guard would not turn the flag off, so nothing is raised"))
    for other in settings.guards:
        if (other.flag, other.environment) != (guard.flag, guard.environment):
            continue
        row = store.guard(other.key)
        if row is None or row.state != ARMED:
            if other.key != guard.key:
                waits.append(Wait(UNHEALTHY, f"the guard {other.key} of the same flag is {_stored(row)}; arm it"))
            continue
        mine = other.key == guard.key and seen is not None
        decision = (seen if mine and seen else evaluate(store, settings, other, row, now_us)).decision
        if decision.state != ARMED:
            name = "the guard" if mine else f"the guard {other.key}"
            waits.append(Wait(UNHEALTHY, f"{name} is {decision.state}: {decision.reason}"))
    try:
        if guard.flag in kill_list.read(settings.kill_list_path):
            waits.append(Wait(UNHEALTHY, "the kill list holds the flag off in every gate; arm the guard again"))
    except kill_list.KillListError as error:
        waits.append(Wait(UNHEALTHY, str(error)))
    return waits


def _drift(
    guard: Guard, flag: FlagState | None, share: float | None, current: RampStepRow | None, begun: float | None
) -> list[Wait]:
    """Whether the flag serves what the last step wrote; the share of a step that was begun is ours too."""
    if flag is None:
        return [Wait(DRIFT, f"{guard.provider} does not say what it serves")]
    if share is None:
        return [
            Wait(DRIFT, f"{guard.provider} reports no single share ({flag.detail}): its rules are more than a share")
        ]
    if current is None or same(share, current.to_share) or same(share, begun):
        return []
    return [
        Wait(
            DRIFT,
            f"{guard.provider} serves {percent(share)}, the ramp wrote {percent(current.to_share)}: somebody changed the "
            f"flag. Set it back, or begin anew from what it serves: `gtm guard rearm {guard.flag} --reason ...`",
        )
    ]
