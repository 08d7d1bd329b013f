"""What a write key may be called, at every door."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
NAME_RULE = "use 1 to 64 letters, digits, dots, dashes or underscores"


def is_write_key(name: str) -> bool:
    """Whether events may carry `name` as write_key. No colon: a conversion's id joins write key and event id by one."""
    return _NAME.match(name) is not None
