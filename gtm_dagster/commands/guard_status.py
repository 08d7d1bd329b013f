"""`gtm guard status`: the guards as they stand."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.guard_drop import drop_fields, drop_line
from gtm_dagster.commands.guard_metrics import (
    METRIC_COLUMNS,
    Segment,
    metric_documents,
    metric_rows,
    page_document,
    page_line,
    segment_lines,
    segment_rows,
)
from gtm_dagster.commands.guard_sight import request_fields, request_line, sight_fields, sight_lines
from gtm_dagster.commands.guard_watching import unwatched
from gtm_dagster.commands.output import Json, invocation, note, say, say_json, say_prose, utc_time
from gtm_dagster.commands.table_output import Form, ReportFormat, flat, form_of, say_table

if TYPE_CHECKING:
    from gtm_dagster.opsstore import OpsStore, RequestRow
    from gtm_dagster.opsstore.stream_positions import Waiting
    from gtm_dagster.rollout.control.armed_rule import Difference
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

    @property
    def ok(self) -> bool:
        """Whether no person has to look after it."""
        carried_out = self.request is None or self.request.refused is None
        return self.state not in _TROUBLE and self.history_ok and self.problem is None and carried_out


def status(context: typer.Context, format: ReportFormat = None, json: Json = False) -> int:
    """Every guard: state, evidence, watermark, last rollback. Exit 1: one is blind, failed, watched by nobody, wrongly
    declared, or not armed while its flag is on, or a message was given up within a day."""
    form = form_of(format, json, piped=Form.TABLE)
    here = invocation(context)
    settings = here.settings
    standings = [_with_problem(settings, standing) for standing in _standings(settings)]
    lost, lost_lately = _given_up(settings)
    problems = [*settings.guard_errors, *unwatched(settings, flags=False)]
    ok = all(standing.ok for standing in standings) and not problems and not lost_lately
    guards = [_document(s) for s in standings] if form is not Form.TABLE else []
    if form is Form.JSON:
        say_json({"ok": ok, "guards": guards, "errors": problems, "messages_given_up": lost})
        return 0 if ok else 1
    if form is not Form.TABLE:
        say_table(*flat(guards), form)
    elif not standings:
        say("no guard is declared; add [[guards]] to gtm.toml")
    else:
        say_table(("guard", "state", "drop", "log e", "control", "treated", "lag"), [_cells(s) for s in standings])
        for standing in standings:
            for line in _lines(standing):
                say_prose(line)
            if standing.rule and (metrics := metric_rows(standing.verdict, standing.rule)):
                say_table(METRIC_COLUMNS, metrics)
            for line in segment_lines(standing.segments):
                say_prose(f"  {line}")
    for problem in (*problems, *lost):
        note(f"PROBLEM {problem}")
    return 0 if ok else 1


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


def _given_up(settings: Settings) -> tuple[list[str], bool]:
    """A line a sink whose messages were given up, and whether any of them was within the last day."""
    from gtm_dagster.delivery import given_up, given_up_lines, lately
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.evaluation import store_exists

    if not store_exists(settings):
        return [], False
    with OpsStore.of(settings) as store:
        lost = given_up(store)
    return given_up_lines(lost), lately(lost, time.time_ns() // 1000)


def _never(guard: Guard) -> Standing:
    from gtm_dagster.rollout.guard.decide import DISARMED

    reason = f"never armed: gtm guard rearm {guard.flag} --reason ..."
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
    )


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


def _document(standing: Standing) -> dict[str, Any]:
    guard, verdict = standing.guard, standing.verdict
    names = (
        "control_exposed", "control_converted", "treated_exposed", "treated_converted", "estimate", "low", "high",
        "log_e", "log_budget", "peak_log_e", "above_minutes", "srm_log_e",
    )  # fmt: skip
    return {
        "guard": guard.key, "flag": guard.flag, "conversion": guard.conversion, "environment": guard.environment,
        "provider": guard.provider, "dry_run": guard.dry_run, "state": standing.state, "reason": standing.reason,
        "epoch": standing.epoch, "epoch_since": utc_time(standing.epoch_since_us),
        **{name: getattr(verdict, name) if verdict else None for name in names}, **drop_fields(verdict),
        "watermark_at": utc_time(standing.watermark_us), "watermark_lag_seconds": standing.lag_seconds,
        "missing_producers": list(standing.missing), "flag_enabled": standing.flag_enabled, "history_ok": standing.history_ok,
        "last_rollback": standing.last_rollback, "problem": standing.problem,
        "client_key_records_left_out": standing.left_out, "write_keys": list(guard.write_keys),
        "rule_differs": {each.name: {"armed": each.armed, "declared": each.declared} for each in standing.differences},
        "rollback_request": request_fields(standing.request),
        **sight_fields(standing.seen, standing.by_arm, standing.early, standing.waiting),
        "metric": (verdict.metric or None) if verdict else None,
        "metrics": metric_documents(verdict, standing.rule) if standing.rule else [],
        "segments": segment_rows(standing.segments), "page": page_document(standing.page, standing.paged_us),
    }  # fmt: skip


def _cells(standing: Standing) -> tuple[str, ...]:
    verdict, state = standing.verdict, standing.state + (" (dry run)" if standing.guard.dry_run else "")
    verdict = verdict and verdict.of_conversion
    lag = "-" if standing.lag_seconds is None else _lag(standing.lag_seconds)
    if verdict is None:
        return (standing.guard.key, state, "-", "-", "-", "-", lag)
    drop = "-" if verdict.estimate is None else f"{verdict.estimate:.0%}"
    return (
        standing.guard.key, state, drop, f"{verdict.log_e:.1f} of {verdict.log_budget:.1f}",
        f"{verdict.control_converted}/{verdict.control_exposed}",
        f"{verdict.treated_converted}/{verdict.treated_exposed}", lag,
    )  # fmt: skip


def _lag(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _lines(standing: Standing) -> list[str]:
    since = (
        ""
        if standing.epoch_since_us is None
        else f", epoch {standing.epoch} since {utc_time(standing.epoch_since_us):%Y-%m-%dT%H:%M:%SZ}"
    )
    lines = [f"{standing.guard.flag}: {standing.state}{since}", f"  {standing.reason}"]
    if standing.request is not None:
        lines.append(f"  {request_line(standing.request)}")
    if standing.verdict is not None and (drop := drop_line(standing.verdict.of_conversion)):
        lines.append(f"  {drop}")
    if standing.page is not None:
        lines.append(f"  {page_line(standing.page, standing.paged_us)}")
    if standing.missing and standing.missing[0] not in standing.reason:
        lines.append(f"  no heartbeat from {', '.join(standing.missing)}")
    if standing.left_out:
        lines.append(f"  {standing.left_out:,} records of client keys left out; write_keys names those it believes")
    if standing.differences:
        lines.append(
            f"  gtm.toml has another rule since epoch {standing.epoch} was armed: {', '.join(map(str, standing.differences))}; "
            f"re-arm to take it: gtm guard rearm {standing.guard.flag} --reason ..."
        )
    lines += [
        f"  {line}"
        for line in sight_lines(standing.guard.conversion, standing.by_arm, standing.early, standing.waiting)
    ]
    if standing.problem:
        lines.append(f"  PROBLEM {standing.problem}")
    if not standing.history_ok:
        lines.append("  PROBLEM its history was changed: the chain of digests does not hold")
    if standing.last_rollback is not None:
        lines += _rollback_lines(standing.last_rollback)
    return lines


def _rollback_lines(last: dict[str, Any]) -> list[str]:
    when = "" if last["decided_at"] is None else f", decided {last['decided_at']:%Y-%m-%dT%H:%M:%SZ}"
    proof = ", verified off" if last["verified"] else ""
    lines = [f"  last rollback {last['episode']}: {last['outcome']}{when}{proof}, by {last['actor']}"]
    for message in last["notifications"]:
        error = f" ({message['last_error']})" if message["last_error"] else ""
        lines.append(f"  {message['sink']}: {message['status']}{error}")
    return lines


COMMANDS = (Command("guard status", status, order=20),)
