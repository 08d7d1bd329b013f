"""Scrubbing before an event lands, and masking of a refused event for the quarantine."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from gtm_dagster.taxonomy.decoding import too_deep
from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS, DEVICE_TYPES, PURPOSES
from gtm_dagster.taxonomy.event import EMAIL, Event, shown_name
from gtm_dagster.taxonomy.plan import EventSpec, Plan, PropertySpec
from gtm_dagster.taxonomy.properties import json_type

REDACTED = "[mail]"
"""Replaces an e-mail address inside a text; no longer than the shortest address, so lengths stay valid."""

_PERSONAL_NAMES = re.compile(
    r"(?:.*_)?(?:e_?mail|phone|mobile_number|first_?name|last_?name|full_?name|address|street|ip|ip_?address|password|passwd"
    r"|token|secret|ssn|birth_?date|date_of_birth|iban|card_?number|message|comment|notes?|query|search_?term|free_?text)\Z",
    re.IGNORECASE,
)
_IP = re.compile(
    r"(?<![\w.])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{0,4}(?:::?[0-9a-f]{1,4})*)(?![\w.])",
    re.IGNORECASE,
)
_VERSION_NAME = re.compile(r"version|build|release|firmware", re.IGNORECASE)
"""A four-part number of a property with such a name is no address: 4.12.0.7."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S*\Z")
_SIMPLE_URL = re.compile(r"""([a-z][a-z0-9+.-]*://[A-Za-z0-9.:-]+(?:/[!-"$->A-~]*)?)(?:[?#].*)?\Z""")
"""What stands in its one form and holds nobody: group 1 is the URL without query and fragment."""
_NUMBER = re.compile(r"-?[0-9][0-9.,]{0,15}\Z")
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
_SHOWN_CONTEXT = ("source", "medium", "campaign", "content", "locale", "country", "region")


def scrub(event: Event, plan: Plan, pseudonymize: Callable[[str], str] | None = None) -> Event:
    """`event` without personal data, but for its identifiers, which become pseudonyms in the record.

    A property of class personal becomes a pseudonym (dropped when `pseudonymize` is None). Dropped are properties of
    class sensitive and free_text, and undeclared ones with a personal name or an IP address. An e-mail address inside
    another text becomes `[mail]`; URLs lose user info, query and fragment. Returns the same object when nothing changes.
    """
    changes: dict[str, Any] = {}
    properties = scrub_properties(plan.events[event.event_name], event.properties, pseudonymize)
    if properties != event.properties:
        changes["properties"] = properties
    for field in _TEXT_FIELDS:
        value = getattr(event, field)
        if value is not None and "@" in value:
            changes[field] = redacted(value)
    for field in ("page_url", "referrer"):
        value = getattr(event, field)
        if value is not None and (cleaned := clean_url(value)) != value:
            changes[field] = cleaned
    if event.session_id is not None and "@" in event.session_id and EMAIL.search(event.session_id):
        changes["session_id"] = pseudonymize(event.session_id) if pseudonymize else None
    return msgspec.structs.replace(event, **changes) if changes else event


def redacted(text: str | None) -> str | None:
    """`text` with `[mail]` for every e-mail address."""
    return EMAIL.sub(REDACTED, text) if text is not None and "@" in text else text


def scrub_properties(
    spec: EventSpec, properties: dict[str, Any], pseudonymize: Callable[[str], str] | None = None
) -> dict[str, Any]:
    """The properties of one event as `scrub` leaves them."""
    declared = spec.properties
    kept: dict[str, Any] = {}
    for name, value in properties.items():
        rule = declared.get(name)
        if rule is None:
            if _is_personal(name) or _holds_address(name, value):
                continue
        elif value is not None and rule.privacy != "plain":
            if rule.privacy == "personal" and pseudonymize is not None:
                kept[name] = pseudonymize(value)
            continue
        if isinstance(value, str):
            if "://" in value and _URL.match(value) and not (rule and (rule.allowed or rule.pattern)):
                value = clean_url(value) or ""
            if "@" in value:
                value = EMAIL.sub(REDACTED, value)
        kept[name] = value
    return kept


@lru_cache(4096)
def _is_personal(name: str) -> bool:
    return EMAIL.search(name) is not None or _PERSONAL_NAMES.match(name) is not None


