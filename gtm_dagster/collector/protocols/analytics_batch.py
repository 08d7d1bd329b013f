"""A request of Segment's form: one message, or a batch of them with what is said for all."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from gtm_dagster.collector.event_list import split
from gtm_dagster.collector.protocols.analytics_message import Sent, event_of
from gtm_dagster.collector.protocols.batch_body import read_batch, read_message, text_of
from gtm_dagster.collector.protocols.plain_message import plain_event
from gtm_dagster.collector.protocols.sender_protocol import IngestRequest, IngestResult
from gtm_dagster.collector.protocols.sender_verdicts import counts, refused
from gtm_dagster.collector.response import Refused, Response
from gtm_dagster.taxonomy.decoding import too_deep

_encode = msgspec.json.encode


def batch_events(request: IngestRequest) -> list[bytes]:
    """The JSON text of each event of a batch. Raises Refused 400 for what is no batch, and 413 for too many events."""
    body = read_batch(text_of(request.body), request.max_events)
    if body is None:
        raise Refused(400, "unparseable", 'the body is no JSON object with a list "batch"')
    if body.messages is None:
        raise Refused(400, "no_batch", 'the body has no list "batch"; single messages go to /v1/track, /v1/page, ...')
    return _worded(
        split(body.messages, request.max_events, request.max_event_bytes), None, body.text("sentAt"), request
    )


def message_events(kind: str, request: IngestRequest) -> list[bytes]:
    """The JSON text of the event of a single message, whose call is `kind`. Raises Refused 400 for what is no JSON."""
    return _worded(split(request.body, request.max_events, request.max_event_bytes), kind, None, request)


def success(result: IngestResult) -> Response:
    """200 whatever the verdicts: a client that is answered anything else sends accepted events again, or drops the batch.

    The counts say what became of the events, and the reasons of those that were refused stand beside their ids.
    """
    document = {"success": True, **counts(result), "refused": refused(result)}
    return Response(200, msgspec.json.encode(document))


def failure(refused: Refused) -> dict[str, object]:
    """What the clients find in an error beside its code and message."""
    return {"success": False}


def _worded(messages: list[bytes], kind: str | None, sent_at: Any, request: IngestRequest) -> list[bytes]:
    sent = Sent(request.received_us, sent_at or request.headers.get("sentat"), _anonymous_id(request))
    return [_one(raw, kind, sent, request) for raw in messages]


def _one(raw: bytes, kind: str | None, sent: Sent, request: IngestRequest) -> bytes:
    if len(raw) <= request.max_event_bytes and not too_deep(raw):
        event = plain_event(raw, kind, sent, request.plan)
        if event is not None:
            return event
    message = read_message(raw, request.max_event_bytes)
    return raw if message is None else _encode(event_of(message, kind, sent, request.plan))


def _anonymous_id(request: IngestRequest) -> str | None:
    """RudderStack's browser client sends the id in a header, in base64."""
    given = request.headers.get("anonymousid")
    if not given:
        return None
    try:
        return base64.b64decode(given, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return given
