"""How a process ends that has served by granian: without the interpreter's own end."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

_TASKS = Path("/proc/self/task")
_WAIT_SECONDS, _LOOK_SECONDS = 2.0, 0.005
_WITHOUT_TASKS_SECONDS = 0.1


def leave_process(code: int) -> NoReturn:
    """Run what waits for the exit, flush, and end with `code`.

    A thread of the server that asks for the interpreter while it is being taken down aborts the process (Rust cannot be
    unwound; until Python 3.14 there is no other answer for such a thread), so that an orderly stop ends with code -6.
    """
    atexit._run_exitfuncs()  # as the interpreter does first
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads it any more
    os._exit(code)


@contextmanager
def threads_end() -> Iterator[None]:
    """Wait after the block until the threads that began within it are gone, at most two seconds.

    For a server in the process of somebody else, whose end is not ours to choose.
    """
    before = _foreign_threads()
    try:
        yield
    finally:
        if not _TASKS.is_dir():
            time.sleep(_WITHOUT_TASKS_SECONDS)
        until = time.monotonic() + _WAIT_SECONDS
        while _foreign_threads() - before and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)


def _foreign_threads() -> set[str]:
    """Ids of the threads of this process that Python did not begin; none where the system does not list threads."""
    try:
        tasks = {entry.name for entry in _TASKS.iterdir()}
    except OSError:
        return set()
    return tasks - {str(thread.native_id) for thread in threading.enumerate()}
