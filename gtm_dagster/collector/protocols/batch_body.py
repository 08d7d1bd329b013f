"""The body of the clients that send JSON: a batch with what is said for all of it, and the messages in it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec

from gtm_dagster.taxonomy.decoding import too_deep

_BOM = b"\xef\xbb\xbf"
_COMMAS_PER_EVENT = 30
"""A batch that only a lenient parser takes is not parsed with more commas than this for each event it may hold."""


class BatchBody(msgspec.Struct):
    """A batch whose parts are not looked into: its messages, when it was sent, and the key, by their names in Segment's and
    PostHog's forms.
    """

    batch: msgspec.Raw = msgspec.Raw()
    sentAt: msgspec.Raw = msgspec.Raw()
    sent_at: msgspec.Raw = msgspec.Raw()
    created_at: msgspec.Raw = msgspec.Raw()
    api_key: msgspec.Raw = msgspec.Raw()
    token: msgspec.Raw = msgspec.Raw()

    @property
    def messages(self) -> bytes | None:
        """The JSON text of the list of messages; None when the body has none."""
        text = bytes(self.batch).strip()
        return text if text.startswith(b"[") else None

    def text(self, *fields: str) -> str | None:
        """The first of `fields` that is a text of a bearable length."""
        for field in fields:
            raw = bytes(getattr(self, field))
            if 0 < len(raw) <= _LONGEST_TEXT:
                with contextlib.suppress(msgspec.DecodeError, UnicodeError):
                    return _decode_text(raw)
        return None


_LONGEST_TEXT = 1_000
_decode_text = msgspec.json.Decoder(str).decode
_decode = msgspec.json.Decoder(BatchBody).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def text_of(body: bytes) -> bytes:
    """The body without a byte order mark and blanks around it."""
    return body.removeprefix(_BOM).strip()


def read_batch(text: bytes, max_events: int) -> BatchBody | None:
    """The batch of a text; one odd character in one message costs no other. None: it is no JSON object."""
    if text[:1] != b"{":
        return None
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    found = _leniently(text, max_events)
    if found is None:
        return None
    return BatchBody(*(msgspec.Raw(json.dumps(found.get(field)).encode()) for field in BatchBody.__struct_fields__))


def _leniently(text: bytes, max_events: int) -> dict[str, Any] | None:
    """The object as a lenient parser takes it; None for what is none, or costs too much to find out."""
    if text.count(b",") > max_events * _COMMAS_PER_EVENT or too_deep(text):
        return None
    try:
        found = json.loads(text.decode(errors="replace"), strict=False)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def list_in(text: bytes, field: str, max_events: int) -> bytes | None:
    """The JSON text of the list in the one field `field` of an object; None where there is none, or no object."""
    if text[:1] != b"{":
        return None
    try:
        found = bytes(_decode_fields(text).get(field, msgspec.Raw()))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        document = _leniently(text, max_events)
        found = b"" if document is None else json.dumps(document.get(field)).encode()
    found = found.strip()
    return found if found.startswith(b"[") else None


def read_message(raw: bytes, max_event_bytes: int) -> dict[str, Any] | None:
    """One message. None for what is too large, too deep or no object: it goes on as it is, and is refused with its reason."""
    if len(raw) > max_event_bytes or too_deep(raw):
        return None
    try:
        message = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeError, ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None
