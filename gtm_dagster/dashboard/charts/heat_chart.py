"""Cells of a grid, such as retention by cohort and period: a colour, and the number in it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from gtm_dagster.dashboard.charts.svg_parts import (
    PHONE,
    TEXT_LETTER,
    WIDE,
    clean,
    label,
    picture,
    shortened,
    text_width,
)
from gtm_dagster.reports.number_text import share

_LINE, _TOP, _TICK_LETTER = 28, 30, 5.8
_NARROWEST, _WIDEST = 92, 190
"""Room for the names of the rows."""
STEPS, DARK_INK = 10, 5
"""Depths of colour, classes h0 to h10, and the deepest one that text and hatching are dark on."""


@dataclass(frozen=True)
class HeatCell:
    """A share of 1; None: nothing is known. `is_open`: its period has not ended, so it still grows; drawn hatched."""

    share: float | None
    is_open: bool = False


@dataclass(frozen=True)
class HeatRow:
    """A row: its name, what stands behind it (such as its size), its cells. It may end before the last column."""

    name: str
    note: str
    cells: tuple[HeatCell, ...]


def cells(
    title: str, columns: Sequence[str], rows: Sequence[HeatRow], full: float | None = None, across: int = WIDE,
    heads: tuple[str, str] = ("", ""),
) -> str:  # fmt: skip
    """A grid; `full` is the share of the deepest colour (None: the largest share there is); `heads`: over the names of the rows
    and what stands behind them."""
    known = [cell.share for row in rows for cell in row.cells if cell.share is not None]
    deepest = full or max(known, default=0) or 1.0
    large = across > PHONE
    left = min(max([_NARROWEST, *(text_width(row.name) + 12 for row in rows)]), _WIDEST if large else 120)
    note = 64 if large else 46
    wide = (across - left - note) / max(len(columns), 1)
    # two pictures of a page have two names: one that is not shown lends its pattern to no other
    light, deep = (f"{kind}{hashlib.sha256(f'{title}{across}'.encode()).hexdigest()[:8]}" for kind in ("hatch", "deep"))
    parts = [
        "<defs>"
        + "".join(
            f'<pattern id="{name}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            f'<path class="{kind}" d="M0 0V6"/></pattern>'
            for name, kind in ((light, "hatch"), (deep, "hatch deep"))
        )
        + "</defs>"
    ]
    parts += [
        label(at, _TOP - 9, _head(text, room), "tick", anchor)
        for text, at, room, anchor in (
            (heads[0], 0.0, left - 8.0, "start"),
            (heads[1], left + note - 10.0, note + 0.0, "end"),
        )
        if text
    ]
    for number, column in enumerate(columns):
        middle = left + note + wide * (number + 0.5)
        lines = column.replace("_", "_ ").split() if len(column) * _TICK_LETTER > wide else [column]
        for above, word in enumerate(reversed(lines[:2])):
            parts.append(label(middle, _TOP - 9 - 11 * above, _head(word, wide), "tick", "middle"))
    for line, row in enumerate(rows):
        y = _TOP + line * _LINE
        parts.append(label(0, y + 18, shortened(row.name, left), "name"))
        parts.append(label(left + note - 10, y + 18, shortened(row.note, note), "tick", "end"))
        for number, cell in enumerate(row.cells[: len(columns)]):
            x = left + note + wide * number
            if cell.share is None:
                parts.append(label(x + wide / 2, y + 18, "–", "tick", "middle"))
                continue
            depth = min(round(STEPS * cell.share / deepest), STEPS)
            place = f'x="{x + 1:.1f}" y="{y + 1}" width="{wide - 2:.1f}" height="{_LINE - 2}" rx="3"'
            cell_words = f"{row.name}, {columns[number]}: {share(cell.share)}{', so far' if cell.is_open else ''}"
            parts.append(f'<g class="h{depth}"><title>{clean(cell_words)}</title><rect class="cell" {place}/>')
            if cell.is_open:
                parts.append(f'<rect fill="url(#{deep if depth > DARK_INK else light})" {place}/>')
            parts.append(label(x + wide / 2, y + 18, share(cell.share), "inside", "middle") + "</g>")
    height = _TOP + len(rows) * _LINE + 4
    open_there = any(cell.is_open for row in rows for cell in row.cells)
    words = f"{len(rows)} rows by {len(columns)} columns, shares of 1 in per cent."
    return picture("cells", title, words + (" Hatched cells still grow." if open_there else ""), across, height, parts)


def _head(text: str, width: float) -> str:
    """The head of a column, whose letters are smaller than those that `shortened` counts."""
    return shortened(text, width * TEXT_LETTER / _TICK_LETTER)
