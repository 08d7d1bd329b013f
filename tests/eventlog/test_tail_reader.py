"""Rows read without pyarrow are those that pyarrow reads, also of a log whose file is replaced."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gtm_dagster.admission.record import LANDING_COLUMNS, Record
from gtm_dagster.eventlog.frames import pack, to_arrow, to_rows
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.eventlog.tail_reader import TailReader

NAMES = tuple(name for name, _ in LANDING_COLUMNS if name != "sealed")
TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
RECORDS = st.builds(
    Record, write_key=st.just("k"), event_id=TEXTS, event_name=TEXTS, event_us=st.none() | st.integers(0, 2**60),
    received_us=st.integers(0, 2**60), user_id=TEXTS, properties=TEXTS, country=TEXTS,
    verdict=st.sampled_from(["accepted", "quarantined"]), origin=st.just("log"),
)  # fmt: skip


@given(st.lists(st.lists(RECORDS, min_size=1, max_size=12), min_size=1, max_size=3))
def test_rows_are_those_of_arrow(batches: list[list[Record]]) -> None:
    frames, first = [], 1
    for batch in batches:
        frames.append((first, first + len(batch) - 1, pack(batch)))
        first += len(batch)
    table = to_arrow(frames).select(list(NAMES))
    assert to_rows(frames, NAMES) == [tuple(row.values()) for row in table.to_pylist()]


def test_the_end_is_seen_and_a_replaced_file_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    record = Record(write_key="k", event_id="e", event_name="n", event_us=1, received_us=2)
    with SqliteEventLog(path) as log, TailReader(path) as reader:
        before = reader.changes()
        assert reader.read(0, 10, ("event_id",)).rows == []
        log.append([record])
        assert reader.changes() != before
        tail = reader.read(0, 10, ("event_id",))
        assert (tail.log_id, tail.end, tail.rows) == (log.log_id, 1, [(1, "e")])
        assert reader.read(1, 10, ("event_id",)).rows == []
    for name in ("events.db", "events.db-wal", "events.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with SqliteEventLog(path) as other:
        reader.check_file()
        assert reader.read(0, 10, ("event_id",)).log_id == other.log_id
        reader.close()
