"""A request of Segment's form: one message, or a batch of them with what is said for all."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

import msgspec

from gtm_dagster.collector.event_list import split
from gtm_dagster.collector.protocols.analytics_message import Sent, event_of
from gtm_dagster.collector.protocols.sender_protocol import IngestRequest, IngestResult
from gtm_dagster.collector.response import Refused, Response
from gtm_dagster.taxonomy.decoding import too_deep

_BOM = b"\xef\xbb\xbf"
_encode = msgspec.json.encode


class _Envelope(msgspec.Struct):
    """A batch: its messages unread, and when it was sent."""

    batch: msgspec.Raw = msgspec.Raw()
    sentAt: Any = None


_decode = msgspec.json.Decoder(_Envelope).decode


def batch_events(request: IngestRequest) -> list[bytes]:
    """The JSON text of each event of a batch. Raises Refused 400 for what is no batch, and 413 for too many events."""
    text = request.body.removeprefix(_BOM).strip()
    envelope = _read(text)
    if envelope is None:
        raise Refused(400, "unparseable", 'the body is no JSON object with a list "batch"')
    batch = bytes(envelope.batch).strip()
    if not batch.startswith(b"["):
        raise Refused(400, "no_batch", 'the body has no list "batch"; single messages go to /v1/track, /v1/page, ...')
    return _worded(split(batch, request.max_events, request.max_event_bytes), None, envelope.sentAt, request)


def message_events(kind: str, request: IngestRequest) -> list[bytes]:
    """The JSON text of the event of a single message, whose call is `kind`. Raises Refused 400 for what is no JSON."""
    return _worded(split(request.body, request.max_events, request.max_event_bytes), kind, None, request)


def success(result: IngestResult) -> Response:
    """200 whatever the verdicts: a client that is answered anything else sends accepted events again, or drops the batch.

    The counts say what became of the events, and the reasons of those that were refused stand beside their ids.
    """
    counts = {"accepted": 0, "duplicate": 0, "quarantined": 0, "suppressed": 0}
    for each in result.results:
        counts[each.status] += 1
    refused = [each for each in result.results if each.status == "quarantined"]
    document = {
        "success": True,
        "accepted": counts["accepted"],
        "duplicates": counts["duplicate"],
        "quarantined": counts["quarantined"],
        "suppressed": counts["suppressed"],
        "refused": refused,
    }
    return Response(200, msgspec.json.encode(document))


def _read(text: bytes) -> _Envelope | None:
    """The batch of a body; one odd character in one message costs no other. None: it is none."""
    if text[:1] != b"{":
        return None
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    if too_deep(text):
        return None
    try:
        found = json.loads(text.decode(errors="replace"), strict=False)
    except (ValueError, RecursionError):
        return None
    batch = found.get("batch") if isinstance(found, dict) else None
    if not isinstance(batch, list):
        return None
    return _Envelope(msgspec.Raw(json.dumps(batch).encode()), found.get("sentAt"))


def _worded(messages: list[bytes], kind: str | None, sent_at: Any, request: IngestRequest) -> list[bytes]:
    sent = Sent(request.received_us, sent_at or request.headers.get("sentat"), _anonymous_id(request))
    return [_one(raw, kind, sent, request) for raw in messages]


def _one(raw: bytes, kind: str | None, sent: Sent, request: IngestRequest) -> bytes:
    """One message as an event. What is too large, too deep or no object goes on as it is, and is refused with its reason."""
    if len(raw) > request.max_event_bytes or too_deep(raw):
        return raw
    try:
        message = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError):
        return raw
    if not isinstance(message, dict):
        return raw
    return _encode(event_of(message, kind, sent, request.plan))


def _anonymous_id(request: IngestRequest) -> str | None:
    """RudderStack's browser client sends the id in a header, in base64."""
    given = request.headers.get("anonymousid")
    if not given:
        return None
    try:
        return base64.b64decode(given, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return given
