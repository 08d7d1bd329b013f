"""Horizontal bars, each with its number, and with its interval where one is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gtm_dagster.dashboard.charts.svg_parts import WIDE, clean, label, picture, shortened
from gtm_dagster.reports.number_text import amount

_LEFT, _RIGHT, _LINE, _TOP, _BOTTOM = 150, 128, 26, 6, 8


@dataclass(frozen=True)
class BarRow:
    """A bar. `value` None: nothing is known, and no bar is drawn. `low`, `high`: its 95 % interval.

    `text`: what stands behind it in place of the number; `kind`: its class, such as `faint`.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    text: str = ""
    kind: str = ""


def bars(title: str, rows: Sequence[BarRow], description: str = "", across: int = WIDE) -> str:
    """A bar a row, from 0 on, in the order given; a negative value goes to the left of the line at 0."""
    ends = [each for row in rows for each in (row.value, row.low, row.high) if each is not None]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    scale = (across - _LEFT - _RIGHT) / ((high - low) or 1)
    zero = _LEFT - low * scale
    parts: list[str] = []
    for number, row in enumerate(rows):
        y = _TOP + number * _LINE
        named = f' class="{row.kind}"' if row.kind else ""
        parts.append(f"<g{named}><title>{clean(row.name)}</title>")
        parts.append(label(_LEFT - 10, y + 16, shortened(row.name, _LEFT - 14), "name", "end"))
        end = zero
        if row.value is not None:
            at = zero + row.value * scale
            start, length = min(zero, at), max(abs(at - zero), 1.0 if row.value else 0.0)
            parts.append(
                f'<rect class="bar" x="{start:.1f}" y="{y + 4}" width="{length:.1f}" height="{_LINE - 10}" rx="2"/>'
            )
            end = max(at, zero)
        if row.low is not None and row.high is not None and row.value is not None:
            left, right = zero + row.low * scale, zero + row.high * scale
            middle = y + 4 + (_LINE - 10) / 2
            parts.append(
                f'<path class="interval" d="M{left:.1f} {middle - 4:.1f}v8M{left:.1f} {middle:.1f}H{right:.1f}M{right:.1f} {middle - 4:.1f}v8"/>'
            )
            end = max(end, right)
        words = row.text or amount(row.value)
        parts.append(label(end + 8, y + 16, shortened(words, across - end - 8), "number") + "</g>")
    height = _TOP + len(rows) * _LINE + _BOTTOM
    parts.append(f'<path class="axis" d="M{zero:.1f} {_TOP}V{height - _BOTTOM}"/>')
    return picture("bars", title, description or _words(rows), across, height, parts)


def _words(rows: Sequence[BarRow]) -> str:
    return ". ".join(f"{row.name}: {row.text or amount(row.value)}" for row in rows[:12]) + "."
