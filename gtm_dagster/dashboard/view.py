"""One page as it is made: what was selected, the published tables, the live store, and the panels of its charts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import duckdb
from markupsafe import Markup

from gtm_dagster.dashboard.chart_query import Chart
from gtm_dagster.dashboard.choices_there import Choices
from gtm_dagster.dashboard.live_store import LiveStore, now
from gtm_dagster.dashboard.notices import Notice, UnavailableError
from gtm_dagster.dashboard.parameters import NAMES, Selection
from gtm_dagster.dashboard.screen import Screen
from gtm_dagster.dashboard.snapshots import Rows, Snapshot
from gtm_dagster.settings import Settings
from gtm_dagster.settings.demo_folder import is_demo


@dataclass(frozen=True)
class Panel:
    """A chart on a page: `notice` in place of rows where they are not to be had. `svg` is None where there is nothing to draw."""

    chart: Chart
    statement: str
    links: Mapping[str, str]
    rows: Rows | None = None
    svg: Markup | None = None
    svg_small: Markup | None = None
    notice: Notice | None = None

    def values(self, column: str) -> list[float]:
        """The known numbers of a column; none where the rows are not to be had."""
        return [] if self.rows is None else [value for value in self.rows.column(column) if value is not None]

    def total(self, column: str) -> float | None:
        """The sum of the known cells of a column, which is what a page prints as their total; None where none is known."""
        known = self.values(column)
        return sum(known) if known else None


class View:
    """What a screen is given. `snapshot` is None without a serving copy, `problem` says why.

    `path`: the values in the path, such as the id of a conversion.
    """

    def __init__(
        self, screen: Screen, settings: Settings, selection: Selection, choices: Choices, live: LiveStore,
        snapshot: Snapshot | None, problem: Notice | None = None, path: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.screen = screen
        self.settings = settings
        self.selection = selection
        self.choices = choices
        self.live = live
        self.snapshot = snapshot
        self.problem = problem
        self.path: Mapping[str, str] = path or {}

    @property
    def of_demo(self) -> bool:
        """Whether these are the data of `gtm demo`, which a command finds with `--demo`."""
        return is_demo(self.settings.state_dir)

    @cached_property
    def idle_filters(self) -> list[tuple[str, str]]:
        """Name and value of what the address selects and no chart of this page asks for: its figures are of all."""
        filters = [(name, getattr(self.selection, name)) for name in NAMES]
        asked = "".join(chart.text for chart in self.screen.charts)
        return [(name, value) for name, value in filters if value is not None and asked and f"${name}" not in asked]

    @cached_property
    def now(self) -> datetime:
        """The moment of this page, UTC."""
        return now()

    def panel(self, name: str) -> Panel:
        """The chart of this screen with that name."""
        chart = next(each for each in self.screen.charts if each.name == name)
        statement = chart.statement(self.selection)
        links = {
            kind: self.selection.url(f"/chart/{name}{end}")
            for kind, end in (("CSV", ".csv"), ("SVG", ".svg"), ("JSON", ".json"), ("SQL", "/sql"))
            if kind != "SVG" or chart.draw is not None
        }
        try:
            rows = self.rows(statement)
        except UnavailableError as error:
            return Panel(chart, statement, links, notice=error.notice)
        pictures = [Markup(svg) for svg in chart.pictures(rows, self.selection)]  # noqa: S704 - charts/ escape every text
        svg, small, *_ = (*pictures, None, None)
        return Panel(chart, statement, links, rows, svg, small)

    def rows(self, statement: str) -> Rows:
        """The rows of a statement of this repository. Raises UnavailableError."""
        if self.snapshot is None:
            raise UnavailableError(self.problem or Notice("There is no serving copy.", "gtm refresh"))
        return self.snapshot.rows(statement)

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor on the published tables. Raises UnavailableError."""
        if self.snapshot is None:
            raise UnavailableError(self.problem or Notice("There is no serving copy.", "gtm refresh"))
        with self.snapshot.reading() as cursor:
            yield cursor

    def url(self, path: str | None = None, **changes: str | None) -> str:
        """A page (None: this one) with the parameters of this one, some of them changed."""
        return self.selection.url(self.screen.path if path is None else path, **changes)

    def elsewhere(self, path: str, **changes: str | None) -> str:
        """Another screen with the parameters of this one that every screen knows, some of them changed."""
        own = dict.fromkeys(self.screen.more)
        return self.selection.url(path, **{**own, **changes})

    def dagster(self, table: str) -> str:
        """The page of a table's asset in Dagster's web UI."""
        return f"{self.settings.dashboard.dagster_url.rstrip('/')}/assets/{table.replace('.', '/')}"
