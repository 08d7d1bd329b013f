"""Asks for the default view of each screen as soon as another file is published, so that no reader waits for its first statements.

Then for the same screens of other conversion types, the most frequent links of a page, as long as that took a few seconds.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType

from gtm_dagster.dashboard.notices import UnavailableError
from gtm_dagster.dashboard.pages import Pages
from gtm_dagster.dashboard.screen import Screen, screens
from gtm_dagster.dashboard.snapshots import Identity

_LOG = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
"""Between two looks at which file is published; a look is one stat()."""
MORE_TYPES = 3
"""Conversion types beside the default one whose views are made, too."""
SECONDS = 5.0
"""After which no further view of a file is begun."""


def warmed_screens() -> list[Screen]:
    """The screens of the menu that read the published tables, in its order."""
    return [screen for screen in screens() if screen.needs_tables and screen.order is not None]


def look_for_cycles_now() -> None:
    """Look through all objects for cycles, and leave those that stay out of later looks: one takes 60 ms of some request."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


class Warming:
    """One thread that makes one page at a time and keeps nothing but what `Snapshot.rows` keeps. Ends with the `with`.

    A page that cannot be made is not tried again for the same file: who asks for it is told why.
    """

    def __init__(self, pages: Pages, look_seconds: float = LOOK_SECONDS, seconds: float = SECONDS) -> None:
        self._pages = pages
        self._look_seconds = look_seconds
        self._seconds = seconds
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="dashboard-warming", daemon=True)

    def __enter__(self) -> Warming:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()
        gc.unfreeze()

    def _watch(self) -> None:
        warmed: Identity | None = None
        while not self._ending.is_set():
            published = self._pages.published
            if published not in (None, warmed):
                self._warm(published)
                warmed = published
                look_for_cycles_now()
            self._ending.wait(self._look_seconds)

    def _warm(self, published: Identity | None) -> None:
        end = time.monotonic() + self._seconds
        for screen, given in self._views():
            if self._ending.is_set() or time.monotonic() > end or self._pages.published != published:
                return
            try:
                self._pages.page(screen, given)
            except UnavailableError:
                return
            except Exception:  # noqa: BLE001 - one page that cannot be made is no reason to leave the others
                _LOG.exception("%s could not be made beforehand", screen.path)

    def _views(self) -> Iterator[tuple[Screen, list[tuple[str, str]]]]:
        for screen in warmed_screens():
            yield screen, []
        with suppress(UnavailableError):
            for conversion_type in self._pages.conversion_types()[1 : 1 + MORE_TYPES]:
                for screen in warmed_screens():
                    if "type" in screen.controls:
                        yield screen, [("type", conversion_type)]
