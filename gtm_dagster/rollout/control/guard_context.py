"""What an action on a flag needs, and what its steps come to."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from gtm_dagster.rollout.providers import FlagState, FlagWriter, ProviderError, writer_for
from gtm_dagster.storage.file_lock import FileLock
from gtm_dagster.storage.private_dir import private_dir

if TYPE_CHECKING:
    from gtm_dagster.opsstore import GuardRow, OpsStore
    from gtm_dagster.settings import Guard, Settings

GUARD_ACTOR = "conversion_guard"


class ActionFailed(Exception):
    """The flag could not be proven off. It is on the kill list, people are notified, and the guard asks again."""


@dataclass(frozen=True)
class StepResult:
    """What a step came to. `proceed`: the next step has something to do; `reason` says why not, with figures."""

    proceed: bool
    outcome: str
    reason: str
    episode: str = ""


@dataclass(frozen=True)
class GuardContext:
    """What an action on a guard needs: store, settings, guard, its flag's provider, and the clock (microseconds UTC)."""

    store: OpsStore
    settings: Settings
    guard: Guard
    writer: FlagWriter
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def of(cls, settings: Settings, store: OpsStore, guard: Guard, environ: Mapping[str, str]) -> GuardContext:
        """The context of a declared guard. A provider that cannot be set up answers every call with the reason."""
        try:
            writer = writer_for(settings.provider_of(guard), environ)
        except ProviderError as error:
            writer = cast(FlagWriter, _Unusable(error))
        return cls(store, settings, guard, writer)

    @property
    def row(self) -> GuardRow:
        """The guard's stored state; created (DISARMED) when there is none yet."""
        self.store.ensure(self.guard.key, self.guard.flag, self.guard.conversion, self.guard.environment)
        row = self.store.guard(self.guard.key)
        assert row is not None  # noqa: S101 - `ensure` has written it
        return row

    def read_back(self) -> FlagState:
        """What the provider says of the flag now."""
        return self.writer.read_back(self.guard.flag, self.guard.environment)

    def last_seen(self) -> FlagState | None:
        """What the stream worker last read of the flag; None before its first look."""
        seen = self.store.flag_state(self.guard.key)
        if seen is None:
            return None
        return FlagState(seen.enabled, seen.share, seen.fingerprint, f"as seen at {seen.seen_us} us")

    def move(self, row: GuardRow, state: str, reason: str, actor: str = GUARD_ACTOR, **detail: object) -> bool:
        """Compare-and-swap; an episode in `detail` becomes the row's."""
        columns = {"episode": detail["episode"]} if "episode" in detail else {}
        return self.store.move(
            self.guard.key, row.version, state, actor=actor, reason=reason, at_us=self.now_us(),
            detail=dict(detail) or None, **columns,
        )  # fmt: skip

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One action a guard at a time on this machine; the kernel drops the lock of a killed process."""
        folder = self.settings.state_dir / "locks"
        private_dir(folder)
        with FileLock(folder / f"guard-{hashlib.sha256(self.guard.key.encode()).hexdigest()[:16]}.lock") as lock:
            lock.take()
            yield


class _Unusable:
    """Stands for a provider that could not be set up."""

    kind = "unusable"

    def __init__(self, error: ProviderError) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Callable[..., object]:
        def refuse(*_: object, **__: object) -> object:
            raise self._error

        return refuse
