"""A chart: its statement, a file of `sql/`, with the values of a page in it, and the rows that come of it.

The statement that runs is the text that the page shows, and that `gtm query` takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from gtm_dagster.dashboard.charts.svg_parts import WIDE
from gtm_dagster.dashboard.parameters import Selection
from gtm_dagster.dashboard.snapshots import Rows

_VALUE = re.compile(r"\$([a-z][a-z_]*)")
Draw = Callable[[Rows, Selection, int], str]
"""Rows, selection, and how wide the picture is."""


@dataclass(frozen=True)
class Chart:
    """A chart of the file sql/`name`.sql. `draw` makes its SVG; None: it is a table alone.

    `formats`: how a column is shown in the table under the chart: amount, money, share; others as they are. `widths`: of its
    picture, and of the one for a screen 400 pixels wide where the first is too wide for it. `parts`: expressions that stand for
    names in the file, because other statements have them too.
    """

    name: str
    title: str
    draw: Draw | None = None
    formats: Mapping[str, str] | None = None
    widths: tuple[int, ...] = (WIDE,)
    parts: Mapping[str, str] = field(default_factory=dict)

    def pictures(self, rows: Rows, selection: Selection) -> list[str]:
        """Its SVG in each width; none of a table, or where there is nothing to draw."""
        if self.draw is None or not rows.rows:
            return []
        return [self.draw(rows, selection, across) for across in self.widths]

    @property
    def how(self) -> str:
        """How it is counted: the comment at the head of its file."""
        return _file(self.name)[0]

    @property
    def text(self) -> str:
        """Its SQL as it stands in the file, with names for values."""
        text = _file(self.name)[1]
        for name, expression in self.parts.items():
            text = text.replace(f"${name}", expression)
        return text

    def statement(self, selection: Selection) -> str:
        """Its SQL with the values of a page."""
        values = selection.values()
        return _VALUE.sub(lambda match: values[match[1]], self.text)


@cache
def _file(name: str) -> tuple[str, str]:
    """The comment at the head of a file, as sentences, and the statement behind it. ValueError for a file without one."""
    text = (resources.files("gtm_dagster.dashboard") / "sql" / f"{name}.sql").read_text()
    lines = text.strip().splitlines()
    count = next((number for number, line in enumerate(lines) if not line.startswith("--")), len(lines))
    if not count or count == len(lines):
        raise ValueError(f"sql/{name}.sql: a comment that says how it is counted, then one statement")
    return " ".join(line.removeprefix("--").strip() for line in lines[:count]), "\n".join(lines[count:]).strip()
