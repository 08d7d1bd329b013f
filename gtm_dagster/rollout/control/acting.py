"""Turning a flag off: claim, turn off, verify. Each step may be killed at any moment, repeated, or run twice at once.

The state in the ops store moves by compare-and-swap, the episode's id names the one record, a kernel lock a guard keeps
two processes of a machine apart, and the provider is asked what it serves before it is told anything. Whatever cannot
be proven off is held by the kill list and told to people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gtm_dagster.gate import kill_list as killlist
from gtm_dagster.rollout.control import evidence
from gtm_dagster.rollout.control import messages as notify
from gtm_dagster.rollout.control.context import GUARD_ACTOR, ActionFailed, Post, Step
from gtm_dagster.rollout.control.evaluation import counts_of, judge, rule_of
from gtm_dagster.rollout.guard.counts import Counts
from gtm_dagster.rollout.guard.decide import (
    ARMED,
    DISARMED,
    ROLLBACK_FAILED,
    ROLLED_BACK,
    ROLLING_BACK,
    SUPERSEDED,
    VERIFYING,
    episode_id,
)
from gtm_dagster.rollout.guard.detector import Rule, Verdict, detect
from gtm_dagster.rollout.providers import Conflict, FlagState, ProviderError

if TYPE_CHECKING:
    from gtm_dagster.opsstore import GuardRow, RollbackRow

RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
GIVE_UP_SECONDS = 30.0
VERIFY_SECONDS = 10.0
LOOK_SECONDS = 0.25
SAMPLED_UNITS = 50
SAMPLED_US = 1_800_000_000
"""Sampled units were first exposed to the treated arm within 30 minutes before the decision."""


@dataclass(frozen=True)
class Beginning:
    """Who begins which episode on what evidence, and why."""

    episode: str
    epoch: int
    attempt: int
    decided_us: int
    run_id: str
    actor: str
    reason: str
    rule: Rule
    counts: Counts
    verdict: Verdict


def claim(post: Post, episode: str, attempt: int, decided_us: int, run_id: str = "") -> Step:
    """Take the episode: the counts are read again, the provider is asked, and the state moves to ROLLING_BACK.

    Goes on when it was moved, or when the episode was begun before and is not finished. Does not when the verdict no
    longer holds (withdrawn) or somebody has changed the flag (superseded).
    """
    with post.locked():
        row = post.row
        if row.state in (ROLLING_BACK, VERIFYING, ROLLBACK_FAILED, ROLLED_BACK):
            return resume(post, row, episode, attempt, run_id)
        if row.state == SUPERSEDED:
            return Step(False, "superseded", row.reason, episode)
        if row.state == DISARMED or episode_id(post.guard.key, row.epoch) != episode:
            return Step(False, "withdrawn", f"{post.guard.key} is {row.state} in epoch {row.epoch}", episode)
        judged = judge(post.store, post.settings, post.guard, row, post.now_us(), decided_us)
        if not judged.decision.act:
            return Step(False, "withdrawn", f"counted again, it does not hold: {judged.decision.reason}", episode)
        beginning = Beginning(
            episode, row.epoch, attempt, decided_us, run_id, GUARD_ACTOR, judged.decision.reason, judged.rule,
            judged.counts, judged.verdict,
        )  # fmt: skip
        before, changed = _before(post, judged.verdict)
        if not changed:
            return begin(post, row, beginning, before)
        text = _evidence(post, beginning, before)
        if post.move(row, SUPERSEDED, changed, episode=episode, bundle_sha256=evidence.digest(text)):
            _insert(post, beginning, text, intent_us=None, outcome="superseded")
            _announce(post, episode, "superseded", changed)
        return Step(False, "superseded", changed, episode)


def _before(post: Post, verdict: Verdict) -> tuple[FlagState | None, str]:
    """The flag before the action (as last seen, when its provider does not answer), and what somebody has changed."""
    held = post.store.flag_state(post.guard.key)
    try:
        state = post.read_back()
    except ProviderError:
        return post.last_seen(), ""  # turning it off asks again, and for longer
    if not state.enabled:
        return state, f"the flag is off already ({state.detail}); somebody was faster"
    if held is not None and state.fingerprint != held.fingerprint:
        return state, f"the flag was changed within the last seconds ({state.detail}); that change stands"
    if held is not None and verdict.above_since_us is not None:
        armed_us = max((move.at_us for move in post.store.history(post.guard.key) if move.to_state == ARMED), default=0)
        if held.changed_us > max(verdict.above_since_us, armed_us):
            return state, f"the flag was changed during the breach ({state.detail}); that change stands"
    return state, ""


def begin(post: Post, row: GuardRow, beginning: Beginning, before: FlagState | None) -> Step:
    """Move to ROLLING_BACK and write the intent with its evidence, before anything is told to the provider."""
    text = _evidence(post, beginning, before)
    moved = post.move(
        row, ROLLING_BACK, beginning.reason, beginning.actor, episode=beginning.episode,
        decided_us=beginning.decided_us, run_id=beginning.run_id, bundle_sha256=evidence.digest(text),
    )  # fmt: skip
    if not moved:
        return Step(False, "withdrawn", "another run was first", beginning.episode)
    _insert(post, beginning, text, intent_us=post.now_us(), outcome="rolling_back")
    return Step(True, "claimed", beginning.reason, beginning.episode)


def _evidence(post: Post, of: Beginning, before: FlagState | None) -> str:
    return evidence.to_json(
        evidence.Evidence(
            post.guard, of.rule, of.counts, of.verdict, of.episode, of.epoch, of.decided_us, before, of.actor, of.reason
        )
    )


def _insert(post: Post, of: Beginning, text: str, *, intent_us: int | None, outcome: str) -> None:
    post.store.insert_rollback(
        episode=of.episode, guard=post.guard.key, flag=post.guard.flag, environment=post.guard.environment,
        provider=post.guard.provider, epoch=of.epoch, attempt=of.attempt, decided_us=of.decided_us,
        intent_us=intent_us, estimate=of.verdict.estimate, low=of.verdict.low, high=of.verdict.high,
        log_e=of.verdict.log_e, log_budget=of.verdict.log_budget, dry_run=post.guard.dry_run, outcome=outcome,
        actor=of.actor, reason=of.reason, run_id=of.run_id, bundle=text,
    )  # fmt: skip


def resume(post: Post, row: GuardRow, episode: str, attempt: int, run_id: str) -> Step:
    """Go on with an episode that was begun; its intent is written if the one who began it was killed before."""
    if row.episode != episode:
        return Step(False, "withdrawn", f"{post.guard.key} is {row.state} with episode {row.episode}", episode)
    if post.store.rollback(episode) is None:
        begun = next(m for m in reversed(post.store.history(post.guard.key)) if m.to_state == ROLLING_BACK and m.detail)
        decided_us = int((begun.detail or {})["decided_us"])
        rule = rule_of(post.store, post.settings, post.guard)
        counts = counts_of(post.store, post.guard.key, row.epoch, decided_us)
        beginning = Beginning(
            episode, row.epoch, attempt, decided_us, run_id, begun.actor, begun.reason, rule, counts,
            detect(counts, rule),
        )  # fmt: skip
        text = _evidence(post, beginning, post.last_seen())
        _insert(post, beginning, text, intent_us=begun.at_us, outcome="rolling_back")
    if row.state != ROLLED_BACK:
        post.store.update_rollback(episode, attempt=attempt)
    if row.state == ROLLBACK_FAILED and not post.move(row, ROLLING_BACK, f"attempt {attempt}"):
        return Step(False, "withdrawn", "another run was first", episode)
    return Step(True, "resumed", f"{row.state} is gone on with, attempt {attempt}", episode)


def turn_off(post: Post, episode: str) -> Step:
    """Turn the flag off, once: no second event for what is off already, and what somebody changed is left as it is.

    Retries for 30 s. Raises ActionFailed when the provider did not take it.
    """
    with post.locked():
        row, record = _held(post, episode)
        if row.state in (VERIFYING, ROLLED_BACK):
            return Step(True, "off", "was turned off before", episode)
        if row.state != ROLLING_BACK:
            return Step(False, row.state.lower(), row.reason, episode)
        changed = "" if record.dry_run else _off(post, row, record)
        if changed:
            if post.move(row, SUPERSEDED, changed):
                post.store.update_rollback(episode, outcome="superseded")
                _announce(post, episode, "superseded", changed)
            return Step(False, "superseded", changed, episode)
        if not record.dry_run and record.acked_us is None:
            post.store.update_rollback(episode, acked_us=post.now_us())
        reason = "dry run: nothing was written" if record.dry_run else f"{post.guard.provider} says off"
        # The digest again: a run that was killed before its intent left one of a bundle that was never stored.
        if not post.move(row, VERIFYING, reason, bundle_sha256=evidence.digest(record.bundle or "")):
            return Step(False, "withdrawn", "another run was first", episode)
        return Step(True, "off", reason, episode)


def _held(post: Post, episode: str) -> tuple[GuardRow, RollbackRow]:
    row, record = post.row, post.store.rollback(episode)
    if row.episode != episode or record is None:
        raise ActionFailed(f"{post.guard.key} holds episode {row.episode}, not {episode}")
    return row, record


def _off(post: Post, row: GuardRow, record: RollbackRow) -> str:
    """Turn it off; returns what somebody changed meanwhile (nothing was written then). Raises ActionFailed."""
    before = evidence.from_json(record.bundle or "").before
    loss = notify.loss_text(record)
    comment = f"gtm {record.actor} {record.episode}: {loss or record.reason}"
    began = post.now_us()
    waits = iter(RETRY_SECONDS)
    while True:
        try:
            seen = post.read_back()
            if seen.enabled and before is not None and seen.fingerprint != before.fingerprint:
                return f"the flag was changed after the decision ({seen.detail}); that change stands"
            # Asked even when it says off: a writer does nothing then, unless clients would not have heard of it.
            post.writer.turn_off(post.guard.flag, post.guard.environment, comment=comment, expected=seen)
            return ""
        except ProviderError as error:
            wait = next(waits, None) if error.retry or isinstance(error, Conflict) else None
            if wait is None or (post.now_us() - began) / 1e6 + wait > GIVE_UP_SECONDS:
                raise _failed(post, row, record, str(error)) from error
        post.sleep(wait)


def _failed(post: Post, row: GuardRow, record: RollbackRow, problem: str) -> ActionFailed:
    """Hold the old flow by the kill list, latch ROLLBACK_FAILED, tell people."""
    held = "the kill list holds the old flow"
    try:
        at = datetime.fromtimestamp(post.now_us() / 1e6, UTC)
        killlist.add(post.settings.kill_list_path, record.flag, f"rollback {record.episode}: {problem}", at)
    except (OSError, killlist.KillListError) as error:
        held = f"the kill list could not be written either ({error})"
    if post.move(row, ROLLBACK_FAILED, problem):
        post.store.update_rollback(record.episode, outcome="rollback_failed")
    _announce(post, record.episode, "rollback_failed", f"{problem}; {held}")
    return ActionFailed(f"{record.flag}: {problem}; {held}; the guard asks again")


def verify(post: Post, episode: str, run_id: str = "") -> Step:
    """Prove that clients are served the old flow: read back, and evaluate sampled units, for up to 10 s. Latches.

    Raises ActionFailed when they are not.
    """
    with post.locked():
        row, record = _held(post, episode)
        if row.state == ROLLED_BACK:
            _announce(post, episode, record.outcome or "rolled_back")
            return Step(True, record.outcome or "rolled_back", "was verified before", episode)
        if row.state != VERIFYING:
            return Step(False, row.state.lower(), row.reason, episode)
        stages = {"last_exposure_us": post.store.last_exposure_us(post.guard.key, record.epoch)}
        if record.dry_run:
            outcome, reason = "would_roll_back", "dry run: the flag stays as it is"
        else:
            units = sampled_units(post, record)
            stages["effective_us"] = _proven(post, row, record, units)
            outcome, reason = "rolled_back", f"{len(units)} of {len(units)} sampled units are served the old flow"
        post.store.update_rollback(
            episode, **stages, verified=not record.dry_run, outcome=outcome, run_id=run_id or record.run_id
        )
        if not post.move(row, ROLLED_BACK, reason, outcome=outcome):
            return Step(False, "withdrawn", "another run was first", episode)
        _announce(post, episode, outcome, reason)
        return Step(True, outcome, reason, episode)


def _proven(post: Post, row: GuardRow, record: RollbackRow, units: Sequence[str]) -> int:
    """When every one of the units was first seen on the old flow. Raises ActionFailed after 10 s."""
    began = post.now_us()
    while True:
        try:
            state = post.read_back()
            new = sum(post.writer.evaluate(record.flag, record.environment, units))
            if not state.enabled and new == 0:
                return post.now_us()
            told = "off" if not state.enabled else f"on ({state.detail})"
            problem = f"the provider says {told}, {new} of {len(units)} sampled units are still served the new flow"
        except ProviderError as error:
            problem = str(error)
        if (post.now_us() - began) / 1e6 >= VERIFY_SECONDS:
            raise _failed(post, row, record, problem)
        post.sleep(LOOK_SECONDS)


def sampled_units(post: Post, record: RollbackRow) -> list[str]:
    """The last treated units (at most 50) before the decision, made-up ones when none was counted."""
    since_us = (record.decided_us or 0) - SAMPLED_US
    with post.store.reading() as con:
        rows = post.store.units_since(con, post.guard.key, record.epoch, since_us)
    treated = sorted((row for row in rows if row.arm == "treatment"), key=lambda row: (row.exposed_us, row.unit))
    return [row.unit for row in treated[-SAMPLED_UNITS:]] or [f"{record.episode}-{i}" for i in range(SAMPLED_UNITS)]


def _announce(post: Post, episode: str, event: str, detail: str = "") -> None:
    """Into the outbox, once an event; a failure is told again at every tenth attempt."""
    record = post.store.rollback(episode)
    if record is not None:
        occurrence = f"{event}:{record.attempt // 10}" if event == "rollback_failed" else event
        message = notify.rollback_message(record, event, detail)
        notify.enqueue(post.store, post.settings, episode, occurrence, message, post.now_us())
