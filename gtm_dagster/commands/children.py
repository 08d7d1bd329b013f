"""Child processes that end together by one Ctrl-C; one that ends by itself is started again after a pause."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

from gtm_dagster.commands.output import note

GRACE_SECONDS = 20.0


@dataclass(frozen=True)
class Restarts:
    """Seconds: the first pause, which doubles up to the longest, while a child ends within `soon` of its start.

    One that ends so `most` times in a row is given up.
    """

    first: float = 1.0
    longest: float = 30.0
    soon: float = 30.0
    most: int = 4

    def pause(self, failures: int) -> float:
        """Before the next start, after so many ends in a row that came soon (1 for any other end)."""
        return float(min(self.first * 2 ** (failures - 1), self.longest))


class Child:
    """One process and the command that starts it again."""

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str], folder: Path) -> None:
        self.name = name
        self._start = lambda: subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, *command], env=environment, cwd=folder, start_new_session=True
        )
        self.failures = 0
        self.due: float | None = None
        self.start()

    def start(self) -> None:
        """Start it; not while it runs."""
        self.due, self.began = None, time.monotonic()
        self.process = self._start()

    def ended(self, restarts: Restarts) -> float | None:
        """Note its end: seconds until the next start, None when it is given up."""
        lived = time.monotonic() - self.began
        self.failures = self.failures + 1 if lived < restarts.soon else 1
        if lived < restarts.soon and self.failures >= restarts.most:
            return None
        pause = restarts.pause(self.failures)
        self.due = time.monotonic() + pause
        return pause


class Children:
    """`with Children(environment) as children:`; on the way out each gets SIGINT, and SIGKILL after the grace.

    Each child leads a process group of its own: the terminal's Ctrl-C reaches it once, through this process, and its own
    children end with it.
    """

    def __init__(self, environment: dict[str, str], restarts: Restarts | None = None) -> None:
        self._environment = environment
        self._restarts = restarts or Restarts()
        self._children: list[Child] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._wake = threading.Event()
        self._asked = False

    def __enter__(self) -> Children:
        self._before = {s: signal.signal(s, self._stop) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        self._wake.set()

    def start(self, name: str, arguments: Sequence[str], folder: Path) -> None:
        """Start `python ARGUMENTS` in `folder`."""
        child = Child(name, arguments, self._environment, folder)
        self._children.append(child)
        self._follow(child.process)

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        self._processes.append(process)
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._wake.set()

    def wait(self) -> int:
        """Keep the children running until Ctrl-C (returns 0) or until one is given up (returns 1, with a note)."""
        while not self._asked:
            self._wake.clear()
            for child in self._children:
                if child.due is None and child.process.poll() is not None and not self._asked:
                    how = how_it_ended(child.process.returncode)
                    pause = child.ended(self._restarts)
                    if pause is None:
                        note(
                            f"{child.name} {how}, {child.failures} times in a row within {self._restarts.soon:g} s of "
                            "its start; stopping the rest. Its own lines above say why"
                        )
                        return 1
                    note(f"{child.name} {how}; starting it again in {pause:g} s")
                elif child.due is not None and child.due <= time.monotonic():
                    child.start()
                    self._follow(child.process)
                    note(f"{child.name} started again")
            due = [child.due for child in self._children if child.due is not None]
            self._wake.wait(max(min(due) - time.monotonic(), 0.0) if due else None)
        return 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            _signal(process, signal.SIGINT)
        for process in self._processes:
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            _signal(process, signal.SIGKILL)
            process.wait()
        for number, handler in self._before.items():
            signal.signal(number, handler)


def how_it_ended(code: int) -> str:
    """An exit code in words; a negative one is a signal's number."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return
