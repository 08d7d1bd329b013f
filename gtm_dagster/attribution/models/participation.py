"""participation: every channel of the path gets the whole conversion."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, PathTouches, Touches

if TYPE_CHECKING:
    import numpy as np


def shares(touches: Touches) -> list[float]:
    """1 for each channel, in equal parts to its touches."""
    counts = Counter(touches.channels)
    return [1.0 / counts[channel] for channel in touches.channels]


def vectorised(touches: PathTouches) -> np.ndarray:
    """`shares` over many paths at once."""
    return 1.0 / touches.channel_touches


MODEL = Model(
    name="participation",
    order=15,
    meaning='The whole conversion to every channel of the path, so the sum is above the total (Adobe Analytics "Participation").',
    shares=shares,
    vectorised=vectorised,
    multi_touch=True,
    conserves=False,
    needs_channel=True,
)
