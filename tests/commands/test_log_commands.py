"""`gtm log` as a person uses it after a lost disk: status, accept, refresh; and what it refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from eventlog_cases import record

from gtm_dagster.cli import run
from gtm_dagster.eventlog import EventLog, Position, open_log
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.settings import Settings, load_settings
from gtm_dagster.warehouse.build_context import BuildContext
from gtm_dagster.warehouse.landing.from_log import land_log

NOW_US = time.time_ns() // 1000
Gtm = Callable[..., tuple[int, str, str]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(None, {"GTM_STATE_DIR": str(tmp_path / "state")})


@pytest.fixture
def gtm(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gtm:
    """Runs `gtm ARGS`: exit code, stdout, stderr."""
    monkeypatch.setenv("GTM_STATE_DIR", str(settings.state_dir))
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    monkeypatch.chdir(settings.state_dir.parent)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return (run(list(arguments)), *capsys.readouterr())

    return call


def collected(settings: Settings, *names: str) -> EventLog:
    with open_log(settings) as log:
        log.append([record(name, received_us=NOW_US) for name in names])
        return log


def landed(settings: Settings) -> int:
    return land_log(BuildContext(settings, plan=None)).rows


def lost(settings: Settings) -> str:
    """Two events landed and counted, then a new log with one; the id of the lost one."""
    before = collected(settings, "a", "b").log_id
    landed(settings)
    with OpsStore.of(settings) as store, store.transaction() as con:
        store.set_position(con, "stream", Position(before, 2))
    for path in settings.state_dir.glob("events.db*"):
        path.unlink()
    collected(settings, "c")
    return before


def test_a_log_that_everybody_follows(gtm: Gtm, settings: Settings) -> None:
    collected(settings, "a", "b")
    landed(settings)
    code, out, _ = gtm("log", "status", "--json")
    document = json.loads(out)
    assert (code, document["last_offset"], document["problems"]) == (0, 2, [])
    assert document["readers"] == [
        {"reader": "landing zone", "log_id": document["log_id"], "offset": 2, "goes_on_behind": 2}
    ]
    assert gtm("log", "status")[1].startswith(f"log {document['log_id']} in {settings.log_path}: offsets ")
    code, out, err = gtm("log", "accept", "--reason", "nothing happened")
    assert (code, out) == (1, "")
    assert "nothing to accept; the log continues what its readers have read" in err


def test_a_lost_log_is_accepted_with_a_reason_and_everything_goes_on(gtm: Gtm, settings: Settings) -> None:
    before = lost(settings)
    code, out, _ = gtm("log", "status")
    assert code == 1
    assert out.count("PROBLEM") == 2, "the landing zone and the stream worker"
    assert before in out
    code, out, err = gtm("doctor")
    assert code == 1
    assert f"PROBLEM event log: {settings.log_path}: its reader stands at offset 2 of log {before}" in out
    assert "gtm log accept --reason" in out
    code, out, err = gtm("log", "accept", "--reason", "the disk died", "--actor", "ada")
    assert (code, err) == (0, "")
    assert f"continues log {before}; events of it that had not landed are lost" in out
    assert "recorded for ada: the disk died" in out
    assert landed(settings) == 1
    code, out, _ = gtm("log", "status")
    assert code == 0
    assert f"by ada: log {before}, offsets up to 0: the disk died" in out
    assert gtm("doctor")[1].count("PROBLEM event log") == 0
    assert gtm("log", "accept", "--reason", "again")[0] == 1, "nothing is left to accept"


def test_a_restored_copy_says_what_will_happen(gtm: Gtm, settings: Settings) -> None:
    before = lost(settings)
    with open_log(settings) as log:
        log.append([record("d", received_us=NOW_US), record("e", received_us=NOW_US)])
        after = log.log_id
    assert gtm("log", "accept", "--reason", "the disk died")[0] == 0
    landed(settings)
    with OpsStore.of(settings) as store, store.transaction() as con:
        store.set_position(con, "stream", Position(after, 9))
    code, out, _ = gtm("log", "accept", "--reason", "from the backup", "--json")
    document = json.loads(out)
    assert code == 0
    assert (document["renamed_from"], document["kinds"], document["continues"]) == (after, ["restored"], [after])
    with open_log(settings) as log:
        assert log.log_id == document["log_id"] != after
        assert log.continues(before)


def test_a_log_that_is_gone_is_made_anew_when_that_is_accepted(gtm: Gtm, settings: Settings) -> None:
    before = lost(settings)
    for path in settings.state_dir.glob("events.db*"):
        path.unlink()
    code, _, err = gtm("log", "status")
    assert (code, "there is no event log, but offsets up to 2 of one have landed" in err) == (1, True)
    code, out, _ = gtm("log", "accept", "--reason", "the disk died")
    assert (code, f"(no records yet) continues log {before}" in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["status"], 1, "events.db: no event log yet; `gtm collect` starts one"),
        (["accept"], 2, "Missing option '--reason'"),
        (["accept", "--reason", " "], 2, "--reason: say why; it is kept in the log"),
        (["accept", "--reason", "x", "--actor", " "], 2, "--actor: say who accepts it"),
        (["accept", "--reason", "x"], 1, "events.db: no event log yet, and nothing to accept"),
    ],
)
def test_what_is_refused_in_one_line(
    gtm: Gtm, settings: Settings, arguments: list[str], code: int, message: str
) -> None:
    answer, out, err = gtm("log", *arguments)
    assert (answer, out) == (code, "")
    assert message in err and err.count("\n") == 1
    assert not settings.log_path.exists()
