"""The ids that a log has accepted: as if they were looked up one by one, and side by side where they tell their time."""

from __future__ import annotations

import sqlite3
from uuid import UUID

import pytest
from eventlog_cases import DAY_US, MARCH_1, record
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gtm_dagster.eventlog import Record
from gtm_dagster.eventlog.accepted_ids import id_key, statuses_of
from gtm_dagster.eventlog.log_tables import prepare
from gtm_dagster.eventlog.sqlite import SqliteEventLog

V7 = [str(UUID(int=(n << 80) | (7 << 76) | (2 << 62) | 99)) for n in range(1_772_323_200_000, 1_772_323_200_004)]
IDS = ["a", "b", "", V7[0], V7[1], V7[0].upper(), "x" * 14 + "7" + "x" * 21]
OLD_ENTRY = (bytes.fromhex("acce764473021332dbaa3ef103825388"), bytes.fromhex("10c1eb4fa15a502b"))
"""What version 0.1.0 remembered of `record("a")`."""


def memory() -> sqlite3.Connection:
    con = sqlite3.connect(":memory:", isolation_level=None)
    prepare(con, "events.db")  # type: ignore[arg-type]
    return con


def one_by_one(records: list[Record]) -> list[str]:
    """What statuses mean, by a dict of the events that were accepted."""
    accepted: dict[tuple[str, str | None], Record] = {}
    statuses = []
    for each in records:
        first = accepted.get((each.write_key, each.event_id))
        if each.verdict != "accepted" or first is None:
            statuses.append(each.verdict)
            if each.verdict == "accepted":
                accepted[each.write_key, each.event_id] = each
        else:
            unsent = each.event_us == each.received_us or first.event_us == first.received_us
            same = each.campaign == first.campaign and (unsent or each.event_us == first.event_us)
            statuses.append("duplicate" if same else "conflict")
    return statuses


EVENTS = st.builds(
    record,
    st.sampled_from(IDS),
    write_key=st.sampled_from(["shop", "app"]),
    campaign=st.sampled_from([None, "x"]),
    event_us=st.sampled_from([MARCH_1, MARCH_1 + 1, MARCH_1 + 2]),
    received_us=st.sampled_from([MARCH_1, MARCH_1 + 1, MARCH_1 + DAY_US]),
    verdict=st.sampled_from(["accepted", "accepted", "accepted", "quarantined", "suppressed"]),
)


@given(st.lists(st.lists(EVENTS, max_size=12), min_size=1, max_size=4))
@examples(60)
def test_a_group_has_the_statuses_of_its_events_one_by_one(groups):
    con = memory()
    statuses = [status for group in groups for status in statuses_of(con, group)[0]]
    assert statuses == one_by_one([each for group in groups for each in group])
    con.close()


def test_keys_of_uuid_7_are_in_the_order_of_their_times():
    keys = [id_key(record(event_id, write_key=key)) for event_id in V7 for key in ("shop", "app")]
    assert [key[:6] for key in keys] == sorted(key[:6] for key in keys)
    assert len(set(keys)) == 8
    assert {len(id_key(record(event_id))) for event_id in IDS} == {18}


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        pytest.param(record("a", event_us=MARCH_1 + 1), record("a", event_us=MARCH_1 + 9, received_us=MARCH_1 + 9), "duplicate", id="the door gave both the time of receipt"),
        pytest.param(record("a", event_us=MARCH_1), record("a", event_us=MARCH_1 + 9, received_us=MARCH_1 + 9), "duplicate", id="the second was sent without a time"),
        pytest.param(record("a", event_us=MARCH_1), record("a", event_us=MARCH_1 - 5), "conflict", id="another time was sent"),
    ],
)  # fmt: skip
def test_a_time_that_was_not_sent_is_no_other_content(tmp_path, first, second, status):
    with SqliteEventLog(tmp_path / "events.db") as log:
        assert log.append([first]).statuses == ["accepted"]
        assert log.append([second]).statuses == [status]


def test_ids_of_before_migration_0003_are_known_until_they_are_forgotten(tmp_path):
    with SqliteEventLog(tmp_path / "events.db", dedup_days=2) as log:
        con = sqlite3.connect(log.path)
        con.execute("INSERT INTO dedup VALUES (?, ?, '2026-03-01')", OLD_ENTRY)
        con.commit()
        con.close()
        assert log.append([record("a"), record("b")]).statuses == ["duplicate", "accepted"]
        assert log.append([record("a", campaign="x")]).statuses == ["conflict"]
        log.trim("2026-03-04")
        assert log.append([record("a")]).statuses == ["accepted"]
