"""Jitsu's HTTP API: /api/s/track, /api/s/page, ... from browsers, /api/s/s2s/... from servers; messages in Segment's form."""

from __future__ import annotations

from gtm_dagster.collector.protocols.analytics_batch import failure, message_events, success
from gtm_dagster.collector.protocols.analytics_message import KINDS
from gtm_dagster.collector.protocols.sender_protocol import IngestRequest, SenderProtocol

_PATHS = tuple(f"/api/s/{way}{kind}" for way in ("", "s2s/") for kind in KINDS)


def _events(request: IngestRequest) -> list[bytes]:
    return message_events(request.path.rsplit("/", 1)[-1], request)


PROTOCOL = SenderProtocol("jitsu", _PATHS, _events, success, refusal=failure)
