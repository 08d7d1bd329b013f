"""What a person asks for: turn a flag off without evidence, or arm a guard. Either needs an actor and a reason."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from gtm_dagster.gate import kill_list
from gtm_dagster.opsstore.stream_positions import BEHIND, COLLECTOR
from gtm_dagster.rollout.control.episodes import EpisodeStart, begin, resume
from gtm_dagster.rollout.control.evaluation import counts_of, rule_of
from gtm_dagster.rollout.control.guard_context import GuardContext, StepResult
from gtm_dagster.rollout.guard.decide import ARMED, ROLLBACK_FAILED, ROLLED_BACK, ROLLING_BACK, VERIFYING
from gtm_dagster.rollout.guard.verdict import detect
from gtm_dagster.rollout.providers import FlagState, ProviderError

if TYPE_CHECKING:
    from gtm_dagster.opsstore import OpsStore
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
        rule = rule_of(context.store, context.settings, context.guard)
        keys = context.store.serving_keys(context.guard.key)
        watermark = context.store.waiting(context.guard.flag, context.now_us(), keys).watermark_us
        counts = counts_of(
            context.store, context.guard.key, row.epoch, context.now_us() if watermark is None else watermark
        )
        episode = hashlib.sha256(f"{context.guard.key}|{row.epoch}|manual|{row.version}".encode()).hexdigest()[:16]
        start = EpisodeStart(
            episode, row.epoch, 1, counts.watermark_us, run_id, actor, reason, rule, counts, detect(counts, rule)
        )
        try:
            before: FlagState | None = context.read_back()
        except ProviderError:
            before = context.last_seen()  # turning it off asks again, and for longer
        return begin(context, row, start, before)


def rearm(context: GuardContext, actor: str, reason: str, since_us: int | None = None) -> int:
    """Arm the guard with a new epoch from `since_us` (event time; default now) and no evidence; returns the epoch.

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
        if state.enabled and (killed or row.state == ROLLBACK_FAILED):
            raise Refused(
                f"{flag} is on at {context.guard.provider} and kept off by the kill list: arming would switch it on. "
                "Turn it off at the provider, arm the guard, then turn it on"
            )
        now = context.now_us()
        # What the provider says at the arming is what later changes are compared with.
        context.store.see_flag(context.guard.key, state.enabled, state.share, state.fingerprint, now)
        since = now if since_us is None else since_us
        try:
            armed = context.store.new_epoch(
                context.guard.key, row.version, since, actor=actor, reason=reason, fingerprint=state.fingerprint,
                at_us=context.now_us(), detail={"flag": state.detail, "killed": killed},
            )  # fmt: skip
        except ValueError as error:
            raise Refused(str(error)) from error
        if not armed:
            raise Refused(f"{context.guard.key} moved meanwhile; look at its state and ask again")
        if killed:
            kill_list.remove(context.settings.kill_list_path, flag)
        return context.row.epoch


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
