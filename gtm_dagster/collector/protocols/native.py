"""The collector's own protocol: POST /ingest of one event or a list, answered with a verdict an event.

Requests whose headers say that they are CloudEvents are taken at this path too. A request that says when it was sent
(`sentAt`, in a header or the address, as browsers' beacons do) has the times of its events put right by it.
"""

from __future__ import annotations

import msgspec

from gtm_dagster.collector.event_list import split
from gtm_dagster.collector.protocols.clock_skew import is_skewed, time_fields
from gtm_dagster.collector.protocols.cloud_events import events as cloud_events
from gtm_dagster.collector.protocols.cloud_events import says_cloud_event
from gtm_dagster.collector.protocols.sender_protocol import IngestRequest, SenderProtocol
from gtm_dagster.collector.protocols.sender_verdicts import verdicts


def events(request: IngestRequest) -> list[bytes]:
    """The JSON text of each event. Raises Refused 400 for what is not JSON, and 413 for too many events."""
    if says_cloud_event(request.headers):
        return cloud_events(request)
    found = split(request.body, request.max_events, request.max_event_bytes)
    sent_at = request.headers.get("sentat")
    if sent_at is None or not is_skewed(sent_at, request.received_us):
        return found
    return [_corrected(raw, sent_at, request) if len(raw) <= request.max_event_bytes else raw for raw in found]


def _corrected(raw: bytes, sent_at: str, request: IngestRequest) -> bytes:
    """The event with its time by the collector's clock; as it is where it has none that can be read."""
    try:
        event = _decode(raw)
        at = _decode_text(event["timestamp"])
        times = time_fields(at, sent_at, request.received_us)
        return msgspec.json.encode({**times, **event, "timestamp": times["timestamp"]})
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError, KeyError):
        return raw


_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode


PROTOCOL = SenderProtocol("native", ("/ingest",), events, verdicts)
