"""A log continues what its reader remembers, or says what it found and the way out."""

from __future__ import annotations

import pytest
from eventlog_cases import DAY_US, MARCH_1, old_log, record

from gtm_dagster.eventlog import LogChangedError, Position
from gtm_dagster.eventlog.log_identity import LogState, acceptance, resume
from gtm_dagster.eventlog.sqlite import SqliteEventLog

OWN, OTHER, EARLIER, FRESH = "a" * 16, "b" * 16, "e" * 16, "f" * 16
AT_20 = 1_700_000_000_000_020


def state(**changed: object) -> LogState:
    """A log of offsets 11 to 30 that continues an earlier one and had an unnamed beginning up to 15."""
    values = {
        "place": "events.db", "log_id": OWN, "first_seq": 11, "last_seq": 30, "unnamed_seq": 15, "gap_seq": 0,
        "continued": frozenset({EARLIER}),
    }  # fmt: skip
    return LogState(**(values | changed))


def receipt(seq: int) -> int | None:
    return AT_20 - 20 + seq if 11 <= seq <= 30 else None


@pytest.mark.parametrize(
    ("log", "position", "from_start", "expected"),
    [
        pytest.param({}, Position(OWN, 30), True, 30, id="read to the end"),
        pytest.param({}, Position(OWN, 17), True, 17, id="read a part"),
        pytest.param({}, Position(OWN, 10), True, 10, id="the next one is the oldest kept"),
        pytest.param({}, Position(OWN, 20, AT_20), True, 20, id="the record read last is still the same"),
        pytest.param({}, Position(OWN, 10, 5), True, 10, id="the record read last is no longer kept"),
        pytest.param({}, None, False, 10, id="a new reader starts with what is kept"),
        pytest.param({}, Position("", 0), False, 10, id="a reader of before that had read nothing"),
        pytest.param({"first_seq": 1}, None, True, 0, id="a new reader of an untrimmed log gets all of it"),
        pytest.param({"gap_seq": 10}, None, True, 10, id="a new reader after an accepted gap"),
        pytest.param({"gap_seq": 10}, Position(OWN, 3), True, 10, id="an accepted gap"),
        pytest.param({}, Position("", 12), True, 12, id="a position of before, in range"),
        pytest.param({"first_seq": 1}, Position(EARLIER, 4711), True, 0, id="a log accepted as the continuation"),
        pytest.param({"gap_seq": 10}, Position(EARLIER, 4711), True, 10, id="a continuation that begins later"),
        pytest.param({"first_seq": 31}, Position(OWN, 30), True, 30, id="everything was read and left the log"),
    ],
)
def test_where_a_reader_goes_on(log, position, from_start, expected):
    assert resume(state(**log), position, receipt, from_start=from_start) == expected


@pytest.mark.parametrize(
    ("log", "position", "kind", "message"),
    [
        pytest.param({}, Position(OTHER, 40), "other", rf"offset 40 of log {OTHER}, this file is log {OWN} \(offsets 11 to 30\): another log took its place; restore the file of that log", id="another log"),
        pytest.param({"unnamed_seq": None}, Position("", 9), "other", "offset 9 of a log from before logs had an identity", id="a log of before is gone"),
        pytest.param({}, Position(OWN, 31), "restored", "this copy of it ends at offset 30: an older copy was restored", id="shorter than what was read"),
        pytest.param({}, Position("", 16), "restored", "this copy of it ends at offset 15", id="shorter than what was read before it had an id"),
        pytest.param({}, Position(OWN, 20, AT_20 - 1), "restored", r"received offset 20 at 2023-11-14T22:13:20.000020\+00:00, not at 2023-11-14T22:13:20.000019\+00:00, and has grown since", id="an older copy that has grown"),
        pytest.param({}, Position(OWN, 9), "trimmed", "begins at offset 11: offsets 10 to 10 left it before they were read", id="trimmed past its reader"),
        pytest.param({"gap_seq": 8}, Position(OWN, 5), "trimmed", "offsets 9 to 10 left it", id="trimmed past an accepted gap"),
        pytest.param({}, None, "trimmed", "offsets 1 to 10 left it before they were read", id="the reader lost its memory"),
        pytest.param({}, Position(EARLIER, 4711), "trimmed", "offsets 1 to 10 left it", id="a continuation that was trimmed unread"),
    ],
)  # fmt: skip
def test_a_log_that_does_not_continue_what_was_read_is_an_error_with_the_way_out(log, position, kind, message):
    with pytest.raises(LogChangedError, match=message) as caught:
        resume(state(**log), position, receipt, from_start=True)
    assert caught.value.kind == kind
    assert "gtm log accept --reason" in str(caught.value)
    assert str(caught.value).startswith("events.db: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("log", "positions", "log_id", "continues", "gap"),
    [
        pytest.param({}, [Position(OTHER, 40), Position(OTHER, 38)], OWN, [OTHER], 10, id="another log keeps its id"),
        pytest.param({}, [Position(OTHER, 40), Position(FRESH, 3)], OWN, [OTHER, FRESH], 10, id="it may stand in for several"),
        pytest.param({}, [Position(OWN, 31)], FRESH, ["", OWN], 10, id="a restored copy gets a new id: its offsets come again"),
        pytest.param({"unnamed_seq": None}, [Position(OWN, 31)], FRESH, [OWN], 10, id="and names the ids it had"),
        pytest.param({}, [Position(OWN, 31), Position(OTHER, 4)], FRESH, ["", OWN, OTHER], 10, id="restored, and another"),
        pytest.param({}, [Position(OWN, 3)], OWN, [], 10, id="a gap"),
        pytest.param({"gap_seq": 20}, [Position(OTHER, 3)], OWN, [OTHER], 20, id="an accepted gap stays accepted"),
    ],
)  # fmt: skip
def test_what_is_accepted_and_that_everybody_goes_on_then(log, positions, log_id, continues, gap):
    before = state(**log)
    found = acceptance(before, [(position, True) for position in positions], receipt, FRESH)
    assert (found.log_id, found.continues, found.gap_seq) == (log_id, continues, gap)
    assert found.renamed_from == (OWN if log_id == FRESH else "")
    after = state(
        log_id=log_id, gap_seq=gap, continued=before.continued | set(continues),
        unnamed_seq=None if log_id == FRESH else before.unnamed_seq,
    )  # fmt: skip
    asked = [(position, True) for position in positions]
    assert [resume(after, position, receipt, from_start=True) for position in positions] == [10] * len(positions)
    assert acceptance(after, asked, receipt, "0" * 16) is None, "accepting again changes nothing"


