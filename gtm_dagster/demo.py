"""`gtm demo`: planted traffic through the whole pipeline, half live and half history, and what came out of it.

The state directory remembers in demo/demo.json what was simulated and how far the demo came, so that running it again
sends nothing twice and shows the same figures.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from gtm_dagster.demo_report import compare, print_report
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.orchestration.refresh import run_refresh
from gtm_dagster.settings import Attribution, Settings, Window

WRITE_KEY = "dev"
LIVE_EVENTS = 2_000
WINDOWS = (
    Window("first_touch", 72.0),
    Window("last_touch", 24.0),
    Window("linear", 168.0),
    Window("position_based", 168.0),
    Window("time_decay", 168.0),
)
READY_SECONDS = 30.0


class DemoError(Exception):
    """The demo cannot go on; the message says what happened and what to do."""


@dataclass
class Steps:
    """How long each step took, in seconds, and the progress bars that show it."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, title: str, total: float | None = None) -> Iterator[Any]:
        """Time a step; yields a function that tells the progress (done, total or None)."""
        task = self.progress.add_task(title, total=total)
        begin = time.perf_counter()

        def tell(done: float, of: float | None = None) -> None:
            self.progress.update(task, completed=done, total=of or total)

        yield tell
        self.seconds[title] = time.perf_counter() - begin
        self.progress.update(task, total=1, completed=1)


@dataclass(frozen=True)
class Memory:
    """What demo.json holds: the arguments, the moment the traffic ends, and whether the live part was sent."""

    events: int
    days: int
    seed: int
    end: str
    live_sent: bool = False


def demo_settings(settings: Settings) -> Settings:
    """The settings with the windows of the report, unless the deployment has chosen its own."""
    if settings.attribution.windows != Attribution().windows:
        return settings
    return msgspec.structs.replace(settings, attribution=msgspec.structs.replace(settings.attribution, windows=WINDOWS))


def run_demo(
    settings: Settings, *, events: int = 60_000, days: int = 30, seed: int = 7, console: Console | None = None
) -> int:
    """Simulate, import, send live, refresh, report. Exit code: 0 if every blocking check passed and the planted truth
    was found again, 1 if not, 2 for a state directory that holds another demo."""
    console = console or Console()
    settings = demo_settings(settings)
    folder = settings.state_dir / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        memory = remember(folder, events, days, seed)
    except DemoError as error:
        console.print(f"[red]{error}")
        return 2
    bars = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(),
        console=console, transient=True,
    )  # fmt: skip
    with bars:
        steps = Steps(bars)
        try:
            truth = _simulate(settings, folder, memory, steps)
            _import(settings, folder, steps)
            if not memory.live_sent:
                _send_live(settings, folder, steps)
                _save(folder, msgspec.structs.replace(memory, live_sent=True) if False else _sent(memory))
        except DemoError as error:
            console.print(f"[red]{error}")
            return 1
        with steps.step("materialise every asset"):
            result = run_refresh(settings)
    log = SqliteEventLog(settings.log_path)
    try:
        edge = sum(day.get("duplicate", 0) for day in log.edge_counts().values())
    finally:
        log.close()
    comparisons = compare(settings, truth, edge)
    print_report(console, settings, truth, comparisons, result, steps.seconds)
    return 0 if result.ok and all(comparison.ok for comparison in comparisons) else 1
