"""GET /gtm.js: the script that a site loads to send its page views, events and consent here (docs/browser.md)."""

from __future__ import annotations

import gzip
import hashlib
from importlib import resources

from gtm_dagster.collector.body import Receive
from gtm_dagster.collector.headers import Scope, headers
from gtm_dagster.collector.response import Response
from gtm_dagster.privacy.consent import ConsentPolicy

ROUTE = "/gtm.js"
_TYPE = b"text/javascript; charset=utf-8"
_AGE = b"public, max-age=3600"
"""An hour: a changed policy or a new version reaches every browser within it, and a visit asks once."""
_GOES_ON = ("{", "(", "[", ",", ";", "=", "?", ":", "&&", "||")
"""What a line ends with that goes on, or has its semicolon: without its end it means the same."""
_MODES = {"required": "required", "opt_out": "opt_out", "off": "opt_out"}
"""What the script does by itself for a mode of `privacy.consent`; a refusal counts everywhere."""


class BrowserScript:
    """The page of the script, whose default for consent is that of `consent` for a visitor from anywhere."""

    def __init__(self, consent: ConsentPolicy) -> None:
        self._plain = script(_MODES[consent.mode(None, None)])
        self._packed = gzip.compress(self._plain, 9, mtime=0)
        self._tag = hashlib.sha256(self._plain).hexdigest()[:16]

    async def __call__(self, scope: Scope, receive: Receive) -> Response:
        """200 with the script, or 304 without it for a browser that has this one."""
        packed = any(_takes_gzip(value) for value in headers(scope, b"accept-encoding"))
        tag = f'"{self._tag}{"-gzip" if packed else ""}"'.encode()
        more = (
            (b"cache-control", _AGE),
            (b"etag", tag),
            (b"vary", b"accept-encoding"),
            (b"x-content-type-options", b"nosniff"),
            (b"cross-origin-resource-policy", b"cross-origin"),
        )
        if any(tag in value or value.strip() == b"*" for value in headers(scope, b"if-none-match")):
            return Response(304, b"", _TYPE, more)
        if packed:
            return Response(200, self._packed, _TYPE, (*more, (b"content-encoding", b"gzip")))
        return Response(200, self._plain, _TYPE, more)


def script(default_consent: str) -> bytes:
    """gtm.js without its comments, indentation and most ends of lines. `default_consent`: of script tags that have no data-consent."""
    source = (resources.files("gtm_dagster.collector") / "gtm.js").read_text(encoding="utf-8")
    lines = [line.strip() for line in source.replace("DEFAULT_CONSENT", default_consent).splitlines()]
    kept = [line for line in lines if line and not line.startswith("//")]
    return "".join(line if line.endswith(_GOES_ON) else f"{line}\n" for line in kept).encode()


def _takes_gzip(accepted: bytes) -> bool:
    """Whether one of the encodings is gzip, and not with the weight 0 (RFC 9110, 12.5.3)."""
    for entry in accepted.lower().split(b","):
        name, _, weight = entry.partition(b";")
        if name.strip() == b"gzip":
            return weight.replace(b" ", b"").rstrip(b"0") not in (b"q=", b"q=0.")
    return False
