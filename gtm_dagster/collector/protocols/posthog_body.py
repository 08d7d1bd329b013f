"""The body of PostHog's clients: taken out of its form, and the key and messages in it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Set
from urllib.parse import unquote_to_bytes

import msgspec

from gtm_dagster.collector.protocols.batch_body import BatchBody, read_batch, text_of
from gtm_dagster.collector.protocols.sender_protocol import IngestRequest
from gtm_dagster.collector.response import Refused

_GZIP_MAGIC = b"\x1f\x8b"
_COMMAS_PER_EVENT = 30
"""A list with more commas than this for each event it may hold is not searched for a key."""
_ESCAPED = ((b"%2B", b"+"), (b"%2b", b"+"), (b"%2F", b"/"), (b"%2f", b"/"), (b"%3D", b"="), (b"%3d", b"="))
"""The characters of base64 that a form escapes."""
_NO_KEY = frozenset({None, ""})
_JSON_STARTS = (b"%5B", b"%5b", b"%7B", b"%7b", b"[", b"{")


class _Keyed(msgspec.Struct):
    token: str | None = None


class _Message(msgspec.Struct):
    api_key: str | None = None
    token: str | None = None
    properties: _Keyed | None = None


_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_message = msgspec.json.Decoder(_Message).decode


def unwrapped(body: bytes) -> bytes:
    """The JSON text of a body, which may be in the field `data` of a form, as it is or in base64: no longer than the body.

    Raises Refused 400 for a form without such a field.
    """
    text = text_of(body)
    if text[:1] in (b"{", b"[", b""):
        return text
    found = next((part[5:] for part in text.split(b"&", 20) if part.startswith(b"data=")), None)
    if found is None:
        raise Refused(400, "unparseable", "the body is neither JSON nor a form with a field data")
    if found.startswith(_JSON_STARTS):
        return text_of(unquote_to_bytes(found.replace(b"+", b" ")))
    for escaped, plain in _ESCAPED:
        found = found.replace(escaped, plain)
    try:
        plain = base64.b64decode(found, validate=True)
    except binascii.Error:
        raise Refused(400, "unparseable", "the form's field data is no base64") from None
    if plain.startswith(_GZIP_MAGIC):
        raise Refused(400, "packed_twice", "the form's field data is gzip; send the gzip bytes as the body")
    return text_of(plain)


def key_of(request: IngestRequest) -> str | None:
    """The key that the body names, for all of its messages or, where it is a list, in each of them. Raises Refused 401 for
    several keys, and 400 for a body that cannot be read.
    """
    text = unwrapped(request.body)
    if text.startswith(b"["):
        return _key_of_list(text, request.max_events)
    body = batch_of(text, request.max_events)
    keys = {body.text(field) for field in ("api_key", "token")} - _NO_KEY
    if not keys:
        return _key_of_list(b"[%s]" % text if body.messages is None else body.messages, request.max_events)
    return _only(keys)


def batch_of(text: bytes, max_events: int) -> BatchBody:
    """The batch of a JSON object. Raises Refused 400 for what is none."""
    body = read_batch(text, max_events)
    if body is None:
        raise Refused(400, "unparseable", "the body is no JSON object with events")
    return body


def _key_of_list(text: bytes, max_events: int) -> str | None:
    if text.count(b",") > max_events * _COMMAS_PER_EVENT:
        return None
    try:
        keys = {key for raw in _decode_list(text) for key in _keys_of_message(bytes(raw)) or {None}}
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return _only(keys)


def _only(keys: Set[str | None]) -> str | None:
    """The one key of a request. Raises Refused 401 for several."""
    if len(keys) > 1:
        raise Refused(401, "several_keys", "the events of a request name several keys; send those of one key together")
    return next(iter(keys), None)


def _keys_of_message(raw: bytes) -> set[str | None]:
    try:
        message = _decode_message(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return set()
    named = {message.api_key, message.token} - _NO_KEY
    if named or message.properties is None:  # beside a key, a property `token` is the sender's own
        return named
    return {message.properties.token} - _NO_KEY
