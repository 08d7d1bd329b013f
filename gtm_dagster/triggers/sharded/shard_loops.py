"""The parts of `gtm trigger run`, each in a thread that outlives what fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

MOST_PAUSE = 30.0
_JOIN_SECONDS = 15.0
_log = logging.getLogger("gtm_dagster.triggers")


class Part(Protocol):
    """Something that works by rounds."""

    def round(self) -> object: ...

    def close(self) -> None: ...


class PartThread:
    """`with PartThread(name, make):` runs rounds of what `make` returns; after an error of another one, which restores itself.

    `pause`: between two rounds, for a part that does not wait by itself, in seconds. `errors`: what stands under its name there
    is why it does not work now.
    """

    def __init__(self, name: str, make: Callable[[], Part], errors: dict[str, str], pause: float = 0.0) -> None:
        self._name, self._make, self._errors, self._pause = name, make, errors, pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"gtm-trigger-{name}", daemon=True)

    def __enter__(self) -> PartThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_JOIN_SECONDS)

    def _run(self) -> None:
        wait = 0.0
        while not self._stop.is_set():
            part = None
            try:
                part = self._make()
                while not self._stop.is_set():
                    part.round()
                    wait = 0.0
                    self._errors.pop(self._name, None)
                    self._stop.wait(self._pause)
            except Exception as error:  # noqa: BLE001 - the other parts of this process go on
                wait = min(MOST_PAUSE, 2 * wait or 1.0)
                self._errors[self._name] = str(error) or repr(error)
                _log.error("trigger %s: %s; trying again in %g s", self._name, self._errors[self._name], wait)
                self._stop.wait(wait)
            finally:
                if part is not None:
                    self._close(part)

    def _close(self, part: Part) -> None:
        try:
            part.close()
        except Exception as error:  # noqa: BLE001 - a part that failed may not be able to end well; another one follows
            _log.error("trigger %s: cannot be closed: %s", self._name, error)
