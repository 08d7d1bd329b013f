"""Responses and refusals of the HTTP edge, before they are sent."""

from __future__ import annotations

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
    """The request is answered with `status` and a body of `code` and `message`; `retry_after` in whole seconds."""

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after


def error_response(refused: Refused) -> Response:
    """The response to a refused request."""
    headers: list[tuple[bytes, bytes]] = []
    if refused.retry_after is not None:
        headers.append((b"retry-after", str(refused.retry_after).encode()))
    if refused.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="gtm"'))
    if refused.status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    body = msgspec.json.encode({"code": refused.code, "message": refused.message})
    return Response(refused.status, body, headers=tuple(headers))
