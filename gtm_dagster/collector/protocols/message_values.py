"""Values of foreign messages as an event may have them."""

from __future__ import annotations

from typing import Any

NESTED = (list, dict)
"""The types of what has no place in an event's properties and context; a union would be made anew at each question."""


def as_object(value: Any) -> dict[str, Any]:
    """The value when it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def flat(properties: Any) -> dict[str, Any]:
    """The properties with a plain value: a list or an object has no place in an event."""
    return {name: value for name, value in as_object(properties).items() if not isinstance(value, NESTED)}


def id_text(value: Any) -> Any:
    """An id as text: clients send numbers too."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def zone(value: Any) -> Any:
    """An IANA name of a time zone; None for what is none, such as GMT+0000."""
    return value if isinstance(value, str) and ("/" in value or value == "UTC") else None
