"""One holder at a time: `flock` on a file. The kernel drops it when the holder dies, however it dies, so nothing is left
to clean; the file's text names the holder for whoever waits.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class KernelLock(ABC):
    """`with lock.held("gtm refresh", timeout_s=30): ...`"""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def refusal(self, timeout_s: float) -> Exception:
        """What `held` raises when it has waited in vain."""

    def holder(self) -> str:
        """Who wrote the lock file last, as `pid 123 (gtm refresh)`."""
        try:
            told = json.loads(self.path.read_text())
            return f"pid {told['pid']} ({told['owner']})"
        except (OSError, ValueError, KeyError):
            return "an unknown process"

    @contextmanager
    def held(self, owner: str, timeout_s: float) -> Iterator[None]:
        """Hold the lock as `owner`; raises `refusal` after `timeout_s` seconds of waiting."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + timeout_s
        with self.path.open("a+") as handle:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise self.refusal(timeout_s) from None
                    time.sleep(0.1)
            handle.seek(0)
            handle.truncate()
            handle.write(json.dumps({"pid": os.getpid(), "owner": owner}))
            handle.flush()
            try:
                yield
            finally:
                fcntl.flock(handle, fcntl.LOCK_UN)

    def taken(self) -> bool:
        """Whether somebody holds it now."""
        try:
            with self.path.open("rb") as handle:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False
