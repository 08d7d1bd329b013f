"""How a sender's SDK words a request and expects its answer: one file a protocol, listed in `PROTOCOLS`.

Here belongs the way from a request's bytes to events and from verdicts to an answer. Not here: keys, limits on the body,
admission and the log, which are the same for every sender.
"""

from gtm_dagster.collector.protocols import (
    amplitude,
    cloud_events,
    jitsu,
    mixpanel,
    native,
    posthog_capture,
    segment,
    snowplow,
)
from gtm_dagster.collector.protocols.sender_protocol import EventResult, IngestRequest, IngestResult, SenderProtocol

PROTOCOLS: tuple[SenderProtocol, ...] = (
    native.PROTOCOL,
    segment.PROTOCOL,
    jitsu.PROTOCOL,
    posthog_capture.PROTOCOL,
    posthog_capture.PROTOCOL_V1,
    cloud_events.PROTOCOL,
    mixpanel.PROTOCOL,
    amplitude.PROTOCOL,
    snowplow.PROTOCOL,
    snowplow.PROTOCOL_PIXEL,
)
"""Every protocol the collector speaks; each one names its own paths."""

__all__ = ["PROTOCOLS", "EventResult", "IngestRequest", "IngestResult", "SenderProtocol"]
