"""linear: every touch gets the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, PathTouches, Touches

if TYPE_CHECKING:
    import numpy as np


def shares(touches: Touches) -> list[float]:
    """1 / n for each of n touches."""
    return [1.0 / len(touches)] * len(touches)


def vectorised(touches: PathTouches) -> np.ndarray:
    """`shares` over many paths at once."""
    return 1.0 / touches.length


MODEL = Model(
    name="linear",
    order=3,
    meaning='Equal credit to every touch (Adobe Analytics "Linear").',
    shares=shares,
    vectorised=vectorised,
    multi_touch=True,
)
