"""A deployment of one's own: what `gtm init` writes, what an upgrade changes, and assets beside those of the template."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from gtm_dagster import definitions
from gtm_dagster.cli import run
from gtm_dagster.orchestration import deployment_template as template
from gtm_dagster.orchestration.own_definitions import with_own_modules
from gtm_dagster.settings import SettingsError, load_settings
from gtm_dagster.settings.deployment_folder import deployment_folder, named_deployment, template_folder
from gtm_dagster.settings.stage_presets import PRESETS

ROOT = Path(__file__).parents[2]


def test_a_fresh_deployment_is_this_repositorys(tmp_path: Path) -> None:
    written = template.write_deployment(tmp_path, None)
    for name in ("workspace.yaml", "dagster.yaml", *(f"{p}/{f.name}" for p in ("assets", "sensors") for f in (ROOT / p).glob("*.py"))):  # fmt: skip
        assert name in written and (tmp_path / name).read_text() == (ROOT / name).read_text()
    assert (tmp_path / "plan.yaml").read_text() == (ROOT / "gtm_dagster" / "taxonomy" / "plan.yaml").read_text()
    before = tomllib.loads((ROOT / "gtm.toml").read_text())
    assert tomllib.loads((tmp_path / "gtm.toml").read_text()) == {**before, "plan_file": "plan.yaml"}
    (entry,) = yaml.safe_load((tmp_path / "workspace.yaml").read_text())["load_from"]
    assert entry["python_module"]["working_directory"] == "."


def test_the_wheel_carries_the_files_that_init_copies() -> None:
    hook = (ROOT / "scripts" / "wheel_template.py").read_text()
    for name in ("assets", "sensors", "workspace.yaml", "dagster.yaml", "gtm.toml"):
        assert f'"{name}"' in hook and (template_folder() / name).exists()


@pytest.mark.parametrize("stage", PRESETS)
def test_a_stage_is_set_in_place_of_the_windows_that_stand_in_the_file(stage: str, tmp_path: Path) -> None:
    template.write_deployment(tmp_path, stage)  # type: ignore[arg-type]
    settings = load_settings(tmp_path / "gtm.toml", {})
    wanted = [(w["model"], w["lookback_hours"]) for w in PRESETS[stage].values["attribution"]["windows"]]  # type: ignore[index]
    assert settings.stage == stage
    assert [(window.model, window.lookback_hours) for window in settings.attribution.windows] == wanted


def test_a_folder_that_cannot_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "sensors").touch()
    with pytest.raises(template.TemplateError, match="nothing is left of it"):
        template.write_deployment(tmp_path, None)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["sensors"]


def test_nothing_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gtm.toml").write_text("state_dir = 'mine'\n")
    assert run(["init", str(tmp_path)]) == 1
    assert "gtm.toml is there already, and nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["gtm.toml"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--stage", "plq"], "did you mean plg?", id="a stage that is none"),
        pytest.param(["--diff"], "no .gtm-template.json", id="nothing to compare with"),
        pytest.param(["--diff", "--stage", "plg"], "change it there", id="the stage stands in gtm.toml"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", str(tmp_path / "d"), *arguments]) in (1, 2)
    assert words in capsys.readouterr().err


@pytest.fixture
def upgraded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment that changed two files, under a version whose template changed two, added one and dropped one."""
    folder = tmp_path / "deployment"
    template.write_deployment(folder, "seed")
    (folder / "assets" / "core.py").write_text("# mine\n")
    (folder / "plan.yaml").write_text("# mine too, and the template's did not change\n")
    newer = template.template("seed") | {"assets/core.py": "# newer\n", "dagster.yaml": "# newer\n", "assets/added.py": "# new\n"}  # fmt: skip
    del newer["sensors/schedules.py"]
    monkeypatch.setattr(template, "template", lambda stage: newer)
    return folder