def test_what_needs_no_acceptance():
    positions = [(Position(OWN, 30), True), (Position(EARLIER, 9), False), (None, False)]
    assert acceptance(state(gap_seq=10), positions, receipt, FRESH) is None


@pytest.fixture
def log(tmp_path):
    with SqliteEventLog(tmp_path / "events.db") as opened:
        yield opened


def test_a_log_keeps_its_id_and_two_logs_never_share_one(tmp_path, log):
    assert SqliteEventLog(log.path).log_id == log.log_id
    assert len(log.log_id) == 16
    assert SqliteEventLog(tmp_path / "other.db").log_id != log.log_id


def test_the_range_it_keeps(log):
    assert (log.first_seq(), log.last_seq()) == (1, 0)
    log.append([record("a"), record("b")])
    log.append([record("c", received_us=MARCH_1 + 5 * DAY_US)])
    assert (log.first_seq(), log.last_seq()) == (1, 3)
    log.commit("landing", 3)
    log.trim("2026-03-03")
    assert (log.first_seq(), log.last_seq()) == (3, 3)
    log.trim("2026-03-20")
    assert (log.first_seq(), log.last_seq()) == (4, 3)


def test_a_receipt_is_compared_with_the_record_at_its_offset(log):
    log.append([record("a", received_us=MARCH_1), record("b", received_us=MARCH_1 + 7)])
    log.append([record("c", received_us=MARCH_1 + 9)])
    for seq, us in ((1, MARCH_1), (2, MARCH_1 + 7), (3, MARCH_1 + 9)):
        assert log.resume(Position(log.log_id, seq, us)) == seq
        with pytest.raises(LogChangedError, match="has grown since"):
            log.resume(Position(log.log_id, seq, us + 1))


def test_acceptance_is_recorded_with_who_and_why_and_consumers_begin_again(log):
    log.append([record("a"), record("b")])
    log.commit("warehouse", 2)
    before = log.log_id
    lost = [(Position(before, 5), True), (Position(OTHER, 1), False)]
    found = log.accept(lost, reason="the disk died", actor="ada")
    assert (found.renamed_from, found.log_id) == (before, log.log_id)
    assert log.log_id != before
    assert log.committed("warehouse") == 0
    assert {(row["actor"], row["reason"], row["kind"], row["log_id"]) for row in log.accepted()} == {
        ("ada", "the disk died", "restored", before), ("ada", "the disk died", "restored", OTHER),
    }  # fmt: skip
    assert log.continues(before) and log.continues(OTHER) and not log.continues("c" * 16)
    assert log.accept(lost, reason="again", actor="ada") is None
    assert len(log.accepted()) == 2


def test_a_position_of_before_belongs_to_the_log_that_was_there_before(tmp_path, log):
    path = tmp_path / "old.db"
    old_log(path, [record(str(n)) for n in range(5)])
    with SqliteEventLog(path) as old:
        assert old.continues("")
        assert [old.resume(Position("", seq), from_start=True) for seq in (1, 5)] == [1, 5]
        old.append([record("new")])
        with pytest.raises(LogChangedError, match="ends at offset 5"):
            old.resume(Position("", 6))
    assert not log.continues("")
