"""A small disk for `fill_disk`: a tmpfs in a private mount namespace, gone with its last process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEGABYTES = 96
"""Of memory the disk takes at most; everything of the experiment but its output is on it."""


def namespace_command() -> list[str] | None:
    """What to put before a command so that it may mount a disk only it sees; None where that is not allowed."""
    unshare = shutil.which("unshare")
    if unshare is None or not sys.platform.startswith("linux"):
        return None
    for options in (["--mount"], ["--mount", "--map-root-user"]):
        command = [unshare, *options]
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command
                [*command, "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/mnt"],
                capture_output=True, timeout=30, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return command
    return None


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Mount MEGABYTES of tmpfs at `folder`; only inside a namespace made by `namespace_command`."""
    folder.mkdir(parents=True)
    size = f"size={MEGABYTES}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True, timeout=30)  # noqa: S603, S607
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, timeout=30)  # noqa: S603, S607


class Disk:
    """`fill` takes all the room there is and whatever is freed meanwhile, until `empty`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        self._enough = threading.Event()
        self._thread: threading.Thread | None = None

    def fill(self) -> None:
        """Full when this returns, and kept full."""
        self._enough.clear()
        self._take()
        self._thread = threading.Thread(target=self._keep_full, daemon=True)
        self._thread.start()

    def empty(self) -> None:
        """There is room again."""
        self._enough.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._ballast.unlink(missing_ok=True)

    def free(self) -> int:
        """Bytes that can still be written."""
        usage = os.statvfs(self.folder)
        return usage.f_bavail * usage.f_frsize

    def _keep_full(self) -> None:
        while not self._enough.wait(0.001):
            self._take()

    def _take(self) -> None:
        handle = os.open(self._ballast, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            while (room := self.free()) > 0:
                try:
                    os.posix_fallocate(handle, os.fstat(handle).st_size, room)
                except OSError:
                    return
        finally:
            os.close(handle)
