"""What lands of an event: its texts, URLs and properties without what is personal (quarantine: `masked_event`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec

from gtm_dagster.privacy.landing_text import ADDRESS, landable, percent_decoded
from gtm_dagster.privacy.personal_names import holds_personal
from gtm_dagster.taxonomy.absent import present_id
from gtm_dagster.taxonomy.event import Event
from gtm_dagster.taxonomy.plan import EventSpec, Plan

UndeclaredText = Literal["token", "drop", "keep"]
LONGEST_TOKEN = 64
"""Characters of a text or a name that lands although the plan does not declare it."""
LONGEST_URL = 1024

_TOKEN = re.compile(r"(?:[#$€£+~./-]|\./)?\w[\w.:/+|~-]*(?:={1,2}|%)?\Z|[+-]?[0-9][0-9.,]*%?\Z")
_NAME = re.compile(r"[$@#]?\w[\w.:/-]*\Z")
_WITHOUT_BLANKS = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{9}")
"""Scripts that put no blanks between words: more signs than this in a row are a sentence."""
_VERSION_NAME = re.compile(r"version|build|release|firmware", re.IGNORECASE)
"""A four-part number of a property with such a name is no address: 4.12.0.7."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S*\Z")
_SIMPLE_URL = re.compile(
    r"""([a-z][a-z0-9+.-]*://[0-9.-]*[A-Za-z][A-Za-z0-9.-]*(?::[0-9]{1,5})?(?:/[!-"$&->A-~]*)?)(?:[?#].*)?\Z"""
)
"""What stands in its one form: group 1 is the URL without query and fragment, nothing in it percent-encoded."""
_NUMERIC_HOST = re.compile(r"[\d.]{7,}\Z|\[.*\]\Z", re.DOTALL)
_OWN_HOST = re.compile(r"127\.\d{1,3}\.\d{1,3}\.\d{1,3}\Z|\[::1\]\Z")
_PORT = re.compile(r":\d*\Z")
IP_HOST, MASKED_HOST = "ip.test", "no.test"
"""Hosts in the place of a personal one: names that never exist (RFC 2606), so that a URL stays one and grows no longer."""
_TEXT_FIELDS = (
    "source",
    "medium",
    "campaign",
    "term",
    "content",
    "locale",
    "click_id",
    "country",
    "region",
    "timezone",
)


def scrub(
    event: Event,
    plan: Plan,
    pseudonymize: Callable[[str], str] | None = None,
    undeclared: UndeclaredText = "token",
) -> Event:
    """`event` without personal data, but for its identifiers, which become pseudonyms in the record.

    A property of class personal becomes a pseudonym (dropped when `pseudonymize` is None, or the text is a word for
    nothing). Dropped are properties of class sensitive and free_text, and what `scrub_properties` drops of undeclared ones. Every other text lands as
    `landable` leaves it; URLs lose user info, query and fragment. Returns the same object when nothing changes.
    """
    changes: dict[str, Any] = {}
    properties = scrub_properties(plan.events[event.event_name], event.properties, pseudonymize, undeclared)
    if properties != event.properties:
        changes["properties"] = properties
    for field in _TEXT_FIELDS:
        value = getattr(event, field)
        if value is not None and (cleaned := landable(value)) is not value:
            changes[field] = cleaned
    for field in ("page_url", "referrer"):
        value = getattr(event, field)
        if value is not None and (url := clean_url(value)) != value:
            changes[field] = url
    return msgspec.structs.replace(event, **changes) if changes else event


def landed_text(text: str | None) -> str | None:
    """`landable` of a text that may be absent."""
    return None if text is None else landable(text)


