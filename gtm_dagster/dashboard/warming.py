"""Asks for the default view of each screen as soon as another file is published, so that no reader waits for its first statements."""

from __future__ import annotations

import logging
import threading
from types import TracebackType

from gtm_dagster.dashboard.notices import UnavailableError
from gtm_dagster.dashboard.pages import Pages
from gtm_dagster.dashboard.screen import Screen, screens
from gtm_dagster.dashboard.snapshots import Identity

_LOG = logging.getLogger(__name__)
LOOK_SECONDS = 1.0
"""Between two looks at which file is published; a look is one stat()."""


def warmed_screens() -> list[Screen]:
    """The screens of the menu that read the published tables, in its order."""
    return [screen for screen in screens() if screen.needs_tables and screen.order is not None]


class Warming:
    """One thread that makes one page at a time and keeps nothing but what `Snapshot.rows` keeps. Ends with the `with`.

    A page that cannot be made is not tried again for the same file: who asks for it is told why.
    """

    def __init__(self, pages: Pages, look_seconds: float = LOOK_SECONDS) -> None:
        self._pages = pages
        self._look_seconds = look_seconds
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

    def _watch(self) -> None:
        warmed: Identity | None = None
        while not self._ending.is_set():
            published = self._pages.published
            if published not in (None, warmed):
                self._warm(published)
                warmed = published
            self._ending.wait(self._look_seconds)

    def _warm(self, published: Identity | None) -> None:
        for screen in warmed_screens():
            if self._ending.is_set() or self._pages.published != published:
                return
            try:
                self._pages.page(screen, ())
            except UnavailableError:
                return
            except Exception:  # noqa: BLE001 - one page that cannot be made is no reason to leave the others
                _LOG.exception("%s could not be made beforehand", screen.path)
