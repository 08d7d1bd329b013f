"""A flag that is ramped in simulated time: visitors are planted at the share its provider serves, and the clock moves on."""

from __future__ import annotations

import time
from threading import Event
from typing import Any

import msgspec
import numpy as np
import pytest
from acting_cases import GUARD, heard
from traffic_cases import PER_MINUTE

from gtm_dagster.opsstore import OpsStore
from gtm_dagster.rollout.control import acting, ramping
from gtm_dagster.rollout.control.arming import rearm
from gtm_dagster.rollout.control.evaluation import evaluate
from gtm_dagster.rollout.control.guard_context import GuardContext, StepResult
from gtm_dagster.rollout.control.ramp_standing import RampStanding, served_share
from gtm_dagster.rollout.guard.counts import EXPOSURES, SLOT_US
from gtm_dagster.rollout.guard.decide import episode_id
from gtm_dagster.settings import Guard, Ramp, Settings

STEPS = (0.01, 0.05, 0.25, 0.5, 1.0)
RAMP = Ramp(steps=STEPS, min_hours=0.1, loss=0.3)
RAMPED: Guard = msgspec.structs.replace(GUARD, ramp=RAMP)


class RampWorld:
    """`context` acts on the flag; `clock` is the time of all code (microseconds UTC), moved by `go` only.

    `real`: whoever waits for the provider waits.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        settings: Settings,
        store: OpsStore,
        writer: Any,
        guard: Guard = RAMPED,
        *,
        real: bool = False,
    ) -> None:
        self.clock = (time.time_ns() // 1000 // SLOT_US) * SLOT_US
        self.seed, self.real = 0, real
        monkeypatch.setattr(time, "time_ns", lambda: self.clock * 1000)
        self.store = store
        self.context = GuardContext(store, settings, guard, writer, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        if self.real:
            Event().wait(seconds)
        self.clock += round(seconds * 1e6)

    def arm(self) -> None:
        rearm(self.context, "ana", "rollout begins")

    def go(self, minutes: int, factor: float = 1.0, per_minute: float = 1000, rate: float = 0.5) -> None:
        """Visitors for so many minutes, the treated ones at `factor` of the control's rate; then the clock is there."""
        self.clock = -(-self.clock // SLOT_US) * SLOT_US
        self.seed += 1
        rng, slots, share = np.random.default_rng(self.seed), minutes * PER_MINUTE, self.share
        epoch, first = self.context.row.epoch, self.clock // SLOT_US
        cells: dict[tuple[int, int, str, int], int] = {}
        for arm, part, chance in (("control", 1 - share, rate), ("treatment", share, rate * factor)):
            units = rng.poisson(per_minute / PER_MINUTE * part, slots)
            for age, numbers in ((EXPOSURES, units), (0, rng.binomial(units, chance))):
                cells |= {(epoch, first + int(i), arm, age): int(numbers[i]) for i in np.flatnonzero(numbers)}
        with self.store.transaction() as con:
            self.store.add_cells(con, self.context.guard.key, cells)
        self.clock += minutes * 60_000_000
        heard(self.store, self.clock)

    def lose(self, minutes: int = 30, factor: float = 0.5) -> StepResult:
        """A planted loss, and the whole rollback run on what is counted then."""
        self.go(minutes, factor)
        key, episode = self.context.guard.key, episode_id(self.context.guard.key, self.context.row.epoch)
        seen = evaluate(self.store, self.context.settings, self.context.guard, self.context.row, self.clock)
        assert seen.decision.act, seen.decision.reason
        result = acting.claim(self.context, episode, 1, self.clock, "run")
        assert result.proceed, (key, result)
        assert acting.turn_off(self.context, episode).proceed
        return acting.verify(self.context, episode, "run")

    @property
    def share(self) -> float:
        share = served_share(self.context.read_back())
        assert share is not None
        return share

    @property
    def standing(self) -> RampStanding:
        return ramping.standing_of(self.context)

    @property
    def kinds(self) -> list[str]:
        """What the next step waits for."""
        return [wait.kind for wait in self.standing.waits]

    def take(self, actor: str = "ana", reason: str = "looks good", step: str = "", run_id: str = "run") -> StepResult:
        """The whole run; the part it ended at."""
        result = ramping.begin(self.context, actor, reason, run_id, step=step)
        for part in (ramping.write, ramping.finish):
            if result.proceed:
                result = part(self.context, result.episode)
        return result

    def climb(self, to: float, minutes: int = 60) -> None:
        """Take the steps up to a share, with enough healthy visitors between them."""
        while self.share < to:
            result = self.take()
            assert result.outcome == "taken", result
            self.go(minutes)
