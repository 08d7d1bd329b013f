"""j_shaped: the newest touch gets most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, PathTouches, Touches
from gtm_dagster.attribution.shapes import end_shares, end_shares_of_paths

if TYPE_CHECKING:
    import numpy as np

WEIGHTS = (0.2, 0.2, 0.6)


def shares(touches: Touches) -> list[float]:
    """WEIGHTS of the oldest touch, those between and the newest."""
    return end_shares(len(touches), WEIGHTS)


def vectorised(touches: PathTouches) -> np.ndarray:
    """`shares` over many paths at once."""
    return end_shares_of_paths(touches, WEIGHTS)


MODEL = Model(
    name="j_shaped",
    order=11,
    meaning='20 % to the oldest touch, 20 % between, 60 % to the newest; 25/75 of two (Adobe Analytics "J-Shaped").',
    shares=shares,
    vectorised=vectorised,
    multi_touch=True,
)
