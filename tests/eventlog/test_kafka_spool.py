"""What the spool makes of a broker's answers, by a script: what is sent how often, and what stays on the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from eventlog_cases import record

from gtm_dagster.eventlog import EventLogError
from gtm_dagster.eventlog.kafka_spool import SPOOL_MIGRATIONS, Spool, spooled
from gtm_dagster.eventlog.log_file import reading
from gtm_dagster.eventlog.sqlite import SqliteEventLog


class Script:
    """A producer that answers as told: True delivered, None the client still tries, False given up."""

    fault = "away"

    def __init__(self, *answers: bool | None) -> None:
        self.sent: list[str] = []
        self.dropped = 0
        self._answers = list(answers)

    def deliver(self, messages, seconds: float) -> bool | None:
        self.sent += [message["value"].decode().split('"event_id":"')[1][0] for message in messages]
        return self._answers.pop(0)

    def settled(self, seconds: float) -> bool | None:
        return self._answers.pop(0)

    def drop(self) -> None:
        self.dropped += 1


def opened(tmp_path: Path, script: Script, most: int = 100) -> SqliteEventLog:
    return SqliteEventLog(tmp_path / "spool.db", 32, Spool(script, 0.1, most), SPOOL_MIGRATIONS)  # type: ignore[arg-type]


def waiting(log: SqliteEventLog) -> int:
    with reading(log.path) as con:
        return spooled(con)


@pytest.mark.parametrize(
    ("answers", "drains", "sent", "left"),
    [
        pytest.param([True, True], 0, "ab", 0, id="delivered at once"),
        pytest.param([None, True, True], 2, "ab", 0, id="delivered late: watched, not sent again"),
        pytest.param([None, None, None], 2, "a", 2, id="still with the client: what comes behind it waits"),
        pytest.param([False, True], 1, "aab", 0, id="given up: sent again, in order"),
        pytest.param([None, False, True], 2, "aab", 0, id="given up late: sent again"),
        pytest.param([False, None, True], 2, "aab", 0, id="the second time it is watched, too"),
    ],
)
def test_what_is_sent_how_often_and_what_stays(tmp_path, answers, drains, sent, left):
    script = Script(*answers)
    with opened(tmp_path, script) as log:
        assert [log.append([record(event_id)]).statuses for event_id in "ab"] == [["accepted"]] * 2
        for _ in range(drains):
            log.drain().result()
        assert ("".join(script.sent), waiting(log)) == (sent, left)
        assert log.append([record("a")]).statuses == ["duplicate"]


def test_what_the_client_has_of_a_commit_that_failed_is_given_up(tmp_path, monkeypatch):
    script = Script(None, True)
    with opened(tmp_path, script) as log:
        writer = log._writer
        store = writer._stored

        def failing(con, path, items):
            store(con, path, items)
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr(writer, "_stored", failing)
        with pytest.raises(EventLogError, match="disk I/O error"):
            log.append([record("a")])
        monkeypatch.setattr(writer, "_stored", store)
        assert log.append([record("b")]).statuses == ["accepted"]
        assert (script.dropped, waiting(log)) == (1, 0), "b's row would have had the number of a's"


def test_a_record_that_cannot_be_a_message_fails_alone(tmp_path):
    script = Script(True, True, True)
    with opened(tmp_path, script) as log:
        futures = [log.submit([record(each, event_us=2**70 if each == "b" else 1)]) for each in "abc"]
        outcomes = [future.exception(10) is None for future in futures]
        assert outcomes == [True, False, True]
        assert log.writer_fault() is None
