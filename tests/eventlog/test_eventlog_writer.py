"""The writer thread outlives any batch."""

import pytest

from gtm_dagster.admission.record import Record
from gtm_dagster.eventlog import EventLogError
from gtm_dagster.eventlog.sqlite import SqliteEventLog


def record(event_id: str, event_us: int) -> Record:
    return Record(
        write_key="w", event_id=event_id, event_name="page_viewed", event_us=event_us, received_us=1, anonymous_id="a"
    )


def test_a_batch_that_cannot_be_packed_fails_alone(tmp_path):
    log = SqliteEventLog(tmp_path / "events.db")
    futures = [log.submit([record(f"e{i}", 2**70 if i == 3 else i), record(f"f{i}", i)]) for i in range(6)]
    for i, future in enumerate(futures):
        if i == 3:
            with pytest.raises(EventLogError, match="cannot be written"):
                future.result(10)
        else:
            assert future.result(10).accepted == 2
    assert log.append([record("later", 1)]).accepted == 1
    assert log.last_seq() == 11
    log.close()
