"""Child processes that end together: one Ctrl-C, or the end of any of them, ends all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType

from gtm_dagster.commands.output import note

GRACE_SECONDS = 20.0


class Children:
    """`with Children(environment) as children:`; on the way out each gets SIGINT, and SIGKILL after the grace.

    Each child leads a process group of its own: the terminal's Ctrl-C reaches it once, through this process, and its own
    children end with it.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}
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
        process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, *arguments], env=self._environment, cwd=folder, start_new_session=True
        )
        self._running[name] = process
        threading.Thread(target=self._watch, args=(process,), daemon=True).start()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._wake.set()

    def wait(self) -> int:
        """Wait for Ctrl-C (returns 0) or for the end of a child (returns 1, with a note that names it)."""
        self._wake.wait()
        for name, process in self._running.items():
            if process.poll() is not None and not self._asked:
                note(f"{name} ended with code {process.returncode}; stopping the rest")
        return 0 if self._asked else 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running.values():
            _signal(process, signal.SIGINT)
        for process in self._running.values():
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            _signal(process, signal.SIGKILL)
            process.wait()
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return
