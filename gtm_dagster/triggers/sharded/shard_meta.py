"""What a shard knows beside its persons, and how it stands: the record `meta` of its changelog."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from gtm_dagster.triggers.heartbeat_watch import Watch
from gtm_dagster.triggers.step import NEVER_US

FAULTS_UNTIL_STOPPED = 5


class Meta(Struct):
    """What a shard knows beside its persons. `arrived_seq`: moves of records up to this one are taken in.

    For those who look on: `worker` committed at `committed_us` (its machine's clock), `timers` places wait for a time, the
    first for `next_us`, and `open` and `held` starts, by rule.
    """

    clock_us: int = -NEVER_US
    arrived_seq: int = 0
    behind: bool = False
    watches: dict[str, Watch] = {}
    senders: dict[str, list[str]] = {}
    faults: dict[str, int] = {}
    position: dict[str, int] = {}
    paused: list[str] = []
    worker: str = ""
    committed_us: int = 0
    timers: int = 0
    next_us: int | None = None
    open: dict[str, int] = {}
    held: dict[str, int] = {}

    @property
    def stopped(self) -> frozenset[str]:
        """Rules that raised too often."""
        return frozenset(name for name, n in self.faults.items() if n >= FAULTS_UNTIL_STOPPED)

    def status(self, rule: str) -> str:
        """Active, paused or degraded."""
        return "degraded" if rule in self.stopped else "paused" if rule in self.paused else "active"


decoded_meta = msgspec.msgpack.Decoder(Meta).decode
