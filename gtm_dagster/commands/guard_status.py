"""`gtm guard status`: the guards as they stand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from gtm_dagster.commands.command import Command
from gtm_dagster.commands.guard_door import door_lines, door_rows
from gtm_dagster.commands.guard_drop import drop_fields, drop_line
from gtm_dagster.commands.guard_metrics import (
    METRIC_COLUMNS,
    metric_documents,
    metric_rows,
    page_document,
    page_line,
    segment_lines,
    segment_rows,
)
from gtm_dagster.commands.guard_ramp import ramp_document, ramp_summary
from gtm_dagster.commands.guard_sight import request_fields, request_line, sight_fields, sight_lines
from gtm_dagster.commands.guard_standing import Standing, standings_of
from gtm_dagster.commands.guard_watching import unwatched
from gtm_dagster.commands.output import Json, invocation, note, say, say_json, say_prose, utc_time
from gtm_dagster.commands.table_output import Form, ReportFormat, flat, form_of, say_table

if TYPE_CHECKING:
    from gtm_dagster.settings import Settings


def status(context: typer.Context, format: ReportFormat = None, json: Json = False) -> int:
    """Every guard: state, evidence, watermark, last rollback. Exit 1: one is blind, failed, watched by nobody, wrongly
    declared, or not armed while its flag is on, or a message was given up within a day."""
    form = form_of(format, json, piped=Form.TABLE)
    here = invocation(context)
    settings = here.settings
    standings = standings_of(settings)
    door = door_rows(settings)
    lost, lost_lately = _given_up(settings)
    problems = [*settings.guard_errors, *unwatched(settings, flags=False)]
    ok = all(standing.ok for standing in standings) and not problems and not lost_lately
    guards = [_document(s) for s in standings] if form is not Form.TABLE else []
    if form is Form.JSON:
        say_json(
            {"ok": ok, "guards": guards, "errors": problems, "messages_given_up": lost, "refused_at_the_door": door}
        )
        return 0 if ok else 1
    if form is not Form.TABLE:
        say_table(*flat(guards), form)
    elif not standings:
        say("no guard is declared; add [[guards]] to gtm.toml")
    else:
        say_table(("guard", "state", "drop", "evidence", "control", "treated", "lag"), [_cells(s) for s in standings])
        for standing in standings:
            for line in _lines(standing):
                say_prose(line)
            if standing.rule and (metrics := metric_rows(standing.verdict, standing.rule)):
                say_table(METRIC_COLUMNS, metrics)
            for line in segment_lines(standing.segments):
                say_prose(f"  {line}")
        for line in door_lines(door):
            say_prose(line)
    for problem in (*problems, *lost):
        note(f"PROBLEM {problem}")
    return 0 if ok else 1


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
        "ramp": ramp_document(standing.ramp) if standing.ramp else None,
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
    if standing.ramp is not None:
        lines += [f"  {line}" for line in ramp_summary(standing.ramp)]
    if standing.missing and standing.missing[0] not in standing.reason:
        lines.append(f"  no heartbeat from {', '.join(standing.missing)}")
    if standing.left_out:
        lines.append(f"  {standing.left_out:,} records of client keys left out; write_keys names those it believes")
    if standing.differences:
        lines.append(
            f"  gtm.toml has another rule since epoch {standing.epoch} was armed: {', '.join(map(str, standing.differences))}; "
            f"re-arm to take it: `gtm guard rearm {standing.guard.flag} --reason ...`"
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
