"""Segment's HTTP API, which RudderStack's clients speak too: /v1/batch, /v1/track, /v1/page, ... and their short forms."""

from __future__ import annotations

from gtm_dagster.collector.protocols.analytics_batch import batch_events, failure, message_events, success
from gtm_dagster.collector.protocols.analytics_message import KINDS
from gtm_dagster.collector.protocols.sender_protocol import IngestRequest, SenderProtocol

BATCHES = ("/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch")
_CALLS = {f"/v1/{path}": kind for kind in KINDS for path in (kind, kind[0])}
"""analytics.js says /v1/t, /v1/p, /v1/i, ..."""


def _events(request: IngestRequest) -> list[bytes]:
    if request.path in BATCHES:
        return batch_events(request)
    return message_events(_CALLS[request.path], request)


PROTOCOL = SenderProtocol("segment", (*BATCHES, *_CALLS), _events, success, refusal=failure)
