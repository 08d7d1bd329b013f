"""What is drawn: bars with intervals, or a grid of shares; numbers and words only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from gtm_dagster.warehouse.build_context import BuildContext


CUT = " (bar is cut)"
"""Behind the number of a bar that is longer than its picture."""


@dataclass(frozen=True)
class Bar:
    """A bar: its label, its length, and the 95 % interval of it where one is known.

    `note`: what stands behind the number, such as "62 % of the stage before". `stands_for`: how many things it sums.
    `always`: it is shown on its own however little room there is, as (unattributed) is.
    """

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""
    stands_for: int = 1
    always: bool = False


@dataclass(frozen=True)
class Bars:
    """Bars under one title, which names type, currency, model, window and period where they apply.

    `name`: key of the picture among those of its table, `chart` or `chart_...`. `additive`: the values add up to a whole, so a picture with
    less room shows the last ones as one bar of others; else it says how many it leaves out.
    """

    title: str
    bars: tuple[Bar, ...]
    name: str = "chart"
    additive: bool = False


@dataclass(frozen=True)
class Cell:
    """A share of 1, None where nothing is known; `is_open`: the period has not ended, so it still grows."""

    share: float | None
    is_open: bool = False


@dataclass(frozen=True)
class GridRow:
    """A row of a grid, such as a cohort; `note`: its size in words."""

    label: str
    cells: tuple[Cell, ...]
    note: str = ""


@dataclass(frozen=True)
class Grid:
    """Shares by row and column, such as retention by cohort and period; a row may end before the last column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[GridRow, ...]
    name: str = "chart"


Figure = Bars | Grid
Chart = Callable[[duckdb.DuckDBPyConnection, "BuildContext"], Sequence[Figure]]
"""What a table declares: from the open working file to the figures of it, one for each type and currency."""


@dataclass(frozen=True)
class BarChart:
    """The simplest chart: one title, and a query of (label, number)."""

    title: str
    sql: str
    name: str = "chart"
    additive: bool = field(default=False, kw_only=True)

    def __call__(self, con: duckdb.DuckDBPyConnection, ctx: BuildContext) -> Sequence[Figure]:
        bars = tuple(Bar(str(label), float(value or 0)) for label, value in con.execute(self.sql).fetchall())
        return (Bars(self.title, bars, self.name, self.additive),)


def longest(bars: Sequence[Bar]) -> float:
    """What a picture is as wide as, above 0: its longest bar or interval. A bar of others may be cut, so that it hides no other."""
    ends = [max(bar.value, bar.high or 0) for bar in bars if bar.stands_for == 1] or [bar.value for bar in bars]
    return max(ends, default=0) or 1


def with_others(bars: Sequence[Bar], most: int) -> tuple[Bar, ...]:
    """At most `most` bars, 3 or more: one of them sums the last ones, says how many they are, and stands behind the others."""
    if len(bars) <= most:
        return tuple(bars)
    kept = tuple(bar for bar in bars if bar.always)
    free = [bar for bar in bars if not bar.always]
    room = max(most - len(kept) - 1, 1)
    rest = free[room:]
    stands_for = sum(bar.stands_for for bar in rest)
    others = Bar(f"{stands_for:,} others", sum(bar.value for bar in rest), stands_for=stands_for)
    return (*free[:room], *([others] if rest else []), *kept)
