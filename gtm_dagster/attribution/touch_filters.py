"""Which touches of a path count: lookback, by channel too, the most that are kept of a path, and named channels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np

from gtm_dagster.attribution.path_table import PathTable
from gtm_dagster.attribution.transforms import keeping, newest_of, transformed


@dataclass(frozen=True)
class TouchFilter:
    """What counts, in the order it is applied; each None or empty one lets everything pass.

    First `max_touches`: of the touches within the longest lookback, the newest so many and the oldest. Then `only` or
    `without` channels, and `lookback_hours`, in place of which `channel_hours` has other hours for single channels.
    Then `transforms`. A touch counts when 0 <= age <= lookback.
    """

    lookback_hours: float | None = None
    channel_hours: Mapping[str, float] = field(default_factory=dict)
    max_touches: int | None = None
    only: Sequence[str] = ()
    without: Sequence[str] = ()
    transforms: Sequence[str] = ()

    @property
    def needs_ages(self) -> bool:
        """Whether it asks how old a touch is."""
        return self.lookback_hours is not None or bool(self.channel_hours)

    def check(self) -> None:
        """Raises ValueError for an option with a value that it cannot have."""
        hours = {"lookback_hours": self.lookback_hours} | {
            f"channel_hours[{name!r}]": hours for name, hours in self.channel_hours.items()
        }
        for name, number in hours.items():
            if number is not None and not (number > 0 and math.isfinite(number)):
                raise ValueError(f"{name}: {number!r} is not a number of hours above 0")
        if self.max_touches is not None and self.max_touches < 1:
            raise ValueError(f"max_touches: {self.max_touches!r} is not a count of 1 or more")
        if self.only and self.without:
            raise ValueError("without: where only names the channels that count, no others are left; keep one of them")
        for transform in self.transforms:
            keeping(transform)

    def __call__(self, table: PathTable) -> tuple[PathTable, int]:
        """The paths with the touches that count, and how many rows have a longer path than `max_touches` or newest:N keep."""
        truncated = 0
        if self.needs_ages:
            usual = math.inf if self.lookback_hours is None else self.lookback_hours
            table = table.touches(_ages(table) <= max(usual, *self.channel_hours.values(), 0.0))
        if self.max_touches is not None:
            truncated = int(table.rows[table.lengths > self.max_touches + 1].sum())
            table = table.touches((table.position >= table.length - self.max_touches) | (table.position == 0))
        keep = np.ones(len(table.channel), dtype=bool)
        if self.needs_ages:
            hours = np.array([self.channel_hours.get(name, usual) for name in table.channels], dtype=np.float64)
            keep &= _ages(table) <= hours[table.channel]
        if self.only:
            keep &= table.is_channel(set(self.only))
        if self.without:
            keep &= ~table.is_channel(set(self.without))
        table = table.touches(keep)
        for transform in self.transforms:
            newest = newest_of(transform)
            truncated += 0 if newest is None else int(table.rows[table.lengths > newest].sum())
            table = transformed(table, [transform])
        return table, truncated


def _ages(table: PathTable) -> np.ndarray:
    if table.ages_hours is None:
        raise ValueError("a lookback needs to know how old each touch is; name the column of ages with ages_column")
    return table.ages_hours


def unknown_channels(named: Iterable[str], channels: Iterable[str]) -> list[str]:
    """Each named channel that is not among `channels`, with the nearest that is. `Direct` is a default, so it is left out."""
    known = list(channels)
    return [
        repr(name) + "".join(f"; did you mean {each}?" for each in get_close_matches(name, known, 1))
        for name in dict.fromkeys(named)
        if name not in known and name != "Direct"
    ]
