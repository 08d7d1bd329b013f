"""Reducers beside each other: each part has its own position, its own faults, and every event once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pytest
from sqlalchemy import Connection, text
from stream_cases import GUARD, KEY, MINUTE, NOON, C, Deployment, T, cell, conversion, exposure, record, traffic

from gtm_dagster.opsstore import OpsStore
from gtm_dagster.settings import Guard
from gtm_dagster.stream import Batch, GuardReducer, Start, Wanted, Worker
from gtm_dagster.stream.reducer import Rows

OTHER = Guard("pricing", "signup_completed")


class EventCounts:
    """Counts events by name, twice when it is given them twice; a part is a name. Its table is its own."""

    name = "names"

    def __init__(self, store: OpsStore, *names: str) -> None:
        self.store = store
        self.names = names
        self.broken: set[str] = set()
        self.log: list[tuple[str, ...]] = []
        self.began: set[str] = set()
        with store.transaction() as con:
            con.execute(text("CREATE TABLE IF NOT EXISTS name_counts (name TEXT PRIMARY KEY, n BIGINT NOT NULL)"))

    def fails(self, where: str) -> None:
        if where in self.broken:
            raise KeyError(f"planted: {where}")

    def load(self) -> None:
        self.began = set()

    def starts(self) -> list[Start]:
        self.fails("starts")
        new = [Start(name, since_us=0) for name in self.names if name not in self.began]
        self.began |= set(self.names)
        return new

    def begin(self, con: Connection, start: Start, behind: bool) -> None:
        self.fails("begin")
        self.log.append(("begin", start.part, "behind" if behind else "abreast"))

    def wanted(self, parts: Sequence[str]) -> Wanted:
        self.fails("wanted")
        return Wanted(frozenset(parts), ("event_name", "row_no"))

    def divide(self, rows: Rows, parts: Sequence[str]) -> Mapping[str, int]:
        self.fails("divide")
        self.log.append(("divide", *parts))
        counts = Counter(name for name, _ in rows)
        return {part: counts[part] for part in parts}

    def apply(self, con: Connection, part: str, rows: int, batch: Batch) -> int:
        if rows:
            con.execute(
                text("INSERT INTO name_counts VALUES (:part, :n) ON CONFLICT (name) DO UPDATE SET n = name_counts.n + :n"),
                {"part": part, "n": rows},
            )  # fmt: skip
        self.fails("apply")
        self.fails(part)
        return rows

    def caught_up(self, con: Connection, part: str) -> None:
        self.log.append(("caught up", part))

    def failed(self, con: Connection, part: str) -> None:
        self.log.append(("failed", part))
        self.fails("failed")

    def counts(self) -> dict[str, int]:
        with self.store.reading() as con:
            return {row.name: row.n for row in con.execute(text("SELECT name, n FROM name_counts"))}


@pytest.fixture
def here(tmp_path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path, GUARD, OTHER)
    yield deployment
    deployment.close()


def worker_of(here: Deployment, names: EventCounts, batch: int = 50_000) -> Worker:
    return Worker(here.log, here.store, [GuardReducer(here.store, here.guards), names], batch)


EXPOSED, PAID = "flag_exposed", "payment_completed"


def test_a_second_reducer_counts_beside_the_guards(here):
    records = [*traffic(1), record("page_viewed", NOON, "u"), record("page_viewed", NOON, "v", verdict="quarantined")]
    here.append(records)
    names = EventCounts(here.store, EXPOSED, PAID, "page_viewed")
    worker_of(here, names).once()
    accepted = Counter(each.event_name for each in records if each.verdict == "accepted")
    assert names.counts() == {name: accepted[name] for name in (EXPOSED, PAID, "page_viewed")}
    guards_alone = Deployment(here.log.path.parent / "alone", GUARD, OTHER)
    assert here.counts() == guards_alone.count(records)
    guards_alone.close()
    stored = here.store.positions()
    assert {name: position.seq for name, position in stored.items()} == dict.fromkeys(
        ["stream", f"guard:{KEY}", f"guard:{OTHER.key}", *(f"names:{name}" for name in names.names)], len(records)
    )
    assert {position.log_id for position in stored.values()} == {here.log.log_id}


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_every_event_reaches_a_part_once_whatever_the_batches_and_restarts(here, batch):
    records = traffic(3)
    total = Counter(each.event_name for each in records)
    for at in range(0, len(records), 10):
        here.append(records[at : at + 10])
        names = EventCounts(here.store, EXPOSED, PAID)  # a new process
        tail = worker_of(here, names, batch)
        for _ in range(at % 4):  # stopped in the middle
            tail.step()
    worker_of(here, EventCounts(here.store, EXPOSED, PAID), batch).once()
    assert names.counts() == {EXPOSED: total[EXPOSED], PAID: total[PAID]}


def test_one_pass_over_a_batch_serves_all_parts_that_stand_at_the_same_offset(here):
    here.append(traffic(1))
    names = EventCounts(here.store, EXPOSED, PAID)
    reads = []
    real = here.log.read_arrow
    here.log.read_arrow = lambda *arguments: reads.append(arguments) or real(*arguments)
    worker_of(here, names).once()
    assert len(reads) == 1
    assert [entry for entry in names.log if entry[0] == "divide"] == [("divide", EXPOSED, PAID)]


def test_a_part_that_comes_later_catches_up_to_where_the_others_stand_and_no_further(here):
    here.append(traffic(1))
    worker_of(here, EventCounts(here.store, EXPOSED)).once()
    more = EventCounts(here.store, EXPOSED, PAID)
    here.append([conversion("late", NOON)])  # one frame with the end, and behind it
    tail = worker_of(here, more)
    assert tail.step()
    assert tail.behind() == []
    paid = sum(each.event_name == PAID for each in traffic(1)) + 1
    assert more.counts()[PAID] == paid
    assert more.log[0] == ("begin", EXPOSED, "abreast")
    assert more.log[1] == ("begin", PAID, "behind")


@pytest.mark.parametrize("where", ["starts", "begin", "wanted", "divide", "apply", "failed"])
def test_a_reducer_that_fails_anywhere_holds_back_itself_alone(here, where, caplog):
    here.log.beat("shop", NOON + MINUTE, NOON + MINUTE)
    here.append([exposure("u", T, NOON), conversion("u", NOON)])
    names = EventCounts(here.store, EXPOSED, PAID)
    names.broken = {where, "apply"} if where == "failed" else {where}
    tail = worker_of(here, names)
    tail.once()
    assert here.counts() == sorted([cell(NOON, T), cell(NOON, T, 0)])
    assert here.store.watermark_us("checkout") == NOON + MINUTE, "its flag waits for nobody"
    assert names.counts() == {}, "half a batch is nothing"
    assert tail.behind() == (["names"] if where == "starts" else [EXPOSED, PAID])
    assert "names" in caplog.text and "again in 1 s: KeyError('planted" in caplog.text
    names.broken = set()
    worker_of(here, names).once()
    assert names.counts() == {EXPOSED: 1, PAID: 1}


def test_a_part_that_fails_is_tried_again_from_where_it_stands_and_its_neighbours_go_on(here, monkeypatch):
    names = EventCounts(here.store, EXPOSED, PAID)
    names.broken = {PAID}
    here.append([exposure("u", T, NOON), conversion("u", NOON)])
    tail = worker_of(here, names)
    tail.once()
    here.append([exposure("v", C, NOON), conversion("v", NOON)])
    tail.once()
    assert (names.counts(), tail.behind()) == ({EXPOSED: 2}, [PAID])
    assert here.log.committed("stream") == 0, "the log keeps what it has not had"
    names.broken = set()
    monkeypatch.setattr("gtm_dagster.stream.cursor.time.monotonic", lambda: 1e12)  # a minute later
    tail.step()
    assert (names.counts(), tail.behind()) == ({EXPOSED: 2, PAID: 2}, [])
    assert names.log.count(("failed", PAID)) == 1
    assert names.log[-1] == ("caught up", PAID)


def test_a_guard_that_fails_does_not_hold_back_the_other_reducer(here, monkeypatch):
    monkeypatch.setattr("gtm_dagster.stream.guard_reducer.count", lambda *_: 1 / 0)
    names = EventCounts(here.store, EXPOSED)
    here.append([exposure("u", T, NOON)])
    tail = worker_of(here, names)
    tail.once()
    assert (names.counts(), tail.behind()) == ({EXPOSED: 1}, [KEY, OTHER.key])
