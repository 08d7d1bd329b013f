"""When an event happened, where the sender's clock is off."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from gtm_dagster.taxonomy.times import read_time

NO_TIME = "1970-01-01T00:00:00Z"
"""The `original_timestamp` of an event whose sender says how long ago it happened, and no time."""
SKEW_US = 60_000_000
"""A sender whose clock is off by less is believed: the way of a request takes time too, and would move every event."""


_sending = lru_cache(64)(read_time)
"""All events of a request were sent at one moment."""


def is_skewed(sent_at: str, received_us: int) -> bool:
    """Whether the clock by which a request was sent at `sent_at` is off by more than SKEW_US."""
    left = _sending(sent_at)
    return not isinstance(left, str) and abs(received_us - left) > SKEW_US


def time_fields(at: Any, sent_at: Any, received_us: int) -> dict[str, Any]:
    """`timestamp`, put right by `corrected_time`; where that moved it also `original_timestamp`, which stays the same however
    often the event is sent.
    """
    moved = corrected_time(at, sent_at, received_us) if isinstance(at, str) else at
    return {"timestamp": moved} if moved == at else {"timestamp": moved, "original_timestamp": at}


def corrected_time(at: str, sent_at: Any, received_us: int) -> str:
    """`at`, moved by how far the sender's clock is off where that is known and more than SKEW_US; never behind the receipt.

    `at`: RFC 3339, by the clock by which the sender says it sent at `sent_at`; `received_us`: microseconds UTC. What is no
    time is returned as it is.
    """
    left = _sending(sent_at) if isinstance(sent_at, str) else "unknown"
    if isinstance(left, str) or abs(received_us - left) <= SKEW_US:
        return at
    moment = read_time(at)
    return at if isinstance(moment, str) else time_text(min(moment + received_us - left, received_us)) or at


def time_text(moment_us: int) -> str | None:
    """Microseconds since the epoch, UTC, as RFC 3339; None beyond the years of a calendar."""
    try:
        return datetime.fromtimestamp(moment_us / 1e6, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return None


def epoch_text(moment: Any) -> Any:
    """Seconds since the epoch or, above what seconds can be, milliseconds, as RFC 3339; what is neither as it is."""
    if not isinstance(moment, int | float) or isinstance(moment, bool) or not abs(moment) < _LAST_MS:
        return moment
    return time_text(round(moment * (1e6 if abs(moment) < _FIRST_MS else 1e3))) or moment


_FIRST_MS, _LAST_MS = 1e11, 1e15
