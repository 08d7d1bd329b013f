"""Pictures: well-formed whatever the names and numbers are, every number said, nothing drawn that is not known."""

from __future__ import annotations

import re
from datetime import date, timedelta
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.dashboard.charts.bar_chart import BarRow, bars
from gtm_dagster.dashboard.charts.evidence_chart import Curve, evidence, rounded_up
from gtm_dagster.dashboard.charts.funnel_chart import Stage, funnel
from gtm_dagster.dashboard.charts.heat_chart import HeatCell, HeatRow, cells
from gtm_dagster.dashboard.charts.line_chart import Line, lines
from gtm_dagster.dashboard.charts.svg_parts import HALF, step

NAMES = st.text(max_size=12)
NUMBERS = st.none() | st.just(0.0) | st.floats(1e-6, 1e12)


def drawn(svg: str) -> ElementTree.Element:
    """The picture, which must be XML, with title and description, and without anything not finite."""
    root = ElementTree.fromstring(svg)
    space = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert root.find(f"{space}title") is not None and root.find(f"{space}desc") is not None
    assert not re.search(r'"[^"]*\b(nan|inf)\b[^"]*"', re.sub(r"<(text|title|desc)[^>]*>[^<]*</\1>", "", svg))
    assert "style=" not in svg
    return root


def days(count: int) -> list[date]:
    return [date(2026, 11, 1) + timedelta(days=i) for i in range(count)]


@given(title=NAMES, values=st.lists(NUMBERS, max_size=12), name=NAMES)
def test_lines(title: str, values: list[float | None], name: str) -> None:
    drawn(
        lines(
            title, days(len(values)), [Line(name, tuple(values), is_open=True), Line("before", tuple(values), "before")]
        )
    )


@given(rows=st.lists(st.tuples(NAMES, NUMBERS, NUMBERS), max_size=12))
def test_bars(rows: list[tuple[str, float | None, float | None]]) -> None:
    drawn(bars("t", [BarRow(name, value, value and value / 2, high) for name, value, high in rows]))


@given(rows=st.lists(st.lists(st.none() | st.floats(0, 1), max_size=6), max_size=6), name=NAMES)
def test_cells(rows: list[list[float | None]], name: str) -> None:
    drawn(cells("t", list("abcdef"), [HeatRow(name, "12", tuple(HeatCell(each, i == 2) for i, each in enumerate(row))) for row in rows]))  # fmt: skip


@given(stages=st.lists(st.tuples(NAMES, NUMBERS), max_size=8))
def test_funnels(stages: list[tuple[str, float | None]]) -> None:
    drawn(funnel("t", [Stage(name, n) for name, n in stages]))


@pytest.mark.parametrize(
    ("values", "paths", "dots"),
    [
        ((1, 2, 3), 1, 0),
        ((1, None, 3, 4), 1, 1),
        ((None, None, None), 0, 0),
        ((1, None, 2), 0, 2),
        ((0, 0, 0), 1, 0),
    ],
    ids=["no gap", "a gap", "nothing known", "alone between gaps", "zero is a number"],
)
def test_what_is_not_known_is_a_gap(values: tuple[float | None, ...], paths: int, dots: int) -> None:
    svg = lines("t", days(len(values)), [Line("n", values)])
    assert (len(re.findall(r'class="line now"', svg)), len(re.findall(r'class="dot now"', svg))) == (paths, dots)


@pytest.mark.parametrize(
    ("there", "paths", "dots"),
    [((0, 1, 2, 3), 1, 0), ((0, 1, 9, 10), 2, 0), ((0, 1, 9), 1, 1), ((0, 30), 0, 2)],
    ids=["all days", "a week without anybody", "one day after it", "two days of a month"],
)
def test_days_without_a_row_are_a_gap_of_their_width(there: tuple[int, ...], paths: int, dots: int) -> None:
    svg = lines("t", [days(31)[n] for n in there], [Line("n", (1.0,) * len(there))])
    assert (len(re.findall(r'class="line now"', svg)), len(re.findall(r'class="dot now"', svg))) == (paths, dots)
    assert f"{days(31)[there[0]]} to {days(31)[there[-1]]}." in svg


