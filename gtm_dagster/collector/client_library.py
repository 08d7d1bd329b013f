"""The client library of a request, by its user agent: names of known libraries and their versions, nothing else of it."""

from __future__ import annotations

import re

from gtm_dagster.collector.headers import Scope, header

_KNOWN = re.compile(
    rb"(gtm-dagster|analytics-(?:python|node|ruby|php|go|java|react-native)|rudder-?(?:sdk|stack)?[a-z-]{0,20}"
    rb"|posthog-[a-z-]{2,20}|snowplow[a-z-]{0,20}|jitsu[a-z-]{0,20}|cloudevents[a-z-]{0,20}"
    rb"|python-requests|python-httpx|python-urllib|aiohttp|node-fetch|undici|axios|okhttp|go-http-client|curl|wget)"
    rb"(?:/v?(\d{1,4}(?:\.\d{1,4}){0,2}))?(?![\d.])",
    re.IGNORECASE,
)
_LONGEST = 200


def sent_with(protocol: str, scope: Scope) -> str:
    """The protocol, and behind a blank the library with its version where the user agent names a known one."""
    agent = header(scope, b"user-agent")
    found = _KNOWN.search(agent[:_LONGEST]) if agent else None
    if found is None:
        return protocol
    name, version = found.groups()
    library = name.lower() if version is None else name.lower() + b"/" + version
    return f"{protocol} {library.decode()}"
