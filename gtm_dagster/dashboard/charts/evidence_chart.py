"""A guard's picture: conversion of both arms by time of exposure, and the evidence of a loss against its bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gtm_dagster.dashboard.charts.svg_parts import HALF, WIDE, label, picture, short_number, step
from gtm_dagster.reports.number_text import share

_LEFT, _RIGHT, _TOP, _HEIGHT, _BETWEEN, _BOTTOM = 52, 110, 18, 130, 34, 26


@dataclass(frozen=True)
class Curve:
    """Values at moments (microseconds UTC), None where nothing is known. `kind`: its class."""

    name: str
    at_us: Sequence[float]
    values: Sequence[float | None]
    kind: str = "now"


def evidence(title: str, rates: Sequence[Curve], log_e: Curve, bar: float, wide: int = WIDE) -> str:
    """Two pictures above each other on one axis of time; the dashed line of the lower one is what a rollback needs."""
    moments = [at for curve in (*rates, log_e) for at in curve.at_us]
    first, last = (min(moments), max(moments)) if moments else (0.0, 1.0)
    span = (last - first) or 1.0
    width = wide - _LEFT - _RIGHT

    def across(at: float) -> float:
        return _LEFT + width * (at - first) / span

    top = max([value for curve in rates for value in curve.values if value is not None], default=0.0) or 1.0
    parts = _panel(_TOP, rates, across, top, wide - _RIGHT, "conversion by time of exposure", share)
    below = _TOP + _HEIGHT + _BETWEEN
    high = max([bar * 1.1, *(value for value in log_e.values if value is not None)])
    clipped = Curve(log_e.name, log_e.at_us, [None if v is None else max(v, 0.0) for v in log_e.values], log_e.kind)
    y = below + _HEIGHT * (1 - bar / rounded_up(high))
    needed = (y, f"needed {bar:.1f}", "before")
    parts += _panel(below, [clipped], across, high, wide - _RIGHT, "log evidence of a loss", short_number, needed)
    parts.append(f'<path class="line before" d="M{_LEFT} {y:.1f}H{wide - _RIGHT}"/>')
    labels = 4 if wide > HALF else 2
    for number in range(labels + 1):
        at = first + span * number / labels
        anchor = "start" if number == 0 else ("end" if number == labels else "middle")
        parts.append(
            label(
                across(at),
                below + _HEIGHT + 18,
                f"{datetime.fromtimestamp(at / 1e6, UTC):%-d %b %H:%M}",
                "tick",
                anchor,
            )
        )
    newest = next((value for value in reversed(log_e.values) if value is not None), None)
    words = (
        f"The evidence stands at {newest:.1f} of {bar:.1f} needed."
        if newest is not None
        else "There is no evidence yet."
    )
    return picture("evidence", title, words, wide, below + _HEIGHT + _BOTTOM, parts)


def rounded_up(top: float) -> float:
    """The next round number, which the axis ends at."""
    each = step(top)
    return each * -(-top // each)


def _panel(y0, curves, across, top, end, name, write, *labels: tuple[float, str, str]) -> list[str]:  # type: ignore[no-untyped-def]
    """Curves under a name; `labels`: further (y, text, kind) at the right edge, which give way to those of the curves."""
    parts = [label(_LEFT, y0 - 6, name, "tick")]
    each, top = step(top), rounded_up(top)
    for number in range(round(top / each) + 1):
        y = y0 + _HEIGHT * (1 - number * each / top)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{end}"/>')
        parts.append(label(_LEFT - 8, y + 4, write(number * each), "tick", "end"))
    ends = list(labels)
    for curve in curves:
        segment: list[str] = []
        last = None
        for at, value in zip(curve.at_us, curve.values, strict=True):
            if value is None:
                parts += _path(segment, curve.kind)
                segment = []
                continue
            last = y0 + _HEIGHT * (1 - min(value / top, 1.0))
            segment.append(f"{across(at):.1f} {last:.1f}")
        parts += _path(segment, curve.kind)
        if last is not None:
            ends.append((last, curve.name, curve.kind))
    below = float("-inf")
    for y, text, kind in sorted(ends):
        below = max(y, below + 16)
        parts.append(label(end + 8, below + 4, text, f"end {kind}"))
    return parts


def _path(points: list[str], kind: str) -> list[str]:
    return [f'<path class="line {kind}" d="M{"L".join(points)}"/>'] if len(points) > 1 else []
