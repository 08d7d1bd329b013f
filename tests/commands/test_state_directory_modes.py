"""What `gtm` makes is its owner's alone: other accounts can neither read it nor hold its locks."""

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from warehouse_cases import START, event, land, refresh, settings_for

from gtm_dagster.cli import run
from gtm_dagster.eventlog import open_log
from gtm_dagster.gate import kill_list
from gtm_dagster.opsstore import OpsStore
from gtm_dagster.orchestration.instance import dagster_home
from gtm_dagster.privacy.pseudonyms import load_or_create_key
from gtm_dagster.warehouse.writer_lock import WarehouseLock


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def ordinary_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def _lock(settings) -> None:
    with WarehouseLock(settings.state_dir).hold("a test", 0):
        pass


FIRST_WRITERS = {
    "the event log": lambda settings: open_log(settings).close(),
    "landing": lambda settings: land(settings, [event("e1", START, anonymous_id="a1")], "import-1"),
    "the writer's lock": _lock,
    "the ops store": lambda settings: OpsStore(settings.ops_address).close(),
    "keys": lambda settings: load_or_create_key(settings.keys_dir, None),
    "the kill list": lambda settings: kill_list.add(settings.kill_list_path, "flag", "a test", datetime.now(UTC)),
    "the run history": lambda settings: dagster_home(settings),
}


@pytest.mark.parametrize("write", FIRST_WRITERS.values(), ids=FIRST_WRITERS.keys())
def test_whoever_writes_first_makes_the_folders_for_their_owner_alone(tmp_path, write):
    settings = settings_for(tmp_path / "state")
    write(settings)
    folders = [settings.state_dir, *(path for path in settings.state_dir.rglob("*") if path.is_dir())]
    assert {str(folder): oct(_mode(folder)) for folder in folders} == {str(folder): "0o700" for folder in folders}


def test_a_refresh_leaves_nothing_that_others_can_enter(tmp_path):
    settings = settings_for(tmp_path / "state")
    land(settings, [event("e1", START, anonymous_id="a1")], "import-1")
    refresh(settings)
    folders = [settings.state_dir, *(path for path in settings.state_dir.rglob("*") if path.is_dir())]
    assert {_mode(folder) for folder in folders} == {0o700}


@pytest.mark.parametrize(
    ("mode", "ok", "says"),
    [
        (0o700, True, "its owner's alone"),
        (0o750, True, "shared with its group (mode 750)"),
        (0o755, False, "mode 755: every account of this machine can enter it; chmod 700 "),
        (0o701, False, "mode 701"),
    ],
)
def test_doctor_says_who_can_enter_and_changes_nothing(tmp_path, monkeypatch, capsys, mode, ok, says):
    state = tmp_path / "a state"
    state.mkdir()
    state.chmod(mode)
    monkeypatch.setenv("GTM_STATE_DIR", str(state))
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    run(["doctor", "--json"])
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)["findings"]}["state directory"]
    assert (found["ok"], says in found["detail"]) == (ok, True)
    assert ok or f"chmod 700 '{state}'" in found["detail"]
    assert _mode(state) == mode
