"""How much less a path converts without one of its touches: the shares of leave-one-out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.attribution.path_tree import ABSENT, ROOT, PathTree
from gtm_dagster.attribution.touch_lists import TouchLists

if TYPE_CHECKING:
    import numpy as np

    from gtm_dagster.attribution.declaration import PathCounts


def leave_one_out_shares(paths: PathCounts) -> np.ndarray:
    """The share of its path for each touch in `paths.channel`: what the path's conversion rate has more than that of the
    same path without the touch (0 where nobody went that way), 0 where it has less, divided by the sum over the path.

    A path of one touch is its touch's. A path that no touch makes better is its newest touch's.
    """
    import numpy as np

    lists = TouchLists(np.asarray(paths.channel), np.asarray(paths.lengths))
    tree = PathTree.of(lists, max(len(paths.channels), 1))
    converted = np.bincount(tree.ends, paths.conversions, tree.count)
    seen = np.bincount(tree.ends, np.asarray(paths.conversions) + paths.nulls, tree.count)
    rate = np.divide(converted, seen, out=np.zeros(tree.count), where=seen > 0)

    left_out = np.arange(len(lists.code))
    node, at = _before(tree, lists), left_out + 1
    end = lists.ends[lists.number]
    still = np.flatnonzero((at < end) & (node != ABSENT))
    while len(still):
        node[still] = tree.child(node[still], lists.code[at[still]])
        at[still] += 1
        still = still[(at[still] < end[still]) & (node[still] != ABSENT)]
    without = np.where((node == ABSENT) | (node == ROOT), 0.0, rate[node])
    more = np.maximum(rate[tree.ends][lists.number] - without, 0.0)
    total = np.bincount(lists.number, more, len(lists.lengths))
    newest = np.zeros(len(lists.code))
    newest[lists.ends - 1] = 1.0
    of_path = total[lists.number]
    return np.where(of_path > 0, np.divide(more, of_path, out=np.zeros(len(more)), where=of_path > 0), newest)


def _before(tree: PathTree, lists: TouchLists) -> np.ndarray:
    """For each touch the node of the touches before it."""
    import numpy as np

    found = np.full(len(lists.code), ROOT, dtype=np.int64)
    node = np.full(len(lists.lengths), ROOT, dtype=np.int64)
    for depth in range(int(lists.lengths.max(initial=0)) - 1):
        longer = np.flatnonzero(lists.lengths > depth + 1)
        at = lists.starts[longer] + depth
        node[longer] = tree.child(node[longer], lists.code[at])
        found[at + 1] = node[longer]
    return found
