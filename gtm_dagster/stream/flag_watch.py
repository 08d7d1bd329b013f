"""The flags of the guards, as their providers report them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from gtm_dagster.opsstore import OpsStore
from gtm_dagster.settings import Guard

_UNWATCHED = ("DISARMED",)
_log = logging.getLogger("gtm_dagster.stream")


class FlagState(Protocol):
    """The part of a provider's answer that is stored."""

    @property
    def enabled(self) -> bool:
        """Whether anybody can be served the new flow."""
        ...

    @property
    def share(self) -> float | None:
        """The planned treated share, share of 1, where the provider reports it."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when anything relevant of the flag changes."""
        ...


class Watcher:
    """Stores the state that `watch` returns for the flag of every guard that was armed."""

    def __init__(self, store: OpsStore, guards: Sequence[Guard], watch: Callable[[Guard], FlagState]) -> None:
        self._store = store
        self._guards = guards
        self._watch = watch
        self._errors: dict[str, str] = {}

    def look(self) -> None:
        """Ask once about every guard that is not disarmed. A flag that cannot be read stays as it was last seen."""
        for guard in self._guards:
            row = self._store.guard(guard.key)
            if row is None or row.state in _UNWATCHED:
                continue
            try:
                state = self._watch(guard)
            except Exception as error:  # noqa: BLE001 - one provider's fault is not another's
                message = f"{type(error).__name__}: {error}"
                if self._errors.get(guard.key) != message:  # one line a fault, not one every look
                    _log.warning("%s: its flag cannot be read (%s)", guard.key, message)
                self._errors[guard.key] = message
                continue
            at_us = time.time_ns() // 1000
            self._store.see_flag(guard.key, state.enabled, state.share, state.fingerprint, at_us)
            self._errors.pop(guard.key, None)
