"""`RolloutController`: what a product asks before it shows a new flow. Whatever goes wrong, the answer is the old one."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any, Self

from gtm_dagster.gate.answers import BREAKER, ERROR, KILLED, STALE, STATIC, TIMEOUT, GateStats, is_failure
from gtm_dagster.gate.breaker import Breaker, Permit
from gtm_dagster.gate.contained import Contained
from gtm_dagster.gate.countable import countable_units
from gtm_dagster.gate.exposures import SPLIT, Exposures, Tracker
from gtm_dagster.gate.freshness import Freshness
from gtm_dagster.gate.identity import Identity, Unit, UserIdentity, Visitor
from gtm_dagster.gate.kill_list import KillList
from gtm_dagster.gate.memory import FlagMemory
from gtm_dagster.gate.resolver import Resolver
from gtm_dagster.gate.workers import DeadlineExceeded, Workers

logger = logging.getLogger("gtm_dagster.rollout")

FAILURES = 3
"""Timeouts (or errors of one flag) in a row after which nobody asks any more."""
PAUSE = 4.0
"""Seconds between probes of a provider that failed; it is used again within this after it healed."""
LONG_PAUSE = 60.0
"""Seconds between probes once half of STUCK threads hang."""
STUCK = 128
"""Threads left in calls that never came back, at most; then no probe is sent until one does."""
CONCURRENT = 16
"""Calls to the provider at once."""
_FLAGS = 1000
"""Flags remembered; of names beyond that nothing is."""


class RolloutController:
    """Decides per unit whether a flag's new flow is shown, and emits each decision once as `flag_exposed`.

    `provider` is an OpenFeature provider (or anything with `resolve_boolean_details`), or a function that returns one:
    then a forked child starts its own; without it the child serves the old flow, because the threads that keep the
    provider up to date do not survive a fork. `tracker` is a GtmTracker.

    An answer takes at most `deadline_ms` and what the tracker needs. The old flow is served when the provider is late,
    fails, answers anything but True or False, has no healthy state for `staleness_seconds`, or when the flag is on
    `kill_list` (a file, see `gate.kill_list`); there is no default to set. `identity` turns what the product passes into
    the unit that is assigned and counted (default: the user id). `synced_at` returns the Unix seconds of the
    provider's last successful fetch, None for never; a provider with a method of that name needs none.
    `split_reasons` are the provider's reasons that mean a random split beside OpenFeature's, `remember` is how many
    exposures are known to be emitted, `start_seconds` how long the constructor waits for the provider's first state.

    Create one per process and `close()` it, or use it as a context manager. ValueError for arguments out of range;
    `is_feature_enabled` raises nothing.
    """

    def __init__(
        self,
        provider: Any,
        tracker: Tracker,
        *,
        deadline_ms: float = 200,
        identity: Identity | None = None,
        staleness_seconds: float = 60.0,
        kill_list: str | os.PathLike[str] | None = None,
        checkout_flag: str = "checkout-v2",
        synced_at: Callable[[], float | None] | None = None,
        split_reasons: Collection[str] = (SPLIT, "TARGETING_MATCH"),
        remember: int = 100_000,
        start_seconds: float = 2.0,
    ) -> None:
        for name, value in (("deadline_ms", deadline_ms), ("staleness_seconds", staleness_seconds)):
            if not value > 0:
                raise ValueError(f"{name}={value!r} must be above 0")
        if not start_seconds >= 0:
            raise ValueError(f"start_seconds={start_seconds!r} must be at least 0")
        if remember < 1:
            raise ValueError(f"remember={remember!r} must be at least 1")
        if not _is_name(checkout_flag):
            raise ValueError(f"checkout_flag={checkout_flag!r} must be the name of a flag")
        if not callable(getattr(tracker, "track", None)):
            raise ValueError(
                f"tracker={tracker!r} has no method track(); without exposures no guard can watch the flag"
            )
        if isinstance(split_reasons, str):
            raise ValueError(f"split_reasons={split_reasons!r} must be a collection of reasons")
        self.checkout_flag = checkout_flag
        is_factory = isinstance(provider, type) or not hasattr(provider, "resolve_boolean_details")
        self._factory = provider if is_factory and callable(provider) else None
        if self._factory is not None:
            provider = self._factory()
        if not callable(getattr(provider, "resolve_boolean_details", None)):
            raise ValueError(
                f"provider={provider!r} has no method resolve_boolean_details(); pass an OpenFeature provider"
            )
        self._deadline = deadline_ms / 1000
        self._staleness = staleness_seconds
        self._synced_at = synced_at
        self._identity: Identity = identity if identity is not None else UserIdentity()
        self._split_reasons = frozenset(str(reason) for reason in split_reasons)
        self._countable = countable_units()
        self._killed = KillList(None if kill_list is None else Path(kill_list))
        self._exposures = Exposures(tracker, remember)
        self._closed = False
        self._forked: threading.Lock | None = None
        self._begin(provider)
        self._resolver.wait(start_seconds)
        os.register_at_fork(after_in_child=partial(_after_fork, weakref.ref(self)))

    def is_feature_enabled(self, user_id: str | Visitor, flag: str) -> bool:
        """Whether this unit gets the new flow of `flag`. False whenever that is not certain; raises nothing.

        An empty id or flag, a visitor the identity does not know, an id that the tracking plan would refuse (so that no
        guard could count it), or an identity that fails count as reason ERROR.
        """
        unit: Unit | None = None
        try:
            with Contained():
                unit = self._identity.unit(user_id) if isinstance(user_id, str | Visitor) else None
            if unit is None or not _is_name(flag) or not self._countable(unit):
                self._exposures.unknown(ERROR)
                return False
            return self._decide(flag, unit)
        except Exception:
            logger.exception("flag %r: the old flow is served", flag)
            self._exposures.unknown(ERROR)
            return False

    def gate_checkout(self, user_id: str | Visitor) -> bool:
        """`is_feature_enabled` for the flag of the checkout flow."""
        return self.is_feature_enabled(user_id, self.checkout_flag)

    def stats(self) -> GateStats:
        """The counts so far."""
        answers, treated, emitted, untracked = self._exposures.counts()
        return GateStats(
            answers, treated, emitted, untracked, self._workers.stuck, self._late.is_open, self._freshness.stale()
        )

    def close(self) -> None:
        """Stop the threads, and the provider when it was started here; every answer is the old flow from then on."""
        if not self._closed:
            self._closed = True
            if self._pid == os.getpid():
                self._workers.close()
                self._resolver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, provider: Any) -> None:
        """Threads, breakers and a started provider."""
        self._pid = os.getpid()
        self._workers = Workers(CONCURRENT, STUCK)
        self._late = Breaker(FAILURES, self._pause)
        self._flags: dict[str, FlagMemory] = {}
        self._freshness = Freshness(self._staleness, self._synced_at or getattr(provider, "synced_at", None))
        self._resolver = Resolver(provider, self._freshness)

    def _pause(self) -> float:
        return PAUSE if self._workers.stuck < self._workers.stuck_limit / 2 else LONG_PAUSE

    def _decide(self, flag: str, unit: Unit) -> bool:
        if (forked := self._forked) is not None:
            self._revive(forked)
        memory = self._memory(flag)
        if self._killed.killed(flag):
            memory.killed()
            return self._old_flow(flag, memory, unit, KILLED)
        if self._closed:
            return self._old_flow(flag, memory, unit, ERROR)
        if self._freshness.stale():
            return self._old_flow(flag, memory, unit, STALE)
        for breaker in (self._late, memory.breaker):
            permit = breaker.permit()
            if permit is Permit.PROBE:
                self._workers.start(partial(self._probe, flag, memory, unit.key))
            if permit is not Permit.ASK:
                return self._old_flow(flag, memory, unit, BREAKER)
        try:
            details = self._workers.call(partial(self._resolver.resolve, flag, unit.key), self._deadline)
        except DeadlineExceeded:
            if self._late.failed():
                logger.warning("flag provider late %d times in a row: serving the old flow, probing", FAILURES)
            return self._old_flow(flag, memory, unit, TIMEOUT)
        except Exception as error:  # noqa: BLE001 - whatever the provider raises, the product goes on
            return self._failed(flag, memory, unit, error)
        if is_failure(details):
            message = getattr(details, "error_message", None)
            value = getattr(details, "value", details)
            return self._failed(flag, memory, unit, message or f"not True or False: {value!r}")
        return self._answered(flag, memory, unit, details)

    def _memory(self, flag: str) -> FlagMemory:
        memory = self._flags.get(flag)
        if memory is None:
            memory = FlagMemory(Breaker(FAILURES, self._pause))
            if len(self._flags) < _FLAGS:
                memory = self._flags.setdefault(flag, memory)
        return memory

    def _answered(self, flag: str, memory: FlagMemory, unit: Unit, details: Any) -> bool:
        self._late.succeeded()
        memory.breaker.succeeded()
        metadata = getattr(details, "flag_metadata", None)
        reason = str(getattr(details, "reason", None))
        if reason in self._split_reasons or reason.endswith(SPLIT):
            memory.split(metadata)
            self._exposures.note(flag, memory, unit, SPLIT, details.value)
        else:
            memory.static(metadata)
            self._exposures.note(flag, memory, unit, STATIC, details.value)
        return details.value

    def _failed(self, flag: str, memory: FlagMemory, unit: Unit, error: object) -> bool:
        self._late.succeeded()
        if memory.breaker.failed():
            logger.warning(
                "flag %r failed %d times in a row: serving the old flow, probing (%s)", flag, FAILURES, error
            )
        return self._old_flow(flag, memory, unit, ERROR)

    def _old_flow(self, flag: str, memory: FlagMemory, unit: Unit, reason: str) -> bool:
        self._exposures.note(flag, memory, unit, reason, False)
        return False

    def _probe(self, flag: str, memory: FlagMemory, key: str) -> None:
        """Ask once while a breaker is open; an answer in time closes it. Runs on a worker."""
        begin = time.monotonic()
        try:
            failed = is_failure(self._resolver.resolve(flag, key))
        except BaseException:  # noqa: BLE001 - an error is an answer of the provider, not of the flag
            failed = True
        if time.monotonic() - begin > self._deadline:
            return
        if self._late.probed():
            logger.warning("flag provider answers again")
        if not failed and memory.breaker.probed():
            logger.warning("flag %r is answered again", flag)

    def _after_fork(self) -> None:
        self._forked = threading.Lock()
        self._exposures.renew()

    def _revive(self, forked: threading.Lock) -> None:
        """In a forked child, at its first question: threads of its own, and a provider when there is a function that returns one."""
        with forked:
            if self._forked is None:
                return
            if self._factory is not None:
                with Contained():
                    self._begin(self._factory())
            else:
                self._go_on_alone()
            self._forked = None

    def _go_on_alone(self) -> None:
        self._workers = Workers(CONCURRENT, STUCK)
        self._late, self._flags = Breaker(FAILURES, self._pause), {}
        self._freshness = Freshness(self._staleness)
        if self._resolver.has_threads:
            logger.error(
                "forked: the flag provider's threads are gone, the old flow is served; "
                "create the RolloutController in the child, or pass a function that returns the provider"
            )
        else:
            self._freshness.healthy()


def _after_fork(reference: weakref.ref[RolloutController]) -> None:
    controller = reference()
    if controller is not None:
        controller._after_fork()


def _is_name(flag: object) -> bool:
    return isinstance(flag, str) and bool(flag.strip())
