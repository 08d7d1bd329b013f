"""Responses and refusals of the HTTP edge, before they are sent."""

from __future__ import annotations

import math
import time

import msgspec

JSON = b"application/json"
RETRY_SECONDS = 1


class Response(msgspec.Struct, frozen=True):
    """A response before it is sent."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Refused(Exception):
    """The request is answered with `status` and a body of `code` and `message`; `retry_after` in whole seconds.

    `more`: further members of the body, by which the clients of a protocol know it.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.more: dict[str, object] = {}


def error_response(refused: Refused) -> Response:
    """The response to a refused request."""
    headers: list[tuple[bytes, bytes]] = []
    if refused.retry_after is not None:
        headers.append((b"retry-after", str(refused.retry_after).encode()))
    if refused.status == 429 and refused.retry_after is not None:  # Segment's header: when it may be sent again, UTC
        headers.append((b"x-ratelimit-reset", str(math.ceil(time.time()) + refused.retry_after).encode()))
    if refused.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="gtm"'))
    if refused.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    body = msgspec.json.encode({"code": refused.code, "message": refused.message, **refused.more})
    return Response(refused.status, body, headers=tuple(headers))
