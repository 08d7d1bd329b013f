"""Request headers and the query: one value by its name, and what no request is without."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qs

from gtm_dagster.collector.response import Refused

_NO_HOST = re.compile(rb"[\x00-\x20\x7f\"#,/<>?@\\^`{|}]")
Scope = MutableMapping[str, Any]


def header(scope: Scope, name: bytes) -> bytes | None:
    """The value of the first header of this lower-case name, None when there is none."""
    return next((value for key, value in scope["headers"] if key.lower() == name), None)


def headers(scope: Scope, name: bytes) -> list[bytes]:
    """The values of all headers of this lower-case name."""
    return [value for key, value in scope["headers"] if key.lower() == name]


def query_value(scope: Scope, name: str) -> str | None:
    """The first value of this name in the query, None where there is none, it is empty or the query has over 20 fields."""
    query = scope.get("query_string") or b""
    if f"{name}=".encode() not in query:
        return None
    try:
        return parse_qs(query.decode("latin-1"), max_num_fields=20)[name][0]
    except (ValueError, KeyError):
        return None


def check_host(scope: Scope) -> None:
    """Raises Refused 400 for several Hosts, for one that is no host, and for none in HTTP/1.1 (RFC 9112, 3.2)."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    # the server makes an empty one where there is none
    if len(hosts) > 1 or (not any(hosts) and scope.get("http_version") == "1.1"):
        raise Refused(400, "bad_host", "send one Host header")
    if hosts and _NO_HOST.search(hosts[0]):
        raise Refused(400, "bad_host", "the Host header is no name or address with a port")
