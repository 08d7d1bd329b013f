"""A table as text for a person: columns side by side, or a record below the other where they do not fit.

Nothing is ever cut: an id that cannot be copied is of no use. Floating-point numbers are rounded, here and nowhere else.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from gtm_dagster.commands.terminal_text import on_one_line

_GAP = 2
_PROSE = 32
"""A column of longer texts than this may break its lines at blanks, and is never narrower."""
_RECORD_NAME = 32
"""Widest column of names in a record view; a longer name stands on its own line."""


def drawn_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int) -> str:
    """The table in lines of at most `width` characters, as records where it is wider (as psql's `\\x auto`).

    A value that is wider than the screen stays on its line whole, so that it can be copied.
    """
    from rich.cells import cell_len

    names = [on_one_line(name) for name in columns]
    texts = list(zip(*(_texts([row[i] for row in rows]) for i in range(len(columns))), strict=True))
    widths = [max((cell_len(each) for each in column), default=0) for column in zip(names, *texts, strict=True)]
    prose = [i for i, wide in enumerate(widths) if wide > _PROSE and all(_is_prose(row[i]) for row in rows)]
    room = width - _GAP * (len(widths) - 1) - sum(wide for i, wide in enumerate(widths) if i not in prose)
    for number, i in enumerate(sorted(prose, key=lambda i: widths[i])):
        words = max((cell_len(word) for row in texts for word in row[i].split()), default=0)
        widths[i] = min(widths[i], max(_PROSE, room // (len(prose) - number), cell_len(names[i]), words))
        room -= widths[i]
    if sum(widths) + _GAP * (len(widths) - 1) > width:
        return "\n".join(_records(names, texts, width, prose))
    right = [any(isinstance(row[i], int | float | Decimal) for row in rows) for i in range(len(names))]
    return "\n".join(_side_by_side(names, texts, widths, right))


def _side_by_side(
    names: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int], right: Sequence[bool]
) -> Iterator[str]:
    from rich.cells import cell_len

    def line(cells: Sequence[str]) -> str:
        padded = []
        for cell, wide, to_right in zip(cells, widths, right, strict=True):
            blanks = " " * (wide - cell_len(cell))
            padded.append(blanks + cell if to_right else cell + blanks)
        return (" " * _GAP).join(padded).rstrip()

    yield line(names)
    yield (" " * _GAP).join("─" * wide for wide in widths)
    for row in rows:
        cells = [
            _wrapped(text, wide) if cell_len(text) > wide else [text] for text, wide in zip(row, widths, strict=True)
        ]
        for i in range(max(map(len, cells))):
            yield line([part[i] if i < len(part) else "" for part in cells])


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _records(names: Sequence[str], rows: Sequence[Sequence[str]], width: int, prose: Sequence[int]) -> Iterator[str]:
    from rich.cells import cell_len

    wide = min(max(map(cell_len, names)), _RECORD_NAME)
    for number, row in enumerate(rows, 1):
        yield f"─[ {number} ]".ljust(min(width, 40), "─")
        for i, (name, text) in enumerate(zip(names, row, strict=True)):
            first, *more = _wrapped(text, max(width - wide - 2, _PROSE)) or [""] if i in prose else [text]
            yield f"{name}{' ' * max(wide - cell_len(name), 0)}  {first}".rstrip()
            yield from (f"{' ' * (wide + 2)}{each}" for each in more)
    if not rows:
        yield f"no rows; the columns are {', '.join(names)}"


def _is_prose(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.lstrip().startswith(("{", "[", '"')))


def _texts(values: Sequence[Any]) -> list[str]:
    """The cells of a column: one number of decimals for all, `-` for NULL."""
    floats = [abs(value) for value in values if isinstance(value, float) and math.isfinite(value)]
    decimals = _decimals(floats)
    return [_text(value, decimals) for value in values]


def _decimals(floats: Sequence[float]) -> int:
    """Four significant digits of the largest, at least cents; none where all are whole numbers."""
    if all(value == int(value) for value in floats):
        return 0
    largest = max(floats)
    return min(max(3 - math.floor(math.log10(largest)), 2), 6)


def _text(value: Any, decimals: int) -> str:
    from gtm_dagster.reports.plain_values import plain_text

    if isinstance(value, float) and math.isfinite(value):
        rounded = f"{value:.{decimals}f}"
        if abs(value) >= 1e15 or (value and not float(rounded)):
            return f"{value:.2g}"  # a small number beside large ones is not 0
        return rounded
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    if isinstance(value, Decimal) and value.is_finite():
        return f"{value:f}"
    text = plain_text(value)
    if text is None:
        return "-"
    return on_one_line(text.replace("T", " ", 1) if isinstance(value, datetime) else text)
