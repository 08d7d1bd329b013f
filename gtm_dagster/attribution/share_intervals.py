"""95 % intervals of a share and of the difference of two."""

from __future__ import annotations

from math import sqrt

_Z = 1.959963984540054


def share_interval(n: int, k: int) -> tuple[float, float]:
    """The interval of k of n, shares of 1; (0, 1) of nothing.

    Wilson, Probable inference, the law of succession, and statistical inference (1927).
    """
    if n <= 0:
        return 0.0, 1.0
    share, square = k / n, _Z * _Z
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = _Z * sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def difference_interval(n: int, k: int, other_n: int, other_k: int) -> tuple[float, float]:
    """The interval of k / n - other_k / other_n, from -1 to 1; (-1, 1) where either is of nothing.

    Newcombe, Interval estimation for the difference between independent proportions (1998), method 10.
    """
    if n <= 0 or other_n <= 0:
        return -1.0, 1.0
    share, other = k / n, other_k / other_n
    low, high = share_interval(n, k)
    other_low, other_high = share_interval(other_n, other_k)
    difference = share - other
    below = sqrt((share - low) ** 2 + (other_high - other) ** 2)
    above = sqrt((high - share) ** 2 + (other - other_low) ** 2)
    return max(difference - below, -1.0), min(difference + above, 1.0)
