"""Rows of the ops store as frozen values. Times are microseconds UTC."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class GuardRow(Struct, frozen=True):
    """The state of one guard; `guard` is its key (flag, conversion and environment).

    `version` counts its moves, `epoch` its armings (0: never armed); `epoch_since_us` is the event time from which the
    epoch counts.
    """

    guard: str
    flag: str
    conversion: str
    environment: str
    state: str
    version: int
    epoch: int
    epoch_since_us: int | None
    episode: str | None
    fingerprint: str | None
    changed_us: int
    actor: str
    reason: str


class HistoryRow(Struct, frozen=True):
    """One move; `digest` is chained on the digest of the guard's move before."""

    id: int
    guard: str
    version: int
    from_state: str
    to_state: str
    at_us: int
    actor: str
    reason: str
    detail: dict[str, Any] | None
    digest: str


class ProducerRow(Struct, frozen=True):
    """A source of events: it has delivered what happened up to `ts_us`, as it reported at `received_us`.

    `write_key`: of the key it reports with, "" when nobody knows. `skew_us`: receipt minus its clock, None when unknown.
    """

    name: str
    ts_us: int
    received_us: int
    write_key: str = ""
    skew_us: int | None = None


class UnitRow(Struct, frozen=True):
    """A unit of an epoch: its first exposure, and its first conversion within the window after it.

    `outcomes`: what it came to in the guard's further metrics, as JSON; None for nothing. `segment`: country and device of
    its exposure, a tab between them; None for one that was counted before segments were.
    """

    unit: str
    epoch: int
    arm: str
    exposed_us: int
    converted_us: int | None
    outcomes: str | None = None
    segment: str | None = None


class FoldedRow(Struct, frozen=True):
    """Totals of an arm's cohorts in the slots from `first_slot` to `last_slot`, both included.

    All lie in the step of the plan (of treated shares) that begins at `from_slot`. `age_slots`: the ages of all
    conversions added up, in slots.
    """

    from_slot: int
    arm: str
    first_slot: int
    last_slot: int
    exposed: int
    converted: int
    age_slots: int


class GuardProgress(Struct, frozen=True):
    """What a guard's counts follow: the epochs up to `epoch`, and `rule`, which changes with the conversion window."""

    epoch: int
    rule: int


class FlagRow(Struct, frozen=True):
    """A guard's flag as its provider last reported it; `share` is the planned treated share, share of 1."""

    guard: str
    enabled: bool
    share: float | None
    fingerprint: str
    seen_us: int
    changed_us: int


class RampStepRow(Struct, frozen=True):
    """A step of a ramp in an epoch, from 1 on; shares of 1.

    `state`: approved (nothing is begun), intended (a run has begun it), taken (written, and read back), withdrawn (begun,
    and left before anything was written). `evidence`: why it could be taken, JSON. `note`: what became of the last run.
    """

    guard: str
    epoch: int
    number: int
    id: str
    to_share: float
    from_share: float | None
    state: str
    approved_by: str | None
    approval_reason: str | None
    approved_us: int | None
    run_id: str | None
    attempt: int
    intent_us: int | None
    taken_us: int | None
    fingerprint: str | None
    evidence: str | None
    note: str | None


class RollbackRow(Struct, frozen=True):
    """One episode: a flag that was turned off, or would have been (`dry_run`). `estimate` is the relative drop.

    `bundle`: its evidence, megabytes of it; None where it was not asked for, which `bundle_sha256` tells from none.
    `metric`: which of the guard's metrics the figures are of; None in a guard of one.
    """

    episode: str
    guard: str
    flag: str
    environment: str
    provider: str
    epoch: int
    attempt: int
    decided_us: int | None
    intent_us: int | None
    acked_us: int | None
    effective_us: int | None
    last_exposure_us: int | None
    estimate: float | None
    low: float | None
    high: float | None
    log_e: float | None
    log_budget: float | None
    verified: bool
    dry_run: bool
    outcome: str | None
    actor: str | None
    reason: str | None
    run_id: str | None
    bundle: str | None
    bundle_sha256: str | None = None
    metric: str | None = None


class BacklogRow(Struct, frozen=True):
    """The messages of one sink by what became of them: `pending` ones, put in from `oldest_us` on, and those `given_up`,
    the newest of them tried last at `given_up_us`.
    """

    sink: str
    pending: int
    oldest_us: int | None
    given_up: int
    given_up_us: int | None


class RequestRow(Struct, frozen=True):
    """A rollback that another system asked for in an epoch: first by `actor` for `reason` at `asked_us`, `times` in all.

    `refused`: why the run that was to carry it out could not; None while it stands.
    """

    guard: str
    epoch: int
    episode: str
    actor: str
    reason: str
    asked_us: int
    times: int
    last_us: int
    refused: str | None


class NotificationRow(Struct, frozen=True):
    """A message to one sink; `status` is pending, delivered or failed (given up).

    `lease_us`: until then it is somebody's who sends it; None when nobody has it.
    """

    id: str
    episode: str
    sink: str
    payload: str
    status: str
    attempts: int
    next_us: int
    last_error: str | None
    created_us: int
    delivered_us: int | None
    lease_us: int | None = None
