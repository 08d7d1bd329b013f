"""A tree of lists of codes: which lists there are, and which of them begin or continue another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from gtm_dagster.attribution.touch_lists import TouchLists

ROOT = 0
ABSENT = -1


@dataclass(frozen=True)
class PathTree:
    """Nodes are the beginnings of lists, 0 the empty one. `keys`: parent * codes + code of each edge, sorted; `children`:
    the node each leads to. `ends`: the node of each list; `count`: how many nodes there are.
    """

    codes: int
    keys: np.ndarray
    children: np.ndarray
    ends: np.ndarray
    count: int

    @classmethod
    def of(cls, lists: TouchLists, codes: int) -> PathTree:
        """The tree of `lists`, whose codes are below `codes`."""
        import numpy as np

        node = np.zeros(len(lists.lengths), dtype=np.int64)
        keys, count = [np.empty(0, dtype=np.int64)], 1
        for depth in range(int(lists.lengths.max(initial=0))):
            longer = np.flatnonzero(lists.lengths > depth)
            edges, place = np.unique(
                node[longer] * codes + lists.code[lists.starts[longer] + depth], return_inverse=True
            )
            keys.append(edges)
            node[longer] = count + place
            count += len(edges)
        # Nodes are numbered from the root on, and so the edges of all depths stand in order.
        return cls(codes, np.concatenate(keys), np.arange(1, count), node, count)

    def child(self, node: np.ndarray, code: np.ndarray) -> np.ndarray:
        """The node behind each node by each code, ABSENT where no list goes on so, or where the node is absent."""
        import numpy as np

        if not len(self.keys):
            return np.full(len(node), ABSENT)
        key = node * self.codes + code
        at = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        return np.where((self.keys[at] == key) & (node >= 0), self.children[at], ABSENT)
