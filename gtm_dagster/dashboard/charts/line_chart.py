"""Lines over days: this period and, dashed, the one before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from gtm_dagster.dashboard.charts.svg_parts import (
    HALF,
    TEXT_LETTER,
    WIDE,
    label,
    picture,
    short_number,
    shortened,
    step,
)

HEIGHT = 220
_LEFT, _TOP, _BOTTOM = 46, 14, 30
_LEAST_RIGHT, _MOST_RIGHT, _LETTER, _LARGE_LETTER = 40, 150, 7.2, 9.0
"""Room for the names of the lines; letters are larger in a picture that is shown small."""
_APART = 15


@dataclass(frozen=True)
class Line:
    """Values by day, None where nothing is known, which leaves a gap. `kind`: its class, such as `now` or `before`.

    `is_open`: the last day has not ended, so its value still grows.
    """

    name: str
    values: tuple[float | None, ...]
    kind: str = "now"
    is_open: bool = False


def lines(title: str, days: Sequence[date], series: Sequence[Line], unit: str = "", across: int = WIDE) -> str:
    """A picture of all series over the same days, oldest first; from 0 on. The last segment of an open line is dotted.

    A day between them that is not among them has its place, and nothing on it. One line alone needs no name; while it still
    grows, its end says so.
    """
    days, series = _every_day(days, series)
    known = [value for line in series for value in line.values if value is not None]
    top = max([*known, 0.0])
    whole = all(float(value).is_integer() for value in known)
    each = step(top, whole=whole) if top > 0 else 1.0
    top = each * max(-(-top // each), 1)
    names = [line.name for line in series]
    if len(series) == 1:
        names = ["so far" if series[0].is_open else ""]
    letter = _LETTER if across > HALF else _LARGE_LETTER
    right = min(max(max(map(len, names), default=0) * letter + 14, _LEAST_RIGHT), _MOST_RIGHT)
    width, height = across - _LEFT - right, HEIGHT - _TOP - _BOTTOM

    def at(place: int) -> float:
        return _LEFT + (width * place / (len(days) - 1) if len(days) > 1 else width / 2)

    def down(value: float) -> float:
        return _TOP + height * (1 - value / top)

    parts = []
    for number in range(round(top / each) + 1):
        y = down(number * each)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{across - right:.1f}"/>')
        parts.append(label(_LEFT - 8, y + 4, short_number(number * each), "tick", "end"))
    marked = _marked(len(days), 6 if across > HALF else 4 if width > 340 else 3)
    for place in marked:
        anchor = "middle" if 0 < place < len(days) - 1 or len(days) == 1 else ("start" if place == 0 else "end")
        parts.append(label(at(place), HEIGHT - 8, f"{days[place]:%-d %b}", "tick", anchor))
    ends: list[tuple[float, str, str]] = []
    for name, line in sorted(
        zip(names, series, strict=True), key=lambda each: each[1].kind == "now"
    ):  # what matters is drawn last
        points = [(at(i), down(value)) if value is not None else None for i, value in enumerate(line.values)]
        parts.append(_line(points, line))
        last = next((i for i in range(len(points) - 1, -1, -1) if points[i] is not None), None)
        if last is not None:
            ends.append((points[last][1], name, line.kind))  # type: ignore[index]
    for y, name, kind in _spread(ends, _TOP + 4, HEIGHT - _BOTTOM):
        if name:
            fitting = shortened(name, (right - 10) * TEXT_LETTER / letter)
            parts.append(label(across - right + 10, y + 4, fitting, f"end {kind}"))
    return picture("lines", title, _words(title, days, series, unit), across, HEIGHT, parts)


def _every_day(days: Sequence[date], series: Sequence[Line]) -> tuple[Sequence[date], Sequence[Line]]:
    if not days:
        return days, series
    every = [days[0] + timedelta(days=n) for n in range((days[-1] - days[0]).days + 1)]
    place = {day: number for number, day in enumerate(days)}
    return every, [
        replace(line, values=tuple(line.values[place[day]] if day in place else None for day in every))
        for line in series
    ]


def _line(points: Sequence[tuple[float, float] | None], line: Line) -> str:
    segments: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is None:
            segments.append([])
        else:
            segments[-1].append(point)
    open_end = segments[-1][-2:] if line.is_open and len(segments[-1]) > 1 else []
    if open_end:
        segments[-1] = segments[-1][:-1]
    drawn = "".join(
        f'<path class="line {line.kind}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in segment)}"/>'
        for segment in segments
        if len(segment) > 1
    )
    alone = "".join(
        f'<circle class="dot {line.kind}" cx="{segment[0][0]:.1f}" cy="{segment[0][1]:.1f}" r="2.5"/>'
        for segment in segments
        if len(segment) == 1 and not open_end
    )
    if open_end:
        (x, y), (to_x, to_y) = open_end
        drawn += f'<path class="line {line.kind} open" d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}"/>'
        drawn += f'<circle class="dot {line.kind} open" cx="{to_x:.1f}" cy="{to_y:.1f}" r="3.5"/>'
    return drawn + alone


def _marked(days: int, parts: int) -> list[int]:
    """Which days have a label: the first, the last, and some between at even distances."""
    if days <= 8:
        return list(range(days))
    return sorted({round(i * (days - 1) / parts) for i in range(parts + 1)})


def _spread(ends: list[tuple[float, str, str]], low: float, high: float) -> list[tuple[float, str, str]]:
    """The labels at the ends of the lines, moved apart where they would lie on each other."""
    placed: list[tuple[float, str, str]] = []
    for y, name, kind in sorted(ends):
        placed.append((max(y, placed[-1][0] + _APART if placed else low), name, kind))
    over = max((placed[-1][0] - high) if placed else 0, 0)
    return [(y - over, name, kind) for y, name, kind in placed]


def _words(title: str, days: Sequence[date], series: Sequence[Line], unit: str) -> str:
    if not days:
        return f"{title}: no days"
    sentences = [f"{days[0]} to {days[-1]}."]
    for line in series:
        known = [value for value in line.values if value is not None]
        if known:
            lowest, highest = min(known), max(known)
            sentences.append(f"{line.name}: {lowest:,.6g} to {highest:,.6g}{f' {unit}' if unit else ''} a day.")
        else:
            sentences.append(f"{line.name}: nothing is known.")
    return " ".join(sentences) + " The table below has every number."
