"""When a random walk on a grid passes its end: a birth-and-death chain of constant rates, in closed form.

The chain's matrix is tridiagonal and the same in every row but the first, so its eigenvectors are sines: sin((n - j) t) with
sin((n + 1) t) = r sin(n t), r the root of down / up (Karlin and McGregor, "The classification of birth and death processes",
1957). A general solver takes ten times as long, and starts threads that wait for a processor where all are busy.
"""

from __future__ import annotations

import math

import numpy as np

_HALVINGS = 60
"""Of an interval that holds one root: as many as a float has digits."""


def staying(up: float, down: float, cells: int, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and rates of the probability to be on the grid still after v steps, which is weights @ exp(rates * v).

    `up` and `down` are rates above 0 from a cell to its neighbours; the lowest cell only goes up, above the last one the walk
    has passed. `start`: the cell it starts from, from 0.
    """
    ratio, both = math.sqrt(down / up), math.sqrt(up * down)
    numbers = np.arange(cells)
    angles = _angles(ratio, cells)
    vectors = np.sin(np.outer(cells - numbers, angles))
    values = -(up + down) + 2 * both * np.cos(angles)
    if ratio * cells >= cells + 1:  # the walk drifts down: its slowest part is no wave
        growth = _growth(ratio, cells)
        vectors[:, 0] = np.sinh((cells - numbers) * growth)
        values[0] = -(up + down) + 2 * both * math.cosh(growth)
    vectors /= np.sqrt((vectors**2).sum(axis=0))
    scale = -math.log(ratio) * numbers  # makes the symmetric matrix similar to the chain's
    weights: np.ndarray = vectors[start] * (np.exp(scale - scale[start])[:, None] * vectors).sum(axis=0)
    return weights, values


def _angles(ratio: float, cells: int) -> np.ndarray:
    """The roots t of sin((cells + 1) t) = ratio sin(cells t) from 0 to pi, one between every two multiples of pi / cells."""

    def above(t: np.ndarray) -> np.ndarray:
        return np.sin((cells + 1) * t) - ratio * np.sin(cells * t)

    low = np.arange(cells) * math.pi / cells
    high = low + math.pi / cells
    sign = 1.0 - 2.0 * (
        np.arange(cells) % 2
    )  # of the left end; at 0 and pi, where the sine itself is 0, that of its slope
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        left = sign * above(middle) > 0
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    return (low + high) / 2


def _growth(ratio: float, cells: int) -> float:
    """The root g above 0 of sinh((cells + 1) g) = ratio sinh(cells g); there is one where ratio is above (cells + 1) / cells."""
    low, high = 0.0, math.log(ratio)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        # both sides over exp(cells g): no overflow
        rest = math.exp(middle) - math.exp(-(2 * cells + 1) * middle) - ratio * (1 - math.exp(-2 * cells * middle))
        low, high = (middle, high) if rest < 0 else (low, middle)
    return (low + high) / 2
