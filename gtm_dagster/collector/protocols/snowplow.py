"""Snowplow's collector: POST of a batch to /com.snowplowanalytics.snowplow/tp2, and the pixel at /i whose query is an event.

Trackers know no key: it goes into a header or the address, else the app id stands for one (`collector.client_ids`).
"""

from __future__ import annotations

import base64
import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from gtm_dagster.collector.event_list import split
from gtm_dagster.collector.protocols.batch_body import list_in, read_message, text_of
from gtm_dagster.collector.protocols.sender_protocol import IngestRequest, IngestResult, SenderProtocol
from gtm_dagster.collector.protocols.snowplow_event import event_of
from gtm_dagster.collector.response import Refused, Response

BATCH, PIXEL = "/com.snowplowanalytics.snowplow/tp2", "/i"
_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_NOT_KEPT_BY_BROWSERS = ((b"cache-control", b"no-cache, no-store, must-revalidate"),)
_MOST_FIELDS = 200
"""Fields of a query: the protocol knows some eighty."""
_APP_ID = re.compile(rb'"aid"\s*:\s*"([^"\\]{1,256})"')
_encode = msgspec.json.encode


def events(request: IngestRequest) -> list[bytes]:
    """The JSON text of each event. Raises Refused 400 for what is no payload, 413 for too many events."""
    if request.is_query:
        return [_event(_encode(_fields(request.body)), request)]
    messages = list_in(text_of(request.body), "data", request.max_events)
    if messages is None:
        raise Refused(400, "unparseable", 'the body is no JSON object with a list "data" (payload_data)')
    return [_event(raw, request) for raw in split(messages, request.max_events, request.max_event_bytes)]


def app_id(request: IngestRequest) -> str | None:
    """The app id of the first event that has one: all events of a tracker have the same."""
    if request.is_query:
        return _fields(request.body).get("aid")
    found = _APP_ID.search(request.body)
    return found[1].decode(errors="replace") if found else None


def response(result: IngestResult) -> Response:
    """200 whatever the verdicts, as Snowplow's collector gives it: trackers send a batch again that is answered otherwise."""
    return Response(200, b"ok", b"text/plain; charset=utf-8")


def pixel(result: IngestResult) -> Response:
    """A transparent picture of one point, which no browser keeps."""
    return Response(200, _GIF, b"image/gif", _NOT_KEPT_BY_BROWSERS)


def _event(raw: bytes, request: IngestRequest) -> bytes:
    payload = read_message(raw, request.max_event_bytes)
    if payload is None:
        return raw
    anonymous = "sp-anonymous" in request.headers
    return _encode(event_of(payload, anonymous=anonymous, received_us=request.received_us, plan=request.plan))


def _fields(query: bytes) -> dict[str, Any]:
    """The fields of a query; of one that stands twice the first. Raises Refused 400 for too many."""
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Refused(400, "too_many_fields", f"the query has more than {_MOST_FIELDS} fields") from None
    return dict(reversed(pairs))


PROTOCOL = SenderProtocol("snowplow", (BATCH,), events, response, app_id, keeps_too_large=True)
PROTOCOL_PIXEL = SenderProtocol("snowplow_pixel", (PIXEL,), events, pixel, app_id, in_query=True)
