"""One writer: a kernel lock (`flock`) on `warehouse.lock` in the state directory.

The kernel drops it when the holder dies, however it dies, so nothing is left to clean. The file's text names the
holder for whoever waits.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class LockHeldError(Exception):
    """Somebody else writes the warehouse; the message names pid and purpose of the holder."""


class WarehouseLock:
    """`with WarehouseLock(state_dir).held("gtm refresh", timeout_s=30): ...`"""

    def __init__(self, state_dir: Path) -> None:
        self.path = Path(state_dir) / "warehouse.lock"

    def holder(self) -> str:
        """Who wrote the lock file last, as `pid 123 (gtm refresh)`."""
        try:
            told = json.loads(self.path.read_text())
            return f"pid {told['pid']} ({told['owner']})"
        except (OSError, ValueError, KeyError):
            return "an unknown process"

    @contextmanager
    def held(self, owner: str, timeout_s: float) -> Iterator[None]:
        """Hold the lock; raises LockHeldError after `timeout_s` seconds of waiting."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + timeout_s
        with self.path.open("a+") as handle:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise LockHeldError(
                            f"the warehouse is being written by {self.holder()}; waited {timeout_s:g} s. "
                            "Try again when it has finished, or raise refresh.lock_timeout_seconds."
                        ) from None
                    time.sleep(0.1)
            handle.seek(0)
            handle.truncate()
            handle.write(json.dumps({"pid": os.getpid(), "owner": owner}))
            handle.flush()
            try:
                yield
            finally:
                fcntl.flock(handle, fcntl.LOCK_UN)
