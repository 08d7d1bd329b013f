"""The game of conversion rates within each path: who of its channels is worth how much of its conversions.

The players are the channels of a path, each once. A coalition of them is worth the conversion rate of the paths that are
exactly this coalition, 0 where there is none. The Shapley values of the game add up to the path's own rate; divided by
it they share the path's conversions. Values may be below 0: of a channel whose paths convert less often with it.
Unordered, a path is the set of its channels; ordered, the channels in the order of their first touches.
Source: dp6/Marketing-Attribution-Models, attribution_shapley (conv_rate; order), without its limit of four channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gtm_dagster.attribution.coalitions import coalition_weights
from gtm_dagster.attribution.declaration import PathCounts, PathCredit
from gtm_dagster.attribution.path_tree import ABSENT, ROOT, PathTree
from gtm_dagster.attribution.touch_lists import TouchLists

if TYPE_CHECKING:
    import numpy as np

MOST_COALITIONS = 2_000_000
"""Orders are sampled for a path with more coalitions that exist than this."""
ORDERS = 4000
SEED = 20180405
_PATHS_AT_ONCE = 4096


@dataclass(frozen=True)
class RateCredit:
    """Credit by channel (row) of each column of amounts, and the standard error of it: 0 where all was exact."""

    credit: np.ndarray
    standard_error: np.ndarray
    sampled_paths: int


def credit_by_rates(paths: PathCounts, *, ordered: bool) -> PathCredit:
    """`rate_credit` of conversions and value; `standard_error` tells of sampled orders, its largest as an attribute."""
    import numpy as np

    amounts = [np.asarray(paths.conversions, dtype=np.float64)]
    if paths.value is not None:
        amounts.append(np.asarray(paths.value, dtype=np.float64))
    found = rate_credit(paths, np.column_stack(amounts), ordered=ordered)
    errors = found.standard_error[:, 0]
    return PathCredit(
        conversions=found.credit[:, 0],
        value=None if paths.value is None else found.credit[:, 1],
        columns={"standard_error": errors} if found.sampled_paths else {},
        attrs={"standard_error": float(errors.max(initial=0.0)), "sampled_paths": float(found.sampled_paths)},
    )


def rate_credit(
    paths: PathCounts, amounts: np.ndarray, *, ordered: bool, most_coalitions: int = MOST_COALITIONS, seed: int = SEED
) -> RateCredit:
    """Shapley values of the rate games of all paths, scaled to `amounts` (path by column; what it brought)."""
    import numpy as np

    codes = max(len(paths.channels), 1)
    lists = TouchLists(np.asarray(paths.channel), np.asarray(paths.lengths))
    if ordered:
        lists = lists.distinct()
    else:
        number, code = lists.pairs()
        lists = TouchLists(code, np.bincount(number, minlength=len(lists.lengths)))
    tree = PathTree.of(lists, codes)
    converted = np.bincount(tree.ends, paths.conversions, tree.count)
    seen = np.bincount(tree.ends, np.asarray(paths.conversions) + paths.nulls, tree.count)
    rate = np.divide(converted, seen, out=np.zeros(tree.count), where=seen > 0)
    brought = np.column_stack([np.bincount(tree.ends, column, tree.count) for column in amounts.T])
    _, one_of_each = np.unique(tree.ends, return_index=True)
    players = lists.of(one_of_each[converted[tree.ends[one_of_each]] > 0])
    ends = tree.ends[one_of_each[converted[tree.ends[one_of_each]] > 0]]

    value = np.zeros(len(players.code))
    error = np.zeros(len(players.code))
    random, sampled = np.random.default_rng(seed), 0
    for begin in range(0, len(players.lengths), _PATHS_AT_ONCE):
        some = np.arange(begin, min(begin + _PATHS_AT_ONCE, len(players.lengths)))
        for part, found in _solved(tree, rate, players, some, most_coalitions):
            entries = slice(players.starts[part[0]], players.ends[part[-1]])
            if found is None:
                sampled += 1
                value[entries], error[entries] = _sampled(tree, rate, players.code[entries], random)
            else:
                value[entries] = found
    scale = brought[ends] / rate[ends][:, None]
    of_entry = scale.repeat(players.lengths, axis=0)
    credit = _summed(players.code, value[:, None] * of_entry, codes)
    variance = _summed(players.code, (error[:, None] * of_entry) ** 2, codes)
    return RateCredit(credit[: len(paths.channels)], np.sqrt(variance)[: len(paths.channels)], sampled)


def _summed(code: np.ndarray, columns: np.ndarray, codes: int) -> np.ndarray:
    import numpy as np

    return np.column_stack([np.bincount(code, column, codes) for column in columns.T])


def _solved(
    tree: PathTree, rate: np.ndarray, players: TouchLists, some: np.ndarray, most: int
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Runs of paths with the values of their players, entry by entry; None for one that has too many coalitions."""
    found = _exact(tree, rate, players.of(some), most)
    if found is None and len(some) > 1:
        half = len(some) // 2
        yield from _solved(tree, rate, players, some[:half], most)
        yield from _solved(tree, rate, players, some[half:], most)
    else:
        yield some, found