def test_a_diff_is_what_the_templates_changed(upgraded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", str(upgraded), "--diff", "--json"]) == 0
    found = {each["path"]: each for each in json.loads(capsys.readouterr().out)}
    assert set(found) == {"assets/core.py", "assets/added.py", "dagster.yaml", "sensors/schedules.py"}
    assert {path for path, each in found.items() if each["changed_here"]} == {"assets/core.py"}
    assert "+# newer" in found["assets/core.py"]["diff"] and "mine" not in found["assets/core.py"]["diff"]
    assert run(["init", str(upgraded), "--diff"]) == 0
    out = capsys.readouterr().out
    assert "# assets/core.py: you have changed it too" in out and "# dagster.yaml: `gtm init --upgrade` takes it" in out


def test_an_upgrade_takes_what_nobody_changed_and_names_the_rest(
    upgraded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", str(upgraded), "--upgrade"]) == 1
    assert "assets/core.py: left" in capsys.readouterr().out
    assert (upgraded / "assets" / "core.py").read_text() == "# mine\n"
    assert (upgraded / "dagster.yaml").read_text() == "# newer\n"
    assert (upgraded / "assets" / "added.py").exists() and not (upgraded / "sensors" / "schedules.py").exists()
    assert [change.path for change in template.changes(upgraded)] == ["assets/core.py"], "until it is brought together"
    (upgraded / "assets" / "core.py").write_text("# newer\n")
    assert run(["init", str(upgraded), "--upgrade"]) == 0
    assert template.changes(upgraded) == []


def test_a_record_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    template.write_deployment(tmp_path, None)
    record = tmp_path / template.RECORD
    record.write_text(json.dumps({**json.loads(record.read_text()), "format": 2}))
    with pytest.raises(template.TemplateError, match="written by a newer version"):
        template.changes(tmp_path)
    record.write_text("{")
    with pytest.raises(template.TemplateError, match="cannot be read; restore it"):
        template.changes(tmp_path)


def test_the_doctor_says_that_the_templates_changed(
    upgraded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(upgraded)
    monkeypatch.setenv("GTM_STATE_DIR", str(upgraded / "state"))
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    (upgraded / "plan.yaml").write_text((ROOT / "gtm_dagster" / "taxonomy" / "plan.yaml").read_text())
    assert run(["doctor"]) == 0
    assert "the templates of this version differ in 4 files: `gtm init --diff`" in capsys.readouterr().out


OWN = """
import dagster as dg

@dg.asset(key=["own", "letter"], deps=[["marts", "daily"]])
def letter() -> None: ...

@dg.asset_check(asset=["own", "letter"])
def letter_is_long() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)

monthly = dg.define_asset_job("monthly", selection="own/letter")
first_of_month = dg.ScheduleDefinition(job=monthly, cron_schedule="0 6 1 * *")

@dg.sensor(job=monthly)
def nudge(): ...
"""


def test_modules_beside_ours_are_in_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "own_assets"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "letter.py").write_text(OWN)
    (package / "ours.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(tmp_path)
    import own_assets  # type: ignore[import-not-found]

    defs = with_own_modules(definitions.build_defs(), {own_assets: frozenset({"ours"})})
    graph = defs.resolve_asset_graph()
    letter = dg.AssetKey(["own", "letter"])
    assert graph.get(letter).parent_keys == {dg.AssetKey(["marts", "daily"])}
    assert letter in defs.resolve_job_def("refresh").asset_layer.executable_asset_keys, "gtm refresh builds it"
    assert [key.name for key in graph.asset_check_keys if key.asset_key == letter] == ["letter_is_long"]
    assert defs.resolve_job_def("monthly") and defs.resolve_sensor_def("nudge")
    assert defs.resolve_schedule_def("monthly_schedule").cron_schedule == "0 6 1 * *"


def test_a_copy_that_is_too_old_says_how_to_renew_it(tmp_path: Path) -> None:
    template.write_deployment(tmp_path, None)
    (tmp_path / "assets" / "core.py").write_text("")
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path)}
    command = [sys.executable, "-c", "import gtm_dagster.definitions"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "`gtm init --upgrade` takes it" in done.stderr.splitlines()[-1]


def test_without_own_modules_the_definitions_are_the_same() -> None:
    house = definitions.build_defs()
    assert with_own_modules(house, {}) is house


def test_the_deployment_is_named_by_variable_settings_file_or_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        template.write_deployment(folder, None)
    monkeypatch.delenv("GTM_CONFIG", raising=False)
    monkeypatch.delenv("GTM_DEPLOYMENT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert named_deployment() is None and deployment_folder() == template_folder()
    monkeypatch.chdir(here)
    assert named_deployment() == here
    monkeypatch.setenv("GTM_CONFIG", str(there / "gtm.toml"))
    assert named_deployment() == there
    monkeypatch.setenv("GTM_DEPLOYMENT", str(here))
    assert deployment_folder() == here
    monkeypatch.setenv("GTM_DEPLOYMENT", str(tmp_path))
    with pytest.raises(SettingsError, match=r"GTM_DEPLOYMENT: .* has no workspace.yaml"):
        deployment_folder()


def test_a_deployments_own_assets_come_before_a_checkouts(tmp_path: Path) -> None:
    template.write_deployment(tmp_path, None)
    (tmp_path / "assets" / "letter.py").write_text(OWN)
    code = (
        "from gtm_dagster.definitions import defs, assets; print(assets.__file__); "
        "print(len([k for k in defs.resolve_asset_graph().get_all_asset_keys() if k.path[0] == 'own']))"
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [str(tmp_path / "assets" / "__init__.py"), "1"]


def test_the_page_and_the_deployments_readme_show_the_same_asset() -> None:
    page = (ROOT / "docs" / "own_deployment.md").read_text().partition("```python\n")[2].partition("```")[0]
    readme = template.template(None)["README.md"]
    assert page.split() == readme[readme.index("import dagster") : readme.index("It reads the serving copy")].split()
