"""last_touch: the newest touch gets all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, PathTouches, Touches

if TYPE_CHECKING:
    import numpy as np


def shares(touches: Touches) -> list[float]:
    """1 for the newest touch, 0 for every other."""
    return [0.0] * (len(touches) - 1) + [1.0]


def vectorised(touches: PathTouches) -> np.ndarray:
    """`shares` over many paths at once."""
    return (touches.position == touches.length - 1).astype(float)


MODEL = Model(
    name="last_touch",
    order=2,
    meaning='All credit to the newest touch, direct or not (Adobe Analytics "Last Touch").',
    shares=shares,
    vectorised=vectorised,
)
