"""What a worker of messages is given, and the lanes it sends in: one a destination."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gtm_dagster.delivery.attempt import Leased
from gtm_dagster.delivery.message_store import Route
from gtm_dagster.delivery.message_templates import MessageTemplates
from gtm_dagster.delivery.receivers import Sender, sender_for
from gtm_dagster.delivery.retry_schedule import Pace
from gtm_dagster.delivery.target_address import Resolver, system_resolver
from gtm_dagster.settings.destinations import Destination

Allowed = Callable[[sqlite3.Connection, Leased], str | None]
"""Why a message must not go out any more (`consent`), as the database stands; None: it may."""
Observe = Callable[[str, str, Leased, int], None]
"""(destination, outcome, message, time): delivered, failed, refused, unknown, suppressed, expired; dead comes after one of these."""


def _no_alert(name: str, words: str) -> None:
    """Nobody is alerted."""


def unobserved(name: str, outcome: str, message: Leased, at_us: int) -> None:
    """Nothing is counted."""


@dataclass(frozen=True)
class Wiring:
    """What a worker is given. `alert` gets the name of a destination that wants no more messages, and one line about it.

    `turn` is held while the worker writes to the file, by the rules of the same process too.
    """

    destinations: Sequence[Destination]
    environ: Mapping[str, str]
    templates: MessageTemplates
    allowed: Allowed
    feed_days: int = 30
    alert: Callable[[str, str], None] = _no_alert
    observe: Observe = unobserved
    clock_us: Callable[[], int] = lambda: time.time_ns() // 1000
    resolver: Resolver = system_resolver
    turn: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class Lane:
    """One destination: its pace, its sender, and the routes that lead to it and have something due."""

    destination: Destination
    sender: Sender
    pace: Pace
    routes: list[Route] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The destination's name."""
        return self.destination.name

    @property
    def collapses(self) -> bool:
        """Whether alerts that come close are one message."""
        return self.destination.kind == "slack" and self.destination.collapse_seconds > 0

    @property
    def lease_us(self) -> int:
        """Longer than an attempt with its look-ups can take."""
        return round((2 * self.destination.timeout_seconds + 30) * 1e6)


def lanes_of(wiring: Wiring) -> dict[str, Lane]:
    """A lane a destination, by name."""
    return {
        each.name: Lane(
            each, sender_for(each, wiring.environ, wiring.templates, wiring.resolver), Pace(each.rate, each.in_flight)
        )
        for each in wiring.destinations
    }
