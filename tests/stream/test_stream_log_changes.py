"""A log that does not go on from where the worker stands: an error with the way out, nothing counted, nothing lost."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stream_cases import GUARD, HOUR, KEY, MINUTE, NOON, C, Deployment, T, cell, exposure
from test_stream_worker import finish, gtm_stream, until

from gtm_dagster.eventlog import LogChangedError
from gtm_dagster.eventlog.sqlite import SqliteEventLog
from gtm_dagster.settings import Guard
from gtm_dagster.stream import GuardReducer, Worker

OTHER = Guard("pricing", "signup_completed")
BEAT = NOON + HOUR


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path, GUARD, OTHER)
    yield deployment
    deployment.close()


def change_to(here: Deployment, copy: Path | None) -> None:
    """Another file takes the log's place: a copy, or a new one. Nobody has both open by one name, as SQLite asks for."""
    here.log.close()
    folder = Path(tempfile.mkdtemp(dir=here.log.path.parent))
    if copy is not None:
        shutil.copy(copy, folder / "events.db")
    here.log = SqliteEventLog(folder / "events.db")


def back_up(here: Deployment) -> Path:
    copy = here.log.path.parent / "backup.db"
    source, target = sqlite3.connect(here.log.path), sqlite3.connect(copy)
    source.backup(target)
    source.close()
    target.close()
    return copy


def accept(here: Deployment) -> None:
    """As `gtm log accept` does."""
    positions = [(position, False) for position in here.store.positions().values()]
    assert here.log.accept(positions, reason="the disk is gone", actor="ada") is not None


def lost(here: Deployment) -> None:
    change_to(here, None)
    here.append([exposure("w", C, NOON)])


def lost_and_grown(here: Deployment) -> None:
    change_to(here, None)
    here.append([exposure("w", C, NOON), *(exposure(f"n{n}", C, NOON, flag="another") for n in range(9))])


def restored(here: Deployment) -> None:
    change_to(here, here.log.path.parent / "backup.db")


def restored_and_grown(here: Deployment) -> None:
    restored(here)
    later = NOON + 30 * MINUTE
    here.append([exposure("w", C, NOON, received_us=later), exposure("x", C, NOON, received_us=later, flag="another")])


def trimmed_past(here: Deployment) -> None:
    """The worker stood still, and the log left without it."""
    here.append([exposure("gone", T, NOON)])
    here.log.commit("warehouse", here.log.last_seq())
    assert here.log.trim("2026-04-01") == here.log.last_seq()
    here.append([exposure("w", C, NOON)])


CHANGES = [
    pytest.param(lost, "another log took its place", [cell(NOON, C)], id="lost"),
    pytest.param(lost_and_grown, "another log took its place", [cell(NOON, C)], id="lost, and longer by now"),
    pytest.param(restored, "an older copy was restored", [], id="restored"),
    pytest.param(restored_and_grown, "has grown since: an older copy was restored", [cell(NOON, C)], id="restored, and as long by now"),
    pytest.param(trimmed_past, "left it before they were read", [cell(NOON, C)], id="trimmed past"),
]  # fmt: skip


def begun(here: Deployment) -> list[tuple[int, str, int, int]]:
    """Two records are counted, of which a backup has one."""
    here.log.beat("shop", NOON + MINUTE, NOON + MINUTE)
    here.count([exposure("u", T, NOON)])
    back_up(here)
    here.count([exposure("v", T, NOON)])
    return [cell(NOON, T, n=2)]


@pytest.mark.parametrize(("change", "message", "more"), CHANGES)
def test_a_changed_log_is_an_error_until_a_person_accepts_it(here, change, message, more):
    counted, before = begun(here), here.store.positions()
    change(here)
    here.log.beat("shop", BEAT, BEAT)
    tail = here.worker()
    for _ in range(2):
        with pytest.raises(LogChangedError, match=message) as caught:
            tail.once()
    assert "gtm log accept --reason" in str(caught.value) and "\n" not in str(caught.value)
    assert (here.counts(), here.store.positions()) == (counted, before)
    assert here.store.watermark_us("checkout") == NOON + MINUTE, "no data is not zero: the flag's watermark stands"
    assert here.log.committed("stream") <= here.log.last_seq()
    accept(here)
    assert here.count() == sorted(counted + more), "what was counted stays, what the log holds is counted"
    assert here.store.watermark_us("checkout") == BEAT
    assert {position.log_id for position in here.store.positions().values()} == {here.log.log_id}
    end = here.log.last_seq()
    assert {position.seq for position in here.store.positions().values()} == {end}
    here.append([exposure("z", C, NOON)])
    assert sum(row[3] for row in here.count()) == sum(row[3] for row in counted + more) + 1


class NewestLog:
    """The deployment's log of the moment, call by call."""

    def __init__(self, here: Deployment) -> None:
        self._here = here

    def __getattr__(self, name: str) -> Any:
        return getattr(self._here.log, name)


