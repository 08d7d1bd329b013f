"""A changed setting as a message says it: the values that tell before from now, in the words of gtm.toml."""

from __future__ import annotations

import json
from typing import Any


def changed_values(before: str | None, now: str) -> tuple[str, str]:
    """Both texts of a fingerprint as people read them.

    Of lists of objects, such as attribution.windows, only the fields that differ between any two of them are named: a
    window has eleven, and nine of them mostly say nothing.
    """
    old, new = _objects(before), _objects(now)
    if old is None or new is None:
        return str(before), now
    each = [*old, *new]
    names = dict.fromkeys(name for one in each for name in one)
    telling = [name for name in names if any(one.get(name) != each[0].get(name) for one in each)] or list(names)
    return _text(old, telling), _text(new, telling)


def _objects(text: str | None) -> list[dict[str, Any]] | None:
    """A JSON list of objects; None for anything else."""
    try:
        found = json.loads(text or "")
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(one, dict) for one in found) else None


def _text(objects: list[dict[str, Any]], names: list[str]) -> str:
    shown = [{name: _whole(one[name]) for name in names if one.get(name) not in (None, [], {})} for one in objects]
    return json.dumps(shown, ensure_ascii=False)


def _whole(value: Any) -> Any:
    """168.0 as 168."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
