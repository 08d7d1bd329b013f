"""Makes pages and charts of a request's path and parameters: text in, text out, nothing of HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gtm_dagster.dashboard import page_text
from gtm_dagster.dashboard.choices_there import Choices, choices_in, newest_day, shown
from gtm_dagster.dashboard.data_ages import DataAges
from gtm_dagster.dashboard.downloads import as_csv, as_json
from gtm_dagster.dashboard.live_store import LiveStore
from gtm_dagster.dashboard.notices import NotFoundError, Notice, UnavailableError
from gtm_dagster.dashboard.parameters import plain_number, selected
from gtm_dagster.dashboard.screen import Screen, charts, screens
from gtm_dagster.dashboard.snapshots import Identity, Snapshot, Snapshots
from gtm_dagster.dashboard.view import View
from gtm_dagster.reports.command_lines import command_line
from gtm_dagster.reports.number_text import counted, signed, window_text
from gtm_dagster.settings.demo_folder import is_demo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gtm_dagster.settings import Settings

Given = Sequence[tuple[str, str]]
FORMATS = {
    "csv": "text/csv; charset=utf-8; header=present",
    "json": "application/json",
    "svg": "image/svg+xml",
    "sql": "text/plain; charset=utf-8",
}
"""What a chart is given out as, and its media type."""


@dataclass(frozen=True)
class Download:
    """A chart to take away: its text and media type, and the name of the file."""

    text: str
    media_type: str
    file_name: str


@cache
def static_file(name: str) -> tuple[bytes, str]:
    """A file of static/ and the digest of its content, which stands in its address."""
    folder = resources.files("gtm_dagster.dashboard") / "static"
    content = (folder / name).read_bytes()
    if name == "dashboard.css":
        content += (folder / "charts.css").read_bytes()
    return content, hashlib.sha256(content).hexdigest()[:12]


@cache
def chart_style() -> str:
    """What a chart on its own needs of the style sheet: its colours and the rules of charts."""
    return static_file("charts.css")[0].decode()


class Pages:
    """The pages of a deployment; safe from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._snapshots = Snapshots(settings)
        self._live = LiveStore(settings)
        self._ages = DataAges(settings, self._live)
        self.of_demo = is_demo(settings.state_dir)
        self._templates = Environment(
            loader=PackageLoader("gtm_dagster.dashboard"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._templates.filters.update(
            moment=page_text.moment, coded=partial(page_text.coded, of_demo=self.of_demo), command=self.command, heading=page_text.heading, alike=page_text.alike, cell=page_text.cell, hours=window_text, shown=shown,
            amount=page_text.amount, money=page_text.money, signed=signed, counted=counted, share=lambda value: page_text.cell(value, "share"),
        )  # fmt: skip
        self._templates.globals.update(
            age=page_text.age, plain_number=plain_number, change=page_text.change, is_number=page_text.is_number, screens=screens(),
            style=static_file("dashboard.css")[1], from_us=page_text.from_us,
        )  # fmt: skip

    def command(self, words: str) -> str:
        """A command line as it works on the deployment shown; `words`: what is typed for the user's own."""
        return command_line(words, of_demo=self.of_demo)

    def page(self, screen: Screen, given: Given, path: Mapping[str, str] | None = None) -> str:
        """The HTML of a screen. Raises BadParameterError, and NotFoundError where a screen says so."""
        with self._view(screen, given, path) as view:
            missing = view.problem if screen.needs_tables else None
            context: dict[str, Any] = {} if missing else screen.context(view)
            ages = self._ages.ages(view.snapshot.published if view.snapshot else None)
            template = "missing.html" if missing else f"{screen.name}.html"
            return self._templates.get_template(template).render(
                view=view, screen=screen, notice=missing, ages=ages, **context
            )

    @property
    def published(self) -> Identity | None:
        """Which serving copy is published now; None without one."""
        return self._snapshots.published

    def conversion_types(self) -> list[str]:
        """The conversion types of the published tables, the default one first. Raises UnavailableError."""
        with self._snapshots.current() as snapshot:
            return choices_in(snapshot, self._settings).types

    def message(self, title: str, text: str, *, form: bool = False) -> str:
        """A page that says one thing; `form`: with the field for the token."""
        return self._templates.get_template("message.html").render(title=title, text=text, form=form)

    def download(self, name: str, kind: str, given: Given) -> Download:
        """A chart as csv, json, svg or sql. Raises BadParameterError, NotFoundError and UnavailableError."""
        found = charts().get(name)
        if found is None or kind not in FORMATS or (kind == "svg" and found[1].draw is None):
            forms = "csv, json, svg and sql" if found is None or found[1].draw else "csv, json and sql"
            known = f"there are {', '.join(sorted(charts()))}" if found is None else f"{name} is there as {forms}"
            raise NotFoundError(f"there is no chart /chart/{name} as {kind}; {known}")
        screen, chart = found
        with self._view(screen, given) as view:
            panel = view.panel(name)
            if kind == "sql":
                text = "".join(f"-- {line}\n" for line in chart.how.split("\n")) + panel.statement + "\n"
            elif panel.notice is not None or panel.rows is None:
                raise UnavailableError(panel.notice or Notice("There is no serving copy.", "gtm refresh"))
            elif kind == "svg":
                text = str(panel.svg).replace(">", f"><style>{chart_style()}</style>", 1) if panel.svg else EMPTY_SVG
            else:
                text = as_csv(panel.rows) if kind == "csv" else as_json(panel.rows)
            period = view.selection.period
            return Download(text, FORMATS[kind], f"{name}-{period.since}-{period.until}.{kind}")

    def answer(self, statement: str) -> Download:
        """The rows of a person's statement as CSV. Raises UnavailableError for one that does not only read."""
        with self._snapshots.current() as snapshot:
            return Download(
                as_csv(snapshot.asked(statement, self._settings.dashboard.query_rows)), FORMATS["csv"], "query.csv"
            )

    @contextmanager
    def _view(self, screen: Screen, given: Given, path: Mapping[str, str] | None = None) -> Iterator[View]:
        """A view over the file that is published now, or over none and why."""
        with ExitStack() as stack:
            snapshot: Snapshot | None = None
            problem: Notice | None = None
            try:
                snapshot = stack.enter_context(self._snapshots.current())
            except UnavailableError as error:
                problem = error.notice
            yield self._view_of(screen, given, snapshot, problem, path)

    def _view_of(
        self, screen: Screen, given: Given, snapshot: Snapshot | None, problem: Notice | None, path: Mapping[str, str] | None
    ) -> View:  # fmt: skip
        choices = choices_in(snapshot, self._settings) if snapshot else Choices()
        zone, unit = self._settings.report_timezone, self._settings.retention.unit
        newest = newest_day(snapshot, screen.newest, choices) if snapshot else None
        selection = selected(given, choices, zone, screen.more, unit, newest)
        return View(screen, self._settings, selection, choices, self._live, snapshot, problem, path)

    def close(self) -> None:
        """Give files and connections back."""
        self._snapshots.close()
        self._live.close()


EMPTY_SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 24"><text x="4" y="16" font-size="12">no rows</text></svg>'
