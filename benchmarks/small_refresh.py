"""What a refresh costs by what is new: nothing, a thousand events, a day; beside a rebuild. By Dagster, with checks and serving copy.

`python -m benchmarks.small_refresh --events 10000000 [--days 30] [--times 5] [--folder DIR]`
Medians of `--times` refreshes (of two days, of one rebuild). Warm: in a process that has refreshed before. Cold: `gtm refresh`
as a command. Prints a Markdown table. `--folder` keeps the deployment, and goes on with one that it finds there.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measuring import Cost, Meter, cpu_seconds, machine, run_apart, table
from benchmarks.spine import PACKAGES, environ_of, settings_of, step_import, step_simulate

_ROOT = Path(__file__).parents[1]
_SMALL = 1_000


def prepare(folder: Path, events: int, days: int, times: int) -> None:
    """A deployment that holds all but the last two days, and files of what comes after them."""
    import pyarrow.parquet as pq

    meter = Meter()
    step_simulate(folder, meter, events, days, 0)
    last = pq.read_table(folder / "day-2.parquet")
    kept = last.num_rows - times * _SMALL
    pq.write_table(last.slice(0, kept), folder / "day-2.parquet")
    for number in range(times):
        pq.write_table(last.slice(kept + number * _SMALL, _SMALL), folder / f"small-{number}.parquet")
    step_import(folder, meter, "history")
    (folder / "gtm.toml").write_text("")
    _refresh(folder)
    (folder / "prepared").touch()


def _refresh(folder: Path, full: bool = False) -> None:
    from gtm_dagster.definitions import build_defs
    from gtm_dagster.orchestration.refresh_run import run_refresh

    result = run_refresh(settings_of(folder), build_defs, full=full)
    assert result.ok, result.error or [check for check in result.checks if not check.passed]


def _land(folder: Path, name: str) -> None:
    step_import(folder, Meter(), name)


def _yesterday(folder: Path) -> None:
    """As if the checks had looked at everything on the day before."""
    from gtm_dagster.warehouse.engine import opened

    settings = settings_of(folder)
    with opened(settings.warehouse_path, settings) as con:
        con.execute("UPDATE meta.checks SET whole_at = whole_at - INTERVAL 1 DAY")


def _median(title: str, works: list[tuple[Callable[[], Any], Callable[[], Any]]], rows: int = 0) -> Cost:
    """Medians of wall and CPU seconds of the second of each pair; the first makes ready for it."""
    walls, cpus = [], []
    for make_ready, work in works:
        make_ready()
        wall, cpu = time.perf_counter(), cpu_seconds()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(cpu_seconds() - cpu)
    spread = f"median of {len(works)}; wall {min(walls):.2f} to {max(walls):.2f}" if len(works) > 1 else ""
    return Cost(title, statistics.median(walls), statistics.median(cpus), 0.0, rows, spread)


def measured(folder: Path, times: int) -> list[Cost]:
    """The rows of the table, in a process that has refreshed before."""

    def nothing() -> None:
        return None

    def refresh() -> None:
        _refresh(folder)

    refresh()
    costs = [
        _median("warm, nothing new", [(nothing, refresh)] * times),
        _median("warm, nothing new, first of a UTC day: checks over everything", [(lambda: _yesterday(folder), refresh)]),
        _median("cold, nothing new: `gtm refresh`", [(nothing, lambda: _command(folder))] * times),
        _median(
            "warm, a day more",
            [(lambda day=day: _land(folder, day), refresh) for day in ("day-1", "day-2")],
        ),
        _median(
            f"warm, {_SMALL:,} events more",
            [(lambda number=number: _land(folder, f"small-{number}"), refresh) for number in range(times)],
        ),
        _median("warm, everything anew: `--full`", [(nothing, lambda: _refresh(folder, full=True))]),
    ]  # fmt: skip
    day, rebuild = costs[3], costs[5]
    note = f"a day is 1/{rebuild.cpu / day.cpu:.1f} of it in CPU, 1/{rebuild.wall / day.wall:.1f} in wall"
    costs[5] = Cost(rebuild.title, rebuild.wall, rebuild.cpu, 0.0, 0, note)
    return costs


def _command(folder: Path) -> None:
    environ = {**os.environ, **environ_of(folder), "GTM_CONFIG": str(folder / "gtm.toml"), "PYTHONPATH": str(_ROOT)}
    subprocess.run(
        [sys.executable, "-m", "gtm_dagster.cli", "refresh"], env=environ, cwd=_ROOT, check=True, capture_output=True
    )


def main() -> None:
    """Prepare, measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--events", type=int, default=300_000)
    options.add_argument("--days", type=int, default=30)
    options.add_argument("--times", type=int, default=5)
    options.add_argument("--folder", type=Path)
    options.add_argument("--step", choices=("prepare", "measure"), help=argparse.SUPPRESS)
    values = options.parse_args()
    if values.step == "prepare":
        prepare(values.folder, values.events, values.days, values.times)
        return
    if values.step == "measure":
        meter = Meter()
        meter.costs = measured(values.folder, values.times)
        meter.finish()
        return
    about = machine(PACKAGES)
    with tempfile.TemporaryDirectory(prefix="gtm-bench-") as temporary:
        folder = values.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        apart = ["-m", "benchmarks.small_refresh", "--folder", str(folder), "--times", str(values.times)]
        if not (folder / "prepared").exists():
            run_apart([*apart, "--step", "prepare", "--events", str(values.events), "--days", str(values.days)])
        costs = run_apart([*apart, "--step", "measure"])
    print(f"\n{values.events:,} events of {values.days} days; {about}\n")
    print(table(costs))


if __name__ == "__main__":
    main()
