"""CloudEvents 1.0 over HTTP (cloudevents.io): one event in its envelope, a batch of them, or the attributes in `ce-` headers."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from gtm_dagster.collector.event_list import split
from gtm_dagster.collector.protocols.analytics_message import known_name
from gtm_dagster.collector.protocols.batch_body import read_message, text_of
from gtm_dagster.collector.protocols.message_values import flat, id_text
from gtm_dagster.collector.protocols.sender_protocol import IngestRequest, SenderProtocol
from gtm_dagster.collector.protocols.sender_verdicts import verdicts
from gtm_dagster.collector.response import Refused
from gtm_dagster.taxonomy import Plan
from gtm_dagster.taxonomy.decoding import too_deep

_MEDIA_TYPE = "application/cloudevents"
_JSON = frozenset({"application/cloudevents+json", "application/cloudevents-batch+json"})
_VERSION = re.compile(r"v\d+")
_IDS = ("user_id", "anonymous_id", "session_id")
_encode = msgspec.json.encode


def says_cloud_event(headers: Mapping[str, str]) -> bool:
    """Whether the headers of a request say that it is a CloudEvent, whatever path it comes to."""
    return _media_type(headers).startswith(_MEDIA_TYPE) or ("ce-specversion" in headers and "ce-type" in headers)


def events(request: IngestRequest) -> list[bytes]:
    """The JSON text of each event. Raises Refused 400 for what is not JSON, 413 for too many events, 415 for a format of
    CloudEvents that is not JSON.
    """
    media_type = _media_type(request.headers)
    if media_type.startswith(_MEDIA_TYPE):
        if media_type not in _JSON:
            shown = media_type[:80]
            raise Refused(415, "unsupported_format", f"{shown!r} is not taken; send application/cloudevents+json")
    elif "ce-type" in request.headers:
        return [_of_headers(request)]
    found = split(request.body, request.max_events, request.max_event_bytes)
    return [_one(raw, request) for raw in found]


def event_of(cloud_event: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """The event of one CloudEvent, given by its attributes and `data`.

    Data that is no object becomes properties of that type, which the plan refuses with its reason.
    """
    data = _data(cloud_event)
    event: dict[str, Any] = {"event_name": name_of(cloud_event.get("type"), plan), "properties": data}
    for field, attribute in (("event_id", "id"), ("timestamp", "time")):
        if (value := cloud_event.get(attribute)) is not None:
            event[field] = value
    if isinstance(data, dict):
        event |= {field: id_text(data[field]) for field in _IDS if data.get(field) is not None}
        if isinstance(data.get("context"), dict):
            event["context"] = data["context"]
        own = data["properties"] if isinstance(data.get("properties"), dict) else data
        event["properties"] = {name: value for name, value in flat(own).items() if name not in (*_IDS, "context")}
    if "user_id" not in event and "anonymous_id" not in event and cloud_event.get("subject") is not None:
        event["user_id"] = id_text(cloud_event["subject"])
    return event


def name_of(kind: Any, plan: Plan) -> Any:
    """The plan's name for a type: the whole of it, or its last part without a version; as it is where the plan has neither."""
    whole = known_name(kind, plan)
    if not isinstance(whole, str) or plan.resolve(whole) is not None:
        return whole
    parts = whole.split(".")
    if len(parts) > 1 and _VERSION.fullmatch(parts[-1]):
        parts.pop()
    last = known_name(parts[-1], plan)
    return last if plan.resolve(last) is not None else whole


def _one(raw: bytes, request: IngestRequest) -> bytes:
    cloud_event = read_message(raw, request.max_event_bytes)
    return raw if cloud_event is None else _encode(event_of(cloud_event, request.plan))


def _of_headers(request: IngestRequest) -> bytes:
    """The event of a request whose body is the data. Raises Refused 400 for data that is not JSON."""
    given = {name[3:]: unquote(value) for name, value in request.headers.items() if name.startswith("ce-")}
    text = text_of(request.body)
    if len(text) > request.max_event_bytes or too_deep(text):
        named = {"event_id": given.get("id"), "event_name": name_of(given["type"], request.plan)}
        return _encode(named)[:-1] + b',"properties":' + text + b"}"  # refused with its reason, not looked into
    try:
        data = msgspec.json.decode(text) if text else None
    except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError) as error:
        raise Refused(400, "unparseable", f"the data of a CloudEvent is JSON here: {error}") from None
    return _encode(event_of({**given, "data": data}, request.plan))


def _data(cloud_event: Mapping[str, Any]) -> Any:
    """The data, also JSON in base64; an empty object where there is none."""
    data = cloud_event.get("data")
    packed = cloud_event.get("data_base64")
    if data is None and isinstance(packed, str):
        try:
            text = base64.b64decode(packed, validate=True)
            data = packed if too_deep(text) else msgspec.json.decode(text)
        except (binascii.Error, msgspec.DecodeError, UnicodeError, ValueError, RecursionError):
            data = packed
    return {} if data is None else data


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


PROTOCOL = SenderProtocol("cloudevents", ("/cloudevents",), events, verdicts)
