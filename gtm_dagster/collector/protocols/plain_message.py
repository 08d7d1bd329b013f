"""The short way of a message of Segment's form: the same event, byte for byte, at a third of the cost.

What a message says of its page, campaign and consent repeats from one to the next, so the event's context is remembered by
the bytes of the message's. Whatever is not plain (another call, an unknown field, a field given twice) goes the way of
`analytics_message.event_of`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from gtm_dagster.collector.protocols.analytics_message import Sent, context_of, known_name, viewed_page
from gtm_dagster.collector.protocols.clock_skew import time_fields
from gtm_dagster.collector.protocols.message_values import as_object, flat, id_text
from gtm_dagster.taxonomy import Plan

_REMEMBERED = 2048
_LONGEST_REMEMBERED = 2048
"""Bytes of a context; with `_REMEMBERED` this bounds the memory of a process to some megabytes."""
_PERSONAL = b'"traits"'
"""What is personal stays in no memory: a context that has it is not remembered."""
_encode = msgspec.json.Encoder().encode
_decode_context = msgspec.json.Decoder().decode
_FAULTS = (msgspec.DecodeError, UnicodeError, ValueError, RecursionError)


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The fields of a message as makers of clients document them; of most only that they are JSON."""

    type: Any = None
    event: Any = None
    messageId: Any = None
    timestamp: Any = None
    originalTimestamp: Any = None
    sentAt: Any = None
    userId: Any = None
    anonymousId: Any = None
    channel: Any = None
    name: Any = None
    properties: Any = None
    context: msgspec.Raw = msgspec.Raw()
    integrations: Any = None
    category: Any = None
    receivedAt: Any = None
    version: Any = None
    writeKey: Any = None
    projectId: Any = None
    _metadata: Any = None


class _Event(msgspec.Struct, gc=False):
    event_name: Any
    properties: dict[str, Any]
    event_id: Any = msgspec.UNSET
    timestamp: Any = msgspec.UNSET
    original_timestamp: Any = msgspec.UNSET
    user_id: Any = msgspec.UNSET
    anonymous_id: Any = msgspec.UNSET
    session_id: Any = msgspec.UNSET
    context: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Message).decode


def plain_event(raw: bytes, kind: str | None, sent: Sent, plan: Plan) -> bytes | None:
    """The JSON of the event of a message that nests no deeper than events may; None where `event_of` says what it is.

    `kind`: as `event_of` has it.
    """
    # of a field given twice the first is not looked into here, and a name may be written with escapes
    if raw.count(b'"context"') > 1 or b"\\u006" in raw or b"\\u007" in raw:
        return None
    try:
        message = _decode(raw)
    except _FAULTS:
        return None
    call, channel = message.type or kind, message.channel
    if channel is not None and not isinstance(channel, str):
        return None
    url = referrer = None
    if call == "track":
        name, properties = known_name(message.event, plan), flat(message.properties)
    elif call == "page":
        page = as_object(message.properties)
        (name, properties), url, referrer = viewed_page(flat(page), message.name), page.get("url"), page.get("referrer")
        if not isinstance(url, str | None) or not isinstance(referrer, str | None):
            return None
    else:
        return None
    text = bytes(message.context)
    is_remembered = len(text) <= _LONGEST_REMEMBERED and _PERSONAL not in text
    try:
        session_id, context = (_known_context if is_remembered else _context)(text, channel, url, referrer)
    except _FAULTS:
        return None
    event = _Event(name, properties, context=context)
    if message.messageId is not None:
        event.event_id = message.messageId
    at, left = message.timestamp or message.originalTimestamp, message.sentAt or sent.sent_at
    if left is None:
        event.timestamp = at
    else:
        for field, value in time_fields(at, left, sent.received_us).items():
            setattr(event, field, value)
    if message.userId is not None:
        event.user_id = id_text(message.userId)
    if (anonymous_id := message.anonymousId or sent.anonymous_id) is not None:
        event.anonymous_id = id_text(anonymous_id)
    if session_id is not None:
        event.session_id = id_text(session_id)
    return _encode(event)


def _context(text: bytes, channel: str | None, url: str | None, referrer: str | None) -> tuple[Any, msgspec.Raw]:
    """The session's id in a message's context and the event's context. Raises what the decoder says of the text."""
    context = as_object(_decode_context(text)) if text else {}
    return context.get("sessionId"), msgspec.Raw(_encode(context_of(context, channel, url, referrer)))


_known_context = lru_cache(_REMEMBERED)(_context)
