"""Purposes of consent in foreign messages: by the categories of consent platforms, and by their strings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gtm_dagster.privacy.consent_strings import gpp_purposes, strictest, tcf_purposes

_PURPOSES = {
    "analytics": "analytics", "performance": "analytics", "statistics": "analytics", "c0002": "analytics",
    "advertising": "marketing", "marketing": "marketing", "targeting": "marketing", "c0004": "marketing",
    "functional": "personalization", "preferences": "personalization", "personalization": "personalization",
    "c0003": "personalization",
}  # fmt: skip
"""By the names that consent platforms give their categories, OneTrust's among them."""
_MOST_SECTIONS = 64


def purposes_of(categories: Iterable[tuple[Any, Any]]) -> dict[str, bool]:
    """The purposes of (category, allowed) pairs. Where several categories are of one purpose, a no counts."""
    found: dict[str, bool] = {}
    for category, allowed in categories:
        purpose = _PURPOSES.get(category.strip().lower()) if isinstance(category, str) else None
        if purpose is not None and isinstance(allowed, bool):
            found[purpose] = found.get(purpose, True) and allowed
    return found


def purposes_of_strings(fields: Mapping[str, Any]) -> dict[str, bool]:
    """What `gpp` (with the sections in force in `gpp_sid`) and `gdpr_consent` say, the names IAB gives them in addresses."""
    gpp, tcf = fields.get("gpp"), fields.get("gdpr_consent")
    found = gpp_purposes(gpp, _sections(fields.get("gpp_sid"))) if isinstance(gpp, str) else {}
    return strictest(found, tcf_purposes(tcf)) if isinstance(tcf, str) else found


def _sections(given: Any) -> set[int]:
    """Ids of sections: a list, or a text with commas or underscores between them."""
    parts = given.replace("_", ",").split(",") if isinstance(given, str) else given
    if not isinstance(parts, list):
        return set()
    return {
        int(part) for part in map(str, parts[:_MOST_SECTIONS]) if part.isascii() and part.isdigit() and len(part) < 5
    }
