"""Small tables of paths for tests of data-driven models: a row is (touches, conversions, value, nulls)."""

import numpy as np
from hypothesis import strategies as st

from gtm_dagster.attribution.declaration import PathCounts

CHANNELS = "abcde"

path_rows = st.lists(
    st.tuples(
        st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=6).map(tuple),
        st.integers(0, 3),
        st.integers(1, 50).map(lambda amount: amount / 4),
        st.integers(0, 3),
    ).map(lambda row: (row[0], row[1], row[2] * row[1], row[3])),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row[0],
)


def path_counts(rows, values=True):
    """The rows as a model gets them; channels in alphabetical order."""
    channels = sorted({channel for path, *_ in rows for channel in path})
    code = {channel: number for number, channel in enumerate(channels)}
    return PathCounts(
        tuple(channels),
        np.array([code[channel] for path, *_ in rows for channel in path]),
        np.array([len(path) for path, *_ in rows]),
        np.array([row[1] for row in rows], dtype=float),
        np.array([row[2] for row in rows], dtype=float) if values else None,
        np.array([row[3] for row in rows], dtype=float),
    )
