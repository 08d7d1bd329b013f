"""`gtm demo`: planted traffic through the whole pipeline, most as history and the last part live, with a report; then
a drill of the guard. All of it in the demo's own state directory (deployment.py).

demo/demo.json in that directory records what was simulated and sent, so that running the demo again sends nothing
twice and shows the same figures.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace
from pyarrow import parquet
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from gtm_dagster.demo.canary import DrillError, drill_lines, run_drill
from gtm_dagster.demo.comparison import compare
from gtm_dagster.demo.deployment import DemoError, OtherDataError, refuse_other_data
from gtm_dagster.demo.live import WRITE_KEY, collector, live_rows, send_live
from gtm_dagster.demo.report import Refreshed, print_checks, print_report, print_rules
from gtm_dagster.demo.rules_replay import pass_over, replay_rules
from gtm_dagster.eventlog import open_log
from gtm_dagster.importing import import_file
from gtm_dagster.privacy.consent import consent_policy
from gtm_dagster.privacy.pseudonyms import Pseudonymizer, load_or_create_key
from gtm_dagster.privacy.sealing import Sealer
from gtm_dagster.settings import Settings
from gtm_dagster.settings.demo_folder import MEMORY
from gtm_dagster.simulator.plain_windows import plain_windows
from gtm_dagster.simulator.traffic import Traffic, simulate
from gtm_dagster.storage.atomic_write import write_whole
from gtm_dagster.storage.private_dir import private_dir
from gtm_dagster.taxonomy import load_plan
from gtm_dagster.warehouse.landing import Landing


@dataclass
class Steps:
    """How long each step took, in seconds, and the progress bars that show it."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, title: str, total: float | None = None) -> Iterator[Any]:
        """Time a step; yields a function that shows the progress (done, and of how much)."""
        task = self.progress.add_task(title, total=total)
        begin = time.perf_counter()

        def tell(done: float, of: float | None = None) -> None:
            self.progress.update(task, completed=done, total=of or total)

        yield tell
        self.seconds[title] = time.perf_counter() - begin
        self.progress.update(task, total=1, completed=1)


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of demo.json: the arguments, the moment the traffic ends, and whether the live part was sent."""

    events: int
    days: int
    seed: int
    end: datetime
    live_sent: bool = False


def remember(folder: Path, events: int, days: int, seed: int) -> Memory:
    """The memory of the demo in `folder`; a new one, whose traffic ends at the present second, if there is none.

    Raises OtherDataError for a demo of other arguments, DemoError for a file that is not a demo's memory.
    """
    file = folder / "demo.json"
    if not file.exists():
        memory = Memory(events, days, seed, datetime.now(UTC).replace(microsecond=0))
        save(folder, memory)
        return memory
    try:
        memory = msgspec.json.decode(file.read_bytes(), type=Memory)
    except msgspec.DecodeError as error:
        raise DemoError(
            f"{file}: is not a demo's memory ({error}); remove the folder {folder.parent} to start anew"
        ) from None
    was, now = (memory.events, memory.days, memory.seed), (events, days, seed)
    if was != now:
        raise OtherDataError(
            f"{folder.parent} holds a demo of {was[0]} events, {was[1]} days, seed {was[2]}; "
            f"asked for {now[0]}, {now[1]}, {now[2]}. Remove that folder, or use another GTM_STATE_DIR."
        )
    return memory


def save(folder: Path, memory: Memory) -> None:
    """Write demo.json so that a crash leaves the old one or the new one."""
    write_whole(folder / "demo.json", msgspec.json.format(msgspec.json.encode(memory)) + b"\n")


def run_demo(
    settings: Settings,
    refresh: Callable[[Settings], Refreshed],
    tick: Callable[[Settings], object],
    *,
    events: int = 60_000,
    days: int = 30,
    seed: int = 7,
    console: Console | None = None,
) -> int:
    """Simulate, import, send live, `refresh`, report, and drill the guard, whose sensor `tick` evaluates once.

    `settings` are the demo's (`deployment.demo_variables`). Exit code: 0 if every blocking check passed and the planted
    truth was found again, 1 if not, 2 for a state directory that holds other data or another demo.
    """
    console = console or Console(width=None if sys.stdout.isatty() else 118)
    folder = (settings.state_dir / MEMORY).parent
    bars = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(), console=console,
    )  # fmt: skip
    steps = Steps(bars)
    try:
        refuse_other_data(settings.state_dir)
        private_dir(folder)
        console.print(f"The demo's state directory is {settings.state_dir}; no other data is touched.", soft_wrap=True)
        memory = remember(folder, events, days, seed)
        with bars:
            traffic = make_traffic(settings, folder, memory, steps)
            import_history(settings, folder, steps)
            if memory.live_sent:
                console.print(
                    f"The live part was sent when this demo first ran ({folder / 'demo.json'}).", soft_wrap=True
                )
            else:
                amount = live_rows(memory.events)
                with collector(settings, steps.step("start the collector")) as endpoint:
                    with steps.step("send live events over HTTP", amount) as tell:
                        send_live(endpoint, traffic, amount, tell)
                save(folder, replace(memory, live_sent=True))
            with steps.step("run the rules over the last days"), open_log(settings) as log:
                starts = replay_rules(settings, load_plan(settings.plan_file), log)
            with steps.step("materialise every asset (Dagster)"):
                result = refresh(settings)
    except DemoError as error:
        console.print(f"[red]{error}[/red]", soft_wrap=True)
        return 2 if isinstance(error, OtherDataError) else 1
    if not result.ok and (result.error or not settings.serving_path.exists()):
        console.print(
            f"[red]the refresh failed:[/red] {result.error or 'a blocking check did not pass'}", soft_wrap=True
        )
        print_checks(console, result)
        return 1
    comparisons = compare(settings, traffic.truth, duplicates_at_the_edge(settings))
    print_report(console, settings, traffic.truth, comparisons, result, steps.seconds)
    print_rules(console, starts)
    drilled = drill_the_guard(settings, console, tick)
    with open_log(settings) as log:
        pass_over(settings, log)
    return 0 if drilled and result.ok and all(comparison.ok for comparison in comparisons) else 1


def drill_the_guard(settings: Settings, console: Console, tick: Callable[[Settings], object]) -> bool:
    """A drill of the guard in the demo's deployment; prints it and returns whether the flag is off.

    The drill's events are counted by the guard and kept by no table, so the figures above stay as they are.
    """
    alone = replace(settings, guards=(), providers=(), notify=(), ops_url=None)
    console.print()
    try:
        with console.status("guard drill: synthetic visitors on a canary flag, a planted drop of 60 %"):
            drill = run_drill(alone, tick)
    except DrillError as error:
        console.print(f"[red]the guard drill failed:[/red] {error}", soft_wrap=True)
        return False
    console.print(
        "Guard drill: a broken flow is found and its flag turned off, through the whole real path", style="bold"
    )
    for line in drill_lines(drill):
        console.print(line, highlight=False, soft_wrap=True)
    console.print("  what it left: `gtm guard status --demo`, and the page Rollouts", highlight=False, soft_wrap=True)
    return drill.verified and drill.served_new_after == 0


def make_traffic(settings: Settings, folder: Path, memory: Memory, steps: Steps) -> Traffic:
    """Simulate, and write the history and the truth into `folder` (the same bytes every time)."""
    windows = plain_windows(settings)
    with steps.step("simulate history and planted truth"):
        # One day more than asked: the first and the last day are not full, and the history gate counts full days.
        traffic = simulate(memory.events, memory.days + 1, memory.seed, memory.end, windows=windows)
        history = traffic.events.slice(0, memory.events - live_rows(memory.events))
        parquet.write_table(history, folder / "history.parquet", compression="zstd", row_group_size=16_384)
        (folder / "truth.json").write_bytes(msgspec.json.format(msgspec.json.encode(traffic.truth)) + b"\n")
    return traffic


def import_history(settings: Settings, folder: Path, steps: Steps) -> None:
    """Import the history; a file that is already there changes nothing."""
    key = load_or_create_key(settings.keys_dir, settings.privacy.pseudonym_key)
    with steps.step("import history") as tell:
        import_file(
            folder / "history.parquet",
            landing=Landing(settings.landing_dir),
            plan=load_plan(settings.plan_file),
            pseudonymize=Pseudonymizer(key),
            sealer=Sealer(key),
            write_key=WRITE_KEY,
            consent=consent_policy(settings.privacy.consent),
            undeclared_text=settings.privacy.undeclared_text,
            mapping=None,
            progress=tell,
        )


def duplicates_at_the_edge(settings: Settings) -> int:
    """Events the collector answered `duplicate` to; they are counted and not stored."""
    with open_log(settings) as log:
        return sum(statuses.get("duplicate", 0) for statuses in log.edge_counts().values())
