"""Shapley values: of any game, and of the games that paths of channels make.

Shapley 1953: a player gets the mean of what it adds to the players before it, over all orders of joining. By size s of a
coalition and number n of players, the value of a coalition counts (s-1)! (n-s)! / n! for its members and
-s! (n-s-1)! / n! for the others, so only coalitions whose value is not 0 are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from gtm_dagster.attribution.declaration import PathCounts

EXACT_PLAYERS = 16
"""A game given as a function is asked for every coalition of up to so many players."""
SAMPLES = 10_000


@dataclass(frozen=True)
class ShapleyValues:
    """The value of each player; `standard_error` of each where orders were sampled, None where the values are exact."""

    values: dict[str, float]
    standard_error: dict[str, float] | None = None


def shapley_values(
    game: Mapping[Collection[str], float] | Callable[[frozenset[str]], float],
    players: Sequence[str] | None = None,
    *,
    exact_players: int = EXACT_PLAYERS,
    samples: int = SAMPLES,
    seed: int = 0,
) -> ShapleyValues:
    """The Shapley values of a game; they add up to the value of all players less that of nobody.

    `game`: the value of coalitions, as a mapping whose keys are collections of players (frozensets or tuples; a coalition
    that is missing is worth 0), or as a function of a frozenset. `players`: by default those of the mapping.
    A mapping is always solved exactly; a function of more than `exact_players` players by `samples` random orders drawn
    with `seed`. Raises ValueError for a function without players, an unknown or repeated player, a coalition given twice.
    """
    if isinstance(game, Mapping):
        worth = _coalitions(game)
        known = list(players) if players is not None else list(dict.fromkeys(p for key in game for p in key))
        strange = {player for coalition in worth for player in coalition} - set(known)
        if strange:
            raise ValueError(f"players: {', '.join(sorted(strange))} of the game is not among them")
    elif players is None:
        raise ValueError("players: a game that is a function does not say who plays")
    else:
        known = list(players)
    if len(set(known)) != len(known):
        raise ValueError("players: one of them is there twice")
    if not isinstance(game, Mapping):
        if len(known) > exact_players:
            return _sampled(game, known, samples, Random(seed))  # noqa: S311
        masks = range(1 << len(known))
        sets = (frozenset(player for at, player in enumerate(known) if mask >> at & 1) for mask in masks)
        worth = {coalition: float(game(coalition)) for coalition in sets}
    parts: dict[str, list[float]] = {player: [] for player in known}
    for coalition, value in worth.items():
        inside, outside = coalition_weights(len(coalition), len(known))
        for player in known:
            parts[player].append(value * (inside if player in coalition else -outside))
    return ShapleyValues({player: math.fsum(terms) for player, terms in parts.items()})


def _coalitions(game: Mapping[Collection[str], float]) -> dict[frozenset[str], float]:
    worth: dict[frozenset[str], float] = {}
    for key, value in game.items():
        members = frozenset([key] if isinstance(key, str) else key)
        if members in worth:
            raise ValueError(f"game: the coalition of {', '.join(sorted(members))} is there twice")
        worth[members] = float(value)
    return worth


def coalition_weights(size: int, players: int) -> tuple[float, float]:
    """What a coalition of `size` of `players` counts for a member, and against another: (s-1)!(n-s)!/n!, s!(n-s-1)!/n!."""
    inside = 1 / (players * math.comb(players - 1, size - 1)) if size else 0.0
    outside = 1 / (players * math.comb(players - 1, size)) if size < players else 0.0
    return inside, outside


def _sampled(
    game: Callable[[frozenset[str]], float], players: list[str], samples: int, random: Random
) -> ShapleyValues:
    added: dict[str, list[float]] = {player: [] for player in players}
    nobody = float(game(frozenset()))
    for _ in range(samples):
        order, before, joined = random.sample(players, len(players)), nobody, frozenset[str]()
        for player in order:
            joined |= {player}
            now = float(game(joined))
            added[player].append(now - before)
            before = now
    means = {player: math.fsum(each) / samples for player, each in added.items()}
    errors = {
        player: math.sqrt(math.fsum((one - means[player]) ** 2 for one in each) / max(samples - 1, 1) / samples)
        for player, each in added.items()
    }
    return ShapleyValues(means, errors)


def shared_evenly(paths: PathCounts, amount: np.ndarray) -> np.ndarray:
    """`amount` of each path shared evenly by its channels; repeats count once.

    The Shapley value of the game in which a coalition is worth the amount of all paths of no other channels, in closed
    form (Zhao, Mahboobi, Bagheri 2018, arXiv 1804.05327).
    """
    import numpy as np

    from gtm_dagster.attribution.touch_lists import TouchLists

    path, channel = TouchLists(paths.channel, paths.lengths).pairs()
    count = np.bincount(path, minlength=len(paths.lengths))
    return np.bincount(channel, (np.asarray(amount, dtype=np.float64)[path] / count[path]), len(paths.channels))
