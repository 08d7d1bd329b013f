"""The guards as they stand, and what a person does to one: arm it again, or turn its flag off."""

from __future__ import annotations

import getpass
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gtm_dagster.commands.output import Invocation, Json, Problem, invocation, note, say, say_json, say_table

if TYPE_CHECKING:
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.guard.verdict import Verdict
    from gtm_dagster.settings import Guard, Settings

Reason = Annotated[str, typer.Option(help="Why; it is kept in the guard's history.")]
Actor = Annotated[str | None, typer.Option(help="Who asks; default: the login name.")]
Named = Annotated[str, typer.Argument(metavar="FLAG|KEY", help="A flag, or the key of a guard (flag:conversion:environment).")]  # fmt: skip
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

    @property
    def ok(self) -> bool:
        """Nothing a person has to look after."""
        return self.state not in _TROUBLE and self.history_ok


def status(context: typer.Context, json: Json = False) -> int:
    """Every guard: state, evidence, watermark, last rollback. Exit 1: one is blind, failed or wrongly declared."""
    here = invocation(context)
    settings = here.settings
    standings = _standings(settings)
    ok = all(standing.ok for standing in standings) and not settings.guard_errors
    if json:
        say_json({"ok": ok, "guards": [_document(s) for s in standings], "errors": list(settings.guard_errors)})
        return 0 if ok else 1
    if not standings:
        say("no guard is declared; add [[guards]] to gtm.toml")
    else:
        say_table(("guard", "state", "drop", "log e", "control", "treated", "lag"), [_cells(s) for s in standings])
        for standing in standings:
            for line in _lines(standing):
                say(line)
    for error in settings.guard_errors:
        note(f"PROBLEM {error}")
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


def _never(guard: Guard) -> Standing:
    from gtm_dagster.rollout.guard.decide import DISARMED

    told = f"never armed: gtm guard rearm {guard.flag} --reason ..."
    return Standing(guard, DISARMED, told, 0, None, None, None, None, (), None, True, None)


def _standing(store: OpsStore, settings: Settings, guard: Guard, now_us: int) -> Standing:
    from gtm_dagster.rollout.control.evaluation import evaluate
    from gtm_dagster.rollout.guard.decide import decide

    row = store.guard(guard.key)
    if row is None:
        return _never(guard)
    evaluation = evaluate(store, settings, guard, row, now_us)
    decision = decide(row.state, evaluation.verdict, evaluation.signals, evaluation.rule)
    watermark = evaluation.signals.watermark_us
    flag = store.flag_state(guard.key)
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
    )


def _last_rollback(store: OpsStore, guard: Guard) -> dict[str, Any] | None:
    """The newest episode of a guard with what became of its messages."""
    rows = [row for row in store.rollbacks() if row.guard == guard.key]
    if not rows:
        return None
    row = max(rows, key=lambda held: (held.intent_us or 0, held.decided_us or 0))
    told = [
        {"sink": n.sink, "status": "delivered" if n.status == "delivered" else "not delivered", "attempts": n.attempts,
         "last_error": n.last_error, "delivered_at": _at(n.delivered_us)}
        for n in store.notifications(row.episode)
    ]  # fmt: skip
    return {
        "episode": row.episode, "outcome": row.outcome, "dry_run": row.dry_run, "verified": row.verified,
        "decided_at": _at(row.decided_us), "effective_at": _at(row.effective_us), "estimate": row.estimate,
        "actor": row.actor, "reason": row.reason, "notifications": told,
    }  # fmt: skip


def _at(us: int | None) -> datetime | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC)


def _document(told: Standing) -> dict[str, Any]:
    guard, verdict = told.guard, told.verdict
    names = (
        "control_exposed", "control_converted", "treated_exposed", "treated_converted", "estimate", "low", "high",
        "log_e", "log_budget", "peak_log_e", "above_minutes", "srm_log_e",
    )  # fmt: skip
    return {
        "guard": guard.key, "flag": guard.flag, "conversion": guard.conversion, "environment": guard.environment,
        "provider": guard.provider, "dry_run": guard.dry_run, "state": told.state, "reason": told.reason,
        "epoch": told.epoch, "epoch_since": _at(told.epoch_since_us),
        **{name: getattr(verdict, name) if verdict else None for name in names},
        "watermark_at": _at(told.watermark_us), "watermark_lag_seconds": told.lag_seconds,
        "missing_producers": list(told.missing), "flag_enabled": told.flag_enabled, "history_ok": told.history_ok,
        "last_rollback": told.last_rollback,
    }  # fmt: skip


def _cells(told: Standing) -> tuple[str, ...]:
    verdict, state = told.verdict, told.state + (" (dry run)" if told.guard.dry_run else "")
    lag = "-" if told.lag_seconds is None else _lag(told.lag_seconds)
    if verdict is None:
        return (told.guard.key, state, "-", "-", "-", "-", lag)
    drop = "-" if verdict.estimate is None else f"{verdict.estimate:.0%}"
    return (
        told.guard.key, state, drop, f"{verdict.log_e:.1f} of {verdict.log_budget:.1f}",
        f"{verdict.control_converted}/{verdict.control_exposed}",
        f"{verdict.treated_converted}/{verdict.treated_exposed}", lag,
    )  # fmt: skip