def test_the_last_day_that_still_grows_is_drawn_apart() -> None:
    svg = lines("t", days(3), [Line("n", (1, 2, 1), is_open=True)])
    assert 'class="line now open"' in svg and 'class="dot now open"' in svg


def test_open_cells_are_hatched_and_carry_their_number() -> None:
    row = HeatRow("w", "10", (HeatCell(1.0), HeatCell(0.02, is_open=True), HeatCell(0.9, is_open=True)))
    svg = cells("t", ["0", "1", "2"], [row])
    assert "2 %" in svg and svg.count("so far") == 2
    kinds = re.findall(r'fill="url\(#([a-z]+?)[0-9a-f]{8}\)"', svg)
    assert kinds == ["hatch", "deep"]  # dark lines in a pale cell, pale ones in a dark cell: else nobody sees them


@pytest.mark.parametrize(
    ("series", "named"),
    [
        ([Line("this period", (1, 2))], []),
        ([Line("this period", (1, 2), is_open=True)], ["so far"]),
        ([Line("this period", (1, 2)), Line("before", (2, 1), "before")], ["before", "this period"]),
    ],
    ids=["alone", "alone and growing", "two"],
)
def test_a_line_has_a_name_where_there_is_another(series: list[Line], named: list[str]) -> None:
    assert sorted(re.findall(r'class="end [^>]*>([^<]+)<', lines("t", days(2), series))) == named


def test_a_name_fits_beside_a_small_picture_whose_letters_are_larger() -> None:
    svg = lines("t", days(3), [Line("(unattributed)", (1, 2, 3)), Line("Email", (3, 2, 1), "s2")], across=HALF)
    at = float(re.search(r'<text x="([\d.]+)"[^>]*class="end now"[^>]*>\(unattributed\)', svg)[1])  # type: ignore[index]
    assert at + len("(unattributed)") * 15 * 0.57 < HALF  # 15 px on a phone


@pytest.mark.parametrize(("top", "end"), [(0.519, 0.6), (9.6, 10.0), (10.0, 10.0), (0.07, 0.08)])
def test_the_axes_of_evidence_end_at_a_round_number(top: float, end: float) -> None:
    assert rounded_up(top) == pytest.approx(end)


def test_the_ticks_of_evidence_are_round() -> None:
    curve = Curve("treated", (0.0, 6e7), (0.1, 0.519))
    svg = evidence("t", [curve], Curve("evidence", (0.0, 6e7), (1.0, 9.6), "s2"), 9.1)
    ticks = re.findall(r'class="tick" text-anchor="end">([^<]+)<', svg)
    assert ticks[:4] == ["0 %", "20 %", "40 %", "60 %"] and ticks[4:9] == ["0", "2.5", "5", "7.5", "10"]
    drawn(svg)


def test_a_bar_of_nothing_known_is_a_dash() -> None:
    svg = bars("t", [BarRow("Email", None), BarRow("Direct", 0.0)])
    assert svg.count('class="bar"') == 1 and ">–</text>" in svg


def test_a_funnel_says_what_goes_on() -> None:
    svg = funnel("t", [Stage("a", 200), Stage("b", 50, "2 h"), Stage("c", None)])
    assert "25 % go on, 2 h" in svg and "50 · 25 %" in svg


@pytest.mark.parametrize(
    ("top", "whole", "expected"),
    [(1, True, 1), (3, True, 1), (7, True, 2), (10, True, 5), (100, True, 25), (1, False, 0.25), (0.1, False, 0.025)],
)
def test_the_lines_of_an_axis_are_round_and_what_is_counted_has_no_fractions(
    top: float, whole: bool, expected: float
) -> None:
    assert step(top, whole=whole) == pytest.approx(expected)
