"""Tails the event log: counts, offset and watermark go into the ops store in one transaction.

A guard has a place of its own in the log: one whose counting fails, or that starts a new epoch, falls behind and
catches up while the others go on. Reading records again changes nothing, so a place may go back at any time.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from gtm_dagster.eventlog import EventLog, EventLogError, Position
from gtm_dagster.opsstore import GuardProgress, OpsStore, OpsStoreError, ProducerRow
from gtm_dagster.rollout.guard.counts import SLOT_US
from gtm_dagster.settings import Guard
from gtm_dagster.stream.guard_counts import Epochs, count, end_epochs, window_us
from gtm_dagster.stream.guard_events import LATE_US, Sightings, sightings

CONSUMER = "stream"
GUARD = "guard:"
"""Before a guard's key, among the positions."""
BATCH_RECORDS = 50_000
IDLE_SECONDS = 0.2
BEATS_SECONDS = 1.0
COMMIT_SECONDS = 60.0
_SLACK_US = 600_000_000
"""Records stand in the log in order of receipt, up to the time a commit may take (10 min is far beyond it)."""
_PRUNE_US = 600_000_000
_MAX_PAUSE = 60.0
_HOUR_US = 3_600_000_000
_log = logging.getLogger("gtm_dagster.stream")


class _Tide(msgspec.Struct, frozen=True):
    """What the producers had said when the log ended at `seq`: true of the counts once they reach `seq`."""

    seq: int
    producers: list[ProducerRow]


class _Place(msgspec.Struct):
    """Where one guard stands in the log; `pause` and `again_at` (monotonic seconds) after a fault."""

    guard: Guard
    epochs: Epochs
    seq: int
    pause: float = 0.0
    again_at: float = 0.0
    pruned_us: int = 0


