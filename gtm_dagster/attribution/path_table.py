"""Distinct paths as arrays, and what each brought: the form in which paths are filtered and credited."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class PathTable:
    """Distinct paths. `channel`, `ages_hours` and `stages` have an entry a touch, path after path and oldest first.

    `channels`: names by code. `lengths`: touches of each path, 0 where filters left none. `ages_hours`: hours to the
    conversion, not increasing in a path; None where they are not known. `stages`: how many stage events have the touch.
    `conversions`, `value` (None: not known), `nulls`: sums over the rows of each path; `rows`: how many there are.
    """

    channels: tuple[str, ...]
    channel: np.ndarray
    lengths: np.ndarray
    ages_hours: np.ndarray | None
    stages: np.ndarray
    conversions: np.ndarray
    value: np.ndarray | None
    nulls: np.ndarray
    rows: np.ndarray

    @cached_property
    def path(self) -> np.ndarray:
        """The number of the path of each touch, from 0."""
        return np.arange(len(self.lengths)).repeat(self.lengths)

    @cached_property
    def position(self) -> np.ndarray:
        """0 for the oldest touch of a path."""
        return np.arange(len(self.channel)) - (self.lengths.cumsum() - self.lengths)[self.path]

    @cached_property
    def length(self) -> np.ndarray:
        """How many touches the path of each touch has."""
        return self.lengths[self.path]

    def is_channel(self, names: set[str] | frozenset[str]) -> np.ndarray:
        """For each touch whether its channel is one of `names`."""
        return np.array([name in names for name in self.channels], dtype=bool)[self.channel]

    def touches(self, keep: np.ndarray) -> PathTable:
        """The touches that `keep` is true of; every path stays, perhaps without a touch.

        A stage goes to the newest touch before that stays, as if the others had never been; without one it is missing.
        """
        if keep.all():
            return self
        path = self.path[keep]
        return replace(
            self,
            channel=self.channel[keep],
            lengths=np.bincount(path, minlength=len(self.lengths)),
            ages_hours=None if self.ages_hours is None else self.ages_hours[keep],
            stages=self._stages(keep, path),
        )

    def _stages(self, keep: np.ndarray, path: np.ndarray) -> np.ndarray:
        placed = np.flatnonzero(self.stages)
        before = (np.cumsum(keep) - 1)[placed]
        same = before >= 0
        same[same] = path[before[same]] == self.path[placed][same]
        return np.bincount(before[same], weights=self.stages[placed][same], minlength=len(path)).astype(np.int64)

    def paths(self, keep: np.ndarray) -> PathTable:
        """The paths that `keep` is true of, with all their touches."""
        if keep.all():
            return self
        of_touch = keep.repeat(self.lengths)
        return PathTable(
            channels=self.channels,
            channel=self.channel[of_touch],
            lengths=self.lengths[keep],
            ages_hours=None if self.ages_hours is None else self.ages_hours[of_touch],
            stages=self.stages[of_touch],
            conversions=self.conversions[keep],
            value=None if self.value is None else self.value[keep],
            nulls=self.nulls[keep],
            rows=self.rows[keep],
        )
