"""Amplitude's HTTP API: /2/httpapi, a batch of events with the key in the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gtm_dagster.collector.event_list import split
from gtm_dagster.collector.protocols.analytics_message import known_name
from gtm_dagster.collector.protocols.batch_body import list_in, read_batch, read_message, text_of
from gtm_dagster.collector.protocols.clock_skew import epoch_text
from gtm_dagster.collector.protocols.message_values import as_object, flat, id_text
from gtm_dagster.collector.protocols.sender_protocol import IngestRequest, IngestResult, SenderProtocol
from gtm_dagster.collector.protocols.sender_verdicts import counts, refused
from gtm_dagster.collector.response import Refused, Response
from gtm_dagster.taxonomy import Plan

_IDENTIFIED = "user_identified"
_MOBILE = ("ios", "android")
_NO_SESSION = -1
_encode = msgspec.json.encode


def events(request: IngestRequest) -> list[bytes]:
    """The JSON text of each event. Raises Refused 400 for what is no batch, 413 for too many events."""
    messages = list_in(text_of(request.body), "events", request.max_events)
    if messages is None:
        raise Refused(400, "no_batch", 'the body is no JSON object with a list "events"')
    return [_one(raw, request) for raw in split(messages, request.max_events, request.max_event_bytes)]


def key_of(request: IngestRequest) -> str | None:
    """The key that the body names."""
    body = read_batch(text_of(request.body), request.max_events)
    return None if body is None else body.text("api_key")


def event_of(message: Mapping[str, Any], received_us: int, plan: Plan) -> dict[str, Any]:
    """The event of one message. `received_us`: microseconds UTC. Times of the sender's clock are believed: no message says
    when it was sent.
    """
    name = message.get("event_type")
    event: dict[str, Any] = {"event_name": known_name(name, plan), "properties": flat(message.get("event_properties"))}
    if name in ("$identify", "$groupidentify"):
        event |= {"event_name": _IDENTIFIED, "properties": _traits(message, plan)}
    session = message.get("session_id")
    for field, value in (
        ("event_id", message.get("insert_id")),
        ("timestamp", epoch_text(message.get("time"))),
        ("user_id", id_text(message.get("user_id"))),
        ("anonymous_id", id_text(message.get("device_id"))),
        ("session_id", None if session == _NO_SESSION else id_text(session)),
    ):
        if value is not None:
            event[field] = value
    event["context"] = _context(message)
    return event


def _traits(message: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The traits that the plan declares; a set one goes before one that is set once."""
    declared = plan.events[_IDENTIFIED].properties if _IDENTIFIED in plan.events else {}
    given = as_object(message.get("user_properties"))
    found = flat(given) | flat(given.get("$setOnce")) | flat(given.get("$set"))
    return {trait: value for trait, value in found.items() if trait in declared}


def _context(message: Mapping[str, Any]) -> dict[str, Any]:
    platform = str(message.get("platform") or "").lower()
    library = str(message.get("library") or "")
    device = "mobile" if platform in _MOBILE else "web" if platform == "web" else None
    if library.startswith(("amplitude-python", "amplitude-node")):
        device = "api"
    found = {
        "locale": message.get("language"),
        "country": message.get("country"),
        "region": message.get("region"),
        "device_type": device,
    }
    return {field: value for field, value in found.items() if isinstance(value, str) and value}


def _one(raw: bytes, request: IngestRequest) -> bytes:
    message = read_message(raw, request.max_event_bytes)
    return raw if message is None else _encode(event_of(message, request.received_us, request.plan))


def _response(result: IngestResult) -> Response:
    """200 whatever the verdicts; the clients read `code` in the body."""
    ingested = len(result.results)
    return Response(
        200, _encode({"code": 200, "events_ingested": ingested, **counts(result), "refused": refused(result)})
    )


PROTOCOL = SenderProtocol("amplitude", ("/2/httpapi",), events, _response, key_of)
