"""Absorbing Markov chains of order k from distinct paths, and what removing each channel does to conversion.

States are the k touches seen last; a path shorter than k is one state, all of it. Repeats of a channel are states like
any other. Anderl, Becker, von Wangenheim, Schumann 2016, Int. J. Research in Marketing 33(3), 457-474. Every figure
solves a linear system, none is simulated.

A chain fitted to paths visits each state as often as the paths do, so it converts as often as they do: its probability,
and that of a chain fitted again to other paths, is a share of paths. Only `null` changes a chain without fitting it again,
and needs a system to be solved (absorption.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gtm_dagster.attribution.absorption import Chain, lost_by_avoiding
from gtm_dagster.attribution.touch_lists import TouchLists

if TYPE_CHECKING:
    import numpy as np

    from gtm_dagster.attribution.declaration import PathCounts

ORDERS = (1, 2, 3, 4)
REMOVALS = ("null", "fail", "refit", "detour")
"""null: the chain stays, and whoever comes to the channel does not convert. fail: a path with the channel does not convert.
refit: as fail, and a path each of whose states has the channel is dropped. detour: the channel is taken out of the paths,
their outcome stays, and a path of nothing else is dropped."""

ROUNDING = 1e-12
"""What is left where two sums cancel may be their rounding error: below this share of them it is 0."""


@dataclass(frozen=True)
class RemovalEffects:
    """Of a chain: probability and value of conversion a path, and by channel the share that is lost without it.

    An effect is 1 - P(without the channel) / P: from 0 to 1 for null and fail; for refit and detour it is below 0 where
    the paths that are left convert more often. 1 where none is left; all are 0 where nothing converts. `value` and
    `mean_value` are None without values. `error`: an upper bound on the error of a probability.
    """

    p_conversion: float
    conversions: np.ndarray
    mean_value: float | None
    value: np.ndarray | None
    error: float = 0.0


def removal_effects(paths: PathCounts, order: int = 1, nulls: bool = True, removal: str = "null") -> RemovalEffects:
    """What the removal of each of `paths.channels` does to conversion in a chain of `order` 1 to 4.

    `nulls`: whether paths that did not convert count; without them the chain is that of converting paths alone.
    Raises ValueError for another order or an unknown removal.
    """
    import numpy as np

    if order not in ORDERS:
        raise ValueError(f"order: {order!r} is not 1, 2, 3 or 4")
    if removal not in REMOVALS:
        raise ValueError(f"removal: {removal!r} is not one of {', '.join(REMOVALS)}")
    gains = np.zeros((len(paths.lengths), 2))
    gains[:, 0] = paths.conversions
    if paths.value is not None:
        gains[:, 1] = paths.value
    weight = gains[:, 0] + (np.asarray(paths.nulls, dtype=np.float64) if nulls else 0.0)
    # A path that neither converted nor counts otherwise has no place in the chain.
    there = np.flatnonzero(weight > 0)
    lists = TouchLists(np.asarray(paths.channel), np.asarray(paths.lengths))
    if len(there) < len(weight):
        gains, weight, lists = gains[there], weight[there], lists.of(there)
    channels, error = len(paths.channels), 0.0
    whole = gains.sum(axis=0)
    if not whole[0] > 0:
        p_conversion, mean_value, effects = 0.0, 0.0, np.zeros((channels, 2))
    else:
        p_conversion, mean_value = (whole / weight.sum()).tolist()
        if removal == "null":
            states, grams = lists.grams(order, channels)
            lost, error = lost_by_avoiding(Chain.of(states, len(grams), gains, weight), grams, channels)
            effects = np.divide(lost, whole, out=np.zeros_like(lost), where=whole != 0)
        else:
            effects = _refitted(lists, gains, weight, channels, order, removal)
    value = None if paths.value is None else effects[:, 1]
    return RemovalEffects(p_conversion, effects[:, 0], None if value is None else mean_value, value, error)


def _refitted(
    lists: TouchLists, gains: np.ndarray, weight: np.ndarray, channels: int, order: int, removal: str
) -> np.ndarray:
    """Effects by channel on conversion and on value where the chain is fitted again: shares of paths."""
    import numpy as np

    path, channel = lists.pairs()
    held = _by_channel(channel, gains[path], channels)
    whole, paths = gains.sum(axis=0), weight.sum()
    gone = np.zeros(len(path), dtype=bool)
    if removal == "refit":
        gone = _in_every_state(lists, order, channels)
    elif removal == "detour":
        gone = lists.distinct_counts()[path] == 1
    left = paths - np.bincount(channel[gone], weight[path[gone]], channels)
    lost_gains = held if removal != "detour" else _by_channel(channel[gone], gains[path[gone]], channels)
    kept = whole - lost_gains
    nothing = left <= ROUNDING * paths
    rate = np.divide(kept, left[:, None], out=np.zeros_like(kept), where=~nothing[:, None])
    effects = 1.0 - np.divide(rate * paths, whole, out=np.ones_like(rate), where=whole != 0)
    effects[np.abs(effects) < ROUNDING] = 0.0
    return np.where(nothing[:, None] & (whole != 0), 1.0, effects)


def _by_channel(channel: np.ndarray, gains: np.ndarray, channels: int) -> np.ndarray:
    import numpy as np

    return np.column_stack([np.bincount(channel, gains[:, column], channels) for column in (0, 1)])


def _in_every_state(lists: TouchLists, order: int, channels: int) -> np.ndarray:
    """For each pair of a path and a channel it has, in the order of `pairs`: whether each state of the path holds it."""
    import numpy as np

    states, grams = lists.grams(order, channels)
    path = np.arange(len(states.lengths)).repeat(states.lengths)
    # A state counts once for a channel that it holds twice.
    held = [(grams[:, step] > 0) & ~(grams[:, :step] == grams[:, step : step + 1]).any(axis=1) for step in range(order)]
    pairs = np.concatenate(
        [
            path[held[step][states.code]] * channels + grams[states.code[held[step][states.code]], step] - 1
            for step in range(order)
        ]
    )
    pair, count = np.unique(pairs, return_counts=True)
    return count == states.lengths[pair // channels]
