"""The drill of a guard: synthetic traffic on a canary flag through the whole real path until the flag is off.

The traffic starts half an hour ago and ends now at the latest, many times faster than real: the guard's clock is the
watermark, so its rule is unchanged. The guard counts the drill's events and no table keeps them.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests

from gtm_dagster.collector.address import running_address
from gtm_dagster.collector.keys import DEV_KEY, KeyStore
from gtm_dagster.demo.drill_result import DrillResult, drill_lines, first_decided_us
from gtm_dagster.demo.live import collector, same_deployment, stop
from gtm_dagster.demo.visitors import MINUTE_US, Visitors, rfc3339
from gtm_dagster.gate.controller import RolloutController
from gtm_dagster.opsstore import OpsStore, RollbackRow
from gtm_dagster.rollout.control.arming import Refused, rearm
from gtm_dagster.rollout.control.evaluation import evaluate
from gtm_dagster.rollout.control.guard_context import GuardContext
from gtm_dagster.rollout.providers import ProviderError
from gtm_dagster.rollout.providers.flagd import set_split
from gtm_dagster.settings import DRILL_FLAG, Guard, Settings
from gtm_dagster.storage.private_dir import private_dir
from gtm_dagster.stream.worker_lock import StreamLock

__all__ = ["DrillError", "drill_lines", "run_drill"]

SLICE_US = 15_000_000
_KEY_PREFIX = "guard-drill-"
PRODUCER = f"drill/{DRILL_FLAG}"
WAIT_SECONDS = 180.0
BROKEN_SLICE_SECONDS = 0.25
"""Pace after the break, a minute a second: the worker and the guard look several times a second, as in real time."""


class DrillError(Exception):
    """The drill cannot run or did not end; the message says what happened and what to do."""


def run_drill(
    settings: Settings,
    tick: Callable[[Settings], object],
    *,
    drop: float = 0.6,
    per_minute: float = 200.0,
    healthy_minutes: float = 12.0,
    broken_minutes: float = 20.0,
    seed: int = 7,
    tell: Callable[[str], None] = lambda _: None,
) -> DrillResult:
    """Plant a relative `drop` on the treated arm of the canary and wait until its flag is verified off.

    With a running deployment (`gtm dev`, or `gtm collect`, `gtm stream` and Dagster) its own collector, worker and
    sensor do the work; without one they are started here, and `tick` does what the sensor would. Raises DrillError.
    """
    began = time.monotonic()
    guard = next(guard for guard in settings.watched if guard.flag == DRILL_FLAG)
    provider = settings.provider_of(guard)
    file = provider.file
    if provider.kind != "flagd" or file is None:
        raise DrillError(
            f"the drill needs its flag in a flag file, and {DRILL_FLAG} is at {provider.kind}; leave its guard to the provider flagd"
        )
    with ExitStack() as stack:
        store = stack.enter_context(OpsStore.of(settings))
        running = StreamLock(settings.state_dir).taken()
        endpoint = stack.enter_context(_pipeline(settings, running))
        now_us = time.time_ns() // 1000
        start_us = now_us - round((healthy_minutes + broken_minutes) * MINUTE_US)
        epoch = _arm(settings, store, guard, file, start_us)
        tell(f"armed {guard.key}, epoch {epoch}; {per_minute:g} visitors a minute, half of them on the new flow")
        visitors = Visitors(
            lambda tracker: _gate(file, tracker, settings, stack),
            random.Random(seed),  # noqa: S311 - traffic, not a secret
            per_minute,
            drop,
            start_us + round(healthy_minutes * MINUTE_US),
            f"drill-{epoch}-{now_us}",
            start_us,
        )
        write_key = stack.enter_context(_write_key(KeyStore(settings.keys_dir)))
        return _Drill(settings, store, guard, endpoint, write_key, running, visitors, tell, tick).run(began)


class _Drill:
    """A drill under way: sends, watches, and (without a running deployment) acts as the sensor would."""

    def __init__(
        self,
        settings: Settings,
        store: OpsStore,
        guard: Guard,
        endpoint: str,
        write_key: str,
        running: bool,
        visitors: Visitors,
        tell: Callable[[str], None],
        tick: Callable[[Settings], object],
    ) -> None:
        self.settings, self.store, self.guard, self.endpoint = settings, store, guard, endpoint
        self.write_key = write_key
        self.running, self.visitors, self.tell, self.tick = running, visitors, tell, tick

    def run(self, began: float) -> DrillResult:
        until = time.monotonic() + WAIT_SECONDS
        decided: float | None = None
        row: RollbackRow | None = None
        break_reported = False
        while row is None or not row.verified:
            if time.monotonic() > until:
                raise DrillError(self._why_not(decided))
            if decided is None:
                self._send()
            if not break_reported and self.visitors.now_us >= self.visitors.break_us:
                break_reported = True
                self.tell(
                    f"planted: the new flow loses {self.visitors.drop:.0%} of its conversions from {rfc3339(self.visitors.break_us)} on"
                )
            act, row = self._look()
            if row is None and not act:
                decided = None  # a breach that broke off before anybody acted on it; the hold begins again
            elif decided is None and act:
                # From here on seconds count, not minutes: traffic at many times its real pace could end the breach
                # before the sensor looks again.
                decided = time.time()
                until = time.monotonic() + WAIT_SECONDS
                self.tell("the guard has decided")
                if not self.running:
                    self.tick(self.settings)
                    continue
            if break_reported:
                time.sleep(BROKEN_SLICE_SECONDS)
        decided = decided if decided is not None else (row.intent_us or 0) / 1_000_000
        after = self._served_new_after()
        return DrillResult(
            episode=row.episode,
            drop=self.visitors.drop,
            visitors=self.visitors.count,
            detected_after_minutes=(first_decided_us(row) - self.visitors.break_us) / MINUTE_US,
            estimate=row.estimate or 0.0,
            log_e=row.log_e or 0.0,
            requested_seconds=max((row.intent_us or 0) / 1e6 - decided, 0.0),
            off_seconds=max((row.acked_us or 0) / 1e6 - decided, 0.0),
            verified_seconds=max((row.effective_us or 0) / 1e6 - decided, 0.0),
            verified=row.verified,
            served_new_after=after,
            seconds=time.monotonic() - began,
        )

    def _send(self) -> None:
        """One slice of traffic, never beyond now."""
        until_us = min(self.visitors.now_us + SLICE_US, time.time_ns() // 1000)
        events = self.visitors.pass_time(until_us)
        headers = {"X-Write-Key": self.write_key}
        try:
            if events:
                requests.post(f"{self.endpoint}/ingest", json=events, headers=headers, timeout=30).raise_for_status()
            beat = {"producer": PRODUCER, "ts": rfc3339(until_us)}
            requests.post(f"{self.endpoint}/heartbeat", json=beat, headers=headers, timeout=30).raise_for_status()
        except requests.RequestException as error:
            raise DrillError(f"the collector did not take the drill's events: {error}") from None

    def _look(self) -> tuple[bool, RollbackRow | None]:
        """Whether the guard has decided, and the rollback of this epoch when there is one."""
        guard_row = self.store.guard(self.guard.key)
        assert guard_row is not None  # noqa: S101 - armed above
        row = self.store.rollback(guard_row.episode) if guard_row.episode else None
        if row is not None:
            return True, row
        return evaluate(self.store, self.settings, self.guard, guard_row, time.time_ns() // 1000).decision.act, None

    def _served_new_after(self) -> int:
        """How many of 200 fresh visitors the gate still gives the new flow."""
        gate = self.visitors.gate
        return sum(gate.is_feature_enabled(f"{self.visitors.name}-after-{n}", DRILL_FLAG) for n in range(200))

    def _why_not(self, decided: float | None) -> str:
        row = self.store.guard(self.guard.key)
        if decided is not None:
            return (
                f"decided, but not verified off within {WAIT_SECONDS:g} s (state {row.state if row else 'unknown'}): "
                "is the sensor conversion_guard on, and does the queue take runs?"
            )
        if row is None:
            return "the guard has no row"
        decision = evaluate(self.store, self.settings, self.guard, row, time.time_ns() // 1000).decision
        return f"no decision within {WAIT_SECONDS:g} s: {decision.state}, {decision.reason}"


def _arm(settings: Settings, store: OpsStore, guard: Guard, file: Path, start_us: int) -> int:
    """A fresh epoch of the canary, its flag on for half of the visitors."""
    store.ensure(guard.key, guard.flag, guard.conversion, guard.environment)
    row = store.guard(guard.key)
    assert row is not None  # noqa: S101 - ensured above
    since_us = max(start_us, (row.epoch_since_us or 0) + 1)
    try:
        set_split(file, DRILL_FLAG, 0.5, epoch=row.epoch + 1)
        return rearm(GuardContext.of(settings, store, guard, os.environ), "drill", "gtm guard drill", since_us)
    except (ProviderError, Refused) as error:
        raise DrillError(str(error)) from None


def _gate(file: Path, tracker: Visitors, settings: Settings, stack: ExitStack) -> RolloutController:
    from openfeature.contrib.provider.flagd import FlagdProvider
    from openfeature.contrib.provider.flagd.config import ResolverType

    provider = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(file), deadline_ms=100)
    stack.callback(provider.shutdown)
    return RolloutController(provider, tracker, kill_list=settings.kill_list_path)


@contextmanager
def _write_key(keys: KeyStore) -> Iterator[str]:
    """`dev` while it opens something; beside real keys one of the drill's own, which ends with it.

    A key that a killed drill left is taken away first.
    """
    for key in keys.list():
        if key.name.startswith(_KEY_PREFIX):
            keys.revoke(key.name)
    if not keys.list():
        yield DEV_KEY
        return
    name = f"{_KEY_PREFIX}{secrets.token_hex(4)}"
    secret = keys.add(name)
    try:
        yield secret
    finally:
        keys.revoke(name)


@contextmanager
def _pipeline(settings: Settings, running: bool) -> Iterator[str]:
    """The collector's address; without a running deployment a collector and a stream worker of our own."""
    if running:
        address = running_address(settings.state_dir)
        if address is None:
            raise DrillError(
                f"a stream worker runs in {settings.state_dir}, and no collector whose events it counts: start `gtm collect`"
            )
        yield address
        return
    with ExitStack() as stack:
        folder = settings.state_dir / "demo"
        private_dir(folder)
        endpoint = stack.enter_context(collector(settings, ExitStack()))
        output = folder / "stream.log"
        with output.open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "gtm_dagster.cli", "stream"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **same_deployment(settings)},
            )
        stack.callback(stop, worker)
        yield endpoint
