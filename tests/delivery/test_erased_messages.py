"""A person who is erased is in no table of messages and in no byte of their file, and gets nothing more."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from hostile_servers import Receiver, answering, in_turn
from message_cases import HOUR, SECOND, START, bench, message, put, rows, webhook

from gtm_dagster.delivery.message_store import MessageStore, erase_messages, open_database

PERSON, OTHER = "5ecre7" * 5, "07her0" * 5


def test_scenario_29_nothing_of_an_erased_person_stays(tmp_path: Path) -> None:
    path = tmp_path / "triggers.db"
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "note.j2").write_text("Title: x\n\n{{ person }}")
    with Receiver(in_turn(answering(500), answering(200))) as receiver:
        put(path, message("w1", person=PERSON), message("i1", person=PERSON, channel="in_app", target="note.j2"))
        put(path, message("w2", person=OTHER, decided_us=START + SECOND))
        with bench(path, [webhook("crm", receiver.url)]) as work:
            work.round()
            assert {row[0] for row in rows(path, "SELECT person FROM outbox UNION SELECT person FROM feed")} == {
                PERSON,
                OTHER,
            }
            with closing(open_database(path)) as con:
                with MessageStore(con).transaction():
                    assert erase_messages(con, PERSON) == 3
            work.run_to(START + HOUR)
            assert receiver.ids == ["w1", "w2"], "the attempt before, and the other person's"
        with closing(sqlite3.connect(path)) as con:
            con.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for file in tmp_path.glob("triggers.db*"):
            assert PERSON.encode() not in file.read_bytes(), file
        assert rows(path, "SELECT action_id FROM attempts") == [("w2",)]
        assert OTHER.encode() in path.read_bytes()


def test_what_ended_is_kept_for_90_days_and_no_longer(tmp_path: Path) -> None:
    path, day = tmp_path / "triggers.db", 86_400 * SECOND
    with Receiver(answering(200)) as receiver:
        put(path, message("a1"))
        with bench(path, [webhook("crm", receiver.url)]) as work:
            work.round()
            put(path, message("a1"))
            work.now_us = START + 89 * day
            work.round()
            assert receiver.ids == ["a1"], "put in a second time, it is not sent a second time"
            work.now_us = START + 91 * day
            work.round()
    assert rows(path, "SELECT count(*) FROM outbox")[0][0] == rows(path, "SELECT count(*) FROM attempts")[0][0] == 0
