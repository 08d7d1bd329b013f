"""Processes an experiment starts and ends: each leads a group of its own, and only these groups are signalled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

GRACE_SECONDS = 30.0


class Child:
    """`python ARGUMENTS` in a process group of its own; its output goes to two files beside each other.

    `with Child(...) as child:` kills whatever is left of the group on the way out.
    """

    def __init__(self, arguments: Sequence[str], environment: dict[str, str], folder: Path, output: Path) -> None:
        output.parent.mkdir(parents=True, exist_ok=True)
        self.out_path, self.err_path = output.with_suffix(".out"), output.with_suffix(".err")
        self.started = time.monotonic()
        with self.out_path.open("wb") as out, self.err_path.open("wb") as err:
            self._process = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, *arguments],
                stdout=out, stderr=err, env=environment, cwd=folder, start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Its process id, which is that of its group too."""
        return self._process.pid

    @property
    def out(self) -> str:
        """What it wrote to stdout."""
        return self.out_path.read_text(errors="replace")

    @property
    def err(self) -> str:
        """What it wrote to stderr."""
        return self.err_path.read_text(errors="replace")

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def seconds(self) -> float:
        """Since it was started."""
        return time.monotonic() - self.started

    def wait(self, seconds: float) -> int | None:
        """Its exit code, None when it still runs after `seconds`."""
        try:
            return self._process.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> bool:
        """kill -9 of the whole group; whether the child itself was still running."""
        alive = self.running()
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self._process.wait()
        return alive

    def stop(self, number: signal.Signals = signal.SIGTERM, grace: float = GRACE_SECONDS) -> int | None:
        """Ask it to end; its exit code, None when it had to be killed after `grace` seconds."""
        if self.running():
            self._process.send_signal(number)
        code = self.wait(grace)
        self.kill()
        return code


def until(condition: Callable[[], bool], seconds: float, every: float = 0.02) -> bool:
    """Wait for `condition`; False when it did not come true within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


def descendants(pid: int) -> dict[int, str]:
    """Processes below `pid`: their ids and command lines. Empty where the system shows neither /proc nor ps."""
    table = _from_proc() if Path("/proc/self/stat").exists() else _from_ps()
    below: dict[int, str] = {}
    front = {pid}
    while front:
        front = {child for child, (parent, _) in table.items() if parent in front and child not in below}
        below.update({child: table[child][1] for child in front})
    return below


def _from_proc() -> dict[int, tuple[int, str]]:
    table = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(errors="replace")
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state != "Z":
                table[int(entry.name)] = (int(parent), line)
    return table


def _from_ps() -> dict[int, tuple[int, str]]:
    try:
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,command="], capture_output=True, text=True, check=True)  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return {}
    rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
    return {int(row[0]): (int(row[1]), row[2] if len(row) > 2 else "") for row in rows}
