"""The counts of a tracker."""

from __future__ import annotations

import msgspec


class TrackerStats(msgspec.Struct, frozen=True):
    """Counts of events since the tracker was created (in a forked child: since the fork).

    `sent` were answered by the collector = accepted + duplicates + quarantined + suppressed; `dropped` were given up;
    `waiting` are queued or under way. `withheld` were not sent, because their person did not agree to them.
    """

    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    dropped: int = 0
    waiting: int = 0
    suppressed: int = 0
    withheld: int = 0
