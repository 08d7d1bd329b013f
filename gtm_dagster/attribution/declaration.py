"""What a credit model declares, and the touches its two functions get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # settings and the command line read the registry: it stays free of numpy
    import numpy as np

HALF_LIFE_HOURS = 168.0
"""Default half-life of `time_decay`: 7 days, as Adobe Analytics and Google Ads document theirs."""


@dataclass(frozen=True)
class Touches:
    """The touches of one conversion, oldest first, at least one; `models.weights` has checked them.

    `ages_hours`: hours from each touch to the conversion, 0 or more, not increasing. `is_direct`: whether each is direct.
    """

    ages_hours: Sequence[float]
    is_direct: Sequence[bool]
    half_life_hours: float

    def __len__(self) -> int:
        return len(self.ages_hours)


@dataclass(frozen=True)
class PathTouches:
    """The touches of many paths, path after path and oldest first; arrays of one entry a touch but for `lengths`.

    `lengths`: touches of each path. `position`: 0 for the oldest touch of a path. `ages_hours` is 0 throughout for a
    model that does not use ages.
    """

    lengths: np.ndarray
    position: np.ndarray
    ages_hours: np.ndarray
    is_direct: np.ndarray
    half_life_hours: float

    @cached_property
    def length(self) -> np.ndarray:
        """How many touches the path of each touch has."""
        return self.lengths.repeat(self.lengths)

    @cached_property
    def path(self) -> np.ndarray:
        """The number of the path of each touch, from 0."""
        import numpy as np

        return np.arange(len(self.lengths)).repeat(self.lengths)

    def least_of_path(self, values: np.ndarray) -> np.ndarray:
        """For each touch the smallest of `values` in its path."""
        import numpy as np

        least = np.full(len(self.lengths), np.inf)
        np.minimum.at(least, self.path, values)
        return least[self.path]

    def share_of_path(self, values: np.ndarray) -> np.ndarray:
        """`values` over their sum in the path of each touch."""
        import numpy as np

        return values / np.bincount(self.path, weights=values, minlength=len(self.lengths))[self.path]


@dataclass(frozen=True)
class Model:
    """One credit model. `shares` is its definition; `vectorised` and the statement `credits` of the warehouse equal it.

    `meaning`: one line for people, with the source of the formula. `order`: its place in the list of models.
    `needs_ages`, `needs_half_life`, `needs_direct`: what it reads of a touch besides its place in the path.
    `multi_touch`: it may give credit to more than one touch of a conversion, so the history gate applies to it.
    """

    name: str
    order: int
    meaning: str
    shares: Callable[[Touches], list[float]]
    vectorised: Callable[[PathTouches], np.ndarray]
    multi_touch: bool = False
    needs_ages: bool = False
    needs_half_life: bool = False
    needs_direct: bool = False
