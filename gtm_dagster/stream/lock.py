"""One stream worker: a kernel lock (`flock`) on `stream.lock` in the state directory, dropped when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gtm_dagster.settings import Settings


class WorkerRunningError(Exception):
    """Another stream worker counts for this deployment; the message names it."""


class StreamLock:
    """`with StreamLock(state_dir).held("gtm stream"): ...`"""

    def __init__(self, state_dir: Path) -> None:
        self.path = Path(state_dir) / "stream.lock"

    def holder(self) -> str:
        """Who wrote the lock file last, as `pid 123 (gtm stream)`."""
        try:
            told = json.loads(self.path.read_text())
            return f"pid {told['pid']} ({told['owner']})"
        except (OSError, ValueError, KeyError):
            return "an unknown process"

    @contextmanager
    def held(self, owner: str, timeout_s: float = 2.0) -> Iterator[None]:
        """Hold the lock; raises WorkerRunningError after `timeout_s` seconds of waiting."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + timeout_s
        with self.path.open("a+") as handle:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise WorkerRunningError(
                            f"a stream worker runs already: {self.holder()}; stop it first, or leave the work to it"
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


def worker_running(settings: Settings) -> bool:
    """Whether a stream worker counts for this deployment on this machine."""
    try:
        with StreamLock(settings.state_dir).path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
