"""PostHog's HTTP API: /batch, /e, /capture, ... with the key in the body, and /i/v1/analytics/events with it in a header."""

from __future__ import annotations

import msgspec

from gtm_dagster.collector.event_list import split
from gtm_dagster.collector.protocols.batch_body import read_message
from gtm_dagster.collector.protocols.posthog_body import batch_of, key_of, unwrapped
from gtm_dagster.collector.protocols.posthog_event import event_of
from gtm_dagster.collector.protocols.sender_protocol import EventResult, IngestRequest, IngestResult, SenderProtocol
from gtm_dagster.collector.protocols.sender_verdicts import counts, refused
from gtm_dagster.collector.response import Refused, Response

_PATHS = ("/batch", "/e", "/capture", "/track", "/i/v0/e")
_encode = msgspec.json.encode


def _events(request: IngestRequest) -> list[bytes]:
    """The JSON text of each event of a batch, a list or a single event."""
    text = unwrapped(request.body)
    sent_at = None
    if text.startswith(b"{"):
        body = batch_of(text, request.max_events)
        sent_at = body.text("sent_at")
        text = body.messages or text
    return _worded(text, sent_at, request)


def _events_of_v1(request: IngestRequest) -> list[bytes]:
    """The JSON text of each event of a batch; a header says when the attempt was sent, the body when it was first made up."""
    body = batch_of(unwrapped(request.body), request.max_events)
    if body.messages is None:
        raise Refused(400, "no_batch", 'the body has no list "batch"')
    sent_at = request.headers.get("posthog-request-timestamp") or body.text("created_at")
    return _worded(body.messages, sent_at, request)


def _worded(text: bytes, sent_at: str | None, request: IngestRequest) -> list[bytes]:
    events = []
    for raw in split(text, request.max_events, request.max_event_bytes):
        message = read_message(raw, request.max_event_bytes)
        given = None if message is None else event_of(message, sent_at, request.received_us, request.plan)
        events.append(raw if given is None else _encode(given))
    return events


def response(result: IngestResult) -> Response:
    """200 whatever the verdicts: these clients send accepted events again after 202 and 204, and drop a batch after 400."""
    return Response(200, _encode({"status": 1, **counts(result), "refused": refused(result)}))


def _response_of_v1(result: IngestResult) -> Response:
    """200 with a result an event, by its id; of an id that came twice that of the first.

    None is to be sent again: an answer comes after the commit of all of them.
    """
    results: dict[str, dict[str, str]] = {}
    for each in result.results:
        if each.event_id is not None:
            results.setdefault(each.event_id, _result(each))
    return Response(200, _encode({"results": results, **counts(result)}))


def _result(each: EventResult) -> dict[str, str]:
    found = {"result": "ok"}
    if each.status in ("quarantined", "suppressed"):
        found["result"] = "drop"
    elif each.errors:
        found["result"] = "warning"
    if each.errors:
        found["details"] = each.errors[0]["code"]
    return found


def _refusal(refused: Refused) -> dict[str, object]:
    kind = (
        "throttled_error" if refused.status == 429 else "server_error" if refused.status >= 500 else "validation_error"
    )
    return {"type": kind, "detail": refused.message, "attr": None}


PROTOCOL = SenderProtocol("posthog", _PATHS, _events, response, key_of, _refusal)
PROTOCOL_V1 = SenderProtocol("posthog_v1", ("/i/v1/analytics/events",), _events_of_v1, _response_of_v1, None, _refusal)
