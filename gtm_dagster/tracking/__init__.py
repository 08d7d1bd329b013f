"""The SDK that runs inside a product: events are validated here, queued, and delivered to a collector in the background.

Here belongs what leaves the product's process. Not here: anything heavy; it imports only msgspec, requests, PyYAML, the
standard library and the light half of `taxonomy`.
"""

from gtm_dagster.tracking.buffer import TrackerStats
from gtm_dagster.tracking.event_builder import InvalidEvent
from gtm_dagster.tracking.request_context import context_from_request
from gtm_dagster.tracking.tracker import GtmTracker

__all__ = ["GtmTracker", "InvalidEvent", "TrackerStats", "context_from_request"]
