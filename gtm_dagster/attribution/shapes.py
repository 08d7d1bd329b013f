"""Shapes that several models share: what the ends of a path, or the touches of stages, get."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import PathTouches, Touches

if TYPE_CHECKING:
    import numpy as np

Weights = tuple[float, float, float]

OTHERS = 0.1
"""What the touches of no stage share, in w_shaped and full_path."""


def end_shares(n: int, weights: Weights) -> list[float]:
    """Shares of n touches, oldest first: `weights` of the first, those between and the last, over their sum.

    One touch gets all; two share as first and last do, equally where both are 0.
    """
    first, middle, last = weights
    if n == 1:
        return [1.0]
    if n == 2:
        return [first / (first + last), last / (first + last)] if first + last > 0 else [0.5, 0.5]
    total = first + middle + last
    return [first / total] + [middle / total / (n - 2)] * (n - 2) + [last / total]


def end_shares_of_paths(touches: PathTouches, weights: Weights) -> np.ndarray:
    """`end_shares` over many paths at once."""
    import numpy as np

    first, middle, last = weights
    n, position = touches.length, touches.position
    oldest, newest = position == 0, position == n - 1
    of_two = [first / (first + last), last / (first + last)] if first + last > 0 else [0.5, 0.5]
    total = first + middle + last
    between = middle / total / np.maximum(n - 2, 1)
    of_more = np.where(oldest, first / total, np.where(newest, last / total, between))
    return np.where(n == 1, 1.0, np.where(n == 2, np.where(oldest, *of_two), of_more))


def stage_shares(touches: Touches, key: float, newest_is_key: bool) -> list[float]:
    """Shares where each key moment has the weight `key`: the first touch, the touch of each stage, perhaps the newest.

    A touch of several moments has the weight of each; touches of none share a tenth. Shares are weights over their sum,
    so a stage that is missing leaves its weight to all others in proportion.
    """
    n = len(touches)
    raw = [key * ((index == 0) + (newest_is_key and index == n - 1) + touches.stages[index]) for index in range(n)]
    others = raw.count(0.0)
    raw = [weight or OTHERS / others for weight in raw]
    total = math.fsum(raw)
    return [weight / total for weight in raw]


def stage_shares_of_paths(touches: PathTouches, key: float, newest_is_key: bool) -> np.ndarray:
    """`stage_shares` over many paths at once."""
    import numpy as np

    moments = (touches.position == 0) + touches.stages
    if newest_is_key:
        moments = moments + (touches.position == touches.length - 1)
    others = touches.sum_of_path((moments == 0).astype(float))
    return touches.share_of_path(np.where(moments > 0, key * moments, OTHERS / np.maximum(others, 1)))
