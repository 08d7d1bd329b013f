"""Ctrl-C is for this process: a terminal sends it to the programs of a run as well, which would say so in tracebacks."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_for_this_process() -> Iterator[None]:
    """Programs that the main thread starts within do not see SIGINT (Dagster starts two a step); this process still does.

    A blocked signal is blocked in what is started, too. Here another thread takes it; Python runs its handler in the main
    thread as ever. In any other thread, and where there are no signal masks, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    over = threading.Event()
    taker = threading.Thread(target=over.wait, name="interrupts", daemon=True)
    taker.start()  # before the mask: it does not have it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        over.set()
        taker.join()
