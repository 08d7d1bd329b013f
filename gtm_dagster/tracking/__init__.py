"""The SDK a product runs in its own process: events are judged here, queued, and delivered in the background.

Imports only msgspec, requests, PyYAML, the standard library and the light half of `taxonomy`.
"""

from gtm_dagster.tracking.buffer import TrackerStats
from gtm_dagster.tracking.tracker import GtmTracker, InvalidEvent

__all__ = ["GtmTracker", "InvalidEvent", "TrackerStats"]
