"""position_based: the ends of the path get most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, PathTouches, Touches
from gtm_dagster.attribution.shapes import end_shares, end_shares_of_paths

if TYPE_CHECKING:
    import numpy as np


def shares(touches: Touches) -> list[float]:
    """The weights of the oldest touch, those between and the newest."""
    return end_shares(len(touches), touches.options.weights)


def vectorised(touches: PathTouches) -> np.ndarray:
    """`shares` over many paths at once."""
    return end_shares_of_paths(touches, touches.options.weights)


MODEL = Model(
    name="position_based",
    order=4,
    meaning='40 % to the oldest touch, 40 % to the newest, 20 % between them, or other weights (Adobe Analytics "U-Shaped", "Custom").',
    shares=shares,
    vectorised=vectorised,
    multi_touch=True,
    options=frozenset({"weights"}),
)
