"""Which ids an exposure can be counted under: those the tracking plan takes. Any other unit is served the old flow.

A unit that is treated and that the plan refuses is seen by no guard.
"""

from __future__ import annotations

from collections.abc import Callable

from gtm_dagster.gate.identity import Unit


def countable_units() -> Callable[[Unit], bool]:
    """The rule. The plan's own rules are imported by this call, not with the gate, whose import stays short."""
    from gtm_dagster.taxonomy.absent import present_id
    from gtm_dagster.taxonomy.envelope import ID_LIMITS

    user, anonymous = ID_LIMITS["user_id"], ID_LIMITS["anonymous_id"]

    def countable(unit: Unit) -> bool:
        key = unit.key
        limit = anonymous if unit.anonymous else user
        return len(key) <= limit and present_id(key) is not None and (key.isascii() or _encodable(key))

    return countable


def _encodable(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
