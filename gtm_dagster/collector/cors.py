"""Which pages may send: cross-origin requests (fetch.spec.whatwg.org) of the origins that the settings name.

Nothing here opens anything: a page of a named origin still needs a key. What a browser may not read it sends all the same
(a beacon), so an origin that is not named is kept out by its key.
"""

from __future__ import annotations

from collections.abc import Sequence

from gtm_dagster.collector.headers import Scope, header
from gtm_dagster.collector.response import Refused, Response

_AGE = b"600"
"""Seconds for which a browser keeps the permission."""
_METHODS = b"GET, POST"
_HEADERS = (
    b"anonymousid, authorization, content-encoding, content-type, if-none-match, sentat, sp-anonymous, x-write-key"
)
"""Headers that the known clients send, and the collector's own."""


class Cors:
    """`origins`: such as https://shop.example, or * for every page."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._all = "*" in origins
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    def headers(self, scope: Scope) -> tuple[tuple[bytes, bytes], ...]:
        """What an answer to a page of a named origin carries, so that its script may read it; nothing for other requests."""
        origin = header(scope, b"origin")
        if origin is None or not self._allows(origin):
            return ()
        return (
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", b"etag, retry-after"),
            (b"vary", b"origin"),
        )

    def preflight(self, scope: Scope) -> Response | None:
        """The answer to a browser that asks before it sends; None for any other request. Raises Refused 403."""
        if scope["method"] != "OPTIONS" or header(scope, b"access-control-request-method") is None:
            return None
        origin = header(scope, b"origin")
        if origin is None or not self._allows(origin):
            raise Refused(403, "foreign_origin", "pages of this origin may not send; name it in collector.cors_origins")
        allowed = (
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _HEADERS),
            (b"access-control-max-age", _AGE),
        )
        return Response(204, b"", headers=allowed)

    def _allows(self, origin: bytes) -> bool:
        return self._all or origin.decode("latin-1").strip().lower() in self._origins
