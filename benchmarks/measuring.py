"""Wall seconds, CPU seconds (children included) and peak memory of one piece of work, each step in a process of its own."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

_MARK = "measured: "


@dataclass(frozen=True)
class Cost:
    """One row of the table: seconds of wall and CPU, peak resident memory of its process in GB, rows it worked on."""

    title: str
    wall: float
    cpu: float
    peak_gb: float
    rows: int = 0
    told: str = ""


def cpu_seconds() -> float:
    """User and system seconds of this process and of the children it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


class Meter:
    """Collects costs inside one process; `finish` hands them to the process that started it."""

    def __init__(self) -> None:
        self.costs: list[Cost] = []

    @contextmanager
    def measured(self, title: str, rows: int = 0) -> Iterator[list[str]]:
        """Cost of the body; texts put into the list it yields stand beside the figures."""
        told: list[str] = []
        wall, cpu = time.perf_counter(), cpu_seconds()
        yield told
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        self.costs.append(Cost(title, wall, cpu, peak, rows, "; ".join(told)))

    def work(self, title: str, body: Callable[[], Any], rows: int = 0) -> Any:
        """`measured` around one call; returns its result."""
        with self.measured(title, rows):
            return body()

    def finish(self) -> None:
        """Print the costs for the parent process."""
        for cost in self.costs:
            print(_MARK + json.dumps(asdict(cost)), flush=True)


def run_apart(
    arguments: Sequence[str], python: str = sys.executable, environ: dict[str, str] | None = None
) -> list[Cost]:
    """Run `python ARGUMENTS` and return what its Meter measured. Raises RuntimeError with the end of its output."""
    done = subprocess.run(
        [python, *arguments], capture_output=True, text=True, env={**os.environ, **(environ or {})}, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments[:4])} failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    return [Cost(**json.loads(line[len(_MARK) :])) for line in done.stdout.splitlines() if line.startswith(_MARK)]


def table(costs: Sequence[Cost]) -> str:
    """The costs as a Markdown table."""
    lines = ["| step | wall s | CPU s | peak GB | rows/s | |", "|---|---:|---:|---:|---:|---|"]
    for cost in costs:
        speed = f"{cost.rows / cost.wall:,.0f}" if cost.rows and cost.wall else ""
        lines.append(
            f"| {cost.title} | {cost.wall:.2f} | {cost.cpu:.2f} | {cost.peak_gb:.2f} | {speed} | {cost.told} |"
        )
    return "\n".join(lines)


def machine(packages: Sequence[str]) -> str:
    """Processor, cores, memory, load, versions and date in a line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{model}, {os.cpu_count()} cores, {memory:.0f} GB, load at the start {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, {versions}; {time.strftime('%Y-%m-%d', time.gmtime())}"
    )
