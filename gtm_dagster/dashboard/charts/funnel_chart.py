"""A funnel: a bar a stage, and what goes on to it of the stage before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gtm_dagster.dashboard.charts.svg_parts import PHONE, WIDE, label, picture, shortened
from gtm_dagster.reports.number_text import amount, share

_BAR, _GAP, _TOP = 30, 26, 6


@dataclass(frozen=True)
class Stage:
    """A stage, how many reach it (None: nothing is known), and what else is said of the way to it, such as its time."""

    name: str
    persons: float | None
    note: str = ""


def funnel(title: str, stages: Sequence[Stage], who: str = "persons", across: int = WIDE) -> str:
    """A bar a stage; between two of them the share of the former that goes on, and of how many that is no more said."""
    top = max((stage.persons or 0 for stage in stages), default=0) or 1
    first = next((stage.persons for stage in stages if stage.persons), None)
    left, right = (140, 150) if across > PHONE else (96, 118)
    scale = (across - left - right) / top
    parts: list[str] = []
    before: float | None = None
    for number, stage in enumerate(stages):
        y = _TOP + number * (_BAR + _GAP)
        if number:
            passed = f"{share(stage.persons / before)} go on" if before and stage.persons is not None else "–"
            words = f"↓ {passed}" + (f", {stage.note}" if stage.note else "")
            parts.append(label(left + 6, y - 8, shortened(words, across - left), "tick"))
        parts.append(label(left - 10, y + 20, shortened(stage.name, left - 12), "name", "end"))
        if stage.persons is not None:
            length = max(stage.persons * scale, 1.0 if stage.persons else 0.0)
            parts.append(f'<rect class="bar" x="{left}" y="{y}" width="{length:.1f}" height="{_BAR}" rx="3"/>')
            of_first = f" · {share(stage.persons / first)}" if first and number else ""
            parts.append(label(left + length + 8, y + 20, amount(stage.persons) + of_first, "number"))
        else:
            parts.append(label(left + 8, y + 20, "–", "number"))
        before = stage.persons
    words = ". ".join(f"{stage.name}: {amount(stage.persons)} {who}" for stage in stages)
    return picture("funnel", title, f"{words}.", across, _TOP + len(stages) * (_BAR + _GAP) - _GAP + 8, parts)