def scrub_properties(
    spec: EventSpec,
    properties: dict[str, Any],
    pseudonymize: Callable[[str], str] | None = None,
    undeclared: UndeclaredText = "token",
) -> dict[str, Any]:
    """The properties of one event as they land.

    `undeclared`: which texts land that the plan does not declare: `token` those of one word, `drop` none, `keep` all
    that `landable` leaves. Whatever it says, an undeclared property is dropped when its name is personal or no name.
    """
    declared = spec.properties
    kept: dict[str, Any] = {}
    for name, value in properties.items():
        rule = declared.get(name)
        if rule is None:
            if not _is_landing_name(name) or holds_personal(name, value):
                continue
            if isinstance(value, str):
                value = _undeclared_text(name, value, undeclared)
                if value is None:
                    continue
            elif type(value) is int and value > _LEAST_CARD and landable(str(value)) != str(value):
                continue
        elif value is not None and rule.privacy != "plain":
            if rule.privacy == "personal" and pseudonymize is not None and present_id(value) is not None:
                kept[name] = pseudonymize(value)
            continue
        elif isinstance(value, str) and not rule.allowed and not rule.pattern:
            value = _without_personal(name, value)
        kept[name] = value
    return kept


_LEAST_CARD = 10**13


def _without_personal(name: str, value: str) -> str:
    if "://" in value and _URL.match(value):
        value = clean_url(value) or ""
    return landable(value, is_version=_is_version(name))


def _undeclared_text(name: str, value: str, undeclared: UndeclaredText) -> str | None:
    if undeclared == "drop":
        return None
    if undeclared == "keep":
        return _without_personal(name, value)
    if "://" in value and len(value) <= 4 * LONGEST_URL and _URL.match(value):
        url = clean_url(value)
        return url if url is not None and len(url) <= LONGEST_URL and not _is_masked(url) else None
    return value if is_token(value, is_version=_is_version(name)) else None


def is_token(text: str, *, is_version: bool = False) -> bool:
    """Whether an undeclared text reads as a value of a program: one word, at most 64 characters, nothing personal.

    An empty text is one too. No quotes, brackets, commas and equals signs inside: those are JSON, lists and queries.
    """
    if not text:
        return True
    if len(text) > LONGEST_TOKEN or not _TOKEN.match(text):
        return False
    if not text.isascii() and _WITHOUT_BLANKS.search(text):
        return False
    return landable(text, is_version=is_version) == text


@lru_cache(4096)
def _is_landing_name(name: str) -> bool:
    """Whether the name of an undeclared property may land: a word of at most 64 characters without anything personal."""
    if len(name) > LONGEST_TOKEN or not _NAME.match(name) or (not name.isascii() and _WITHOUT_BLANKS.search(name)):
        return False
    return landable(name) == name


@lru_cache(4096)
def _is_version(name: str) -> bool:
    return _VERSION_NAME.search(name) is not None


def _is_masked(url: str) -> bool:
    return "[" in url or url.partition("://")[2].startswith((IP_HOST, MASKED_HOST))


def clean_url(url: str) -> str | None:
    """`url` without user info, query and fragment, its path as `landable` leaves it; None when it is not a URL.

    A host that is an IP address becomes `ip.test`, but for the sender's own machine (127.0.0.1, [::1]); one that holds
    anything else personal `no.test`. Never longer than `url`.
    """
    simple = _SIMPLE_URL.match(url)
    if simple is not None:
        cleaned = simple[1]
        if landable(cleaned) is cleaned:
            return cleaned
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    host = _landed_host(parts.netloc.rpartition("@")[2])
    return urlunsplit((parts.scheme, host, _landed_path(parts.path), "", ""))[: len(url)] or None


def _landed_host(authority: str) -> str:
    """Host and port without anything personal."""
    port = _PORT.search(authority)
    end = port.start() if port else len(authority)
    host = percent_decoded(authority[:end])
    if host is not None and _OWN_HOST.match(host):
        return authority
    if host is not None and _NUMERIC_HOST.match(host):
        return IP_HOST + authority[end:]
    found = None if host is None else landable(host)
    if found is not None and found == host:
        return authority
    return (IP_HOST if found is not None and ADDRESS in found else MASKED_HOST) + authority[end:]


def _landed_path(path: str) -> str:
    """The path; decoded where something is found in it, but for what would end it."""
    found = landable(path)
    if found is path:
        return path
    found = found.replace("?", "%3F").replace("#", "%23")
    return found if " " in path else found.replace(" ", "%20")
