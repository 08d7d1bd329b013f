"""Purposes of consent by the names that consent platforms give their categories, OneTrust's among them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_PURPOSES = {
    "analytics": "analytics", "performance": "analytics", "statistics": "analytics", "c0002": "analytics",
    "advertising": "marketing", "marketing": "marketing", "targeting": "marketing", "c0004": "marketing",
    "functional": "personalization", "preferences": "personalization", "personalization": "personalization",
    "c0003": "personalization",
}  # fmt: skip


def purposes_of(categories: Iterable[tuple[Any, Any]]) -> dict[str, bool]:
    """The purposes of (category, allowed) pairs. Where several categories are of one purpose, a no counts."""
    found: dict[str, bool] = {}
    for category, allowed in categories:
        purpose = _PURPOSES.get(category.strip().lower()) if isinstance(category, str) else None
        if purpose is not None and isinstance(allowed, bool):
            found[purpose] = found.get(purpose, True) and allowed
    return found
