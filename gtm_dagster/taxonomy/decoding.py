"""Limits that are checked before a JSON parser gets the bytes."""

from __future__ import annotations

import re

MAX_DEPTH = 32
"""Deepest nesting of objects and arrays; parsers differ (200, 1024, recursion error), so this limit comes first."""

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")


def too_deep(raw: bytes, limit: int = MAX_DEPTH) -> bool:
    """Whether the JSON text nests deeper than `limit`. Linear in the length, whatever the text is."""
    if raw.count(b"{") + raw.count(b"[") <= limit:
        return False
    depth = 0
    for match in _BRACKETS.finditer(_STRINGS.sub(b"", raw)):
        if match.group() in b"[{":
            depth += 1
            if depth > limit:
                return True
        else:
            depth -= 1
    return False
