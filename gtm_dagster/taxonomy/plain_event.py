"""The quick way of an event of Python values to its JSON, for the one that is plainly good.

It knows no reasons: an event that it does not take is judged by `EventValidator`, which takes whatever this takes (a
property test holds them together).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import inf, isfinite
from typing import Any

import msgspec

from gtm_dagster.taxonomy.absent import present_id
from gtm_dagster.taxonomy.envelope import ID_LIMITS, Context
from gtm_dagster.taxonomy.plan import DEFAULT_MAX_LENGTH, EventSpec, Plan, PropertySpec
from gtm_dagster.taxonomy.properties import INT64_MAX, INT64_MIN, MAX_NAME_LENGTH, MAX_PROPERTIES
from gtm_dagster.taxonomy.validator import context_fits

_encode = msgspec.json.Encoder().encode
_convert = msgspec.convert
_IDS = ("user_id", "anonymous_id", "session_id")
_LONGEST_ID = min(ID_LIMITS[field] for field in _IDS)


class PlainEvents:
    """Encodes plainly good events of one plan. Thread safe."""

    def __init__(self, plan: Plan) -> None:
        self._rules = {name: _EventRules(spec) for name, spec in plan.events.items()}
        self._rules |= {alias: self._rules[name] for alias, name in plan.aliases.items() if alias not in self._rules}

    def encoded(self, event: dict[str, Any]) -> bytes | None:
        """The JSON of `event`, whose time is good; None where it takes a closer look.

        `event` has the fields of the native shape; its ids of a person and its context may be absent or None.
        """
        try:
            rules = self._rules.get(event["event_name"])
            if rules is None or not _is_id(event["event_id"], ID_LIMITS["event_id"]) or "@" in event["event_id"]:
                return None
            if not _has_person(event) or not rules.fit(event["properties"]):
                return None
            context = event.get("context")
            if context and not _is_plain(context):
                return None
            line = _encode(event)
        except (TypeError, ValueError, OverflowError, RecursionError):  # among them msgspec's and a surrogate's
            return None
        return None if b"\\u0000" in line else line


def _is_id(value: Any, limit: int) -> bool:
    return type(value) is str and len(value) <= limit and present_id(value) is not None


def _has_person(event: dict[str, Any]) -> bool:
    """Whether every identifier that is there names something, and one of a person is there."""
    found = False
    for field in _IDS:
        value = event.get(field)
        if value is not None:
            if not _is_id(value, _LONGEST_ID):
                return False
            found = found or field != "session_id"
    return found


_API = {"device_type": "api"}


def _is_plain(context: dict[str, Any]) -> bool:
    if context == _API:
        return True
    found = _convert(context, Context)
    return context_fits(found)


class _EventRules:
    """The rules of one event's properties."""

    def __init__(self, spec: EventSpec) -> None:
        self._takes = {name: _check(rule) for name, rule in spec.properties.items()}
        self._required = spec.required
        self._other = _undeclared if spec.additional else None

    def fit(self, properties: Mapping[str, Any]) -> bool:
        """Whether these properties break no rule, as far as a quick look sees."""
        takes, other = self._takes, self._other
        for name, value in properties.items():
            rule = takes.get(name, other)
            if rule is None or not (value is None or rule(value)):
                return False
            if rule is other and not 0 < len(name) <= MAX_NAME_LENGTH:
                return False
        for name in self._required:
            if properties.get(name) is None:
                return False
        return len(properties) <= MAX_PROPERTIES


def _check(rule: PropertySpec) -> Callable[[Any], bool]:
    """Whether a value that is not None is one of a declared property."""
    allowed = frozenset(rule.allowed)
    if rule.type == "boolean":
        return lambda value: type(value) is bool and (not allowed or value in allowed)
    if rule.type == "string":
        return _text(rule, allowed)
    return _number(rule, allowed)


def _text(rule: PropertySpec, allowed: frozenset[Any]) -> Callable[[Any], bool]:
    longest, regex = rule.max_length, rule.regex
    if regex is None and not allowed:
        return lambda value: type(value) is str and len(value) <= longest
    match = re.compile("").match if regex is None else regex.match

    def takes(value: Any) -> bool:
        if type(value) is not str or len(value) > longest or match(value) is None:
            return False
        return (regex is None or "@" not in value) and (not allowed or value in allowed)

    return takes


def _number(rule: PropertySpec, allowed: frozenset[Any]) -> Callable[[Any], bool]:
    least = -inf if rule.minimum is None else rule.minimum
    most = inf if rule.maximum is None else rule.maximum
    whole = rule.type == "integer"

    def takes(value: Any) -> bool:
        if type(value) is int:
            if not INT64_MIN <= value <= INT64_MAX:
                return False
        elif whole or type(value) is not float or not isfinite(value):
            return False
        return least <= value <= most and (not allowed or value in allowed)

    return takes


def _undeclared(value: Any) -> bool:
    kind = type(value)
    if kind is str:
        return len(value) <= DEFAULT_MAX_LENGTH
    if kind is int:
        return INT64_MIN <= value <= INT64_MAX
    return kind is bool or (kind is float and isfinite(value))
