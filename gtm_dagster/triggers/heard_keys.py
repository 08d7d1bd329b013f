"""What the heartbeats in the log say of each write key, for the watches of rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from gtm_dagster.eventlog import Heartbeat

GONE_US = 3600 * 1_000_000
"""A producer whose key was heard this much later than it is gone, and not waited for any more."""


def heard_keys(beats: Iterable[Heartbeat]) -> dict[str, int]:
    """Up to when everything that happened was sent, by write key (microseconds UTC): by all of its producers.

    A producer that still has events in its spool says so with a time of the past; its clock is put right by its skew.
    """
    of_key: defaultdict[str, list[Heartbeat]] = defaultdict(list)
    for beat in beats:
        of_key[beat.write_key].append(beat)
    heard = {}
    for key, found in of_key.items():
        newest = max(beat.received_us for beat in found)
        heard[key] = min(
            min(beat.received_us, beat.ts_us + max(beat.skew_us or 0, 0))
            for beat in found
            if beat.received_us > newest - GONE_US
        )
    return heard