class Worker:
    """Counts for `guards` from `log` into `store`. One at a time: hold the StreamLock.

    `changed` counts the units whose counts changed.
    """

    def __init__(self, log: EventLog, store: OpsStore, guards: Sequence[Guard], batch: int = BATCH_RECORDS) -> None:
        self.changed = 0
        self._log = log
        self._store = store
        self._guards = {guard.key: guard for guard in guards}
        self._batch = batch
        self._committed_at = time.monotonic()
        self._load()

    def _load(self) -> None:
        """Take up the places the store holds."""
        for guard in self._guards.values():
            self._store.ensure(guard.key, guard.flag, guard.conversion, guard.environment)
        self._offsets = {name: position.seq for name, position in self._store.positions().items()}
        self._progress = self._store.guard_progress()
        if CONSUMER not in self._offsets:
            with self._store.transaction() as con:
                self._set(con, CONSUMER, 0)
        self.place = self._offsets.get(CONSUMER, 0)
        """The offset up to which all guards but those behind have counted."""
        self._places: dict[str, _Place] = {}
        self._tide: _Tide | None = None
        self._told: list[ProducerRow] | None = None
        self._looked_at = 0.0

    def behind(self) -> list[str]:
        """Keys of guards whose counts have not come as far as the others'."""
        return sorted(key for key, place in self._places.items() if place.seq < self.place)

    def run(self, stop: threading.Event) -> None:
        """Count until `stop` is set. A store or log that fails is tried again, from what is stored."""
        pause = 0.0
        while not stop.is_set():
            try:
                if pause:
                    self._load()
                busy = self.step()
                pause = 0.0
            except (OpsStoreError, EventLogError) as error:
                pause = min(_MAX_PAUSE / 2, 2 * pause or 1.0)
                _log.error("%s; trying again in %g s", error, pause)
                stop.wait(pause)
                continue
            if not busy:
                stop.wait(IDLE_SECONDS)
        self._commit()

    def once(self) -> None:
        """Count what the log holds now and return. Raises OpsStoreError and EventLogError."""
        self._look_again()
        while self._tide is not None or any(self.place > p.seq and not p.pause for p in self._places.values()):
            self.step(look=False)
        self._commit()

    def step(self, look: bool = True) -> bool:
        """One round: new epochs, a batch for the guards behind, a batch for the rest. True when anything was read."""
        self._take_epochs()
        if look and self._tide is None:
            self._look()
        caught = self._catch_up()
        moved = self._forward()
        if time.monotonic() - self._committed_at >= COMMIT_SECONDS:
            self._commit()
        return caught or moved

    def _commit(self) -> None:
        """Tell the log what nobody here needs any more; only trimming reads it."""
        self._committed_at = time.monotonic()
        self._log.commit(CONSUMER, min([self.place, *(place.seq for place in self._places.values())]))

    def _look(self) -> None:
        if time.monotonic() - self._looked_at >= BEATS_SECONDS or self._log.last_seq() != self.place:
            self._look_again()

    def _look_again(self) -> None:
        """The producers' word first and the log's end after it: so it holds all that they said they had sent."""
        self._looked_at = time.monotonic()
        rows = [ProducerRow(beat.producer, beat.ts_us, beat.received_us) for beat in self._log.heartbeats()]
        seq = self._log.last_seq()
        if seq < self.place:
            _log.warning("the log ends at %d, before the offset %d: another log; counting all of it", seq, self.place)
            with self._store.transaction() as con:
                for consumer in (CONSUMER, *(GUARD + key for key in self._places)):
                    self._set(con, consumer, 0)
            self.place = 0
            for place in self._places.values():
                place.seq = 0
        self._tide = _Tide(seq, rows)

    # Epochs

    def _take_epochs(self) -> None:
        """Guards that were armed since the last round go back in the log to where their epoch begins."""
        told = self._store.epochs()
        for key, guard in self._guards.items():
            epochs = told.get(key)
            if epochs and (key not in self._places or self._places[key].epochs != epochs):
                self._places[key] = self._resumed(guard, epochs) or self._started(guard, epochs)

    def _resumed(self, guard: Guard, epochs: Epochs) -> _Place | None:
        """The stored place, when it knows these epochs and was counted by the same rule."""
        seq = self._offsets.get(GUARD + guard.key)
        if seq is None or self._progress.get(guard.key) != GuardProgress(epochs[-1][0], _rule(guard)):
            return None
        if seq < self.place:  # it failed, or was left out of the settings for a while
            with self._store.transaction() as con:
                self._store.hold(con, guard.key, epochs[-1][1], _now_us())
        return _Place(guard, epochs, seq)

    def _started(self, guard: Guard, epochs: Epochs) -> _Place:
        """Put the guard where its new epochs begin; with another window or slot, where its first epoch began."""
        key, store = guard.key, self._store
        progress = self._progress.get(key)
        known = 0 if progress is None else progress.epoch
        anew = progress is None or progress.rule != _rule(guard)
        if anew and progress is not None:
            _log.warning("%s: counted by another conversion window; counting again what the log still holds", key)
        since_us = min(since for epoch, since in epochs if anew or epoch > known)
        # What happened at `since_us` was received then or later: events count no later than their receipt.
        seq = min(self._log.offset_before(since_us - _SLACK_US), self._offsets.get(GUARD + key, self.place), self.place)
        fresh = GuardProgress(epochs[-1][0], _rule(guard))
        with store.transaction() as con:
            self._lock(con)
            if anew:
                store.forget_counts(con, key)
            else:
                end_epochs(store, con, guard, epochs)
            self._set(con, GUARD + key, seq)
            store.set_guard_progress(con, key, fresh)
            if seq < self.place:
                store.hold(con, key, since_us, _now_us())
        self._offsets[GUARD + key], self._progress[key] = seq, fresh
        return _Place(guard, epochs, seq)

    # Counting

    def _catch_up(self) -> bool:
        """One batch for the guards that stand furthest back."""
        now = time.monotonic()
        behind = [place for place in self._places.values() if place.seq < self.place and place.again_at <= now]
        if not behind:
            return False
        after = min(place.seq for place in behind)
        table, last = self._log.read_arrow(after, self._batch)
        last = last if last > after else self.place
        self._count([place for place in behind if place.seq == after], table, last, None)
        return True

    def _forward(self) -> bool:
        """One batch for all that are not behind; where the tide is reached, its producers' word is stored with it."""
        tide = self._tide
        if tide is None:
            return False
        moved = self.place < tide.seq
        abreast = [place for place in self._places.values() if place.seq >= self.place]
        if moved and abreast:
            table, last = self._log.read_arrow(self.place, self._batch)
            self._count(abreast, table, last if last > self.place else tide.seq, tide)
        elif moved or tide.producers != self._told:
            self._count([], None, max(tide.seq, self.place), tide)
        if self.place >= tide.seq:
            self._told, self._tide = tide.producers, None
        return moved

    def _count(self, places: Sequence[_Place], table: pa.Table | None, last: int, tide: _Tide | None) -> None:
        """Count `table` for the places and put them at `last`; with a tide, the common place too."""
        store = self._store
        seen = {} if table is None else sightings(table, [place.guard for place in places])
        clock_us = pc.max(table["received_us"]).as_py() or 0 if table is not None else 0
        common = self.place if tide is None else last
        done: list[_Place] = []
        with store.transaction() as con:
            self._lock(con)
            for place in places:
                try:
                    with con.begin_nested():
                        self._count_one(con, place, seen[place.guard.key], clock_us, last)
                        if last >= common:
                            store.release(con, place.guard.key)
                    done.append(place)
                except (OperationalError, OpsStoreError):  # the store itself
                    raise
                except Exception as error:  # noqa: BLE001 - one guard's fault is not another's
                    self._fault(con, place, error)
            if tide is not None:
                self._set(con, CONSUMER, last)
                if last >= tide.seq and tide.producers != self._told:
                    store.set_producers(con, tide.producers)
        self.place = common
        for place in done:
            place.seq = max(place.seq, last)
            self._offsets[GUARD + place.guard.key] = place.seq
            place.pause = place.again_at = 0.0

    def _lock(self, con: Connection) -> None:
        """Keep other workers out of this transaction; OpsStoreError when one has worked since ours began."""
        stored = self._store.lock_position(con, CONSUMER)
        if stored is None or stored.seq != self.place:
            raise OpsStoreError(f"{self._store.address}: another stream worker moved the offset; run only one")

    def _set(self, con: Connection, consumer: str, seq: int) -> None:
        self._store.set_position(con, consumer, Position("", seq))

    def _count_one(self, con: Connection, place: _Place, seen: Sightings, clock_us: int, last: int) -> None:
        key = place.guard.key
        self.changed += count(self._store, con, place.guard, place.epochs, seen)
        self._set(con, GUARD + key, max(place.seq, last))
        if clock_us - place.pruned_us > _PRUNE_US:
            # An exposure before the conversion has arrived by LATE_US after it; an hour more than is needed.
            self._store.prune_conversions(con, key, clock_us - LATE_US - _HOUR_US)
            place.pruned_us = clock_us

    def _fault(self, con: Connection, place: _Place, error: Exception) -> None:
        """The guard stays where it is, its flag's watermark too; it is tried again later."""
        key = place.guard.key
        place.pause = min(_MAX_PAUSE, 2 * place.pause or 1.0)
        place.again_at = time.monotonic() + place.pause
        self._store.hold(con, key, self._store.watermark_us(place.guard.flag) or 0, _now_us())
        _log.error("%s: cannot be counted, again in %g s: %r", key, place.pause, error, exc_info=error)


def _rule(guard: Guard) -> int:
    """Changes with what makes counts incomparable: the window and the length of a slot."""
    return zlib.crc32(f"{SLOT_US} {window_us(guard)}".encode())


def _now_us() -> int:
    return time.time_ns() // 1000
