"""last_paid: the newest touch of a paid channel gets all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, PathTouches, Touches

if TYPE_CHECKING:
    import numpy as np


def shares(touches: Touches) -> list[float]:
    """1 for the newest touch that is paid; for the newest when none is."""
    n = len(touches)
    winner = max((index for index in range(n) if touches.is_paid[index]), default=n - 1)
    return [1.0 if index == winner else 0.0 for index in range(n)]


def vectorised(touches: PathTouches) -> np.ndarray:
    """`shares` over many paths at once."""
    import numpy as np

    newest = touches.newest_where(touches.is_paid)
    return touches.all_to(np.where(newest < 0, touches.lengths - 1, newest))


MODEL = Model(
    name="last_paid",
    order=9,
    meaning='All credit to the newest touch of a paid channel, else to the newest (GA4 "Google paid channels last click", of all PAID_CHANNELS).',
    shares=shares,
    vectorised=vectorised,
    needs_paid=True,
)
