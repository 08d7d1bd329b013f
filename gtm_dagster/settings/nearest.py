"""The known names nearest to one that nobody knows, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher

_LIKE = 0.6  # SequenceMatcher's own figure for a close match
_KIN = (
    ("purchase", "purchased", "order", "ordered", "buy", "bought", "pay", "paid", "payment", "sale", "transaction"),
    ("signup", "sign", "signed", "register", "registered", "registration"),
    ("page", "pageview", "screen", "visit", "visited", "viewed"),
    ("amount", "value", "total", "price", "revenue", "sum"),
)
"""Words that programs use for one another, in names of events and properties."""


def nearest(name: str, known: Iterable[str], most: int = 3, least: float = _LIKE) -> tuple[str, ...]:
    """At most `most` of the `known` names that look like `name`, the nearest first; case and separators do not count.

    `least`: the likeness of the last of them, from 0 (any name) to 1 (equal).
    """
    scored = [(_likeness(name, other), other) for other in dict.fromkeys(known)]
    close = sorted((-score, not other[:1].isalpha(), other) for score, other in scored if score >= least)
    return tuple(other for _, _, other in close[:most])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean page_viewed?`, or nothing when no known name is near."""
    close = nearest(name, known)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def known_names(name: str, known: Iterable[str], nothing: str = "none") -> str:
    """`did you mean a? (known: a, b)`, `known: a, b` when none is near, or what there is to say when none is known."""
    names = list(dict.fromkeys(known))
    close = nearest(name, names, most=2)
    listed = f"known: {', '.join(names) or nothing}"
    return f"did you mean {' or '.join(close)}? ({listed})" if close else listed


def _plain(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())


def _kin(name: str) -> set[int]:
    words = "".join(char if char.isalnum() else " " for char in name.casefold()).split()
    return {number for number, group in enumerate(_KIN) if not set(words).isdisjoint(group)}


def _likeness(name: str, known: str) -> float:
    """1 for equal names. One that is part of the other (`payment`) is near too, and so is another word for the same."""
    one, other = _plain(name), _plain(known)
    if not one or not other:
        return 0.0
    ratio = SequenceMatcher(None, one, other, autojunk=False).ratio()
    short, long = sorted((one, other), key=len)
    part = 0.75 if len(short) >= 4 and short in long else 0.0
    kin = 0.61 if _kin(name) & _kin(known) else 0.0
    return max(ratio, part, kin)
