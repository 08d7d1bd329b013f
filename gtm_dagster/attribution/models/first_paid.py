"""first_paid: the oldest touch of a paid channel gets all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, PathTouches, Touches

if TYPE_CHECKING:
    import numpy as np


def shares(touches: Touches) -> list[float]:
    """1 for the oldest touch that is paid; for the oldest when none is."""
    n = len(touches)
    winner = min((index for index in range(n) if touches.is_paid[index]), default=0)
    return [1.0 if index == winner else 0.0 for index in range(n)]


def vectorised(touches: PathTouches) -> np.ndarray:
    """`shares` over many paths at once."""
    oldest = touches.oldest_where(touches.is_paid)
    return touches.all_to(oldest % touches.lengths)  # where none is paid it is the length, so 0


MODEL = Model(
    name="first_paid",
    order=8,
    meaning="All credit to the oldest touch of a paid channel, else to the oldest (PAID_CHANNELS of this product).",
    shares=shares,
    vectorised=vectorised,
    needs_paid=True,
)
