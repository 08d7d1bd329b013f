"""A chart: its statement, a file of `sql/`, with the values of a page in it, and the rows that come of it.

The statement that runs is the text that the page shows, and that `gtm query` takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from gtm_dagster.dashboard.parameters import Selection
from gtm_dagster.dashboard.snapshots import Rows

_VALUE = re.compile(r"\$([a-z][a-z_]*)")
Draw = Callable[[Rows, Selection], str]


@dataclass(frozen=True)
class Chart:
    """A chart of the file sql/`name`.sql. `draw` makes its SVG; None: it is a table alone.

    `parts`: expressions that stand for names in the file, because other statements have them too. `draw_small`: the same for a screen 400 pixels wide, where `draw` is wide. `formats`: how a column is shown in the table under the chart: amount, money, share; others as they are.
    """

    name: str
    title: str
    draw: Draw | None = None
    formats: Mapping[str, str] | None = None
    draw_small: Draw | None = None
    parts: Mapping[str, str] = field(default_factory=dict)

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
