"""Whether those who would have reported a cancelling event were heard: "did not happen" is claimed only then."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

BLIND_AFTER_US = 90 * 1_000_000
RECHECK_US = 60 * 1_000_000


class Watch(Struct, frozen=True):
    """The last heartbeat and the last gap between two (microseconds UTC). Without any heartbeat nobody is waited for."""

    heard_us: int | None = None
    gap_from_us: int = 0
    gap_to_us: int = 0

    def heard(self, at_us: int) -> Watch:
        """With a heartbeat at `at_us`."""
        if self.heard_us is not None and at_us - self.heard_us > BLIND_AFTER_US:
            return Watch(at_us, self.heard_us, at_us)
        return replace(self, heard_us=max(at_us, self.heard_us or at_us))

    def is_blind(self, now_us: int) -> bool:
        """Whether nobody has been heard for `BLIND_AFTER_US`."""
        return self.heard_us is not None and now_us - self.heard_us > BLIND_AFTER_US

    def wait_until(self, start_us: int, due_us: int, grace_us: int, now_us: int) -> int | None:
        """When to decide about [start, due] when it cannot be decided now; None when it can.

        While blind, the next look; after a gap that touches the interval, `grace_us` after its end, for what was spooled.
        """
        if self.heard_us is not None and self.is_blind(now_us) and self.heard_us < due_us:
            return now_us + RECHECK_US
        if self.gap_from_us < due_us and self.gap_to_us > start_us and self.gap_to_us + grace_us > now_us:
            return self.gap_to_us + grace_us
        return None


class Watches(Struct, frozen=True):
    """Several senders, each with its watch: nothing is claimed before all of them could have reported it."""

    all: tuple[Watch, ...] = ()

    def is_blind(self, now_us: int) -> bool:
        """Whether one of them has not been heard for `BLIND_AFTER_US`."""
        return any(watch.is_blind(now_us) for watch in self.all)

    def wait_until(self, start_us: int, due_us: int, grace_us: int, now_us: int) -> int | None:
        """As `Watch.wait_until`, for the one that takes longest."""
        waits = [watch.wait_until(start_us, due_us, grace_us, now_us) for watch in self.all]
        return max((wait for wait in waits if wait is not None), default=None)


ALWAYS_HEARD = Watch()
