"""Several processes at one port: started, replaced when one ends, and ended together.

Each is a whole collector but for the log's writer: its socket shares the port (SO_REUSEPORT), so the kernel spreads
connections over them. The process that starts them writes for all, so a copy is found whichever of them it reaches.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

from gtm_dagster.collector.server_exit import leave_process
from gtm_dagster.collector.server_process import (
    DRAIN_SECONDS,
    ServeError,
    Services,
    Site,
    look_for_cycles_less,
    serve_process,
)
from gtm_dagster.collector.shared_log import SharedLog, serve_log
from gtm_dagster.collector.worker_place import Worker
from gtm_dagster.eventlog import EventLog, open_log
from gtm_dagster.settings import Settings

_FIGURES = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus-client keeps a process's figures in files, which outlive it."""
_SOON_SECONDS = 10.0
"""A worker that ends this soon after its start has not come to work; each time in a row the pause before the next doubles."""
_MOST_FAILURES = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
_CLOSE_SECONDS = 15.0


class _Running:
    """A worker's place: its process, since when, and how often in a row it ended soon. `due`: when the next one starts."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.process: BaseProcess | None = None
        self.began = 0.0
        self.failures = 0
        self.due = 0.0


class Workers:
    """The processes of one collector."""

    def __init__(
        self,
        settings: Settings,
        site: Site,
        services: Services,
        folder: Path,
        log: EventLog,
    ) -> None:
        self._settings = settings
        self._arguments = (settings, site, services)
        self._folder = folder
        self._log = log
        self._spawning = multiprocessing.get_context("spawn")  # a fork would share the threads' locks of this process
        self._places = [_Running(Worker(number, folder)) for number in range(1, settings.collector.workers + 1)]
        self._stopping = False

    def run(self) -> None:
        """Keep the workers running until SIGTERM or SIGINT, then end them. Raises ServeError."""
        with _signals() as signalled:
            try:
                while not self._stopping:
                    for place in self._places:
                        if place.process is None and place.due <= time.monotonic():
                            self._start(place)
                    ready = wait([signalled, *self._sentinels()], self._pause())
                    self._stopping = signalled in ready
                    for place in self._places:
                        if place.process is not None and not place.process.is_alive() and not self._stopping:
                            self._ended(place, place.process)
            finally:
                codes = self._end()
        if any(code not in (0, -signal.SIGTERM) for code in codes):
            raise ServeError(f"workers ended with the codes {codes} when they were stopped; their own lines say why")

    def _start(self, place: _Running) -> None:
        ours, theirs = self._spawning.Pipe()
        place.process = self._spawning.Process(
            target=work, args=(*self._arguments, place.worker, theirs), name=f"collector-{place.worker.number}"
        )
        place.began = time.monotonic()
        place.process.start()
        theirs.close()
        serve_log(self._log, ours)

    def _sentinels(self) -> list[int]:
        return [place.process.sentinel for place in self._places if place.process is not None]

    def _pause(self) -> float | None:
        due = [place.due for place in self._places if place.process is None]
        return max(min(due) - time.monotonic(), 0.0) if due else None

    def _ended(self, place: _Running, process: BaseProcess) -> None:
        process.join()
        self._forget(process)
        now = time.monotonic()
        place.failures = place.failures + 1 if now - place.began < _SOON_SECONDS else 0
        if place.failures >= _MOST_FAILURES:
            raise ServeError(
                f"worker {place.worker.number} ended {place.failures} times within {_SOON_SECONDS:g} s of its start; "
                "its own lines above say why"
            )
        pause = min(_FIRST_PAUSE * 2 ** (place.failures - 1), _LONGEST_PAUSE) if place.failures else 0.0
        place.process, place.due = None, now + pause
        _say(f"worker {place.worker.number} (pid {process.pid}) ended with code {process.exitcode}; another one starts")

    def _forget(self, process: BaseProcess) -> None:
        """Take what a worker that is gone shows of the moment; what it has counted stays."""
        for path in self._folder.glob(f"gauge_live*_{process.pid}.db"):
            path.unlink(missing_ok=True)

    def _end(self) -> list[int | None]:
        """Exit codes of the workers, after each has finished what it had in flight."""
        processes = [place.process for place in self._places if place.process is not None]
        for process in processes:
            if process.is_alive():
                process.terminate()
        until = time.monotonic() + self._settings.collector.drain_seconds + DRAIN_SECONDS + _CLOSE_SECONDS
        for process in processes:
            process.join(max(until - time.monotonic(), 0.0))
            if process.is_alive():
                process.kill()
                process.join()
        return [process.exitcode for process in processes]


def serve_workers(settings: Settings, site: Site, services: Services) -> None:
    """As `serve_process`, by `settings.collector.workers` processes. Raises ServeError where ports cannot be shared."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ServeError("this system lets no two processes share a port; use collector.workers = 1")
    with tempfile.TemporaryDirectory(prefix="gtm-collector-") as folder, _reserved(site), _figures_in(folder):
        with open_log(settings) as log:
            look_for_cycles_less()
            Workers(settings, site, services, Path(folder), log).run()


def work(
    settings: Settings,
    site: Site,
    services: Services,
    worker: Worker,
    pipe: Connection,
) -> None:
    """What the process of a worker does, to its end; code 1, and a line, when it cannot."""
    shared = SharedLog(pipe)
    code = 0
    try:
        serve_process(settings, site, services, worker, shared)
    except Exception as error:  # noqa: BLE001 - the edge of a process: its parent reads the code, a person the line
        _say(f"worker {worker.number}: {error}")
        code = 1
    finally:
        shared.close()
    leave_process(code)


@contextmanager
def _reserved(site: Site) -> Iterator[None]:
    """Keep the port for the workers while one of them is replaced; a socket that does not listen gets no connection."""
    with socket.socket(socket.AF_INET6 if ":" in site.address else socket.AF_INET, socket.SOCK_STREAM) as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        keeper.bind((site.address, site.port))
        yield


@contextmanager
def _figures_in(folder: str) -> Iterator[None]:
    """Let the processes that are started keep their figures in `folder`; the library asks the environment at its import."""
    before = os.environ.get(_FIGURES)
    os.environ[_FIGURES] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FIGURES]
        else:
            os.environ[_FIGURES] = before


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that can be read once SIGTERM or SIGINT came."""
    reading, writing = os.pipe()

    def note(number: int, frame: FrameType | None) -> None:
        os.write(writing, b"x")

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield reading
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _say(text: str) -> None:
    sys.stderr.write(f"collector: {text}\n")
    sys.stderr.flush()
