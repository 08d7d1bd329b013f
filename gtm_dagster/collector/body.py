"""From the bytes of a request to the bytes of its events, within limits."""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from gtm_dagster.collector.response import Refused

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 31
_BOM = b"\xef\xbb\xbf"
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)
_CLOSER = {b"[": b"]", b"{": b"}"}
_events = msgspec.json.Decoder(list[msgspec.Raw])
_event = msgspec.json.Decoder(msgspec.Raw)


class Disconnected(Exception):
    """The client left before its body was complete; there is nobody to answer."""


async def read_body(receive: Receive, declared: bytes | None, max_bytes: int, timeout_seconds: float) -> bytes:
    """The whole body. Raises Refused 413 as soon as it is known to be too long, 408 after `timeout_seconds`."""
    if declared is not None and declared.isdigit() and int(declared) > max_bytes:
        raise _too_long(max_bytes)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Disconnected
                part = message.get("body", b"")
                size += len(part)
                if size > max_bytes:
                    raise _too_long(max_bytes)
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise Refused(
            408, "body_timeout", f"the body did not arrive within {timeout_seconds:g} s; send it again"
        ) from None


def unpack(body: bytes, max_bytes: int) -> bytes:
    """`body`, decompressed when it starts as gzip does, whatever its headers say.

    Raises Refused 413 beyond `max_bytes`, and 400 for a stream that is damaged, cut off or followed by other bytes.
    """
    if not body.startswith(_GZIP_MAGIC):
        return body
    stream = zlib.decompressobj(_GZIP_WINDOW)
    try:
        plain = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise Refused(400, "bad_gzip", f"the gzip stream is damaged ({error})") from None
    if len(plain) > max_bytes:
        raise _too_long(max_bytes)
    if not stream.eof:
        raise Refused(400, "bad_gzip", "the gzip stream is cut off; send the whole body again")
    if stream.unused_data:
        raise Refused(400, "bad_gzip", "bytes follow the gzip stream; send one stream a request")
    return plain


def split(body: bytes, max_events: int) -> list[bytes]:
    """The JSON text of each event: a list's elements, or the one object. Raises Refused 400, and 413 for too many."""
    text = body.removeprefix(_BOM).strip()
    if not text:
        raise Refused(400, "unparseable", "the body is empty; send one event or a list of events as JSON")
    if text[:1] not in (b"[", b"{"):
        raise Refused(400, "unparseable", "the body is neither a JSON object nor a list of them")
    try:
        events = [bytes(raw) for raw in _events.decode(text)] if text.startswith(b"[") else [bytes(_event.decode(text))]
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        # One event with half a surrogate pair must not cost the others of its list.
        events = _split_leniently(text)
        if not events:
            raise Refused(400, "unparseable", f"the body is not JSON: {error}") from None
    if len(events) > max_events:
        raise Refused(413, "too_many_events", f"{len(events)} events in one request; send at most {max_events}")
    return events


def _split_leniently(text: bytes) -> list[bytes]:
    """The events of a text that is JSON but for characters, numbers or depth a strict parser refuses; else nothing."""
    events = _elements(text) if text.startswith(b"[") else [text]
    return events if all(_nearly_json(event) for event in events) else []


def _elements(text: bytes) -> list[bytes]:
    """The pieces between the top-level commas of a list, none when its brackets do not match."""
    closers: list[bytes] = []
    pieces: list[bytes] = []
    start = 1
    for match in _TOKENS.finditer(text):
        token = match.group()
        if token in _CLOSER:
            closers.append(_CLOSER[token])
        elif token == b"," and len(closers) == 1:
            pieces.append(text[start : match.start()].strip())
            start = match.end()
        elif token in (b"]", b"}"):
            if not closers or closers.pop() != token:
                return []
            if not closers:
                pieces.append(text[start : match.start()].strip())
                return pieces if match.end() == len(text) else []
    return []


def _nearly_json(text: bytes) -> bool:
    try:
        json.loads(text.decode(errors="replace"), strict=False, parse_int=str)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _too_long(max_bytes: int) -> Refused:
    return Refused(413, "body_too_large", f"the body is longer than {max_bytes} bytes; send fewer events a request")
