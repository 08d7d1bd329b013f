"""The synthetic visitors of a drill: arrivals, exposures and conversions in simulated time, with a planted drop."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gtm_dagster.gate.controller import RolloutController
from gtm_dagster.settings import DRILL_EVENT, DRILL_FLAG
from gtm_dagster.tracking.event_id import uuid7

MINUTE_US = 60_000_000
BASE_RATE = 0.3
CONVERTS_WITHIN_SECONDS = 20.0


def rfc3339(us: int) -> str:
    """A moment in microseconds UTC as text."""
    return datetime.fromtimestamp(us / 1_000_000, UTC).isoformat().replace("+00:00", "Z")


@dataclass
class Visitors:
    """Synthetic visitors in simulated time, and their events. Also the gate's tracker: it stamps exposures.

    `break_us` is the moment of the planted break, `count` the visitors so far; the ids begin with `name`.
    """

    gate_of: Callable[[Visitors], RolloutController]
    rng: random.Random
    per_minute: float
    drop: float
    break_us: int
    name: str
    now_us: int = 0
    count: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate = self.gate_of(self)

    def track(self, event_name: str, /, **fields: Any) -> str:
        """Called by the gate for an exposure."""
        event = {"event_id": uuid7(), "event_name": event_name, "timestamp": rfc3339(self.now_us), **fields}
        self.events.append({key: value for key, value in event.items() if value is not None})
        return str(event["event_id"])

    def pass_time(self, until_us: int) -> list[dict[str, Any]]:
        """Arrivals and conversions until a moment; returns their events, conversions in their own time."""
        while True:
            arrival = self.now_us + round(self.rng.expovariate(self.per_minute / MINUTE_US))
            if arrival > until_us:
                break
            self.now_us = arrival
            self._arrive()
        self.now_us = until_us
        while self.waiting and self.waiting[0][0] <= until_us:
            moment, unit = heapq.heappop(self.waiting)
            self.events.append(
                {
                    "event_id": uuid7(),
                    "event_name": DRILL_EVENT,
                    "timestamp": rfc3339(moment),
                    "user_id": unit,
                    "properties": {"flag": DRILL_FLAG},
                    "context": {"device_type": "api"},
                }
            )
        events, self.events = self.events, []
        return events

    def _arrive(self) -> None:
        self.count += 1
        unit = f"{self.name}-{self.count}"
        new = self.gate.is_feature_enabled(unit, DRILL_FLAG)
        broken = new and self.now_us >= self.break_us
        if self.rng.random() < BASE_RATE * (1.0 - self.drop if broken else 1.0):
            later = self.now_us + round(self.rng.expovariate(1 / CONVERTS_WITHIN_SECONDS) * 1_000_000)
            heapq.heappush(self.waiting, (later, unit))
