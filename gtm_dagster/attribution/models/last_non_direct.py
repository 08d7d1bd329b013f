"""last_non_direct: the newest touch that is not direct gets all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, PathTouches, Touches

if TYPE_CHECKING:
    import numpy as np


def shares(touches: Touches) -> list[float]:
    """1 for the newest touch that is not direct; for the newest when all are."""
    n = len(touches)
    winner = max((index for index in range(n) if not touches.is_direct[index]), default=n - 1)
    return [1.0 if index == winner else 0.0 for index in range(n)]


def vectorised(touches: PathTouches) -> np.ndarray:
    """`shares` over many paths at once."""
    import numpy as np

    newest = touches.newest_where(~touches.is_direct)
    return touches.all_to(np.where(newest < 0, touches.lengths - 1, newest))


MODEL = Model(
    name="last_non_direct",
    order=7,
    meaning='All credit to the newest touch that is not direct, else to the newest (Google Analytics "last non-direct click").',
    shares=shares,
    vectorised=vectorised,
    needs_direct=True,
)
