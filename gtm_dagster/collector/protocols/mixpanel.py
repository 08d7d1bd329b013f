"""Mixpanel's HTTP API beside /track, which PostHog's clients speak too: /engage with what is known of persons.

A record of a person becomes `user_identified`. It has no id, so it gets one from its text, which says when it was made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from gtm_dagster.collector.event_list import split
from gtm_dagster.collector.protocols.batch_body import read_message
from gtm_dagster.collector.protocols.posthog_body import unwrapped
from gtm_dagster.collector.protocols.posthog_capture import response
from gtm_dagster.collector.protocols.posthog_event import event_of
from gtm_dagster.collector.protocols.sender_protocol import IngestRequest, SenderProtocol
from gtm_dagster.collector.response import Refused
from gtm_dagster.taxonomy import Plan

_encode = msgspec.json.encode
_OWN = {"$email": "email", "$name": "name", "$phone": "phone", "$created": "created_at"}
"""Traits by the names Mixpanel reserves for them."""


def events(request: IngestRequest) -> list[bytes]:
    """The JSON text of each event. Raises Refused 400 for what is no JSON, 413 for too many events."""
    found = split(unwrapped(request.body), request.max_events, request.max_event_bytes)
    return [_one(raw, request) for raw in found]


def key_of(request: IngestRequest) -> str | None:
    """The token of all records of a request. Raises Refused 401 for several."""
    tokens = set()
    for raw in split(unwrapped(request.body), request.max_events, request.max_event_bytes):
        record = read_message(raw, request.max_event_bytes) or {}
        token = record.get("$token")
        tokens.add(token if isinstance(token, str) else None)
    if len(tokens) > 1:
        raise Refused(401, "several_keys", "the records of a request name several tokens; send those of one together")
    return next(iter(tokens), None)


def profile_event(record: Mapping[str, Any], received_us: int, plan: Plan) -> dict[str, Any]:
    """The event of one record; of what it changes, `$set` and `$set_once` alone count."""
    message: dict[str, Any] = {"event": "$set", "distinct_id": record.get("$distinct_id")}
    for change in ("$set", "$set_once"):
        given = record.get(change)
        if isinstance(given, dict):
            message[change] = {_OWN.get(trait, trait): value for trait, value in given.items()}
    made_at = record.get("$time")
    return event_of({**message, "properties": {"time": made_at}}, None, received_us, plan)


def _one(raw: bytes, request: IngestRequest) -> bytes:
    record = read_message(raw, request.max_event_bytes)
    if record is None:
        return raw
    insert_id = hashlib.sha256(raw).hexdigest()[:32]
    return _encode({**profile_event(record, request.received_us, request.plan), "event_id": insert_id})


PROTOCOL = SenderProtocol("mixpanel", ("/engage",), events, response, key_of)
