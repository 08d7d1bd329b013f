"""Request headers: one by its name, and those without which a request is none."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from gtm_dagster.collector.response import Refused

Scope = MutableMapping[str, Any]


def header(scope: Scope, name: bytes) -> bytes | None:
    """The value of the first header of this lower-case name, None when there is none."""
    return next((value for key, value in scope["headers"] if key.lower() == name), None)


def check_host(scope: Scope) -> None:
    """Raises Refused 400 for several Hosts, and for none in HTTP/1.1 (RFC 9112, 3.2)."""
    hosts = sum(1 for name, _ in scope["headers"] if name == b"host")
    if hosts > 1 or (not hosts and scope.get("http_version") == "1.1"):
        raise Refused(400, "bad_host", "send one Host header")
