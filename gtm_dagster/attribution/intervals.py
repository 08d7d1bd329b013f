"""How sure a credit is: a bootstrap by person, for every label and statistic at once; numbers in, a frozen result out.

A person is drawn with all of their conversions, since one person's conversions are alike. Weights are Poisson(1) a person,
so n equal persons weigh Poisson(n) together and the number of converting persons varies too (Hanley and MacGibbon 2006,
"Creating non-parametric bootstrap samples using Poisson frequencies"; Chamandy et al. 2012, "Estimating uncertainty for
massive data streams"). The interval is the percentile interval (Efron and Tibshirani 1993, ch. 13).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Weights = NDArray[np.float32]
Ints = NDArray[np.int64]

REPLICATES = 1000
FEWEST = 40
"""Replicates that have a 2.5 % tail at all."""
PERSONS_NEEDED = 30
"""Converting persons below which a channel is not ranked: a percentile interval covers too seldom there."""
SHARE = 0.95
_TABLE_BITS = 16
_LARGEST_IN_TABLE = 64
_ENTRIES_AT_ONCE = 4_000_000
"""Weights that are in memory at once, 16 MB."""


@dataclass(frozen=True)
class Persons:
    """Some persons and what each adds to the totals; several of these make a sample.

    `counts`: how many equal persons each row stands for, above 0. `person`, `label`: rows of `counts` and of the labels,
    an entry where a person adds something, sorted by person. `amounts`: (entries, statistics), of one of the equal persons.
    """

    counts: Floats
    person: Ints
    label: Ints
    amounts: NDArray[np.floating]


@dataclass(frozen=True)
class Difference:
    """One statistic less another for one label, with the interval; `beyond`: chance alone does not explain it."""

    estimate: float
    low: float
    high: float
    beyond: bool


@dataclass(frozen=True)
class Intervals:
    """Totals by label and statistic with 95 % intervals: arrays of (labels, statistics).

    `persons`: how many persons add something. `replicates`: totals of the bootstrap, (labels, replicates, statistics).
    Without persons all are 0.
    """

    estimate: Floats
    persons: Floats
    replicates: Floats

    @cached_property
    def bounds(self) -> Floats:
        """Lower and upper ends: (2, labels, statistics)."""
        tail = (1 - SHARE) / 2
        bounds: Floats = np.quantile(self.replicates, [tail, 1 - tail], axis=1)
        return bounds

    @property
    def too_few(self) -> NDArray[np.bool_]:
        """Where fewer than PERSONS_NEEDED persons add something: the interval is too narrow there, and the rank is chance."""
        return self.persons < PERSONS_NEEDED

    def difference(self, label: int, one: int, other: int, other_label: int | None = None) -> Difference:
        """Statistic `one` of the label less `other`, of the same label or another, in the same replicates.

        Both come from the same persons, so the interval of the difference is narrower than the two intervals suggest.
        """
        second = label if other_label is None else other_label
        drawn = self.replicates[label, :, one] - self.replicates[second, :, other]
        estimate = float(self.estimate[label, one] - self.estimate[second, other])
        tail = (1 - SHARE) / 2
        low, high = (float(bound) for bound in np.quantile(drawn, [tail, 1 - tail]))
        # Weights are single precision: what is equal may differ in the sixth digit.
        noise = 1e-5 * max(abs(float(self.estimate[label, one])), abs(float(self.estimate[second, other])))
        return Difference(estimate, low, high, (low > noise or high < -noise) and abs(estimate) > noise)


def bootstrap(
    sample: Iterable[Persons], labels: int, statistics: int, *, replicates: int = REPLICATES, seed: int = 0
) -> Intervals:
    """Totals of the sample by label and statistic, and as many replicates of them; the same seed gives the same numbers.

    Memory is that of one `Persons` and about 16 MB of weights, however many there are. Raises ValueError below FEWEST
    replicates.
    """
    if replicates < FEWEST:
        raise ValueError(f"replicates: {replicates} are too few for a 95 % interval; give {FEWEST} or more")
    generator = np.random.default_rng(seed)
    estimate = np.zeros((labels, statistics))
    persons = np.zeros((labels, statistics))
    drawn = np.zeros((labels, replicates, statistics))
    at_once = max(_ENTRIES_AT_ONCE // replicates, 1)
    for part in sample:
        for first in range(0, len(part.counts), at_once):
            counts = part.counts[first : first + at_once]
            low, high = np.searchsorted(part.person, [first, first + len(counts)])
            weights = poisson(generator, counts, replicates)
            person, label = part.person[low:high] - first, part.label[low:high]
            order = np.argsort(label, kind="stable")
            edges = np.searchsorted(label[order], np.arange(labels + 1))
            for number in np.flatnonzero(np.diff(edges)):
                rows = order[edges[number] : edges[number + 1]]
                amounts = part.amounts[low:high][rows]
                many = counts[person[rows]]
                estimate[number] += many @ amounts.astype(np.float64)
                persons[number] += many @ (amounts != 0)
                drawn[number] += weights[person[rows]].T @ amounts.astype(np.float32)
    return Intervals(estimate, persons, drawn)


def poisson(generator: np.random.Generator, counts: Floats, replicates: int) -> Weights:
    """Poisson weights with these means: (counts, replicates), whole numbers.

    Small whole means are looked up in the quantiles at 2^16 equal steps: ten times as fast as drawing them, with a mean
    right to 1e-5.
    """
    small = (counts <= _LARGEST_IN_TABLE) & (counts == np.floor(counts))
    if small.all() and len(counts) and counts.min() == counts.max():
        return _looked_up(generator, int(counts[0]), (len(counts), replicates))
    weights = np.empty((len(counts), replicates), dtype=np.float32)
    for count in np.unique(counts[small]):
        rows = np.flatnonzero(counts == count)
        weights[rows] = _looked_up(generator, int(count), (len(rows), replicates))
    rest = np.flatnonzero(~small)
    if len(rest):
        weights[rest] = generator.poisson(counts[rest][:, None], (len(rest), replicates))
    return weights


def _looked_up(generator: np.random.Generator, count: int, shape: tuple[int, int]) -> Weights:
    return _quantiles(count)[generator.integers(0, 1 << _TABLE_BITS, shape, dtype=np.uint16)]


@cache
def _quantiles(count: int) -> Weights:
    """The quantiles of Poisson(count) at the middles of 2^16 equal steps."""
    from math import exp

    most = int(count + 12 * (count + 1) ** 0.5 + 12)
    mass = np.empty(most)
    mass[0] = exp(-count)
    for k in range(1, most):
        mass[k] = mass[k - 1] * count / k
    steps = (np.arange(1 << _TABLE_BITS) + 0.5) / (1 << _TABLE_BITS)
    return np.searchsorted(np.cumsum(mass), steps).astype(np.float32)