def _exact(tree: PathTree, rate: np.ndarray, players: TouchLists, most: int) -> np.ndarray | None:
    """Shapley values by player, from all coalitions that exist; None when these are more than `most`.

    Coalitions grow from the root of the tree, one player a step, in the order of the path; `worth` goes back the same way.
    """
    import numpy as np

    row: np.ndarray = np.arange(len(players.lengths))
    node: np.ndarray = np.full(len(players.lengths), ROOT)
    behind = players.starts
    steps: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    value = np.zeros(len(players.code))
    against = np.zeros(len(players.lengths))
    total = 0
    while len(row):
        room = players.ends[row] - behind
        parent = np.arange(len(row)).repeat(room)
        entry = np.arange(len(parent)) - (room.cumsum() - room)[parent] + behind[parent]
        child = tree.child(node[parent], players.code[entry])
        there = np.flatnonzero(child != ABSENT)
        total += len(there)
        if total > most:
            return None
        parent, entry = parent[there], entry[there]
        row, node, behind = row[parent], child[there], entry + 1
        inside, outside = _weights(len(steps) + 1, players.lengths)
        worth = rate[node]
        against += np.bincount(row, worth * outside[row], len(against))
        steps.append((parent, entry, worth * (inside + outside)[row]))
    below: np.ndarray = np.zeros(0)
    for parent, entry, worth in reversed(steps):
        carried = worth.copy()
        carried[: len(below)] += below
        value += np.bincount(entry, carried, len(value))
        below = np.bincount(parent, carried)
    return value - against[players.number]


def _weights(size: int, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`coalition_weights` for a coalition of `size` by path; 0 for a path that has fewer players."""
    import numpy as np

    known, place = np.unique(lengths, return_inverse=True)
    found = [coalition_weights(size, players) if players >= size else (0.0, 0.0) for players in known.tolist()]
    inside, outside = np.array(found).reshape(-1, 2).T
    return inside[place], outside[place]


def _sampled(
    tree: PathTree, rate: np.ndarray, codes: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of what each player of one path adds over random orders of joining, and its standard error."""
    import numpy as np

    players = len(codes)
    joins = random.permuted(np.tile(np.arange(players), (ORDERS, 1)), axis=1).argsort(axis=1)
    worth = np.zeros((ORDERS, players + 1))
    for size in range(1, players + 1):
        node = np.full(ORDERS, ROOT)
        for player in range(players):
            member = joins[:, player] < size
            node[member] = tree.child(node[member], np.full(int(member.sum()), codes[player]))
        worth[:, size] = np.where(node == ABSENT, 0.0, rate[node])
    added = np.take_along_axis(np.diff(worth, axis=1), joins, axis=1)
    return added.mean(axis=0), added.std(axis=0, ddof=1) / np.sqrt(ORDERS)
