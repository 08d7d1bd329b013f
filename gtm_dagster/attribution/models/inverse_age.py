"""inverse_age: credit falls with the hours since a touch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, PathTouches, Touches

if TYPE_CHECKING:
    import numpy as np


def shares(touches: Touches) -> list[float]:
    """1 / (1 + age in hours), scaled to a sum of 1."""
    raw = [1.0 / (1.0 + age) for age in touches.ages_hours]
    total = math.fsum(raw)
    return [weight / total for weight in raw]


def vectorised(touches: PathTouches) -> np.ndarray:
    """`shares` over many paths at once."""
    return touches.share_of_path(1.0 / (1.0 + touches.ages_hours))


MODEL = Model(
    name="inverse_age",
    order=6,
    meaning="Credit falls as 1 / (1 + age in hours) (this product's own): near last_touch, 1 h old counts 84 times 7 days.",
    shares=shares,
    vectorised=vectorised,
    multi_touch=True,
    needs_ages=True,
)