def _holds_address(name: str, value: Any) -> bool:
    if not isinstance(value, str) or ("." not in value and ":" not in value):
        return False
    return not _VERSION_NAME.search(name) and bool(_IP.search(value))


def clean_url(url: str) -> str | None:
    """`url` without user info, query and fragment, e-mail addresses in its path redacted; None when it is not a URL."""
    simple = _SIMPLE_URL.match(url)
    if simple is not None and "%40" not in simple[1]:
        return simple[1]
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return None
    path = (
        EMAIL.sub(REDACTED, parts.path.replace("%40", "@")) if "@" in parts.path or "%40" in parts.path else parts.path
    )
    return urlunsplit((parts.scheme, host, path, "", "")) or None


def mask_event(plan: Plan, raw: bytes | str | dict[str, Any]) -> str:
    """JSON text of a refused event for people: it shows declared plain values and masks all others.

    Identifiers, undeclared values, URLs and unreadable bytes appear as their type and size alone.
    """
    document = raw if isinstance(raw, dict) else _decode(raw)
    if not isinstance(document, dict):
        size = len(raw)
        return f'{{"unreadable":"<{size} bytes>"}}'
    shown: dict[str, Any] = {}
    name = document.get("event_name")
    spec = plan.events.get(plan.resolve(name) or "") if isinstance(name, str) else None
    for field, value in document.items():
        key = _free_key(field, shown)
        if field == "event_name":
            shown[key] = shown_name(value) if isinstance(value, str) else _masked(value)
        elif field == "event_id":
            shown[key] = (
                value if isinstance(value, str) and len(value) <= 128 and not EMAIL.search(value) else _masked(value)
            )
        elif field == "timestamp":
            shown[key] = (
                value if isinstance(value, str) and re.fullmatch(r"[0-9TtZz:+. -]{1,40}", value) else _masked(value)
            )
        elif field == "properties" and isinstance(value, dict):
            shown[key] = _mask_properties(spec.properties if spec else {}, value)
        elif field == "context" and isinstance(value, dict):
            shown[key] = _mask_context(value)
        else:
            shown[key] = _masked(value)
    try:
        return msgspec.json.encode(shown, order="sorted").decode()
    except UnicodeEncodeError:  # a Python text may contain half a surrogate pair, JSON text may not
        return '{"unreadable":"<lone surrogate>"}'


def _decode(raw: bytes | str) -> Any:
    try:
        data = raw.encode() if isinstance(raw, str) else raw
        return None if too_deep(data) else msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return None


def _mask_properties(declared: dict[str, PropertySpec], values: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in values.items():
        rule = declared.get(name)
        plain = rule is not None and rule.privacy == "plain" and _showable(value, rule)
        shown[_free_key(name, shown)] = value if plain else _masked(value)
    return shown


def _showable(value: Any, rule: PropertySpec) -> bool:
    if value is None or isinstance(value, bool | float):
        return True
    if isinstance(value, int):
        return abs(value) < 2**63
    if not isinstance(value, str) or len(value) > 256 or EMAIL.search(value) or "://" in value or "\x00" in value:
        return False
    return rule.type == "string" or bool(_NUMBER.match(value))  # "12,50" for a number explains the refusal


def _mask_context(values: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in values.items():
        key = _free_key(name, shown)
        if name in _SHOWN_CONTEXT and isinstance(value, str):
            fits = len(value) <= CONTEXT_LIMITS[name] and not EMAIL.search(value)
            shown[key] = value if fits else _masked(value)
        elif name == "device_type" and value in DEVICE_TYPES:
            shown[key] = value
        elif name == "consent" and isinstance(value, dict):
            shown[key] = {p: v if isinstance(v, bool) else _masked(v) for p, v in value.items() if p in PURPOSES}
        else:
            shown[key] = _masked(value)
    return shown


def _free_key(name: Any, taken: dict[str, Any]) -> str:
    key = shown_name(name)
    if key not in taken:
        return key
    return f"{key} {len(taken)}"


def _masked(value: Any) -> str | None:
    if value is None:
        return None
    size = f":{len(value)}" if isinstance(value, str | list | dict) else ""
    return f"<{json_type(value)}{size}>"
