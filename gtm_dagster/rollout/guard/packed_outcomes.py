"""Outcomes as a JSON document of columns: a third of the size of one list a cell. Exact, and in one order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gtm_dagster.gate.exposures import ARMS

Ints = NDArray[np.int64]
_COLUMNS = ("slot", "age", "n")


def packed(slot: Ints, age: Ints, arm: Ints, n: Ints) -> dict[str, dict[str, list[int]]]:
    """By arm: `slot` as differences to the cell before (the first to 0), `age` and `n` as they are; an empty arm is left out."""
    order = np.lexsort((n, age, arm, slot))
    found = {}
    for number, name in enumerate(ARMS):
        mine = order[arm[order] == number]
        if len(mine):
            found[name] = {
                "slot": np.diff(slot[mine], prepend=0).tolist(),
                "age": age[mine].tolist(),
                "n": n[mine].tolist(),
            }
    return found


def unpacked(document: Mapping[str, Any]) -> tuple[Ints, Ints, Ints, Ints]:
    """Slot, age, arm and n of the cells by slot, arm and age. ValueError for another arm or column, and for unlike lengths."""
    parts = [np.zeros((4, 0), np.int64)]
    if not isinstance(document, Mapping):
        raise ValueError(f"outcomes are an object of {' and '.join(ARMS)}, not {document!r:.40}")
    for name, columns in document.items():
        if name not in ARMS or columns.keys() != set(_COLUMNS):
            raise ValueError(f"{name}: outcomes are of {' and '.join(ARMS)}, each with {', '.join(_COLUMNS)}")
        slot, age, n = (np.array(columns[column], np.int64) for column in _COLUMNS)
        if not len(slot) == len(age) == len(n):
            raise ValueError(f"{name}: its columns have {len(slot)}, {len(age)} and {len(n)} cells")
        parts.append(np.stack([np.cumsum(slot), age, np.full(len(slot), ARMS.index(name)), n]))
    slot, age, arm, n = np.concatenate(parts, axis=1)
    order = np.lexsort((n, age, arm, slot))
    return slot[order], age[order], arm[order], n[order]
