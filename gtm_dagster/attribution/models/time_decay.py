"""time_decay: half as much credit for each half-life a touch is older."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, PathTouches, Touches

if TYPE_CHECKING:
    import numpy as np


def shares(touches: Touches) -> list[float]:
    """2^(-age / half-life), scaled to a sum of 1."""
    # Ages relative to the newest touch: 2^(-age/h) itself underflows to 0 for very old paths, the ratio does not.
    newest = touches.ages_hours[-1]
    raw = [2.0 ** (-(age - newest) / touches.options.half_life_hours) for age in touches.ages_hours]
    total = math.fsum(raw)
    return [weight / total for weight in raw]


def vectorised(touches: PathTouches) -> np.ndarray:
    """`shares` over many paths at once."""
    import numpy as np

    newest = touches.ages_hours[touches.newest][touches.path]
    return touches.share_of_path(np.exp2(-(touches.ages_hours - newest) / touches.options.half_life_hours))


MODEL = Model(
    name="time_decay",
    order=5,
    meaning="Credit halves with each half-life a touch is older: 2^(-age / half-life) (Adobe Analytics, Google Ads API).",
    shares=shares,
    vectorised=vectorised,
    multi_touch=True,
    needs_ages=True,
    options=frozenset({"half_life_hours"}),
)
