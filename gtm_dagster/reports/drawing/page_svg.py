"""An SVG within a page: its colours are the page's, so that it is read on light, on dark and on paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

WIDTH, _LEFT, _RIGHT = 760, 160, 200
_LINE, _GAP, _TOP, _BOTTOM = 15, 10, 8, 26


@dataclass(frozen=True)
class Dot:
    """A point with its interval, and the words behind it."""

    value: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Band:
    """The dots of one label, under each other."""

    label: str
    dots: tuple[Dot, ...]
    faint: bool = False


def dots_and_intervals(title: str, bands: Sequence[Band]) -> str:
    """A band a label, a line a dot with its interval; from 0, with the number in words behind each line."""
    top = max((dot.high for band in bands for dot in band.dots), default=0) or 1
    step = _step(top)
    scale = (WIDTH - _LEFT - _RIGHT) / top
    parts: list[str] = []
    y = _TOP
    for band in bands:
        middle = y + _LINE * len(band.dots) / 2 + 4
        label = band.label if len(band.label) <= 22 else band.label[:21] + "…"
        parts.append(f'<g class="{"band faint" if band.faint else "band"}"><title>{escape(band.label)}</title>')
        parts.append(f'<text class="label" x="{_LEFT - 10}" y="{middle:.1f}">{escape(label)}</text>')
        for dot in band.dots:
            line = y + _LINE / 2
            low, high, at = (_LEFT + value * scale for value in (dot.low, dot.high, dot.value))
            parts.append(
                f'<path class="interval" d="M{low:.1f} {line}H{high:.1f}"/><circle cx="{at:.1f}" cy="{line}" r="3.5"/>'
                f'<text class="value" x="{high + 8:.1f}" y="{line + 3.5}">{escape(dot.text)}</text>'
            )
            y += _LINE
        parts.append("</g>")
        y += _GAP
    grid = []
    for i in range(int(top / step) + 1):
        x = _LEFT + i * step * scale
        grid.append(
            f'<path class="grid" d="M{x:.1f} {_TOP - 4}V{y}"/><text class="tick" x="{x:.1f}" y="{y + 14}">{i * step:,g}</text>'
        )
    return (
        f'<svg viewBox="0 0 {WIDTH} {y + _BOTTOM}" role="img" aria-label="{escape(title)}">'
        f"{''.join(grid)}{''.join(parts)}</svg>"
    )


def _step(top: float) -> float:
    """A round step that gives four to ten ticks."""
    rough = top / 5
    power: float = 10.0 ** floor(log10(rough))
    return next(each * power for each in (1.0, 2.0, 5.0, 10.0) if each * power >= rough)
