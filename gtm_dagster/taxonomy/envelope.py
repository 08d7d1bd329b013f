"""The fields around `properties`: msgspec types for the hot path, and their limits as tables for the other forms."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

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
}
"""Longest context texts in characters."""

DEVICE_TYPES = ("web", "mobile", "api")
PURPOSES = ("analytics", "marketing", "personalization")
STAMPED = ("received_at", "write_key", "plan_version")
"""Fields that the collector adds: accepted when an event is sent again, and ignored."""
NOT_KEPT = ("ip", "user_agent")
"""Context fields that many clients send: accepted, never kept (no PII at rest)."""

MIN_US = int(datetime(1990, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
MAX_US = int(datetime(2101, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
"""`event_us` lies in [MIN_US, MAX_US): the years 1990 to 2099."""
MAX_FUTURE_US = 3_600_000_000
"""A live event may be this far ahead of the receiver's clock (1 h)."""

_Id = Annotated[str, Meta(min_length=1, max_length=256)]
_Text = Annotated[str, Meta(max_length=512)]
_Url = Annotated[str, Meta(max_length=8192)]


class Context(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Where the event happened."""

    source: _Text | None = None
    medium: _Text | None = None
    campaign: _Text | None = None
    term: _Text | None = None
    content: _Text | None = None
    device_type: Literal["web", "mobile", "api"] | None = None
    locale: Annotated[str, Meta(max_length=64)] | None = None
    page_url: _Url | None = None
    referrer: _Url | None = None
    click_id: _Text | None = None
    country: Annotated[str, Meta(max_length=64)] | None = None
    region: Annotated[str, Meta(max_length=128)] | None = None
    consent: dict[Literal["analytics", "marketing", "personalization"], bool] | None = None
    ip: Any = None
    user_agent: Any = None


class Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One event as a client sends it."""

    event_id: Annotated[str, Meta(min_length=1, max_length=128)]
    event_name: str
    timestamp: Annotated[datetime, Meta(tz=True)]
    user_id: _Id | None = None
    anonymous_id: _Id | None = None
    session_id: _Id | None = None
    properties: dict[str, str | int | float | bool | None] | None = None
    context: Context | None = None
    received_at: Any = None
    write_key: Any = None
    plan_version: Any = None
