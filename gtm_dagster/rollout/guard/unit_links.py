"""One visitor under two ids: a conversion of the user counts for the unit that was exposed by its anonymous id.

Both ids stand in one event IDENTIFIED, whenever it arrives. Live and backtest link by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable

IDENTIFIED = "user_identified"
"""The event that says that an anonymous visitor is a user."""


def partners(links: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """By the first id of each pair, the second ones."""
    found: dict[str, set[str]] = {}
    for one, other in links:
        found.setdefault(one, set()).add(other)
    return found
