"""What a person asks for: turn a flag off without evidence, give that up, or arm a guard. Each needs an actor and a reason."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from gtm_dagster.gate import kill_list
from gtm_dagster.opsstore.stream_positions import BEHIND, COLLECTOR
from gtm_dagster.rollout.control.armed_rule import rule_of, to_store
from gtm_dagster.rollout.control.episodes import EpisodeStart, announce, begin, resume
from gtm_dagster.rollout.control.evaluation import counts_of
from gtm_dagster.rollout.control.guard_context import GuardContext, StepResult
from gtm_dagster.rollout.guard.decide import (
    ARMED,
    GIVEN_UP,
    ROLLBACK_FAILED,
    ROLLED_BACK,
    ROLLING_BACK,
    UNFINISHED,
    VERIFYING,
)
from gtm_dagster.rollout.guard.judge import judge
from gtm_dagster.rollout.providers import FlagState, ProviderError

if TYPE_CHECKING:
    from gtm_dagster.opsstore import GuardRow, OpsStore, RequestRow
    from gtm_dagster.settings import Guard, Settings


class Refused(Exception):
    """A person asked for what cannot be done; the message says what to do first."""


def claim_by_hand(context: GuardContext, actor: str, reason: str, run_id: str = "") -> StepResult:
    """Begin an episode because somebody says so; `turn_off` and `verify` follow. Raises Refused."""
    actor, reason = _given(actor, "actor"), _given(reason, "reason")
    with context.locked():
        row = context.row
        record = context.store.rollback(row.episode) if row.episode else None
        if row.episode and row.state in (ROLLING_BACK, VERIFYING, ROLLBACK_FAILED):
            return resume(context, row, row.episode, record.attempt + 1 if record else 1, run_id)
        if row.state == ROLLED_BACK and not (record and record.dry_run):
            raise Refused(f"{context.guard.key} is rolled back already (episode {row.episode})")
        episode = hashlib.sha256(f"{context.guard.key}|{row.epoch}|manual|{row.version}".encode()).hexdigest()[:16]
        return _begin(context, row, episode, 1, actor, reason, run_id)


def claim_requested(context: GuardContext, row: GuardRow, request: RequestRow, attempt: int, run_id: str) -> StepResult:
    """Begin the episode that another system asked for; the caller holds the guard's lock.

    Raises Refused when there is no flag to turn off; nobody tries again then, before it is asked again.
    """
    try:
        return _begin(context, row, request.episode, attempt, request.actor, request.reason, run_id)
    except Refused as error:
        context.store.refuse_request(row.guard, row.epoch, str(error))
        raise


def _begin(
    context: GuardContext, row: GuardRow, episode: str, attempt: int, actor: str, reason: str, run_id: str
) -> StepResult:
    """Begin an episode without evidence; what was counted is recorded with it."""
    rule = rule_of(context.store, context.settings, context.guard, row.epoch)
    keys = context.store.serving_keys(context.guard.key)
    watermark = context.store.waiting(context.guard.flag, context.now_us(), keys).watermark_us
    counts = counts_of(
        context.store, context.guard.key, row.epoch, context.now_us() if watermark is None else watermark, rule
    )
    start = EpisodeStart(
        episode, row.epoch, attempt, counts.watermark_us, run_id, actor, reason, rule, counts, judge(counts, rule)
    )
    return begin(context, row, start, _before(context))


def _before(context: GuardContext) -> FlagState | None:
    """The flag before it is turned off; as last seen, when its provider does not answer. Raises Refused: there is none."""
    try:
        return context.read_back()
    except ProviderError as error:
        if error.absent:
            raise Refused(
                f"{context.guard.key}: there is no flag to turn off: {error}. Or correct the guard's flag, environment and "
                "provider in gtm.toml; a process that serves it from memory obeys the kill list (docs/gate.md)"
            ) from error
        return context.last_seen()  # turning it off asks again, and for longer


def rearm(context: GuardContext, actor: str, reason: str, since_us: int | None = None) -> int:
    """Arm the guard with a new epoch from `since_us` (event time; default now) and no evidence; returns the epoch.

    The rule as the settings have it is stored with the epoch, and decides until the next arming.
    The first arming is the same. Never switches the flag on: it only takes it off the kill list, and not while its
    provider would serve the new flow for it. Raises Refused.
    """
    actor, reason = _given(actor, "actor"), _given(reason, "reason")
    flag, environment = context.guard.flag, context.guard.environment
    with context.locked():
        row = context.row
        if row.state in (ROLLING_BACK, VERIFYING):
            raise Refused(f"{context.guard.key}: its rollback is under way ({row.state}); wait for its run to end")
        try:
            problems = context.writer.preflight(flag, environment)
            if problems:
                raise Refused(f"{context.guard.key}: could not be turned off when it matters: {'; '.join(problems)}")
            state = context.read_back()
        except ProviderError as error:
            raise Refused(f"{context.guard.key}: could not be turned off when it matters: {error}") from error
        try:
            killed = flag in kill_list.read(context.settings.kill_list_path)
        except kill_list.KillListError as error:
            raise Refused(str(error)) from error
        if state.enabled and (killed or row.state in (ROLLBACK_FAILED, GIVEN_UP)):
            raise Refused(
                f"{flag} is on at {context.guard.provider} and kept off by the kill list: arming would switch it on. "
                "Turn it off at the provider, arm the guard, then turn it on"
            )
        now = context.now_us()
        # What the provider says at the arming is what later changes are compared with.
        context.store.see_flag(context.guard.key, state.enabled, state.share, state.fingerprint, now)
        since = now if since_us is None else since_us
        rule = to_store(context.settings, context.guard)
        try:
            armed = context.store.new_epoch(
                context.guard.key, row.version, since, actor=actor, reason=reason, fingerprint=state.fingerprint,
                at_us=context.now_us(), detail={"flag": state.detail, "killed": killed, "rule": json.loads(rule)}, rule=rule,
            )  # fmt: skip
        except ValueError as error:
            raise Refused(str(error)) from error
        if not armed:
            raise Refused(f"{context.guard.key} moved meanwhile; look at its state and ask again")
        if killed:
            kill_list.remove(context.settings.kill_list_path, flag)
        return context.row.epoch


def give_up(context: GuardContext, actor: str, reason: str) -> StepResult:
    """End a rollback that is not finished: latched as GIVEN_UP, recorded, and people are notified. Raises Refused.

    Provider and kill list stay as they are; the result says what they serve. A rollback by hand and arming go on working.
    """
    actor, reason = _given(actor, "actor"), _given(reason, "reason")
    with context.locked():
        row = context.row
        if row.state not in UNFINISHED or not row.episode:
            raise Refused(f"{context.guard.key} has no unfinished rollback to give up; it is {row.state}")
        if context.store.rollback(row.episode) is None:  # whoever began it was killed before its record
            resume(context, row, row.episode, 1, "")
            row = context.row
        served = _served(context)
        if not context.move(row, GIVEN_UP, f"given up: {reason}", actor, served=served):
            raise Refused(f"{context.guard.key} moved meanwhile; look at its state and ask again")
        context.store.update_rollback(row.episode or "", outcome="given_up")
        announce(context, row.episode or "", "given_up", f"{served}. Given up by {actor}: {reason}")
        return StepResult(False, "given_up", served, row.episode or "")


def _served(context: GuardContext) -> str:
    """What a flag that was not proven off serves now, in words."""
    flag, provider = context.guard.flag, context.guard.provider
    try:
        state = context.read_back()
        answer = f"{provider} says {'on' if state.enabled else 'off'} ({state.detail})"
    except ProviderError as error:
        answer = f"{provider} does not say ({error})"
    try:
        killed = flag in kill_list.read(context.settings.kill_list_path)
    except kill_list.KillListError as error:
        return f"{answer}; {error}"
    return f"{answer}; {'the kill list holds the old flow until the guard is armed again' if killed else 'it is not on the kill list'}"


def forget(store: OpsStore, settings: Settings, producer: str, actor: str, reason: str, now_us: int) -> tuple[str, ...]:
    """Wait no more for a producer that is gone; returns the armed guards it served, whose history says so.

    With its next heartbeat it is back. Raises Refused for a name that no producer has, and for the collector.
    """
    actor, reason = _given(actor, "actor"), _given(reason, "reason")
    rows = [row for row in store.producers() if not row.name.startswith(BEHIND)]
    named = [row for row in rows if row.name == producer]
    if producer == COLLECTOR:
        raise Refused("collector: every guard's clock waits for the collector; start it with `gtm collect`")
    if not named:
        known = ", ".join(sorted({row.name for row in rows} - {COLLECTOR})) or "none has sent a heartbeat"
        raise Refused(f"{producer!r}: there is no such producer; known: {known}")
    served = []
    for guard in settings.watched:
        row, keys = store.guard(guard.key), store.serving_keys(guard.key)
        if (
            row is None
            or row.state != ARMED
            or not any(not keys or not it.write_key or it.write_key in keys for it in named)
        ):
            continue
        detail = {"forgot": producer, "last_heartbeat_us": max(it.received_us for it in named)}
        if not store.move(guard.key, row.version, ARMED, actor=actor, reason=reason, at_us=now_us, detail=detail):
            raise Refused(f"{guard.key} moved meanwhile; ask again")
        served.append(guard.key)
    store.forget_producer(producer, now_us)
    return tuple(served)


def find_guard(settings: Settings, name: str) -> Guard:
    """The guard of a key, or of a flag that has only one. Raises Refused, naming those there are."""
    found = [guard for guard in settings.watched if name in (guard.key, guard.flag)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(guard.key for guard in found or settings.watched)
    raise Refused(f"{name!r} names {'several guards' if found else 'no guard'}; give one of: {known}")


def _given(value: str, name: str) -> str:
    if not value.strip():
        raise Refused(f"{name}: say {'who asks' if name == 'actor' else 'why'}; it is kept in the guard's history")
    return value.strip()
