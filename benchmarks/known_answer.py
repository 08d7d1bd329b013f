"""What a case with a known answer is: a folder of files that others made, and the figures they must give."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One expected figure and what was computed; texts, counts and None must be equal, numbers within the tolerance.

    `tolerance`: relative, but for `absolute`.
    """

    what: str
    expected: object
    computed: object
    tolerance: float = 1e-6
    absolute: bool = False

    @property
    def hit(self) -> bool:
        """Whether the computed figure is the expected one."""
        expected, computed = self.expected, self.computed
        if isinstance(expected, float) and isinstance(computed, int | float) and not isinstance(computed, bool):
            bounds = {"rel_tol": 0.0, "abs_tol": self.tolerance} if self.absolute else {"rel_tol": self.tolerance, "abs_tol": 1e-9}  # fmt: skip
            return math.isclose(expected, computed, **bounds)
        return expected == computed


@dataclass(frozen=True)
class KnownAnswer:
    """A case: the folder of its files, what it is about, and the function from the folder to its figures.

    `share`: how many of the figures must be hit; below 1 for lists of which the product need not know every entry.
    """

    folder: str
    about: str
    figures: Callable[[Path], Iterable[Figure]]
    share: float = 1.0


def rows_of(file: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, every cell a text."""
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def compared(
    what: str, expected: Mapping[str, float], computed: Mapping[str, float], tolerance: float = 1e-6, *, absolute: bool = False
) -> Iterator[Figure]:  # fmt: skip
    """A figure for each name that is expected, and for each that is computed above 0 and not expected."""
    for name in dict.fromkeys((*expected, *(name for name, number in computed.items() if number))):
        yield Figure(f"{what} {name}", float(expected.get(name, 0.0)), computed.get(name, 0.0), tolerance, absolute)


def column_of(rows: Sequence[Mapping[str, str]], name: str, value: str) -> dict[str, float]:
    """The numbers of column `value` by the texts of column `name`."""
    return {row[name]: float(row[value]) for row in rows}
