"""Requests refused at the door, counted by route, key and reason: who asks for what is not theirs is seen by it.

They are counted in memory and stored together every few seconds, so that a flood of them costs no more than one.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from gtm_dagster.collector.commits import Commits
from gtm_dagster.collector.response import Refused
from gtm_dagster.eventlog import Refusal

STORE_SECONDS = 10.0
MOST_KINDS = 1000
"""Kinds (route, key and reason) that are told apart until they are stored; of further ones the key is not kept."""


class DoorCounts:
    """The refusals of one collector that are not stored yet."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        self._counted: dict[tuple[str, str, str, str], tuple[int, int]] = {}

    def note(self, route: str, write_key: str, code: str) -> None:
        """Count a refused request; `write_key`: the name of the key it came with, "" without one that is good."""
        now_us = time.time_ns() // 1000
        day = datetime.fromtimestamp(now_us / 1e6, UTC).date().isoformat()
        kind = (day, route, write_key, code)
        if kind not in self._counted and len(self._counted) >= MOST_KINDS:
            kind = (day, route, "", code)
        self._counted[kind] = (self._counted.get(kind, (0, 0))[0] + 1, now_us)

    async def store(self) -> None:
        """Hand what was counted to the log. Where it takes nothing they go on being counted, for the next time."""
        counted, self._counted = self._counted, {}
        if not counted:
            return
        try:
            await self._commits.refusals(tuple(Refusal(*kind, n, last_us) for kind, (n, last_us) in counted.items()))
        except Refused:
            for kind, (n, last_us) in counted.items():
                more, later_us = self._counted.get(kind, (0, 0))
                self._counted[kind] = (n + more, max(last_us, later_us))

    async def keep_storing(self) -> None:
        """Store every STORE_SECONDS until cancelled."""
        while True:
            await asyncio.sleep(STORE_SECONDS)
            await self.store()
