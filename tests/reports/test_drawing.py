"""Figures as pictures: small enough for the UI, the title whole, nothing left out in silence."""

from __future__ import annotations

import base64
import io
import re

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from gtm_dagster.reports.drawing import png, small_svg
from gtm_dagster.warehouse.figures.figure import Bar, Bars, Cell, Grid, GridRow, longest, with_others

TITLE = "conversions credited by channel: payment_completed, EUR · linear, 168 h · 2026-10-30 to 2026-11-28"
MANY = tuple(Bar(f"a rather long label & {i}", 1234567.0 * (30 - i), 1e6, 3e6) for i in range(30))
RETENTION = Grid(
    "retention by week: persons by cohort, all channels",
    tuple(str(i) for i in range(20)),
    tuple(
        GridRow(f"2026-{m:02}-01", tuple(Cell(0.5, is_open=i == 19 - m) for i in range(20 - m)), "1,234 persons")
        for m in range(1, 13)
    ),
)


def drawn(markdown: str) -> str:
    """The SVG in a small picture."""
    found = re.search(r"base64,([^)]+)\)", markdown)
    assert found
    return base64.b64decode(found[1]).decode()


@pytest.mark.parametrize("additive", [True, False])
def test_a_small_picture_stays_below_the_limit_of_the_ui_and_counts_what_it_leaves_out(additive: bool) -> None:
    markdown = small_svg.inline(Bars(TITLE, MANY, additive=additive))
    assert len(markdown) < small_svg.INLINE_LIMIT
    assert markdown.startswith(TITLE), "the title is read without opening anything"
    bars = drawn(markdown).count("a rather long")
    assert bars >= 3
    assert f"{30 - bars} others" in drawn(markdown) if additive else f"and {30 - bars} more" in drawn(markdown)


def test_a_small_grid_shows_open_periods_and_stays_below_the_limit() -> None:
    markdown = small_svg.inline(RETENTION)
    assert len(markdown) < small_svg.INLINE_LIMIT and "50%" in drawn(markdown)


@pytest.mark.parametrize("figure", [Bars(TITLE, MANY, additive=True), Bars(TITLE, MANY), Bars(TITLE, ()), RETENTION])
def test_a_full_picture_is_a_png_of_40_kilobytes_at_most(figure: Bars | Grid) -> None:
    markdown = png.picture(figure)
    image = base64.b64decode(re.sub(r".*base64,|\)$", "", markdown))
    assert image.startswith(b"\x89PNG") and len(image) <= png.PNG_BYTES


@pytest.mark.parametrize("figure", [Bars(TITLE, MANY), RETENTION])
def test_a_full_picture_is_what_savefig_would_write_drawn_once(
    figure: Bars | Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawings: list[FigureCanvasAgg] = []
    draw = FigureCanvasAgg.draw

    def noted(canvas: FigureCanvasAgg) -> None:
        draw(canvas)  # to lay it out Matplotlib begins a drawing and leaves it by an exception
        drawings.append(canvas)

    monkeypatch.setattr(FigureCanvasAgg, "draw", noted)
    found = png._png(figure, 80)
    assert len(drawings) == 1
    saved, expected = io.BytesIO(), io.BytesIO()
    drawings[0].figure.savefig(saved, format="png")
    Image.open(saved).convert("RGB").quantize(32).save(expected, format="png", optimize=True)
    assert found == expected.getvalue()


def test_the_rest_is_one_bar_so_that_bars_add_up() -> None:
    bars = [Bar(str(i), float(i)) for i in range(9)]
    shown = with_others(bars, 4)
    assert [bar.label for bar in shown] == ["0", "1", "2", "6 others"] and sum(bar.value for bar in shown) == 36


def test_what_nobody_earned_is_shown_on_its_own_and_others_of_others_are_counted_once() -> None:
    bars = [
        *(Bar(str(i), 9.0 - i) for i in range(8)),
        Bar("12 others", 3.0, stands_for=12),
        Bar("(none)", 1.0, always=True),
    ]
    shown = with_others(bars, 5)
    assert [bar.label for bar in shown] == ["0", "1", "2", "17 others", "(none)"]
    assert sum(bar.value for bar in shown) == sum(bar.value for bar in bars)


def test_others_never_hide_the_rest_their_bar_is_cut_and_says_so() -> None:
    figure = Bars(
        TITLE, (Bar("a", 4.0, 3.0, 5.0), Bar("b", 2.0), Bar("250 others", 275.0, stands_for=250)), additive=True
    )
    assert longest(figure.bars) == 5.0
    assert re.findall(r"h(\d+)", drawn(small_svg.inline(figure)).replace("height", "")) == ["120", "60", "150"]
    assert "275 (bar is cut)" in drawn(small_svg.inline(figure))
    assert longest(()) == 1 and longest((Bar("9 others", 7.0, stands_for=9),)) == 7.0
