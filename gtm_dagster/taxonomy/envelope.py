"""The fields around `properties`: msgspec types for the hot path, and their limits as tables for the other forms."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

ID_LIMITS: dict[str, int] = {"event_id": 128, "user_id": 256, "anonymous_id": 256, "session_id": 256}
"""Longest identifiers in characters; the shortest is 1."""

CONTEXT_LIMITS: dict[str, int] = {
    "source": 512,
    "medium": 512,
    "campaign": 512,
    "term": 512,
    "content": 512,
    "locale": 64,
    "page_url": 8192,
    "referrer": 8192,
    "click_id": 512,
    "country": 64,
    "region": 128,
    "timezone": 64,
}
"""Longest context texts in characters."""

CAMPAIGN_FIELDS = ("source", "medium", "campaign", "term", "content")
UTM_FIELDS = tuple(f"utm_{field}" for field in CAMPAIGN_FIELDS)
"""Other names in which `context` may give the five; the field itself wins."""
DEVICE_TYPES = ("web", "mobile", "api")
PURPOSES = ("analytics", "marketing", "personalization")
STAMPED = ("received_at", "write_key", "plan_version", "original_timestamp", "traceparent")
"""Fields that the collector and the SDK add: accepted at every door. Of a live event two count: copies are compared by
`original_timestamp`, where the collector moved `timestamp`, and `traceparent` names the trace it belongs to."""
NOT_KEPT = ("ip", "user_agent")
"""Context fields that many clients send: accepted, never kept (no PII at rest). The agent says whether a program sent it."""

MIN_US = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
MAX_US = int(datetime(2101, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
"""`event_us` lies in [MIN_US, MAX_US): the years 1990 to 2099."""
MAX_FUTURE_US = 3_600_000_000
"""A live event may be this far ahead of the receiver's clock (1 h)."""


class Context(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Where the event happened; lengths and meaning are judged afterwards."""

    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    term: str | None = None
    content: str | None = None
    device_type: Literal["web", "mobile", "api", ""] | None = None
    locale: str | None = None
    page_url: str | None = None
    referrer: str | None = None
    click_id: str | None = None
    country: str | None = None
    region: str | None = None
    timezone: str | None = None
    consent: dict[Literal["analytics", "marketing", "personalization"], bool] | None = None
    utm_source: str | None = None
    utm_medium: str | None = None
    utm_campaign: str | None = None
    utm_term: str | None = None
    utm_content: str | None = None
    ip: Any = None
    user_agent: Any = None


class Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One event as a client sends it."""

    event_name: str
    event_id: str | None = None
    timestamp: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    properties: dict[str, str | int | float | bool | None] | None = None
    context: Context | None = None
    received_at: Any = None
    write_key: Any = None
    plan_version: Any = None
    original_timestamp: Any = None
    traceparent: Any = None