def _lag(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h"
    )


def _lines(told: Standing) -> list[str]:
    since = (
        ""
        if told.epoch_since_us is None
        else f", epoch {told.epoch} since {_at(told.epoch_since_us):%Y-%m-%dT%H:%M:%SZ}"
    )
    lines = [f"{told.guard.flag}: {told.state}{since}", f"  {told.reason}"]
    if told.missing and told.missing[0] not in told.reason:
        lines.append(f"  no heartbeat from {', '.join(told.missing)}")
    if not told.history_ok:
        lines.append("  PROBLEM its history was changed: the chain of digests does not hold")
    if told.last_rollback is not None:
        lines += _rollback_lines(told.last_rollback)
    return lines


def _rollback_lines(told: dict[str, Any]) -> list[str]:
    when = "" if told["decided_at"] is None else f", decided {told['decided_at']:%Y-%m-%dT%H:%M:%SZ}"
    proof = ", verified off" if told["verified"] else ""
    lines = [f"  last rollback {told['episode']}: {told['outcome']}{when}{proof}, by {told['actor']}"]
    for message in told["notifications"]:
        error = f" ({message['last_error']})" if message["last_error"] else ""
        lines.append(f"  {message['sink']}: {message['status']}{error}")
    return lines


def _named(here: Invocation, name: str) -> Guard:
    """The guard of a key or flag; wrong usage when there is none, or several."""
    watched = here.settings.watched
    found = [g for g in watched if g.key == name] or [g for g in watched if g.flag == name]
    if not found:
        known = ", ".join(g.key for g in here.settings.guards) or "none is declared; add [[guards]] to gtm.toml"
        raise Problem(f"{name}: there is no such guard; known: {known}", 2)
    if len(found) > 1:
        raise Problem(f"{name}: has {len(found)} guards; name one of {', '.join(g.key for g in found)}", 2)
    return found[0]


def _who(actor: str | None) -> str:
    if actor is not None and actor.strip():
        return actor.strip()
    if actor is not None:
        raise Problem("--actor: say who asks; it is kept in the guard's history", 2)
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise Problem("--actor: this login has no name; say who asks", 2) from None


def _why(reason: str) -> str:
    if not reason.strip():
        raise Problem("--reason: say why; it is kept in the guard's history", 2)
    return reason.strip()


def rearm(context: typer.Context, flag: Named, reason: Reason, actor: Actor = None, json: Json = False) -> None:
    """Arm a guard, the first time or after a rollback: a new epoch without any evidence. Never switches the flag on."""
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.arming import Refused
    from gtm_dagster.rollout.control.arming import rearm as arm
    from gtm_dagster.rollout.control.context import GuardContext

    here = invocation(context)
    guard, who, why = _named(here, flag), _who(actor), _why(reason)
    with OpsStore.of(here.settings) as store:
        try:
            epoch = arm(GuardContext.of(here.settings, store, guard, os.environ), who, why)
        except Refused as error:
            raise Problem(str(error)) from None
        held = store.flag_state(guard.key)
    enabled = held.enabled if held else None
    if json:
        say_json({"guard": guard.key, "epoch": epoch, "actor": who, "reason": why, "flag_enabled": enabled})
        return
    say(f"{guard.key} is armed, epoch {epoch}, by {who}: {why}")
    if enabled is False:
        say(f"the flag is off at {guard.provider}; switch it on there when you are ready")


def rollback(context: typer.Context, flag: Named, reason: Reason, actor: Actor = None, json: Json = False) -> int:
    """Turn a guard's flag off now, without evidence; verified and latched as the guard does it. Exit 1: not proven off."""
    from gtm_dagster.delivery import deliver_due
    from gtm_dagster.opsstore import OpsStore
    from gtm_dagster.rollout.control.acting import turn_off, verify
    from gtm_dagster.rollout.control.arming import Refused, claim_by_hand
    from gtm_dagster.rollout.control.context import ActionFailed, GuardContext

    here = invocation(context)
    guard, who, why = _named(here, flag), _who(actor), _why(reason)
    with OpsStore.of(here.settings) as store:
        guarded = GuardContext.of(here.settings, store, guard, os.environ)
        problem = None
        try:
            step = claim_by_hand(guarded, who, why)
            episode = step.episode
            if step.proceed:
                step = turn_off(guarded, episode)
            if step.proceed:
                step = verify(guarded, episode)
        except Refused as error:
            raise Problem(str(error)) from None
        except ActionFailed as error:
            problem = str(error)
        deliver_due(store, here.settings, time.time_ns() // 1000, os.environ, only=episode)
        record = store.rollback(episode)
    if problem is not None:
        raise Problem(problem)
    done = bool(record and (record.verified or record.dry_run))
    if json:
        say_json(
            {"guard": guard.key, "episode": episode, "outcome": step.outcome, "verified": bool(record and record.verified),
             "reason": step.reason, "actor": who}
        )  # fmt: skip
    else:
        say(f"{guard.key}: {step.outcome} ({step.reason}), episode {episode}, by {who}: {why}")
    return 0 if done else 1
