"""A guard with planted counts, a flag in a file or with a scripted provider, and a clock that only moves when asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from traffic_cases import drawn, steady

from gtm_dagster.gate.exposures import ARMS
from gtm_dagster.opsstore import OpsStore, ProducerRow
from gtm_dagster.rollout.control.acting import claim, turn_off, verify
from gtm_dagster.rollout.control.arming import rearm
from gtm_dagster.rollout.control.guard_context import GuardContext, StepResult
from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.decide import episode_id
from gtm_dagster.rollout.guard.packed_outcomes import unpacked
from gtm_dagster.rollout.providers import FlagState, ProviderError
from gtm_dagster.rollout.providers.flagd import Flagd, set_split
from gtm_dagster.settings import Guard, Notify, Settings

GUARD = Guard("checkout-v2", "payment_completed")
EPISODE = episode_id(GUARD.key, 1)
SINK = (Notify("webhook", url="http://127.0.0.1:9/hook"),)
MINUTE = 60_000_000


def settings_for(folder: Path, *guards: Guard, **more: Any) -> Settings:
    return msgspec.structs.replace(Settings(), state_dir=folder, guards=guards or (GUARD,), **more)


def broken(minutes: int = 20, factor: float = 0.1, **more: Any) -> Counts:
    """100 visitors a minute, base rate 20 %, the treated arm at `factor` of the control's rate."""
    return drawn(1, **{"per_minute": 100, "rate": 0.2, "minutes": minutes, "treated": steady(factor), **more})


def start_of(counts: Counts) -> int:
    """The event time of slot 0, so that the counts end about now."""
    return (time.time_ns() // 1000 // SLOT_US) * SLOT_US - counts.watermark_us


def plant(store: OpsStore, guard: Guard, counts: Counts, start_us: int, epoch: int = 1) -> int:
    """Write the counts as the stream worker would; returns the watermark at their end."""
    base = start_us // SLOT_US
    cells = {(epoch, slot + base, arm, age): 0 for slot, arm, age, _ in counts.rows()}
    for slot, arm, age, n in counts.rows():
        cells[epoch, slot + base, arm, age] += n
    with store.transaction() as con:
        store.add_cells(con, guard.key, cells)
        for name, columns in counts.to_json().get("metrics", {}).items():
            rows = zip(*(column.tolist() for column in unpacked(columns)), strict=True)
            planted = {(epoch, name, slot + base, ARMS[arm], age): n for slot, age, arm, n in rows}
            store.add_metric_cells(con, guard.key, planted)
    heard(store, start_us + counts.watermark_us)
    return start_us + counts.watermark_us


def heard(store: OpsStore, watermark_us: int, silent: Sequence[str] = ()) -> None:
    """Heartbeats up to a watermark, from all but the silent producers."""
    now = time.time_ns() // 1000
    with store.transaction() as con:
        store.set_producers(
            con,
            [
                ProducerRow(name, watermark_us, now - 300_000_000 if name in silent else now)
                for name in ("collector", "web")
            ],
        )


def armed(
    settings: Settings, store: OpsStore, counts: Counts, guard: Guard = GUARD, **more: Any
) -> tuple[GuardContext, int]:
    """A guard armed at the start of planted counts, and the watermark at their end. Half of the units are treated."""
    writer = more.pop("writer", None)
    if writer is None:
        set_split(settings.flags_path, guard.flag, 0.5)
        writer = Flagd(settings.flags_path)
    context = GuardContext(store, settings, guard, writer, **more)
    start_us = start_of(counts)
    rearm(context, "ana", "release 12", since_us=start_us)
    return context, plant(store, guard, counts, start_us)


class Clock:
    """Microseconds UTC from now on, moved by sleeping only."""

    def __init__(self) -> None:
        self.now = time.time_ns() // 1000
        self.slept: list[float] = []

    def __call__(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += round(seconds * 1e6)


class Scripted:
    """A provider that fails by script: `faults` maps a method to errors raised by its next calls, then it works.

    `serves_new`: clients are served the new flow although the flag is off. `events`: changes the provider recorded.
    """

    kind = "scripted"

    def __init__(self, **faults: list[ProviderError]) -> None:
        self.faults = faults
        self.state = FlagState(True, 0.5, "split-50", "50 %")
        self.serves_new = False
        self.events: list[str] = []
        self.meanwhile: Callable[[], None] | None = None

    def _fault(self, name: str) -> None:
        waiting = self.faults.get(name)
        if waiting:
            raise waiting.pop(0)

    def preflight(self, flag: str, environment: str) -> list[str]:
        self._fault("preflight")
        return []

    def read_back(self, flag: str, environment: str) -> FlagState:
        self._fault("read_back")
        return self.state

    def turn_off(self, flag: str, environment: str, *, comment: str, expected: FlagState | None) -> None:
        if self.meanwhile is not None:
            self.meanwhile()
        self._fault("turn_off")
        if self.state.enabled:
            self.events.append(comment)
            self.state = FlagState(False, None, "off", "off")

    def evaluate(self, flag: str, environment: str, units: Sequence[str]) -> list[bool]:
        self._fault("evaluate")
        return [self.state.enabled or self.serves_new for _ in units]


def down(times: int, retry: bool = True) -> list[ProviderError]:
    """Errors of the next calls."""
    return [ProviderError("scripted: 500", retry=retry) for _ in range(times)]


def through(context: GuardContext, watermark_us: int, attempt: int = 1) -> StepResult:
    """The whole run; the step it ended at."""
    for step in (
        lambda: claim(context, EPISODE, attempt, watermark_us, f"run-{attempt}"),
        lambda: turn_off(context, EPISODE),
        lambda: verify(context, EPISODE, f"run-{attempt}"),
    ):
        step_result = step()
        if not step_result.proceed:
            break
    return step_result


def states(store: OpsStore) -> list[str]:
    """The states the guard was moved to, oldest first."""
    return [move.to_state for move in store.history(GUARD.key)]


def scripted(
    folder: Path, store: OpsStore, writer: Scripted | None = None, **more: Any
) -> tuple[GuardContext, int, Scripted, Clock]:
    """An armed guard at a scripted provider, with the watermark of its breach and the clock."""
    clock = Clock()
    settings = settings_for(folder, notify=SINK)
    writer = writer or Scripted()
    context, watermark = armed(settings, store, broken(), writer=writer, now_us=clock, sleep=clock.sleep, **more)
    return context, watermark, writer, clock
