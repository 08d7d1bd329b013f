"""position_based: the ends of the path get most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, PathTouches, Touches

if TYPE_CHECKING:
    import numpy as np


def shares(touches: Touches) -> list[float]:
    """The U shape: 40 % first, 40 % last, 20 % shared between; two touches 50/50, one touch all."""
    n = len(touches)
    if n <= 2:
        return [1.0 / n] * n
    return [0.4] + [0.2 / (n - 2)] * (n - 2) + [0.4]


def vectorised(touches: PathTouches) -> np.ndarray:
    """`shares` over many paths at once."""
    import numpy as np

    n = touches.length
    is_end = (touches.position == 0) | (touches.position == n - 1)
    middle = 0.2 / np.maximum(n - 2, 1)
    return np.where(n <= 2, 1.0 / n, np.where(is_end, 0.4, middle))


MODEL = Model(
    name="position_based",
    order=4,
    meaning='40 % to the oldest touch, 40 % to the newest, 20 % between them (Adobe Analytics "U-Shaped").',
    shares=shares,
    vectorised=vectorised,
    multi_touch=True,
)
