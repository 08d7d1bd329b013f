"""A funnel: a bar a stage, and what goes on to it of the stage before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gtm_dagster.dashboard.charts.svg_parts import label, picture, shortened
from gtm_dagster.reports.number_text import amount, share

WIDTH = 720
_LEFT, _RIGHT, _BAR, _GAP, _TOP = 140, 150, 30, 26, 6


@dataclass(frozen=True)
class Stage:
    """A stage, how many reach it (None: nothing is known), and what else is said of the way to it, such as its time."""

    name: str
    persons: float | None
    note: str = ""


def funnel(title: str, stages: Sequence[Stage], who: str = "persons") -> str:
    """A bar a stage; between two of them the share of the former that goes on, and of how many that is no more said."""
    top = max((stage.persons or 0 for stage in stages), default=0) or 1
    first = next((stage.persons for stage in stages if stage.persons), None)
    scale = (WIDTH - _LEFT - _RIGHT) / top
    parts: list[str] = []
    before: float | None = None
    for number, stage in enumerate(stages):
        y = _TOP + number * (_BAR + _GAP)
        if number:
            passed = f"{share(stage.persons / before)} go on" if before and stage.persons is not None else "–"
            words = f"↓ {passed}" + (f", {stage.note}" if stage.note else "")
            parts.append(label(_LEFT + 6, y - 8, shortened(words, WIDTH - _LEFT), "tick"))
        parts.append(label(_LEFT - 10, y + 20, shortened(stage.name, _LEFT - 12), "name", "end"))
        if stage.persons is not None:
            length = max(stage.persons * scale, 1.0 if stage.persons else 0.0)
            parts.append(f'<rect class="bar" x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR}" rx="3"/>')
            of_first = f" · {share(stage.persons / first)}" if first and number else ""
            parts.append(label(_LEFT + length + 8, y + 20, amount(stage.persons) + of_first, "number"))
        else:
            parts.append(label(_LEFT + 8, y + 20, "–", "number"))
        before = stage.persons
    words = ". ".join(f"{stage.name}: {amount(stage.persons)} {who}" for stage in stages)
    return picture("funnel", title, f"{words}.", WIDTH, _TOP + len(stages) * (_BAR + _GAP) - _GAP + 8, parts)
