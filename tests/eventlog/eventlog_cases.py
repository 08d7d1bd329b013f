"""Records made by hand, and a log to put them in."""

from __future__ import annotations

from typing import Any

from gtm_dagster.eventlog import Record

MARCH_1 = 1_772_323_200_000_000
"""2026-03-01T00:00:00Z in microseconds."""
DAY_US = 86_400_000_000


def record(event_id: str | None, **changed: Any) -> Record:
    """An accepted page view of 2026-03-01, with `changed` fields."""
    told: dict[str, Any] = {
        "write_key": "shop",
        "event_id": event_id,
        "event_name": "page_viewed",
        "event_us": MARCH_1,
        "received_us": MARCH_1 + 1,
        "anonymous_id": "a" * 32,
        "properties": "{}",
        "plan_version": "1-0-0",
    }
    return Record(**(told | changed))


def quarantined(event_id: str | None, **changed: Any) -> Record:
    """A refused event without a readable time."""
    told = {"event_us": None, "verdict": "quarantined", "reason_codes": "type", "errors": "[]", "sealed": b"\x01\x00"}
    return record(event_id, **(told | changed))
