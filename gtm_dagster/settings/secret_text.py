"""Texts that may hold a secret, as a message may show them: an address without what opens it, a token never."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

_URL = re.compile(r"((?:[a-z][a-z0-9+.-]*:)?//)([^\s/?#'\"<>]*)([^\s'\"<>]*)", re.IGNORECASE)
_SHORTEST = 4
"""A secret of fewer characters would blot out words that hold it by chance."""
_SHOWN_CHARACTERS = 100
_SECRETS = frozenset({"privacy", "privacy.pseudonym_key"})
_ADDRESSES = ("destinations", "notify", "ops_url", "providers")


def shown(value: Any, key: str = "") -> str:
    """The value of `key` as a message quotes it: escaped, and of a long one the beginning.

    Nothing of a secret; of an address that may hold one scheme and host.
    """
    if key in _SECRETS:
        return "***"
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested beyond sense; a number of more digits than Python writes
        return f"a {type(value).__name__} that is too long to show"
    if key.startswith(_ADDRESSES):
        text = without_addresses(text)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def shown_url(url: str) -> str:
    """An address as a message shows it: scheme, host, port and path; user info, query and fragment are left out."""
    return _URL.sub(lambda match: _shown(match, path=True), url)


def without_addresses(text: str) -> str:
    """`text` with every address in it down to scheme and host: the path of a webhook is its secret."""
    return _URL.sub(lambda match: _shown(match, path=False), text)


def without_secrets(text: str, secrets: tuple[str, ...]) -> str:
    """`text` with *** for every secret, also where it is escaped as in a URL or in quotes."""
    forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), quote(secret), repr(secret)[1:-1])}
    for form in sorted(forms, key=len, reverse=True):
        if len(form) >= _SHORTEST:
            text = text.replace(form, "***")
    return text


def user_info(url: str) -> tuple[str, ...]:
    """User and password that stand in an address, each a secret; () when there are none."""
    match = _URL.match(url)
    before, at, _ = match.group(2).rpartition("@") if match else ("", "", "")
    return tuple(part for part in (before, *before.partition(":")[::2]) if at and part)


def _shown(match: re.Match[str], *, path: bool) -> str:
    scheme, place, rest = match.groups()
    if "@" in rest:  # a slash in the user info: where the host begins cannot be told
        return f"{scheme}***"
    host = place.rpartition("@")[2]
    if path:
        return scheme + host + re.split(r"[?#]", rest)[0]
    return scheme + host + ("/***" if rest.strip("/") else "")
