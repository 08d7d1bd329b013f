"""How many events a key may send."""

from __future__ import annotations

from msgspec import Struct

from gtm_dagster.settings.values import Count, Positive


class RateLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """`events_per_second` in the long run, and `burst` events at once; None: those of ten seconds."""

    events_per_second: Positive
    burst: Count | None = None

    @property
    def burst_events(self) -> int:
        """Events that may come at once, at least 1."""
        return self.burst or max(round(10 * self.events_per_second), 1)
