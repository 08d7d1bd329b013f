"""How much of what an absorbing chain brings comes by each channel: one inverse, or the paths followed step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from gtm_dagster.attribution.touch_lists import TouchLists

DENSE_STATES = 1200
"""Up to so many states the inverse of the full matrix is quicker than following the paths."""
TOLERANCE = 1e-15
"""Share of the paths that may still be under way when they are followed no further."""
MOST_STEPS = 20_000
"""A chain of so many states that keeps paths under way for longer has its error stated."""
AT_ONCE = 16


@dataclass(frozen=True)
class Chain:
    """A chain fitted to paths. By state: `visits` and `starts` in paths, `gains`: what ends there brings, columns of it.

    `source`, `target`, `moves`: the transitions, each once, ordered by target; self-transitions are left out, as nothing
    ends by them. `onward`: visits that do not stay where they are.
    """

    starts: np.ndarray
    visits: np.ndarray
    onward: np.ndarray
    gains: np.ndarray
    source: np.ndarray
    target: np.ndarray
    moves: np.ndarray

    @classmethod
    def of(cls, states: TouchLists, count: int, gains: np.ndarray, weight: np.ndarray) -> Chain:
        """The chain of paths, each a list of `count` states, that weigh `weight` and bring `gains` (path by column)."""
        import numpy as np

        first, last = states.code[states.starts], states.code[states.ends - 1]
        of_entry = weight.repeat(states.lengths)
        inner = np.ones(len(states.code), dtype=bool)
        inner[states.ends - 1] = False
        at = np.flatnonzero(inner)
        at = at[states.code[at] != states.code[at + 1]]
        key = states.code[at + 1].astype(np.int64) * count + states.code[at]
        if count * count <= 4 * len(key) + 65_536:  # as many cells as entries: no sorting
            moves = np.bincount(key, of_entry[at], count * count)
            known = np.flatnonzero(moves)
            moves = moves[known]
        else:
            known, place = np.unique(key, return_inverse=True)
            moves = np.bincount(place, of_entry[at], len(known))
        source = known % count
        return cls(
            starts=np.bincount(first, weight, count),
            visits=np.bincount(states.code, of_entry, count),
            onward=np.bincount(last, weight, count) + np.bincount(source, moves, count),
            gains=np.column_stack([np.bincount(last, column, count) for column in gains.T]),
            source=source,
            target=known // count,
            moves=moves,
        )


def lost_by_avoiding(chain: Chain, grams: np.ndarray, channels: int) -> tuple[np.ndarray, float]:
    """By channel what of each column of gains comes by a state that holds it; and an upper bound on the error, as a
    share of paths.

    `grams`: the channels of each state, plus 1. With N = (I - Q)^-1, visits u = starts N and h = N times gains a visit, the
    paths that enter a set S of states bring u_S N_SS^-1 h_S: first entry into S, and on from there.
    """
    import numpy as np

    scale = np.divide(1.0, chain.onward, out=np.zeros(len(chain.onward)), where=chain.onward > 0)
    if len(scale) > DENSE_STATES:
        return _followed(chain, scale, grams, channels)
    matrix = np.eye(len(scale))
    matrix[chain.source, chain.target] -= chain.moves * scale[chain.source]
    inverse = np.linalg.inv(matrix)
    later = inverse @ (chain.gains * scale[:, None])
    entered = chain.starts @ inverse
    if grams.shape[1] == 1:
        return (entered / inverse.diagonal())[:, None] * later, 0.0
    lost = np.zeros((channels, chain.gains.shape[1]))
    for channel in range(channels):
        at = np.flatnonzero((grams == channel + 1).any(axis=1))
        if len(at):
            lost[channel] = np.linalg.solve(inverse[np.ix_(at, at)].T, entered[at]) @ later[at]
    return lost, 0.0


def _followed(chain: Chain, scale: np.ndarray, grams: np.ndarray, channels: int) -> tuple[np.ndarray, float]:
    """The same by following all paths at once from state to state, those of each channel until they come to it."""
    import numpy as np

    whole, paths = chain.gains.sum(axis=0), chain.starts.sum()
    share = chain.moves * scale[chain.source]
    entries = np.flatnonzero(np.diff(chain.target, prepend=-1))
    gains = chain.gains * scale[:, None]
    lost, error = np.zeros((channels, len(whole))), 0.0
    for begin in range(0, channels, AT_ONCE):
        some = range(begin, min(begin + AT_ONCE, channels))
        open_states = np.column_stack([~(grams == channel + 1).any(axis=1) for channel in some]).astype(np.float64)
        under_way = chain.starts[:, None] * open_states
        kept = gains.T @ under_way
        left = 1.0
        for _ in range(MOST_STEPS):
            moved = np.add.reduceat(under_way[chain.source] * share[:, None], entries, axis=0)
            under_way = np.zeros_like(under_way)
            under_way[chain.target[entries]] = moved
            under_way *= open_states
            kept += gains.T @ under_way
            left = float(under_way.sum(axis=0).max()) / paths
            if left <= TOLERANCE:
                break
        lost[list(some)] = (whole[:, None] - kept).T
        error = max(error, left)
    return lost, error
