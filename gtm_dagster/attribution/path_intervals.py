"""Intervals of credit from whole paths: every conversion of a path file is a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gtm_dagster.attribution.declaration import Model, Options, PathCounts, PathTouches
from gtm_dagster.attribution.intervals import Floats, Intervals, Ints, Persons, bootstrap, poisson

REPLICATES = 200
"""Replicates over path files, which may hold millions of paths."""
MOST_TOUCHES = 20_000
"""Touches of the distinct paths up to which a data-driven model is solved again for each replicate."""
_PATHS_AT_ONCE = 20_000


@dataclass(frozen=True)
class _Distinct:
    """Equal paths together: where their touches stand, how many persons went each, and what each person is worth."""

    lengths: Ints
    start: Ints
    counts: Floats
    conversions: Floats
    value: Floats | None


def intervals_of_paths(
    touches: PathTouches,
    labels: int,
    conversions: Floats,
    value: Floats | None,
    models: Sequence[Model],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Intervals:
    """Conversions and value by channel with intervals for models of touches, all of the same replicates.

    `conversions`, `value`: of each path. The statistics of the result are the conversions of each model in their order,
    and behind them, where there is a value, the values in the same order. A path of n conversions is n persons who
    share its value equally.
    """
    functions = [model.vectorised for model in models]
    if any(function is None for function in functions):
        raise ValueError("models that read all paths together have intervals of their own: see data_driven_intervals")
    distinct = _distinct(touches, conversions, value)

    def parts() -> Iterator[Persons]:
        for first in range(0, len(distinct.counts), _PATHS_AT_ONCE):
            here = slice(first, first + _PATHS_AT_ONCE)
            some = _some(touches, distinct.lengths[here], distinct.start[here])
            shares = np.stack([function(some) for function in functions if function is not None], axis=1)
            yield _persons(distinct, here, some, shares, labels)

    statistics = len(models) * (1 if value is None else 2)
    return bootstrap(parts(), labels, statistics, replicates=replicates, seed=seed)


def _distinct(touches: PathTouches, conversions: Floats, value: Floats | None) -> _Distinct:
    """Equal paths (channels, ages, stages and value a conversion) as one; paths that brought nothing are left out."""
    counts = np.where(conversions > 0, conversions, 1.0)
    worth = None if value is None else value / counts
    brought = np.flatnonzero((conversions > 0) if value is None else (conversions > 0) | (value > 0))
    # Two paths with the same 64 bits of hash have a chance of 3e-8 among a million, and would only lend each other a draw.
    generator = np.random.default_rng(1)
    depth = int(touches.lengths.max(initial=1))
    factors = generator.integers(1, 2**63, (4, depth), dtype=np.uint64) | np.uint64(1)
    mixed = touches.channel.astype(np.uint64) * factors[0][touches.position] + factors[1][touches.position]
    if touches.ages_hours.any():
        mixed += touches.ages_hours.astype(np.float64).view(np.uint64) * factors[2][touches.position]
    if touches.stages.any():
        mixed += touches.stages.astype(np.uint64) * factors[3][touches.position]
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    start = np.cumsum(touches.lengths) - touches.lengths
    key = (np.add.reduceat(mixed, start) if len(mixed) else np.zeros(0, np.uint64))[brought]
    if worth is not None:
        key = key + worth[brought].view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    key = key + (conversions[brought] > 0).astype(np.uint64)
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    of_first = brought[first]
    summed = np.bincount(inverse, weights=counts[brought], minlength=len(first))
    order = np.argsort(summed, kind="stable")  # equal counts lie together, which draws them together
    rows = of_first[order]
    return _Distinct(
        touches.lengths[rows], start[rows], np.asarray(summed[order], np.float64), (conversions[rows] > 0).astype(np.float64),
        None if worth is None else worth[rows],
    )  # fmt: skip


def _some(touches: PathTouches, lengths: Ints, start: Ints) -> PathTouches:
    """The touches of the paths that begin at `start`."""
    position = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    index = np.repeat(start, lengths) + position
    return replace(
        touches, lengths=lengths, position=position, channel=touches.channel[index], stages=touches.stages[index],
        ages_hours=touches.ages_hours[index], is_direct=touches.is_direct[index], is_paid=touches.is_paid[index],
    )  # fmt: skip


def _persons(distinct: _Distinct, here: slice, some: PathTouches, shares: Floats, labels: int) -> Persons:
    """An entry for each path and channel, with what all its touches get."""
    key = some.path * labels + some.channel
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    edges = np.flatnonzero(np.diff(ordered, prepend=-1))
    person, label = ordered[edges] // labels, ordered[edges] % labels
    share = np.add.reduceat(shares[order], edges, axis=0) if len(edges) else shares
    amounts = share * distinct.conversions[here][person][:, None]
    if distinct.value is not None:
        amounts = np.concatenate([amounts, share * distinct.value[here][person][:, None]], axis=1)
    return Persons(distinct.counts[here], person, label, amounts)


def data_driven_intervals(
    paths: PathCounts, model: Model, options: Options, *, replicates: int = REPLICATES, seed: int = 0
) -> Intervals | None:
    """The same for a model that reads all paths together: solved again on each replicate's counts of the distinct paths.

    Statistics: conversions, and value where there is one. None where the distinct paths have more than MOST_TOUCHES
    touches: so many solutions take longer than some ten seconds. `persons`: conversions of the paths that hold the channel.
    """
    solve = model.credit_of_paths
    if solve is None:
        raise ValueError(f"{model.name} gives shares to touches: see intervals_of_paths")
    if len(paths.channel) > MOST_TOUCHES:
        return None
    generator = np.random.default_rng(seed)
    labels, with_value = len(paths.channels), paths.value is not None
    # A value belongs to the conversions of its path: it grows with them.
    each = None if paths.value is None else paths.value / np.maximum(paths.conversions, 1e-300)

    def credit(conversions: Floats, nulls: Floats) -> Floats:
        value = None if each is None else each * conversions
        solved = solve(replace(paths, conversions=conversions, nulls=nulls, value=value), options)
        return np.stack([solved.conversions, *([solved.value] if solved.value is not None else [])], axis=1)

    converted = np.asarray(paths.conversions, dtype=np.float64)
    failed = np.asarray(paths.nulls, dtype=np.float64)
    drawn = np.zeros((labels, replicates, 2 if with_value else 1))
    for replicate in range(replicates):
        weights = [poisson(generator, count, 1)[:, 0].astype(np.float64) for count in (converted, failed)]
        drawn[:, replicate] = credit(*weights) if weights[0].any() else 0.0
    path = np.repeat(np.arange(len(paths.lengths)), paths.lengths)
    pairs = np.unique(path * labels + paths.channel)
    persons = np.bincount(pairs % labels, weights=converted[pairs // labels], minlength=labels)
    return Intervals(credit(converted, failed), np.repeat(persons[:, None], drawn.shape[2], axis=1), drawn)
