"""What is counted for guards has its end: cells are folded, units pruned, and earlier epochs and undeclared guards forgotten.

Everything in slices, inside the worker's transactions, so that no batch waits long for the past of a deployment.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from gtm_dagster.opsstore import OpsStore
from gtm_dagster.rollout.guard.cells import HORIZON_SLOTS
from gtm_dagster.rollout.guard.counts import SLOT_US, plan_slots
from gtm_dagster.settings import Guard
from gtm_dagster.stream.guard_counts import Epochs, window_us
from gtm_dagster.stream.guard_events import LATE_US

ROWS = 5_000
"""Of a slice, a table."""
_PAUSE_US = 600_000_000
_HOUR_US = 3_600_000_000
_UNDECLARED_US = 30 * 86_400_000_000
_PREFIX = "guard:"


class GuardPruning:
    """After a batch of a guard: one slice every ten minutes (of receipt), or with every batch while there is more."""

    def __init__(self, store: OpsStore) -> None:
        self._store = store
        self._done_us: dict[str, int] = {}
        self._more: set[str] = set()

    def after_batch(
        self, con: Connection, guard: Guard, epochs: Epochs, received_us: int, declared: Collection[str]
    ) -> None:
        """Prune what the guard's counts do not need any more; `received_us`: of the newest record, 0 without one."""
        key = guard.key
        if not received_us or (key not in self._more and received_us - self._done_us.get(key, 0) <= _PAUSE_US):
            return
        self._done_us[key] = received_us
        # An exposure before the conversion has arrived by LATE_US after it; an hour more than is needed.
        self._store.prune_conversions(con, key, received_us - LATE_US - _HOUR_US)
        self._store.prune_links(con, key, received_us - LATE_US - _HOUR_US - window_us(guard))
        self._store.forget_records(con, key, before_us=received_us - HORIZON_SLOTS * SLOT_US)
        more = self._prune(con, guard, epochs, received_us)
        more |= self._forget_undeclared(con, declared, received_us - _UNDECLARED_US)
        (self._more.add if more else self._more.discard)(key)

    def _prune(self, con: Connection, guard: Guard, epochs: Epochs, received_us: int) -> bool:
        store, key = self._store, guard.key
        epoch, since_us = epochs[-1]
        watermark_us = store.watermark_us(guard.flag)
        clock_us = received_us if watermark_us is None else min(received_us, watermark_us)
        # No event that counts changes what was exposed before this.
        final_us = clock_us - window_us(guard) - LATE_US - _HOUR_US
        more = store.prune_units(con, key, final_us, clock_us, ROWS)
        if guard.metrics and not more:  # an event is needed as long as its unit may change
            store.prune_metric_events(con, key, final_us)
        more |= store.forget_known_units(con, key, clock_us, ROWS)
        before_slot = final_us // SLOT_US - HORIZON_SLOTS
        if guard.metrics:
            store.prune_metric_cells(con, key, epoch, before_slot)
        more |= store.fold_cells(con, key, epoch, before_slot, plan_slots(store.shares(key)), ROWS)
        if since_us < final_us:
            more |= store.forget_epochs(con, key, epoch, ROWS)
            store.prune_shares(con, key, since_us)
        return more

    def _forget_undeclared(self, con: Connection, declared: Collection[str], before_us: int) -> bool:
        """Guards that are no longer declared and were last counted a month ago; their history and rollbacks stay."""
        more = False
        for name, position in self._store.positions().items():
            key = name.removeprefix(_PREFIX)
            if not name.startswith(_PREFIX) or key in declared or (position.received_us or before_us) >= before_us:
                continue
            if self._store.forget_epochs(con, key, 1 << 62, ROWS):
                more = True
            else:
                self._store.forget_guard(con, key, name)
        return more