@pytest.mark.parametrize(("change", "message", "more"), CHANGES[:-1])  # who runs reads a record before it is trimmed
def test_a_worker_that_runs_notices_waits_and_goes_on(here, change, message, more, caplog, monkeypatch):
    counted = begun(here)
    stop = threading.Event()
    monkeypatch.setattr(stop, "wait", lambda seconds: stop.is_set() or time.sleep(0.005))
    tail = Worker(NewestLog(here), here.store, [GuardReducer(here.store, here.guards)])
    thread = threading.Thread(target=tail.run, args=(stop,))
    thread.start()
    try:
        until(lambda: tail.offset == 2)
        change(here)
        until(lambda: message in caplog.text)
        assert here.counts() == counted
        accept(here)
        until(lambda: here.counts() == sorted(counted + more))
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("after_reading", [False, True])
def test_a_log_that_changes_while_it_is_read_is_not_counted_under_the_old_one(here, after_reading):
    counted, before = begun(here), here.store.positions()
    here.append([exposure(f"n{n}", T, NOON) for n in range(9)])

    class Changing(NewestLog):
        def read_arrow(self, *arguments: int) -> Any:
            records = here.log.read_arrow(*arguments)
            lost_and_grown(here)
            return records if after_reading else here.log.read_arrow(*arguments)

    with pytest.raises(LogChangedError, match="another log took its place"):
        Worker(Changing(here), here.store, [GuardReducer(here.store, here.guards)]).once()
    assert (here.counts(), here.store.positions()) == (counted, before)


def test_a_trimmed_guard_holds_back_its_own_flag_alone(here, caplog):
    """It was left out of the settings for a week; the others counted, and the log was trimmed behind them."""
    begun(here)
    here.guards = (OTHER,)
    here.count([exposure("gone", T, NOON)])
    here.log.commit("warehouse", here.log.last_seq())
    here.log.trim("2026-04-01")
    here.log.beat("shop", BEAT, BEAT)
    here.guards = (GUARD, OTHER)
    here.append([exposure("w", C, NOON), exposure("w", C, NOON, flag="pricing")])
    tail = here.worker()
    tail.once()
    assert tail.behind() == [KEY]
    assert f"guard:{KEY}: cannot go on, again in 1 s: {here.log.path}: its reader stands at offset 2" in caplog.text
    assert here.counts(guard=OTHER) == [cell(NOON, C)]
    assert (here.store.watermark_us("pricing"), here.store.watermark_us("checkout")) == (BEAT, NOON + MINUTE)
    accept(here)
    assert here.count() == sorted([cell(NOON, T, n=2), cell(NOON, C)])
    assert here.store.watermark_us("checkout") == BEAT


def test_an_older_copy_is_recognised_by_a_worker_that_only_passed_over_its_records(tmp_path):
    here = Deployment(tmp_path, armed_us=None)
    here.append([exposure("u", T, NOON)])
    here.worker().once()
    back_up(here)
    here.append([exposure("v", T, NOON)])
    here.worker().once()
    restored_and_grown(here)
    with pytest.raises(LogChangedError, match="an older copy was restored"):
        here.worker().once()
    here.close()


def test_a_position_of_before_logs_had_an_identity_is_adopted(here):
    begun(here)
    with here.store.transaction() as con:
        con.exec_driver_sql("UPDATE stream_offsets SET log_id = '', received_us = NULL")
    with sqlite3.connect(here.log.path) as con:
        con.execute("UPDATE log SET unnamed_seq = 2")  # as the migration of such a log leaves it
    con.close()
    here.append([exposure("w", C, NOON)])
    tail = here.worker()
    tail.once()
    assert tail.changed == 1, "nothing is counted again"
    assert {position.log_id for position in here.store.positions().values()} == {here.log.log_id}


def test_a_worker_on_a_trimmed_log_begins_with_what_it_keeps(tmp_path):
    """Nobody has counted before: the log owes it nothing."""
    here = Deployment(tmp_path, armed_us=None)
    here.append([exposure("gone", T, NOON)])
    here.log.commit("warehouse", 1)
    here.log.trim("2026-04-01")
    here.arm(NOON)
    assert here.count() == []
    assert here.count([exposure("u", T, NOON)]) == [cell(NOON, T)]
    here.close()


def test_the_command_ends_with_one_line(here, tmp_path):
    begun(here)
    lost(here)
    here.log.close()
    for path in tmp_path.glob("events.db*"):
        path.unlink()
    shutil.move(here.log.path, tmp_path / "events.db")
    here.log = SqliteEventLog(tmp_path / "events.db")
    with gtm_stream(tmp_path, "--once") as process:
        code, out, err = finish(process)
    assert (code, out) == (1, "")
    *others, last = err.splitlines()
    assert last.startswith(f"gtm: {here.log.path}: its reader stands at offset 2 of log "), err
    assert "another log took its place" in last and not [line for line in others if "events.db" in line]
    accept(here)
    with gtm_stream(tmp_path, "--once") as process:
        code, out, err = finish(process)
    assert code == 0, err
    assert here.counts() == sorted([cell(NOON, T, n=2), cell(NOON, C)])
