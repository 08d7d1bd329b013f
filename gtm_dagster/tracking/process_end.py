"""What becomes of the trackers of a process when it exits, forks or gets SIGTERM."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

EXIT_TIMEOUT = 5.0
"""Seconds all trackers of a process together may take to deliver what waits when it ends."""
_CLOSE_SECONDS = 0.5
_FINALIZER_PRIORITY = 100


class Ending(Protocol):
    """What a sender does at the end of its process."""

    def flush(self, timeout: float | None) -> bool:
        """Sends what waits."""
        ...

    def close(self, timeout: float) -> None:
        """Sends what waits, and nothing more afterwards."""
        ...

    def after_fork(self) -> None:
        """Begins anew in a forked child."""
        ...


_live: set[Ending] = set()
_previous: Any = None
"""The handler of SIGTERM that was there before ours."""
_is_ending = False
"""SIGTERM came, and the process has no handler of its own for it."""
_is_closing = False
"""The exit closes the trackers; when it is done, it ends the process with the signal that came meanwhile."""


def register(sender: Ending, *, handle_sigterm: bool) -> None:
    """Closes `sender` at the end of the process, unless it was closed before.

    `handle_sigterm` hooks SIGTERM where that is possible: in the main thread, and unless the process ignores the signal
    or its handler is not Python's.
    """
    _live.add(sender)
    if handle_sigterm:
        _hook_sigterm()
    _hook_multiprocessing(is_forking=False)
    _hook_celery()


def unregister(sender: Ending) -> None:
    """`sender` is closed."""
    _live.discard(sender)


def _hook_sigterm() -> None:
    global _previous
    if threading.current_thread() is not threading.main_thread():
        return
    current = signal.getsignal(signal.SIGTERM)
    if current is _on_sigterm or current is None or current is signal.SIG_IGN:
        return
    if _previous is not None and current is not signal.SIG_DFL:
        return  # a handler that came after ours may call it: calling that one from here would never end
    try:
        signal.signal(signal.SIGTERM, _on_sigterm)
    except ValueError:  # the main thread of a subinterpreter
        return
    _previous = current


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    """Delivers what waits beside the main thread, which may hold any lock now, and does what SIGTERM did before.

    A second SIGTERM ends a process without a handler of its own at once.
    """
    global _is_ending
    if callable(_previous):
        _thread.start_new_thread(_flush_all, (EXIT_TIMEOUT,))
        _previous(number, frame)
        return
    _is_ending = True
    signal.signal(number, signal.SIG_DFL)
    _thread.start_new_thread(_deliver_and_end, ())


def _deliver_and_end() -> None:
    try:
        _flush_all(EXIT_TIMEOUT - _CLOSE_SECONDS)
        if not _is_closing:
            _close_each(_CLOSE_SECONDS)
    finally:
        if not _is_closing:
            os.kill(os.getpid(), signal.SIGTERM)


def _flush_all(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    senders = list(_live)
    for sender in senders:
        sender.flush(0)  # all begin, so that one that waits in vain costs the others nothing
    for sender in senders:
        sender.flush(max(0.0, deadline - time.monotonic()))


def _close_each(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    for sender in list(_live):
        sender.close(max(0.0, deadline - time.monotonic()))


def _close_all() -> None:
    """At the exit. A process that SIGTERM ends meanwhile still ends with the signal."""
    global _is_closing
    _is_closing = True
    for sender in list(_live):
        sender.flush(0)
    _close_each(EXIT_TIMEOUT)
    _is_closing = False
    if _is_ending:
        os.kill(os.getpid(), signal.SIGTERM)


def _in_forked_child() -> None:
    global _is_ending, _is_closing
    _is_ending = _is_closing = False
    for sender in list(_live):
        sender.after_fork()
    if _live:
        _hook_multiprocessing(is_forking=True)
        _hook_celery()


def _hook_multiprocessing(*, is_forking: bool) -> None:
    """A process of `multiprocessing` ends by `os._exit`, without the hooks of `atexit`, but runs its own finalizers.

    In a child that was just forked they are registered later, since its start forgets those of the parent.
    """
    util = sys.modules.get("multiprocessing.util")
    if util is None:
        return
    if is_forking:
        util.register_after_fork(_finalize, _finalize)
    elif sys.modules["multiprocessing.process"].parent_process() is not None:
        _finalize(_finalize)


def _hook_celery() -> None:
    """A worker process of Celery ends by `os._exit`, without any finalizer, but sends a signal before."""
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(_at_celery_shutdown, weak=False, dispatch_uid=__name__)


def _at_celery_shutdown(**_: Any) -> None:
    _close_all()


def _finalize(_: Callable[..., None]) -> None:
    util = sys.modules["multiprocessing.util"]
    util.Finalize(None, _close_all, exitpriority=_FINALIZER_PRIORITY)


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
