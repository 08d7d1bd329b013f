"""first_touch: the oldest touch gets all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, PathTouches, Touches

if TYPE_CHECKING:
    import numpy as np


def shares(touches: Touches) -> list[float]:
    """1 for the oldest touch, 0 for every other."""
    return [1.0] + [0.0] * (len(touches) - 1)


def vectorised(touches: PathTouches) -> np.ndarray:
    """`shares` over many paths at once."""
    return (touches.position == 0).astype(float)


MODEL = Model(
    name="first_touch",
    order=1,
    meaning='All credit to the oldest touch (Adobe Analytics "First Touch").',
    shares=shares,
    vectorised=vectorised,
)
