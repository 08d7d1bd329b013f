"""The picture of an episode: conversion of both arms over time, and the evidence against its budget."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from gtm_dagster.rollout.guard.counts import SLOT_US, Counts
from gtm_dagster.rollout.guard.judge import metric_trace
from gtm_dagster.rollout.guard.rule import Rule
from gtm_dagster.settings import CONVERSION

Floats = NDArray[np.float64]
INLINE_CHARACTERS = 999
"""Longer markdown is hidden behind a link in the Dagster UI."""
PNG_BYTES = 40_000
INK = {"control": "#888888", "treatment": "#cc3311", "evidence": "#0077bb"}


@dataclass(frozen=True)
class Curves:
    """Conversion, or the metric `figure` (share of 1, NaN without units), of both arms by exposure, and log evidence over time.

    Times are microseconds UTC. Conversion of the newest cohorts is still growing.
    """

    rate_us: Floats
    control: Floats
    treatment: Floats
    evidence_us: Floats
    log_e: Floats
    log_budget: float
    figure: str = CONVERSION


def curves(counts: Counts, rule: Rule, log_budget: float, points: int = 40, metric: str = "") -> Curves:
    """The curves of an episode in at most `points` steps each; of a guard of several metrics those of the one named.

    Of a mean the curve of an arm is that of units with a value.
    """
    history, _ = metric_trace(counts, rule, metric)
    counts = counts if metric in ("", CONVERSION) else counts.of_metric(metric)
    slots = counts.exposed.shape[1]
    width = max(-(-slots // points), 1)
    bins = -(-slots // width) if slots else 0
    shown = np.zeros((2, bins))
    converted = np.zeros((2, bins))
    for arm in (0, 1):
        np.add.at(shown[arm], np.arange(slots) // width, counts.exposed[arm])
    np.add.at(converted, (counts.conv_arm, (counts.conv_slot - counts.slot0) // width), counts.conv_n)
    rates = np.divide(converted, shown, out=np.full_like(shown, np.nan), where=shown > 0)
    # The last moment is the decision: it must be a point of the drawing.
    moments = len(history.times_us)
    indexes = np.unique(np.linspace(0, max(moments - 1, 0), points).astype(int))[:moments]
    return Curves(
        rate_us=(counts.slot0 + np.arange(bins) * width).astype(float) * SLOT_US,
        control=rates[0],
        treatment=rates[1],
        evidence_us=np.asarray(history.times_us, dtype=float)[indexes],
        log_e=np.asarray(history.log_e, dtype=float)[indexes],
        log_budget=log_budget,
        figure=metric or CONVERSION,
    )


def inline(title: str, drawn: Curves) -> str:
    """Markdown of a small SVG under its legend, shorter than 1,000 characters: it is shown in place."""
    legend = "Left: conversion, control grey, treated red. Right: log evidence, the grey line is its bar."
    for points in (16, 12, 8, 5):
        markdown = f"{legend}\n\n{_markdown(title, _svg(_thin(drawn, points)).encode(), 'svg+xml')}"
        if len(markdown) <= INLINE_CHARACTERS:
            return markdown
    return f"{title}: see the picture"


def _thin(drawn: Curves, points: int) -> Curves:
    def some(values: Floats) -> Floats:
        return values[np.unique(np.linspace(0, len(values) - 1, points).astype(int))] if len(values) else values

    return Curves(
        some(drawn.rate_us), some(drawn.control), some(drawn.treatment), some(drawn.evidence_us), some(drawn.log_e),
        drawn.log_budget, drawn.figure,
    )  # fmt: skip


def _svg(drawn: Curves) -> str:
    top = float(np.nanmax(np.concatenate([drawn.control, drawn.treatment, [1e-9]])))
    evidence = np.maximum(drawn.log_e, 0.0)
    peak = max(float(evidence.max(initial=0.0)), drawn.log_budget, 1e-9)
    lines = [
        _line(drawn.control / top, 0, INK["control"]),
        _line(drawn.treatment / top, 0, INK["treatment"]),
        _line(evidence / peak, 160, INK["evidence"]),
    ]
    height = 62 - 50 * drawn.log_budget / peak
    lines.append(f"<path stroke='#bbb' d='M160 {height:.0f}h140M0 63h140M160 63h140'/>")
    minutes = (drawn.rate_us[-1] - drawn.rate_us[0]) / 60e6 if len(drawn.rate_us) else 0.0
    return (
        "<svg xmlns='http://www.w3.org/2000/svg' width='330' height='76' font-size='9' fill='#888'>"
        f"<text y='8'>{drawn.figure}, 0 to {top:.1%}</text><text x='160' y='8'>evidence, 0 to {peak:.1f}, bar {drawn.log_budget:.1f}</text>"
        f"<text y='74'>{minutes:,.0f} minutes</text><g fill='none'>{''.join(lines)}</g></svg>"
    )


def _line(values: Floats, left: int, colour: str) -> str:
    last = max(len(values) - 1, 1)
    points = " ".join(
        f"{left + 140 * i / last:.0f},{62 - 50 * value:.0f}" for i, value in enumerate(values) if np.isfinite(value)
    )
    short = "#" + colour[1::2]
    return f"<polyline stroke='{short}' points='{points}'/>"


def png(title: str, drawn: Curves) -> bytes:
    """The full picture, at most 40 kB."""
    from matplotlib.figure import Figure

    for dpi in (90, 60, 40):
        figure = Figure(figsize=(8, 5), dpi=dpi)
        above, below = figure.subplots(2, 1, sharex=True)
        minutes = (drawn.rate_us - drawn.rate_us[0]) / 60e6 if len(drawn.rate_us) else drawn.rate_us
        above.plot(minutes, drawn.control * 100, color=INK["control"], label="control")
        above.plot(minutes, drawn.treatment * 100, color=INK["treatment"], label="treatment")
        above.set_ylabel(f"{drawn.figure}, %")
        above.legend(frameon=False)
        start = drawn.rate_us[0] if len(drawn.rate_us) else 0.0
        below.plot((drawn.evidence_us - start) / 60e6, drawn.log_e, color=INK["evidence"])
        below.axhline(drawn.log_budget, color="#bbbbbb", linestyle="--")
        below.set_ylabel("log evidence (dashed: budget)")
        begun = datetime.fromtimestamp(start / 1e6, UTC) if start else None
        below.set_xlabel(f"minutes after {begun:%Y-%m-%d %H:%M} UTC" if begun else "no units yet")
        above.set_title(title)
        for axes in (above, below):
            axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        image = io.BytesIO()
        figure.savefig(image, format="png", pil_kwargs={"optimize": True})
        if len(image.getvalue()) <= PNG_BYTES:
            break
    return image.getvalue()


def picture(title: str, drawn: Curves) -> str:
    """Markdown of the full picture; the UI opens it behind a link."""
    return _markdown(title, png(title, drawn), "png")


def _markdown(title: str, image: bytes, kind: str) -> str:
    # A space would end the address of a markdown picture, so the drawing travels as base64.
    return f"![{title}](data:image/{kind};base64,{base64.b64encode(image).decode()})"
