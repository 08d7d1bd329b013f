"""The demo apart from real data: another state directory, nothing shared, and a refusal where other data lies."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gtm_dagster.cli import run
from gtm_dagster.demo.deployment import WINDOWS, OtherDataError, demo_variables, refuse_other_data
from gtm_dagster.demo.report import way_to_gtm
from gtm_dagster.settings import Settings, load_settings
from gtm_dagster.settings.demo_folder import MEMORY, demo_dir, has_demo
from gtm_dagster.storage.private_dir import private_dir

OWN = """
state_dir = "state"
plan_file = "plan.yaml"
triggers_file = "triggers.yaml"
ops_url = "postgresql+psycopg://db.example/gtm"
conversions = [{ event = "page_viewed" }]
[sessions]
timeout_minutes = 20
[funnel]
steps = ["page_viewed"]
[retention]
unit = "day"
activity = ["page_viewed"]
[[guards]]
flag = "checkout"
conversion = "page_viewed"
[[notify]]
url = "http://127.0.0.1:9/hook"
[[destinations]]
name = "crm"
url = "https://crm.example/hook"
"""


def demo_of(folder: Path, text: str) -> Settings:
    (folder / "gtm.toml").write_text(text)
    own = load_settings(folder / "gtm.toml", {})
    return load_settings(folder / "gtm.toml", demo_variables(own))


@pytest.mark.parametrize(
    ("state_dir", "expected"),
    [("/a/.gtm", "/a/.gtm-demo"), ("/a/.gtm-demo", "/a/.gtm-demo"), ("/a/x.y", "/a/x.y-demo")],
)
def test_the_demos_state_directory(state_dir, expected):
    assert demo_dir(Path(state_dir)) == Path(expected)


def test_nothing_is_shared_with_real_data_or_real_people(tmp_path):
    demo = demo_of(tmp_path, OWN)
    usual = Settings()
    assert demo.state_dir == tmp_path / "state-demo"
    shared = (
        "plan_file",
        "triggers_file",
        "ops_url",
        "guards",
        "notify",
        "providers",
        "destinations",
        "conversions",
        "funnel",
    )
    for name in shared:
        assert getattr(demo, name) == getattr(usual, name), name
    assert demo.retention.activity == ()
    assert (demo.retention.unit, demo.sessions.timeout_minutes) == ("day", 20.0), "what names no event stays"


def test_the_demo_of_the_demo_is_the_demo(tmp_path):
    demo = demo_of(tmp_path, OWN)
    variables = demo_variables(load_settings(tmp_path / "gtm.toml", {}))
    assert load_settings(tmp_path / "gtm.toml", {**variables, **demo_variables(demo)}) == demo


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", WINDOWS, id="those of the report"),
        pytest.param('attribution.windows = [{ model = "linear", lookback_hours = 24 }]', None, id="the deployment's own"),
        pytest.param('conversions = [{ event = "payment_completed" }]', WINDOWS, id="own conversions of the packaged plan stay"),
    ],
)  # fmt: skip
def test_windows_and_conversions(tmp_path, text, expected):
    demo = demo_of(tmp_path, text)
    own = load_settings(tmp_path / "gtm.toml", {})
    assert demo.attribution.windows == (expected or own.attribution.windows)
    assert demo.conversions == own.conversions


@pytest.mark.parametrize("name", ["events.db", "warehouse.duckdb", "serving.duckdb", "ops.db"])
def test_other_data_is_refused(tmp_path, name):
    folder = tmp_path / ".gtm-demo"
    folder.mkdir()
    (folder / name).touch()
    with pytest.raises(OtherDataError, match=f"holds data that is not the demo's .{name}"):
        refuse_other_data(folder)


def test_another_folder_than_a_demos_is_refused(tmp_path):
    (tmp_path / MEMORY).parent.mkdir()
    (tmp_path / MEMORY).touch()
    with pytest.raises(OtherDataError, match="is not a demo's state directory"):
        refuse_other_data(tmp_path)


def test_a_folder_of_the_demo_or_of_nothing_is_taken(tmp_path):
    folder = tmp_path / ".gtm-demo"
    refuse_other_data(folder)
    folder.mkdir()
    refuse_other_data(folder)
    (folder / MEMORY).parent.mkdir()
    (folder / MEMORY).touch()
    (folder / "events.db").touch()
    refuse_other_data(folder)
    assert has_demo(folder)


def test_the_command_refuses_and_touches_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / "state"))
    other = tmp_path / "state-demo"
    (other / "landing").mkdir(parents=True)
    assert run(["demo", "--events", "1000", "--days", "2"]) == 2
    assert "holds data that is not the demo's (landing)" in capsys.readouterr().out.replace("\n", " ")
    assert [path.relative_to(other) for path in other.rglob("*")] == [Path("landing")]
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    "line", [["query", "--demo", "SELECT 1"], ["--demo", "doctor"], ["dev", "--demo"], ["tables", "--demo"]]
)
def test_without_a_demo_there_is_nothing_to_open(tmp_path, monkeypatch, capsys, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / "state"))
    assert run(line) == 1
    assert capsys.readouterr().err == f"gtm: there is no demo in {tmp_path}/state-demo yet: run `gtm demo` first\n"
    assert os.environ["GTM_STATE_DIR"] == str(tmp_path / "state")
    assert "GTM_GUARDS" not in os.environ
    assert list(tmp_path.iterdir()) == []


def test_a_command_opens_the_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / "state"))
    private_dir((tmp_path / "state-demo" / MEMORY).parent)
    (tmp_path / "state-demo" / MEMORY).touch()
    assert run(["doctor", "--demo"]) == 0
    assert f"state directory {tmp_path}/state-demo" in capsys.readouterr().out
    assert run(["doctor"]) == 0
    assert f"state directory {tmp_path}/state," in capsys.readouterr().out


@pytest.mark.slow
def test_a_demo_beside_real_data_leaves_it_as_it_was(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTM_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "own.ndjson").write_text(
        '{"event_id":"1","event_name":"payment_completed","timestamp":"2026-01-01T00:00:00Z","user_id":"u",'
        '"properties":{"amount":5,"currency":"EUR"}}\n'
    )
    assert run(["import", "own.ndjson"]) == 0
    assert run(["refresh"]) == 0
    files = {path: path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()}
    assert run(["demo", "--events", "2000", "--days", "3"]) == 0, capsys.readouterr().out
    assert {path: path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()} == files
    for line, expected in ((["--demo"], True), ([], False)):
        capsys.readouterr()
        assert run(["query", *line, "--json", "SELECT count(*) AS n FROM core.conversions"]) == 0
        assert (json.loads(capsys.readouterr().out)[0]["n"] > 1) is expected
    assert run(["query", "--demo", "--json", "SELECT DISTINCT delivery FROM marts.trigger_decisions ORDER BY 1"]) == 0
    assert {"delivery": "delivered"} in json.loads(capsys.readouterr().out), "the demo's rules ran, for the dashboard"


@pytest.mark.parametrize(
    ("program", "on_path", "says"),
    [("gtm", False, "activate"), ("gtm", True, ""), ("cli.py", False, "")],
    ids=["a fresh checkout", "an activated one", "python -m"],
)
def test_the_demo_says_where_gtm_is_to_a_shell_that_does_not_find_it(tmp_path, monkeypatch, program, on_path, says):
    for name in ("gtm", "activate", "cli.py"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path) if on_path else "/nowhere")
    line = way_to_gtm(tmp_path / program)
    assert says in line and bool(line) is bool(says)
