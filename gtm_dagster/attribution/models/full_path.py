"""full_path: the oldest touch, those of the stages and the newest get most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, PathTouches, Touches
from gtm_dagster.attribution.shapes import stage_shares, stage_shares_of_paths

if TYPE_CHECKING:
    import numpy as np

KEY = 0.225


def shares(touches: Touches) -> list[float]:
    """KEY for each moment a touch stands for; the others share a tenth; a missing stage is shared by all."""
    return stage_shares(touches, KEY, newest_is_key=True)


def vectorised(touches: PathTouches) -> np.ndarray:
    """`shares` over many paths at once."""
    return stage_shares_of_paths(touches, KEY, newest_is_key=True)


MODEL = Model(
    name="full_path",
    order=14,
    meaning="22.5 % each to the oldest touch, the touch of each stage and the newest, 10 % to the others (HubSpot, full path).",
    shares=shares,
    vectorised=vectorised,
    multi_touch=True,
    needs_stages=True,
)
