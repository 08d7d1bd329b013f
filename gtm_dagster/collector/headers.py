"""Request headers: one by its name, and those without which a request is none."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

from gtm_dagster.collector.response import Refused

_NO_HOST = re.compile(rb"[\x00-\x20\x7f\"#,/<>?@\\^`{|}]")
Scope = MutableMapping[str, Any]


def header(scope: Scope, name: bytes) -> bytes | None:
    """The value of the first header of this lower-case name, None when there is none."""
    return next((value for key, value in scope["headers"] if key.lower() == name), None)


def headers(scope: Scope, name: bytes) -> list[bytes]:
    """The values of all headers of this lower-case name."""
    return [value for key, value in scope["headers"] if key.lower() == name]


def check_host(scope: Scope) -> None:
    """Raises Refused 400 for several Hosts, for one that is no host, and for none in HTTP/1.1 (RFC 9112, 3.2)."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    # the server makes an empty one where there is none
    if len(hosts) > 1 or (not any(hosts) and scope.get("http_version") == "1.1"):
        raise Refused(400, "bad_host", "send one Host header")
    if hosts and _NO_HOST.search(hosts[0]):
        raise Refused(400, "bad_host", "the Host header is no name or address with a port")
