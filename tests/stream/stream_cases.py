"""Records of exposures and conversions, a deployment to count them in, and a plain reference count."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from gtm_dagster.eventlog import Position, Record
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.rollout.guard.counts import SLOT_US
from gtm_dagster.settings import Guard
from gtm_dagster.stream import GuardReducer, Worker

NOON = 1_772_366_400_000_000
"""2026-03-01T12:00:00Z in microseconds; the start of a slot."""
MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WINDOW = 10 * MINUTE
GUARD = Guard("checkout", "payment_completed", conversion_window_minutes=10)
KEY = GUARD.key
C, T = "control", "treatment"

_ids = itertools.count(1)


def record(name: str, at_us: int, user: str | None, properties: dict[str, Any] | None = None, **fields: Any) -> Record:
    told: dict[str, Any] = {
        "write_key": "shop",
        "event_id": f"e{next(_ids)}",
        "event_name": name,
        "event_us": at_us,
        "received_us": at_us,
        "user_id": user,
        "properties": json.dumps(properties or {}),
        "plan_version": "1-0-0",
    }
    return Record(**(told | fields))


def exposure(
    unit: str | None, arm: str, at_us: int, flag: str = "checkout", reason: str | None = "SPLIT", **fields: Any
) -> Record:
    told = {"flag": flag, "variant": arm} | ({} if reason is None else {"reason": reason})
    return record("flag_exposed", at_us, unit, told, **fields)


def conversion(unit: str | None, at_us: int, name: str = "payment_completed", **fields: Any) -> Record:
    return record(name, at_us, unit, {"amount": 1, "currency": "EUR"}, **fields)


def changed(each: Record, **fields: Any) -> Record:
    return msgspec.structs.replace(each, **fields)


def traffic(seed: int, units: int = 120) -> list[Record]:
    """Exposures and conversions of one hour, tidy: received when they happened."""
    rng = random.Random(seed)
    records = []
    for n in range(units):
        at_us = NOON + rng.randrange(HOUR)
        records.append(exposure(f"u{n}", rng.choice((C, T)), at_us))
        if rng.random() < 0.5:
            records.append(conversion(f"u{n}", at_us + rng.randrange(WINDOW)))
    return records


class Deployment:
    """A log and an ops store in a folder."""

    def __init__(self, folder: Path, *guards: Guard, armed_us: int | None = NOON) -> None:
        self.guards = guards or (GUARD,)
        self.log = SqliteEventLog(folder / "events.db")
        self.store = OpsStore(f"sqlite:///{folder / 'ops.db'}")
        if armed_us is not None:
            for guard in self.guards:
                self.arm(armed_us, guard)

    def arm(self, since_us: int, guard: Guard = GUARD) -> None:
        self.store.ensure(guard.key, guard.flag, guard.conversion, guard.environment)
        version = self.store.guard(guard.key).version
        assert self.store.new_epoch(
            guard.key, version, since_us, actor="a", reason="r", fingerprint=None, at_us=since_us
        )

    def append(self, records: Iterable[Record]) -> None:
        self.log.append(list(records))

    def worker(self, batch: int = 50_000) -> Worker:
        return Worker(self.log, self.store, [GuardReducer(self.store, self.guards)], batch)

    def count(self, records: Iterable[Record] = (), batch: int = 50_000) -> list[tuple[int, str, int, int]]:
        """Append and count with a new worker; the counts of the newest epoch."""
        records = list(records)
        if records:
            self.append(records)
        self.worker(batch).once()
        return self.counts()

    def counts(self, epoch: int | None = None, guard: Guard = GUARD) -> list[tuple[int, str, int, int]]:
        held = self.store.guard(guard.key)
        return self.store.counts(guard.key, held.epoch if epoch is None else epoch)

    def rewind(self, positions: dict[str, int]) -> None:
        """Set positions of the worker, by consumer, as after losing the transactions behind them."""
        log_id = self.log.log_id
        with self.store.transaction() as con:
            for consumer, seq in positions.items():
                self.store.set_position(con, consumer, Position(log_id, seq))

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that was counted."""
        from gtm_dagster.opsstore import ops_tables

        with self.store.reading() as con:
            return {
                table.name: sorted(tuple(row) for row in con.execute(table.select()))
                for table in (ops_tables.guard_units, ops_tables.guard_counts)
            }

    def close(self) -> None:
        self.log.close()
        self.store.close()


def cell(at_us: int, arm: str, age_us: int | None = None, n: int = 1) -> tuple[int, str, int, int]:
    """A row of counts: exposures, or conversions `age_us` after them."""
    return at_us // SLOT_US, arm, -1 if age_us is None else age_us // SLOT_US, n


def reference(
    records: Iterable[Record], since_us: int, until_us: float = float("inf"), window_us: int = WINDOW
) -> list[tuple[int, str, int, int]]:
    """The counts by their definition, record by record: of the epoch from `since_us` to `until_us`."""
    shown: dict[str, tuple[int, str]] = {}
    converted: dict[str, list[int]] = {}
    for each in records:
        if each.verdict != "accepted" or each.received_us - each.event_us > DAY:
            continue
        at_us = min(each.event_us, each.received_us)
        if each.event_name == "payment_completed":
            for unit in {each.user_id, each.anonymous_id} - {None}:
                converted.setdefault(unit, []).append(at_us)
        elif each.event_name == "flag_exposed":
            told = json.loads(each.properties)
            unit = each.user_id or each.anonymous_id
            if told["flag"] == "checkout" and told.get("reason", "SPLIT") == "SPLIT" and since_us <= at_us < until_us:
                shown[unit] = min(shown.get(unit, (at_us, told["variant"])), (at_us, told["variant"]))
    cells: Counter[tuple[int, str, int]] = Counter()
    for unit, (at_us, arm) in shown.items():
        cells[at_us // SLOT_US, arm, -1] += 1
        after = [us - at_us for us in converted.get(unit, []) if 0 <= us - at_us <= window_us]
        if after:
            last_age = window_us // SLOT_US - 1
            cells[at_us // SLOT_US, arm, min(min(after) // SLOT_US, last_age)] += 1
    return sorted((*key, n) for key, n in cells.items())
