"""A figure as markdown with an SVG small enough for the Dagster UI to show it in place."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from xml.sax.saxutils import escape

from gtm_dagster.warehouse.figures.figure import CUT, Bar, Bars, Figure, Grid, longest, with_others

INLINE_LIMIT = 1000
"""The UI shows markdown below 1,000 characters in place and hides longer text behind a link."""
_SHORT_LABEL, _LONG_LABEL = 16, 42
NBSP = "\u00a0"
"""Spaces in a row are one in a drawing; these are not."""
_MOST_BARS, _MOST_ROWS, _MOST_COLUMNS = 6, 6, 6


def inline(figure: Figure) -> str:
    """Title and picture as markdown below INLINE_LIMIT characters, with as many rows as fit; what is left out is counted.

    The title stands as text before the picture: in the drawing it would be cut, in the picture's name nobody sees it.
    """
    title = figure.title if len(figure.title) <= 300 else figure.title[:299] + "…"
    rows = len(figure.bars) if isinstance(figure, Bars) else len(figure.rows)
    for most in range(min(rows, _MOST_BARS), 0, -1):
        drawn = _bars(figure, most) if isinstance(figure, Bars) else _grid(figure, most)
        # A space would end the address of a markdown picture, so the drawing travels as base64.
        picture = f"{title}\n\n![chart](data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode()})"
        if len(picture) < INLINE_LIMIT:
            return picture
    return f"{title}: nothing to draw yet"


def _document(width: int, height: int, content: str, font: str = "arial") -> str:
    # Grey is read on the light and on the dark page of the UI.
    return f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' style='font:10px {font};fill:#888'>{content}</svg>"


def _bars(figure: Bars, most: int) -> str:
    shown: Sequence[Bar] = with_others(figure.bars, most) if figure.additive else figure.bars[:most]
    top = longest(shown)
    # Long labels, such as paths, stand behind the number; short ones before the bar.
    wide = any(len(bar.label) > _SHORT_LABEL for bar in shown)
    left, length, number_at = (0, 90, 96) if wide else (90, 150, 246)
    lines, others, whiskers, texts = "", "", "", ""
    for i, bar in enumerate(shown):
        y = i * 16
        line = f"M{left} {y + 6}h{min(bar.value / top, 1) * length:.0f}"
        lines, others = (lines + line, others) if bar.stands_for == 1 else (lines, others + line)
        if bar.low is not None and bar.high is not None:
            whiskers += f"M{left + bar.low / top * length:.0f} {y + 6}H{left + bar.high / top * length:.0f}"
        number = f"{bar.value:,.0f}{' ' + bar.note if bar.note else ''}{CUT if bar.value > top else ''}"
        if wide:
            texts += f"<text x='{number_at}' y='{y + 10}'>{escape(f'{number} · {bar.label[:_LONG_LABEL]}')}</text>"
        else:
            texts += f"<text y='{y + 10}'>{escape(bar.label)}</text><text x='{number_at}' y='{y + 10}'>{escape(number)}</text>"
    content = f"<path stroke='#47c' stroke-width='11' d='{lines}'/>"
    if others:
        content += f"<path stroke='#bbb' stroke-width='11' d='{others}'/>"
    if whiskers:
        content += f"<path stroke='#c60' stroke-width='3' d='{whiskers}'/>"
    left_out = len(figure.bars) - len(shown) if not figure.additive else 0
    if left_out:
        texts += f"<text y='{len(shown) * 16 + 10}'>and {left_out} more</text>"
    return _document(400, (len(shown) + bool(left_out)) * 16, content + texts)


def _grid(figure: Grid, most: int) -> str:
    """The newest rows, the first columns; per cent in each cell, `~` behind one that still grows."""
    rows = figure.rows[-most:]
    lines = [("", "".join(f"{column:>4} " for column in figure.columns[:_MOST_COLUMNS]))]
    for row in rows:
        cells = (
            "   – " if cell.share is None else f"{cell.share:>4.0%}{'~' if cell.is_open else ' '}"
            for cell in row.cells[:_MOST_COLUMNS]
        )
        lines.append((row.label[:11], "".join(cells).rstrip()))
    texts = "".join(
        f"<text y='{i * 16 + 10}'>{escape(f'{label:12}{cells}').replace(' ', NBSP)}</text>"
        for i, (label, cells) in enumerate(lines)
    )
    return _document(330, len(lines) * 16, texts, "monospace")
