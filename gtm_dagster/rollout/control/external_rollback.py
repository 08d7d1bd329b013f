"""What an alerting system asks for: the rollback of a guarded flag, stored in the ops store until a run carries it out.

Whoever stores it talks to no provider. The guard's sensor sees the request and asks for the run `rollback_flag`, as for
evidence, and the episode is the one rollback of the guard's epoch: an alert and evidence at once turn the flag off once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gtm_dagster.opsstore import OpsStore, OpsStoreError
from gtm_dagster.rollout.control.messages import moment
from gtm_dagster.rollout.guard.decide import ARMED, DISARMED, UNFINISHED, Decision, episode_id
from gtm_dagster.settings.nearest import did_you_mean

if TYPE_CHECKING:
    from gtm_dagster.opsstore import GuardRow, RequestRow
    from gtm_dagster.settings import Guard, Settings

_OPEN = (ARMED, DISARMED)
"""States in which a rollback can begin because another system asks; the others are under way, or a person's or the guard's last word."""


@dataclass(frozen=True)
class RequestResult:
    """What became of a request. `outcome`: asked (stored, also when it was before), under_way (its run began), unknown (no
    guard of that name), ambiguous (several), latched (nothing to turn off before it is armed again), unavailable."""

    outcome: str
    message: str
    guard: str = ""
    episode: str = ""


def request_rollback(settings: Settings, name: str, actor: str, reason: str) -> RequestResult:
    """Store the request for the declared guard of a flag, or of a guard's key. Never raises for a store that is away."""
    found = [guard for guard in settings.guards if name in (guard.key, guard.flag)]
    if not found:
        flags = [guard.flag for guard in settings.guards]
        return RequestResult(
            "unknown", f"{name[:128]!r}: no guard of this flag is declared{did_you_mean(name[:128], flags)}"
        )
    if len(found) > 1:
        keys = ", ".join(guard.key for guard in found)
        return RequestResult("ambiguous", f"{name!r} names several guards; ask for one of: {keys}")
    try:
        with OpsStore.of(settings) as store:
            return _stored(store, found[0], actor, reason)
    except OpsStoreError as error:
        return RequestResult("unavailable", f"the ops store does not answer: {error}", found[0].key)


def _stored(store: OpsStore, guard: Guard, actor: str, reason: str) -> RequestResult:
    store.ensure(guard.key, guard.flag, guard.conversion, guard.environment)
    row = store.guard(guard.key)
    assert row is not None  # noqa: S101 - `ensure` has written it
    episode = row.episode or episode_id(guard.key, row.epoch)
    if row.state in UNFINISHED:
        return RequestResult("under_way", f"{guard.key} is {row.state}", guard.key, episode)
    if row.state not in _OPEN:
        return RequestResult(
            "latched",
            f"{guard.key} is {row.state} in epoch {row.epoch} (episode {row.episode}): {row.reason}. "
            f"`gtm guard rearm {guard.flag} --reason ...` watches it again",
            guard.key,
            episode,
        )
    episode = episode_id(guard.key, row.epoch)
    first = store.request_rollback(
        guard.key, row.epoch, episode=episode, actor=actor, reason=reason, at_us=time.time_ns() // 1000
    )
    word = "the sensor conversion_guard starts its run" if first else "it was asked for before"
    return RequestResult("asked", f"{word}: `gtm guard status` shows it", guard.key, episode)


def pending(store: OpsStore, row: GuardRow) -> RequestRow | None:
    """The request that the guard's next run carries out; None when there is none, or it could not be carried out."""
    if row.state not in _OPEN:
        return None
    request = store.rollback_request(row.guard, row.epoch)
    return None if request is None or request.refused is not None else request


def with_request(decision: Decision, request: RequestRow | None) -> Decision:
    """The decision, which is to act where somebody asked for it."""
    if request is None or decision.act:
        return decision
    return replace(decision, act=True, reason=f"{request_text(request)}; {decision.reason}")


def request_text(request: RequestRow) -> str:
    """Who asked for a rollback, when and why."""
    times = f" ({request.times} times, the last {moment(request.last_us)})" if request.times > 1 else ""
    return f"{request.actor} asked for a rollback at {moment(request.asked_us)}{times}: {request.reason}"
