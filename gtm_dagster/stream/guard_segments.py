"""Segments of exposed units: country and device of the exposure. They are shown beside a verdict and decide nothing.

A guard keeps a bounded number of them whatever is sent: a country is two letters, a device one of a few words, anything
else is OTHER.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gtm_dagster.opsstore import UnitRow
from gtm_dagster.opsstore.metric_counts import SegmentCell

KINDS = ("country", "device")
OTHER, UNKNOWN = "(other)", "(unknown)"
_COUNTRY = re.compile(r"[A-Za-z]{2}\Z")
_DEVICES = frozenset({"web", "mobile", "api"})


def segment_of(country: str | None = None, device: str | None = None) -> str:
    """The unit's segment as it is stored: its value of each of KINDS, a tab between them."""
    where = UNKNOWN if not country else country.upper() if _COUNTRY.match(country) else OTHER
    what = UNKNOWN if not device else device if device in _DEVICES else OTHER
    return f"{where}\t{what}"


def segment_changes(before: Iterable[UnitRow], after: Iterable[UnitRow]) -> Mapping[SegmentCell, tuple[int, int]]:
    """(exposed, converted) to add by segment. A unit that was counted before there were segments is in none."""
    changes: dict[SegmentCell, tuple[int, int]] = {}
    for rows, sign in ((after, 1), (before, -1)):
        for row in rows:
            if row.segment is None:
                continue
            for kind, value in zip(KINDS, row.segment.split("\t"), strict=True):
                cell = (row.epoch, kind, value, row.arm)
                exposed, converted = changes.get(cell, (0, 0))
                changes[cell] = (exposed + sign, converted + sign * (row.converted_us is not None))
    return changes
