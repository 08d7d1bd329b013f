"""The SDK that runs inside a product: events are validated here, queued, and delivered to a collector in the background.

Here belongs what leaves the product's process. Not here: anything heavy; it imports only msgspec, requests, PyYAML, the
standard library and the light half of `taxonomy`.
"""

from typing import TYPE_CHECKING, Any

from gtm_dagster.tracking.current_request import AsgiRequests, WsgiRequests
from gtm_dagster.tracking.event_builder import InvalidEvent
from gtm_dagster.tracking.feed_token import feed_token
from gtm_dagster.tracking.request_context import context_from_request
from gtm_dagster.tracking.tracker import GtmTracker
from gtm_dagster.tracking.tracker_stats import TrackerStats

if TYPE_CHECKING:
    from gtm_dagster.tracking.async_tracker import AsyncGtmTracker

__all__ = [
    "AsgiRequests",
    "AsyncGtmTracker",
    "GtmTracker",
    "InvalidEvent",
    "TrackerStats",
    "WsgiRequests",
    "context_from_request",
    "feed_token",
]


def __getattr__(name: str) -> Any:
    """`AsyncGtmTracker`, on first use: asyncio is a third of the import time of a process that tracks without it."""
    if name == "AsyncGtmTracker":
        from gtm_dagster.tracking.async_tracker import AsyncGtmTracker

        return AsyncGtmTracker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
