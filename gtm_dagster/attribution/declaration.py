"""What a credit model declares, and what its functions get: the touches of conversions, or whole distinct paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # settings and the command line read the registry: it stays free of numpy
    import numpy as np

HALF_LIFE_HOURS = 168.0
"""Default half-life of `time_decay`: 7 days, as Adobe Analytics and Google Ads document theirs."""

POSITION_WEIGHTS = (0.4, 0.2, 0.4)
"""Default shares of `position_based` for the first touch, those between and the last (Adobe Analytics "U-Shaped")."""

PAID_CHANNELS = frozenset(
    {"Cross-network", "Display", "Paid Other", "Paid Search", "Paid Shopping", "Paid Social", "Paid Video"}
)
"""Channels that first_paid and last_paid look for: those of GA4's default groups that are bought by click or view."""


@dataclass(frozen=True)
class Options:
    """Options of all models; each reads those that its declaration names.

    `half_life_hours`: of time_decay. `weights`: shares of first, middle and last touch (position_based). `order`,
    `nulls`, `removal` (null, fail, refit or detour): of markov. `game` (volume or rate): of shapley.
    """

    half_life_hours: float = HALF_LIFE_HOURS
    weights: tuple[float, float, float] = POSITION_WEIGHTS
    order: int = 1
    nulls: bool = True
    removal: str = "null"
    game: str = "volume"


@dataclass(frozen=True)
class Touches:
    """The touches of one conversion, oldest first, at least one; `models.weights` has checked them.

    `ages_hours`: hours from each touch to the conversion, 0 or more, not increasing. `is_direct`, `is_paid`: whether
    each is. `channels`: what each came by. `stages`: how many stage events have each as their touch.
    """

    ages_hours: Sequence[float]
    is_direct: Sequence[bool]
    is_paid: Sequence[bool]
    channels: Sequence[object]
    stages: Sequence[int]
    options: Options = field(default_factory=Options)

    def __len__(self) -> int:
        return len(self.ages_hours)


@dataclass(frozen=True)
class PathTouches:
    """The touches of many paths, path after path and oldest first; arrays of one entry a touch but for `lengths`.

    `lengths`: touches of each path, at least one. `position`: 0 for the oldest touch of a path. `channel`: a code from 0. `stages`:
    how many stage events have the touch. An array that the model does not need may be 0 throughout.
    """

    lengths: np.ndarray
    position: np.ndarray
    channel: np.ndarray
    ages_hours: np.ndarray
    is_direct: np.ndarray
    is_paid: np.ndarray
    stages: np.ndarray
    options: Options = field(default_factory=Options)

    @cached_property
    def length(self) -> np.ndarray:
        """How many touches the path of each touch has."""
        return self.lengths.repeat(self.lengths)

    @cached_property
    def path(self) -> np.ndarray:
        """The number of the path of each touch, from 0."""
        import numpy as np

        return np.arange(len(self.lengths)).repeat(self.lengths)

    @cached_property
    def newest(self) -> np.ndarray:
        """The place of the newest touch of each path in the arrays."""
        return self.lengths.cumsum() - 1

    def oldest_where(self, wanted: np.ndarray) -> np.ndarray:
        """For each path the position of its oldest touch that `wanted` is true of; its length where there is none."""
        import numpy as np

        return np.minimum.reduceat(np.where(wanted, self.position, self.length), self.newest + 1 - self.lengths)

    def newest_where(self, wanted: np.ndarray) -> np.ndarray:
        """For each path the position of its newest touch that `wanted` is true of; -1 where there is none."""
        import numpy as np

        return np.maximum.reduceat(np.where(wanted, self.position, -1), self.newest + 1 - self.lengths)

    def all_to(self, position: np.ndarray) -> np.ndarray:
        """1 for the touch at the given position of each path, 0 for every other."""
        return (self.position == position[self.path]).astype(float)

    def sum_of_path(self, values: np.ndarray) -> np.ndarray:
        """For each touch the sum of `values` in its path."""
        import numpy as np

        return np.bincount(self.path, weights=values, minlength=len(self.lengths))[self.path]

    def share_of_path(self, values: np.ndarray) -> np.ndarray:
        """`values` over their sum in the path of each touch."""
        return values / self.sum_of_path(values)

    @cached_property
    def channel_touches(self) -> np.ndarray:
        """For each touch how many touches of its path have its channel."""
        _, inverse, counts = self._pairs
        return counts[inverse]

    @cached_property
    def distinct_channels(self) -> np.ndarray:
        """For each touch how many channels its path has."""
        return self.sum_of_path(1.0 / self.channel_touches).round()

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        import numpy as np

        codes = int(self.channel.max(initial=0)) + 1
        return np.unique(self.path * codes + self.channel, return_inverse=True, return_counts=True)


@dataclass(frozen=True)
class PathCounts:
    """Distinct paths of channels and what each brought; what a data-driven model reads.

    `channels`: names; `channel` holds their codes, path after path and oldest touch first; `lengths`: touches of each
    path, at least one. `conversions`, `nulls`: how many times each path converted, and did not; `value`: the value of
    its conversions, None where there is none.
    """

    channels: tuple[str, ...]
    channel: np.ndarray
    lengths: np.ndarray
    conversions: np.ndarray
    value: np.ndarray | None
    nulls: np.ndarray


@dataclass(frozen=True)
class PathCredit:
    """Credit by channel, one entry for each of `PathCounts.channels`; what is missing of the total nobody earned.

    `columns`: what else the model knows of each channel, such as `removal_effect`; a column of the result each.
    `attrs`: what it knows of the whole, such as `p_conversion`; attributes of the result.
    """

    conversions: np.ndarray
    value: np.ndarray | None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    attrs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """One credit model: shares of the touches of each conversion, or, data-driven, credit from all paths at once.

    `meaning`: one line for people, with the source of the formula. `order`: its place in the list of models.
    `shares` is the definition of a model of touches; `vectorised` and the statements of the warehouse equal it.
    `credit_of_paths` is the definition of a data-driven model, which has neither of the two.
    `multi_touch`: it may give credit to more than one touch of a conversion, so the history gate applies to it.
    `conserves`: the credit of a conversion adds up to 1. `needs_ages`, `needs_direct`, `needs_paid`, `needs_channel`,
    `needs_stages`: what it reads of a touch besides its place in the path. `options`: the names of `Options` it reads.
    """

    name: str
    order: int
    meaning: str
    shares: Callable[[Touches], list[float]] | None = None
    vectorised: Callable[[PathTouches], np.ndarray] | None = None
    credit_of_paths: Callable[[PathCounts, Options], PathCredit] | None = None
    multi_touch: bool = False
    conserves: bool = True
    needs_ages: bool = False
    needs_direct: bool = False
    needs_paid: bool = False
    needs_channel: bool = False
    needs_stages: bool = False
    options: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        of_touches = self.shares is not None and self.vectorised is not None
        if of_touches == self.data_driven:
            raise ValueError(f"{self.name}: give shares and vectorised, or credit_of_paths alone")

    @property
    def data_driven(self) -> bool:
        """Whether credit comes from all paths together: no conversion has shares of its own."""
        return self.credit_of_paths is not None

    @property
    def needs_half_life(self) -> bool:
        """Whether it reads a half-life."""
        return "half_life_hours" in self.options
