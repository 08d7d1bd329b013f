"""What people see of a refused event: declared plain values and names; all others as their type and size."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from gtm_dagster.privacy.event_ids import is_stored_as_sent
from gtm_dagster.privacy.landing_text import landable
from gtm_dagster.taxonomy.decoding import too_deep
from gtm_dagster.taxonomy.envelope import CONTEXT_LIMITS, DEVICE_TYPES, PURPOSES
from gtm_dagster.taxonomy.event import EMAIL, shown_name
from gtm_dagster.taxonomy.plan import Plan, PropertySpec
from gtm_dagster.taxonomy.properties import json_type

_SHOWN_CONTEXT = ("source", "medium", "campaign", "content", "locale", "country", "region")
_NUMBER = re.compile(r"-?[0-9][0-9.,]{0,11}\Z")
_TIME = re.compile(
    r"(?:\d{4}[-/.]\d{1,2}(?:[-/.]\d{1,2})?|\d{1,2}[./-]\d{1,2}[./-]\d{4})"
    r"(?:[Tt ]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?)?(?: ?(?:[Zz]|UTC|[+-]\d{2}(?::?\d{2})?))?\Z"
)
_LONGEST_SHOWN = 256
_LEAST_TELLING = 10**7


def mask_event(plan: Plan, raw: bytes | str | dict[str, Any], pseudonymize: Callable[[str], str] | None = None) -> str:
    """JSON text of a refused event for people: it shows declared plain values that fit their rule and masks all others.

    Identifiers, undeclared values, URLs and unreadable bytes appear as their type and size alone, names that are not
    declared as `shown_name` shows them. The event's id appears as it is stored: as sent, else as its pseudonym where
    `pseudonymize` is given.
    """
    document = raw if isinstance(raw, dict) else _decode(raw)
    if not isinstance(document, dict):
        size = len(raw)
        return f'{{"unreadable":"<{size} bytes>"}}'
    shown: dict[str, Any] = {}
    name = document.get("event_name")
    resolved = plan.resolve(name) if isinstance(name, str) else None
    declared = plan.events[resolved].properties if resolved else {}
    for field, value in document.items():
        key = _free_key(field, shown)
        if field == "event_name":
            shown[key] = value if resolved else shown_name(value) if isinstance(value, str) else _masked(value)
        elif field == "event_id":
            shown[key] = _shown_id(value, pseudonymize)
        elif field == "timestamp":
            shown[key] = value if isinstance(value, str) and _TIME.match(value) else _masked(value)
        elif field == "properties" and isinstance(value, dict):
            shown[key] = _mask_properties(declared, value)
        elif field == "context" and isinstance(value, dict):
            shown[key] = _mask_context(value)
        else:
            shown[key] = _masked(value)
    try:
        return msgspec.json.encode(shown, order="sorted").decode()
    except UnicodeEncodeError:  # a Python text may contain half a surrogate pair, JSON text may not
        return '{"unreadable":"<lone surrogate>"}'


def _shown_id(value: Any, pseudonymize: Callable[[str], str] | None) -> str | None:
    if not isinstance(value, str) or not 0 < len(value) <= 128 or EMAIL.search(value):
        return _masked(value)
    if is_stored_as_sent(value):
        return value
    return pseudonymize(value) if pseudonymize else _masked(value)


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
        shown[_free_key(name, shown, name in declared)] = value if plain else _masked(value)
    return shown


def _showable(value: Any, rule: PropertySpec) -> bool:
    """Whether a value of a plain property is shown: one that the plan names, or that could land as it is."""
    if value is None or isinstance(value, bool):
        return True
    if rule.allowed and value not in rule.allowed:
        return False
    if isinstance(value, int | float):
        return abs(value) < _LEAST_TELLING
    if not isinstance(value, str) or len(value) > _LONGEST_SHOWN or "://" in value or "\x00" in value:
        return False
    if rule.regex is not None and not rule.regex.match(value):
        return False
    if rule.type != "string" and not (_NUMBER.match(value) and sum(map(str.isdigit, value)) <= 9):
        return False  # "12,50" for a number explains the refusal
    return landable(value) == value


def _mask_context(values: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in values.items():
        key = _free_key(name, shown)
        if name in _SHOWN_CONTEXT and isinstance(value, str):
            fits = len(value) <= CONTEXT_LIMITS[name] and landable(value) == value
            shown[key] = value if fits else _masked(value)
        elif name == "device_type" and value in DEVICE_TYPES:
            shown[key] = value
        elif name == "consent" and isinstance(value, dict):
            shown[key] = {p: v if isinstance(v, bool) else _masked(v) for p, v in value.items() if p in PURPOSES}
        else:
            shown[key] = _masked(value)
    return shown


def _free_key(name: Any, taken: dict[str, Any], is_declared: bool = False) -> str:
    key = name if is_declared else shown_name(name)
    if key not in taken:
        return key
    return f"{key} {len(taken)}"


def _masked(value: Any) -> str | None:
    if value is None:
        return None
    size = f":{len(value)}" if isinstance(value, str | list | dict) else ""
    return f"<{json_type(value)}{size}>"
