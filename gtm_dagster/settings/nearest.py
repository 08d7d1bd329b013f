"""The known names nearest to one that nobody knows, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

_LIKE = 0.6  # SequenceMatcher's own figure for a close match


def nearest(name: str, known: Iterable[str], most: int = 3, least: float = _LIKE) -> tuple[str, ...]:
    """At most `most` of the `known` names that look like `name`, the nearest first; case and separators do not count.

    `least`: the likeness of the last of them, from 0 (any name) to 1 (equal).
    """
    wanted = _plain(name)
    scored = [(_likeness(wanted, _plain(other)), other) for other in dict.fromkeys(known)]
    close = sorted((-score, other) for score, other in scored if score >= least)
    return tuple(other for _, other in close[:most])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean page_viewed?`, or nothing when no known name is near."""
    close = nearest(name, known)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _plain(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())


def _likeness(one: str, other: str) -> float:
    """1 for equal names; a name that begins or ends the other (`purchase`, `purchase_completed`) is near too."""
    if not one or not other:
        return 0.0
    ratio = SequenceMatcher(None, one, other, autojunk=False).ratio()
    short, long = sorted((one, other), key=len)
    part = 0.75 if len(short) >= 4 and short in long else 0.0
    return max(ratio, part)
