"""The collector's own protocol: POST /ingest of one event or a list, answered with a verdict an event.

Requests whose headers say that they are CloudEvents are taken at this path too.
"""

from __future__ import annotations

from gtm_dagster.collector.event_list import split
from gtm_dagster.collector.protocols.cloud_events import events as cloud_events
from gtm_dagster.collector.protocols.cloud_events import says_cloud_event
from gtm_dagster.collector.protocols.sender_protocol import IngestRequest, SenderProtocol
from gtm_dagster.collector.protocols.sender_verdicts import verdicts


def events(request: IngestRequest) -> list[bytes]:
    """The JSON text of each event. Raises Refused 400 for what is not JSON, and 413 for too many events."""
    if says_cloud_event(request.headers):
        return cloud_events(request)
    return split(request.body, request.max_events, request.max_event_bytes)


PROTOCOL = SenderProtocol("native", ("/ingest",), events, verdicts)
