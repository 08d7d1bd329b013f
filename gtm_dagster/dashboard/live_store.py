"""The ops store as pages read it: live, opened once, never written and never migrated."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from gtm_dagster.dashboard.notices import Notice, UnavailableError
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.opsstore.database import OpsStoreError
from gtm_dagster.rollout.control.evaluation import store_exists
from gtm_dagster.settings import DRILL_FLAG, Settings

ARMED_BY = "`gtm guard rearm FLAG --reason ...`"
NEVER = "NEVER ARMED"
TROUBLE = frozenset({"ROLLBACK_FAILED", "BLIND", NEVER})


@dataclass(frozen=True)
class GuardState:
    """A guard as the store has it. `since`: of its state, UTC; None for one that was never armed."""

    guard: str
    flag: str
    conversion: str
    environment: str
    state: str
    since: datetime | None
    reason: str
    epoch: int

    @property
    def is_trouble(self) -> bool:
        """Whether a person has to look after it."""
        return self.state in TROUBLE


class LiveStore:
    """The deployment's ops store; usable from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._store: OpsStore | None = None
        self._seen: datetime | None = None

    @contextmanager
    def reading(self) -> Iterator[OpsStore]:
        """The open store. Raises UnavailableError when there is none, or it does not answer."""
        try:
            store = self._opened()
            yield store
            self._seen = datetime.now(UTC)
        except OpsStoreError as error:
            self.close()
            raise UnavailableError(
                Notice("The ops store does not answer.", "gtm guard status", self._seen, str(error))
            ) from error

    def _opened(self) -> OpsStore:
        with self._lock:
            if self._store is None:
                if not store_exists(self._settings):
                    raise UnavailableError(
                        Notice(
                            "There is no ops store yet.", "gtm dev", self._seen,
                            "The stream worker makes it; without it nothing is counted for guards.",
                        )
                    )  # fmt: skip
                self._store = OpsStore(self._settings.ops_address, migrate=False)
            else:
                self._store.check_file()
            return self._store

    def guards(self) -> list[GuardState]:
        """Every declared guard, and those the store knows beside them (a drill's canary once it was armed)."""
        declared = {guard.key: guard for guard in self._settings.guards}
        if not declared and not store_exists(self._settings):
            return []
        with self.reading() as store:
            rows = {row.guard: row for row in store.guards()}
        found = [
            GuardState(
                row.guard, row.flag, row.conversion, row.environment, row.state if row.epoch else NEVER,
                _moment(row.changed_us), row.reason if row.epoch else f"arm it: {ARMED_BY}", row.epoch,
            )
            for row in rows.values()
            if row.guard in declared or (row.flag == DRILL_FLAG and row.epoch)
        ]  # fmt: skip
        found += [
            GuardState(
                key, guard.flag, guard.conversion, guard.environment, NEVER, None, f"arm it: {ARMED_BY}", 0
            )
            for key, guard in declared.items()
            if key not in rows
        ]  # fmt: skip
        return sorted(found, key=lambda guard: (not guard.is_trouble, guard.guard))

    def counted_until(self) -> datetime | None:
        """When the newest event was received that the stream worker has counted, UTC."""
        with self.reading() as store:
            received = [position.received_us for position in store.positions().values()]
        return max((_moment(each) or datetime.min.replace(tzinfo=UTC) for each in received if each), default=None)

    def close(self) -> None:
        """Close the connections; the next read opens the store again."""
        with self._lock:
            if self._store is not None:
                self._store.close()
            self._store = None


def _moment(us: int | None) -> datetime | None:
    return datetime.fromtimestamp(us / 1e6, UTC) if us else None


def now() -> datetime:
    """This moment, UTC, to the second."""
    return datetime.fromtimestamp(int(time.time()), UTC)
