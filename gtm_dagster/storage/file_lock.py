"""One holder at a time: `flock` on a file. The kernel drops it when the holder dies, however it dies, so nothing is left
to clean; where the file's text names the holder, whoever waits can say so.

Light: programs that embed the tracker or the gate import it, and `fcntl` only when they lock something.
"""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gtm_dagster.storage.private_dir import private_dir

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.1


class FileLock:
    """The lock on the file at `path`, which is made with `mode` and stays. OSError when it cannot be opened.

    Open for reading and writing, as a shared lock on NFS needs it.
    """

    def __init__(self, path: Path, mode: int = 0o666) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, mode)

    def take(self, timeout_s: float | None = None, *, shared: bool = False) -> bool:
        """Take the lock, or change it from exclusive to shared; False when others kept it for `timeout_s` seconds.

        None waits for ever, 0 does not wait.
        """
        import fcntl  # here: there is none on Windows, and a program that locks nothing runs without

        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        if timeout_s is None:
            fcntl.flock(self.descriptor, kind)
            return True
        deadline = time.monotonic() + timeout_s
        pause = _FIRST_PAUSE_S
        while True:
            try:
                fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                return True

    def close(self) -> None:
        """Give the lock back, also when a forked child shares the descriptor."""
        import fcntl

        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class KernelLock(ABC):
    """`with lock.hold("gtm refresh", timeout_s=30): ...`"""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def refusal(self, timeout_s: float) -> Exception:
        """What `hold` raises when it has waited in vain."""

    def holder(self) -> str:
        """Who wrote the lock file last, as `pid 123 (gtm refresh)`."""
        try:
            document = json.loads(self.path.read_text())
            return f"pid {document['pid']} ({document['owner']})"
        except (OSError, ValueError, KeyError):
            return "an unknown process"

    @contextmanager
    def hold(self, owner: str, timeout_s: float) -> Iterator[None]:
        """Hold the lock as `owner`; raises `refusal` after `timeout_s` seconds of waiting."""
        private_dir(self.path.parent)
        with FileLock(self.path) as lock:
            if not lock.take(timeout_s):
                raise self.refusal(timeout_s)
            os.ftruncate(lock.descriptor, 0)
            os.pwrite(lock.descriptor, json.dumps({"pid": os.getpid(), "owner": owner}).encode(), 0)
            yield

    def taken(self) -> bool:
        """Whether somebody holds it now."""
        if not self.path.exists():
            return False
        with FileLock(self.path) as lock:
            return not lock.take(0, shared=True)
