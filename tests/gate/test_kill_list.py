"""The kill list: written whole, honoured by every gate within a second, fail-safe when it cannot be read."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from gate_doubles import FLAG, Recorder, Says, eventually, on, patient

from gtm_dagster.gate import kill_list
from gtm_dagster.gate.kill_list import Killed, KillList, KillListError

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_add_and_remove(tmp_path: Path) -> None:
    path = tmp_path / "state" / "killed.json"
    assert kill_list.read(path) == {}
    assert kill_list.add(path, FLAG, "lost 60 %", AT) is True
    assert kill_list.add(path, FLAG, "again", AT + timedelta(hours=1)) is False
    assert kill_list.add(path, "other", "é", AT.astimezone(timezone(timedelta(hours=2)))) is True
    assert json.loads(path.read_text())["flags"][FLAG] == {"since": "2026-11-24T12:00:00Z", "reason": "lost 60 %"}
    assert kill_list.read(path)["other"] == Killed("2026-11-24T12:00:00Z", "é")
    assert [kill_list.remove(path, FLAG), kill_list.remove(path, FLAG)] == [True, False]
    assert set(kill_list.read(path)) == {"other"}
    assert [each.name for each in path.parent.iterdir() if each.suffix not in {".json", ".lock"}] == []


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "killed.json"
    threads = [
        threading.Thread(target=lambda part=part: [kill_list.add(path, f"f{part}-{n}", "", AT) for n in range(10)])
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kill_list.read(path)) == 40


UNREADABLE = ["", "{", "[]", '{"flags": []}', '{"format": 2, "flags": {}}', "\xff"]


@pytest.mark.parametrize("text", UNREADABLE, ids=repr)
def test_a_list_that_cannot_be_read_kills_everything_and_is_not_overwritten(tmp_path: Path, text: str) -> None:
    path = tmp_path / "killed.json"
    path.write_text(text, encoding="latin-1")
    assert KillList(path).killed("anything")
    for write in (lambda: kill_list.read(path), lambda: kill_list.add(path, FLAG, "", AT)):
        with pytest.raises(KillListError, match=r"killed\.json"):
            write()
    assert path.read_text(encoding="latin-1") == text


def test_entries_written_by_hand_may_be_bare(tmp_path: Path) -> None:
    path = tmp_path / "killed.json"
    path.write_text('{"flags": {"a": {}, "b": true}}')
    assert kill_list.read(path) == {"a": Killed("", ""), "b": Killed("", "")}


def test_a_flag_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="empty"):
        kill_list.add(tmp_path / "killed.json", "", "", AT)


def test_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KillListError, match="cannot be"):
        kill_list.add(tmp_path / "file" / "killed.json", FLAG, "", AT)


def test_the_file_is_looked_at_twice_a_second_at_most(tmp_path: Path) -> None:
    path, now = tmp_path / "killed.json", [10.0]
    seen = KillList(path, clock=lambda: now[0])
    assert not seen.killed(FLAG)
    kill_list.add(path, FLAG, "", AT)
    assert not seen.killed(FLAG)
    now[0] += kill_list.CHECK_SECONDS
    assert seen.killed(FLAG)
    path.unlink()
    now[0] += kill_list.CHECK_SECONDS
    assert not seen.killed(FLAG), "a list that was taken away kills nothing"


def test_scenario_19_the_gate_honours_the_kill_list_whatever_the_provider_says(tmp_path: Path) -> None:
    path = tmp_path / "killed.json"
    tracker = Recorder()
    provider = Says(lambda flag, key: on())
    with patient(provider, tracker, kill_list=path) as gate:
        assert gate.is_feature_enabled("u1", FLAG) is True
        kill_list.add(path, FLAG, "the provider still serves the new flow", AT)
        eventually(lambda: not gate.is_feature_enabled("u1", FLAG), 1.0)
        assert gate.is_feature_enabled("u1", "other") is True
        asked = provider.asked
        gate.is_feature_enabled("u1", FLAG)
        assert provider.asked == asked, "a killed flag asks nobody"
        kill_list.remove(path, FLAG)
        eventually(lambda: gate.is_feature_enabled("u1", FLAG), 1.0)
    assert [reason for _, reason, _ in tracker.emitted()] == ["SPLIT", "KILLED", "SPLIT"]
