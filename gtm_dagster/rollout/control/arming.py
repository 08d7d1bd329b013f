"""What a person asks for: turn a flag off without evidence, or arm a guard. Both need to say who and why."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from gtm_dagster.gate import kill_list as killlist
from gtm_dagster.rollout.control.acting import Beginning, begin, resume
from gtm_dagster.rollout.control.context import Post, Step
from gtm_dagster.rollout.control.evaluation import counts_of, rule_of
from gtm_dagster.rollout.guard.decide import ROLLBACK_FAILED, ROLLED_BACK, ROLLING_BACK, VERIFYING
from gtm_dagster.rollout.guard.detector import detect
from gtm_dagster.rollout.providers import FlagState, ProviderError

if TYPE_CHECKING:
    from gtm_dagster.settings import Guard, Settings


class Refused(Exception):
    """A person asked for what cannot be done; the message says what to do first."""


def manual(post: Post, actor: str, reason: str, run_id: str = "") -> Step:
    """Begin an episode because somebody says so; `turn_off` and `verify` follow. Raises Refused."""
    actor, reason = _said(actor, "actor"), _said(reason, "reason")
    with post.locked():
        row = post.row
        held = post.store.rollback(row.episode) if row.episode else None
        if row.episode and row.state in (ROLLING_BACK, VERIFYING, ROLLBACK_FAILED):
            return resume(post, row, row.episode, held.attempt + 1 if held else 1, run_id)
        if row.state == ROLLED_BACK and not (held and held.dry_run):
            raise Refused(f"{post.guard.key} is rolled back already (episode {row.episode})")
        rule = rule_of(post.store, post.settings, post.guard)
        watermark = post.store.watermark_us(post.guard.flag)
        counts = counts_of(post.store, post.guard.key, row.epoch, post.now_us() if watermark is None else watermark)
        episode = hashlib.sha256(f"{post.guard.key}|{row.epoch}|manual|{row.version}".encode()).hexdigest()[:16]
        beginning = Beginning(
            episode, row.epoch, 1, counts.watermark_us, run_id, actor, reason, rule, counts, detect(counts, rule)
        )
        try:
            before: FlagState | None = post.read_back()
        except ProviderError:
            before = post.last_seen()  # turning it off asks again, and for longer
        return begin(post, row, beginning, before)


def rearm(post: Post, actor: str, reason: str, since_us: int | None = None) -> int:
    """Arm the guard with a new epoch from `since_us` (event time; default now) and no evidence; returns the epoch.

    The first arming is the same. Never switches the flag on: it only takes it off the kill list, and not while its
    provider would serve the new flow for it. Raises Refused.
    """
    actor, reason = _said(actor, "actor"), _said(reason, "reason")
    flag, environment = post.guard.flag, post.guard.environment
    with post.locked():
        row = post.row
        if row.state in (ROLLING_BACK, VERIFYING):
            raise Refused(f"{post.guard.key}: its rollback is under way ({row.state}); wait for its run to end")
        try:
            problems = post.writer.preflight(flag, environment)
            if problems:
                raise Refused(f"{post.guard.key}: could not be turned off when it matters: {'; '.join(problems)}")
            state = post.read_back()
        except ProviderError as error:
            raise Refused(f"{post.guard.key}: could not be turned off when it matters: {error}") from error
        try:
            killed = flag in killlist.read(post.settings.kill_list_path)
        except killlist.KillListError as error:
            raise Refused(str(error)) from error
        if state.enabled and (killed or row.state == ROLLBACK_FAILED):
            raise Refused(
                f"{flag} is on at {post.guard.provider} and held off by the kill list: arming would switch it on. "
                "Turn it off at the provider, arm the guard, then turn it on"
            )
        now = post.now_us()
        # What the provider says at the arming is what later changes are told from.
        post.store.see_flag(post.guard.key, state.enabled, state.share, state.fingerprint, now)
        since = now if since_us is None else since_us
        try:
            armed = post.store.new_epoch(
                post.guard.key, row.version, since, actor=actor, reason=reason, fingerprint=state.fingerprint,
                at_us=post.now_us(), detail={"flag": state.detail, "killed": killed},
            )  # fmt: skip
        except ValueError as error:
            raise Refused(str(error)) from error
        if not armed:
            raise Refused(f"{post.guard.key} moved meanwhile; look at its state and ask again")
        if killed:
            killlist.remove(post.settings.kill_list_path, flag)
        return post.row.epoch


def named(settings: Settings, name: str) -> Guard:
    """The guard of a key, or of a flag that has only one. Raises Refused, naming those there are."""
    found = [guard for guard in settings.watched if name in (guard.key, guard.flag)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(guard.key for guard in found or settings.watched)
    raise Refused(f"{name!r} names {'several guards' if found else 'no guard'}; give one of: {known}")


def _said(value: str, name: str) -> str:
    if not value.strip():
        raise Refused(f"{name}: say {'who asks' if name == 'actor' else 'why'}; it is kept in the guard's history")
    return value.strip()
