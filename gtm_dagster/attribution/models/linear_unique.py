"""linear_unique: every channel of the path gets the same."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gtm_dagster.attribution.declaration import Model, PathTouches, Touches

if TYPE_CHECKING:
    import numpy as np


def shares(touches: Touches) -> list[float]:
    """1 / k for each of k channels, in equal parts to its touches."""
    counts = Counter(touches.channels)
    return [1.0 / len(counts) / counts[channel] for channel in touches.channels]


def vectorised(touches: PathTouches) -> np.ndarray:
    """`shares` over many paths at once."""
    return 1.0 / touches.distinct_channels / touches.channel_touches


MODEL = Model(
    name="linear_unique",
    order=10,
    meaning='Equal credit to every channel of the path, however often it came (Mixpanel "Linear").',
    shares=shares,
    vectorised=vectorised,
    multi_touch=True,
    needs_channel=True,
)
