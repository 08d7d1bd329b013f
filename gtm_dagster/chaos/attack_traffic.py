"""A shop whose visitors are served by a guarded flag, and an attacker who has a client key: both send over HTTP, in threads.

The attacker knows everything a page could tell, the ids of the shop's visitors and their arms included.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import requests

from gtm_dagster.rollout.providers import ProviderError
from gtm_dagster.rollout.providers.flagd import Flagd
from gtm_dagster.settings import DRILL_FLAG, DRILL_REASON, Guard

PER_SECOND = 20
"""Visitors of the shop."""
BASE_RATE = 0.5
BATCH = 40
PAUSE_SECONDS = 0.5
"""Between two rounds of an attacker: what its requests count for is the point, not how many there are."""
MOST_EVENTS = 100_000
_BEAT_SECONDS = 5.0
_NAMES = ("shop", "collector", "zzz", f"drill/{DRILL_FLAG}", "stream/checkout-v2", "two words")
Event = dict[str, Any]


class Sender(threading.Thread, ABC):
    """A thread that sends until it is stopped; `answers` by route and status."""

    def __init__(self, url: str, key: str, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.answers: Counter[tuple[str, int]] = Counter()
        self.statuses: Counter[str] = Counter()
        self.failure: str | None = None
        self._url, self._key = url, key
        self._stopped = threading.Event()
        self._session = requests.Session()
        self._ids = itertools.count(1)
        self._unit = f"{name}-{time.time_ns():x}"

    def run(self) -> None:
        """Rounds of `send`, one after the other."""
        while not self._stopped.is_set():
            try:
                pause = self.send()
            except (requests.RequestException, ProviderError) as error:
                self.failure = f"{type(error).__name__}: {error}"
                pause = 1.0
            self._stopped.wait(pause)

    @abstractmethod
    def send(self) -> float:
        """One round; returns the seconds to wait after it."""

    def stop(self) -> None:
        """End after the request under way."""
        self._stopped.set()
        self.join(60)
        self._session.close()

    def post(self, route: str, body: Any, key: str | None = None) -> requests.Response:
        """Send a document; counts its answer, and of events each verdict."""
        headers = {"X-Write-Key": self._key if key is None else key}
        try:
            answer = self._session.post(f"{self._url}{route}", json=body, headers=headers, timeout=60)
        except requests.ConnectionError:  # the server ended a connection on which nothing came for some seconds
            answer = self._session.post(f"{self._url}{route}", json=body, headers=headers, timeout=60)
        self.answers[route, answer.status_code] += 1
        if route == "/ingest" and answer.status_code == 200:
            self.statuses.update(each["status"] for each in answer.json()["results"])
        return answer

    def event(self, name: str, at: float, unit: str, properties: Event, **more: Any) -> Event:
        moment = datetime.fromtimestamp(at, UTC).isoformat()
        return {
            "event_id": f"{self._unit}-{next(self._ids)}", "event_name": name, "timestamp": moment, "user_id": unit,
            "properties": properties,
        } | more  # fmt: skip

    def exposed(self, guard: Guard, at: float, unit: str, arm: str, **more: Any) -> Event:
        properties = {"flag": guard.flag, "variant": arm, "served": arm, "reason": "SPLIT"} | more
        return self.event("flag_exposed", at, unit, properties)

    def paid(self, at: float, unit: str, **more: Any) -> Event:
        return self.event("payment_completed", at, unit, {"amount": 10, "currency": "EUR"} | more)


class Shop(Sender):
    """A server: visitors get the flow that the flag file serves them, half of them pay. `broken`: none of the new flow does.

    `visitors`: the newest ones as (id, arm).
    """

    def __init__(self, url: str, key: str, guard: Guard, flags: Flagd, seed: int) -> None:
        super().__init__(url, key, "shop")
        self.broken = False
        self.visitors: deque[tuple[str, str]] = deque(maxlen=4000)
        self.new_flow = 0
        self._guard, self._flags = guard, flags
        self._rng = random.Random(seed)  # noqa: S311 - traffic, not a secret
        self._sent_at, self._beat_at = time.time(), 0.0

    def send(self) -> float:
        now = time.time()
        amount = min(round((now - self._sent_at) * PER_SECOND), 20 * PER_SECOND)
        self._sent_at = now if amount else self._sent_at
        units = [f"{self._unit}-{next(self._ids)}" for _ in range(amount)]
        served = self._flags.evaluate(self._guard.flag, self._guard.environment, units) if units else []
        events = []
        for unit, new in zip(units, served, strict=True):
            arm = "treatment" if new else "control"
            self.visitors.append((unit, arm))
            events.append(self.exposed(self._guard, now, unit, arm))
            if not (new and self.broken) and self._rng.random() < BASE_RATE:
                events.append(self.paid(now, unit))
        self.new_flow += sum(served)
        if events:
            self.post("/ingest", events)
        if now - self._beat_at >= _BEAT_SECONDS:
            self._beat_at = now
            self.post("/heartbeat", {"producer": "shop"})
        return 1.0


class Attacker(Sender):
    """Who has a client key. `hides`: it hides a loss of the new flow, else it invents one; it blinds in either case.

    `since_us`: when the guard's epoch began; `evidence`: events sent that a server's key would have had counted in it.
    """

    def __init__(
        self, url: str, key: str, guard: Guard, visitors: Callable[[], list[tuple[str, str]]], since_us: int, seed: int
    ) -> None:
        super().__init__(url, key, f"attacker{seed}")
        self.hides = False
        self.sent = 0
        self.evidence = 0
        self._guard, self._visitors, self._since_us = guard, visitors, since_us
        self._rng = random.Random(seed)  # noqa: S311 - traffic, not a secret

    def send(self) -> float:
        if self.sent < MOST_EVENTS:
            now, visitors = time.time(), self._visitors()
            events = [event for _ in range(BATCH) for event in self._forged(now, visitors)]
            self.sent += len(events)
            self.post("/ingest", events)
        for name in _NAMES:
            self.post("/heartbeat", {"producer": name, "ts": self._rng.choice([0, time.time() + 3000])})
        path = f"/guards/{self._rng.choice([self._guard.flag, self._guard.key])}/rollback"
        self.post(path, {"reason": "x"})
        self.post(path, {"reason": "x"}, key="")
        self.post("/heartbeat", {"producer": "shop"}, key="stolen")
        return PAUSE_SECONDS

    def _forged(self, now: float, visitors: list[tuple[str, str]]) -> list[Event]:
        """Events that would force a rollback or hide a loss, and some that would blind, if they were believed."""
        unit, arm = self._rng.choice(visitors) if visitors else ("nobody", "control")
        invented = f"{self._unit}-{next(self._ids)}"
        events = [
            self.paid(now, f"nobody-{invented}"),  # conversions that match nobody
            self.paid(now, unit, amount="much"),  # refused ones of either arm
            self.event("user_identified", now, f"link-{invented}", {}, anonymous_id=unit),
            self.exposed(self._guard, now, invented, "treatment", reason=DRILL_REASON),
        ]
        if self.hides:
            events += [
                self.paid(now, unit),
                self.exposed(self._guard, now, invented, "treatment"),
                self.paid(now, invented),
            ]
        else:
            events += [self.exposed(self._guard, now, invented, "treatment")]  # new flow, and nobody pays
            events += [self.paid(now, unit)] if arm == "control" else []
            events += [self.exposed(self._guard, now - 600, unit, "treatment")]
        self.evidence += sum(map(self._is_evidence, events))
        return events

    def _is_evidence(self, event: Event) -> bool:
        """Whether it is a conversion, or an exposure by lot, of the guard's epoch; a refused one is of its receipt."""
        lot = event["event_name"] == "flag_exposed" and event["properties"]["reason"] == "SPLIT"
        at_us = round(datetime.fromisoformat(event["timestamp"]).timestamp() * 1e6)
        return (lot or event["event_name"] == self._guard.conversion) and at_us >= self._since_us
