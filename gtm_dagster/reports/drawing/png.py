"""A figure at full size as markdown with a PNG, at most 40 kB."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Sequence

from gtm_dagster.warehouse.figures.figure import CUT, Bar, Bars, Figure, Grid, longest, with_others

PNG_BYTES = 40_000
_MOST_PARTS, _MOST_BARS = 15, 45
"""Bars of a whole, whose rest is summed; bars that do not add up, such as days."""
_MOST_ROWS, _MOST_COLUMNS = 16, 13
_BAR, _OTHERS, _INTERVAL = "#4477cc", "#b8c0cc", "#222222"


def picture(figure: Figure) -> str:
    """Markdown of the picture; the UI opens it behind a link."""
    image = b""
    for dpi in (110, 80, 55):
        image = _png(figure, dpi)
        if len(image) <= PNG_BYTES:
            break
    return f"![{figure.title}](data:image/png;base64,{base64.b64encode(image).decode()})"


def _png(figure: Figure, dpi: int) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from PIL import Image

    rows = len(_shown(figure)) if isinstance(figure, Bars) else min(len(figure.rows), _MOST_ROWS)
    canvas = Canvas(figsize=(8, 0.36 * max(rows, 2) + 1.2), dpi=dpi)
    axes = canvas.subplots()
    if isinstance(figure, Bars):
        _bars(axes, figure)
    else:
        _grid(axes, figure)
    canvas.suptitle("\n".join(title_lines(figure.title)), fontsize=9.5, linespacing=1.4)
    canvas.tight_layout()
    drawn, image = FigureCanvasAgg(canvas), io.BytesIO()
    drawn.draw()  # savefig would walk through the figure twice, and pack a PNG that is unpacked at once
    pixels = Image.frombytes("RGBA", drawn.get_width_height(physical=True), bytes(drawn.buffer_rgba()))
    # 32 colours: a third of the bytes, and nobody sees it in bars and letters.
    pixels.convert("RGB").quantize(32).save(image, format="png", optimize=True)
    return image.getvalue()


def title_lines(title: str, width: int = 92) -> list[str]:
    """What the picture shows on the first line, of what on those below it."""
    subject, colon, rest = title.partition(": ")
    return [subject, *textwrap.wrap(rest, width)] if colon else textwrap.wrap(title, width)


def _shown(figure: Bars) -> Sequence[Bar]:
    return with_others(figure.bars, _MOST_PARTS) if figure.additive else figure.bars[:_MOST_BARS]


def _bars(axes, figure: Bars) -> None:  # type: ignore[no-untyped-def]
    shown = _shown(figure)
    places, top = range(len(shown)), longest(shown)
    axes.barh(
        places,
        [min(bar.value, top) for bar in shown],
        color=[_BAR if bar.stands_for == 1 else _OTHERS for bar in shown],
    )
    for place, bar in zip(places, shown, strict=True):
        end = min(max(bar.value, bar.high or 0), top)
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [place, place], color=_INTERVAL, linewidth=1.4, marker="|", markersize=6)
        axes.annotate(
            f" {bar.value:,.{0 if bar.value >= 100 or bar.value == int(bar.value) else 1}f} {bar.note}".rstrip()
            + (CUT if bar.value > top else ""),
            (end, place), va="center", fontsize=8, xytext=(3, 0), textcoords="offset points",
        )  # fmt: skip
    axes.set_yticks(
        list(places), [bar.label if len(bar.label) <= 60 else bar.label[:59] + "…" for bar in shown], fontsize=8
    )
    axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    axes.set_xlim(0, top * (1.34 if any(bar.note or bar.value > top for bar in shown) else 1.16))
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.set_major_formatter("{x:,.10g}")
    axes.spines[["top", "right"]].set_visible(False)
    left_out = len(figure.bars) - len(shown)
    if left_out > 0 and not figure.additive:
        axes.set_xlabel(f"and {left_out} more", fontsize=8)


def _grid(axes, figure: Grid) -> None:  # type: ignore[no-untyped-def]
    rows = figure.rows[-_MOST_ROWS:]
    columns = figure.columns[:_MOST_COLUMNS]
    shares = [
        [cell.share if cell.share is not None else float("nan") for cell in row.cells[: len(columns)]]
        + [float("nan")] * (len(columns) - len(row.cells))
        for row in rows
    ]
    if rows:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, row in enumerate(rows):
        for j, cell in enumerate(row.cells[: len(columns)]):
            if cell.share is not None:
                axes.text(
                    j, i, f"{cell.share:.0%}{' …' if cell.is_open else ''}", ha="center", va="center", fontsize=7,
                    color="white" if cell.share > 0.6 else "#222222", style="italic" if cell.is_open else "normal",
                )  # fmt: skip
    axes.set_yticks(range(len(rows)), [f"{row.label} {row.note}".rstrip() for row in rows], fontsize=8)
    axes.set_xticks(range(len(columns)), columns, fontsize=8)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
