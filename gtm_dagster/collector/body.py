"""The body of a request, within limits of size and time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from gtm_dagster.collector.response import Refused

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 31
_ENCODINGS = (b"", b"identity", b"gzip", b"x-gzip")
_LONGEST_NUMBER = 18
_START = 65_536
_MOST_DROPPED = 100_000_000


def _any(size: int) -> None:
    """Room for every size."""


class Disconnected(Exception):
    """The body ended before it was complete: the client left, or the chunks it sent are damaged."""


async def read_body(
    receive: Receive, declared: bytes | None, max_bytes: int, timeout_seconds: float, room: Callable[[int], None] = _any
) -> bytes:
    """The whole body. `room` is asked with each size it has reached, before that is kept.

    Raises Refused 413 as soon as it is known to be too long, 408 after `timeout_seconds`, and what `room` raises.
    """
    if declared is not None and _number(declared) > max_bytes:
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
                room(size)
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise _timed_out(timeout_seconds) from None


async def start_of(packed: bytes, receive: Receive, timeout_seconds: float) -> bytes:
    """The first bytes of the text of a body that is too long: out of `packed`, or of what arrives next.

    The rest of what arrives is dropped, so that a client that sends all before it looks for an answer finds one. Raises
    Refused 408 after `timeout_seconds`.
    """
    start, size = packed, 0
    try:
        async with asyncio.timeout(timeout_seconds):
            while not packed and size < _MOST_DROPPED:
                message = await receive()
                part = message.get("body", b"")
                size += len(part)
                start += part[: max(_START - len(start), 0)]
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise _timed_out(timeout_seconds) from None
    unpacking = Unpacking(start, _START)
    unpacking.start(_START)
    return unpacking.started()


class Unpacking:
    """A body on its way out of gzip, which is known by its first bytes, whatever its headers say.

    `start` makes the first bytes of the text, `rest` what follows; `is_done` says that nothing follows.
    """

    def __init__(self, body: bytes, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._body = body
        self._stream = zlib.decompressobj(_GZIP_WINDOW) if body.startswith(_GZIP_MAGIC) else None
        self._parts: list[bytes] = []
        self.is_done = self._stream is None

    @property
    def size(self) -> int:
        """Bytes of the text that are unpacked."""
        return len(self._body) if self._stream is None else sum(map(len, self._parts))

    def start(self, count: int) -> None:
        """Unpack the first `count` bytes. Raises Refused as `text` does."""
        if self._stream is not None:
            self._take(self._stream, self._body, min(count, self._max_bytes + 1))
            self.is_done = self._stream.eof

    def started(self) -> bytes:
        """What is unpacked by now."""
        return self._body if self._stream is None else b"".join(self._parts)

    def text(self) -> bytes:
        """The whole text. Raises Refused 413 beyond `max_bytes`, and 400 for a stream that is damaged, cut off or
        followed by other bytes.
        """
        stream = self._stream
        if stream is None:
            return self._body
        if not stream.eof:
            self._take(stream, stream.unconsumed_tail, self._max_bytes + 1 - self.size)
        plain = b"".join(self._parts)
        if len(plain) > self._max_bytes:
            raise _too_long(self._max_bytes)
        if not stream.eof:
            raise Refused(400, "bad_gzip", "the gzip stream is cut off; send the whole body again")
        if stream.unused_data:
            raise Refused(400, "bad_gzip", "bytes follow the gzip stream; send one stream a request")
        return plain

    def _take(self, stream: zlib._Decompress, packed: bytes, count: int) -> None:
        try:
            self._parts.append(stream.decompress(packed, max(count, 1)))
        except zlib.error as error:
            raise Refused(400, "bad_gzip", f"the gzip stream is damaged ({error})") from None


def check_encoding(declared: Sequence[bytes]) -> None:
    """Raises Refused 415 for Content-Encodings that are not taken."""
    named = b", ".join(declared).strip().lower()
    if named not in _ENCODINGS:
        shown = named[:40].decode("latin-1")
        raise Refused(
            415, "unsupported_encoding", f"Content-Encoding {shown!r} is not taken; send gzip, or leave it out"
        )


def _number(digits: bytes) -> float:
    """The number that ASCII digits name, 0 for other bytes."""
    if not digits.isdigit():
        return 0
    digits = digits.lstrip(b"0")
    return int(digits or b"0") if len(digits) <= _LONGEST_NUMBER else float("inf")


def _timed_out(seconds: float) -> Refused:
    return Refused(408, "body_timeout", f"the body did not arrive within {seconds:g} s; send it again")


def _too_long(max_bytes: int) -> Refused:
    return Refused(413, "body_too_large", f"the body is longer than {max_bytes} bytes; send fewer events a request")
