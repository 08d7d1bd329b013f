"""Transforms of paths: which touches of a path stay, in the spelling of settings and of `gtm attribute`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gtm_dagster.attribution.path_table import PathTable

TRANSFORMS = (
    "unique",
    "exposure",
    "first",
    "last",
    "newest:N",
    "remove_if_not_all:CHANNEL",
    "remove_if_last_and_not_all:CHANNEL",
)
"""Spellings: unique keeps every touch; exposure the oldest of each run of one channel; first (last) the oldest (newest)
touch of each channel; newest the N newest; the others drop a channel's touches, or the run of them that ends the path,
unless the path has no other channel. (The first five of Snowplow's fractribution; last and newest are their mirror.)"""


def transformed(table: PathTable, transforms: Sequence[str]) -> PathTable:
    """The paths after every transform in its order. Raises ValueError for a transform that there is not."""
    for keep in [keeping(transform) for transform in transforms]:
        table = table.touches(keep(table))
    return table


def keeping(transform: str) -> Callable[[PathTable], np.ndarray]:
    """What keeps touches of a table under a transform. Raises ValueError where there is no such transform."""
    name, _, argument = transform.partition(":")
    if not argument and name in _PLAIN:
        return _PLAIN[name]
    if newest := newest_of(transform):
        return lambda table: table.position >= table.length - newest
    if argument and name in _OF_CHANNEL:
        return lambda table: _OF_CHANNEL[name](table, argument)
    raise ValueError(f"{transform!r} is not a transform of paths; choose from {', '.join(TRANSFORMS)}")


def newest_of(transform: str) -> int | None:
    """How many touches `newest:N` keeps of a path; None for another transform."""
    name, _, number = transform.partition(":")
    return int(number) if name == "newest" and number.isascii() and number.isdigit() and int(number) > 0 else None


def _every(table: PathTable) -> np.ndarray:
    return np.ones(len(table.channel), dtype=bool)


def _runs(table: PathTable) -> np.ndarray:
    keep = table.position == 0
    keep[1:] |= table.channel[1:] != table.channel[:-1]
    return keep


def _oldest_of_channel(table: PathTable) -> np.ndarray:
    return _first_seen(table.path * len(table.channels) + table.channel)


def _newest_of_channel(table: PathTable) -> np.ndarray:
    return _first_seen((table.path * len(table.channels) + table.channel)[::-1])[::-1]


def _first_seen(keys: np.ndarray) -> np.ndarray:
    keep = np.zeros(len(keys), dtype=bool)
    keep[np.unique(keys, return_index=True)[1]] = True
    return keep


def _without(table: PathTable, channel: str) -> np.ndarray:
    other = ~table.is_channel({channel})
    some_other = np.bincount(table.path[other], minlength=len(table.lengths)) > 0
    return other | ~some_other[table.path]


def _without_last(table: PathTable, channel: str) -> np.ndarray:
    other = ~table.is_channel({channel})
    newest_other = np.full(len(table.lengths), -1)
    newest_other[table.path[other]] = table.position[other]  # oldest first, so the newest is written last
    newest = newest_other[table.path]
    return (table.position <= newest) | (newest < 0)


_PLAIN: dict[str, Callable[[PathTable], np.ndarray]] = {
    "unique": _every,
    "exposure": _runs,
    "first": _oldest_of_channel,
    "last": _newest_of_channel,
}
_OF_CHANNEL: dict[str, Callable[[PathTable, str], np.ndarray]] = {
    "remove_if_not_all": _without,
    "remove_if_last_and_not_all": _without_last,
}
